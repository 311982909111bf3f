//! Aggregates that come late are filled beside live loading, and show the right thing from the moment that they are there.

use crate::retail::{assert_verified, assert_view_is_recompute};
use crate::server::{Preload, signal, wait_until};
use crate::site::{Place, Site, land, url};
use crate::sql::{Session, quote};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const QUERIES: [(&str, &str); 3] = [
    (
        "counted",
        "SELECT g, count(*) AS n, sum(x) AS total, avg(x) AS mean, count(DISTINCT who) AS people, max(n) AS most FROM staging.p GROUP BY g",
    ),
    ("again", "SELECT g, string_agg(who, ',' ORDER BY who, n) AS people FROM staging.p WHERE n % 50 = 0 GROUP BY g"),
    ("over_all", "SELECT count(*) AS n, min(n) AS least FROM staging.p"),
];

struct Late {
    server: Site,
    landing: Place,
    landed: i64,
}

impl Late {
    fn land(&mut self, files: i64) {
        for _ in 0..files {
            self.landed += 1;
            land(&self.landing, &format!("{:04}.csv", self.landed), lines(self.landed).as_bytes());
        }
    }

    fn is_loaded(&self) -> bool {
        let Ok(mut session) = self.server.try_session("late") else { return false };
        let loaded = session.try_value("SELECT last_chunk_no FROM millrace.pipelines");
        loaded.is_ok_and(|n| n == self.landed.to_string())
    }
}

fn lines(file: i64) -> String {
    let line = |i: i64| format!("g{},w{},{i},{}.{:02}\n", (i * file) % 7, (i + file) % 40, i % 90, file % 100);
    std::iter::once("g,who,n,x\n".to_owned()).chain((0..300).map(line)).collect()
}

fn pipeline(session: &mut Session, landing: &Place) {
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'g text, who text, n int, x numeric', staging => 'staging.p',
                every => '50 ms', options => '{{\"settle\": 0, \"max_files_per_chunk\": 1, \"chunks_per_partition\": 8}}')",
        url(landing)
    ));
}

#[test]
fn an_aggregate_that_comes_late_is_filled_in_steps_while_rows_are_loaded_and_workers_die() {
    let server = Site::alone(module_path!(), Preload::Yes);
    let mut session = server.create_database("late");
    session.execute("ALTER SYSTEM SET millrace.backfill_rows = 300");
    session.execute("SELECT pg_reload_conf()");
    let landing = server.create_dir("late_landing");
    let lake = server.create_dir("late_lake");
    pipeline(&mut session, &landing);
    let mut late = Late { server, landing, landed: 0 };
    late.land(30);
    wait_until("the past is loaded", SOON, || late.is_loaded());
    wait_until("the setting is in force", SOON, || session.value("SHOW millrace.backfill_rows") == "300");
    // Each step leaves a row, or a quick one would be over before anybody looked.
    session.execute(
        "CREATE TABLE steps (aggregate bigint, through bigint);
         CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.steps VALUES (new.id, new.filled); RETURN new; END';
         CREATE TRIGGER note_step AFTER UPDATE OF filled ON millrace.aggregate FOR EACH ROW EXECUTE FUNCTION public.note_step();
         SELECT millrace.pause('p')",
    );
    for (name, query) in QUERIES {
        let publish = if name == "counted" { quote(&url(&lake.join(name))) } else { "NULL".into() };
        session.execute(&format!(
            "SELECT millrace.create_aggregate('p', '{name}', {}, publish => {publish})",
            quote(query)
        ));
        assert_view_is_recompute(&mut session, &format!("staging.{name}"), query);
    }
    let filling = "SELECT count(*) FROM millrace.aggregates WHERE filled_through IS NOT NULL";
    assert_eq!(session.number(filling), 3);
    session.execute("SELECT millrace.resume('p')");
    for round in 0.. {
        if round < 20 {
            late.land(1);
        }
        if round == 3 {
            let worker = session.number(
                "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline'",
            );
            if worker > 0 {
                signal("KILL", worker as u32);
            }
        }
        // After the kill the server is away for a moment.
        let Ok(mut session) = late.server.try_session("late") else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let Ok(left) = session.try_value(filling) else { continue };
        if left == "0" && round >= 20 {
            break;
        }
        for (name, query) in QUERIES {
            if let Ok(rows) = session.try_rows(&format!(
                "(SELECT t::text FROM staging.{name} t EXCEPT ALL SELECT t::text FROM ({query}) t)
                 UNION ALL (SELECT t::text FROM ({query}) t EXCEPT ALL SELECT t::text FROM staging.{name} t)"
            )) {
                assert!(rows.is_empty(), "{name} differs from its query while it is filled: {rows:?}");
            }
        }
        assert!(round < 2_000, "it is never complete");
        std::thread::sleep(Duration::from_millis(30));
    }
    wait_until("all is loaded", SOON, || late.is_loaded());
    let mut session = late.server.session("late");
    let steps = session.rows("SELECT count(DISTINCT through) FROM steps GROUP BY aggregate");
    assert!(
        steps.len() == 3 && steps.iter().all(|n| n[0].as_ref().is_some_and(|n| n.parse::<i64>().unwrap() >= 29)),
        "30 chunks of 300 rows were not filled in steps of 300 rows: {steps:?}"
    );
    // The rows of a touched group are found by an index, which each partition got in a step of its own.
    let touched = "'staging.again_touched'::regclass";
    assert_eq!(session.value(&format!("SELECT indisvalid FROM pg_index WHERE indexrelid = {touched}")), "t");
    let parts = format!(
        "SELECT count(*), count(DISTINCT c.xmin::text) >= 4 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = {touched}"
    );
    let partitions = session.number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'staging.p'::regclass");
    assert_eq!(session.line(&parts), format!("{partitions}|t"));
    for (name, query) in QUERIES {
        assert_view_is_recompute(&mut session, &format!("staging.{name}"), query);
        let view = session.value(&format!("SELECT pg_get_viewdef('staging.{name}'::regclass)"));
        assert!(view.contains(&format!("{name}_state")), "the view still computes its query: {view}");
    }
    wait_until("all is published", SOON, || {
        session.number("SELECT count(*) FROM millrace.publications WHERE state <> 'done'") == 0
            && session.number("SELECT count(*) FROM millrace.publications") > 0
    });
    assert_verified(&mut session, "p");
}
