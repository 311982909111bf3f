//! What a chunk costs a consumer: next_chunk and ack, from one connection, beside PgQ's next_batch and finish_batch on the same server.
//!
//! Both sides commit each call. PgQ (Debian's postgresql-15-pgq3) is left out where the server has it not. BENCH_CYCLES (100000) says how
//! many cycles the sizes of tables are watched for, BENCH_HISTORY (1000000) how many chunks a long history has.

use std::time::Instant;

use postgres::Client;

use crate::place::Place;
use crate::report::Line;

const ROUNDS: usize = 15;
const CYCLES: usize = 100;

pub fn measure(place: &mut Place) -> Vec<Line> {
    let number = |name: &str, default: i64| std::env::var(name).ok().map_or(default, |v| v.parse().expect(name));
    let (cycles, history) = (number("BENCH_CYCLES", 100_000), number("BENCH_HISTORY", 1_000_000));
    let mut lines = vec![];
    stream(place, "short", 10);
    stream(place, "long", history);
    let has_pgq = place.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'pgq'") == "1";
    if has_pgq {
        queue(place);
    }
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(cycle_time(&mut place.client, "short", CYCLES));
        times[1].push(cycle_time(&mut place.client, "long", CYCLES));
        if has_pgq {
            times[2].push(batch_time(&mut place.client));
        }
    }
    let [short, long, pgq] = times.map(median);
    let line = |what: &str, ours: String, baseline: String, ratio: f64, want: f64, at_most: bool| Line {
        what: what.to_owned(),
        ours,
        baseline,
        ratio,
        want,
        at_most,
        note: format!("{ROUNDS} rounds of {CYCLES}"),
    };
    let rate = |seconds: f64| format!("{:.0}/s", 1.0 / seconds);
    if has_pgq {
        let baseline = format!("PgQ: {}", rate(pgq));
        lines.push(line("next_chunk + ack", rate(short), baseline, pgq / short, 1.0, false));
    }
    let what = format!("next_chunk + ack behind {history} chunks");
    let baseline = format!("behind 10: {}", rate(short));
    lines.push(line(&what, rate(long), baseline, long / short, 1.2, true));

    stream(place, "sizes", 10);
    // A pipeline in use has a worker, and its database one that vacuums; of these only the chunks are made up.
    let landing = place.fresh_dir("consumers_alive");
    place.execute(&format!(
        "SELECT millrace.create_pipeline('alive', source => '{landing}', format => 'csv', columns => 'id int', staging => 'staging.alive', every => '1 hour');
         SET synchronous_commit = off"
    ));
    let sizes = "SELECT sum(pg_total_relation_size(c)) FROM (VALUES ('millrace.consumer'::regclass), ('millrace.delivery')) t (c)";
    let size = |place: &mut Place| place.value(sizes).parse::<f64>().expect("a size");
    cycle_time(&mut place.client, "sizes", cycles as usize / 5);
    let before = size(place);
    cycle_time(&mut place.client, "sizes", cycles as usize - cycles as usize / 5);
    let after = size(place);
    let kilobytes = |bytes: f64| format!("{:.0} kB", bytes / 1024.0);
    let what = format!("size of the consumers' tables after {cycles} cycles");
    let baseline = format!("after {}: {}", cycles / 5, kilobytes(before));
    lines.push(line(&what, kilobytes(after), baseline, after / before, 1.2, true));
    place.execute("RESET synchronous_commit");
    for name in ["short", "long", "sizes", "alive"] {
        place.execute(&format!("SELECT millrace.drop_pipeline('{name}', drop_tables => true)"));
    }
    lines
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A stream with that much history behind its consumer, and enough chunks before it. Only the chunks' own rows: nobody reads more here.
fn stream(place: &mut Place, name: &str, history: i64) {
    let landing = place.fresh_dir(&format!("consumers_{name}"));
    place.execute(&format!(
        "SELECT millrace.create_pipeline('{name}', source => '{landing}', format => 'csv', columns => 'id int', staging => 'staging.{name}', every => NULL);
         INSERT INTO millrace.chunk (pipeline_id, chunk_no, row_count, reject_count, byte_count, sealed_at, duration, source)
         SELECT p.id, n, 10, 0, 100, now(), '0', '{{}}' FROM millrace.pipeline p, generate_series(1, {history} + 200000) n WHERE p.name = '{name}';
         UPDATE millrace.position SET head = {history} + 200000 WHERE pipeline_id = (SELECT id FROM millrace.pipeline WHERE name = '{name}');
         SELECT millrace.create_consumer('{name}', 'c', start_at => '{history}');
         ANALYZE millrace.chunk"
    ));
}

/// Seconds that a chunk takes.
fn cycle_time(client: &mut Client, name: &str, cycles: usize) -> f64 {
    let next = "SELECT chunk_no, token::text FROM millrace.next_chunk($1, 'c')";
    let next = client.prepare(next).expect("next_chunk");
    let ack = client.prepare("SELECT millrace.ack($1, 'c', $2, $3::text::uuid)").expect("ack");
    let begun = Instant::now();
    for _ in 0..cycles {
        let row = client.query_one(&next, &[&name]).expect("a chunk");
        let (chunk_no, token): (i64, String) = (row.get(0), row.get(1));
        client.execute(&ack, &[&name, &chunk_no, &token]).expect("an ack");
    }
    begun.elapsed().as_secs_f64() / cycles as f64
}

/// A queue of PgQ's with as many batches as are asked for, of an event each.
fn queue(place: &mut Place) {
    place.execute("CREATE EXTENSION pgq");
    place.execute("SELECT pgq.create_queue('q'); SELECT pgq.register_consumer('q', 'c')");
    place.execute("SET synchronous_commit = off");
    for _ in 0..ROUNDS * CYCLES {
        place.execute("SELECT pgq.insert_event('q', 't', 'd')");
        place.execute("SELECT pgq.force_tick('q')");
        place.execute("SELECT pgq.ticker('q')");
    }
    place.execute("RESET synchronous_commit");
}

/// Seconds that a batch of PgQ's takes.
fn batch_time(client: &mut Client) -> f64 {
    let next = client.prepare("SELECT pgq.next_batch('q', 'c')").expect("next_batch");
    let finish = client.prepare("SELECT pgq.finish_batch($1)").expect("finish_batch");
    let begun = Instant::now();
    for _ in 0..CYCLES {
        let batch: i64 = client.query_one(&next, &[]).expect("next_batch").get::<_, Option<i64>>(0).expect("a batch");
        client.execute(&finish, &[&batch]).expect("finish_batch");
    }
    begun.elapsed().as_secs_f64() / CYCLES as f64
}
