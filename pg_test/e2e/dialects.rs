//! How CSV files are written, option by option, and what is found out about columns where nobody says.

use crate::retail::assert_verified;
use crate::server::Preload;
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::{Session, quote};

fn create(session: &mut Session, name: &str, place: &Place, columns: &str, raw: &str, options: &str) {
    session.execute(&format!(
        "SELECT millrace.create_pipeline('{name}', source => {}, columns => {columns}, staging => 'staging.{name}', raw => {raw}, every => NULL,
            options => {})",
        quote(&url(place)),
        quote(&at_once(options))
    ));
    session.execute(&format!("CALL millrace.run('{name}')"));
}

#[test]
fn every_option_of_a_dialect_means_what_it_says() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("dialects");
    let (landing, lake) = (server.create_dir("dialects_landing"), server.create_dir("dialects_lake"));
    session.execute("CREATE SCHEMA staging");
    // Options, a file, its rows, and what is rejected of it as it landed.
    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        ("{}", "\u{feff}note,id\r\n\"a,\"\"b\"\"\",1\r\n\"\",2\r\n,3\r\n", &["1|a,\"b\"", "2|(empty)", "3|"], &[]),
        (r#"{"delimiter": ";"}"#, "id;note\n1;a,b\n2;\"c;d\"\n", &["1|a,b", "2|c;d"], &[]),
        (r#"{"delimiter": "\t"}"#, "id\tnote\n1\ta b\n2\t\"c\td\"\n", &["1|a b", "2|c\td"], &[]),
        (r#"{"delimiter": "|"}"#, "id|note\n1|a\n2|\"c|d\"\n", &["1|a", "2|c|d"], &[]),
        (r#"{"quote": "'"}"#, "id,note\n1,'a,''b'''\n2,\"c\"\n", &["1|a,'b'", "2|\"c\""], &[]),
        (r#"{"escape": "\\"}"#, "id,note\n1,\"a\\\"b\\\\c\"\n2,\"d\"\n", &["1|a\"b\\c", "2|d"], &[]),
        (r#"{"null": "NULL"}"#, "id,note\n1,NULL\n2,\n3,\"NULL\"\n", &["1|", "2|(empty)", "3|NULL"], &[]),
        (r#"{"null": "\\N"}"#, "id,note\n1,\\N\n2,x\n", &["1|", "2|x"], &[]),
        (r#"{"header": false}"#, "1,a\n2,b\n", &["1|a", "2|b"], &[]),
        (r#"{"multiline": true}"#, "id,note\n1,\"a\nb\r\nc\"\n2,d\n", &["1|a\nb\r\nc", "2|d"], &[]),
        (r#"{"multiline": false}"#, "id,note\n1,\"a\n2,d\n", &["2|d"], &["1,\"a"]),
        (r#"{"encoding": "windows-1252"}"#, "id,note\n1,x\n", &["1|x"], &[]),
        (
            r#"{"delimiter": ";", "quote": "'", "escape": "\\", "null": "-", "header": false}"#,
            "1;'a\\';b'\n2;-\n",
            &["1|a';b", "2|"],
            &[],
        ),
    ];
    for (i, (options, file, rows, rejects)) in cases.iter().enumerate() {
        let place = landing.join(&format!("{i}"));
        place.create();
        land(&place, "a.csv", file.as_bytes());
        for raw in [false, true] {
            let name = format!("p{i}_{raw}");
            let layer = if raw { quote(&url(&lake.join(&name))) } else { "NULL".into() };
            create(&mut session, &name, &place, "'id int NOT NULL, note text'", &layer, options);
            let found = session.lines(&format!(
                "SELECT id, CASE note WHEN '' THEN '(empty)' ELSE note END FROM staging.{name} ORDER BY id"
            ));
            assert_eq!(found, *rows, "{options}, raw layer: {raw}");
            let found = session.lines(&format!("SELECT raw FROM staging.{name}_rejects ORDER BY row_no"));
            assert_eq!(found, *rejects, "{options}, raw layer: {raw}");
            assert_verified(&mut session, &name);
        }
        if !options.contains("header") && rejects.is_empty() {
            let arguments = format!("{}, options => {}", quote(&url(&place)), quote(options));
            let columns = session.lines(&format!("SELECT column_name FROM millrace.describe({arguments}) ORDER BY 1"));
            assert_eq!(columns, ["id", "note"], "{options}");
            let first = format!("SELECT p ->> 'id' FROM millrace.peek({arguments}) AS p LIMIT 1");
            assert_eq!(session.value(&first), rows[0].split('|').next().unwrap(), "{options}");
        }
    }
    let place = quote(&url(&landing.join("0")));
    for (options, word) in [
        (r#"{"delimiter": "||"}"#, "a character"),
        (r#"{"delimiter": ""}"#, "a character"),
        (r#"{"delimiter": "\""}"#, "delimiter"),
        (r#"{"delimiter": "\n"}"#, "delimiter"),
        (r#"{"null": "a,b"}"#, "null"),
        (r#"{"header": "sometimes"}"#, "sometimes"),
        (r#"{"encoding": "klingon"}"#, "encoding"),
        (r#"{"compression": "rar"}"#, "rar"),
        (r#"{"delimeter": ";"}"#, "delimiter"),
    ] {
        let create = format!(
            "SELECT millrace.create_pipeline('x', source => {place}, columns => 'id int', every => NULL, options => {})",
            quote(options)
        );
        let error = session.raises(&create, "22023");
        let said = format!("{} {:?} {:?}", error.message(), error.detail(), error.hint());
        assert!(said.contains(word), "{options}: {said}");
    }
}

#[test]
fn columns_are_the_narrowest_that_hold_what_several_files_show() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("inference");
    let landing = server.create_dir("inference_landing");
    session.execute("CREATE SCHEMA staging");
    // Only together do the files show what the columns are: some are spread over hundreds.
    let csv = |n: usize| {
        match n {
        0 => "code,whole,part,big,day,at,yes,gone,mixed\n00123,1,1,9223372036854775807,2024-01-02,2024-01-02 03:04:05Z,true,,1\n".to_owned(),
        5 => "code,whole,part,big,day,at,yes,gone,mixed\n7,2,2.50,9223372036854775808,2024-02-29,2024-01-02 03:04:05+02,false,,x\n".into(),
        n => format!("mixed,gone,yes,at,day,big,part,whole,code,late\n{n},,true,2024-01-02 03:04:05+00,2024-01-02,1,1,{n},{n},{n}\n"),
    }
    };
    let json = |n: usize| match n {
        0 => "{\"code\": \"00123\", \"whole\": 1, \"part\": 1, \"list\": [1], \"doc\": {\"a\": 1}}\n".to_owned(),
        5 => "{\"code\": 7, \"whole\": 2, \"part\": 0.5, \"list\": [\"x\"], \"doc\": null}\n".into(),
        n => format!("{{\"code\": \"{n}\", \"whole\": {n}, \"part\": 2, \"list\": [], \"late\": true}}\n"),
    };
    let describe = |session: &mut Session, place: &Place| {
        session
            .lines(&format!("SELECT column_name, data_type FROM millrace.describe({}) ORDER BY 1", quote(&url(place))))
    };
    for (format, content) in [("csv", &csv as &dyn Fn(usize) -> String), ("json", &json)] {
        let place = landing.join(format);
        place.create();
        (0..6).for_each(|n| land(&place, &format!("{n}.{format}"), content(n).as_bytes()));
        let expected: &[&str] = match format {
            "csv" => &[
                "at|timestamp with time zone",
                "big|numeric",
                "code|text",
                "day|date",
                "gone|text",
                "late|bigint",
                "mixed|text",
                "part|numeric",
                "whole|bigint",
                "yes|boolean",
            ],
            _ => &["code|text", "doc|jsonb", "late|boolean", "list|jsonb", "part|numeric", "whole|bigint"],
        };
        assert_eq!(describe(&mut session, &place), expected, "{format}");
        create(&mut session, format, &place, "NULL", "NULL", "{}");
        assert_eq!(session.lines(&format!("SELECT raw, reasons FROM staging.{format}_rejects")), [""; 0]);
        assert_eq!(session.number(&format!("SELECT count(*) FROM staging.{format}")), 6);
        assert_eq!(session.number(&format!("SELECT count(*) FROM staging.{format} WHERE code = '00123'")), 1);
        assert_verified(&mut session, format);
    }
    // Of many files some are looked at: the first, the last, and some between.
    let many = landing.join("many");
    many.create();
    (0..40).for_each(|n| {
        land(&many, &format!("{n:02}.csv"), format!("v\n{}\n", if n == 39 { "1.5" } else { "1" }).as_bytes())
    });
    assert_eq!(describe(&mut session, &many), ["v|numeric"]);
}
