//! Looking before pulling: list, describe and peek, on disk and on Azurite.

use crate::formats::{compress, csv, json, parquet};
use crate::lake::{Case, on_each_storage};
use crate::retail::Places;
use crate::server::{Preload, Server};
use crate::sql::quote;

on_each_storage! {
fn what_lies_at_a_location_is_shown_without_a_pipeline(storage, cell) {
        let server = Server::shared(Preload::No);
        let mut session = server.create_database(cell);
        let places = Places::on(storage, &server, &mut session, cell);
        places.put("a.csv", b"Id,When,Code,Note\n1,2024-01-02,0012,\n2,2024-01-03,0013,\"x, y\"\n");
        places.put("b.csv", b"id,when,code,note,extra\n3,2024-01-04,0014,z,1.5\n");
        places.put("_c.csv", b"hidden");
        let landing = places.url(&places.landing);
        let pattern = quote(&format!("{landing}/*.csv"));
        assert_eq!(
            session.lines(&format!(
                "SELECT path, size, etag <> '', modified > now() - interval '1 hour' FROM millrace.list({pattern})"
            )),
            ["a.csv|62|t|t", "b.csv|48|t|t"],
        );
        assert_eq!(
            session.lines(&format!("SELECT column_name, data_type, format FROM millrace.describe({pattern})")),
            ["id|bigint|csv", "when|date|csv", "code|text|csv", "note|text|csv", "extra|numeric|csv"],
        );
        let peek = format!("SELECT p->>'Id', p->>'Code', p->>'Note' IS NULL FROM millrace.peek({pattern}, 1) AS p");
        assert_eq!(session.lines(&peek), ["1|0012|t"]);
        assert_eq!(session.number(&format!("SELECT count(*) FROM millrace.peek({pattern})")), 3);
        assert_eq!(session.number(&format!("SELECT count(*) FROM millrace.peek({pattern}, 0)")), 0);

        session.execute(&format!(
            "CREATE SCHEMA staging;
             SELECT millrace.create_pipeline('p', source => {pattern}, columns => 'id int, \"when\" date, code text, note text',
                    staging => 'staging.p', semi_processed => {}, every => NULL)",
            quote(&places.url(&places.semi_processed))
        ));
        session.execute("CALL millrace.run('p')");
        let layer = quote(&places.url(&places.semi_processed));
        assert_eq!(
            session.line(&format!(
                "SELECT data_type, format, version > 0 FROM millrace.describe({layer}) WHERE column_name = 'when'"
            )),
            "date|delta|t"
        );
        assert_eq!(
            session.lines(&format!(
                "SELECT p->>'id', p->>'when', p->>'code' FROM millrace.peek({layer}, 2) AS p ORDER BY 1"
            )),
            ["1|2024-01-02|0012", "2|2024-01-03|0013"]
        );
        session.raises(&format!("SELECT millrace.peek({layer}, -1)"), "22023");
        session.raises(&format!("SELECT millrace.describe({}, '{{\"nonsense\": 1}}')", pattern), "22023");
        session.raises(&format!("SELECT millrace.list({})", quote("az://elsewhere/x")), "42704");
}

    fn files_of_every_format_and_compression_and_the_live_files_of_a_delta_table_are_shown(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        let compressions = [("", "none"), (".gz", "gzip"), (".zst", "zstd"), (".sz", "snappy"), (".bz2", "bz2")];
        let kinds = [("csv", csv(1, 4)), ("json", json(1, 4)), ("parquet", parquet(1, 4))];
        for (format, content) in &kinds {
            for (ending, how) in compressions.iter().take(if *format == "parquet" { 1 } else { 5 }) {
                let place = format!("{format}_{how}");
                case.lake.create(&case.server, &place);
                case.lake.put(&place, &format!("1.{format}{ending}"), &compress(content, how));
                let at = quote(&case.lake.url(&place));
                let columns = format!("SELECT string_agg(column_name || ' ' || format, ', ' ORDER BY column_name) FROM millrace.describe({at})");
                assert_eq!(case.session.value(&columns), format!("amount {format}, id {format}, note {format}"), "{place}");
                let rows = format!("SELECT string_agg(r ->> 'id', ' ' ORDER BY r ->> 'id') FROM millrace.peek({at}) r");
                assert_eq!(case.session.value(&rows), "1 2 3", "{place}");
                assert_eq!(case.session.value(&format!("SELECT path FROM millrace.list({at})")), format!("1.{format}{ending}"));
            }
        }
        case.lake.land("1.csv", b"id\n1\n2\n");
        case.session.execute(&format!(
            r#"SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', raw => '{}', every => NULL,
                   options => '{{"settle": 0}}')"#,
            case.lake.landing(),
            case.lake.url("raw")
        ));
        case.run();
        case.lake.put("raw", "left_over.parquet", &parquet(1, 2));
        let shown = case.session.rows(&format!("SELECT path, size, etag, modified > now() - interval '1 hour' FROM millrace.list({})", quote(&case.lake.url("raw"))));
        assert_eq!(shown.len(), 1, "{shown:?}");
        let [Some(path), Some(size), None, Some(recent)] = shown[0].as_slice() else { panic!("{shown:?}") };
        assert_eq!((case.lake.get("raw", path).len().to_string(), recent.as_str()), (size.clone(), "t"));
    }
}

#[test]
fn whoever_may_not_read_local_files_looks_at_none() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("look");
    session.execute("CREATE ROLE look_admin LOGIN IN ROLE millrace_admin");
    let mut admin = server.session_as("look", "look_admin");
    for function in ["list", "describe", "peek"] {
        admin.raises(&format!("SELECT millrace.{function}('file:///tmp')"), "42501");
    }
}
