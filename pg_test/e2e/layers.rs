//! Published layers as another Delta reader (the Python package) sees them: whole states, batches of chunks, partitions.

use crate::python::{python, script};
use crate::server::{Preload, signal, wait_until};
use crate::site::{Place, Site, land, url};
use crate::sql::Session;
use std::process::{Child, Stdio};
use std::time::Duration;

const KEYS: usize = 40;

/// What another reader says of a table.
fn ask(python: &str, question: &str, table: &Place, arguments: &[&str]) -> Vec<String> {
    let output = start(python, question, table, arguments).wait_with_output().unwrap();
    assert!(output.status.success(), "{question} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

fn start(python: &str, question: &str, table: &Place, arguments: &[&str]) -> Child {
    let (location, environment) = table.for_python();
    let mut command = script(python, "layers.py");
    command.args([question, &location]).args(arguments).envs(environment).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// How many versions are in a log.
fn versions_of(log: &[String]) -> usize {
    log.iter().filter(|name| name.ends_with(".json") && name.len() == 25).count()
}

/// A file that gives every key the same new value.
fn land_round(landing: &Place, round: usize) {
    let rows: String = (0..KEYS).map(|key| format!("{key},{round}\n")).collect();
    land(landing, &format!("{round:04}.csv"), format!("id,round\n{rows}").as_bytes());
}

/// A keyed pipeline whose state is one value in all rows behind each file, which is a chunk.
fn create_rounds(session: &mut Session, landing: &Place, lake: &Place, every: &str) {
    session.execute(&format!(
        r#"CREATE SCHEMA staging;
           SELECT millrace.create_pipeline('rounds', '{landing}/*.csv', columns => 'id int, round int', staging => 'staging.rounds',
               raw => '{lake}/raw', semi_processed => '{lake}/state', every => {every}, options => '{{"settle": 0, "primary_key": "id", "publish_mode": "overwrite",
                   "publish_every": 0, "max_files_per_chunk": 1, "checkpoint_every": 10}}');
           SELECT millrace.create_aggregate('rounds', 'by_key', 'SELECT id, max(round) AS round, count(*) AS n FROM staging.rounds GROUP BY id',
               publish => '{lake}/by_key', options => '{{"publish_mode": "overwrite"}}');
           SELECT millrace.create_aggregate('rounds', 'told', 'SELECT id, max(round) AS round FROM staging.rounds GROUP BY id',
               publish => '{lake}/told')"#,
        landing = url(landing),
        lake = url(lake)
    ));
}

#[test]
fn another_reader_sees_the_state_before_or_after_a_chunk_and_never_between_whatever_dies() {
    const ROUNDS: usize = 36;
    let python = python();
    let server = Site::alone(module_path!(), Preload::Yes);
    let mut session = server.create_database("rounds");
    let (landing, lake) = (server.create_dir("landing"), server.create_dir("lake"));
    create_rounds(&mut session, &landing, &lake, "'50 ms'");
    drop(session);
    let aside = tempfile::tempdir().unwrap();
    let stop = aside.path().join("stop");
    let watchers: Vec<Child> = ["state", "by_key"]
        .map(|layer| start(&python, "watch", &lake.join(layer), &["round", &KEYS.to_string(), stop.to_str().unwrap()]))
        .into();
    let published = |least: i64| {
        let last = "SELECT coalesce(min(last), 0) FROM (SELECT max(chunk_no) FILTER (WHERE state = 'done') AS last
                      FROM millrace.publications GROUP BY layer) l";
        let found = server.try_session("rounds").and_then(|mut session| session.try_value(last));
        found.is_ok_and(|n| n.parse().is_ok_and(|n: i64| n >= least))
    };
    for round in 1..=ROUNDS {
        land_round(&landing, round);
        // Something is left to publish behind the last kill: upkeep is looked for when a version is written.
        if round % 11 == 0 {
            wait_until("some of it is published", Duration::from_secs(120), || published(round as i64 - 8));
            let pid = server.try_session("rounds").and_then(|mut s| {
                s.try_value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' LIMIT 1")
            });
            if let Some(pid) = pid.ok().and_then(|pid| pid.parse().ok()) {
                signal("KILL", pid);
            }
            wait_until("the server answers again", Duration::from_secs(60), || server.try_session("rounds").is_ok());
        }
    }
    wait_until("all is published", Duration::from_secs(120), || published(ROUNDS as i64));
    std::fs::write(&stop, "").unwrap();
    for watcher in watchers {
        let output = watcher.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let seen: Option<usize> = said.trim().strip_prefix("saw ").and_then(|n| n.parse().ok());
        assert!(seen.is_some_and(|n| n > 0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }

    let mut session = server.session("rounds");
    let last = format!("{ROUNDS}:{KEYS}");
    for layer in ["state", "by_key"] {
        let versions = ask(&python, "versions", &lake.join(layer), &["round"]);
        let rounds: Vec<usize> = versions
            .iter()
            .map(|v| {
                v.strip_suffix(&format!(":{KEYS}"))
                    .and_then(|n| n.parse().ok())
                    .unwrap_or_else(|| panic!("{layer}: {v}"))
            })
            .collect();
        assert!(rounds.is_sorted_by(|a, b| a < b), "{layer}: {rounds:?}");
        assert_eq!(versions.last(), Some(&last));
    }
    // Each chunk's changes are there once.
    let told = ask(&python, "rows", &lake.join("told"), &["_chunk_no", "id", "round"]);
    let expected = "SELECT n, k, n FROM generate_series(1, 36) n, generate_series(0, 39) k ORDER BY n::text COLLATE \"C\", k::text COLLATE \"C\"";
    assert!(told == session.lines(expected), "{} rows", told.len());
    crate::retail::assert_verified(&mut session, "rounds");

    // All the while the tables were kept in order: those that have enough versions, for a layer has fewer than there are chunks.
    for layer in ["raw", "state", "by_key", "told"] {
        let log = lake.join(layer).join("_delta_log");
        if versions_of(&log.list()) > 10 || layer == "raw" {
            wait_until(&format!("{layer} has a checkpoint"), Duration::from_secs(60), || {
                log.list().contains(&"_last_checkpoint".to_owned())
            });
        }
    }
    let files: usize = ask(&python, "files", &lake.join("told"), &[])[0].parse().unwrap();
    assert!(files < ROUNDS, "{files} files");
    assert_eq!(
        session.lines("SELECT kind, message FROM millrace.events WHERE kind IN ('upkeep_failed', 'foreign_commit')"),
        [""; 0]
    );
}

#[test]
fn chunks_that_wait_for_each_other_are_one_version_and_a_pause_lets_none_behind() {
    let python = python();
    let server = Site::of(module_path!(), Preload::Yes);
    let mut session = server.create_database("gathered");
    let (landing, lake) = (server.create_dir("gathered_landing"), server.create_dir("gathered_lake"));
    session.execute(&format!(
        r#"CREATE SCHEMA staging;
           SELECT millrace.create_pipeline('gathered', '{}/*.csv', columns => 'id int, round int', staging => 'staging.gathered',
               semi_processed => '{lake}/rows', every => '50 ms', options => '{{"settle": 0, "publish_every": "1 hour", "max_files_per_chunk": 1}}');
           SELECT millrace.create_aggregate('gathered', 'often', 'SELECT round, count(*) AS n FROM staging.gathered GROUP BY round',
               publish => '{lake}/often', options => '{{"publish_every": 0}}')"#,
        url(&landing),
        lake = url(&lake)
    ));
    let done = |session: &mut Session, layer: &str| {
        session.number(&format!(
            "SELECT count(*) FROM millrace.publications WHERE pipeline = 'gathered' AND layer = '{layer}' AND state = 'done'"
        ))
    };
    for round in 1..=3 {
        land_round(&landing, round);
        wait_until("the aggregate is published", Duration::from_secs(60), || {
            done(&mut session, "aggregate:often") == round as i64
        });
    }
    assert_eq!(done(&mut session, "semi_processed"), 0);
    assert!(ask(&python, "versions", &lake.join("rows"), &["round"]).is_empty());

    session.execute("SELECT millrace.pause('gathered')");
    wait_until("what was sealed is published", Duration::from_secs(60), || done(&mut session, "semi_processed") == 3);
    let one = ["1:40 2:40 3:40".to_string()];
    assert_eq!(ask(&python, "versions", &lake.join("rows"), &["round"]), one);
    assert_eq!(
        session.line("SELECT count(DISTINCT delta_version) FROM millrace.publications WHERE layer = 'semi_processed'"),
        "1"
    );

    // A full outbox is emptied before its time rather than that it stops the pipeline for an hour.
    session.execute(r#"SELECT millrace.alter_pipeline('gathered', options => '{"max_outbox_chunks": 2}'); SELECT millrace.resume('gathered')"#);
    (4..=9).for_each(|round| land_round(&landing, round));
    wait_until("all files are loaded", Duration::from_secs(60), || {
        session.number("SELECT count(*) FROM millrace.chunks WHERE pipeline = 'gathered'") == 9
    });

    // Nor does the end of the pipeline leave any behind.
    session.execute(r#"SELECT millrace.alter_pipeline('gathered', options => '{"max_outbox_chunks": null}')"#);
    land_round(&landing, 10);
    wait_until("the last file is loaded", Duration::from_secs(60), || {
        session.number("SELECT count(*) FROM millrace.chunks WHERE pipeline = 'gathered'") == 10
    });
    assert!(done(&mut session, "semi_processed") < 10);
    session.execute("SELECT millrace.drop_pipeline('gathered')");
    let all: Vec<String> = ask(&python, "rows", &lake.join("rows"), &["_chunk_no", "id"]);
    assert_eq!(all.len(), 10 * KEYS);
}

#[test]
fn a_layer_is_partitioned_by_any_values_and_reads_back_the_same() {
    let python = python();
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("partitioned");
    let (landing, lake) = (server.create_dir("partitioned_landing"), server.create_dir("partitioned_lake"));
    session.execute(&format!(
        r#"CREATE SCHEMA staging;
           SELECT millrace.create_pipeline('parts', '{}/*.csv', staging => 'staging.parts', every => NULL,
               columns => 'id int, "Country" text, day date, at timestamptz, big numeric(30,2), yes boolean', semi_processed => '{lake}/rows',
               options => '{{"settle": 0, "partition_by": ["Country", "day", "at", "big", "yes"]}}');
           SELECT millrace.create_aggregate('parts', 'by_day', 'SELECT day, "Country", count(*) AS n FROM staging.parts GROUP BY day, "Country"',
               publish => '{lake}/by_day', options => '{{"publish_mode": "overwrite", "partition_by": "Country"}}')"#,
        url(&landing),
        lake = url(&lake)
    ));
    let countries = [
        "DE",
        "a/b",
        "..",
        "100%",
        "x=y",
        "a b",
        "ü#?&",
        "\"q\"\"uote\"",
        "'",
        "c:\\d",
        "[x]*",
        "line\nend",
        "~",
        "+",
        "",
    ];
    let mut text = String::from("id,Country,day,at,big,yes\n");
    for (i, country) in countries.iter().enumerate() {
        let country = if country.contains(['\n', '"']) {
            format!("\"{}\"", country.trim_matches('"'))
        } else {
            country.to_string()
        };
        let day = if i % 4 == 3 { String::new() } else { format!("2024-02-{:02}", i + 1) };
        let at = if i % 5 == 4 { String::new() } else { format!("2024-01-01 12:00:00.{i:06}+02") };
        text.push_str(&format!(
            "{i},{country},{day},{at},{i}234567890123456789012345.{:02},{}\n",
            i,
            ["t", "f", ""][i % 3]
        ));
    }
    // Many partitions with a few rows each, in no order: no more are open at a time than there is memory for.
    for i in 100..1000 {
        text.push_str(&format!("{i},c{},2024-03-01,,1,t\n", i * 7 % 90));
    }
    land(&landing, "1.csv", text.as_bytes());
    session.execute("CALL millrace.run('parts')");

    let ours = session.lines(
        "SELECT id, coalesce(\"Country\", '~'), coalesce(day::text, '~'), coalesce(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00:00'), '~'),
                coalesce(big::text, '~'), coalesce(initcap(yes::text), '~') FROM staging.parts ORDER BY id",
    );
    let mut theirs = ask(&python, "rows", &lake.join("rows"), &["id", "Country", "day", "at", "big", "yes"]).join("\n");
    // Python leaves out a fraction that is zero, and the rows are sorted as text.
    theirs = theirs.replace("10:00:00+00:00", "10:00:00.000000+00:00");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(theirs.lines().map(String::from).collect()),
        sorted(ours.join("\n").lines().map(String::from).collect())
    );
    let files: usize = ask(&python, "files", &lake.join("rows"), &[])[0].parse().unwrap();
    assert_eq!(files, 90 + countries.len());
    assert_eq!(
        ask(&python, "rows", &lake.join("by_day"), &["n"]).iter().map(|n| n.parse::<usize>().unwrap()).sum::<usize>(),
        900 + countries.len()
    );
    crate::retail::assert_verified(&mut session, "parts");
}

#[test]
fn ways_of_publishing_that_make_no_sense_are_refused() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("layers_refused");
    let (landing, lake) = (server.create_dir("layers_refused_landing"), server.create_dir("layers_refused_lake"));
    session.execute("CREATE SCHEMA staging");
    let create = |options: &str, semi: &str| {
        format!(
            "SELECT millrace.create_pipeline('p', '{}/*.csv', columns => 'id int, tags bytea', staging => 'staging.p', every => NULL,
                semi_processed => {semi}, options => '{options}')",
            url(&landing)
        )
    };
    let semi = format!("'{}/rows'", url(&lake));
    for (options, semi, state) in [
        (r#"{"publish_mode": "overwrite"}"#, semi.as_str(), "22023"),
        (r#"{"publish_mode": "merge"}"#, &semi, "22023"),
        (r#"{"partition_by": "id"}"#, "NULL", "22023"),
        (r#"{"partition_by": "no such column"}"#, &semi, "22023"),
        (r#"{"partition_by": ["id", "id"]}"#, &semi, "22023"),
        (r#"{"checkpoint_every": 1}"#, &semi, "22023"),
        (r#"{"publish_every": "soon"}"#, &semi, "22023"),
    ] {
        session.refused_with_hint(&create(options, semi), state);
    }
    session.refused_with_hint(&create(r#"{"partition_by": "tags"}"#, &semi), "0A000");
    session.execute(&create(r#"{"partition_by": "id"}"#, &semi));
    for change in [r#"{"partition_by": null}"#, r#"{"partition_by": "tags"}"#] {
        session.refused(&format!("SELECT millrace.alter_pipeline('p', options => '{change}')"), "0A000");
    }
    let aggregate = |publish: &str, options: &str| {
        format!(
            "SELECT millrace.create_aggregate('p', 'a', 'SELECT count(*) AS n FROM staging.p', publish => {publish}, options => '{options}')"
        )
    };
    session.refused(&aggregate("NULL", r#"{"publish_mode": "overwrite"}"#), "22023");
    session.refused(&aggregate(&format!("'{}/a'", url(&lake)), r#"{"nothing": 1}"#), "22023");
}
