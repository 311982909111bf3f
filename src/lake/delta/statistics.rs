//! What the log says of files' values, of several files together.
//!
//! Promise: what is said is true of all their rows. A bound that can't be told for certain is left out, which the protocol allows.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use deltalake::kernel::{Add, DataType, PrimitiveType, StructField};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::mapping::Mode;

/// Of one file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: u64,
    #[serde(default)]
    min_values: Map<String, Value>,
    #[serde(default)]
    max_values: Map<String, Value>,
    #[serde(default)]
    null_count: Map<String, Value>,
}

pub(super) struct Merged {
    pub rows: u64,
    /// As the log holds it.
    pub json: String,
}

/// Of all of them; None where one says nothing.
pub(super) fn merged(files: &[&Add], columns: &[StructField], mode: Mode) -> Option<Merged> {
    let mut all: Option<Stats> = None;
    for add in files {
        let stats: Stats = serde_json::from_str(add.stats.as_deref()?).ok()?;
        all = Some(match all {
            None => stats,
            Some(all) => all.and(stats, columns, mode),
        });
    }
    let all = all?;
    Some(Merged { rows: all.num_records, json: serde_json::to_string(&all).ok()? })
}

impl Stats {
    fn and(self, other: Stats, columns: &[StructField], mode: Mode) -> Stats {
        let type_of = |name: &str| columns.iter().find(|f| mode.physical_name(f) == name).map(StructField::data_type);
        let is_null = |stats: &Stats, name: &str| stats.null_count.get(name) == Some(&stats.num_records.into());
        let bounds = |of: fn(&Stats) -> &Map<String, Value>, keep: Ordering| {
            let (ours, theirs) = (of(&self), of(&other));
            let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
            let bound = |name: &String| match (ours.get(name), theirs.get(name)) {
                (Some(one), Some(two)) => outer(one, two, type_of(name)?, mode, keep),
                // The other file's have no bounds because there are none.
                (Some(one), None) => is_null(&other, name).then(|| one.clone()),
                (None, Some(two)) => is_null(&self, name).then(|| two.clone()),
                (None, None) => None,
            };
            names.filter_map(|name| Some((name.clone(), bound(name)?))).collect()
        };
        Stats {
            num_records: self.num_records + other.num_records,
            min_values: bounds(|stats| &stats.min_values, Ordering::Less),
            max_values: bounds(|stats| &stats.max_values, Ordering::Greater),
            null_count: sums(&self.null_count, &other.null_count),
        }
    }
}

/// Nulls of the columns of which both tell.
fn sums(one: &Map<String, Value>, two: &Map<String, Value>) -> Map<String, Value> {
    let sum = |one: &Value, two: &Value| match (one, two) {
        (Value::Object(one), Value::Object(two)) => Some(Value::Object(sums(one, two))),
        _ => Some((one.as_u64()? + two.as_u64()?).into()),
    };
    one.iter().filter_map(|(name, count)| Some((name.clone(), sum(count, two.get(name)?)?))).collect()
}

/// Of two bounds the one that compares to the other as `keep`: the smaller of two lower ones, the larger of two upper ones.
fn outer(one: &Value, two: &Value, data_type: &DataType, mode: Mode, keep: Ordering) -> Option<Value> {
    if let (Value::Object(one), Value::Object(two), DataType::Struct(fields)) = (one, two, data_type) {
        let field = |name: &str| fields.fields().find(|field| mode.physical_name(field) == name);
        let bound = |name: &String, one| outer(one, two.get(name)?, field(name)?.data_type(), mode, keep);
        let bounds = one.iter().filter_map(|(name, one)| Some((name.clone(), bound(name, one)?)));
        return Some(Value::Object(bounds.collect()));
    }
    let order = compare(one, two, data_type)?;
    Some(if order == keep || order.is_eq() { one } else { two }.clone())
}

fn compare(one: &Value, two: &Value, data_type: &DataType) -> Option<Ordering> {
    if one == two {
        return Some(Ordering::Equal);
    }
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => match (one.as_i64(), two.as_i64()) {
            (Some(one), Some(two)) => Some(one.cmp(&two)),
            // Numbers that differ and are the same as floats can't be told apart.
            _ => one.as_f64()?.partial_cmp(&two.as_f64()?).filter(|order| order.is_ne()),
        },
        (Value::Bool(one), Value::Bool(two)) => Some(one.cmp(two)),
        (Value::String(one), Value::String(two)) => match data_type {
            DataType::Primitive(PrimitiveType::String) => Some(one.cmp(two)),
            DataType::Primitive(PrimitiveType::Date) => Some(date(one)?.cmp(&date(two)?)),
            DataType::Primitive(PrimitiveType::Timestamp | PrimitiveType::TimestampNtz) => {
                Some(moment(one)?.cmp(&moment(two)?))
            }
            _ => None,
        },
        _ => None,
    }
}

fn date(text: &str) -> Option<NaiveDate> {
    text.parse().ok()
}

fn moment(text: &str) -> Option<NaiveDateTime> {
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.naive_utc());
    zoned().or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(name: &str, data_type: PrimitiveType) -> StructField {
        StructField::nullable(name, DataType::Primitive(data_type))
    }

    fn of(stats: &[Value]) -> Value {
        let columns = [
            field("n", PrimitiveType::Long),
            field("x", PrimitiveType::Double),
            field("text", PrimitiveType::String),
            field("day", PrimitiveType::Date),
            field("at", PrimitiveType::Timestamp),
            field("flag", PrimitiveType::Boolean),
            field("bytes", PrimitiveType::Binary),
        ];
        let adds: Vec<Add> =
            stats.iter().map(|stats| Add { stats: Some(stats.to_string()), ..Default::default() }).collect();
        let merged = merged(&adds.iter().collect::<Vec<_>>(), &columns, Mode::None).unwrap();
        let json: Value = serde_json::from_str(&merged.json).unwrap();
        assert_eq!(json["numRecords"], merged.rows);
        json
    }

    fn bounds(of_column: &str, one: [Value; 2], two: [Value; 2]) -> [Value; 2] {
        let stats = |[min, max]: [Value; 2]| json!({ "numRecords": 1, "minValues": { of_column: min }, "maxValues": { of_column: max }, "nullCount": { of_column: 0 } });
        let merged = of(&[stats(one), stats(two)]);
        [merged["minValues"][of_column].clone(), merged["maxValues"][of_column].clone()]
    }

    #[test]
    fn bounds_hold_for_all_files_in_the_order_of_their_type() {
        let b = |one: Value, two: Value| [one, two];
        assert_eq!(bounds("n", b(json!(9), json!(10)), b(json!(-2), json!(3))), [json!(-2), json!(10)]);
        assert_eq!(bounds("x", b(json!(1), json!(2.5)), b(json!(1.5), json!(2))), [json!(1), json!(2.5)]);
        assert_eq!(bounds("text", b(json!("10"), json!("9")), b(json!("2"), json!("é"))), [json!("10"), json!("é")]);
        let days =
            bounds("day", b(json!("2024-02-01"), json!("2024-03-01")), b(json!("-0044-03-15"), json!("2024-02-29")));
        assert_eq!(days, [json!("-0044-03-15"), json!("2024-03-01")]);
        // As text the shorter would be the later one.
        let (short, long) = (json!("2024-01-01T00:00:00Z"), json!("2024-01-01T00:00:00.5Z"));
        assert_eq!(bounds("at", b(short.clone(), short.clone()), b(long.clone(), long.clone())), [short, long]);
        assert_eq!(
            bounds("flag", b(json!(false), json!(true)), b(json!(true), json!(true))),
            [json!(false), json!(true)]
        );
    }

    #[test]
    fn what_is_not_certain_is_not_told() {
        let none = [Value::Null, Value::Null];
        let b = |one: Value, two: Value| [one, two];
        assert_eq!(bounds("bytes", b(json!("a"), json!("b")), b(json!("c"), json!("d"))), none);
        assert_eq!(bounds("at", b(json!("noon"), json!("noon")), b(json!("dusk"), json!("dusk"))), none);
        assert_eq!(bounds("nobody's", b(json!(1), json!(2)), b(json!(3), json!(4))), none);
        // A file that tells no bounds may hold anything, unless it holds nothing.
        let told =
            json!({ "numRecords": 2, "minValues": { "n": 5 }, "maxValues": { "n": 6 }, "nullCount": { "n": 0 } });
        let silent = |nulls: u64| json!({ "numRecords": 3, "nullCount": { "n": nulls } });
        for (nulls, min) in [(3, json!(5)), (2, Value::Null)] {
            for stats in [[told.clone(), silent(nulls)], [silent(nulls), told.clone()]] {
                let merged = of(&stats);
                assert_eq!((&merged["minValues"]["n"], &merged["nullCount"]["n"]), (&min, &json!(nulls)));
                assert_eq!(merged["numRecords"], 5);
            }
        }
    }

    #[test]
    fn nothing_is_told_of_files_of_which_one_says_nothing() {
        let told = Add { stats: Some(json!({ "numRecords": 2 }).to_string()), ..Default::default() };
        assert!(merged(&[&told, &Add::default()], &[], Mode::None).is_none());
    }
}
