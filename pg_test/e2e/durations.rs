//! How long hops take, as histograms: near to what was measured, of bounded size, counting each thing once, over restarts too.

use crate::server::{Preload, wait_until};
use crate::site::{Site, at_once, land, url};
use crate::sql::{Session, quote};
use std::time::Duration;

fn create_pipeline(site: &Site, session: &mut Session, name: &str) -> crate::site::Place {
    let landing = site.create_dir(name);
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => {}, columns => 'id int', staging => 'staging.p', every => NULL,
                semi_processed => {}, options => {})",
        quote(&format!("{}/*.csv", url(&landing))),
        quote(&url(&site.create_dir(&format!("{name}_clean")))),
        quote(&at_once(r#"{"max_files_per_chunk": 1}"#))
    ));
    landing
}

fn counted(session: &mut Session, hop: &str) -> i64 {
    session.number(&format!("SELECT coalesce(max(count), 0) FROM millrace.durations WHERE hop = {}", quote(hop)))
}

#[test]
fn a_publisher_that_notes_how_long_it_took_gets_on_beside_a_drop() {
    let site = Site::of(module_path!(), Preload::No);
    let mut session = site.create_database("durations_drop");
    let landing = create_pipeline(&site, &mut session, "durations_drop");
    session.execute("SELECT millrace.alter_pipeline('p', options => '{\"publish_every\": \"1 hour\"}')");
    land(&landing, "1.csv", b"id\n1\n");
    session.execute("CALL millrace.run('p')");
    // As a publisher does it: first that the chunk is published, then how long it took.
    let mut publisher = site.session("durations_drop");
    publisher.execute("BEGIN; UPDATE millrace.publication SET attempts = attempts");
    std::thread::scope(|threads| {
        let drop = threads.spawn(|| session.try_execute("SELECT millrace.drop_pipeline('p')"));
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        wait_until("the drop waits for the publisher", Duration::from_secs(60), || publisher.number(waiting) == 1);
        publisher.execute(
            "SELECT millrace._note_durations((SELECT id FROM millrace.pipeline), '{publish:rows}', '{1000}'); COMMIT",
        );
        drop.join().unwrap().unwrap();
    });
}

#[test]
fn percentiles_are_near_to_the_exact_ones() {
    let site = Site::of(module_path!(), Preload::No);
    let mut session = site.create_database("durations_near");
    create_pipeline(&site, &mut session, "durations_near");
    // A thousand durations over six orders of magnitude.
    session.execute(
        "CREATE TABLE took AS SELECT (10 ^ (random() * 6))::bigint AS micros FROM generate_series(1, 1000);
         SELECT millrace._note_durations((SELECT id FROM millrace.pipeline), '{read}', array_agg(micros)) FROM took;",
    );
    let near = session.lines(
        "SELECT abs(s.shown / e.exact::numeric - 1) <= 0.0452 + 0.05 / e.exact::numeric
           FROM (SELECT unnest(percentile_disc('{0.5,0.95,0.99}'::float[]) WITHIN GROUP (ORDER BY micros)) / 1000.0 AS exact, generate_series(1, 3) AS n FROM took) e
           JOIN (SELECT unnest(ARRAY[p50_ms, p95_ms, p99_ms]) AS shown, generate_series(1, 3) AS n FROM millrace.stats WHERE hop = 'read') s USING (n)",
    );
    assert_eq!(near, ["t", "t", "t"]);
    assert_eq!(
        session.lines(
            "SELECT DISTINCT d.count = (SELECT count(*) FROM took WHERE micros <= d.le_seconds * 1e6), round(d.sum_seconds::numeric, 6) = (SELECT sum(micros) / 1e6 FROM took)::numeric(20, 6)
               FROM millrace.durations d WHERE hop = 'read'"
        ),
        ["t|t"],
        "bounds of durations are exact"
    );
    session.execute("SELECT millrace._note_durations((SELECT id FROM millrace.pipeline), '{read}', NULL)");
    assert_eq!(counted(&mut session, "read"), 1000, "nothing to note is nothing");
}

#[test]
fn histograms_count_each_chunk_once_and_do_not_grow_with_time() {
    let site = Site::alone(module_path!(), Preload::No);
    let mut session = site.create_database("durations_time");
    let landing = create_pipeline(&site, &mut session, "durations_time");
    for hour in 0..6 {
        for file in 0..5 {
            land(&landing, &format!("{hour}_{file}.csv"), b"id\n1\n");
        }
        session.execute("CALL millrace.run('p')");
        // An hour passes; not one by one, where one would be in the other's place.
        session.execute(
            "UPDATE millrace.duration SET hour = hour + 1000000 WHERE hour > 0;
             UPDATE millrace.duration SET hour = hour - 1000001 WHERE hour > 0",
        );
    }
    for hop in ["chunk", "end_to_end", "read", "load", "publish:semi_processed"] {
        assert_eq!(counted(&mut session, hop), 30, "{hop}");
    }
    assert_eq!(
        session.lines(
            "SELECT hop, count(DISTINCT hour) FROM millrace.duration GROUP BY hop HAVING count(DISTINCT hour) > 3"
        ),
        Vec::<String>::new(),
        "two hours apart, and all before as one"
    );
    assert_eq!(session.number("SELECT sum(count) FROM millrace.duration WHERE hop = 'chunk' AND hour > 0"), 10);
    // What was not committed was not counted, and what was is there after a crash.
    land(&landing, "later.csv", b"id\n1\n");
    session.execute(
        "CREATE FUNCTION staging.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
         CREATE TRIGGER refuse AFTER INSERT ON millrace.publication FOR EACH ROW EXECUTE FUNCTION staging.refuse();",
    );
    let _ = session.try_execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT max(chunk_no) FROM millrace.chunks"), 30);
    site.kill();
    site.start();
    let mut session = site.session("durations_time");
    assert_eq!(counted(&mut session, "chunk"), 30);
}

#[test]
fn what_consumers_take_is_counted_also_when_their_deliveries_are_gone() {
    let site = Site::of(module_path!(), Preload::No);
    let mut session = site.create_database("durations_consumers");
    let landing = create_pipeline(&site, &mut session, "durations_consumers");
    for file in 0..220 {
        land(&landing, &format!("{file}.csv"), b"id\n1\n");
    }
    session.execute("CALL millrace.run('p')");
    session.execute(
        "SELECT millrace.create_consumer('p', 'one', start_at => 'earliest');
         SELECT millrace.create_consumer('p', 'many', start_at => 'earliest', mode => 'pool', max_in_flight => 4);
         SELECT millrace.create_consumer('p', 'by_key', start_at => 'earliest', mode => 'keyed', slots => 2, key => 'id');
         CREATE PROCEDURE work(consumer text, chunks int) LANGUAGE plpgsql AS $$
             DECLARE d record;
             BEGIN
                 FOR i IN 1 .. chunks LOOP
                     SELECT * INTO d FROM millrace.next_chunk('p', consumer);
                     EXIT WHEN d.chunk_no IS NULL;
                     COMMIT;
                     PERFORM millrace.ack('p', consumer, d.chunk_no, d.token);
                     COMMIT;
                 END LOOP;
             END $$;",
    );
    session.execute("CALL work('one', 1000)");
    session.execute("CALL work('many', 1000)");
    session.execute("CALL work('by_key', 20)");
    assert_eq!(counted(&mut session, "consume:p/one"), 220);
    assert_eq!(counted(&mut session, "consume:p/many"), 220);
    assert_eq!(counted(&mut session, "consume:p/by_key"), 20);
    assert!(session.number("SELECT count(*) FROM millrace.delivery WHERE state = 'acked'") < 450);
    assert_eq!(
        session.lines(
            "SELECT hop, p50_ms >= 0, p99_ms >= p50_ms FROM millrace.stats WHERE hop LIKE 'consume:%' ORDER BY 1"
        ),
        ["consume:p/by_key|t|t", "consume:p/many|t|t", "consume:p/one|t|t"],
        "a line for each consumer"
    );
    // What is handed out once more counts once more when it is acked, and what it took before stays.
    session.execute("SELECT millrace.seek('p', 'one', 210, reason => 'again')");
    assert_eq!(counted(&mut session, "consume:p/one"), 220);
    session.execute("CALL work('one', 1000)");
    assert_eq!(counted(&mut session, "consume:p/one"), 231);
    session.execute("SELECT millrace.drop_consumer('p', 'one')");
    assert_eq!(session.number("SELECT count(*) FROM millrace.durations WHERE hop = 'consume:p/one'"), 0);
}
