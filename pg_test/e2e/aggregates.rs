//! Aggregates show what their query over the whole table shows, chunk after chunk; what can't be kept is refused by name.

use crate::lake::{Case, Storage};
use crate::retail::assert_view_is_recompute;
use crate::server::Preload;
use crate::sql::{Session, quote};

fn orders(name: &str) -> Case {
    let mut case = Case::new(Storage::of(module_path!()), name, Preload::No);
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('orders', source => '{}/*.csv', staging => 'staging.orders', every => NULL,
                columns => 'merchant text, customer text, gender text, amount numeric(12,2), n int, f double precision, day date', options => '{{\"settle\": 0}}')",
        case.lake.landing()
    ));
    case
}

/// Some lines with repeats and gaps in every column: NULLs, one-row groups, equal values.
fn lines(batch: u64) -> String {
    let mut text = String::from("merchant,customer,gender,amount,n,f,day\n");
    let mut x = batch.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
    let mut next = |below: u64| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % below
    };
    for _ in 0..300 {
        let or_null = |text: String, null: bool| if null { String::new() } else { text };
        let fields = [
            or_null(format!("m{}", next(7)), next(20) == 0),
            or_null(format!("c{}", next(40)), next(10) == 0),
            ["F", "M", "U", ""][next(4) as usize].to_string(),
            or_null(format!("{}.{:02}", next(900) as i64 - 100, next(100)), next(15) == 0),
            or_null(next(1000).to_string(), next(9) == 0),
            or_null(format!("{}.5", next(64)), next(9) == 0),
            format!("2024-0{}-1{}", 1 + next(3), next(5)),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

const QUERIES: [(&str, &str); 6] = [
    (
        "merchant_stats",
        "SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions,
                count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers
         FROM staging.orders GROUP BY merchant",
    ),
    (
        "everything",
        "SELECT merchant, count(*), count(amount) AS amounts, sum(amount), sum(n) AS sum_n, avg(n) AS avg_n, min(amount), max(day),
                min(day) FILTER (WHERE gender IS NULL) AS first_unknown, max(customer) AS last_customer,
                avg(amount) FILTER (WHERE n > 500) AS big, count(DISTINCT customer) AS customers, max(f) AS most
         FROM staging.orders GROUP BY merchant",
    ),
    (
        "by_expression",
        "SELECT date_trunc('month', day::timestamp) AS month, amount > 100 AS large, count(*), sum(amount * n) AS weighted
         FROM staging.orders GROUP BY 1, 2",
    ),
    ("filtered", "SELECT gender, sum(amount) AS total FROM staging.orders WHERE n > 200 GROUP BY gender"),
    (
        "over_all",
        "SELECT count(*) AS orders, count(DISTINCT merchant) AS merchants, max(amount) AS largest FROM staging.orders",
    ),
    ("halves", "SELECT merchant, sum(f::numeric) AS total, min(f) AS smallest FROM staging.orders GROUP BY merchant"),
];

#[test]
fn the_view_equals_the_query_over_the_whole_table_after_every_chunk() {
    let Case { server: _server, mut session, lake, .. } = orders("aggregates");
    let (before, after) = QUERIES.split_at(4);
    for (name, query) in before {
        session.execute(&format!("SELECT millrace.create_aggregate('orders', '{name}', {})", quote(query)));
        assert_view_is_recompute(&mut session, &format!("staging.{name}"), query);
    }
    for batch in 0..8 {
        lake.land(&format!("{batch}.csv"), lines(batch).as_bytes());
        session.execute("CALL millrace.run('orders')");
        if batch == 3 {
            // One made later starts from the rows that are there.
            for (name, query) in after {
                session.execute(&format!("SELECT millrace.create_aggregate('orders', '{name}', {})", quote(query)));
            }
        }
        for (name, query) in if batch < 3 { before } else { &QUERIES } {
            assert_view_is_recompute(&mut session, &format!("staging.{name}"), query);
        }
    }
    assert_eq!(session.number("SELECT count(*) FROM staging.orders"), 2400);
    crate::retail::assert_verified(&mut session, "orders");
}

#[test]
fn numeric_stays_numeric_and_columns_keep_the_types_of_the_query() {
    let Case { server: _server, mut session, .. } = orders("aggregate_types");
    let (_, query) = QUERIES[1];
    session.execute(&format!("SELECT millrace.create_aggregate('orders', 'everything', {})", quote(query)));
    session.execute(&format!("CREATE VIEW staging.plain AS {query}"));
    let columns = |session: &mut Session, view: &str| {
        session.lines(&format!(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{view}'::regclass ORDER BY attnum"
        ))
    };
    assert_eq!(columns(&mut session, "staging.everything"), columns(&mut session, "staging.plain"));
}

#[test]
fn what_can_not_be_kept_is_refused_by_name_with_a_hint() {
    let Case { server: _server, mut session, .. } = orders("aggregate_refused");
    session.execute("CREATE TABLE staging.other (merchant text)");
    for (query, named) in [
        (
            "SELECT merchant, percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM staging.orders GROUP BY merchant",
            "percentile_cont",
        ),
        ("SELECT merchant, count(*) FROM staging.orders GROUP BY merchant ORDER BY 2", "ORDER BY"),
        ("SELECT merchant, count(*) FROM staging.orders GROUP BY merchant LIMIT 3", "LIMIT"),
        ("SELECT merchant, count(*) FROM staging.orders GROUP BY ROLLUP (merchant)", "ROLLUP"),
        ("SELECT merchant, rank() OVER (ORDER BY count(*)) FROM staging.orders GROUP BY merchant", "window"),
        ("SELECT o.merchant, count(*) FROM staging.orders o JOIN staging.other USING (merchant) GROUP BY 1", "join"),
        ("SELECT merchant, count(*) FROM staging.orders WHERE customer IN (SELECT 'x') GROUP BY merchant", "subquer"),
        ("WITH o AS (SELECT * FROM staging.orders) SELECT merchant, count(*) FROM o GROUP BY merchant", "WITH"),
        ("SELECT merchant, count(*) FILTER (WHERE now() IS NOT NULL) FROM staging.orders GROUP BY merchant", "now"),
        ("SELECT merchant, sum(random()) FROM staging.orders GROUP BY merchant", "random"),
        ("SELECT DISTINCT merchant, count(*) FROM staging.orders GROUP BY merchant", "DISTINCT"),
        ("DELETE FROM staging.orders", "DELETE"),
        ("SELECT count(*) FROM staging.orders; DROP TABLE staging.orders", "more than one statement"),
    ] {
        let error = session
            .refused_with_hint(&format!("SELECT millrace.create_aggregate('orders', 'a', {})", quote(query)), "0A000");
        let said = format!("{} {}", error.message(), error.detail().unwrap_or("")).to_lowercase();
        assert!(said.contains(&named.to_lowercase()), "{named} is not named for {query}: {said}");
    }
    for (query, state) in [
        ("SELECT merchant, count(nosuch) FROM staging.orders GROUP BY merchant", "42703"),
        ("SELECT merchant, count( FROM", "42601"),
    ] {
        session.raises(&format!("SELECT millrace.create_aggregate('orders', 'a', {})", quote(query)), state);
    }
    assert_eq!(session.value("SELECT to_regclass('staging.a')"), "");
}
