//! jsonb: JSON text in the form in which Postgres stores it (utils/jsonb.h): a tree of containers, each a header, an entry a child, and
//! the children's bytes; the pairs of an object in order of their keys' lengths, then bytes.
//!
//! What is odd is left to Postgres: texts that are no JSON, keys that come twice, escapes by number, exponents, and what is very deep
//! or very large.

use super::numeric;

const SCALAR: u32 = 0x1000_0000;
const OBJECT: u32 = 0x2000_0000;
const ARRAY: u32 = 0x4000_0000;

const NUMERIC: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;
/// The entry holds where its child ends instead of how long it is, which one of so many does.
const HAS_OFFSET: u32 = 0x8000_0000;
const STRIDE: usize = 32;
const LENGTH: u32 = 0x0fff_ffff;

const DEEPEST: usize = 64;
const LONGEST: usize = 16 * 1024 * 1024;

/// Of a varlena; where the root begins.
const HEADER: usize = 4;

#[derive(Clone, Copy)]
enum Node {
    Null,
    Bool(bool),
    /// A part of the input, digits and all.
    Number(usize, usize),
    /// A part of the input.
    Text(usize, usize),
    /// A part of the texts that had escapes.
    Unescaped(usize, usize),
    /// A part of the list of children; of an object each key goes before its value.
    Array(usize, usize),
    Object(usize, usize),
}

/// Memory that is used again for each value.
#[derive(Default)]
pub struct Encoder {
    nodes: Vec<Node>,
    /// Children of containers that are read, and of those that are being read.
    children: Vec<u32>,
    open: Vec<u32>,
    texts: Vec<u8>,
    number: Vec<u8>,
    out: Vec<u8>,
}

impl Encoder {
    /// The stored form, the header of its length included; to be kept at an address that is a multiple of four. `None`: left to Postgres.
    pub fn encode(&mut self, text: &str) -> Option<&[u8]> {
        if text.len() > LONGEST {
            return None;
        }
        self.nodes.clear();
        self.children.clear();
        self.open.clear();
        self.texts.clear();
        self.out.clear();
        let mut at = 0;
        let root = self.value(text.as_bytes(), &mut at, 0)?;
        skip_space(text.as_bytes(), &mut at);
        if at != text.len() {
            return None;
        }
        self.out.extend_from_slice(&[0; HEADER]);
        if matches!(self.nodes[root as usize], Node::Array(..) | Node::Object(..)) {
            self.write(text.as_bytes(), root)?;
        } else {
            // A value by itself is an array of one.
            self.out.extend_from_slice(&(1 | ARRAY | SCALAR).to_ne_bytes());
            self.out.extend_from_slice(&[0; 4]);
            let entry = self.write(text.as_bytes(), root)?;
            self.set(HEADER + 4, entry | HAS_OFFSET);
        }
        // As SET_VARSIZE on a little-endian machine; a bigger length would not fit it.
        let size = u32::try_from(self.out.len()).ok()?.checked_mul(4)?;
        self.set(0, size);
        Some(&self.out)
    }

    fn set(&mut self, at: usize, word: u32) {
        self.out[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }

    fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn value(&mut self, input: &[u8], at: &mut usize, depth: usize) -> Option<u32> {
        skip_space(input, at);
        let node = match input.get(*at)? {
            b'"' => self.text(input, at)?,
            b'{' => return self.container(input, at, depth, b'}'),
            b'[' => return self.container(input, at, depth, b']'),
            b't' => word(input, at, b"true", Node::Bool(true))?,
            b'f' => word(input, at, b"false", Node::Bool(false))?,
            b'n' => word(input, at, b"null", Node::Null)?,
            _ => number(input, at)?,
        };
        Some(self.add(node))
    }

    fn container(&mut self, input: &[u8], at: &mut usize, depth: usize, end: u8) -> Option<u32> {
        if depth == DEEPEST {
            return None;
        }
        *at += 1;
        let before = self.open.len();
        skip_space(input, at);
        if input.get(*at) == Some(&end) {
            *at += 1;
        } else {
            loop {
                if end == b'}' {
                    skip_space(input, at);
                    let key = self.text(input, at)?;
                    let key = self.add(key);
                    self.open.push(key);
                    skip_space(input, at);
                    expect(input, at, b':')?;
                }
                let value = self.value(input, at, depth + 1)?;
                self.open.push(value);
                skip_space(input, at);
                let next = *input.get(*at)?;
                *at += 1;
                match next {
                    b',' => {}
                    next if next == end => break,
                    _ => return None,
                }
            }
        }
        let first = self.children.len();
        self.children.extend(self.open.drain(before..));
        let count = self.children.len() - first;
        let node = if end == b'}' { Node::Object(first, count / 2) } else { Node::Array(first, count) };
        if end == b'}' {
            self.sort(input, first, count / 2)?;
        }
        Some(self.add(node))
    }

    /// Puts the pairs of an object in order; `None` where a key comes twice.
    fn sort(&mut self, input: &[u8], first: usize, pairs: usize) -> Option<()> {
        let mut children = std::mem::take(&mut self.children);
        let (sorted, _) = children[first..first + 2 * pairs].as_chunks_mut::<2>();
        let key = |pair: &[u32; 2]| {
            let bytes = self.bytes(input, self.nodes[pair[0] as usize]);
            (bytes.len(), bytes)
        };
        sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let is_unique = sorted.windows(2).all(|two| key(&two[0]) != key(&two[1]));
        self.children = children;
        is_unique.then_some(())
    }

    fn bytes<'a>(&'a self, input: &'a [u8], node: Node) -> &'a [u8] {
        match node {
            Node::Text(from, to) => &input[from..to],
            Node::Unescaped(from, to) => &self.texts[from..to],
            _ => &[],
        }
    }

    fn text(&mut self, input: &[u8], at: &mut usize) -> Option<Node> {
        expect(input, at, b'"')?;
        let start = *at;
        let special = |rest: &[u8]| rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
        let mut length = special(&input[start..])?;
        if input[start + length] == b'"' {
            *at = start + length + 1;
            return Some(Node::Text(start, start + length));
        }
        let (from, mut run) = (self.texts.len(), start);
        loop {
            self.texts.extend_from_slice(&input[run..run + length]);
            let stop = run + length;
            match input[stop] {
                b'"' => {
                    *at = stop + 1;
                    return Some(Node::Unescaped(from, self.texts.len()));
                }
                b'\\' => self.texts.push(match input.get(stop + 1)? {
                    same @ (b'"' | b'\\' | b'/') => *same,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return None,
                }),
                _ => return None,
            }
            run = stop + 2;
            length = special(&input[run..])?;
        }
    }

    /// Writes a value and gives its entry, which says how long it is, the filling before it included.
    fn write(&mut self, input: &[u8], node: u32) -> Option<u32> {
        let before = self.out.len();
        let length = |encoder: &Encoder| u32::try_from(encoder.out.len() - before).ok().filter(|n| *n <= LENGTH);
        match self.nodes[node as usize] {
            Node::Null => Some(NULL),
            Node::Bool(value) => Some(if value { TRUE } else { FALSE }),
            Node::Text(from, to) => {
                self.out.extend_from_slice(&input[from..to]);
                length(self)
            }
            Node::Unescaped(from, to) => {
                self.out.extend_from_slice(&self.texts[from..to]);
                length(self)
            }
            Node::Number(from, to) => {
                self.align();
                self.number.clear();
                if !numeric::encode(&input[from..to], None, &mut self.number) {
                    return None;
                }
                let at = self.out.len();
                self.out.extend_from_slice(&[0; HEADER]);
                numeric::append_stored(&self.number, &mut self.out)?;
                self.set(at, u32::try_from(self.out.len() - at).ok()?.checked_mul(4)?);
                Some(NUMERIC | length(self)?)
            }
            Node::Array(first, count) => {
                self.align();
                let header = u32::try_from(count).ok()? | ARRAY;
                self.children(input, header, count, |i| first + i)?;
                Some(CONTAINER | length(self)?)
            }
            Node::Object(first, pairs) => {
                self.align();
                let header = u32::try_from(pairs).ok()? | OBJECT;
                // All keys, then all values.
                let place = |i| if i < pairs { first + 2 * i } else { first + 2 * (i - pairs) + 1 };
                self.children(input, header, 2 * pairs, place)?;
                Some(CONTAINER | length(self)?)
            }
        }
    }

    fn children(&mut self, input: &[u8], header: u32, count: usize, place: impl Fn(usize) -> usize) -> Option<()> {
        self.out.extend_from_slice(&header.to_ne_bytes());
        let entries = self.out.len();
        self.out.resize(entries + 4 * count, 0);
        let mut end = 0;
        for i in 0..count {
            let entry = self.write(input, self.children[place(i)])?;
            end += entry & LENGTH;
            if end > LENGTH {
                return None;
            }
            let entry = if i % STRIDE == 0 { entry & !LENGTH | end | HAS_OFFSET } else { entry };
            self.set(entries + 4 * i, entry);
        }
        Some(())
    }

    fn align(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }
}

/// Appends an array of objects whose values are texts, in the stored form. Each object's keys are in stored order, shorter ones first;
/// those without a value are left out. `None`: it would be too large, and nothing is appended.
pub fn append_objects<const N: usize>(objects: &[[(&str, Option<&str>); N]], out: &mut Vec<u8>) -> Option<()> {
    let base = out.len();
    let length = |out: &Vec<u8>, from: usize| u32::try_from(out.len() - from).ok().filter(|n| *n <= LENGTH / 4);
    let set = |out: &mut Vec<u8>, at: usize, word: u32| out[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    let mut write = || {
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(&(u32::try_from(objects.len()).ok()? | ARRAY).to_ne_bytes());
        let entries = out.len();
        out.resize(entries + 4 * objects.len(), 0);
        let first = out.len();
        for (i, object) in objects.iter().enumerate() {
            let before = out.len();
            out.resize(base + (before - base).next_multiple_of(4), 0);
            let pairs = object.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
            let count = pairs.clone().count();
            out.extend_from_slice(&(count as u32 | OBJECT).to_ne_bytes());
            let own = out.len();
            out.resize(own + 8 * count, 0);
            let start = out.len();
            for (k, text) in pairs.clone().map(|pair| pair.0).chain(pairs.map(|pair| pair.1)).enumerate() {
                let from = out.len();
                out.extend_from_slice(text.as_bytes());
                let entry = if k % STRIDE == 0 { length(out, start)? | HAS_OFFSET } else { length(out, from)? };
                set(out, own + 4 * k, entry);
            }
            let entry = if i % STRIDE == 0 { length(out, first)? | HAS_OFFSET } else { length(out, before)? };
            set(out, entries + 4 * i, CONTAINER | entry);
        }
        let size = length(out, base)? * 4;
        set(out, base, size);
        Some(())
    };
    let written = write();
    if written.is_none() {
        out.truncate(base);
    }
    written
}

fn skip_space(input: &[u8], at: &mut usize) {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = input.get(*at) {
        *at += 1;
    }
}

fn expect(input: &[u8], at: &mut usize, byte: u8) -> Option<()> {
    let found = input.get(*at) == Some(&byte);
    *at += usize::from(found);
    found.then_some(())
}

fn word(input: &[u8], at: &mut usize, word: &[u8], node: Node) -> Option<Node> {
    let found = input[*at..].starts_with(word);
    *at += word.len();
    found.then_some(node)
}

/// A number as JSON has it, but for exponents.
fn number(input: &[u8], at: &mut usize) -> Option<Node> {
    let start = *at;
    let digits = |at: &mut usize| {
        let from = *at;
        while input.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        *at - from
    };
    *at += usize::from(input[start] == b'-');
    let whole = *at;
    match digits(at) {
        0 => return None,
        1 => {}
        _ if input[whole] == b'0' => return None,
        _ => {}
    }
    if input.get(*at) == Some(&b'.') {
        *at += 1;
        if digits(at) == 0 {
            return None;
        }
    }
    // An exponent, or what is no number at all.
    let ends = input.get(*at).is_none_or(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}'));
    ends.then_some(Node::Number(start, *at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Option<Vec<u8>> {
        Encoder::default().encode(text).map(<[u8]>::to_vec)
    }

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.as_chunks::<4>().0.iter().map(|b| u32::from_ne_bytes(*b)).collect()
    }

    #[test]
    fn an_object_is_its_keys_by_length_then_its_values() {
        let bytes = stored(r#"{"bb": null, "a": "xy", "aa": true}"#).unwrap();
        let expected = [4 * bytes.len() as u32, OBJECT | 3, HAS_OFFSET | 1, 2, 2, 2, TRUE, NULL];
        assert_eq!(&words(&bytes)[..8], expected);
        assert_eq!(&bytes[32..], b"aaabbxy");
    }

    #[test]
    fn a_value_by_itself_is_an_array_of_one() {
        assert_eq!(words(&stored("true").unwrap()), [48, ARRAY | SCALAR | 1, TRUE | HAS_OFFSET]);
        assert_eq!(words(&stored(" [] ").unwrap()), [32, ARRAY]);
        assert_eq!(words(&stored("{}").unwrap()), [32, OBJECT]);
    }

    #[test]
    fn objects_of_texts_are_stored_as_their_json_would_be() {
        for count in [0, 1, 2, 3, 40] {
            let texts: Vec<String> = (0..count).map(|i| "é".repeat(i * 7 % 11)).collect();
            let object = |i: usize| {
                let value = |absent: usize| (i % 4 != absent).then(|| texts[i].as_str());
                [("rule", value(1)), ("value", value(2)), ("column", value(3)), ("message", Some("it is no good"))]
            };
            let objects: Vec<_> = (0..count).map(object).collect();
            let json: Vec<serde_json::Value> = objects
                .iter()
                .map(|pairs| pairs.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect())
                .collect();
            let mut out = b"before".to_vec();
            append_objects(&objects, &mut out).unwrap();
            assert_eq!(out[6..], stored(&serde_json::Value::Array(json).to_string()).unwrap(), "{count}");
        }
    }

    #[test]
    fn one_entry_in_thirty_two_says_where_its_child_ends() {
        let text = format!("[{}]", vec!["\"ab\""; 40].join(","));
        let all = words(&stored(&text).unwrap());
        assert_eq!((all[2], all[3], all[2 + 32]), (HAS_OFFSET | 2, 2, HAS_OFFSET | 66));
    }

    #[test]
    fn numbers_are_aligned_and_keep_their_digits() {
        let bytes = stored(r#"["a", -12.50]"#).unwrap();
        let (start, all) = (20, words(&bytes));
        // Three bytes of filling, a header of four, and three words of two bytes.
        assert_eq!(all[3], NUMERIC | (3 + 4 + 2 + 4));
        let short = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!(
            (all[5], short(start + 4), short(start + 6), short(start + 8)),
            (40, 0x8000 | 0x2000 | 2 << 7, 12, 5000)
        );
    }

    #[test]
    fn what_is_odd_or_no_json_is_left_to_postgres() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "tru",
            "truex",
            "nul",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "--1",
            "1e5",
            "1x",
            "\"",
            "\"\\u0041\"",
            "\"\\x\"",
            "\"a\nb\"",
            "{\"a\":1,\"a\":2}",
            "[] []",
            "'a'",
            "NaN",
            &deep,
        ] {
            assert_eq!(stored(text), None, "{text}");
        }
    }
}
