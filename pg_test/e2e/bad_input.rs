//! Bad input is refused with SQLSTATE, detail and hint, and changes nothing: not a row, not a table, not a file.

use crate::lake::{self, Lake, Storage};
use crate::server::{Preload, Server};
use crate::sql::{Session, quote};
use std::sync::Arc;

struct Case {
    _server: Arc<Server>,
    session: Session,
    lake: Lake,
}

/// A database with one good pipeline 'good' over one landed file, nothing loaded yet.
fn case(name: &str) -> Case {
    let lake::Case { server, mut session, lake, .. } = lake::Case::new(Storage::of(module_path!()), name, Preload::No);
    lake.land("one.csv", b"id,amount\n1,1.50\n2,2.50\n");
    session.execute(&format!(
        "SELECT millrace.create_pipeline('good', source => '{}/*.csv', columns => 'id int, amount numeric', staging => 'staging.good', every => NULL,
                options => '{{\"settle\": 0}}')",
        lake.landing()
    ));
    Case { _server: server, session, lake }
}

impl Case {
    /// A call of create_pipeline for a new pipeline with these arguments changed.
    fn create(&self, arguments: &[(&str, &str)]) -> String {
        let source = quote(&format!("{}/*.csv", self.lake.landing()));
        let mut all = vec![
            ("name", "'new'"),
            ("source", &source),
            ("columns", "'id int, amount numeric'"),
            ("staging", "'staging.new'"),
            ("every", "NULL"),
        ];
        for (name, value) in arguments {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        let all: Vec<String> = all.iter().map(|(name, value)| format!("{name} => {value}")).collect();
        format!("SELECT millrace.create_pipeline({})", all.join(", "))
    }

    /// The statement raises this, says where and what to do, and leaves everything as it was. Returns message and detail.
    fn refuses(&mut self, sql: &str, state: &str) -> String {
        let before = self.digest();
        let error = self.session.refused(sql, state);
        assert_eq!(self.digest(), before, "something changed: {sql}");
        format!("{} / {} / {}", error.message(), error.detail().unwrap_or(""), error.hint().unwrap_or(""))
    }

    /// As [`Case::refuses`], where the message alone says it all: a NULL, a name that is not known.
    fn raises(&mut self, sql: &str, state: &str) -> String {
        let before = self.digest();
        let error = self.session.raises(sql, state);
        assert_eq!(self.digest(), before, "something changed: {sql}");
        error.message().to_string()
    }

    /// Everything a refused call might have touched: the extension's tables, all other relations, the lake's files.
    fn digest(&mut self) -> Vec<String> {
        let tables = self.session.lines(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' ORDER BY 1",
        );
        let mut digest: Vec<String> = tables
            .iter()
            .map(|table| {
                let rows =
                    format!("SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {table} t");
                format!("{table} {}", self.session.value(&rows))
            })
            .collect();
        digest.extend(self.session.lines("SELECT relname, relkind FROM pg_class WHERE oid >= 16384 ORDER BY 1, 2"));
        digest.extend(self.lake.list(""));
        digest
    }
}

#[test]
fn an_unknown_option_with_the_known_ones_listed() {
    let mut case = case("bad_option");
    let sql = case.create(&[("options", "'{\"max_file_per_chunk\": 3}'")]);
    let said = case.refuses(&sql, "22023");
    assert!(
        said.contains("max_file_per_chunk") && said.contains("max_files_per_chunk") && said.contains("settle"),
        "{said}"
    );
}

#[test]
fn an_option_with_a_value_of_the_wrong_kind() {
    let mut case = case("bad_value");
    for options in ["{\"max_files_per_chunk\": 0}", "{\"delimiter\": \"ab\"}", "[]"] {
        let sql = case.create(&[("options", &quote(options))]);
        case.refuses(&sql, "22023");
    }
    let sql = case.create(&[("options", &quote("{\"settle\": \"1 s\", \"max_files_per_chunk\": \"many\"}"))]);
    let refused = case.refuses(&sql, "22023");
    assert!(refused.contains("option \"max_files_per_chunk\" can't be \"many\""), "{refused}");
}

#[test]
fn malformed_columns() {
    let mut case = case("bad_columns");
    let sql = case.create(&[("columns", "'id int,, amount'")]);
    case.refuses(&sql, "22023");
    let sql = case.create(&[("columns", "'id int, amount nosuchtype'")]);
    case.refuses(&sql, "22023");
    let sql = case.create(&[("columns", "'id int); DROP TABLE staging.good; --'")]);
    case.refuses(&sql, "22023");
    let sql = case.create(&[("columns", "'id int, _chunk_no bigint'")]);
    case.refuses(&sql, "22023");
}

#[test]
fn a_raw_location_that_holds_something_else() {
    let mut case = case("bad_raw");
    case.lake.create(&case._server, "other");
    case.lake.put("other", "photo.jpg", b"not a table");
    let sql = case.create(&[("raw", &quote(&case.lake.url("other")))]);
    let said = case.refuses(&sql, "42809");
    assert!(said.contains("other"), "{said}");
}

#[test]
fn a_staging_table_that_does_not_fit() {
    let mut case = case("bad_staging");
    case.session.execute("CREATE TABLE staging.taken (something_else date)");
    let sql = case.create(&[("staging", "'staging.taken'")]);
    let said = case.refuses(&sql, "42809");
    assert!(said.contains("taken"), "{said}");
}

#[test]
fn a_second_pipeline_of_the_same_name() {
    let mut case = case("bad_second");
    let sql = case.create(&[("name", "'good'")]);
    case.refuses(&sql, "42710");
}

#[test]
fn an_aggregate_over_another_table() {
    let mut case = case("bad_aggregate");
    case.session.execute("CREATE TABLE staging.other (id int)");
    case.refuses(
        "SELECT millrace.create_aggregate('good', 'a', 'SELECT id, count(*) FROM staging.other GROUP BY id')",
        "42809",
    );
}

#[test]
fn an_ack_of_a_chunk_that_is_not_leased_and_one_with_a_stale_token() {
    let mut case = case("bad_ack");
    case.session.execute("CALL millrace.run('good')");
    case.session.execute("SELECT millrace.create_consumer('good', 'c', start_at => 'earliest')");
    case.refuses("SELECT millrace.ack('good', 'c', 1)", "MR002");

    let first =
        case.session.value("SELECT token FROM millrace.next_chunk('good', 'c', worker => 'a', lease => '100 ms')");
    case.session.execute("SELECT pg_sleep(0.2)");
    let second = case.session.value("SELECT token FROM millrace.next_chunk('good', 'c', worker => 'b')");
    assert_ne!(first, second);
    for call in ["ack('good', 'c', 1, token => ", "nack('good', 'c', 1, token => ", "extend('good', 'c', 1, token => "]
    {
        case.refuses(&format!("SELECT millrace.{call}{})", quote(&first)), "MR001");
    }
    case.session.execute(&format!("SELECT millrace.ack('good', 'c', 1, token => {})", quote(&second)));
}

#[test]
fn null_for_what_is_needed() {
    let mut case = case("bad_null");
    case.session.execute("SELECT millrace.create_consumer('good', 'c')");
    let name = case.create(&[("name", "NULL")]);
    let source = case.create(&[("source", "NULL")]);
    for sql in [
        name.as_str(),
        source.as_str(),
        "CALL millrace.run(NULL)",
        "SELECT millrace.pause(NULL)",
        "SELECT millrace.drop_pipeline(NULL)",
        "SELECT millrace.create_aggregate('good', NULL, 'SELECT id, count(*) FROM staging.good GROUP BY id')",
        "SELECT millrace.create_aggregate('good', 'a', NULL)",
        "SELECT millrace.create_consumer('good', NULL)",
        "SELECT * FROM millrace.next_chunk('good', NULL)",
        "SELECT millrace.ack('good', 'c', NULL)",
        "SELECT * FROM millrace.verify(NULL)",
        "SELECT millrace.simulate(NULL, 'file:///tmp')",
    ] {
        case.raises(sql, "22004");
    }
}

#[test]
fn names_that_are_not_known() {
    let mut case = case("bad_names");
    for sql in [
        "CALL millrace.run('nope')",
        "SELECT millrace.pause('nope')",
        "SELECT millrace.resume('nope')",
        "SELECT millrace.drop_pipeline('nope')",
        "SELECT millrace.alter_pipeline('nope', every => '1 s')",
        "SELECT * FROM millrace.verify('nope')",
        "SELECT millrace.create_consumer('nope', 'c')",
        "SELECT * FROM millrace.next_chunk('good', 'nope')",
    ] {
        let said = case.raises(sql, "42704");
        assert!(said.contains("nope"), "{said}");
    }
}
