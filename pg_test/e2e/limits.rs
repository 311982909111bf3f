//! Retention and backpressure: what consumers hold back, what goes, and what stays of it.

use crate::lake::{self, Lake, Storage};
use crate::server::{Preload, Server, wait_until};
use crate::sql::Session;
use std::sync::Arc;
use std::time::Duration;

struct Limited {
    server: Arc<Server>,
    session: Session,
    lake: Lake,
    database: String,
    landed: u32,
}

/// A pipeline 's' that makes a chunk of each file, of three rows and a reject.
fn limited(database: &str, options: &str) -> Limited {
    let lake::Case { server, mut session, lake, database } =
        lake::Case::new(Storage::of(module_path!()), database, Preload::No);
    session.execute(&format!(
        "SELECT millrace.create_pipeline('s', source => '{}/*.csv', columns => 'id int', staging => 'staging.s', every => NULL,
                options => '{{\"max_files_per_chunk\": 1, \"settle\": 0, {options}}}')",
        lake.landing()
    ));
    Limited { server, session, lake, database, landed: 0 }
}

impl Limited {
    fn land(&mut self, files: u32) {
        for _ in 0..files {
            self.landed += 1;
            let text = format!("id\n{0}1\n{0}2\n{0}3\nno number\n", self.landed);
            self.lake.land(&format!("{:04}.csv", self.landed), text.as_bytes());
        }
    }

    fn run(&mut self) {
        self.session.execute("CALL millrace.run('s')");
    }

    fn chunks(&mut self) -> i64 {
        self.session.number("SELECT last_chunk_no FROM millrace.pipelines")
    }

    fn throttled_by(&mut self) -> String {
        self.session.value("SELECT throttled_by FROM millrace.pipelines")
    }

    /// The chunks whose rows are there.
    fn kept(&mut self) -> String {
        let kept = "SELECT string_agg(n::text, ' ' ORDER BY n) FROM (SELECT DISTINCT _chunk_no AS n FROM staging.s) c";
        self.session.value(kept)
    }

    fn consume(&mut self, consumer: &str, chunks: u32) {
        for _ in 0..chunks {
            assert_ne!(self.session.value(&format!("SELECT millrace.consume('s', '{consumer}', 'SELECT 1')")), "");
        }
    }

    fn verified(&mut self) {
        assert_eq!(self.session.lines("SELECT * FROM millrace.verify('s') WHERE NOT ok"), Vec::<String>::new());
    }
}

#[test]
fn retention_drops_old_partitions_once_every_consumer_is_past_them() {
    let mut s =
        limited("retain", r#""retention": "4 chunks", "max_retention": "100 chunks", "chunks_per_partition": 2"#);
    s.session.execute(
        "SELECT millrace.create_consumer('s', 'c'); SELECT millrace.create_consumer('s', 'fast');
         SELECT millrace.create_consumer('s', 'optional', blocks => false)",
    );
    s.land(10);
    s.run();
    assert_eq!(s.kept(), "1 2 3 4 5 6 7 8 9 10", "no consumer has had anything yet");
    s.consume("fast", 10);
    s.consume("c", 3);
    assert_eq!(
        s.session.lines("SELECT consumer, blocks_retention FROM millrace.consumers ORDER BY 1"),
        ["c|t", "fast|f", "optional|f"]
    );
    s.run();
    assert_eq!(s.kept(), "4 5 6 7 8 9 10", "partitions 0-1 and 2-3 are behind it");
    let optional = "SELECT state FROM millrace.consumers WHERE consumer = 'optional'";
    assert_eq!(s.session.value(optional), "expired", "one that does not count is not waited for");
    assert_eq!(s.session.value("SELECT kept_from FROM millrace.pipelines"), "4");
    assert_eq!(s.session.number("SELECT min(chunk_no) FROM staging.s_rejects"), 4);
    s.consume("c", 7);
    s.run();
    assert_eq!(s.kept(), "6 7 8 9 10", "what retention keeps, to the end of its partition");
    s.verified();
    assert_eq!(s.session.value("SELECT millrace.create_consumer('s', 'new')"), "5", "the earliest that is left");
    s.session.refused_with_hint("SELECT millrace.seek('s', 'c', 5)", "22023");
    assert_eq!(s.session.number("SELECT count(*) FROM millrace.chunks"), 10, "the books stay");
}

#[test]
fn a_consumer_past_the_longest_retention_expires_and_is_told_what_is_left() {
    let mut s = limited("expire", r#""retention": "2 chunks", "max_retention": "6 chunks", "chunks_per_partition": 2"#);
    s.session.execute(
        "SELECT millrace.create_consumer('s', 'slow'); SELECT millrace.create_consumer('s', 'keyed', mode => 'keyed', slots => 2, key => 'id');
         SELECT millrace.create_consumer('s', 'letters', max_attempts => 1); SELECT millrace.create_consumer('s.rejects', 'idle')",
    );
    s.land(2);
    s.run();
    s.session.execute(
        "SELECT millrace.next_chunk('s', 'letters'); SELECT millrace.nack('s', 'letters', 1, reason => 'bad'); SELECT millrace.next_chunk('s', 'slow')",
    );
    s.consume("letters", 1);
    s.land(4);
    s.run();
    let states = "SELECT consumer, state FROM millrace.consumers ORDER BY 1";
    assert_eq!(s.session.lines(states), ["idle|active", "keyed|active", "letters|active", "slow|active"]);
    assert_eq!(s.kept(), "1 2 3 4 5 6", "whoever counts is waited for");
    s.consume("letters", 4);
    s.land(6);
    s.run();
    assert_eq!(s.session.lines(states), ["idle|expired", "keyed|expired", "letters|active", "slow|expired"]);
    assert_eq!(s.kept(), "1 6 7 8 9 10 11 12", "the dead letter's and open lease's chunk keeps its rows");
    for consumer in ["slow", "keyed"] {
        let error = s.session.refused(&format!("SELECT * FROM millrace.next_chunk('s', '{consumer}')"), "MR003");
        let detail = error.detail().unwrap();
        assert!(detail.contains("first one that is left is"), "{detail}");
    }
    assert_eq!(s.session.value("SELECT millrace.ack('s', 'slow', 1)"), "acked", "its open lease survived");
    s.session.execute("SELECT millrace.redrive('s', 'letters', 1)");
    assert_eq!(s.session.value("SELECT chunk_no FROM millrace.next_chunk('s', 'letters')"), "1");
    assert_eq!(s.session.number("SELECT count(*) FROM millrace.chunk_rows(NULL::staging.s, 1, 's', 'letters')"), 3);
    s.verified();
    s.session.execute("SELECT millrace.ack('s', 'letters', 1)");
    s.session.execute("SELECT millrace.seek('s', 'slow', 'earliest'); SELECT millrace.seek('s', 'letters', 'latest')");
    assert_eq!(s.session.value("SELECT chunk_no FROM millrace.next_chunk('s', 'slow')"), "6");
    s.run();
    assert_eq!(s.kept(), "6 7 8 9 10 11 12", "nobody needs the pinned one any more");
    s.verified();
}

#[test]
fn a_reader_of_the_table_is_not_waited_for() {
    let mut s = limited("retain_reader", r#""retention": "2 chunks", "chunks_per_partition": 1"#);
    let mut reader = s.server.session(&s.database);
    s.land(2);
    s.run();
    reader.execute("BEGIN; SELECT count(*) FROM staging.s");
    s.land(4);
    s.run();
    assert_eq!(s.kept(), "1 2 3 4 5 6", "the load went on, nothing was dropped");
    reader.execute("COMMIT");
    s.run();
    assert_eq!(s.kept(), "5 6");
    s.verified();
}

#[test]
fn a_slow_consumer_holds_back_loading_and_says_so_until_it_has_caught_up() {
    let mut s = limited("lag", r#""max_lag_chunks": 3"#);
    s.session.execute(
        "SELECT millrace.create_consumer('s', 'slow'); SELECT millrace.create_consumer('s', 'optional', blocks => false)",
    );
    s.land(6);
    s.run();
    assert_eq!(s.chunks(), 3);
    assert!(s.throttled_by().starts_with("max_lag_chunks: consumer \"slow\""), "{}", s.throttled_by());
    assert_eq!(s.session.value("SELECT throttled_since <= clock_timestamp() FROM millrace.pipelines"), "t");
    assert_eq!(s.session.line("SELECT lag_chunks, lag_rows, lag_bytes > 0, lag_seconds > 0 FROM millrace.consumers WHERE consumer = 'slow'"), "3|9|t|t");
    s.consume("slow", 1);
    s.run();
    assert_eq!(s.chunks(), 4, "as far as the limit lets it");
    s.consume("slow", 3);
    s.run();
    assert_eq!((s.chunks(), s.throttled_by().as_str()), (6, ""), "it goes on by itself");
    let events = "SELECT string_agg(kind, ' ' ORDER BY id) FROM millrace.events WHERE kind IN ('pipeline_throttled', 'pipeline_released')";
    assert_eq!(s.session.value(events), "pipeline_throttled pipeline_released pipeline_throttled pipeline_released");
}

#[test]
fn bytes_disk_and_rate_hold_back_too() {
    let mut s = limited("gates", r#""max_lag_bytes": "1 kB""#);
    s.session.execute("SELECT millrace.create_consumer('s.rejects', 'r')");
    s.land(60);
    s.run();
    assert!((2..60).contains(&s.chunks()), "{}", s.chunks());
    assert!(s.throttled_by().starts_with("max_lag_bytes"));
    s.session.execute(
        r#"SELECT millrace.alter_pipeline('s', options => '{"max_lag_bytes": null, "min_free_disk": "1000 TB"}')"#,
    );
    s.run();
    assert!(s.throttled_by().starts_with("min_free_disk"));
    s.session.execute(r#"SELECT millrace.alter_pipeline('s', options => '{"min_free_disk": "1 kB", "max_rows_per_second": 40, "max_files_per_chunk": 5}')"#);
    let (before, begun) = (s.chunks(), std::time::Instant::now());
    s.run();
    let chunks = s.chunks() - before;
    assert_eq!(s.session.number("SELECT count(*) FROM staging.s"), 180);
    let least = Duration::from_millis(500 * (chunks as u64 - 1));
    assert!(chunks > 2 && begun.elapsed() >= least, "{chunks} chunks of 20 records in {:?}", begun.elapsed());
    s.verified();
}

#[test]
fn a_worker_goes_on_by_itself_when_the_consumer_has_caught_up() {
    let lake::Case { server: _server, mut session, lake, .. } =
        lake::Case::new(Storage::of(module_path!()), "lag_worker", Preload::Yes);
    for i in 1..=4 {
        lake.land(&format!("{i}.csv"), format!("id\n{i}\n").as_bytes());
    }
    session.execute(&format!(
        r#"BEGIN;
           SELECT millrace.create_pipeline('s', source => '{}/*.csv', columns => 'id int', staging => 'staging.s', every => '50 ms',
                  options => '{{"max_files_per_chunk": 1, "max_lag_chunks": 2, "retention": "1 chunk", "settle": 0}}');
           SELECT millrace.create_consumer('s', 'c'); COMMIT"#,
        lake.landing()
    ));
    wait_until("it is held back", Duration::from_secs(60), || {
        session.value("SELECT throttled_by IS NOT NULL AND last_chunk_no = 2 FROM millrace.pipelines") == "t"
    });
    session.execute("SELECT millrace.consume('s', 'c', 'SELECT 1'); SELECT millrace.consume('s', 'c', 'SELECT 1')");
    wait_until("it goes on", Duration::from_secs(60), || {
        session.number("SELECT last_chunk_no FROM millrace.pipelines") == 4
    });
    session.execute("SELECT millrace.consume('s', 'c', 'SELECT 1'); SELECT millrace.consume('s', 'c', 'SELECT 1')");
    wait_until("the past is dropped", Duration::from_secs(60), || {
        session.value("SELECT string_agg(_chunk_no::text, ' ') FROM staging.s") == "4"
    });
    assert_eq!(session.lines("SELECT * FROM millrace.verify('s') WHERE NOT ok"), Vec::<String>::new());
}

#[test]
fn what_retention_drops_stays_counted_and_what_needs_the_rows_again_is_refused() {
    let mut s = limited("retain_aggregate", r#""retention": "2 chunks", "chunks_per_partition": 1"#);
    let create = |name: &str, call: &str| {
        format!(
            "SELECT millrace.create_aggregate('s', '{name}', 'SELECT id % 3 AS third, {call} AS x FROM staging.s GROUP BY id % 3')"
        )
    };
    s.session.execute(&create("counted", "max(id)"));
    let refused = s.session.refused(&create("again", "array_agg(id ORDER BY id)"), "0A000");
    assert!(refused.message().contains("array_agg"), "{}", refused.message());
    s.land(8);
    s.run();
    s.run();
    assert_eq!(s.kept(), "7 8");
    assert_eq!(s.session.number("SELECT count(*) FROM staging.counted"), 3);
    assert_eq!(s.session.number("SELECT sum(rows) FROM staging.counted_state"), 24, "all rows that ever came");
    s.session.execute(r#"SELECT millrace.alter_pipeline('s', options => '{"retention": null}')"#);
    s.session.execute(&create("again", "array_agg(id ORDER BY id)"));
    s.session.refused(r#"SELECT millrace.alter_pipeline('s', options => '{"retention": "2 chunks"}')"#, "0A000");
}

const HOLDS_BACK: &str = r#""max_lag_chunks": 3"#;
const EXPIRES: &str = r#""retention": "2 chunks", "max_retention": "4 chunks", "chunks_per_partition": 1"#;

impl Limited {
    /// What millrace.consumers says of consumer c: state, lag in chunks and rows, whether bytes and seconds are told, attempts, chunks in
    /// flight, whether there is a lease and a last call, and whether retention waits for it.
    fn shown(&mut self) -> String {
        self.session.line(
            "SELECT state, lag_chunks, lag_rows, lag_bytes > 0 AND lag_seconds > 0 AS told, attempts, in_flight, oldest_lease IS NOT NULL AS leased,
                    last_seen IS NOT NULL AS seen, blocks_retention FROM millrace.consumers WHERE consumer = 'c'",
        )
    }

    /// Rounds of three files each; the rows that are kept never grow past what the longest retention keeps, and what open leases need.
    fn lands_on_and_on(&mut self, mut each: impl FnMut(&mut Limited)) {
        for _ in 0..6 {
            self.land(3);
            self.run();
            each(self);
            let kept = self.kept();
            assert!(kept.split(' ').count() <= 6, "{kept}");
        }
        assert_eq!(self.chunks(), i64::from(self.landed), "loading went on");
        self.session.refused_with_hint("SELECT * FROM millrace.next_chunk('s', 'c')", "MR003");
        self.session.execute("SELECT millrace.seek('s', 'c', 'earliest')");
        assert_eq!(self.shown().split('|').next(), Some("active"));
        self.consume("c", 2);
        self.verified();
    }
}

#[test]
fn a_consumer_that_dies_holds_the_source_back_or_expires_and_is_seen() {
    let mut s = limited("dead_holds", HOLDS_BACK);
    s.session.execute("SELECT millrace.create_consumer('s', 'c', lease => '1 millisecond', backoff => '0')");
    s.land(1);
    s.run();
    s.server.session(&s.database).execute("SELECT millrace.next_chunk('s', 'c')");
    s.land(9);
    s.run();
    s.run();
    assert_eq!(s.chunks(), 3, "as far as the limit lets it, and no further");
    assert_eq!(s.shown(), "active|3|9|t|1|1|t|t|t");
    assert!(s.throttled_by().contains("consumer \"c\""));
    s.consume("c", 3);
    assert_eq!(
        s.session.value("SELECT takeovers FROM millrace.consumers"),
        "1",
        "the lease of the dead was taken over"
    );
    s.run();
    assert_eq!(s.chunks(), 6, "and loading went on");

    let mut s = limited("dead_expires", EXPIRES);
    s.session.execute("SELECT millrace.create_consumer('s', 'c')");
    s.land(1);
    s.run();
    s.server.session(&s.database).execute("SELECT millrace.next_chunk('s', 'c')");
    assert_eq!(s.shown(), "active|1|3|t|1|1|t|t|t");
    s.land(6);
    s.run();
    assert_eq!(s.shown(), "expired|7|21|t|1|1|t|t|f", "it is not waited for any more");
    assert_eq!(s.kept().split(' ').next(), Some("1"), "what it has in work is kept");
    assert_eq!(s.session.value("SELECT millrace.ack('s', 'c', 1, token) FROM millrace.deliveries"), "acked");
    s.lands_on_and_on(|_| ());
}

#[test]
fn a_consumer_that_is_paused_for_long_holds_the_source_back_or_expires_and_is_seen() {
    let mut s = limited("paused_holds", HOLDS_BACK);
    s.session.execute("SELECT millrace.create_consumer('s', 'c')");
    s.land(1);
    s.run();
    s.consume("c", 1);
    s.session.execute("SELECT millrace.pause_consumer('s', 'c', 'maintenance')");
    s.land(9);
    s.run();
    s.run();
    assert_eq!(s.chunks(), 4);
    assert_eq!(s.shown(), "paused|3|9|t|0|0|f|t|t");
    assert_eq!(s.session.value("SELECT state_reason FROM millrace.consumers"), "maintenance");
    s.session.execute("SELECT millrace.resume_consumer('s', 'c')");
    s.consume("c", 3);
    s.run();
    assert_eq!(s.chunks(), 7);

    let mut s = limited("paused_expires", EXPIRES);
    s.session.execute("SELECT millrace.create_consumer('s', 'c')");
    s.land(1);
    s.run();
    s.consume("c", 1);
    s.session.execute("SELECT millrace.pause_consumer('s', 'c')");
    s.land(6);
    s.run();
    assert_eq!(s.shown(), "expired|6|18|t|0|0|f|t|f");
    s.lands_on_and_on(|_| ());
}

#[test]
fn a_consumer_that_is_slow_holds_the_source_back_or_expires_and_is_seen() {
    let mut s = limited("slow_holds", HOLDS_BACK);
    s.session.execute("SELECT millrace.create_consumer('s', 'c')");
    for round in 1..=5 {
        s.land(3);
        s.run();
        assert_eq!(
            (s.chunks(), s.shown().as_str()),
            (round + 2, if round == 1 { "active|3|9|t|0|0|f|f|t" } else { "active|3|9|t|0|0|f|t|t" })
        );
        s.consume("c", 1);
    }
    for _ in 0..8 {
        s.run();
        s.consume("c", 1);
    }
    s.run();
    assert_eq!(s.chunks(), 15, "once it has caught up, all is loaded");

    let mut s = limited("slow_expires", EXPIRES);
    s.session.execute("SELECT millrace.create_consumer('s', 'c')");
    let mut worked = 0;
    s.lands_on_and_on(|s| {
        if s.session.value("SELECT state FROM millrace.consumers") == "active" {
            s.consume("c", 1);
            worked += 1;
            assert!(s.shown().ends_with("|t|t"), "it is seen, and waited for: {}", s.shown());
        }
    });
    assert!((1..6).contains(&worked), "it worked {worked} chunks before it expired");
}
