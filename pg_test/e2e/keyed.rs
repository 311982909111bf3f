//! Keyed pipelines: staging is the present state of each key, every chunk is what it changed, and no record is lost from the count.

use crate::lake::{self, Lake, Storage};
use crate::retail;
use crate::server::{Preload, Server};
use crate::sql::Session;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Case {
    _server: Arc<Server>,
    session: Session,
    lake: Lake,
}

const COLUMNS: &str = "id int, at int, v text, op text";

fn case(name: &str, columns: &str, options: &str) -> Case {
    let mut case = empty(name);
    case.session.execute(&create(&case.lake, columns, options));
    case
}

/// Without a pipeline.
fn empty(name: &str) -> Case {
    let lake::Case { server, session, lake, .. } = lake::Case::new(Storage::of(module_path!()), name, Preload::No);
    Case { _server: server, session, lake }
}

fn create(lake: &Lake, columns: &str, options: &str) -> String {
    format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => '{columns}', staging => 'staging.p', every => NULL, options => '{}')",
        lake.landing(),
        options.replacen('{', if options == "{}" { "{\"settle\": 0" } else { "{\"settle\": 0, " }, 1)
    )
}

impl Case {
    fn land(&mut self, file: &str, lines: &str) {
        self.lake.land(file, format!("id,at,v,op\n{lines}").as_bytes());
        self.run();
    }

    fn run(&mut self) {
        self.session.execute("CALL millrace.run('p')");
    }

    fn state(&mut self) -> String {
        self.session.value("SELECT string_agg(concat_ws(':', id, v), ' ' ORDER BY id) FROM staging.p")
    }

    fn changes(&mut self, chunk_no: i64) -> String {
        self.session.value(&format!(
            "SELECT string_agg(concat_ws(':', _op, id, v), ' ' ORDER BY id) FROM millrace.chunk_rows(NULL::staging.p_changes, {chunk_no})"
        ))
    }

    fn replaced(&mut self, chunk_no: i64) -> String {
        self.session.value(&format!(
            "SELECT string_agg(concat_ws(':', id, v), ' ' ORDER BY id) FROM staging.p_replaced WHERE _chunk_no = {chunk_no}"
        ))
    }

    fn counts(&mut self) -> Vec<String> {
        self.session.lines(
            "SELECT row_count, reject_count, dropped_count, duplicate_count FROM millrace.chunks ORDER BY chunk_no",
        )
    }

    fn verified(&mut self) {
        retail::assert_verified(&mut self.session, "p");
        assert_eq!(self.session.number("SELECT count(*) FROM staging.p_incoming"), 0);
        assert_eq!(
            self.session.number("SELECT coalesce(sum(row_count + duplicate_count - requeued_count + reject_count + dropped_count), 0) FROM millrace.chunks"),
            self.session
                .number("SELECT coalesce(sum((f ->> 'records')::int), 0) FROM millrace.chunks, jsonb_array_elements(source -> 'files') f"),
            "loaded + duplicates + rejected + dropped = landed"
        );
    }
}

#[test]
fn the_newest_row_of_a_key_stays_within_a_chunk_and_across_chunks_and_ties_go_to_the_later_row() {
    let mut case = case("keyed_newest", COLUMNS, r#"{"primary_key": "id", "order_by": "at"}"#);
    case.land("1.csv", "1,1,a,\n2,2,b,\n1,3,c,\n1,2,d,\n,1,x,\n3,,n,\n3,,m,\n");
    assert_eq!((case.state().as_str(), case.changes(1).as_str()), ("1:c 2:b 3:m", "insert:1:c insert:2:b insert:3:m"));
    assert_eq!(case.replaced(1), "");
    case.land("2.csv", "1,2,old,\n2,2,tie,\n4,9,new,\n3,1,known,\n2,,unknown,\n");
    assert_eq!(case.state(), "1:c 2:tie 3:known 4:new");
    assert_eq!(case.changes(2), "update:2:tie update:3:known insert:4:new");
    assert_eq!(case.replaced(2), "2:b 3:m");
    assert_eq!(case.counts(), ["3|1|0|3", "3|0|0|2"]);
    assert_eq!(
        case.session.lines("SELECT rows, rejects, duplicates FROM millrace.files ORDER BY path"),
        ["3|1|3", "3|0|2"]
    );
    let reason = "SELECT reasons -> 0 ->> 'column', reasons -> 0 ->> 'sqlstate' FROM staging.p_rejects";
    assert_eq!(case.session.line(reason), "id|23502");
    case.verified();
}

#[test]
fn with_ignore_the_first_row_of_a_key_stays() {
    let mut case = case("keyed_ignore", COLUMNS, r#"{"primary_key": ["ID"], "on_conflict": "ignore"}"#);
    case.lake.land("1.csv", b"id,at,v,op\n1,1,a,\n2,1,b,\n1,2,c,\n");
    case.lake.land("2.csv", b"id,at,v,op\n2,9,d,\n3,1,e,\n");
    case.run();
    case.land("3.csv", "1,9,x,\n2,9,y,\n");
    assert_eq!(case.state(), "1:a 2:b 3:e");
    assert_eq!(case.counts(), ["3|0|0|2", "0|0|0|2"]);
    assert_eq!(case.session.lines("SELECT rows, duplicates FROM millrace.files ORDER BY path"), ["2|1", "1|1", "0|2"]);
    case.verified();
}

#[test]
fn rows_that_say_so_take_their_key_away_and_are_not_judged() {
    let options = r#"{"primary_key": "id", "order_by": "at", "delete_when": "op = ''D''"}"#;
    let mut case = case("keyed_delete", COLUMNS, options);
    case.session.execute("SELECT millrace.add_expectation('p', 'has a value', 'v IS NOT NULL')");
    case.land("1.csv", "1,1,a,I\n2,1,b,I\n3,1,c,I\n4,1,d,I\n4,2,,D\n5,1,,I\n");
    assert_eq!((case.state().as_str(), case.changes(1).as_str()), ("1:a 2:b 3:c", "insert:1:a insert:2:b insert:3:c"));
    // Too old; nothing there; away and back again.
    case.land("2.csv", "1,2,,D\n2,0,,D\n9,1,,D\n3,2,,D\n3,3,back,I\n");
    assert_eq!(case.state(), "2:b 3:back");
    assert_eq!(case.changes(2), "delete:1:a update:3:back");
    assert_eq!(case.replaced(2), "3:c");
    assert_eq!(case.counts(), ["3|1|0|2", "2|0|0|3"]);
    case.verified();
}

#[test]
fn whatever_comes_the_state_is_that_of_a_row_by_row_replay_and_a_consumers_copy_equals_it() {
    let options = r#"{"primary_key": ["id"], "order_by": ["at"], "delete_when": "op = ''D''"}"#;
    let mut case = case("keyed_random", COLUMNS, options);
    case.session.execute(
        "SELECT millrace.create_consumer('p', 'copy'); CREATE TABLE copy (id int PRIMARY KEY, at int, v text, op text)",
    );
    let mut random = 7u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut model: BTreeMap<u64, (Option<u64>, String)> = BTreeMap::new();
    let mut graves: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    for file in 1..=12 {
        let mut lines = String::new();
        let mut winners: BTreeMap<u64, (Option<u64>, String, bool)> = BTreeMap::new();
        for row in 0..next(120) {
            let id = next(25);
            let at = (next(8) > 0).then(|| next(6));
            let (v, delete) = (format!("f{file}r{row}"), next(4) == 0);
            let shown = at.map(|at| at.to_string()).unwrap_or_default();
            lines += &format!("{id},{shown},{v},{}\n", if delete { "D" } else { "I" });
            // None is less than Some, as NULL is here; what is there already takes part.
            let known = model.get(&id).map(|there| there.0).or_else(|| graves.get(&id).copied());
            let beaten = known.is_some_and(|known| at < known);
            if !beaten && winners.get(&id).is_none_or(|w| w.0 <= at) {
                winners.insert(id, (at, v, delete));
            }
        }
        for (id, (at, v, delete)) in winners {
            if delete {
                model.remove(&id);
                graves.insert(id, at);
            } else {
                model.insert(id, (at, v));
            }
        }
        case.land(&format!("{file:02}.csv"), &lines);
        let expected: Vec<String> = model.iter().map(|(id, (_, v))| format!("{id}:{v}")).collect();
        assert_eq!(case.state(), expected.join(" "), "after file {file}:\n{lines}");
        while !case
            .session
            .value(
            "SELECT millrace.consume('p', 'copy', $$
                WITH gone AS (DELETE FROM copy USING millrace.chunk_rows(NULL::staging.p_changes, $1) c WHERE c.id = copy.id AND c._op = 'delete')
                INSERT INTO copy SELECT id, at, v, op FROM millrace.chunk_rows(NULL::staging.p_changes, $1) WHERE _op <> 'delete'
                ON CONFLICT (id) DO UPDATE SET at = excluded.at, v = excluded.v, op = excluded.op $$)",
        )
            .is_empty()
        {}
        let differing = "SELECT count(*) FROM ((TABLE copy EXCEPT SELECT id, at, v, op FROM staging.p) UNION ALL (SELECT id, at, v, op FROM staging.p EXCEPT TABLE copy)) d";
        assert_eq!(case.session.number(differing), 0);
    }
    case.verified();
}

#[test]
fn a_chunk_looks_up_its_keys_and_does_not_read_the_table() {
    let mut case = case("keyed_cost", COLUMNS, r#"{"primary_key": ["id"], "order_by": ["at"]}"#);
    let lines = |ids: std::ops::Range<u32>, at: u32| ids.map(|id| format!("{id},{at},v{at},\n")).collect::<String>();
    case.land("1.csv", &lines(0..30_000, 1));
    // What the planner knows of the table makes reading it whole the cheaper way.
    case.session.execute("ANALYZE staging.p");
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'staging.p'::regclass";
    let settled = |case: &mut Case| {
        case.session.execute("SELECT pg_stat_force_next_flush()");
        case.session.number(read)
    };
    let before = settled(&mut case);
    case.land("2.csv", &lines(1_000..11_000, 2));
    assert_eq!(settled(&mut case), before);
    assert_eq!(case.session.value("SELECT count(*) FROM staging.p WHERE v = 'v2'"), "10000");
    case.verified();
}

#[test]
fn keys_of_several_columns_and_of_types_with_an_equality_of_their_own_are_compared_as_their_index_does() {
    let columns = "id citext, part numeric, at timestamptz, v text";
    let mut case = empty("keyed_types");
    case.session.execute("CREATE EXTENSION citext");
    case.session.execute(&create(&case.lake, columns, r#"{"primary_key": ["id", "part"], "order_by": ["at", "v"]}"#));
    for (file, lines) in [
        ("1.csv", "a,1.0,2020-01-01,x\nA,1,2020-01-01,y\nb,1,2020-01-01,z\n"),
        ("2.csv", "B,1.00,2020-01-01,a\nB,2,,q\n"),
    ] {
        case.lake.land(file, format!("id,part,at,v\n{lines}").as_bytes());
        case.run();
    }
    let rows = case.session.lines("SELECT id, trim_scale(part), v FROM staging.p ORDER BY id, part");
    assert_eq!(rows, ["A|1|y", "b|1|z", "B|2|q"]);
    case.verified();
}

#[test]
fn what_the_table_refuses_is_a_reject_and_the_other_rows_are_merged() {
    let mut case = empty("keyed_refused");
    case.session.execute(
        "CREATE TABLE kind (name text PRIMARY KEY); INSERT INTO kind VALUES ('a'), ('b');
         CREATE FUNCTION no_seven() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id = 7 THEN RAISE EXCEPTION 'no seven, please' USING ERRCODE = '23000'; END IF; RETURN NEW; END $$",
    );
    let columns = "id int, at int CHECK (at < 100), v text REFERENCES public.kind, op text";
    case.session.execute(&create(&case.lake, columns, r#"{"primary_key": "id"}"#));
    case.session.execute(
        "CREATE TRIGGER no_seven BEFORE INSERT OR UPDATE ON staging.p FOR EACH ROW EXECUTE FUNCTION no_seven()",
    );
    case.land("1.csv", "1,1,a,\n2,100,a,\n3,1,c,\n7,1,a,\n8,1,b,\n7,2,b,\n");
    assert_eq!(case.state(), "1:a 8:b");
    let rejects = "SELECT raw, reasons -> 0 ->> 'sqlstate' FROM staging.p_rejects ORDER BY _row_no";
    assert_eq!(case.session.lines(rejects), ["2,100,a,|23514", "3,1,c,|23503", "7,2,b,|23000"]);
    assert_eq!(case.counts(), ["2|3|0|1"]);
    case.verified();
    case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"order_by": "AT"}')"#);
    case.session.execute("INSERT INTO kind VALUES ('c'); DROP TRIGGER no_seven ON staging.p");
    case.land("2.csv", "3,5,a,\n");
    assert_eq!(
        case.session.number("SELECT millrace.requeue_rejects('p', 'chunk_no = 1', fix => 'at = least(at, 99)')"),
        3
    );
    assert_eq!(case.state(), "1:a 2:a 3:a 7:b 8:b");
    case.verified();
}

#[test]
fn a_requeued_row_whose_key_has_a_newer_one_by_now_is_a_duplicate() {
    let mut case = case("keyed_requeue", COLUMNS, r#"{"primary_key": "id", "order_by": "at"}"#);
    case.session.execute("SELECT millrace.add_expectation('p', 'good', 'v <> ''bad''')");
    case.land("1.csv", "1,1,bad,\n2,1,bad,\n");
    case.land("2.csv", "1,2,newer,\n");
    assert_eq!(case.session.number("SELECT millrace.requeue_rejects('p', fix => 'v = ''mended''')"), 2);
    assert_eq!((case.state().as_str(), case.changes(3).as_str()), ("1:newer 2:mended", "insert:2:mended"));
    assert_eq!(
        case.session.line("SELECT row_count, duplicate_count, requeued_count FROM millrace.chunks WHERE chunk_no = 3"),
        "1|1|2"
    );
    case.verified();
}

#[test]
fn aggregates_over_a_keyed_pipeline_equal_their_query_after_every_chunk() {
    let options = r#"{"primary_key": "id", "order_by": "at", "delete_when": "op = ''D''"}"#;
    let mut case = case("keyed_aggregate", COLUMNS, options);
    let query = "SELECT v, count(*) AS n, sum(at) AS total, min(id) AS first, max(at) AS last, count(DISTINCT op) AS ops FROM staging.p GROUP BY v";
    case.land("0.csv", "1,1,a,I\n2,2,a,I\n3,3,b,I\n");
    case.session.execute(&format!("SELECT millrace.create_aggregate('p', 'by_v', $${query}$$)"));
    for (file, lines) in [
        ("1.csv", "1,2,b,I\n4,1,a,I\n5,5,c,I\n"),
        ("2.csv", "3,4,b,D\n5,6,,D\n2,3,a,U\n2,1,z,I\n"),
        ("3.csv", "1,9,a,I\n1,9,c,I\n2,9,,D\n4,9,,D\n"),
    ] {
        case.land(file, lines);
        retail::assert_view_is_recompute(&mut case.session, "staging.by_v", query);
        case.verified();
    }
    assert_eq!(case.session.lines("SELECT v, n, total, first, last FROM staging.by_v"), ["c|1|9|1|9"]);
}

#[test]
fn the_published_layer_of_a_keyed_pipeline_is_its_changes() {
    let mut case = empty("keyed_layer");
    case.session.execute(&format!(
        r#"SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => '{COLUMNS}', staging => 'staging.p', every => NULL,
            raw => '{}', semi_processed => '{}', options => '{{"primary_key": "id", "settle": 0}}')"#,
        case.lake.landing(),
        case.lake.url("raw"),
        case.lake.url("clean"),
    ));
    case.land("1.csv", "1,1,a,\n2,1,b,\n");
    case.land("2.csv", "1,2,c,\n");
    case.verified();
    let peek = format!(
        "SELECT string_agg(concat_ws(':', r ->> '_op', r ->> 'id', r ->> 'v'), ' ' ORDER BY r ->> '_chunk_no', r ->> 'id') FROM millrace.peek('{}') AS r",
        case.lake.url("clean")
    );
    assert_eq!(case.session.value(&peek), "insert:1:a insert:2:b update:1:c");
}

#[test]
fn what_can_be_no_key_is_refused_before_anything_is_made() {
    let mut case = case("keyed_refuse", COLUMNS, "{}");
    let mut create = |columns: &str, options: &str, state: &str| {
        let sql = create(&case.lake, columns, options).replace("'p'", "'q'").replace("staging.p", "staging.q");
        let error = case.session.raises(&sql, state);
        assert!(case.session.value("SELECT to_regclass('staging.q')").is_empty(), "{sql}");
        error
    };
    let error = create(COLUMNS, r#"{"primary_key": "nothing"}"#, "22023");
    assert!(error.message().contains("nothing") && error.hint().is_some());
    create(COLUMNS, r#"{"primary_key": ["id", "ID"]}"#, "22023");
    create(COLUMNS, r#"{"order_by": "at"}"#, "22023");
    create(COLUMNS, r#"{"on_conflict": "newest"}"#, "22023");
    create(COLUMNS, r#"{"primary_key": "id", "on_conflict": "ignore", "order_by": "at"}"#, "22023");
    create(COLUMNS, r#"{"primary_key": "id", "on_conflict": "oldest"}"#, "22023");
    create(COLUMNS, r#"{"primary_key": 7}"#, "22023");
    create(COLUMNS, r#"{"primary_key": "id", "delete_when": "random() < 1"}"#, "0A000");
    create(COLUMNS, r#"{"primary_key": "id", "delete_when": "(SELECT true)"}"#, "0A000");
    create("id int, at json", r#"{"primary_key": "id", "order_by": "at"}"#, "42883");
    create("id json, at int", r#"{"primary_key": "id"}"#, "42704");
    create("id int GENERATED BY DEFAULT AS IDENTITY, v text", r#"{"primary_key": "v"}"#, "42809");
    create("id int, _op text", r#"{"primary_key": "id"}"#, "42809");
    case.session.refused(r#"SELECT millrace.alter_pipeline('p', options => '{"primary_key": "id"}')"#, "0A000");
    case.session.execute("CREATE TABLE staging.q (id int, v text, _chunk_no bigint NOT NULL, _row_no bigint NOT NULL)");
    let sql = self::create(&case.lake, "id int, v text", r#"{"primary_key": "id"}"#)
        .replace("'p'", "'q'")
        .replace("staging.p", "staging.q");
    case.session.refused(&sql, "42809");
    case.session.execute("ALTER TABLE staging.q ADD PRIMARY KEY (id)");
    case.session.execute(&sql);
}

#[test]
fn reading_a_chunk_from_the_state_is_refused_and_dropping_takes_all_tables() {
    let mut case = case("keyed_drop", COLUMNS, r#"{"primary_key": "id"}"#);
    case.land("1.csv", "1,1,a,\n");
    let error = case.session.refused_with_hint("SELECT * FROM millrace.chunk_rows(NULL::staging.p, 1)", "42809");
    assert!(error.hint().is_some_and(|h| h.contains("staging.p_changes")));
    case.session.execute("SELECT millrace.drop_pipeline('p', drop_tables => true)");
    assert_eq!(case.session.number("SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace"), 0);
}
