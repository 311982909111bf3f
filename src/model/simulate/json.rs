//! Simulated events as JSON, an object a line: the records of the CSV file of the same plan, broken ones included.

use super::{Plan, csv};

/// What are numbers; everything else is text.
const NUMBERS: [&str; 6] = ["step", "amount", "fraud", "product_id", "price", "user_id"];

/// Appends the whole file.
pub fn json(plan: &Plan, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    csv(plan, &mut text);
    let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let names: Vec<&[u8]> = lines.next().unwrap_or_default().split(|b| *b == b',').collect();
    for line in lines {
        let fields: Vec<&[u8]> = line.split(|b| *b == b',').collect();
        let start = out.len();
        for (i, (name, field)) in names.iter().zip(&fields).enumerate() {
            out.extend_from_slice(if i == 0 { b"{\"" } else { b",\"" });
            out.extend_from_slice(name);
            out.extend_from_slice(b"\":");
            let number = NUMBERS.iter().any(|n| n.as_bytes() == *name);
            // A number that is none is text here, as it is for whoever reads it.
            let bare = number && field.iter().all(|b| b.is_ascii_digit() || *b == b'.');
            let quote: &[u8] = if bare { b"" } else { b"\"" };
            out.extend_from_slice(quote);
            out.extend(field.iter().filter(|b| **b != b'"'));
            out.extend_from_slice(quote);
        }
        // A row that stops early or whose quote never closes is an object that is cut off.
        if fields.len() == names.len() && !line.contains(&b'"') {
            out.push(b'}');
        } else {
            out.truncate(start + (out.len() - start) / 2);
        }
        out.push(b'\n');
    }
}
