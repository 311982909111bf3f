//! Landing files of text, locations, options, and what is shown of secrets.

use serde_json::Value;

use crate::format::csv::{self, Dialect};
use crate::format::encoding::Encoding;
use crate::format::json::{self, Verbatim};
use crate::format::{Format, RawBatch, Reader};
use crate::lake::allowed::Allowed;
use crate::lake::server_options::{Place, check};
use crate::model::Location;
use crate::model::mask::mask;
use crate::model::options::Options;
use crate::model::publishing::LayerOptions;
use crate::model::retention::{self, Keep};

/// What is told of one record.
#[derive(Debug, PartialEq)]
struct Record {
    number: u64,
    fields: Vec<Option<String>>,
    corrupt: Option<String>,
    text: Vec<u8>,
}

/// All records of a file that comes in blocks of `block` bytes; `None` where the file is refused.
fn records(mut reader: Reader, format: &Format, data: &[u8], block: usize) -> Option<Vec<Record>> {
    let mut found = Vec::new();
    for block in data.chunks(block.max(1)) {
        reader.push(block);
        while let Some(batch) = reader.next_batch(7).ok()? {
            note(&batch, format, &mut found);
        }
    }
    reader.finish();
    while let Some(batch) = reader.next_batch(7).ok()? {
        note(&batch, format, &mut found);
    }
    // A column that came later is NULL in what was read before.
    for record in &mut found {
        while record.fields.last().is_some_and(Option::is_none) {
            record.fields.pop();
        }
    }
    Some(found)
}

fn note(batch: &RawBatch, format: &Format, found: &mut Vec<Record>) {
    for row in 0..batch.rows() {
        let corrupt = (!arrow::array::Array::is_null(&batch.corrupt, row)).then(|| batch.corrupt.value(row).to_owned());
        let fields = match corrupt {
            Some(_) => {
                assert!(!format.explain(batch, row).is_empty());
                vec![]
            }
            None => (0..batch.fields.num_columns()).map(|i| batch.text(i, row).map(|t| t.into_owned())).collect(),
        };
        let text = format.record(batch, row).into_owned();
        found.push(Record { number: batch.first_record + row as u64, fields, corrupt, text });
    }
}

/// The same file gives the same records however it is cut.
fn same_however_cut(make: impl Fn() -> Option<Reader>, format: &Format, data: &[u8], block: usize) {
    let (Some(one), Some(other)) = (make(), make()) else { return };
    let whole = records(one, format, data, data.len());
    let cut = records(other, format, data, block);
    assert_eq!(whole, cut, "cut into blocks of {block}");
    for (i, record) in whole.unwrap_or_default().iter().enumerate() {
        assert_eq!(record.number, i as u64 + 1);
    }
}

/// CSV: three bytes say how it is written and cut.
pub fn csv(data: &[u8]) {
    let [kind, null, block, rest @ ..] = data else { return };
    let pick = |from: &[u8], by: u8| from[usize::from(by) % from.len()];
    let quote = pick(b"\"'", kind >> 2);
    let dialect = Dialect {
        header: kind & 1 == 0,
        delimiter: pick(b",;\t|", kind >> 3),
        quote,
        escape: if kind & 2 == 0 { quote } else { b'\\' },
        null: ["", "NULL", "\\N"][usize::from(*null) % 3].to_owned(),
        multiline: kind & 128 == 0,
        encoding: Encoding::default(),
    };
    let format = Format::Csv(dialect.clone());
    let make = || csv::Reader::new(dialect.clone(), None).ok().map(Reader::Csv);
    same_however_cut(make, &format, rest, usize::from(*block));
}

/// JSON lines: a byte says how they are cut.
pub fn json(data: &[u8]) {
    let [block, rest @ ..] = data else { return };
    let format = Format::Json { verbatim: Verbatim::None, encoding: Encoding::default() };
    let make = || Some(Reader::Json(json::Reader::new(Verbatim::None, Encoding::default())));
    same_however_cut(make, &format, rest, usize::from(*block));
}

/// A location that is accepted holds no way up, and what is shown of it is the same location.
pub fn location(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Allowed::parse(&text);
    let Ok(location) = Location::parse(&text) else { return };
    assert!(location.segments().iter().all(|segment| segment != ".." && segment != "." && !segment.contains('/')));
    let shown = location.display();
    assert_eq!(Location::parse(&shown).as_ref(), Ok(&location), "{shown}");
    if let Ok(path) = location.local_path() {
        assert!(path.is_absolute());
        assert!(path.components().all(|part| part != std::path::Component::ParentDir));
    }
    let (directory, _) = location.split_glob();
    assert!(location.is_within(&directory));
}

/// Options that are accepted are the same when they are written and read again.
pub fn options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (Keep::parse(&text), retention::bytes(&text));
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let _ = LayerOptions::parse(&value);
    if let Ok(options) = Options::parse(&value) {
        let again = Options::parse(&serde_json::to_value(&options).unwrap());
        assert_eq!(again.as_ref(), Ok(&options), "{value}");
    }
    let pairs: Vec<(String, String)> = match &value {
        Value::Object(members) => {
            members.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        }
        _ => return,
    };
    let _ = (check(Place::Server, &pairs), check(Place::UserMapping, &pairs));
}

const SECRET: &str = "kGtw8PLANTEDx93Qz";

/// A secret that stands where secrets stand is not shown, whatever stands around it.
pub fn secrets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let masked = mask(&text);
    assert_eq!(mask(&masked), masked, "masking twice");
    let Some((first, rest)) = data.split_first() else { return };
    let around = String::from_utf8_lossy(rest).replace(['\'', '"'], " ");
    // Nothing says of a word in the noise that it is a secret.
    if around.contains(SECRET) {
        return;
    }
    let planted = match first % 5 {
        0 => format!("{around} https://a.blob.core.windows.net/c?sv=1&sig={SECRET}"),
        1 => format!("{around}\nAuthorization: Bearer {SECRET}"),
        2 => format!("{around} DefaultEndpointsProtocol=https;AccountKey={SECRET};EndpointSuffix=x"),
        3 => format!("{around} {{\"client_secret\": \"{SECRET}\"}}"),
        _ => format!("{around} sas_token=sv=2022&sig={SECRET}"),
    };
    assert!(!mask(&planted).contains(SECRET), "{planted:?} is shown as {:?}", mask(&planted));
    if let Err(error) = Location::parse(&planted) {
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for given in [
        vec![pair("account_key", SECRET), pair(&around, "x")],
        vec![pair("sas_token", SECRET), pair("client_id", &around)],
        vec![pair("service_account_key", &format!("{around}{SECRET}"))],
        vec![pair("location", "az://lake"), pair("endpoint", &format!("https://u:{SECRET}@{around}"))],
    ] {
        for place in [Place::Server, Place::UserMapping, Place::Wrapper] {
            let error = check(place, &given);
            assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
        }
    }
}
