//! Expectations: rows that do not meet them are rejected, counted, left out, or stop the pipeline; never lost, never half loaded.

use crate::lake::{self, Lake, Storage};
use crate::server::{Preload, Server, note};
use crate::sql::{Session, quote};
use crate::{copier, retail};
use std::sync::Arc;

struct Case {
    server: Arc<Server>,
    session: Session,
    lake: Lake,
    database: String,
}

/// A pipeline 'p' with columns that conditions can be about.
fn case(name: &str) -> Case {
    let lake::Case { server, mut session, lake, database } =
        lake::Case::new(Storage::of(module_path!()), name, Preload::No);
    session.execute(&create("p", &lake));
    Case { server, session, lake, database }
}

fn create(name: &str, lake: &Lake) -> String {
    format!(
        "SELECT millrace.create_pipeline('{name}', source => '{}/*.csv', columns => 'id int, amount numeric, kind text', staging => 'staging.{name}',
                every => NULL, options => '{{\"settle\": 0}}')",
        lake.landing()
    )
}

impl Case {
    fn add(&mut self, name: &str, condition: &str, rest: &str) {
        self.session.execute(&add(name, condition, rest));
    }

    fn land_and_run(&mut self, file: &str, lines: &str) {
        self.lake.land(file, format!("id,amount,kind\n{lines}").as_bytes());
        self.run();
    }

    fn run(&mut self) {
        self.session.execute("CALL millrace.run('p')");
    }

    /// Each loaded row's id.
    fn ids(&mut self) -> String {
        self.session.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM staging.p")
    }

    /// Each rejected record with its rules.
    fn rejected(&mut self) -> Vec<String> {
        self.session.lines("SELECT raw, (SELECT string_agg(r ->> 'rule', ' + ') FROM jsonb_array_elements(reasons) r) FROM staging.p_rejects ORDER BY chunk_no, _row_no")
    }

    fn results(&mut self) -> Vec<String> {
        self.session.lines("SELECT chunk_no, expectation, on_violation, checked, violated FROM millrace.expectation_results ORDER BY chunk_no, expectation")
    }

    fn state(&mut self) -> String {
        self.session.value("SELECT state FROM millrace.pipelines WHERE pipeline = 'p'")
    }

    fn verified(&mut self) {
        retail::assert_verified(&mut self.session, "p");
        assert_eq!(
            self.session.number("SELECT coalesce(sum(row_count - requeued_count + reject_count + dropped_count), 0) FROM millrace.chunks"),
            self.session
                .number("SELECT coalesce(sum((f ->> 'records')::int), 0) FROM millrace.chunks, jsonb_array_elements(source -> 'files') f"),
            "loaded + rejected + dropped = landed"
        );
    }
}

fn add(name: &str, condition: &str, rest: &str) -> String {
    format!("SELECT millrace.add_expectation('p', {}, {}{rest})", quote(name), quote(condition))
}

#[test]
fn invoices_with_positive_quantity_and_price_are_the_exact_figures_and_the_others_are_rejects_with_reasons() {
    let Some(files) = retail::files() else { return note("expectations: skipped, the shared data is not here") };
    let storage = Storage::of(module_path!());
    let server = Server::shared(Preload::No);
    let name = storage.name("expect_invoices");
    let mut session = server.create_database(&name);
    let places = retail::Places::on(storage, &server, &mut session, &name);
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "NULL");
    retail::create_aggregate(&mut session, &places);
    copier::create(&mut session);
    session.execute(
        "SELECT millrace.add_expectation('invoices', 'positive quantity', 'Quantity > 0');
         SELECT millrace.add_expectation('invoices', 'positive price', 'UnitPrice > 0', on_violation => 'quarantine')",
    );
    for file in &files {
        places.land(file);
    }
    session.execute("CALL millrace.run('invoices')");
    copier::drain(&mut session);

    let sold = "SELECT count(*), sum(quantity * unitprice) FROM";
    assert_eq!(session.line(&format!("{sold} staging.invoices")), retail::SOLD);
    assert_eq!(session.line(&format!("{sold} copier.invoices")), retail::SOLD);
    assert_eq!(session.line("SELECT sum(sold_lines), sum(sold_amount) FROM staging.by_country"), retail::SOLD);
    retail::assert_view_is_recompute(&mut session, "staging.by_country", retail::AGGREGATE);
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices_rejects"), 5_075);
    assert_eq!(
        session.number(
            "SELECT count(*) FROM staging.invoices_rejects, jsonb_array_elements(reasons) r
              WHERE NOT (r ->> 'rule' = 'positive quantity' AND r ->> 'column' = 'quantity' AND (r ->> 'value')::int <= 0
                      OR r ->> 'rule' = 'positive price' AND r ->> 'column' = 'unitprice' AND (r ->> 'value')::numeric <= 0)"
        ),
        0,
        "each reason names the rule, the column and its value"
    );
    assert_eq!(
        session.line("SELECT sum(violated), max(checked) <= 209029 FROM millrace.expectation_results"),
        session.line("SELECT sum(jsonb_array_length(reasons)), true FROM staging.invoices_rejects")
    );
    retail::assert_verified(&mut session, "invoices");
}

#[test]
fn quarantine_rejects_warn_counts_and_drop_leaves_out() {
    let mut case = case("expect_actions");
    case.add("positive", "amount > 0", "");
    case.add("known kind", "kind IN ('a', 'b')", ", on_violation => 'warn'");
    case.add("small", "amount < 1000", ", on_violation => 'drop'");
    case.land_and_run("1.csv", "1,5,a\n2,-1,a\n3,5,z\n4,5000,a\n5,-2,z\nx,1,a\n6,6,b\n");
    assert_eq!(case.ids(), "1 3 6");
    assert_eq!(case.rejected(), ["2,-1,a|positive", "5,-2,z|positive + known kind", "x,1,a|integer"]);
    assert_eq!(case.results(), ["1|known kind|warn|6|2", "1|positive|quarantine|6|2", "1|small|drop|6|1"]);
    assert_eq!(case.session.line("SELECT row_count, reject_count, dropped_count FROM millrace.chunks"), "3|3|1");
    assert_eq!(case.session.line("SELECT rows, rejects, dropped FROM millrace.files"), "3|3|1");
    case.verified();
}

#[test]
fn a_row_that_is_both_to_be_dropped_and_quarantined_is_kept_as_a_reject() {
    let mut case = case("expect_both");
    case.add("positive", "amount > 0", "");
    case.add("id given", "id IS NOT NULL", ", on_violation => 'drop'");
    case.land_and_run("1.csv", ",-1,a\n,1,a\n");
    assert_eq!(case.rejected(), [",-1,a|positive + id given"]);
    assert_eq!(case.session.line("SELECT row_count, reject_count, dropped_count FROM millrace.chunks"), "0|1|1");
    case.verified();
}

#[test]
fn a_condition_that_is_null_is_a_violation_unless_null_passes() {
    let mut case = case("expect_null");
    case.add("positive", "amount > 0", "");
    case.land_and_run("1.csv", "1,,a\n");
    case.session.execute("SELECT millrace.alter_expectation('p', 'positive', null_passes => true)");
    case.land_and_run("2.csv", "2,,a\n3,-1,a\n");
    assert_eq!(case.ids(), "2");
    assert_eq!(case.rejected(), ["1,,a|positive", "3,-1,a|positive"]);
    case.verified();
}

#[test]
fn what_is_changed_or_dropped_is_in_force_from_the_next_chunk_on() {
    let mut case = case("expect_changes");
    case.add("rule", "amount > 0", "");
    case.land_and_run("1.csv", "1,-1,a\n");
    case.session
        .execute("SELECT millrace.alter_expectation('p', 'rule', condition => 'amount < 0', on_violation => 'warn')");
    case.land_and_run("2.csv", "2,1,a\n3,-1,a\n");
    case.session.execute("SELECT millrace.drop_expectation('p', 'rule')");
    case.land_and_run("3.csv", "4,1,a\n");
    assert_eq!(case.ids(), "2 3 4");
    assert_eq!(case.results(), ["1|rule|quarantine|1|1", "2|rule|warn|2|1"]);
    case.session.refused("SELECT millrace.drop_expectation('p', 'rule')", "42704");
    case.verified();
}

#[test]
fn a_violation_of_fail_loads_nothing_of_the_chunk_and_stops_the_pipeline() {
    let mut case = case("expect_fail");
    case.add("sane", "amount < 100", ", on_violation => 'fail'");
    case.land_and_run("1.csv", "1,1,a\n");
    case.lake.land("2.csv", b"id,amount,kind\n2,2,a\n3,300,a\n");
    let error = case.session.refused("CALL millrace.run('p')", "23514");
    assert!(error.message().contains("1 of 2 records do not meet expectation \"sane\""), "{}", error.message());
    assert_eq!((case.ids().as_str(), case.state().as_str()), ("1", "stopped"));
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p_rejects"), 0);
    assert_eq!(case.session.number("SELECT last_chunk_no FROM millrace.pipelines"), 1);
    case.session.refused("CALL millrace.run('p')", "55000");

    // The same again when it is resumed and nothing has changed.
    case.session.execute("SELECT millrace.resume('p')");
    case.session.refused("CALL millrace.run('p')", "23514");
    case.session.execute("SELECT millrace.accept_chunk('p')");
    case.run();
    assert_eq!(case.ids(), "1 2");
    assert_eq!(case.rejected(), ["3,300,a|sane"]);
    case.verified();
}

#[test]
fn a_chunk_with_too_many_rejects_stops_the_pipeline_before_anything_is_there() {
    let mut case = case("expect_gate");
    case.session.execute("SELECT millrace.alter_pipeline('p', options => '{\"max_reject_ratio\": 0.5}')");
    case.add("positive", "amount > 0", "");
    case.land_and_run("1.csv", "1,1,a\n2,-2,a\n");
    case.lake.land("2.csv", b"id,amount,kind\n3,-1,a\n4,-2,a\nx,1,a\n5,5,a\n");
    let error = case.session.refused("CALL millrace.run('p')", "23514");
    let detail = error.detail().unwrap_or_default();
    assert!(error.message().contains("3 of 4 records would be rejected"), "{}", error.message());
    assert!(detail.contains("positive (2), column id, SQLSTATE 22P02 (1)"), "{detail}");
    let reason = case.session.value("SELECT state_reason FROM millrace.pipelines");
    assert!(reason.contains("3 of 4") && reason.contains("positive (2)"), "{reason}");
    assert_eq!(
        case.session.line("SELECT count(*), max(last_chunk_no) FROM staging.p_rejects, millrace.pipelines"),
        "1|1"
    );
    case.verified();

    case.session.execute("SELECT millrace.accept_chunk('p')");
    case.run();
    assert_eq!(case.ids(), "1 5");
    // It was that chunk alone which was accepted.
    case.lake.land("3.csv", b"id,amount,kind\n6,-1,a\n");
    case.session.refused("CALL millrace.run('p')", "23514");
    // Without the rule the same chunk is good.
    case.session.execute("SELECT millrace.drop_expectation('p', 'positive'); SELECT millrace.resume('p')");
    case.run();
    assert_eq!(case.ids(), "1 5 6");
    case.session.refused("SELECT millrace.accept_chunk('p')", "55000");
    case.verified();
}

#[test]
fn a_row_for_which_a_condition_raises_an_error_is_a_reject_with_that_error() {
    let mut case = case("expect_raise");
    case.add("positive", "amount > 0", "");
    case.add("share", "100 / id > 1", ", on_violation => 'warn'");
    case.land_and_run("1.csv", "1,1,a\n0,2,a\n2,-1,a\n200,4,a\n");
    assert_eq!(case.ids(), "1 200");
    assert_eq!(case.rejected(), ["0,2,a|share", "2,-1,a|positive"]);
    let reason =
        "SELECT reasons -> 0 ->> 'sqlstate', reasons -> 0 ->> 'message' FROM staging.p_rejects WHERE raw = '0,2,a'";
    assert_eq!(case.session.line(reason), "22012|division by zero");
    assert_eq!(case.results(), ["1|positive|quarantine|4|1", "1|share|warn|4|2"]);
    case.verified();
}

#[test]
fn a_condition_that_raises_an_error_for_most_rows_fails_the_chunk_cleanly() {
    let mut case = case("expect_raises");
    case.add("share", "100 / id > 1", "");
    let lines: String = (0..1_500).map(|i| format!("0,{i},a\n")).collect();
    case.lake.land("1.csv", format!("id,amount,kind\n{lines}").as_bytes());
    let error = case.session.refused("CALL millrace.run('p')", "23514");
    assert!(error.message().contains("\"share\""), "{}", error.message());
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 0);
    case.session.execute(
        "SELECT millrace.alter_expectation('p', 'share', condition => '100 / nullif(id, 0) > 1', null_passes => true)",
    );
    assert_eq!(case.state(), "stopped");
    case.session.execute("SELECT millrace.resume('p')");
    case.run();
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 1_500);
    case.verified();
}

#[test]
fn hostile_conditions_are_refused_by_name_with_a_hint() {
    let mut case = case("expect_hostile");
    case.session.execute(
        "CREATE TABLE trace (n int);
         CREATE FUNCTION sneaky(n numeric) RETURNS boolean LANGUAGE sql VOLATILE AS 'INSERT INTO public.trace VALUES (1); SELECT true'",
    );
    for (condition, state, named) in [
        ("EXISTS (SELECT FROM pg_class)", "0A000", "subquery"),
        ("amount > (SELECT 1)", "0A000", "subquery"),
        ("random() < 0.5", "0A000", "random()"),
        ("clock_timestamp() > now()", "0A000", "clock_timestamp"),
        ("nextval('millrace.pipeline_id_seq') > 0", "0A000", "nextval"),
        ("public.sneaky(amount)", "0A000", "sneaky"),
        ("generate_series(1, 2) > 0", "0A000", "set-returning"),
        ("count(*) > 0", "0A000", "aggregate"),
        ("row_number() OVER () > 0", "0A000", "window"),
        ("ctid IS NOT NULL", "0A000", "system column"),
        ("p IS NOT NULL", "0A000", "whole row"),
        ("amount", "42804", "boolean"),
        ("nothing > 0", "42703", "nothing"),
        ("amount >", "42601", "syntax error"),
        ("1 / 0 > 0", "22012", "division by zero"),
        ("amount > 0, true", "22023", "single"),
        ("amount > 0 FROM staging.p", "22023", "single"),
        ("true) OR (true", "42601", "syntax error"),
        ("amount > 0; DROP TABLE trace", "42601", "syntax error"),
        ("", "22023", "single"),
    ] {
        let error = case.session.raises(&add("hostile", condition, ""), state);
        assert!(error.message().contains(named), "{condition}: {}", error.message());
        if state == "0A000" {
            assert!(error.hint().is_some() && error.detail().is_some(), "{condition}: {error:?}");
        }
    }
    case.session.refused(&add("x", "true", ", on_violation => 'ignore'"), "22023");
    case.session.refused_with_hint("SELECT millrace.add_expectation('p', NULL, 'true')", "22004");
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.expectations"), 0);
    assert_eq!(case.session.number("SELECT count(*) FROM trace"), 0);
}

#[test]
fn conditions_run_as_the_pipelines_owner_and_never_as_whoever_calls_run() {
    let mut case = case("expect_owner");
    let owner = &format!("{}_role", case.database);
    case.session.execute(&format!(
        "CREATE ROLE {owner} LOGIN; GRANT millrace_admin, pg_read_server_files TO {owner};
         GRANT ALL ON SCHEMA staging, public TO {owner}; GRANT CREATE ON DATABASE {} TO {owner}",
        case.database
    ));
    case.lake.admit(&mut case.session, owner);
    let mut theirs = case.server.session_as(&case.database, owner);
    theirs.execute(&create("own", &case.lake));
    theirs.execute(&format!(
        "CREATE FUNCTION public.me(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN current_user = $1; END $$;
         CREATE FUNCTION public.climb(numeric) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             EXECUTE 'CREATE TABLE public.climbed ()'; RETURN true; EXCEPTION WHEN OTHERS THEN RETURN false; END $$;
         SELECT millrace.add_expectation('own', 'owner', 'public.me(''{owner}'')');
         SELECT millrace.add_expectation('own', 'climb', 'NOT public.climb(amount)')"
    ));
    case.lake.land("1.csv", b"id,amount,kind\n1,1,a\n");
    case.session.execute("CALL millrace.run('own')");
    assert_eq!(case.session.line("SELECT row_count, reject_count FROM millrace.chunks WHERE pipeline = 'own'"), "1|0");
    assert_eq!(case.session.value("SELECT to_regclass('public.climbed')"), "");
}

#[test]
fn a_condition_means_what_it_meant_to_whoever_wrote_it() {
    let mut case = case("expect_meaning");
    case.session.execute(
        "CREATE SCHEMA rules; CREATE FUNCTION rules.good(numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
         SET search_path = rules, public;
         SELECT millrace.add_expectation('p', 'good', 'good(amount) -- as the shop says');
         RESET search_path",
    );
    case.land_and_run("1.csv", "1,1,a\n2,-1,a\n");
    assert_eq!(case.ids(), "1");
    assert_eq!(case.rejected(), ["2,-1,a|good"]);
}

#[test]
fn files_with_other_columns_and_rows_for_postgres_to_decide_are_judged_alike() {
    let mut case = case("expect_shapes");
    case.add("positive", "amount > 0 AND kind <> 'z'", "");
    case.lake.land("1.csv", b"kind,id,amount\na,1,1e2\nz,2,+5\n");
    case.lake.land("2.csv", b"amount,id\n1,3\n");
    case.lake.land("3.csv", b"id,amount,kind\n4,-1,a\n5,1,a\n");
    case.run();
    assert_eq!(case.ids(), "1 5");
    assert_eq!(case.rejected(), ["z,2,+5|positive", "1,3|positive", "4,-1,a|positive"]);
    let value = "SELECT reasons -> 0 ->> 'value' FROM staging.p_rejects WHERE raw = '1,3'";
    assert_eq!(case.session.value(value), "amount=1, kind=NULL");
    case.verified();
}
