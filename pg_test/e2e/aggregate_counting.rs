//! Aggregates are counted while rows go into their table; whatever stands in the way of that changes nothing of what they show.

use crate::retail::assert_verified;
use crate::server::Preload;
use crate::site::{Place, Site, land, url};
use crate::sql::Session;

fn orders(name: &str) -> (Site, Session, Place) {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database(name);
    let landing = server.create_dir(&format!("{name}_landing"));
    create(&mut session, &landing);
    (server, session, landing)
}

fn create(session: &mut Session, landing: &Place) {
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'g text, who text, n int CHECK (n < 1000), x numeric',
                staging => 'staging.p', every => NULL, options => '{{\"settle\": 0}}');
         SELECT millrace.create_aggregate('p', 'stats',
                'SELECT g, count(*) AS rows, sum(n) AS n, avg(x) AS x, max(n) AS most, count(DISTINCT who) AS people FROM staging.p GROUP BY g')",
        url(landing)
    ));
}

fn load(session: &mut Session, landing: &Place, file: &str, lines: &str) {
    land(landing, file, format!("g,who,n,x\n{lines}").as_bytes());
    session.execute("CALL millrace.run('p')");
    assert_verified(session, "p");
}

fn stats(session: &mut Session) -> Vec<String> {
    session.lines("SELECT g, rows, n, x, most, people FROM staging.stats ORDER BY g")
}

#[test]
fn a_value_that_came_before_counts_once_whoever_loads_the_chunk() {
    let (server, mut session, landing) = orders("counting_distinct");
    load(&mut session, &landing, "1.csv", "a,ann,1,1.5\na,bob,2,2\nb,ann,3,1\n");
    load(&mut session, &landing, "2.csv", "a,ann,1,1.5\na,cleo,2,2\n,ann,,\n");
    // Another process knows nothing of what this one remembers, and the other way round.
    let mut other = server.session("counting_distinct");
    load(&mut other, &landing, "3.csv", "a,dan,1,1\nb,ann,3,1\n");
    load(&mut session, &landing, "4.csv", "a,dan,1,1\nb,eve,3,1\n");
    assert_eq!(
        session.lines("SELECT g, rows, n, round(x, 1), most, people FROM staging.stats ORDER BY g"),
        ["a|6|8|1.5|2|4", "b|3|9|1.0|3|2", "|1||||1"]
    );
}

#[test]
fn a_value_is_looked_up_only_where_this_process_can_not_know_whether_it_is_there() {
    let (server, mut session, landing) = orders("counting_remembered");
    let lines: String = (0..500).map(|i| format!("a,w{i},1,1\n")).collect();
    let looked_up = |session: &mut Session| {
        session.execute("SELECT pg_stat_force_next_flush()");
        session.number("SELECT idx_scan FROM pg_stat_user_tables WHERE relid = 'staging.stats_distinct_1'::regclass")
    };
    // It has brought all that there is.
    load(&mut session, &landing, "1.csv", &lines);
    load(&mut session, &landing, "2.csv", &format!("{lines}a,second,1,1\n"));
    assert_eq!(looked_up(&mut session), 0);
    // Another has not, and neither has this one behind a chunk of the other's.
    let mut other = server.session("counting_remembered");
    load(&mut other, &landing, "3.csv", "a,w1,1,1\na,third,1,1\n");
    assert_eq!(looked_up(&mut other), 2);
    load(&mut session, &landing, "4.csv", &format!("{lines}a,third,1,1\na,fourth,1,1\n"));
    assert_eq!(looked_up(&mut session), 4);
    load(&mut session, &landing, "5.csv", &format!("{lines}a,third,1,1\na,fifth,1,1\n"));
    assert_eq!(looked_up(&mut session), 5);
    assert_eq!(session.line("SELECT rows, people FROM staging.stats"), "2007|504");
}

#[test]
fn what_is_remembered_of_an_aggregate_is_not_taken_for_another_that_has_its_number() {
    let (_server, mut session, landing) = orders("counting_again");
    load(&mut session, &landing, "1.csv", "a,ann,1,1\na,bob,2,2\n");
    // As where the extension is dropped and made again.
    session.execute(
        "SELECT millrace.drop_pipeline('p', drop_tables => true); DROP SCHEMA staging;
         ALTER TABLE millrace.aggregate ALTER COLUMN id RESTART",
    );
    create(&mut session, &landing);
    session.execute("CALL millrace.run('p')");
    assert_verified(&mut session, "p");
    assert_eq!(stats(&mut session), ["a|2|3|1.5000000000000000|2|2"]);
}

#[test]
fn a_chunk_that_is_undone_leaves_nothing_behind_in_memory() {
    let (_server, mut session, landing) = orders("counting_undone");
    load(&mut session, &landing, "1.csv", "a,ann,1,1\n");
    land(&landing, "2.csv", b"g,who,n,x\na,bob,oops,1\n");
    session.execute("CALL millrace.run('p')");
    let requeue = "SELECT millrace.requeue_rejects('p', fix => 'n = ''7''')";
    session.execute(&format!("BEGIN; SAVEPOINT s; {requeue}; ROLLBACK TO SAVEPOINT s; COMMIT"));
    session.execute(&format!("BEGIN; {requeue}; ROLLBACK"));
    assert_eq!(session.number(requeue), 1);
    assert_verified(&mut session, "p");
    assert_eq!(session.line("SELECT rows, people FROM staging.stats"), "2|2");
}

#[test]
fn rows_that_the_table_refuses_are_not_counted() {
    let (_server, mut session, landing) = orders("counting_refused");
    load(&mut session, &landing, "1.csv", "a,ann,1,1\na,bob,5000,1\na,cleo,3,NaN\nb,ann,4,Infinity\n");
    assert_eq!(stats(&mut session), ["a|2|4|NaN|3|2", "b|1|4|Infinity|4|1"]);
    session.execute(
        "CREATE FUNCTION staging.double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := 2 * NEW.n; RETURN NEW; END';
         CREATE TRIGGER double BEFORE INSERT ON staging.p FOR EACH ROW EXECUTE FUNCTION staging.double()",
    );
    load(&mut session, &landing, "2.csv", "c,ann,10,1\n");
    assert_eq!(session.line("SELECT n, most FROM staging.stats WHERE g = 'c'"), "20|20");
}

#[test]
fn an_expression_of_an_aggregate_that_fails_stops_the_chunk_and_rejects_no_row() {
    let (_server, mut session, landing) = orders("counting_fails");
    session.execute(
        "SELECT millrace.create_aggregate('p', 'inverse', 'SELECT g, sum(12 / n) AS n FROM staging.p GROUP BY g')",
    );
    load(&mut session, &landing, "1.csv", "a,ann,1,1\na,bob,3,1\n");
    land(&landing, "2.csv", b"g,who,n,x\na,ann,0,1\n");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 2);
    assert_eq!(session.number("SELECT count(*) FROM staging.p_rejects"), 0);
    session.execute("SELECT millrace.drop_aggregate('p', 'inverse')");
    session.execute("CALL millrace.retry_file('p', '2.csv')");
    session.execute("CALL millrace.run('p')");
    assert_verified(&mut session, "p");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 3);
}

/// The aggregate comes after the first chunk, so its first values are put there by SQL, and those of later chunks by the load.
#[test]
fn values_that_are_equal_are_one_whichever_way_they_came_to_be_known() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("counting_equal");
    let landing = server.create_dir("counting_equal_landing");
    let columns = [
        ("t", "text"),
        ("v", "varchar(20)"),
        ("ci", "text"),
        ("i", "int"),
        ("n", "numeric"),
        ("f", "float8"),
        ("b", "bool"),
        ("d", "date"),
        ("tz", "timestamptz"),
        ("iv", "interval"),
        ("u", "uuid"),
        ("j", "jsonb"),
        ("a", "int[]"),
    ];
    let declared: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    session.execute(&format!(
        "CREATE SCHEMA staging; CREATE COLLATION public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => '{}', staging => 'staging.p', every => NULL,
                options => '{{\"settle\": 0}}')",
        url(&landing),
        declared.join(", ")
    ));
    let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let load = |session: &mut Session, file: &str, lines: &[&str]| {
        land(&landing, file, format!("{}\n{}\n", header.join(","), lines.join("\n")).as_bytes());
        session.execute("CALL millrace.run('p')");
    };
    let first = "x,x,Ann,1,1.0,0,t,2024-01-01,2024-01-01 00:00:00+00,1 day,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,\"{\"\"a\"\": 1.0}\",\"{1,2}\"";
    let again = "x,x,ANN,1,1.00,-0,t,2024-01-01,2024-01-01 01:00:00+01,24:00:00,A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11,\"{\"\"a\"\": 1.00}\",\"{1,2}\"";
    let other = "y,y,Bob,2,2.0,NaN,f,2024-01-02,2024-01-02 00:00:00+00,2 days,b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,\"{\"\"a\"\": 2}\",\"{2,1}\"";
    let none = ",,,,,,,,,,,,";
    load(&mut session, "1.csv", &[first, none]);
    for (name, _) in columns {
        let key = if name == "ci" { "ci COLLATE public.ci".into() } else { name.to_owned() };
        session.execute(&format!(
            "SELECT millrace.create_aggregate('p', 'by_{name}', 'SELECT {key} AS k, count(DISTINCT t) AS t, count(DISTINCT i) AS i FROM staging.p GROUP BY 1');
             SELECT millrace.create_aggregate('p', 'of_{name}', 'SELECT t, d, tz, count(DISTINCT {key}) AS n FROM staging.p GROUP BY t, d, tz')"
        ));
    }
    let files: [(&str, &[&str]); 3] =
        [("2.csv", &[again, other]), ("3.csv", &[first, again, other, none]), ("4.csv", &[again])];
    for (file, lines) in files {
        load(&mut session, file, lines);
        assert_verified(&mut session, "p");
    }
    for (name, _) in columns {
        let kept = session.line(&format!("SELECT count(*), count(DISTINCT h) FROM staging.of_{name}_distinct_1"));
        assert_eq!(kept, "2|2", "{name}");
        assert_eq!(session.line(&format!("SELECT sum(n), max(n) FROM staging.of_{name}")), "2|1", "{name}");
    }
}

#[test]
fn a_table_of_values_that_does_something_of_its_own_is_written_by_statements() {
    let (_server, mut session, landing) = orders("counting_trigger");
    load(&mut session, &landing, "1.csv", "a,ann,1,1\n");
    session.execute(
        "CREATE TABLE seen (who text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (NEW.v); RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT ON staging.stats_distinct_1 FOR EACH ROW EXECUTE FUNCTION note()",
    );
    load(&mut session, &landing, "2.csv", "a,ann,1,1\na,bob,1,1\n");
    assert_eq!(session.lines("SELECT who FROM seen"), ["bob"]);
    session.execute("DROP TRIGGER note ON staging.stats_distinct_1; ALTER TABLE staging.stats_distinct_1 ADD COLUMN mine int DEFAULT 7");
    load(&mut session, &landing, "3.csv", "a,cleo,1,1\na,bob,1,1\n");
    assert_eq!(session.lines("SELECT v, mine FROM staging.stats_distinct_1 ORDER BY 1"), ["ann|7", "bob|7", "cleo|7"]);
    assert_eq!(session.line("SELECT rows, people FROM staging.stats"), "5|3");
}
