//! The files of examples/ run as they stand, before and after rows come, and what they made equals its query.

use crate::retail::assert_verified;
use crate::server::Preload;
use crate::site::{Site, url};

const EXAMPLES: [(&str, &str); 6] = [
    ("merchant_performance", include_str!("../../examples/merchant_performance.sql")),
    ("gender_analysis", include_str!("../../examples/gender_analysis.sql")),
    ("per_minute", include_str!("../../examples/per_minute.sql")),
    ("conversion_rate", include_str!("../../examples/conversion_rate.sql")),
    ("top_n", include_str!("../../examples/top_n.sql")),
    ("late_corrections", include_str!("../../examples/late_corrections.sql")),
];

#[test]
fn each_example_runs_and_its_aggregates_equal_their_queries() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("examples");
    session.execute("CREATE SCHEMA staging");
    let mut simulate = Vec::new();
    for (kind, columns) in [
        (
            "transactions",
            "transaction_id text, event_time timestamptz, step int, customer text, age text, gender text, zipcode text,
             merchant text, category text, amount numeric(12,2), fraud int",
        ),
        (
            "shop_events",
            "event_time timestamptz, event_type text, product_id text, category_code text, brand text, price numeric, user_id text,
             user_session text",
        ),
    ] {
        let landing = server.create_dir(&format!("examples_{kind}"));
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{kind}', source => '{}/*.csv', columns => '{columns}', staging => 'staging.{kind}', every => NULL, options => '{{\"settle\": 0}}')",
            url(&landing)
        ));
        let more = format!("SELECT millrace.simulate('{kind}', '{}', rows_per_file => 2000, seed => ", url(&landing));
        simulate.push((kind, more));
    }
    let load = |session: &mut crate::sql::Session, seed: u32| {
        for (kind, more) in &simulate {
            session.execute(&format!("{more}{seed})"));
            session.execute(&format!("CALL millrace.run('{kind}')"));
            assert_verified(session, kind);
        }
    };
    load(&mut session, 1);
    for (name, text) in EXAMPLES {
        session.execute(text);
        crate::server::note(&format!("example {name}"));
    }
    load(&mut session, 2);
    // What is only read runs again.
    for (_, text) in EXAMPLES {
        for statement in text.split(";\n").filter(|s| !s.contains("millrace.create_")) {
            session.execute(statement);
        }
    }
    assert!(session.number("SELECT count(*) FROM staging.ledger") > 0, "the ledger got no correction");
    assert!(session.number("SELECT count(*) FROM staging.conversion WHERE purchases > 0") > 0);
    assert!(session.number("SELECT count(*) FROM staging.per_minute") > 0);
}

#[test]
fn the_pool_of_workers_bills_each_chunk_once_and_stops_when_asked_to() {
    let server = Site::of(module_path!(), Preload::Yes);
    let mut session = server.create_database("example_pool");
    let landing = server.create_dir("example_pool");
    session.execute(&format!(
        "SELECT millrace.simulate('transactions', '{0}', rows_per_file => 50, files => 12, seed => 3);
         SELECT millrace.create_pipeline('transactions', source => '{0}/*.csv', columns => 'customer text, amount numeric(12,2)',
             staging => 'staging.transactions', options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}', every => NULL);
         SELECT millrace.create_consumer('transactions', 'billing', mode => 'pool', max_in_flight => 4);
         CREATE TABLE billed (chunk_no bigint, customer text, amount numeric)",
        url(&landing)
    ));
    let job = crate::pool::Job {
        conninfo: server.conninfo(&server.name("example_pool")),
        stream: "transactions".into(),
        consumer: "billing".into(),
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(crate::pool::run(job, 4, stopped)).unwrap()
    });
    session.execute("CALL millrace.run('transactions')");
    crate::server::wait_until("all chunks are billed", std::time::Duration::from_secs(60), || {
        session.number("SELECT lag_chunks FROM millrace.consumers") == 0
    });
    stop.send_replace(true);
    assert_eq!(workers.join().unwrap(), 12);
    assert_eq!(
        session.value("SELECT (SELECT sum(amount) FROM billed) = (SELECT sum(amount) FROM staging.transactions)"),
        "t"
    );
}
