//! Real invoices through the whole flow, by the background worker, while the files are landing.

use crate::lake::on_each_storage;
use crate::server::{Preload, Server, note, wait_until};
use crate::{copier, retail};
use std::time::Duration;

on_each_storage! {
fn the_worker_gives_the_exact_figures_of_half_a_year_of_invoices(storage, cell) {
    let Some(files) = retail::files() else { return note("invoices: skipped, the shared data is not here") };
    let server = Server::shared(Preload::Yes);
    let mut session = server.create_database(cell);
    let places = retail::Places::on(storage, &server, &mut session, cell);
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "'50 ms'");
    retail::create_aggregate(&mut session, &places);
    copier::create(&mut session);

    let per_second: u32 = std::env::var("LAND_PER_SECOND").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for file in &files {
                places.land(file);
                std::thread::sleep(Duration::from_secs(1) / per_second.max(1));
            }
        });
        wait_until("all invoices are loaded and copied", Duration::from_secs(180), || {
            copier::drain(&mut session);
            retail::records_loaded(&mut session) >= retail::ROWS
        });
    });
    copier::drain(&mut session);
    wait_until("all chunks are published", Duration::from_secs(60), || retail::all_published(&mut session));

    retail::assert_exact(&mut session);
    retail::assert_dense(&mut session);
    copier::assert_exactly_once(&mut session);
    retail::assert_verified(&mut session, "invoices");
}

fn columns_and_types_are_found_out_when_none_are_given(storage, cell) {
    let Some(files) = retail::files() else { return note("inferred columns: skipped, the shared data is not here") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let places = retail::Places::on(storage, &server, &mut session, cell);
    places.land(&files[0]);
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('invoices', source => '{}/*.csv', staging => 'staging.invoices', every => NULL, options => '{{\"settle\": 0}}')",
        places.url(&places.landing)
    ));
    session.execute("CALL millrace.run('invoices')");
    let records = session.number("SELECT row_count FROM millrace.chunks");
    assert!(records > 3000, "{records} rows");
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices"), records);
    assert_eq!(
        session
            .line("SELECT pg_typeof(quantity), pg_typeof(unitprice), pg_typeof(country) FROM staging.invoices LIMIT 1"),
        "bigint|numeric|text"
    );
}
}
