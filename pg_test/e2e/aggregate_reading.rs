//! What readers of aggregates rely on: the chunk that a view is of, indexes behind it, notifications, streams of changed groups, and
//! keys of any size.

use crate::lake::{Case, Lake, Storage};
use crate::retail::assert_verified;
use crate::server::Preload;
use crate::sql::Session;
use std::time::Duration;

const STATS: &str = "SELECT millrace.create_aggregate('sales', 'stats',
    'SELECT merchant, count(*) AS n, sum(amount) AS total FROM staging.sales GROUP BY merchant')";

fn sales(name: &str) -> Case {
    let mut case = Case::new(Storage::of(module_path!()), name, Preload::No);
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('sales', source => '{}/*.csv', staging => 'staging.sales', every => NULL,
                columns => 'merchant text, amount numeric', options => '{{\"settle\": 0}}')",
        case.lake.landing()
    ));
    case
}

fn load(session: &mut Session, lake: &Lake, file: &str, rows: &str) {
    lake.land(file, format!("merchant,amount\n{rows}").as_bytes());
    session.execute("CALL millrace.run('sales')");
}

#[test]
fn as_of_tells_the_chunk_that_the_view_is_of_in_the_snapshot_that_reads_it() {
    let Case { server, mut session, lake, database } = sales("aggregate_as_of");
    session.execute(STATS);
    let both = "SELECT millrace.as_of('stats'), coalesce(sum(n), 0) FROM staging.stats";
    assert_eq!(session.line(both), "0|0");
    load(&mut session, &lake, "1.csv", "a,1\nb,2\n");
    assert_eq!(session.line(both), "1|2");
    let mut reader = server.session(&database);
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(reader.line(both), "1|2");
    load(&mut session, &lake, "2.csv", "a,1\n");
    assert_eq!(reader.line(both), "1|2");
    reader.execute("COMMIT");
    assert_eq!(reader.line(both), "2|3");
    assert_eq!(session.number("SELECT millrace.as_of('sales.stats')"), 2);
    session.refused_with_hint("SELECT millrace.as_of('nothing')", "42704");
    session.refused_with_hint("SELECT millrace.as_of(NULL)", "22004");
}

#[test]
fn a_group_is_found_through_the_view_by_an_index() {
    let Case { server: _server, mut session, lake, .. } = sales("aggregate_index");
    session.execute(STATS);
    load(&mut session, &lake, "1.csv", "a,1\nb,2\n,3\n");
    session.execute("SET enable_seqscan = off");
    for condition in ["merchant = 'b'", "merchant IN ('a', 'b')", "merchant IS NULL"] {
        let plan = session.lines(&format!("EXPLAIN SELECT * FROM staging.stats WHERE {condition}")).join("\n");
        assert!(plan.contains("stats_state_k1_idx") && plan.contains("Index Cond"), "{condition}\n{plan}");
    }
}

#[test]
fn listeners_hear_of_an_aggregate_when_a_group_of_it_changed() {
    let Case { server: _server, mut session, lake, .. } = sales("aggregate_notify");
    session.execute(STATS);
    session.execute(
        "SELECT millrace.create_aggregate('sales', 'large',
                'SELECT merchant, count(*) AS n FROM staging.sales WHERE amount > 100 GROUP BY merchant')",
    );
    session.execute("LISTEN \"millrace_sales.stats\"; LISTEN \"millrace_sales.large\"");
    load(&mut session, &lake, "1.csv", "a,1\nb,2\n");
    assert_eq!(session.notifications(Duration::from_millis(300)), ["millrace_sales.stats"]);
}

#[test]
fn a_consumer_gets_every_group_at_first_then_those_that_each_chunk_changed() {
    let Case { server: _server, mut session, lake, .. } = sales("aggregate_stream");
    session.execute(STATS);
    load(&mut session, &lake, "1.csv", "a,1\nb,2\n,3\n");
    assert_eq!(session.number("SELECT count(*) FROM staging.stats_changes"), 0, "nobody reads");
    session.execute("SELECT millrace.create_consumer('sales.stats', 'board', start_at => 'latest')");
    load(&mut session, &lake, "2.csv", "a,1\n");
    load(&mut session, &lake, "3.csv", "c,5\na,1\n");
    let images = |session: &mut Session, chunk: i64| {
        assert_eq!(session.number("SELECT chunk_no FROM millrace.next_chunk('sales.stats', 'board')"), chunk);
        let rows = format!(
            "SELECT _op, merchant, n, total FROM millrace.chunk_rows(NULL::staging.stats_changes, {chunk})
             ORDER BY merchant NULLS LAST"
        );
        let rows = session.lines(&rows);
        session.execute(&format!("SELECT millrace.ack('sales.stats', 'board', {chunk})"));
        rows
    };
    assert_eq!(images(&mut session, 2), ["upsert|a|2|2", "upsert|b|1|2", "upsert||1|3"]);
    assert_eq!(images(&mut session, 3), ["upsert|a|3|3", "upsert|c|1|5"]);
    load(&mut session, &lake, "4.csv", "b,1\n");
    assert_eq!(
        session.lines("SELECT DISTINCT _chunk_no FROM staging.stats_changes"),
        ["4"],
        "what all have read is gone"
    );
    session.execute("SELECT millrace.drop_consumer('sales.stats', 'board', force => true)");
    load(&mut session, &lake, "5.csv", "b,1\n");
    assert_eq!(session.line("SELECT told_from FROM millrace.aggregates"), "");
}

#[test]
fn a_key_or_a_distinct_value_may_be_longer_than_an_index_entry() {
    let Case { server: _server, mut session, lake, .. } = sales("aggregate_long_keys");
    session.execute(STATS);
    session.execute(
        "SELECT millrace.create_aggregate('sales', 'distinct_merchants',
                'SELECT amount, count(DISTINCT merchant) AS merchants, max(merchant) AS last FROM staging.sales GROUP BY amount')",
    );
    // Text that does not compress.
    let mut x = 7u64;
    let long: String = std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (x >> 33) as u8 % 26)
    })
    .take(50_000)
    .collect();
    for file in ["1.csv", "2.csv"] {
        load(&mut session, &lake, file, &format!("{long},1\n{long}b,1\na,1\n"));
    }
    assert_eq!(
        session.lines("SELECT length(merchant), n FROM staging.stats ORDER BY 1"),
        ["1|2", "50000|2", "50001|2"]
    );
    assert_eq!(session.line("SELECT merchants FROM staging.distinct_merchants"), "3");
    assert_eq!(session.number("SELECT count(*) FROM staging.sales_rejects"), 0);
    assert_verified(&mut session, "sales");
}
