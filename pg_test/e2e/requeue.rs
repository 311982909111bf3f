//! Rejects that come back: what a fix repairs is loaded as a chunk like any other, what fails again stays with its new reason.

use crate::lake::{Lake, Storage, on_each_storage};
use crate::server::{Preload, Server, note, wait_until};
use crate::sql::Session;
use crate::{copier, retail};
use std::sync::Arc;
use std::time::Duration;

struct Case {
    _server: Arc<Server>,
    session: Session,
    lake: Lake,
}

fn case(storage: Storage, name: &str) -> Case {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(name);
    let lake = Lake::new(storage, &server, &mut session, name);
    lake.create(&server, "in");
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, amount numeric, kind varchar(3)', staging => 'staging.p', every => NULL, options => '{{\"settle\": 0}}');
         SELECT millrace.add_expectation('p', 'positive', 'amount > 0')",
        lake.url("in")
    ));
    Case { _server: server, session, lake }
}

impl Case {
    fn land_and_run(&mut self, file: &str, content: &str) {
        self.lake.put("in", file, content.as_bytes());
        self.session.execute("CALL millrace.run('p')");
    }

    fn requeue(&mut self, arguments: &str) -> i64 {
        self.session.number(&format!("SELECT millrace.requeue_rejects('p'{arguments})"))
    }

    fn loaded(&mut self) -> String {
        self.session
            .value("SELECT string_agg(concat_ws(':', _chunk_no, id, amount, kind), ' ' ORDER BY id) FROM staging.p")
    }

    fn rejects(&mut self) -> Vec<String> {
        self.session
            .lines("SELECT raw, status, reasons -> 0 ->> 'sqlstate' FROM staging.p_rejects ORDER BY chunk_no, _row_no")
    }

    fn verified(&mut self) {
        retail::assert_verified(&mut self.session, "p");
    }
}

on_each_storage! {
fn a_fix_of_the_negative_quantities_of_the_invoices_moves_exactly_those(storage, cell) {
    let Some(files) = retail::files() else { return note("requeue: skipped, the shared data is not here") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let places = retail::Places::on(storage, &server, &mut session, cell);
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "NULL");
    retail::create_aggregate(&mut session, &places);
    copier::create(&mut session);
    session.execute(
        "SELECT millrace.add_expectation('invoices', 'positive quantity', 'Quantity > 0');
         SELECT millrace.add_expectation('invoices', 'positive price', 'UnitPrice > 0')",
    );
    files.iter().for_each(|file| places.land(file));
    session.execute("CALL millrace.run('invoices')");
    let negative = r#"reasons @> '[{"rule": "positive quantity"}]'"#;
    let alone = format!("{negative} AND jsonb_array_length(reasons) = 1");
    let moved = session.number(&format!("SELECT count(*) FROM staging.invoices_rejects WHERE {alone}"));
    let before = session.line("SELECT count(*), sum(quantity * unitprice) FROM staging.invoices");
    assert_eq!(before, retail::SOLD);

    let fix = "quantity = abs(Quantity)";
    let loaded =
        session.number(&format!("SELECT millrace.requeue_rejects('invoices', $w${negative}$w$, fix => '{fix}')"));
    assert_eq!(loaded, moved);
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices"), 203_954 + moved);
    assert_eq!(
        session
            .line("SELECT row_count, requeued_count, reject_count FROM millrace.chunks ORDER BY chunk_no DESC LIMIT 1"),
        format!("{moved}|{moved}|0")
    );
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices_rejects WHERE status = 'requeued'"), moved);
    assert_eq!(
        session.number("SELECT count(*) FROM staging.invoices_rejects WHERE status = 'rejected'"),
        5_075 - moved
    );
    // What has no price either stays for that alone.
    assert_eq!(
        session
            .number(&format!("SELECT count(*) FROM staging.invoices_rejects WHERE status = 'rejected' AND {negative}")),
        0
    );

    copier::drain(&mut session);
    assert_eq!(retail::totals(&mut session, "copier.invoices"), retail::totals(&mut session, "staging.invoices"));
    retail::assert_view_is_recompute(&mut session, "staging.by_country", retail::AGGREGATE);
    session.execute("CALL millrace.run('invoices')");
    wait_until("all chunks are published", Duration::from_secs(60), || retail::all_published(&mut session));
    retail::assert_verified(&mut session, "invoices");
}

fn what_fails_again_stays_with_its_new_reason_and_the_rest_is_loaded(storage, cell) {
    let mut case = case(storage, cell);
    case.land_and_run("1.csv", "id,amount,kind\n1,-1,a\n2,-2,toolong\nx,3,a\n4,4,a\n5,6\n7,0,b\n");
    assert_eq!(
        case.rejects(),
        [
            "1,-1,a|rejected|23514",
            "2,-2,toolong|rejected|22001",
            "x,3,a|rejected|22P02",
            "5,6|rejected|22P04",
            "7,0,b|rejected|23514"
        ]
    );
    assert_eq!(case.requeue(", fix => 'amount = abs(amount)'"), 1);
    assert_eq!(case.loaded(), "2:1:1:a 1:4:4:a");
    assert_eq!(case.requeue(", fix => 'kind = left(kind, 3), amount = -amount, id = 9 * id'"), 1);
    assert_eq!(case.loaded(), "2:1:1:a 1:4:4:a 3:18:2:too");
    assert_eq!(
        case.rejects(),
        [
            "1,-1,a|requeued|23514",
            "2,-2,toolong|requeued|22001",
            "x,3,a|rejected|22P02",
            "5,6|rejected|22P04",
            "7,0,b|rejected|23514"
        ]
    );
    case.verified();
}

fn rejects_come_back_when_the_rule_or_the_table_has_changed_and_no_chunk_is_sealed_when_none_does(storage, cell) {
    let mut case = case(storage, cell);
    case.land_and_run("1.csv", "kind,amount,id\na,-1,1\n");
    case.land_and_run("2.csv", "id,amount\n2,-2\n");
    assert_eq!(case.requeue(""), 0);
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.chunks"), 2);
    case.session.execute("SELECT millrace.alter_expectation('p', 'positive', on_violation => 'warn')");
    assert_eq!(case.requeue(", 'chunk_no = 2'"), 1);
    assert_eq!(case.requeue(", where_clause => $$file LIKE '1%'$$, fix => 'kind = ''b'''"), 1);
    assert_eq!(case.loaded(), "4:1:-1:b 3:2:-2");
    assert_eq!(case.requeue(""), 0);
    assert_eq!(
        case.session.line("SELECT sum(checked), sum(violated) FROM millrace.expectation_results WHERE chunk_no > 2"),
        "2|2"
    );
    case.verified();
}

fn what_was_rejected_before_is_not_read_by_the_next_chunk_and_comes_back_in_parts_that_fit_into_memory(storage, cell) {
    let mut case = case(storage, cell);
    let lines: String = (1..=250).map(|id| format!("{id},-{id},a\n")).collect();
    case.land_and_run("1.csv", &format!("id,amount,kind\n{lines}"));
    let read = |case: &mut Case| {
        case.session.execute("SELECT pg_stat_force_next_flush()");
        case.session.value(
            "SELECT concat_ws(' ', sum(seq_tup_read), sum(idx_tup_fetch)) FROM pg_stat_user_tables WHERE relname LIKE 'p\\_rejects%'",
        )
    };
    let before = read(&mut case);
    case.land_and_run("2.csv", "id,amount,kind\n1001,1,a\n1002,-1,a\n");
    assert_eq!(read(&mut case), before, "loading reads no earlier reject");
    case.session.execute("SELECT millrace.alter_pipeline('p', options => '{\"max_rows_per_chunk\": 100}')");
    assert_eq!(case.requeue(", where_clause => 'row_no <> 7 OR chunk_no = 2', fix => 'amount = CASE WHEN id % 2 = 0 THEN -amount ELSE amount END'"), 126);
    assert_eq!(
        case.session.lines("SELECT row_count, requeued_count FROM millrace.chunks WHERE chunk_no > 2 ORDER BY chunk_no"),
        ["50|50", "50|50", "26|26"]
    );
    let left = "SELECT count(*) FROM staging.p_rejects WHERE status = 'rejected'";
    assert_eq!(case.session.number(left), 125);
    assert_eq!(case.requeue(", fix => 'amount = -amount'"), 125);
    assert_eq!(case.session.line("SELECT count(*), count(DISTINCT id) FROM staging.p"), "252|252");
    case.verified();
}

fn rejects_of_many_chunks_come_back_each_once_in_the_order_of_their_chunks(storage, cell) {
    let mut case = case(storage, cell);
    case.session.execute("SELECT millrace.alter_pipeline('p', options => '{\"max_rows_per_chunk\": 100}')");
    for file in 0..12 {
        let lines: String = (1..=30).map(|n| format!("{},-1,a\n", file * 30 + n)).collect();
        case.land_and_run(&format!("{file:02}.csv"), &format!("id,amount,kind\n{lines}"));
    }
    // A fifth of them: more chunks are looked through than there are rows in one.
    assert_eq!(case.requeue(", where_clause => $$raw LIKE '%0,-1,a' OR raw LIKE '%5,-1,a'$$, fix => 'amount = 1'"), 72);
    assert_eq!(case.requeue(", fix => 'amount = 2'"), 288);
    assert_eq!(
        case.session.lines("SELECT row_count FROM millrace.chunks WHERE chunk_no > 12 ORDER BY chunk_no"),
        ["72", "100", "100", "88"]
    );
    let in_order = "SELECT count(*) FROM (SELECT id < lag(id) OVER (ORDER BY _chunk_no, _row_no) AS earlier FROM staging.p WHERE _chunk_no > 13) s WHERE earlier";
    assert_eq!(case.session.number(in_order), 0);
    assert_eq!(case.session.line("SELECT count(*), count(DISTINCT id) FROM staging.p"), "360|360");
    case.verified();
}

fn rejects_come_back_where_all_tables_are_published_to_replicas(storage, cell) {
    let mut case = case(storage, cell);
    case.session.execute("CREATE PUBLICATION everything FOR ALL TABLES");
    case.land_and_run("1.csv", "id,amount,kind\n1,-1,a\n2,-2,a\n");
    assert_eq!(case.requeue(", fix => 'amount = CASE id WHEN 1 THEN 1 ELSE amount END'"), 1);
    assert_eq!(case.rejects(), ["1,-1,a|requeued|23514", "2,-2,a|rejected|23514"]);
    case.verified();
}

fn rows_that_a_rule_would_drop_or_stop_at_stay_rejects(storage, cell) {
    let mut case = case(storage, cell);
    case.land_and_run("1.csv", "id,amount,kind\n1,-1,a\n2,-2,a\n");
    case.session.execute("SELECT millrace.alter_expectation('p', 'positive', on_violation => 'drop')");
    assert_eq!(case.requeue(", fix => 'amount = CASE id WHEN 1 THEN 1 ELSE amount END'"), 1);
    case.session.execute("SELECT millrace.alter_expectation('p', 'positive', on_violation => 'fail')");
    assert_eq!(case.requeue(""), 0);
    assert_eq!(case.rejects(), ["1,-1,a|requeued|23514", "2,-2,a|rejected|23514"]);
    case.verified();
}

fn a_rollback_takes_everything_back(storage, cell) {
    let mut case = case(storage, cell);
    case.land_and_run("1.csv", "id,amount,kind\n1,-1,a\n");
    case.session.execute("BEGIN; SELECT millrace.requeue_rejects('p', fix => 'amount = 1'); ROLLBACK");
    assert_eq!(case.loaded(), "");
    assert_eq!(case.rejects(), ["1,-1,a|rejected|23514"]);
    case.land_and_run("2.csv", "id,amount,kind\n2,2,a\n");
    assert_eq!(case.loaded(), "2:2:2:a");
    case.verified();
}

fn hostile_clauses_and_fixes_are_refused(storage, cell) {
    let mut case = case(storage, cell);
    case.land_and_run("1.csv", "id,amount,kind\n1,-1,a\n");
    for (arguments, state) in [
        (", 'EXISTS (SELECT FROM pg_class)'", "0A000"),
        (", 'random() < 2'", "0A000"),
        (", 'true) OR (true'", "42601"),
        (", fix => 'amount = (SELECT 1)'", "0A000"),
        (", fix => 'amount = random()'", "0A000"),
        (", fix => 'amount = 1 WHERE true'", "22023"),
        (", fix => 'amount = 1; DROP TABLE staging.p'", "22023"),
        (", fix => '(id, amount) = (1, 2)'", "22023"),
        (", fix => 'amount = 1, amount = 2'", "22023"),
        (", fix => '_chunk_no = 7'", "22023"),
        (", fix => 'nothing = 7'", "22023"),
        (", fix => ''", "42601"),
        (", NULL", "22004"),
    ] {
        case.session.raises(&format!("SELECT millrace.requeue_rejects('p'{arguments})"), state);
    }
    // An error in a fix at run time is that record's reason.
    assert_eq!(case.requeue(", fix => 'amount = 1 / (id - 1)'"), 0);
    assert_eq!(case.rejects(), ["1,-1,a|rejected|22012"]);
    case.verified();
}
}
