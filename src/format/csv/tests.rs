//! What reading CSV promises, from outside.

use std::path::Path;

use arrow::array::{Array, AsArray};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::format::{Format, RawBatch};
use crate::model::{Code, Result, simulate};

/// A record as a test states it: its fields, or the text of a corrupt one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Row {
    Good(Vec<Option<String>>),
    Corrupt(String),
}

fn good(fields: &[&str]) -> Row {
    Row::Good(fields.iter().map(|f| (*f != "∅").then(|| f.to_string())).collect())
}

fn corrupt(text: &str) -> Row {
    Row::Corrupt(text.to_string())
}

fn rows_of(batch: &RawBatch) -> Vec<Row> {
    (0..batch.rows())
        .map(|row| {
            let fields: Vec<Option<String>> = (batch.fields.columns().iter())
                .map(|column| column.as_string::<i32>())
                .map(|column| column.is_valid(row).then(|| column.value(row).to_string()))
                .collect();
            if batch.corrupt.is_valid(row) {
                assert!(fields.iter().all(Option::is_none), "a corrupt record has no fields");
                return Row::Corrupt(batch.corrupt.value(row).to_string());
            }
            Row::Good(fields)
        })
        .collect()
}

fn read_all(
    reader: &mut Reader,
    file: &[u8],
    mut block: impl FnMut() -> usize,
    max_rows: usize,
) -> Result<Vec<RawBatch>> {
    let mut batches = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(block().clamp(1, rest.len()));
        reader.push(now);
        rest = later;
        while let Some(batch) = reader.next_batch(max_rows)? {
            batches.push(batch);
        }
    }
    reader.finish();
    while let Some(batch) = reader.next_batch(max_rows)? {
        batches.push(batch);
    }
    Ok(batches)
}

fn read(dialect: &Dialect, file: impl AsRef<[u8]>) -> Result<(Vec<String>, Vec<Row>)> {
    let mut reader = Reader::new(dialect.clone(), None)?;
    let batches = read_all(&mut reader, file.as_ref(), || usize::MAX, usize::MAX)?;
    let rows = batches.iter().flat_map(rows_of).collect();
    Ok((reader.header().unwrap_or_default().to_vec(), rows))
}

#[track_caller]
fn expect(file: &str, rows: &[Row]) {
    assert_eq!(read(&Dialect::default(), file).unwrap().1, rows, "{file:?}");
}

#[test]
fn the_header_names_the_columns_and_is_no_record() {
    let (header, rows) = read(&Dialect::default(), "\u{feff}\"Invoice, No\",b\n1,2\n").unwrap();
    assert_eq!(header, ["Invoice, No", "b"]);
    assert_eq!(rows, [good(&["1", "2"])]);
}

#[test]
fn lines_end_in_lf_or_crlf_and_the_last_one_need_not() {
    expect("a,b\n1,2\n3,4", &[good(&["1", "2"]), good(&["3", "4"])]);
    expect("a,b\r\n1,2\r\n\"3\",\"4\"\r\n", &[good(&["1", "2"]), good(&["3", "4"])]);
    expect("a,b\n", &[]);
    expect("a,b", &[]);
    expect("", &[]);
}

#[test]
fn an_unquoted_empty_field_is_null_and_a_quoted_one_is_not() {
    expect("a,b,c\n,\"\",x\n,,\n", &[good(&["∅", "", "x"]), good(&["∅", "∅", "∅"])]);
    let dialect = Dialect { null: "NULL".into(), ..Dialect::default() };
    let rows = read(&dialect, "a,b,c\nNULL,\"NULL\",\n").unwrap().1;
    assert_eq!(rows, [good(&["∅", "NULL", ""])]);
}

#[test]
fn quotes_protect_delimiters_line_ends_and_doubled_quotes() {
    expect(
        "a,b\n\"x,\"\"y\"\"\",\"1\n2\r\n3\"\nnext,row\n",
        &[good(&["x,\"y\"", "1\n2\r\n3"]), good(&["next", "row"])],
    );
}

#[test]
fn a_quote_inside_an_unquoted_field_is_taken_as_it_is() {
    expect("a,b\n5\" nail, \"x\"\n", &[good(&["5\" nail", " \"x\""])]);
}

#[test]
fn another_escape_character_protects_quotes_and_itself_only_inside_quotes() {
    let dialect = Dialect { quote: b'\'', escape: b'\\', ..Dialect::default() };
    let rows = read(&dialect, "a,b\n'it\\'s','\\\\ \\n'\n\\,x\\'\n'two''',2\n").unwrap().1;
    assert_eq!(rows, [good(&["it's", "\\ \\n"]), good(&["\\", "x\\'"]), corrupt("'two''',2")]);
}

#[test]
fn empty_lines_are_no_records_unless_there_is_one_column() {
    expect("\r\n\na,b\n\n1,2\n\r\n\n3,4\n\n", &[good(&["1", "2"]), good(&["3", "4"])]);
    expect("a\n1\n\n2\n", &[good(&["1"]), good(&["∅"]), good(&["2"])]);
}

#[test]
fn records_with_too_few_or_too_many_fields_are_corrupt_whole() {
    expect(
        "a,b\n1\n1,2,3\n\"x\ny\",2,3\n1,2\n",
        &[corrupt("1"), corrupt("1,2,3"), corrupt("\"x\ny\",2,3"), good(&["1", "2"])],
    );
}

#[test]
fn text_behind_a_closing_quote_makes_the_line_corrupt_and_no_more() {
    expect("a,b\n\"x\"y,1\r\n\"x\"\r,1\n2,3\n", &[corrupt("\"x\"y,1"), corrupt("\"x\"\r,1"), good(&["2", "3"])]);
}

#[test]
fn a_quote_that_never_closes_costs_one_line() {
    expect(
        "a,b\n1,\"open\r\n2,fine\n3,\"good, too\"\n",
        &[corrupt("1,\"open"), good(&["2", "fine"]), good(&["3", "good, too"])],
    );
    expect("a,b\n1,\"open\n2,fine\n", &[corrupt("1,\"open"), good(&["2", "fine"])]);
    expect("a,b\n1,\"open", &[corrupt("1,\"open")]);
}

#[test]
fn a_quote_may_close_a_megabyte_on_but_not_later() {
    let filler = "x,y\n".repeat(MAX_QUOTED / 4 - 2);
    let fine = format!("a,b\n1,\"{filler}\"\n2,3\n");
    assert_eq!(read(&Dialect::default(), &fine).unwrap().1.len(), 2);
    let stray = format!("a,b\n1,\"{filler}{filler}\"\n2,3\n");
    let rows = read(&Dialect::default(), &stray).unwrap().1;
    assert_eq!(rows[..3], [corrupt("1,\"x,y"), good(&["x", "y"]), good(&["x", "y"])]);
    // The quote that ends the filler opens no field: it is alone on its line, and a field short.
    assert_eq!(rows[rows.len() - 2..], [corrupt("\""), good(&["2", "3"])]);
}

#[test]
fn a_quoted_line_end_is_refused_where_the_dialect_says_so() {
    let dialect = Dialect { multiline: false, ..Dialect::default() };
    let rows = read(&dialect, "a,b\n1,\"x\ny\"\n2,\"z\"\n").unwrap().1;
    assert_eq!(rows, [corrupt("1,\"x"), corrupt("y\""), good(&["2", "z"])]);
}

#[test]
fn bytes_that_are_not_utf8_make_their_record_corrupt_and_are_kept() {
    let file = b"a,b\n1,ok\n2,\xff\xfe\n3,\"\xe9\"\n4,\xc3\xa9\n5\xff\n";
    let mut reader = Reader::new(Dialect::default(), None).unwrap();
    let batches = read_all(&mut reader, file, || usize::MAX, usize::MAX).unwrap();
    let lossy = |text| corrupt(text);
    let rows = rows_of(&batches[0]);
    assert_eq!(rows[1..3], [lossy("2,\u{fffd}\u{fffd}"), lossy("3,\"\u{fffd}\"")]);
    assert_eq!(rows[3], good(&["4", "é"]));
    let text = |row| Format::Csv(Dialect::default()).record(&batches[0], row).to_vec();
    assert_eq!(text(1), b"2,\xff\xfe");
    assert_eq!(text(4), b"5\xff");
    assert_eq!(explain(&text(1), &Dialect::default(), 2), Some(Malformed::NotUtf8 { byte: 3 }));
}

#[test]
fn nul_bytes_are_text_here() {
    expect("a,b\n1,x\0y\n", &[good(&["1", "x\0y"])]);
}

#[test]
fn files_without_header_take_given_names_or_count_the_first_whole_record() {
    let dialect = Dialect { header: false, ..Dialect::default() };
    let (header, rows) = read(&dialect, "\"open\n1,2\n3,4\n").unwrap();
    assert_eq!(header, ["_c1", "_c2"]);
    assert_eq!(rows, [corrupt("\"open"), good(&["1", "2"]), good(&["3", "4"])]);
    let mut reader = Reader::new(dialect, Some(vec!["x".into(), "y".into(), "z".into()])).unwrap();
    let batches = read_all(&mut reader, b"1,2,3\n", || 1, 10).unwrap();
    assert_eq!(rows_of(&batches[0]), [good(&["1", "2", "3"])]);
}

#[test]
fn headers_that_cannot_be_used_are_errors_that_say_why() {
    for file in ["a,A\n", "a,_file\n", "a,\"b\nc\n", "a,b\rc,d\r"] {
        assert_eq!(read(&Dialect::default(), file).unwrap_err().code, Code::Corrupt, "{file:?}");
    }
    assert_eq!(read(&Dialect::default(), b"a,\xff\n").unwrap_err().code, Code::Corrupt);
}

#[test]
fn a_line_without_end_is_an_error_and_not_all_the_memory() {
    let mut reader = Reader::new(Dialect::default(), None).unwrap();
    reader.push(b"a,b\n1,2\n");
    reader.push(&vec![b'x'; MAX_LINE + 1]);
    assert_eq!(reader.next_batch(10).unwrap().unwrap().rows(), 1);
    assert_eq!(reader.next_batch(10).unwrap_err().code, Code::Limit);
}

#[test]
fn only_records_that_would_be_written_otherwise_keep_their_bytes() {
    let file = "a,b\n1,2\n\"1\",2\n\"1,5\",2\n\"\",2\nx\"y,2\n\"x\"\"y\",\n\"\r\n\",2\nx\ry,2\n";
    let mut reader = Reader::new(Dialect::default(), None).unwrap();
    let batch = read_all(&mut reader, file.as_bytes(), || usize::MAX, 100).unwrap().remove(0);
    let kept: Vec<bool> = (0..batch.rows()).map(|row| batch.raw.is_valid(row)).collect();
    assert_eq!(kept, [false, true, false, false, true, false, false, true]);
}

#[test]
fn the_reason_for_a_malformed_record_is_told_from_its_text() {
    let of = |text: &str| explain(text.as_bytes(), &Dialect::default(), 3).map(|m| m.to_string());
    assert_eq!(of("1,2").unwrap(), "missing data: the record has 2 fields, 3 expected");
    assert_eq!(of("1").unwrap(), "missing data: the record has 1 field, 3 expected");
    assert_eq!(of("1,2,3,4").unwrap(), "extra data: the record has 4 fields, 3 expected");
    assert_eq!(of("1,\"x\"y,3").unwrap(), "text follows the closing quote of field 2");
    assert_eq!(of("1,2,\"x").unwrap(), "the quote that opens field 3 is not closed");
    assert_eq!(of("1,2,3"), None);
}

/// A file made of the bytes that matter, so that nearly every rule is met by chance.
fn random_file(rng: &mut ChaCha8Rng) -> Vec<u8> {
    const PIECES: [&[u8]; 16] = [
        b",",
        b",",
        b",",
        b"\n",
        b"\n",
        b"\r\n",
        b"\"",
        b"\"",
        b"\"\"",
        b"\"a,b\"",
        b"\\",
        b"x",
        b"yz",
        "é".as_bytes(),
        b"\r",
        b"\xff",
    ];
    let mut file = b"a,b,c\n".to_vec();
    for _ in 0..rng.random_range(0..200) {
        file.extend_from_slice(PIECES[rng.random_range(0..PIECES.len())]);
    }
    file
}

fn random_dialect(rng: &mut ChaCha8Rng) -> Dialect {
    Dialect {
        escape: if rng.random_bool(0.5) { b'"' } else { b'\\' },
        null: if rng.random_bool(0.5) { String::new() } else { "x".into() },
        multiline: rng.random_bool(0.8),
        ..Dialect::default()
    }
}

#[test]
fn blocks_and_batches_of_any_size_give_the_same_records() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..500 {
        let (file, dialect) = (random_file(&mut rng), random_dialect(&mut rng));
        let whole = read(&dialect, &file).unwrap().1;
        let mut reader = Reader::new(dialect.clone(), None).unwrap();
        let max_rows = rng.random_range(1..5);
        let batches = read_all(&mut reader, &file, || rng.random_range(1..9), max_rows).unwrap();
        let rows: Vec<Row> = batches.iter().flat_map(rows_of).collect();
        assert_eq!(rows, whole, "{:?}", String::from_utf8_lossy(&file));
    }
}

#[test]
fn the_bytes_of_every_record_can_be_had_again() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..500 {
        let (file, dialect) = (random_file(&mut rng), random_dialect(&mut rng));
        let mut reader = Reader::new(dialect.clone(), None).unwrap();
        let mut at = "a,b,c\n".len();
        for batch in read_all(&mut reader, &file, || usize::MAX, 3).unwrap() {
            for row in 0..batch.rows() {
                while matches!(file[at], b'\n') || file[at..].starts_with(b"\r\n") {
                    at += 1;
                }
                let text = Format::Csv(dialect.clone()).record(&batch, row);
                assert_eq!(file[at..at + text.len()], *text, "{:?}", String::from_utf8_lossy(&file));
                at += text.len();
                let reason = explain(&text, &dialect, 3);
                assert_eq!(reason.is_some(), batch.corrupt.is_valid(row), "{:?}", String::from_utf8_lossy(&text));
            }
            while file.get(at) == Some(&b'\r') {
                at += 1;
            }
            assert!(batch.end_byte as usize - at <= 1, "nothing lies between records but line ends");
        }
    }
}

#[test]
fn reading_can_be_resumed_behind_any_batch() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..300 {
        let (file, dialect) = (random_file(&mut rng), random_dialect(&mut rng));
        let mut reader = Reader::new(dialect.clone(), None).unwrap();
        let batches = read_all(&mut reader, &file, || usize::MAX, 2).unwrap();
        let Some(batch) = batches.get(rng.random_range(0..batches.len().max(1))) else { continue };
        let next = batch.first_record + batch.rows() as u64;
        let names = reader.header().unwrap().to_vec();
        let mut resumed = Reader::resume(dialect, names, batch.end_byte, next).unwrap();
        let rest = read_all(&mut resumed, &file[batch.end_byte as usize..], || 7, 100).unwrap();
        let rows: Vec<Row> = rest.iter().flat_map(rows_of).collect();
        let expected: Vec<Row> = batches.iter().filter(|b| b.first_record >= next).flat_map(rows_of).collect();
        assert_eq!(rows, expected);
        if let (Some(first), Some(last)) = (rest.first(), rest.last()) {
            assert_eq!(first.first_record, next);
            assert_eq!(last.end_byte, batches.last().unwrap().end_byte);
        }
    }
}

#[test]
fn what_another_writer_wrote_is_read_as_it_was_meant() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..200 {
        let escape = if rng.random_bool(0.5) { '\'' } else { '\\' };
        let dialect = Dialect { quote: b'\'', escape: escape as u8, ..Dialect::default() };
        let line_end = if rng.random_bool(0.5) { "\n" } else { "\r\n" };
        let mut file = format!("a,b,c{line_end}");
        let mut expected = Vec::new();
        for _ in 0..rng.random_range(1..20) {
            let mut fields = Vec::new();
            for i in 0..3 {
                let value: String = (0..rng.random_range(0..40))
                    .map(|_| ["a", "é", "'", ",", "\\", "\n", "\r", "\"", " "][rng.random_range(0..9)])
                    .collect();
                file.push_str(if i > 0 { "," } else { "" });
                if rng.random_bool(0.2) {
                    file.push_str(&dialect.null);
                    fields.push(None);
                    continue;
                }
                let mut inner = value.replace(escape, &format!("{escape}{escape}"));
                if escape != '\'' {
                    inner = inner.replace('\'', &format!("{escape}'"));
                }
                file.push_str(&format!("'{inner}'"));
                fields.push(Some(value));
            }
            file.push_str(line_end);
            expected.push(Row::Good(fields));
        }
        assert_eq!(read(&dialect, &file).unwrap().1, expected, "{file:?}");
    }
}

#[test]
fn flaws_of_simulated_files_cost_their_own_rows_only() {
    let plan = simulate::Plan::new(simulate::Kind::Transactions, 2_000, 9, 0, 0);
    let [mut clean, mut flawed] = [Vec::new(), Vec::new()];
    simulate::csv(&plan, &mut clean);
    simulate::csv(&simulate::Plan { bad_ratio: 0.1, ..plan }, &mut flawed);
    let (clean, flawed) = (read(&Dialect::default(), &clean).unwrap().1, read(&Dialect::default(), &flawed).unwrap().1);
    assert_eq!(clean.len(), flawed.len());
    assert!(clean.iter().all(|row| matches!(row, Row::Good(_))));
    let corrupt = flawed.iter().filter(|row| matches!(row, Row::Corrupt(_))).count();
    let same = clean.iter().zip(&flawed).filter(|(a, b)| a == b).count();
    assert!((100..170).contains(&corrupt), "{corrupt}");
    assert!((1_750..1_850).contains(&same), "{same}");
}

#[test]
fn the_csv_spectrum_reads_as_its_authors_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/csv-spectrum");
    let Ok(files) = std::fs::read_dir(folder.join("csvs")) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut names: Vec<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 11);
    for name in names {
        let mut csv = std::fs::read_to_string(folder.join("csvs").join(&name)).unwrap();
        if name.ends_with("_crlf.csv") && !csv.contains('\r') {
            // Some copies of the collection went through a tool that took the carriage returns out; these files are about them.
            csv = csv.replace('\n', "\r\n");
        }
        let json = std::fs::read(folder.join("json").join(name.replace(".csv", ".json"))).unwrap();
        let expected: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&json).unwrap();
        let (header, rows) = read(&Dialect::default(), &csv).unwrap();
        let rows: Vec<serde_json::Map<String, serde_json::Value>> = rows
            .into_iter()
            .map(|row| match row {
                Row::Good(fields) => header.iter().cloned().zip(fields.into_iter().map(Into::into)).collect(),
                Row::Corrupt(text) => panic!("{name}: corrupt: {text}"),
            })
            .collect();
        assert_eq!(rows, expected, "{name}");
    }
}
