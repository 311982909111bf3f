//! Files whose columns change: added, rescued, ignored or a reason to stop, and never a value lost without a word.

use crate::lake::{self, Lake, Storage};
use crate::retail;
use crate::server::{Preload, Server};
use crate::sql::Session;
use std::sync::Arc;

struct Case {
    _server: Arc<Server>,
    session: Session,
    lake: Lake,
}

fn case(name: &str, options: &str) -> Case {
    let lake::Case { server, mut session, lake, .. } = lake::Case::new(Storage::of(module_path!()), name, Preload::No);
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, n int, note text DEFAULT ''none''', staging => 'staging.p',
            raw => '{}', semi_processed => '{}', every => NULL, options => '{}')",
        lake.landing(),
        lake.url("raw"),
        lake.url("clean"),
        options.replacen('{', "{\"settle\": 0, ", 1)
    ));
    Case { _server: server, session, lake }
}

impl Case {
    fn run(&mut self) {
        self.session.execute("CALL millrace.run('p')");
    }

    fn land_and_run(&mut self, file: &str, content: &str) {
        self.lake.land(file, content.as_bytes());
        self.run();
    }

    fn verified(&mut self) {
        retail::assert_verified(&mut self.session, "p");
    }
}

#[test]
fn a_column_that_is_added_is_in_every_table_and_layer_from_its_chunk_on() {
    let mut case = case("schemas_add", r#"{"on_new_column": "add"}"#);
    case.land_and_run("1.csv", "id,n\n1,1\n");
    case.land_and_run("2.csv", "Colour,n,id,colour2,note\nred,2,2,x,y\n,3,3,,\n");
    case.land_and_run("3.csv", "id,note\n4,z\n");
    assert_eq!(
        case.session.lines("SELECT id, n, note, colour, colour2 FROM staging.p ORDER BY id"),
        ["1|1|none||", "2|2|y|red|x", "3|3|||", "4||z||"]
    );
    assert_eq!(
        case.session.lines("SELECT subject FROM millrace.events WHERE kind = 'column_added' ORDER BY id"),
        ["colour", "colour2"]
    );
    let clean =
        format!("SELECT r ->> 'colour' FROM millrace.peek('{}') r WHERE r ->> 'id' = '2'", case.lake.url("clean"));
    assert_eq!(case.session.value(&clean), "red");
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.chunks"), 3);
    case.verified();
}

#[test]
fn added_columns_reach_the_changes_of_a_keyed_pipeline() {
    let mut case = case("schemas_keyed", r#"{"on_new_column": "add", "primary_key": "id"}"#);
    case.land_and_run("1.csv", "id,n\n1,1\n");
    case.land_and_run("2.csv", "id,n,colour\n1,2,red\n2,2,blue\n");
    let changes = "SELECT _op, id, n, colour FROM staging.p_changes WHERE _chunk_no = 2 ORDER BY id";
    assert_eq!(case.session.lines(changes), ["update|1|2|red", "insert|2|2|blue"]);
    assert_eq!(case.session.lines("SELECT id, n, colour FROM staging.p_replaced"), ["1|1|"]);
    case.verified();
}

#[test]
fn what_no_column_takes_is_rescued_and_so_is_what_does_not_fit() {
    let mut case = case("schemas_rescue", r#"{"on_new_column": "rescue"}"#);
    case.land_and_run("1.csv", "id,n,colour,size\n1,1,red,\n2,many,blue,9\n3,3,,\nx,4,green,1\n5,12345678901,,\n");
    assert_eq!(
        case.session.lines("SELECT id, n, _rescued FROM staging.p ORDER BY id"),
        [
            r#"1|1|{"colour": "red"}"#,
            r#"2||{"n": "many", "size": "9", "colour": "blue"}"#,
            "3|3|",
            r#"5||{"n": "12345678901"}"#,
            r#"|4|{"id": "x", "size": "1", "colour": "green"}"#,
        ]
    );
    case.verified();
}

#[test]
fn a_new_column_stops_a_pipeline_that_wants_none_with_both_schemas_in_the_reason() {
    let mut case = case("schemas_fail", r#"{"on_new_column": "fail"}"#);
    case.land_and_run("1.csv", "id,n\n1,1\n");
    case.lake.land("2.csv", b"id,n,colour\n2,2,red\n");
    let error = case.session.refused("CALL millrace.run('p')", "23514");
    assert!(error.message().contains("colour"), "{}", error.message());
    let detail = error.detail().unwrap_or_default();
    assert!(detail.contains("id, n, colour") && detail.contains("n integer"), "{detail}");
    assert_eq!(case.session.value("SELECT state FROM millrace.pipelines"), "stopped");
    case.session.refused(r#"SELECT millrace.alter_pipeline('p', options => '{"on_new_column": "rescue"}')"#, "42809");
    case.session.execute(
        r#"SELECT millrace.alter_pipeline('p', options => '{"on_new_column": "ignore"}'); SELECT millrace.resume('p')"#,
    );
    case.run();
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 2);
    case.verified();
}

#[test]
fn a_column_whose_name_is_taken_can_not_be_added() {
    let mut case = case("schemas_taken", r#"{"on_new_column": "add"}"#);
    case.lake.land("1.csv", b"id,n,_chunk_no\n1,1,7\n");
    let error = case.session.refused("CALL millrace.run('p')", "23514");
    assert!(error.message().contains("_chunk_no"), "{}", error.message());
}
