//! Aggregates that come late to a pipeline whose rows change: filled by ranges of the key while chunks change rows on both sides of the
//! range, they miss no change and take none twice, also where a worker dies in the middle of a step.

use super::published::assert_published;
use super::queries::QUERIES;
use super::{DATABASE, PIPELINES, SOON, Stream, difference, number, reconnect};
use crate::retail::assert_verified;
use crate::server::{Preload, note, signal, wait_until};
use crate::site::Site;
use crate::sql::Session;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A pipeline with history, and steps of 25 rows; each step leaves a row in `steps`.
fn begin(server: &Site, place: &str, random: &mut ChaCha8Rng) -> (Session, Stream) {
    let mut session = server.create_database(DATABASE);
    session.execute("ALTER SYSTEM SET millrace.backfill_rows = 25");
    session.execute("SELECT pg_reload_conf()");
    session.execute(
        "CREATE SCHEMA staging; CREATE SCHEMA views_changes;
         CREATE COLLATION staging.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE steps (aggregate bigint, through bigint, part jsonb);
         CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.steps VALUES (new.id, new.filled, new.filled_part); RETURN new; END';
         CREATE TRIGGER note_step AFTER UPDATE OF filled ON millrace.aggregate FOR EACH ROW EXECUTE FUNCTION public.note_step()",
    );
    wait_until("the setting is in force", SOON, || session.value("SHOW millrace.backfill_rows") == "25");
    let (name, options) = PIPELINES[1];
    let mut stream = Stream::create(server, &mut session, place, name, options);
    for _ in 0..6 {
        let text = stream.writer.file(random);
        stream.land(&text);
    }
    (session, stream)
}

fn seed() -> u64 {
    let seed = number("PROPERTY_SEED").unwrap_or_else(|| rand::rngs::StdRng::from_os_rng().random_range(0..1_000_000));
    note(&format!("property: PROPERTY_SEED={seed}"));
    seed
}

const FILLING: &str = "SELECT count(*) FROM millrace.aggregates WHERE filled_through IS NOT NULL";

#[test]
fn late_aggregates_of_changing_rows_are_filled_in_steps_and_lose_no_change() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let server = Site::alone(module_path!(), Preload::No);
    let (mut session, mut stream) = begin(&server, "steps", &mut random);
    session.execute("CALL millrace.run('changes')");
    let chosen: Vec<usize> = (0..QUERIES.len()).filter(|i| server.is_disk() || i % 5 == 0).collect();
    for &i in &chosen {
        // Deletes may have left few.
        while session.number("SELECT count(*) FROM staging.changes") < 75 {
            let text = stream.writer.file(&mut random);
            stream.land(&text);
            session.execute("CALL millrace.run('changes')");
        }
        stream.create_aggregates(&mut session, |candidate| candidate == i);
        assert_eq!(session.number(FILLING), 1, "{} has much to be filled with", QUERIES[i].name);
        // A step, then a chunk, then a step …
        for _ in 0..4 {
            let deletes = random.random_range(0..8) == 0;
            let text = if deletes { stream.writer.deletes(&mut random) } else { stream.writer.file(&mut random) };
            stream.land(&text);
        }
        session.execute("CALL millrace.run('changes')");
        assert_eq!(session.number(FILLING), 0, "{} is filled", QUERIES[i].name);
        for &j in chosen.iter().filter(|j| **j <= i) {
            let differing = session.lines(&difference("changes", j));
            assert!(differing.is_empty(), "{} differs from its query:\n{}", QUERIES[j].name, differing.join("\n"));
        }
        let view = session.value(&format!("SELECT pg_get_viewdef('views_changes.q{i}'::regclass)"));
        assert!(view.contains(&format!("q{i}_state")), "the view still computes its query: {view}");
    }
    // Deletes meanwhile may leave less to do.
    let steps = session.lines(
        "SELECT count(*) FILTER (WHERE part -> 'key' <> 'null') >= 2, count(DISTINCT through) >= 3 FROM steps GROUP BY aggregate",
    );
    assert!(steps.len() == chosen.len() && steps.iter().any(|s| s == "t|t"), "steps between chunks: {steps:?}");
    assert_verified(&mut session, "changes");
    if server.is_disk() {
        assert_published(&server, &mut session, &stream, QUERIES.len());
    }
}

#[test]
fn a_late_aggregate_of_changing_rows_whose_worker_dies_in_a_step_goes_on_from_the_step_before() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let server = Site::alone(module_path!(), Preload::Yes);
    let (mut session, mut stream) = begin(&server, "deaths", &mut random);
    wait_until("the past is loaded", SOON, || stream.is_loaded(&server));
    // The third step of each aggregate stands still for as long as this session lives, and this session dies with the worker.
    session.execute(
        "CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF (SELECT count(*) FROM public.steps WHERE aggregate = new.id) = 3 THEN PERFORM pg_catalog.pg_advisory_xact_lock(4711); END IF; RETURN new; END $$;
         CREATE TRIGGER stand_still AFTER UPDATE OF filled ON millrace.aggregate FOR EACH ROW EXECUTE FUNCTION public.stand_still()",
    );
    for i in [0, 1, 3] {
        session.execute("SELECT millrace.pause('changes')");
        stream.create_aggregates(&mut session, |candidate| candidate == i);
        assert_eq!(session.number(FILLING), 1);
        for _ in 0..3 {
            let text = stream.writer.file(&mut random);
            stream.land(&text);
        }
        session.execute("SELECT pg_advisory_lock(4711)");
        session.execute("SELECT millrace.resume('changes')");
        let waiting = "SELECT coalesce(max(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        wait_until("the worker is in a step", SOON, || session.number(waiting) > 0);
        signal("KILL", session.number(waiting) as u32);
        wait_until("the server has noticed", SOON, || session.try_value("SELECT 1").is_err());
        session = reconnect(&server);
        wait_until("it is filled", SOON, || session.number(FILLING) == 0);
        wait_until("what has landed is loaded", SOON, || stream.is_loaded(&server));
        let differing = session.lines(&difference("changes", i));
        assert!(differing.is_empty(), "{} differs from its query:\n{}", QUERIES[i].name, differing.join("\n"));
    }
    assert_verified(&mut session, "changes");
}
