//! What simulated data promises.

use std::collections::{HashMap, HashSet};

use super::*;

/// 2019-10-01 00:00:00 UTC
const START: i64 = 1_569_888_000_000_000;

fn file(plan: &Plan) -> String {
    let mut out = Vec::new();
    csv(plan, &mut out);
    String::from_utf8(out).unwrap()
}

/// The rows without the header, cut at commas: no simulated value holds one.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().skip(1).map(|line| line.split(',').collect()).collect()
}

#[test]
fn the_same_plan_gives_the_same_bytes_for_ever() {
    let plan = Plan::new(Kind::Transactions, 2, 42, 7, START);
    assert_eq!(file(&plan), file(&plan));
    assert_eq!(file(&plan), TWO_TRANSACTIONS);
    let plan = Plan::new(Kind::ShopEvents, 2, 42, 7, START);
    assert_eq!(file(&plan), TWO_SHOP_EVENTS);
}

const TWO_TRANSACTIONS: &str = "\
    transaction_id,event_time,step,customer,age,gender,zipcode,merchant,category,amount,fraud\n\
    10bd28a1-de05-40f7-9d6e-d6a1c67d4063,2019-10-01 00:00:00.033982+00,0,C541989192,3,F,28007,M1842530320,es_barsandrestaurants,54.87,0\n\
    3e8b4bb4-99f0-4504-ad61-903a38583831,2019-10-01 00:00:00.693561+00,0,C1167218417,2,M,28007,M348934600,es_transportation,20.70,0\n";
const TWO_SHOP_EVENTS: &str = "\
    event_time,event_type,product_id,category_code,brand,price,user_id,user_session\n\
    2019-10-01 00:00:00 UTC,view,21887277,electronics.smartphone,samsung,514.80,544652340,1728f475-c6c0-462f-bfc4-271aae19ef18\n\
    2019-10-01 00:00:00 UTC,view,15857985,,lucente,48.11,538487935,6c9e0bb1-e248-4baf-8b6e-2dff53feb053\n";

#[test]
fn seeds_and_files_differ() {
    let plan = Plan::new(Kind::Transactions, 50, 1, 1, START);
    assert_ne!(file(&plan), file(&Plan { seed: 2, ..plan.clone() }));
    assert_ne!(file(&plan), file(&Plan { file_index: 2, ..plan.clone() }));
}

#[test]
fn transaction_ids_are_unique_over_the_files_of_a_series() {
    let files: Vec<String> = (0..4).map(|i| file(&Plan::new(Kind::Transactions, 20_000, 3, i, START))).collect();
    let ids: HashSet<&str> = files.iter().flat_map(|text| rows(text)).map(|row| row[0]).collect();
    assert_eq!(ids.len(), 80_000);
    let version_4 = |id: &&str| id.len() == 36 && &id[14..15] == "4" && "89ab".contains(&id[19..20]);
    assert!(ids.iter().all(version_4));
}

#[test]
fn transactions_look_like_banksim() {
    let text = file(&Plan::new(Kind::Transactions, 200_000, 42, 0, START));
    assert!(
        text.starts_with("transaction_id,event_time,step,customer,age,gender,zipcode,merchant,category,amount,fraud\n")
    );
    let rows = rows(&text);
    let share = |is: &dyn Fn(&[&str]) -> bool| rows.iter().filter(|row| is(row)).count() as f64 / rows.len() as f64;
    let about =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.1, "{found} instead of {expected}");
    about(share(&|row| row[5] == "F"), 0.546);
    about(share(&|row| row[5] == "M"), 0.451);
    assert!((0.0015..0.003).contains(&share(&|row| row[5] == "E")));
    assert!((0.0005..0.0015).contains(&share(&|row| row[5] == "U")));
    about(share(&|row| row[10] == "1"), 0.012);
    about(share(&|row| row[8] == "es_transportation"), 0.85);
    let distinct = |column: usize| rows.iter().map(|row| row[column]).collect::<HashSet<_>>().len();
    assert_eq!((distinct(3), distinct(7), distinct(8)), (4_112, 50, 15));
    let mut by_merchant: HashMap<&str, usize> = HashMap::new();
    rows.iter().for_each(|row| *by_merchant.entry(row[7]).or_default() += 1);
    let mut counts: Vec<usize> = by_merchant.into_values().collect();
    counts.sort_by(|a, b| b.cmp(a));
    about((counts[0] + counts[1]) as f64 / rows.len() as f64, 0.85);
    let amounts: Vec<f64> = rows.iter().map(|row| row[9].parse().unwrap()).collect();
    about(amounts.iter().sum::<f64>() / rows.len() as f64, 37.9);
    assert!(amounts.iter().all(|amount| (0.0..=8329.96).contains(amount)));
    assert!(amounts.iter().any(|amount| *amount > 4000.0), "a long tail");
}

#[test]
fn a_customer_has_one_gender_and_one_age() {
    let text = file(&Plan::new(Kind::Transactions, 50_000, 1, 0, START));
    let other = file(&Plan::new(Kind::Transactions, 50_000, 1, 1, START));
    let known: HashSet<(&str, &str, &str)> =
        [&text, &other].into_iter().flat_map(|t| rows(t)).map(|r| (r[3], r[4], r[5])).collect();
    assert_eq!(known.len(), 4_112);
    assert!(known.iter().all(|(_, age, gender)| "0123456U".contains(age) && (*age == "U") == (*gender == "E")));
}

#[test]
fn times_rise_within_the_span() {
    for (kind, column) in [(Kind::Transactions, 1), (Kind::ShopEvents, 0)] {
        let plan = Plan { span: 3_000_000, ..Plan::new(kind, 1000, 1, 0, START) };
        let text = file(&plan);
        let times: Vec<&str> = rows(&text).into_iter().map(|row| row[column]).collect();
        assert!(times.is_sorted());
        assert!(times[0].starts_with("2019-10-01 00:00:00") && times[999].starts_with("2019-10-01 00:00:02"));
    }
    let text = file(&Plan::new(Kind::Transactions, 1, 1, 0, START));
    assert_eq!(rows(&text)[0][1].len(), "2019-10-01 00:00:00.000000+00".len());
}

#[test]
fn visitors_view_much_cart_some_and_buy_only_what_they_have_seen() {
    let text = file(&Plan::new(Kind::ShopEvents, 100_000, 42, 0, START));
    assert!(text.starts_with(
        "event_time,event_type,product_id,category_code,brand,price,user_id,user_session\n2019-10-01 00:00:00 UTC,view,"
    ));
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for row in rows(&text) {
        let (event_type, product, session) = (row[1], row[2], row[7]);
        *counts.entry(event_type).or_default() += 1;
        if event_type == "view" {
            seen.insert((session, product));
        } else {
            assert!(seen.contains(&(session, product)), "{event_type} without a view");
        }
    }
    assert!(
        counts["view"] > 10 * counts["cart"] && counts["cart"] > counts["purchase"] && counts["purchase"] > 500,
        "{counts:?}"
    );
}

#[test]
fn flaws_break_their_share_of_rows_and_change_no_other() {
    for kind in Kind::ALL {
        let plan = Plan::new(kind, 10_000, 5, 0, START);
        let (good, flawed) = (file(&plan), file(&Plan { bad_ratio: 0.05, ..plan }));
        let differ = good.lines().zip(flawed.lines()).filter(|(a, b)| a != b).count();
        assert_eq!(good.lines().count(), flawed.lines().count());
        assert!((400..600).contains(&differ), "{differ}");
        let columns = good.lines().next().unwrap().split(',').count();
        let amount = if kind == Kind::Transactions { 9 } else { 5 };
        let flawed = rows(&flawed);
        assert!(flawed.iter().any(|row| row.len() == columns - 1), "a field is missing");
        assert!(flawed.iter().any(|row| row.iter().any(|field| field.starts_with('"'))), "a quote is not closed");
        assert!(flawed.iter().any(|row| row[amount].parse::<f64>().is_err()), "an amount is no number");
    }
}
