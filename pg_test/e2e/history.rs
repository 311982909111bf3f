//! Backfills: older files, versions and chunks, beside live traffic; each row once, whoever dies.

use crate::retail;
use crate::server::{Preload, signal, wait_until};
use crate::site::{Site, land, url};
use crate::sql::{Session, quote};
use std::fmt::Write;
use std::time::Duration;

/// A file of rows with these ids, and a line that is none.
fn rows(ids: std::ops::Range<i64>) -> String {
    let mut text = "id,amount\n".to_string();
    ids.for_each(|id| writeln!(text, "{id},{id}.25").unwrap());
    text + "none,1\n"
}

fn create(session: &mut Session, source: &str, more: &str) {
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('s', source => '{source}', columns => 'id int, amount numeric', staging => 'staging.s', {more});
         SELECT millrace.create_aggregate('s', 'totals', 'SELECT id % 2 AS odd, count(*) AS n, sum(amount) AS amount FROM staging.s GROUP BY id % 2')"
    ));
}

fn generations(session: &mut Session) -> String {
    session
        .value("SELECT string_agg(generation::text, ' ' ORDER BY chunk_no) FROM millrace.chunks WHERE pipeline = 's'")
}

fn staged(session: &mut Session) -> String {
    session.value("SELECT concat_ws(' ', count(*), count(DISTINCT id), min(id), max(id)) FROM staging.s")
}

#[test]
fn older_files_of_another_place_are_loaded_like_those_of_the_source_and_once() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("backfill_files");
    let (landing, older) = (server.create_dir("backfill_files"), server.create_dir("backfill_files_older"));
    let raw = format!("raw => '{}/raw',", url(&server.create_dir("backfill_files_lake")));
    land(&landing, "now.csv", rows(100..110).as_bytes());
    create(
        &mut session,
        &format!("{}/*.csv", url(&landing)),
        &format!("{raw} every => NULL, options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}'"),
    );
    session.execute("SELECT millrace.add_expectation('s', 'not three', 'id <> 3', on_violation => 'drop')");
    session.execute("CALL millrace.run('s')");
    session.execute(
        "SELECT millrace.create_consumer('s', 'all', start_at => 'latest');
         SELECT millrace.create_consumer('s', 'live', start_at => 'latest', backfills => false)",
    );
    land(&older, "a.csv", rows(0..10).as_bytes());
    land(&older, "b.csv", rows(10..20).as_bytes());
    let call = format!("CALL millrace.backfill('s', location => '{}/*.csv')", url(&older));
    session.execute(&call);
    assert_eq!(staged(&mut session), "29 29 0 109", "one was dropped, by the rule");
    assert_eq!(generations(&mut session), "0 1 1");
    assert_eq!(session.number("SELECT count(*) FROM staging.s_rejects"), 3);
    assert_eq!(session.number("SELECT sum(n) FROM staging.totals"), 29);
    let next = "SELECT count(*) FROM millrace.next_chunk('s', ";
    assert_eq!(session.number(&format!("{next}'all')")), 1);
    assert_eq!(
        session.number(&format!("{next}'live')")),
        0,
        "what a backfill brings is not for those who want live rows alone"
    );
    assert_eq!(session.line("SELECT state, chunks_done, rows_done, generation FROM millrace.backfills"), "done|2|19|1");
    // Where a row of it came from: a place that is not the source's.
    assert_eq!(
        session.value("SELECT l.path LIKE '%/backfill_files_older/a.csv' AND l.path LIKE '%://%' FROM millrace.lineage('s', 2, 1) l"),
        "t"
    );

    session.execute(&call);
    assert_eq!(staged(&mut session), "29 29 0 109", "called again it loads nothing twice");
    land(&older, "c.csv", rows(20..30).as_bytes());
    land(&landing, "later.csv", rows(110..120).as_bytes());
    session.execute(&call);
    session.execute("CALL millrace.run('s')");
    assert_eq!(staged(&mut session), "49 49 0 119", "what is new there comes with the next call");
    assert_eq!(generations(&mut session), "0 1 1 3 0");
    retail::assert_verified(&mut session, "s");
}

#[test]
fn a_backfill_goes_on_when_the_worker_or_the_server_is_killed_beside_live_traffic() {
    const OLDER: i64 = 10_000;
    let server = Site::alone(module_path!(), Preload::Yes);
    let mut session = server.create_database("backfill_kills");
    let (landing, older) = (server.create_dir("landing"), server.create_dir("older"));
    let lake = server.create_dir("lake");
    for i in 0..20 {
        land(&older, &format!("{i:02}.csv"), rows(i * OLDER / 20..(i + 1) * OLDER / 20).as_bytes());
    }
    let options = r#"'{"settle": 0, "max_rows_per_chunk": 300}'"#;
    let more = format!("raw => '{}/raw', every => '50 ms', options => {options}", url(&lake));
    create(&mut session, &format!("{}/*.csv", url(&landing)), &more);
    let call = format!("CALL millrace.backfill('s', location => '{}')", url(&older));
    let caller = || server.session("backfill_kills").try_execute(&call).is_ok();
    let mut live = OLDER;
    std::thread::scope(|threads| {
        // Its session dies with the server; what it began does not.
        let first = threads.spawn(caller);
        for kill in 1..=4 {
            let done = |least: i64| {
                let Ok(mut session) = server.try_session("backfill_kills") else { return false };
                let rows = "SELECT coalesce(sum(rows_done), 0) FROM millrace.backfills";
                session.try_value(rows).is_ok_and(|rows| rows.parse().unwrap_or(0) >= least)
            };
            wait_until("some more is brought", Duration::from_secs(90), || done(kill * OLDER / 8));
            land(&landing, &format!("{kill}.csv"), rows(live..live + 100).as_bytes());
            live += 100;
            if kill == 4 {
                server.kill();
                server.start();
            } else if let Ok(mut session) = server.try_session("backfill_kills") {
                let worker = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' LIMIT 1";
                let pid = session.try_value(worker).ok().and_then(|pid| pid.parse().ok());
                pid.into_iter().for_each(|pid| signal("KILL", pid));
                std::thread::sleep(Duration::from_millis(300));
            }
            let answers = || server.try_session("backfill_kills").is_ok();
            wait_until("the server answers again", Duration::from_secs(60), answers);
        }
        assert!(!first.join().unwrap(), "the caller's session was ended");
    });
    wait_until("everything is brought", Duration::from_secs(120), || {
        let Ok(mut session) = server.try_session("backfill_kills") else { return false };
        session.try_value("SELECT string_agg(state, ' ') FROM millrace.backfills").is_ok_and(|state| state == "done")
            && session.number("SELECT count(*) FROM staging.s WHERE id >= 10000") == live - OLDER
    });
    let mut session = server.session("backfill_kills");
    session.execute(&call);
    assert_eq!(staged(&mut session), format!("{live} {live} 0 {}", live - 1));
    assert!(session.number("SELECT count(*) FROM millrace.chunks WHERE generation = 1") >= OLDER / 300);
    assert_eq!(session.number("SELECT sum(row_count) FROM millrace.chunks WHERE generation = 1"), OLDER);
    retail::assert_verified(&mut session, "s");
}

#[test]
fn older_rows_of_a_keyed_pipeline_never_replace_newer_ones() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("backfill_keyed");
    let (landing, older) = (server.create_dir("backfill_keyed"), server.create_dir("backfill_keyed_older"));
    let options = r#"'{"settle": 0, "primary_key": ["id"], "order_by": ["at"], "on_conflict": "newest"}'"#;
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('s', source => '{}/*.csv', columns => 'id int, at int, v text', staging => 'staging.s', every => NULL, options => {options})",
        url(&landing)
    ));
    land(&landing, "1.csv", b"id,at,v\n1,10,new\n2,10,new\n");
    session.execute("CALL millrace.run('s')");
    land(&older, "0.csv", b"id,at,v\n1,5,old\n3,5,old\n");
    session.execute(&format!("CALL millrace.backfill('s', '{}')", url(&older)));
    assert_eq!(session.lines("SELECT id, v FROM staging.s ORDER BY id"), ["1|new", "2|new", "3|old"]);
    assert_eq!(
        session.value("SELECT row_count FROM millrace.chunks WHERE generation = 1"),
        "1",
        "what changed nothing is no change"
    );
    retail::assert_verified(&mut session, "s");
}

#[test]
fn versions_of_a_delta_table_before_the_first_that_was_read_are_loaded_and_those_that_were_read_are_not() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("backfill_versions");
    let (landing, lake) = (server.create_dir("backfill_versions"), server.create_dir("backfill_versions_lake"));
    session.execute(&format!(
        "SELECT millrace.create_pipeline('first', '{}/*.csv', columns => 'id int, amount numeric', semi_processed => '{}/table', every => NULL, options => '{{\"settle\": 0}}')",
        url(&landing), url(&lake)
    ));
    let add = |session: &mut Session, i: i64| {
        land(&landing, &format!("{i}.csv"), rows(i * 10..i * 10 + 10).as_bytes());
        session.execute("CALL millrace.run('first')");
    };
    (1..=5).for_each(|i| add(&mut session, i));
    let options = r#"'{"start_version": 4, "max_rows_per_chunk": 4}'"#;
    session.execute(&format!(
        "SELECT millrace.create_pipeline('s', '{}/table', columns => 'id int, amount numeric', staging => 'staging.s', every => NULL, options => {options})",
        url(&lake)
    ));
    session.execute("CALL millrace.run('s')");
    assert_eq!(staged(&mut session), "20 20 40 59");
    session.execute("CALL millrace.backfill('s', versions => '[2,4]')");
    assert_eq!(staged(&mut session), "40 40 20 59");
    assert_eq!(
        session.lines("SELECT DISTINCT generation, source -> 'delta' ->> 'version' FROM millrace.chunks WHERE pipeline = 's' ORDER BY 1, 2"),
        ["0|4", "0|5", "1|2", "1|3"]
    );
    session.execute("CALL millrace.backfill('s', versions => '(,)', rate => 1000)");
    session.execute("CALL millrace.backfill('s', versions => '[1,5]')");
    assert_eq!(staged(&mut session), "50 50 10 59", "all there is, each once");
    add(&mut session, 6);
    session.execute("CALL millrace.run('s')");
    assert_eq!(staged(&mut session), "60 60 10 69", "live reading went on where it was");
    retail::assert_verified(&mut session, "s");
    session.refused("CALL millrace.backfill('first', versions => '[1,2]')", "22023");
    session.refused(&format!("CALL millrace.backfill('s', '{}')", url(&landing)), "22023");
    session.refused_with_hint("CALL millrace.backfill('s', versions => 'empty')", "22023");
    // A version that is gone is a gap, which is told and stops the backfill alone.
    session.execute("SELECT millrace.drop_pipeline('s', drop_tables => true)");
    session.execute(&format!(
        "SELECT millrace.create_pipeline('s', '{}/table', columns => 'id int, amount numeric', staging => 'staging.s', every => NULL, options => {options})",
        url(&lake)
    ));
    let table = lake.join("table");
    let entry = String::from_utf8(table.get("_delta_log/00000000000000000002.json")).unwrap();
    let actions = entry.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let added: Vec<String> = actions.filter_map(|action| Some(action["add"]["path"].as_str()?.to_string())).collect();
    table.delete(&added[0]);
    let gap = session.refused("CALL millrace.backfill('s', versions => '[2,3]')", "58P01");
    assert!(gap.detail().unwrap().contains("gone"), "{gap:?}");
    assert_eq!(session.value("SELECT state FROM millrace.backfills"), "failed");
    assert_eq!(session.value("SELECT state FROM millrace.pipelines WHERE pipeline = 's'"), "active");
}

#[test]
fn chunks_of_history_are_handed_out_again_without_a_second_row() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("backfill_chunks");
    let landing = server.create_dir("backfill_chunks");
    create(&mut session, &url(&landing), "every => NULL, options => '{\"settle\": 0, \"max_files_per_chunk\": 1}'");
    session.execute(
        "SELECT millrace.create_consumer('s', 'ordered'); SELECT millrace.create_consumer('s', 'pool', mode => 'pool', max_in_flight => 3);
         SELECT millrace.create_consumer('s', 'keyed', mode => 'keyed', slots => 2, key => 'id');
         SELECT millrace.create_consumer('s', 'live', backfills => false); SELECT millrace.create_consumer('s', 'behind');
         SELECT millrace.create_consumer('s.rejects', 'rejects'); SELECT millrace.create_consumer('s.totals', 'changes')",
    );
    for i in 0..30 {
        land(&landing, &format!("{i:02}.csv"), rows(i * 10..i * 10 + 10).as_bytes());
    }
    session.execute("CALL millrace.run('s')");
    let all = [
        ("s", "ordered"),
        ("s", "pool"),
        ("s", "keyed"),
        ("s", "live"),
        ("s.rejects", "rejects"),
        ("s.totals", "changes"),
    ];
    // What a consumer is handed out until there is no more: chunk, generation, and the number of its replay.
    let drain = |session: &mut Session, (stream, consumer): (&str, &str)| {
        let mut got = Vec::new();
        loop {
            let next = session.line(&format!(
                "SELECT chunk_no, generation, token FROM millrace.next_chunk('{stream}', '{consumer}')"
            ));
            let Some((what, token)) = next.rsplit_once('|') else { return got };
            let (chunk, token) = (what.split('|').next().unwrap(), quote(token));
            let replay = session.value(&format!("SELECT replay_no FROM millrace.deliveries WHERE token = {token}"));
            session.execute(&format!("SELECT millrace.ack('{stream}', '{consumer}', {chunk}, {token})"));
            got.push(format!("{what}|{replay}"));
        }
    };
    for consumer in all {
        drain(&mut session, consumer);
    }
    session.execute("SELECT millrace.consume('s', 'behind', 'SELECT 1') FROM generate_series(1, 4)");
    let before =
        session.line("SELECT count(*), max(_chunk_no), (SELECT sum(amount) FROM staging.totals) FROM staging.s");

    // A session that calls does the work itself where no worker runs, and waits for consumers that have enough to do.
    let mut caller = server.session("backfill_chunks");
    let mut got: Vec<Vec<String>> = vec![vec![]; all.len()];
    std::thread::scope(|threads| {
        let call = threads.spawn(move || caller.execute("CALL millrace.backfill('s', chunks => '[3,25]')"));
        wait_until("all is handed out", Duration::from_secs(60), || {
            for (got, consumer) in got.iter_mut().zip(all) {
                got.extend(drain(&mut session, consumer));
            }
            session.value("SELECT state FROM millrace.backfills") == "done"
        });
        call.join().unwrap();
        got.iter_mut().zip(all).for_each(|(got, consumer)| got.extend(drain(&mut session, consumer)));
    });
    let expected: Vec<String> = (3..=25).map(|n| format!("{n}|1|1")).collect();
    for (got, consumer) in got.iter_mut().zip(all) {
        let times = if consumer.1 == "keyed" { 2 } else { 1 };
        got.sort_by_key(|what| what.split('|').next().unwrap().parse::<i64>().unwrap());
        let expected: Vec<String> = expected.iter().flat_map(|what| vec![what.clone(); times]).collect();
        let wanted = if consumer.1 == "live" { vec![] } else { expected };
        assert_eq!(*got, wanted, "{consumer:?}");
    }
    assert_eq!(
        drain(&mut session, ("s", "behind"))[..3],
        ["3|1|1", "4|1|1", "5|0|1"],
        "what it has not come to is no history for it"
    );
    let after =
        session.line("SELECT count(*), max(_chunk_no), (SELECT sum(amount) FROM staging.totals) FROM staging.s");
    assert_eq!(before, after);
    assert_eq!(
        session.lines("SELECT DISTINCT lag_chunks, acked_through FROM millrace.consumers"),
        ["0|30"],
        "positions are where they were"
    );
    session.execute("CALL millrace.backfill('s', chunks => '[1,1]', consumers => '{live}')");
    assert_eq!(drain(&mut session, ("s", "live")), ["1|2|1"], "whoever is named gets it");
    session.raises("CALL millrace.backfill('s', chunks => '[1,1]', consumers => '{nobody}')", "42704");
    session.refused("CALL millrace.backfill('s', chunks => '[25,31]')", "22023");
    retail::assert_verified(&mut session, "s");
}

#[test]
fn a_backfill_keeps_to_its_rate_and_live_traffic_does_not_wait_for_it() {
    let server = Site::of(module_path!(), Preload::Yes);
    let mut session = server.create_database("backfill_rate");
    let (landing, older) = (server.create_dir("backfill_rate"), server.create_dir("backfill_rate_older"));
    land(&older, "0.csv", rows(0..600).as_bytes());
    create(&mut session, &url(&landing), "every => '50 ms', options => '{\"settle\": 0}'");
    let call = format!("CALL millrace.backfill('s', '{}', rate => 100)", url(&older));
    let mut caller = server.session("backfill_rate");
    std::thread::scope(|threads| {
        let began = std::time::Instant::now();
        let running = {
            let call = call.clone();
            threads.spawn(move || {
                caller.execute(&call);
                began.elapsed()
            })
        };
        let brought = "SELECT coalesce(max(rows_done), 0) FROM millrace.backfills";
        wait_until("it has begun", Duration::from_secs(30), || session.number(brought) > 0);
        land(&landing, "live.csv", rows(1000..1010).as_bytes());
        wait_until("live rows are there", Duration::from_secs(30), || {
            session.number("SELECT count(*) FROM staging.s WHERE id >= 1000") == 10
        });
        assert!(session.number(brought) < 600, "long before the backfill is done");
        assert_eq!(session.line("SELECT state, rate FROM millrace.backfills"), "running|100");
        session.refused(
            &format!("CALL millrace.backfill('s', '{}')", url(&server.create_dir("backfill_rate_other"))),
            "55000",
        );
        let took = running.join().unwrap();
        assert!(took >= Duration::from_secs(4), "600 rows at 100 a second took {took:?}");
    });
    assert_eq!(staged(&mut session), "610 610 0 1009");
    assert!(session.number("SELECT max(row_count) FROM millrace.chunks WHERE generation = 1") <= 100);
    retail::assert_verified(&mut session, "s");

    land(&older, "1.csv", rows(2000..2600).as_bytes());
    let mut caller = server.session("backfill_rate");
    let running = std::thread::spawn(move || caller.raises(&call, "55000").detail().unwrap().to_string());
    let begun = "SELECT count(*) FROM millrace.backfills WHERE state = 'running' AND rows_done > 0";
    wait_until("it has begun", Duration::from_secs(30), || session.number(begun) == 1);
    session.execute("SELECT millrace.stop_backfill('s')");
    assert!(running.join().unwrap().contains("stop_backfill"));
    session.refused("SELECT millrace.stop_backfill('s')", "55000");
    session.execute(&format!("CALL millrace.backfill('s', '{}')", url(&older)));
    assert_eq!(staged(&mut session), "1210 1210 0 2599", "called again it goes on where it was stopped");
    assert_eq!(
        session.lines("SELECT kind, count(*) FROM millrace.events WHERE kind LIKE 'backfill%' GROUP BY 1 ORDER BY 1"),
        ["backfill_done|2", "backfill_started|3", "backfill_stopped|1"]
    );
}

#[test]
fn backfills_that_make_no_sense_are_refused() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("backfill_refused");
    let landing = server.create_dir("backfill_refused");
    landing.join("sub").create();
    let lake = server.create_dir("backfill_refused_lake");
    create(
        &mut session,
        &url(&landing),
        &format!("raw => '{}/raw', every => NULL, options => '{{\"settle\": 0}}'", url(&lake)),
    );
    for arguments in [
        "",
        ", location => 'file:///tmp', chunks => '[1,2]'",
        ", chunks => 'empty'",
        ", location => 'file:///tmp', rate => 0",
        ", location => 'file:///tmp', consumers => '{c}'",
        ", versions => '[1,2]'",
    ] {
        session.refused_with_hint(&format!("CALL millrace.backfill('s'{arguments})"), "22023");
    }
    for place in [url(&landing), format!("{}/raw", url(&lake)), url(&lake)] {
        session.refused(&format!("CALL millrace.backfill('s', '{place}')"), "22023");
    }
    session.execute(&format!("CALL millrace.backfill('s', '{}/sub')", url(&landing)));
    session.raises("CALL millrace.backfill(NULL)", "22004");
    session.raises("CALL millrace.backfill('nothing', chunks => '[1,2]')", "42704");
    session.raises("CALL millrace.backfill('s', 'file:///is/not/there')", "58P01");
    session.raises("BEGIN; CALL millrace.backfill('s', chunks => '[1,1]')", "25001");
    session.execute("ROLLBACK; ");
    let [stranger, nobody] = ["backfill_stranger", "backfill_nobody"].map(|role| server.name(role));
    session.execute(&format!(
        "CREATE ROLE {stranger} LOGIN; GRANT millrace_admin TO {stranger}; CREATE ROLE {nobody} LOGIN"
    ));
    server.session_as("backfill_refused", &stranger).refused("CALL millrace.backfill('s', chunks => '[1,1]')", "42501");
    server.session_as("backfill_refused", &nobody).raises("CALL millrace.backfill('s', chunks => '[1,1]')", "42501");
    session.execute("SELECT millrace.pause('s')");
    land(&landing.join("sub"), "1.csv", b"id,amount\n1,1\n");
    session.refused(&format!("CALL millrace.backfill('s', '{}/sub')", url(&landing)), "55000");
    session.execute("SELECT millrace.resume('s'); SELECT millrace.stop_backfill('s')");
}
