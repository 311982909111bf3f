//! Distinct counts by sketch: near the truth, the same whatever the chunks, and refused where they can't be kept.

use crate::retail::assert_verified;
use crate::server::{Preload, note};
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::{Session, quote};
use std::fmt::Write;

struct Case {
    _server: Site,
    session: Session,
    landing: Place,
}

fn case(name: &str, options: &str) -> Case {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database(name);
    let landing = server.create_dir(&format!("{name}_landing"));
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE COLLATION staging.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         SELECT millrace.create_pipeline('visits', source => '{}/*.csv', every => NULL, staging => 'staging.visits', options => '{}',
            columns => 'id int, page text, who text COLLATE staging.folded, n numeric, day date, price money')",
        url(&landing),
        at_once(options)
    ));
    Case { _server: server, session, landing }
}

impl Case {
    /// True where the extension can be had, as it must be where all is set up.
    fn has_hll(&mut self) -> bool {
        let has = self.session.number("SELECT count(*) FROM pg_available_extensions WHERE name = 'hll'") == 1;
        if !has {
            assert!(std::env::var_os("CI").is_none(), "the extension hll is not on this machine");
            note("sketches: skipped, the extension hll is not on this machine");
        }
        has
    }

    fn load(&mut self, name: &str, rows: impl Iterator<Item = (i64, String)>) {
        let mut text = "id,page,who,n,day,price\n".to_owned();
        rows.for_each(|(id, row)| writeln!(text, "{id},{row}").unwrap());
        land(&self.landing, name, text.as_bytes());
        self.session.execute("CALL millrace.run('visits')");
    }
}

const QUERY: &str = "SELECT page, count(*) AS n, count(DISTINCT who) AS people, count(DISTINCT n) FILTER (WHERE n > 0) AS numbers, \
                            count(DISTINCT day) + 1 AS days FROM staging.visits WHERE page <> 'no' GROUP BY page";

fn create(name: &str, query: &str) -> String {
    let query = quote(query);
    format!("SELECT millrace.create_aggregate('visits', '{name}', {query}, options => '{{\"approx\": true}}')")
}

#[test]
fn counts_by_sketch_are_near_the_truth_and_do_not_depend_on_how_rows_came() {
    let mut case = case("sketches", "{}");
    if !case.has_hll() {
        return;
    }
    case.session.execute("CREATE SCHEMA tools; CREATE EXTENSION hll SCHEMA tools");
    case.session.execute(&create("early", QUERY));
    let row = |id: i64| {
        let (page, who) = (["a", "b"][(id % 2) as usize], (id * 7) % 30_000);
        let case = if id % 3 == 0 { "Visitor" } else { "visitor" };
        (
            id,
            format!(
                "{page},{case}{who},{}.{},2024-01-{:02},1",
                who % 5,
                "0".repeat((id % 3) as usize + 1),
                id % 28 + 1
            ),
        )
    };
    for (i, ids) in [0..20_000, 10_000..30_000, 0..20_000].into_iter().enumerate() {
        case.load(&format!("{i}.csv"), ids.map(row));
        assert_verified(&mut case.session, "visits");
    }
    case.load(
        "few.csv",
        ["few,x,1.0,,", "few,X,1.00,,1", "few,,-1,,", "few,y,,,", "no,z,1,,"].into_iter().map(|r| (1, r.into())),
    );
    assert_eq!(
        case.session.line("SELECT * FROM staging.early WHERE page = 'few'"),
        "few|4|2|1|1",
        "what is equal counts once, NULL and what the filter leaves out do not"
    );
    let wrong = case.session.number(
        "SELECT count(*) FROM staging.early JOIN (SELECT page, count(DISTINCT who) AS people, count(DISTINCT n) FILTER (WHERE n > 0) AS numbers,
                count(DISTINCT day) + 1 AS days, count(*) AS n FROM staging.visits GROUP BY page) AS exact USING (page)
          WHERE NOT (early.people BETWEEN exact.people * 0.9 AND exact.people * 1.1
                 AND (early.numbers, early.days, early.n) = (exact.numbers, exact.days, exact.n))",
    );
    assert_eq!(wrong, 0);
    // One that comes late is the same, and so is one whose sketches met in another order.
    case.session.execute(&create("late", QUERY));
    assert_eq!(case.session.number("SELECT count(*) FROM (TABLE staging.early EXCEPT TABLE staging.late) AS d"), 0);
    assert_verified(&mut case.session, "visits");
    case.session.refused("DROP EXTENSION hll", "2BP01");
    case.session.execute("SELECT millrace.drop_aggregate('visits', 'early'), millrace.drop_aggregate('visits', 'late'); DROP EXTENSION hll");
}

#[test]
fn sketches_are_refused_by_name_where_they_can_not_be_kept() {
    let mut append = case("sketches_refused", "{}");
    let error = append.session.refused(&create("early", QUERY), "42704");
    assert!(error.hint().is_some_and(|hint| hint.contains("CREATE EXTENSION hll")), "{error:?}");
    if append.has_hll() {
        append.session.execute("CREATE EXTENSION hll");
        append
            .session
            .refused(&create("none", "SELECT page, count(*) AS n FROM staging.visits GROUP BY page"), "22023");
        let error = append.session.refused(
            &create("money", "SELECT page, count(DISTINCT price) AS n FROM staging.visits GROUP BY page"),
            "0A000",
        );
        assert!(error.message().contains("price"), "{error:?}");
    }
    let mut keyed = case("sketches_keyed", r#"{"primary_key": "id"}"#);
    let error = keyed.session.refused(&create("early", QUERY), "0A000");
    assert!(error.message().contains("keyed") && error.hint().is_some(), "{error:?}");
    for session in [&mut append.session, &mut keyed.session] {
        assert_eq!(session.number("SELECT count(*) FROM millrace.aggregates"), 0);
    }
}
