//! The same flow without a background worker: `CALL millrace.run()` on a server that preloads nothing.

use crate::lake::on_each_storage;
use crate::server::{Preload, Server, note};
use crate::site::{Site, land, url};
use crate::{copier, retail};

on_each_storage! {
fn run_loads_everything_available_on_a_server_without_preload(storage, cell) {
    let Some(files) = retail::files() else { return note("run: skipped, the shared data is not here") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let places = retail::Places::on(storage, &server, &mut session, cell);
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "NULL");
    retail::create_aggregate(&mut session, &places);
    copier::create(&mut session);
    let (first, rest) = files.split_at(40);
    for batch in [first, rest, &[]] {
        batch.iter().for_each(|file| places.land(file));
        session.execute("CALL millrace.run('invoices')");
        copier::drain(&mut session);
    }
    assert!(retail::all_published(&mut session), "run() returns when everything is published");
    retail::assert_exact(&mut session);
    retail::assert_dense(&mut session);
    copier::assert_exactly_once(&mut session);
    retail::assert_verified(&mut session, "invoices");
}

fn rows_that_do_not_cast_are_rejected_with_their_raw_line_and_the_rest_is_loaded(storage, cell) {
    let Some(files) = retail::files() else { return note("rejects: skipped, the shared data is not here") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let places = retail::Places::on(storage, &server, &mut session, cell);
    let columns = retail::COLUMNS.replace("CustomerID text", "CustomerID int");
    retail::create_pipeline(&mut session, &places, &columns, "NULL");
    files.iter().for_each(|file| places.land(file));
    session.execute("CALL millrace.run('invoices')");

    // Customers read like 17850.0, which is no integer; only rows without a customer can be loaded.
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices"), retail::ROWS - retail::WITH_CUSTOMER);
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices_rejects"), retail::WITH_CUSTOMER);
    assert_eq!(retail::records_loaded(&mut session), retail::ROWS);
    assert_eq!(
        session
            .line("SELECT raw FROM staging.invoices_rejects WHERE file LIKE '%2010-12-01.csv' ORDER BY row_no LIMIT 1"),
        "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"
    );
    let reasons = session.value("SELECT reasons::text FROM staging.invoices_rejects LIMIT 1").to_lowercase();
    assert!(reasons.contains("customerid"), "the reason names the column: {reasons}");
    retail::assert_dense(&mut session);
    retail::assert_verified(&mut session, "invoices");
}

fn a_malformed_line_goes_to_the_rejects_and_the_lines_around_it_are_loaded(storage, cell) {
    let server = Site::on(storage, Server::shared(Preload::No));
    for raw in [false, true] {
        let name = format!("{cell}_{raw}");
        let mut session = server.create_database(&name);
        let landing = server.create_dir(&format!("{name}_landing"));
        let lake = server.create_dir(&format!("{name}_lake"));
        let raw = if raw { format!("'{}'", url(&lake.join("raw"))) } else { "NULL".into() };
        session.execute(&format!(
            "CREATE SCHEMA staging;
             SELECT millrace.create_pipeline('orders', source => '{}/*.csv', columns => 'id int NOT NULL, amount numeric(8,2), note text',
                    staging => 'staging.orders', raw => {raw}, every => NULL, options => '{{\"settle\": 0}}')",
            url(&landing)
        ));
        let content = "id,amount,note\n1,1.50,good\n2,abc,no number\n3,2.00\n4,2.00,x,extra\n,3.00,no id\n5,\"4,5\n6,7.25,\"say \"\"hi\"\"\"\n";
        land(&landing, "orders.csv", content.as_bytes());
        session.execute("CALL millrace.run('orders')");
        let loaded = session.lines("SELECT id, amount, note FROM staging.orders ORDER BY id");
        assert!(loaded.contains(&"1|1.50|good".to_string()), "{loaded:?}");
        let rejects = session.lines("SELECT raw FROM staging.orders_rejects ORDER BY row_no");
        for line in ["2,abc,no number", "3,2.00", "4,2.00,x,extra", ",3.00,no id"] {
            assert!(rejects.contains(&line.to_string()), "{line} is kept as it landed: {rejects:?}");
        }
        assert!(rejects.iter().any(|line| line.starts_with("5,\"4,5")), "broken quoting is kept: {rejects:?}");
        assert_eq!(
            session.number(
                "SELECT count(*) FROM staging.orders_rejects WHERE file IS NULL OR row_no IS NULL OR reasons IS NULL"
            ),
            0
        );
        retail::assert_verified(&mut session, "orders");
    }
}

fn run_commits_chunk_by_chunk_and_refuses_a_transaction_block(storage, cell) {
    let server = Site::on(storage, Server::shared(Preload::No));
    let mut session = server.create_database(cell);
    let landing = server.create_dir(&format!("{cell}_landing"));
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('t', source => '{}/*.csv', columns => 'id int', staging => 'staging.t', every => NULL,
                options => '{{\"settle\": 0, \"max_files_per_chunk\": 2}}')",
        url(&landing)
    ));
    for i in 0..7 {
        land(&landing, &format!("{i}.csv"), format!("id\n{i}\n").as_bytes());
    }
    session.raises("BEGIN; CALL millrace.run('t')", "25001");
    session.execute("ROLLBACK");
    assert_eq!(session.number("SELECT count(*) FROM staging.t"), 0);
    session.execute("CALL millrace.run('t')");
    assert_eq!(
        session.lines("SELECT chunk_no, row_count FROM millrace.chunks ORDER BY 1"),
        ["1|2", "2|2", "3|2", "4|1"]
    );
    assert_eq!(session.number("SELECT count(DISTINCT xmin::text) FROM staging.t"), 4);
}

fn a_chunk_that_fails_does_not_hold_back_the_publication_of_those_before_it(storage, cell) {
    let server = Site::on(storage, Server::shared(Preload::No));
    let mut session = server.create_database(cell);
    let [landing, lake] = ["landing", "lake"].map(|place| server.create_dir(&format!("{cell}_{place}")));
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', '{}/*.csv', columns => 'id int', staging => 'staging.p', semi_processed => '{}/clean', every => NULL,
             options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}');
         SELECT millrace.add_expectation('p', 'positive', 'id > 0', on_violation => 'fail')",
        url(&landing),
        url(&lake)
    ));
    for (name, id) in [("1.csv", 1), ("2.csv", 2), ("3.csv", 3), ("4.csv", -4)] {
        land(&landing, name, format!("id\n{id}\n").as_bytes());
    }
    assert!(session.try_execute("CALL millrace.run('p')").is_err(), "the last file stops the pipeline");
    let published = "SELECT chunk_no, state FROM millrace.publications WHERE pipeline = 'p' ORDER BY chunk_no";
    assert_eq!(session.lines(published), ["1|done", "2|done", "3|done"]);
}
}
