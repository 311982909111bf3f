//! `millrace.allowed_locations`: nothing outside the list is read, listed, written or deleted, by whatever way it is asked for; and no server
//! leads to the addresses where machines keep their credentials.

use crate::server::{Preload, Server, land, url};
use crate::sql::{Session, quote};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

struct Case {
    server: Arc<Server>,
    session: Session,
    root: PathBuf,
    outside: PathBuf,
}

/// A database that may reach one directory, with a file of one row in it, and a directory beside it that it may not reach.
fn case(name: &str) -> Case {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(name);
    let (root, outside) = (server.create_dir(&format!("{name}_root")), server.create_dir(&format!("{name}_rooted")));
    for dir in [root.join("in"), outside.join("in")] {
        std::fs::create_dir_all(&dir).unwrap();
        land(&dir, "1.csv", b"id\n1\n");
    }
    for dir in [&root, &outside] {
        // The server writes there as an OS user of its own.
        std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(dir).status().unwrap();
    }
    session.execute("CREATE SCHEMA staging");
    let mut case = Case { server, session, root, outside };
    let root = url(&case.root);
    case.allow(&root);
    case
}

impl Case {
    /// Changes the list and begins a new session.
    fn allow(&mut self, list: &str) {
        let database = self.session.value("SELECT current_database()");
        self.session.execute(&format!("ALTER DATABASE {database} SET millrace.allowed_locations = {}", quote(list)));
        self.session = self.server.session(&database);
    }

    fn inside(&self, below: &str) -> String {
        quote(&format!("{}/{below}", url(&self.root)))
    }

    fn beyond(&self, below: &str) -> String {
        quote(&format!("{}/{below}", url(&self.outside)))
    }

    fn refused(&mut self, sql: &str) {
        let error = self.session.refused(sql, "42501");
        assert!(error.message().contains("not among those that are allowed"), "{sql}: {error:?}");
    }

    fn create(&mut self, more: &str) {
        let source = self.inside("in/*.csv");
        self.session.execute(&format!(
            "SELECT millrace.create_pipeline('p', source => {source}, columns => 'id int', staging => 'staging.p', every => NULL {more})"
        ));
    }
}

#[test]
fn every_function_that_takes_a_location_refuses_one_that_is_not_allowed() {
    let mut case = case("allowed_functions");
    case.create("");
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 1);
    symlink(&case.outside, case.root.join("link")).unwrap();
    for place in [case.beyond("in"), case.inside("link/in")] {
        let (source, place) = (place.replace("in'", "in/*.csv'"), place);
        let pipeline = |more: &str| {
            format!(
                "SELECT millrace.create_pipeline('x', columns => 'id int', staging => 'staging.x', every => NULL, {more})"
            )
        };
        let inside = case.inside("in/*.csv");
        let archive = place.trim_matches('\'').to_owned();
        for sql in [
            format!("SELECT * FROM millrace.list({place})"),
            format!("SELECT * FROM millrace.describe({source})"),
            format!("SELECT * FROM millrace.peek({source})"),
            format!("SELECT millrace.simulate('transactions', {place}, rows_per_file => 1)"),
            pipeline(&format!("source => {source}")),
            pipeline(&format!("source => {inside}, raw => {place}")),
            pipeline(&format!("source => {inside}, semi_processed => {place}")),
            pipeline(&format!(r#"source => {inside}, options => '{{"cleanup": "archive", "archive": "{archive}"}}'"#)),
            format!(
                "SELECT millrace.create_aggregate('p', 'a', 'SELECT id, count(*) FROM staging.p GROUP BY id', publish => {place})"
            ),
            format!("CALL millrace.backfill('p', location => {source})"),
        ] {
            case.refused(&sql);
        }
    }
    assert_eq!(std::fs::read_dir(case.outside.join("in")).unwrap().count(), 1, "nothing was written there");
    case.session.raises(
        &format!("SELECT * FROM millrace.list({}/../rooted')", case.inside("in").trim_end_matches('\'')),
        "22023",
    );
}

#[test]
fn a_list_that_becomes_narrower_stops_what_was_defined_before() {
    let mut case = case("allowed_narrower");
    let raw = case.inside("raw");
    case.create(&format!(", raw => {raw}"));
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 1);
    let narrow = url(&case.root.join("raw"));
    case.allow(&narrow);
    land(&case.root.join("in"), "2.csv", b"id\n2\n");
    let error = case.session.raises("CALL millrace.run('p')", "42501");
    assert!(error.message().contains("not among those that are allowed"), "{error:?}");
    let wide = url(&case.root);
    case.allow(&wide);
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 2);
    // And within one session that has everything open.
    case.session.execute(&format!("SET millrace.allowed_locations = {}", quote(&narrow)));
    case.session.raises("CALL millrace.run('p')", "42501");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 2);
}

#[test]
fn a_link_in_the_landing_directory_shows_nothing_of_what_it_leads_to_and_stops_no_other_file() {
    let mut case = case("allowed_links");
    std::fs::write(case.outside.join("secret.csv"), b"id\n42\n").unwrap();
    symlink(case.outside.join("secret.csv"), case.root.join("in/0.csv")).unwrap();
    symlink(&case.outside, case.root.join("in/deep")).unwrap();
    symlink(case.root.join("in/1.csv"), case.root.join("in/3.csv")).unwrap();
    land(&case.root.join("in"), "2.csv", b"id\n2\n");
    case.create(r#", options => '{"recursive": true, "max_attempts": 1}'"#);
    let _ = case.session.try_execute("CALL millrace.run('p')");
    assert_eq!(case.session.lines("SELECT id FROM staging.p ORDER BY id"), ["1", "1", "2"]);
    let files = case.session.lines("SELECT path, state, error FROM millrace.files WHERE state <> 'loaded'");
    assert!(files.len() == 1 && files[0].contains("0.csv") && files[0].contains("not among those"), "{files:?}");
}

#[test]
fn a_delta_table_leads_to_no_file_outside() {
    let mut case = case("allowed_clone");
    case.allow("");
    let table = case.beyond("table");
    case.create(&format!(", semi_processed => {table}"));
    case.session.execute("CALL millrace.run('p')");
    let log = std::fs::read_dir(case.outside.join("table/_delta_log")).unwrap().map(|entry| entry.unwrap().path());
    let clone = case.root.join("clone/_delta_log");
    std::fs::create_dir_all(&clone).unwrap();
    for entry in log.filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read_to_string(&entry).unwrap();
        let moved = text.replace(r#""path":"part-"#, &format!(r#""path":"{}/part-"#, url(&case.outside.join("table"))));
        std::fs::write(clone.join(entry.file_name().unwrap()), moved).unwrap();
    }
    let peek = format!("SELECT count(*) FROM millrace.peek({})", case.inside("clone"));
    assert_eq!(case.session.number(&peek), 1);
    let root = url(&case.root);
    case.allow(&root);
    case.refused(&peek);
}

#[test]
fn only_a_superuser_says_which_locations_are_allowed_and_only_what_can_be_understood() {
    let mut case = case("allowed_set");
    case.session.execute("LOAD 'pg_millrace'");
    for list in ["/data", "file:///data/*.csv", "file:///data/../etc", "nonsense://x"] {
        let error = case.session.raises(&format!("SET millrace.allowed_locations = {}", quote(list)), "22023");
        assert!(error.detail().is_some(), "{error:?}");
    }
    case.session.execute(
        "CREATE ROLE allowed_set_admin LOGIN IN ROLE millrace_admin, pg_read_server_files, pg_write_server_files",
    );
    let mut admin = case.server.session_as("allowed_set", "allowed_set_admin");
    // Before the library is loaded the setting is only a name: what was said then does not count.
    admin.execute("SET millrace.allowed_locations = ''");
    let beyond = format!("SELECT * FROM millrace.list({})", case.beyond("in"));
    admin.raises(&beyond, "42501");
    admin.raises("SET millrace.allowed_locations = ''", "42501");
    admin.raises("ALTER ROLE allowed_set_admin SET millrace.allowed_locations = ''", "42501");
    admin.raises(&beyond, "42501");
    admin.raises("SHOW millrace.allowed_locations", "42501");
}

#[test]
fn no_server_leads_to_where_machines_keep_their_credentials() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("allowed_metadata");
    for (location, options) in [
        ("az://lake", "account_name 'a', endpoint 'http://169.254.169.254/metadata', allow_http 'true'"),
        ("s3://b", "endpoint 'http://[fd00:ec2::254]', allow_http 'true'"),
        ("gs://b", "endpoint 'https://2852039166'"),
        ("az://lake", "account_name 'a', authority_host 'https://[fe80::1]'"),
        ("az://lake", "account_name 'a', proxy_url 'http://[::ffff:169.254.169.254]:80'"),
    ] {
        let create =
            format!("CREATE SERVER s FOREIGN DATA WRAPPER millrace OPTIONS (location '{location}', {options})");
        let error = session.refused(&create, "22023");
        assert!(error.message().contains("link-local"), "{error:?}");
    }
    session.execute(
        "CREATE SERVER s FOREIGN DATA WRAPPER millrace
             OPTIONS (location 'az://lake', account_name 'a', identity_endpoint 'http://169.254.169.254/metadata/identity')",
    );
}
