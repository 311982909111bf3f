//! Every format, compression and encoding of landing files, through the whole flow: land, reject, requeue, verify, die and go on.

use crate::retail;
use crate::server::{Preload, note, signal, wait_until};
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::{Session, quote};
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const COMPRESSIONS: [(&str, &str); 5] =
    [("", "none"), (".gz", "gzip"), (".zst", "zstd"), (".sz", "snappy"), (".bz2", "bz2")];
const COLUMNS: &str = "id bigint NOT NULL, amount numeric(30,2), note text";

pub fn compress(content: &[u8], how: &str) -> Vec<u8> {
    match how {
        "gzip" => {
            // Two streams in one file, as parallel compressors write them.
            let (first, second) = content.split_at(content.len() / 2);
            let one = |part: &[u8]| {
                let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            };
            [one(first), one(second)].concat()
        }
        "zstd" => zstd::encode_all(content, 1).unwrap(),
        "snappy" => {
            let mut encoder = snap::write::FrameEncoder::new(vec![]);
            encoder.write_all(content).unwrap();
            encoder.into_inner().unwrap()
        }
        "bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        _ => content.to_vec(),
    }
}

/// Rows `from..to`: amounts that floating point can't hold, notes with line ends and quotes, some NULL.
pub fn csv(from: i64, to: i64) -> Vec<u8> {
    let mut text = String::from("note,id,amount\n");
    for i in from..to {
        let note = if i % 3 == 0 { String::new() } else { format!("\"say \"\"{i}\"\"\nå\"") };
        text.push_str(&format!("{note},{i},9007199254740993000{i}.01\n"));
    }
    text.into_bytes()
}

pub fn json(from: i64, to: i64) -> Vec<u8> {
    let mut text = String::new();
    for i in from..to {
        let note = if i % 3 == 0 { "null".to_string() } else { format!("\"say \\\"{i}\\\"\\n\\u00e5\"") };
        text.push_str(&format!("{{\"id\":{i},\"note\":{note},\"amount\":9007199254740993000{i}.01}}\r\n"));
    }
    text.into_bytes()
}

pub fn parquet(from: i64, to: i64) -> Vec<u8> {
    let amount = |i: i64| format!("9007199254740993000{i}01").parse::<i128>().unwrap();
    let note = |i: i64| (i % 3 != 0).then(|| format!("say \"{i}\"\nå"));
    let amounts: Decimal128Array = (from..to).map(|i| Some(amount(i))).collect();
    let batch = RecordBatch::try_from_iter([
        ("note", Arc::new((from..to).map(note).collect::<StringArray>()) as ArrayRef),
        ("amount", Arc::new(amounts.with_precision_and_scale(38, 2).unwrap())),
        ("id", Arc::new(Int64Array::from_iter_values(from..to))),
    ])
    .unwrap();
    written(&batch)
}

fn written(batch: &RecordBatch) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(700)).build();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

struct Case {
    _server: Site,
    session: Session,
    landing: Place,
    lake: Place,
}

fn case(name: &str) -> Case {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database(name);
    session.execute("CREATE SCHEMA staging");
    let (landing, lake) = (server.create_dir(&format!("{name}_landing")), server.create_dir(&format!("{name}_lake")));
    Case { _server: server, session, landing, lake }
}

impl Case {
    fn create(&mut self, name: &str, columns: &str, raw: bool, options: &str) -> Place {
        let landing = self.landing.join(name);
        landing.create();
        self.create_over(&landing, name, columns, raw, options);
        landing
    }

    fn create_over(&mut self, landing: &Place, name: &str, columns: &str, raw: bool, options: &str) {
        let raw = if raw { quote(&url(&self.lake.join(name))) } else { "NULL".into() };
        let columns = if columns.is_empty() { "NULL".to_string() } else { quote(columns) };
        self.session.execute(&format!(
            "SELECT millrace.create_pipeline('{name}', source => {}, columns => {columns}, staging => 'staging.{name}', raw => {raw},
                    every => NULL, options => {})",
            quote(&url(landing)),
            quote(&at_once(options))
        ));
    }

    fn run(&mut self, name: &str) {
        self.session.execute(&format!("CALL millrace.run('{name}')"));
    }
}

#[test]
fn every_format_and_compression_loads_the_same_rows_with_and_without_a_raw_layer() {
    let mut case = case("formats_all");
    for raw in [false, true] {
        for format in ["csv", "json", "parquet"] {
            for (ending, how) in COMPRESSIONS {
                if format == "parquet" && how != "none" {
                    continue;
                }
                let name = format!("{format}_{how}_{raw}");
                let landing = case.landing.join(&name);
                landing.create();
                for (i, (from, to)) in [(0, 1_500), (1_500, 1_501), (1_501, 2_000)].into_iter().enumerate() {
                    let content = match format {
                        "csv" => csv(from, to),
                        "json" => json(from, to),
                        _ => parquet(from, to),
                    };
                    land(&landing, &format!("{i}.{format}{ending}"), &compress(&content, how));
                }
                // Found out by name; one file makes several chunks.
                case.create_over(&landing, &name, COLUMNS, raw, "{\"max_rows_per_chunk\": 400}");
                case.run(&name);
                let found = case.session.line(&format!(
                    "SELECT count(*), count(DISTINCT id), sum(id), sum(amount) = sum(('9007199254740993000' || id || '.01')::numeric),
                            count(note), count(*) FILTER (WHERE note = format(E'say \"%s\"\\nå', id)) FROM staging.{name}"
                ));
                assert_eq!(found, "2000|2000|1999000|t|1333|1333", "{name}");
                assert_eq!(case.session.number(&format!("SELECT count(*) FROM staging.{name}_rejects")), 0, "{name}");
                let chunks =
                    case.session.number(&format!("SELECT count(*) FROM millrace.chunks WHERE pipeline = '{name}'"));
                assert!(chunks >= 5, "{name}: {chunks}");
                retail::assert_verified(&mut case.session, &name);
            }
        }
    }
}

#[test]
fn a_bad_record_is_kept_as_it_landed_and_can_be_brought_back() {
    let mut case = case("formats_bad");
    for raw in [false, true] {
        let name = format!("bad_{raw}");
        let landing = case.landing.join(&name);
        landing.create();
        let lines = concat!(
            "{\"id\":1,\"amount\":1.50,\"doc\":\"7\",\"tags\":[\"a,b\",null]}\n",
            "{\"id\":\"x\",\"amount\":2}\n",
            "{\"id\":3,\"amount\":\"12 345\"}\n",
            "{\"id\":4,\n",
            "[5]\n",
            "{\"id\":6,\"id\":7}\n",
            "{\"amount\":1}\n",
            "{\"id\":8,\"doc\":\"\\u0000\"}\n",
            "{\"id\":9,\"doc\":{\"a\":[1.10]},\"extra\":true}\n",
        );
        let mut file = lines.as_bytes().to_vec();
        file.extend(b"{\"id\":10,\"amount\":\"\xff\"}\n");
        land(&landing, "a.jsonl", &file);
        let columns = "id bigint NOT NULL, amount numeric(8,2), doc jsonb, tags text[]";
        case.create_over(&landing, &name, columns, raw, "{}");
        case.run(&name);
        assert_eq!(case.session.lines("SELECT error FROM millrace.files WHERE error IS NOT NULL"), [""; 0]);
        assert_eq!(
            case.session
                .lines(&format!("SELECT id, amount, doc, tags[1], cardinality(tags) FROM staging.{name} ORDER BY id")),
            ["1|1.50|\"7\"|a,b|2", "9||{\"a\": [1.10]}||"]
        );
        let rejects = case.session.lines(&format!(
            "SELECT row_no, raw, encode(raw_bytes, 'escape'), reasons -> 0 ->> 'sqlstate', reasons -> 0 ->> 'column'
               FROM staging.{name}_rejects ORDER BY row_no"
        ));
        let shown = |i: usize| rejects[i].clone();
        assert_eq!(rejects.len(), 8, "{rejects:?}");
        assert_eq!(shown(0), "2|{\"id\":\"x\",\"amount\":2}||22P02|id");
        assert_eq!(shown(1), "3|{\"id\":3,\"amount\":\"12 345\"}||22P02|amount");
        assert_eq!(shown(2), "4|{\"id\":4,||22P04|");
        assert_eq!(shown(3), "5|[5]||22P04|");
        assert_eq!(shown(5), "7|{\"amount\":1}||23502|id");
        assert!(shown(7).contains(r#"10||{"id":10,"amount":"\377"}|22P04"#), "{}", shown(7));
        retail::assert_verified(&mut case.session, &name);

        let requeue = format!(
            "SELECT millrace.requeue_rejects('{name}', where_clause => 'row_no >= 7', fix => 'id = coalesce(id, 70)')"
        );
        assert_eq!(case.session.number(&requeue), 1, "the one whose id was missing");
        assert_eq!(case.session.line(&format!("SELECT amount, doc FROM staging.{name} WHERE id = 70")), "1.00|");
        retail::assert_verified(&mut case.session, &name);
    }
}

#[test]
fn values_of_a_parquet_file_that_do_not_fit_are_rejected_as_json_and_can_be_brought_back() {
    let mut case = case("formats_parquet");
    for raw in [false, true] {
        let name = format!("big_{raw}");
        let landing = case.landing.join(&name);
        landing.create();
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40), None])) as ArrayRef),
            ("note", Arc::new(StringArray::from(vec!["a", "b\"", "c\0"])) as ArrayRef),
        ])
        .unwrap();
        land(&landing, "a.parquet", &written(&batch));
        case.create_over(&landing, &name, "id int NOT NULL, note text", raw, "{}");
        case.run(&name);
        assert_eq!(case.session.lines(&format!("SELECT id, note FROM staging.{name}")), ["1|a"]);
        assert_eq!(
            case.session.lines(&format!(
                "SELECT row_no, raw, reasons -> 0 ->> 'sqlstate' FROM staging.{name}_rejects ORDER BY 1"
            )),
            ["2|{\"id\":1099511627776,\"note\":\"b\\\"\"}|22003", "3|{\"id\":null,\"note\":\"c\\u0000\"}|23502"]
        );
        retail::assert_verified(&mut case.session, &name);
        case.session.execute(&format!("ALTER TABLE staging.{name} ALTER id TYPE bigint"));
        let requeue = format!("SELECT millrace.requeue_rejects('{name}')");
        assert_eq!(case.session.number(&requeue), 1, "no type can hold the other's NUL");
        assert_eq!(
            case.session.line(&format!("SELECT id, note FROM staging.{name} WHERE id > 1")),
            "1099511627776|b\""
        );
        retail::assert_verified(&mut case.session, &name);
    }
}

#[test]
fn a_damaged_file_is_set_aside_with_its_error_and_its_neighbours_are_loaded() {
    let mut case = case("formats_damaged");
    let landing = case.landing.join("csv");
    landing.create();
    let whole = compress(&csv(0, 5_000), "gzip");
    land(&landing, "a.csv.gz", &compress(&csv(0, 10), "gzip"));
    land(&landing, "b.csv.gz", &whole[..whole.len() / 2]);
    land(&landing, "c.csv.gz", b"note,id,amount\nplain,1,1\n");
    let mut broken = compress(&csv(0, 5_000), "zstd");
    let middle = broken.len() / 2;
    broken[middle..middle + 100].fill(0);
    land(&landing, "d.csv.zst", &broken);
    land(&landing, "e.csv", &compress(&csv(10, 20), "bz2"));
    case.create_over(&landing, "csv", COLUMNS, true, "{}");
    case.run("csv");
    assert_eq!(
        case.session
            .lines("SELECT path, state, error IS NOT NULL FROM millrace.files WHERE pipeline = 'csv' ORDER BY path"),
        ["a.csv.gz|loaded|f", "b.csv.gz|dead|t", "c.csv.gz|dead|t", "d.csv.zst|dead|t", "e.csv|loaded|f"]
    );
    let errors = case
        .session
        .lines("SELECT error FROM millrace.files WHERE pipeline = 'csv' AND error IS NOT NULL ORDER BY path");
    assert!(errors[0].contains("gzip file is cut off") && errors[1].contains("name says gzip"), "{errors:?}");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.csv"), 20);
    retail::assert_verified(&mut case.session, "csv");

    let landing = case.landing.join("parquet");
    landing.create();
    let whole = parquet(0, 3_000);
    land(&landing, "a.parquet", &parquet(0, 10));
    land(&landing, "b.parquet", &whole[..whole.len() / 2]);
    land(&landing, "c.parquet", b"PAR1");
    let mut broken = whole.clone();
    broken[100..2_000].fill(0xaa);
    land(&landing, "d.parquet", &broken);
    let other = RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
    land(&landing, "e.parquet", &written(&other));
    land(&landing, "f.parquet", &parquet(10, 20));
    case.create_over(&landing, "parquet", COLUMNS, true, "{}");
    case.run("parquet");
    assert_eq!(
        case.session.lines(
            "SELECT path, state, error IS NOT NULL FROM millrace.files WHERE pipeline = 'parquet' ORDER BY path"
        ),
        [
            "a.parquet|loaded|f",
            "b.parquet|dead|t",
            "c.parquet|dead|t",
            "d.parquet|dead|t",
            "e.parquet|failed|t",
            "f.parquet|loaded|f"
        ]
    );
    assert_eq!(case.session.number("SELECT count(*) FROM staging.parquet"), 20);
    retail::assert_verified(&mut case.session, "parquet");
}

#[test]
fn files_in_other_encodings_are_read_by_the_name_of_the_encoding() {
    let mut case = case("formats_encodings");
    let utf16 = |text: &str| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    for (name, encoding, file) in [
        ("latin1", "latin1", b"id,note\n1,caf\xe9\n2,\xdf\n".to_vec()),
        ("utf16", "utf-16", utf16("id,note\n1,café\n2,ß\n")),
        ("zipped", "windows-1252", compress(b"id,note\n1,caf\xe9\n2,\xdf\n", "gzip")),
    ] {
        let landing = case.landing.join(name);
        landing.create();
        land(&landing, "a.csv", &file);
        let options = format!("{{\"encoding\": \"{encoding}\", \"max_rows_per_chunk\": 1}}");
        case.create_over(&landing, name, "", true, &options);
        case.run(name);
        assert_eq!(
            case.session.lines(&format!("SELECT id, note FROM staging.{name} ORDER BY id")),
            ["1|café", "2|ß"],
            "{name}"
        );
        retail::assert_verified(&mut case.session, name);
    }
    let landing = case.create("sjis", "id int, note text", true, "{\"encoding\": \"shift_jis\"}");
    land(&landing, "a.csv", b"id,note\n1,\x93\xfa\x96\x7b\n2,\x93\xfa\xff\n3,a\0b\n");
    case.run("sjis");
    assert_eq!(case.session.lines("SELECT id, note FROM staging.sjis"), ["1|日本"]);
    assert_eq!(
        case.session.lines("SELECT row_no, raw, encode(raw_bytes, 'hex') FROM staging.sjis_rejects ORDER BY 1"),
        ["2||322c93faff", "3||332c610062"]
    );
    retail::assert_verified(&mut case.session, "sjis");
    let bad = format!(
        "SELECT millrace.create_pipeline('nope', source => {}, columns => 'id int', every => NULL, options => '{{\"encoding\": \"klingon\"}}')",
        quote(&url(&case.landing.join("sjis")))
    );
    assert!(case.session.refused(&bad, "22023").message().contains("encoding"));
}

#[test]
fn formats_are_found_out_and_shown_by_name_and_by_content() {
    let mut case = case("formats_found");
    let json = b"{\"id\":1,\"zip\":\"00123\",\"at\":\"2024-01-02T03:04:05Z\",\"doc\":{\"a\":1},\"ok\":true}\n";
    for (name, content, format) in [
        ("a.dat", compress(b"id,zip,at\n1,00123,2024-01-02 03:04:05+00\n", "gzip"), "csv"),
        ("b.dat", compress(json, "zstd"), "json"),
        ("c.dat", parquet(0, 3), "parquet"),
        ("d.ndjson", json.to_vec(), "json"),
    ] {
        land(&case.landing, name, &content);
        let place = quote(&url(&case.landing.join(name)));
        let columns =
            case.session.lines(&format!("SELECT column_name, data_type, format FROM millrace.describe({place})"));
        assert!(columns.iter().all(|line| line.ends_with(&format!("|{format}"))), "{name}: {columns:?}");
        match format {
            "parquet" => assert_eq!(columns[1], "amount|numeric(38,2)|parquet"),
            _ => assert_eq!(
                columns[1..3],
                [format!("zip|text|{format}"), format!("at|timestamp with time zone|{format}")]
            ),
        }
        let peeked = case.session.value(&format!("SELECT p ->> 'id' FROM millrace.peek({place}, 1) AS p"));
        assert_eq!(peeked, if format == "parquet" { "0" } else { "1" }, "{name}");
        if format == "json" {
            assert_eq!(columns[3..], ["doc|jsonb|json", "ok|boolean|json"]);
            assert_eq!(case.session.value(&format!("SELECT p ->> 'zip' FROM millrace.peek({place}) AS p")), "00123");
        }
    }
}

#[test]
fn csv_spectrum_parses_as_its_json_says() {
    let Some(shared) = retail::shared() else { return note("csv-spectrum: skipped, the shared data is not here") };
    let spectrum = shared.join("data/csv-spectrum");
    let mut case = case("formats_spectrum");
    let mut names: Vec<String> = std::fs::read_dir(spectrum.join("csvs"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 11);
    for name in names {
        let expected: serde_json::Value =
            serde_json::from_slice(&std::fs::read(spectrum.join(format!("json/{name}.json"))).unwrap()).unwrap();
        let first = expected[0].as_object().unwrap();
        let columns: Vec<String> = first.keys().map(|key| format!("{key} text")).collect();
        let landing = case.create(&name, &columns.join(", "), true, "{}");
        let mut file = std::fs::read_to_string(spectrum.join(format!("csvs/{name}.csv"))).unwrap();
        if name.ends_with("_crlf") && !file.contains('\r') {
            // A copy that went through version control may have lost them.
            file = file.replace('\n', "\r\n");
        }
        land(&landing, "a.csv", file.as_bytes());
        case.run(&name);
        let fields: Vec<String> = first.keys().map(|key| format!("'{key}', coalesce({key}, '')")).collect();
        let found = case.session.value(&format!(
            "SELECT jsonb_agg(jsonb_build_object({}) ORDER BY _chunk_no, _row_no) FROM staging.{name}",
            fields.join(", ")
        ));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&found).unwrap(), expected, "{name}");
    }
}

#[test]
fn kills_in_the_middle_of_a_compressed_file_lose_nothing_and_double_nothing() {
    const ROWS: i64 = 40_000;
    let server = Site::alone(module_path!(), Preload::Yes);
    let mut session = server.create_database("formats_kill");
    let (landing, lake) = (server.create_dir("kill_landing"), server.create_dir("kill_lake"));
    session.execute("CREATE SCHEMA staging");
    for (format, content) in [("csv", csv(0, ROWS)), ("json", json(0, ROWS)), ("parquet", parquet(0, ROWS))] {
        let dir = landing.join(format);
        dir.create();
        let (ending, how) = if format == "parquet" { ("", "none") } else { (".zst", "zstd") };
        land(&dir, &format!("a.{format}{ending}"), &compress(&content, how));
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{format}', source => {}, columns => {}, staging => 'staging.{format}', raw => {},
                    every => '50 ms', options => '{{\"settle\": 0, \"max_rows_per_chunk\": 1000}}')",
            quote(&url(&dir)),
            quote(COLUMNS),
            quote(&url(&lake.join(format)))
        ));
    }
    drop(session);
    // The server goes down with the worker that is killed, and a session may find that out at any time.
    let loaded = || -> Option<i64> {
        let mut session = server.try_session("formats_kill").ok()?;
        session.try_value("SELECT coalesce(sum(row_count), 0)::bigint FROM millrace.chunks").ok()?.parse().ok()
    };
    let worker = || -> Option<u32> {
        let mut session = server.try_session("formats_kill").ok()?;
        let pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' LIMIT 1";
        session.try_value(pid).ok()?.parse().ok()
    };
    for target in [ROWS / 2, ROWS, ROWS * 2] {
        let mut victim = None;
        wait_until("some chunks are loaded and a worker is there", Duration::from_secs(120), || {
            victim = worker();
            victim.is_some() && loaded().is_some_and(|rows| rows >= target)
        });
        signal("KILL", victim.unwrap());
        wait_until("another worker is there", Duration::from_secs(120), || {
            worker().is_some_and(|pid| Some(pid) != victim)
        });
    }
    wait_until("everything is loaded", Duration::from_secs(240), || loaded().is_some_and(|rows| rows >= 3 * ROWS));
    let mut session = server.session("formats_kill");
    for format in ["csv", "json", "parquet"] {
        assert_eq!(
            session.line(&format!("SELECT count(*), count(DISTINCT id), sum(id) FROM staging.{format}")),
            format!("{ROWS}|{ROWS}|{}", ROWS * (ROWS - 1) / 2),
            "{format}"
        );
        retail::assert_verified(&mut session, format);
    }
}
