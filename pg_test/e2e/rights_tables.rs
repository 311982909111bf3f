//! docs/privileges.md is what these tests measure: every function, view and table of the extension as each role, and every function that takes a
//! location as each role that may call it, at each kind of place. A function without a call here fails; so does a page that says something else.
//!
//! `PRIVILEGES_PAGE` names a file to write the page to, which `make docs` does.

use crate::azurite::Azurite;
use crate::lake::{CONTAINER, location};
use crate::server::{Preload, Server, land, url};
use crate::sql::{Session, quote};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = "docs/privileges.md";
const YES: &str = "yes";
const NO: &str = "–";

/// Roles, what they are called in the page, and what they are given.
const ROLES: &[(&str, &str, &str)] = &[
    ("nobody", "everybody (`PUBLIC`)", "LOGIN"),
    ("monitor", "`millrace_monitor`", "LOGIN IN ROLE millrace_monitor"),
    ("consumer", "`millrace_consumer`", "LOGIN IN ROLE millrace_consumer"),
    ("granted", "the same, with `grant_stream`", "LOGIN IN ROLE millrace_consumer"),
    ("owner", "the pipeline's owner (`millrace_admin`)", "LOGIN IN ROLE millrace_admin, pg_read_server_files"),
    ("admin", "another `millrace_admin`", "LOGIN IN ROLE millrace_admin"),
    ("root", "superuser", "LOGIN SUPERUSER"),
];

/// A call of each function, by its name (one for each of that name, in the order of their arguments), and the error that whoever may call it
/// gets where it finds nothing to do.
pub const CALLS: &[(&str, &str, &str)] = &[
    ("accept_chunk", "SELECT millrace.accept_chunk('p')", "55000"),
    ("ack", "SELECT millrace.ack('p', 'c', 1, token => '{token}')", ""),
    ("add_expectation", "SELECT millrace.add_expectation('p', 'f', 'id > 0')", ""),
    ("all_rejects", "SELECT * FROM millrace.all_rejects()", ""),
    ("alter_consumer", "SELECT millrace.alter_consumer('p', 'c', lease => '1 minute')", ""),
    ("alter_expectation", "SELECT millrace.alter_expectation('p', 'e', 'id > 1')", ""),
    ("alter_pipeline", "SELECT millrace.alter_pipeline('p', every => '1 minute')", ""),
    ("as_of", "SELECT millrace.as_of('a')", ""),
    ("backfill", "CALL millrace.backfill('p', versions => '[1,1]')", "22023"),
    ("check_locations", "SELECT * FROM millrace.check_locations('p')", ""),
    ("chunk_rows", "SELECT * FROM millrace.chunk_rows(NULL::staging.p, 1, 'p', 'c', token => '{token}')", ""),
    ("consume", "SELECT millrace.consume('p', 'd', 'SELECT 1')", ""),
    ("create_aggregate", "SELECT millrace.create_aggregate('p', 'b', 'SELECT count(*) FROM staging.p')", ""),
    ("create_consumer", "SELECT millrace.create_consumer('p', 'x')", ""),
    (
        "create_pipeline",
        "SELECT millrace.create_pipeline('x', source => 'az://own/in/*.csv', columns => 'id int', every => NULL)",
        "42704",
    ),
    ("current_work", "SELECT * FROM millrace.current_work()", ""),
    ("delivery_part", "SELECT millrace.delivery_part('p', 'c', 1, token => '{token}')", ""),
    ("describe", "SELECT * FROM millrace.describe('az://none/in')", "42704"),
    ("doctor", "SELECT * FROM millrace.doctor()", ""),
    ("drop_aggregate", "SELECT millrace.drop_aggregate('p', 'a')", ""),
    ("drop_consumer", "SELECT millrace.drop_consumer('p', 'c', force => true)", ""),
    ("drop_expectation", "SELECT millrace.drop_expectation('p', 'e')", ""),
    ("drop_pipeline", "SELECT millrace.drop_pipeline('p')", ""),
    ("extend", "SELECT millrace.extend('p', 'c', 1, token => '{token}')", ""),
    ("fdw_validator", "SELECT millrace.fdw_validator('{}', 'pg_foreign_server'::regclass)", "22023"),
    ("grant_stream", "SELECT millrace.grant_stream('p', 'millrace_monitor')", ""),
    ("has_chunk", "SELECT millrace.has_chunk('p', 'd')", ""),
    ("key_slot", "SELECT millrace.key_slot(1, 2)", ""),
    ("library_version", "SELECT millrace.library_version()", ""),
    ("lineage", "SELECT * FROM millrace.lineage('p', 1, 1)", ""),
    ("list", "SELECT * FROM millrace.list('az://none/in')", "42704"),
    ("machine_facts", "SELECT * FROM millrace.machine_facts()", ""),
    ("nack", "SELECT millrace.nack('p', 'c', 1, token => '{token}')", ""),
    ("next_chunk", "SELECT * FROM millrace.next_chunk('p', 'd')", ""),
    ("pause", "SELECT millrace.pause('p')", ""),
    ("pause_consumer", "SELECT millrace.pause_consumer('p', 'c')", ""),
    ("peek", "SELECT * FROM millrace.peek('az://none/in')", "42704"),
    ("preloaded", "SELECT millrace.preloaded()", ""),
    ("redrive", "SELECT millrace.redrive('p', 'c', 1)", "55000"),
    ("reject_rows", "SELECT millrace.reject_rows('p', 'c', 1, '{1}', 'wrong', token => '{token}')", ""),
    ("release", "SELECT millrace.release('p', 'c', 1, token => '{token}')", ""),
    ("requeue_rejects", "SELECT millrace.requeue_rejects('p')", ""),
    ("resnapshot", "CALL millrace.resnapshot('p')", "55000"),
    ("resume", "SELECT millrace.resume('p')", ""),
    ("resume_consumer", "SELECT millrace.resume_consumer('p', 'c')", ""),
    ("retry_file", "CALL millrace.retry_file('p', 'none.csv')", "42704"),
    ("revoke_stream", "SELECT millrace.revoke_stream('p', 'millrace_monitor')", ""),
    ("run", "CALL millrace.run('p')", ""),
    ("seek", "SELECT millrace.seek('p', 'c', 1, force => true)", ""),
    ("seek", "SELECT millrace.seek('p', 'c', 'latest'::text, force => true)", ""),
    ("seek", "SELECT millrace.seek('p', 'c', now(), force => true)", ""),
    ("simulate", "SELECT * FROM millrace.simulate('transactions', 'az://none/in', rows_per_file => 1)", "42704"),
    ("skip", "SELECT millrace.skip('p', 'c', 1, 'wrong')", ""),
    ("skip_file", "CALL millrace.skip_file('p', 'none.csv')", ""),
    ("split", "SELECT millrace.split('p', 'c', 1, token => '{token}')", ""),
    ("stop_backfill", "SELECT millrace.stop_backfill('p')", "55000"),
    ("take_over", "SELECT millrace.take_over('p')", ""),
    ("verify", "SELECT * FROM millrace.verify('p')", ""),
    ("violated", "SELECT millrace.violated(1, '{t}')", ""),
    ("wait_for_chunk", "CALL millrace.wait_for_chunk('p', 'd', '1 millisecond')", ""),
    ("wake_workers", "SELECT millrace.wake_workers()", ""),
    ("watch", "SELECT * FROM millrace.watch()", ""),
];

/// Those that commit by themselves, and so refuse a transaction around them.
const COMMIT: &[&str] = &["run", "backfill", "wait_for_chunk"];

/// Does it, undoes it, and says by which SQLSTATE it was refused; empty: it worked.
pub fn state_of(session: &mut Session, sql: &str, commits: bool) -> String {
    if !commits {
        session.execute("BEGIN");
    }
    let state = match session.try_rows(sql) {
        Ok(_) => String::new(),
        Err(error) => error.code().unwrap_or_else(|| panic!("{sql}\n{error:?}")).code().to_owned(),
    };
    if !commits {
        session.execute("ROLLBACK");
    }
    state
}

/// Markdown rows of what has the same cells, the names of each joined.
fn grouped(rows: BTreeMap<String, Vec<String>>) -> String {
    let mut groups: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for (name, cells) in rows {
        groups.entry(cells).or_default().insert(format!("`{name}`"));
    }
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|(cells, names)| {
            format!("| {} | {} |\n", names.into_iter().collect::<Vec<_>>().join(", "), cells.join(" | "))
        })
        .collect();
    lines.sort();
    lines.concat()
}

fn head(first: &str, roles: &[&str]) -> String {
    format!("| {first} | {} |\n|---|{}\n", roles.join(" | "), "---|".repeat(roles.len()))
}

pub struct Case {
    pub server: std::sync::Arc<Server>,
    pub session: Session,
    /// Of the lease of consumer 'c'.
    pub token: String,
}

impl Case {
    fn roles(&self) -> Vec<Session> {
        ROLES
            .iter()
            .map(|(role, _, _)| self.server.session_as("rights_tables", &format!("rights_tables_{role}")))
            .collect()
    }

    /// A pipeline of its owner's with a chunk, which consumer 'c' has leased and consumer 'd' may have.
    pub fn new(name: &str) -> Case {
        let server = Server::shared(Preload::No);
        let mut session = server.create_database(name);
        let landing = server.create_dir(&format!("{name}_landing"));
        land(&landing, "1.csv", b"id\n1\n2\n");
        for (role, _, has) in ROLES {
            session.execute(&format!("CREATE ROLE {name}_{role} {has}"));
        }
        session.execute(&format!("CREATE SCHEMA staging; GRANT ALL ON SCHEMA staging TO {name}_owner"));
        let mut owner = server.session_as(name, &format!("{name}_owner"));
        owner.execute(&format!(
            "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', every => NULL);
             SELECT millrace.create_aggregate('p', 'a', 'SELECT id, count(*) FROM staging.p GROUP BY id');
             SELECT millrace.add_expectation('p', 'e', 'id > 0')",
            url(&landing)
        ));
        owner.execute("CALL millrace.run('p')");
        owner.execute(&format!(
            "SELECT millrace.create_consumer('p', 'c'), millrace.create_consumer('p', 'd');
             SELECT millrace.grant_stream('p', '{name}_granted')"
        ));
        let token = owner.value("SELECT token FROM millrace.next_chunk('p', 'c')");
        // What a consumer reads is a matter of rights on the table; here only the stream shall make a difference.
        session.execute(&format!(
            "GRANT USAGE ON SCHEMA staging TO {name}_consumer, {name}_granted; GRANT SELECT ON staging.p TO {name}_consumer, {name}_granted"
        ));
        Case { server, session, token }
    }

    fn functions(&mut self) -> String {
        let all = self.session.rows(
            "SELECT proname, oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'millrace'::regnamespace
               AND proname NOT LIKE '\\_%' ORDER BY proname COLLATE \"C\", oid::regprocedure::text COLLATE \"C\"",
        );
        let all: Vec<(String, String)> = all
            .into_iter()
            .map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap().replace("millrace.", "")))
            .collect();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let called: Vec<&str> = CALLS.iter().map(|(name, _, _)| *name).collect();
        assert_eq!(names, called, "each function has a call in CALLS, in the order of their names");
        let mut roles = self.roles();
        let mut rows = BTreeMap::new();
        for ((name, signature), (_, sql, otherwise)) in all.iter().zip(CALLS) {
            let sql = sql.replace("{token}", &self.token);
            let cells = roles.iter_mut().zip(ROLES).map(|(session, (role, _, _))| {
                match state_of(session, &sql, COMMIT.contains(&name.as_str())).as_str() {
                    "42501" => NO.to_owned(),
                    state if state.is_empty() || state == *otherwise => YES.to_owned(),
                    state => panic!("{sql} as {role}: {state}"),
                }
            });
            let several = names.iter().filter(|other| *other == name).count() > 1;
            rows.insert(if several { signature.clone() } else { name.clone() }, cells.collect());
        }
        // What is internal can't be called by the way; who may is a matter of grants alone.
        let internal = self.session.lines(
            "SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'millrace'::regnamespace AND proname LIKE '\\_%' ORDER BY 1",
        );
        let mut closed = 0;
        for function in internal {
            let cells: Vec<String> =
                self.cells(&format!("has_function_privilege(role, {}::regprocedure, 'EXECUTE')", quote(&function)));
            if cells.iter().filter(|cell| *cell == YES).count() > 1 {
                rows.insert(function.replace("millrace.", ""), cells);
            } else {
                assert_eq!(cells.last().map(String::as_str), Some(YES), "{function}");
                closed += 1;
            }
        }
        assert!(closed > 0);
        let mut nobody = vec![NO; ROLES.len() - 1];
        nobody.push(YES);
        format!(
            "{}{}| all others whose names begin with `_` | {} |\n",
            head("function", &ROLES.iter().map(|(_, what, _)| *what).collect::<Vec<_>>()),
            grouped(rows),
            nobody.join(" | ")
        )
    }

    /// A cell per role for a condition over `role`.
    fn cells(&mut self, condition: &str) -> Vec<String> {
        let list: Vec<String> = ROLES.iter().map(|(role, _, _)| format!("'rights_tables_{role}'")).collect();
        let sql = format!(
            "SELECT {condition} FROM unnest(ARRAY[{}]::text[]) WITH ORDINALITY AS r(role, n) ORDER BY n",
            list.join(", ")
        );
        self.session.lines(&sql).iter().map(|may| if may == "t" { YES.into() } else { NO.into() }).collect()
    }

    fn relations(&mut self) -> String {
        let all = self.session.rows(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'millrace'::regnamespace AND relkind NOT IN ('i', 't', 'I', 'c')
              ORDER BY relname",
        );
        let mut roles = self.roles();
        let mut rows = BTreeMap::new();
        for row in all {
            let (name, kind) = (row[0].clone().unwrap(), row[1].clone().unwrap());
            let full = format!("millrace.{name}");
            // Nobody writes past the functions.
            let changes = self.cells(&match kind.as_str() {
                "S" => format!("has_sequence_privilege(role, '{full}', 'USAGE, UPDATE')"),
                _ => format!(
                    "has_table_privilege(role, '{full}', 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR
                     has_any_column_privilege(role, '{full}', 'INSERT, UPDATE, REFERENCES')"
                ),
            });
            for ((_, what, has), may) in ROLES.iter().zip(&changes) {
                assert_eq!(may == YES, has.contains("SUPERUSER"), "{what} writes {full}");
            }
            let reads = roles.iter_mut().map(|session| {
                match state_of(session, &format!("SELECT * FROM {full}"), false).as_str() {
                    "" => "reads".to_owned(),
                    "42501" => NO.to_owned(),
                    state => panic!("{full}: {state}"),
                }
            });
            rows.insert(name, reads.collect());
        }
        head("tables, views and sequences", &ROLES.iter().map(|(_, what, _)| *what).collect::<Vec<_>>())
            + &grouped(rows)
    }
}

/// What may be asked of a place: a name for it, and the statement.
const ASKED: &[(&str, &str)] = &[
    ("list", "SELECT * FROM millrace.list('{place}/in')"),
    ("describe", "SELECT * FROM millrace.describe('{place}/in/*.csv')"),
    ("peek", "SELECT * FROM millrace.peek('{place}/in/*.csv')"),
    (
        "source",
        "SELECT millrace.create_pipeline('x', source => '{place}/in/*.csv', staging => 'staging.x', every => NULL)",
    ),
    ("simulate", "SELECT * FROM millrace.simulate('transactions', '{place}/out', rows_per_file => 1)"),
    (
        "raw layer",
        "SELECT millrace.create_pipeline('x', source => '{own}/in/*.csv', staging => 'staging.x', every => NULL, raw => '{place}/raw')",
    ),
    (
        "published layer",
        "SELECT millrace.create_pipeline('x', source => '{own}/in/*.csv', staging => 'staging.x', every => NULL, semi_processed => '{place}/semi')",
    ),
    (
        "archive",
        r#"SELECT millrace.create_pipeline('x', source => '{own}/in/*.csv', staging => 'staging.x', every => NULL,
            options => '{"cleanup": "archive", "archive": "{place}/done"}')"#,
    ),
    (
        "published aggregate",
        "SELECT millrace.create_aggregate('{role}', 'x', 'SELECT count(*) FROM staging.{role}', publish => '{place}/sums')",
    ),
];

/// Roles that may call them, and what they are called in the page.
const CALLERS: &[(&str, &str, &str)] = &[
    ("places_admin", "`millrace_admin`", "LOGIN IN ROLE millrace_admin"),
    ("places_reader", "with `pg_read_server_files`", "LOGIN IN ROLE millrace_admin, pg_read_server_files"),
    (
        "places_writer",
        "and `pg_write_server_files`",
        "LOGIN IN ROLE millrace_admin, pg_read_server_files, pg_write_server_files",
    ),
    ("places_root", "superuser", "LOGIN SUPERUSER"),
];

/// What each role may reach: a row for each kind of place.
fn places() -> String {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("rights_places");
    let (root, outside) = (server.create_dir("places_root"), server.create_dir("places_rooted"));
    for dir in [&root, &outside] {
        std::fs::create_dir_all(dir.join("in")).unwrap();
        land(&dir.join("in"), "1.csv", b"id\n1\n");
        std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(dir).status().unwrap();
    }
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();

    let azurite = Azurite::start_secured(&[CONTAINER]);
    let lake = location(&azurite);
    let tokens = azurite.text("tokens");
    let options = format!(
        "endpoint {}, authority_host {}, identity_endpoint '{tokens}/identity', ca_certificate {}",
        quote(&azurite.endpoint()),
        quote(&tokens),
        quote(&azurite.certificate())
    );
    let key = format!("OPTIONS (account_key {})", quote(&azurite.key()));
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE SERVER filler FOREIGN DATA WRAPPER millrace OPTIONS (location '{lake}', {options});
         CREATE USER MAPPING FOR PUBLIC SERVER filler {key}"
    ));
    for place in ["own", "shared", "theirs", "closed", "machine", "unlisted"] {
        session.execute(&format!(
            "SELECT * FROM millrace.simulate('transactions', '{lake}/{place}/in', rows_per_file => 1)"
        ));
    }
    session.execute("DROP SERVER filler CASCADE; CREATE ROLE places_somebody");
    for server in ["own", "shared", "theirs", "closed", "machine", "unlisted"] {
        session.execute(&format!(
            "CREATE SERVER {server} FOREIGN DATA WRAPPER millrace OPTIONS (location '{lake}/{server}', {options})"
        ));
    }
    for (role, _, has) in CALLERS {
        session.execute(&format!(
            "CREATE ROLE {role} {has}; GRANT ALL ON SCHEMA staging TO {role};
             GRANT USAGE ON FOREIGN SERVER own, shared, theirs, machine, unlisted TO {role};
             CREATE USER MAPPING FOR {role} SERVER own {key};
             CREATE USER MAPPING FOR {role} SERVER closed {key};
             CREATE USER MAPPING FOR {role} SERVER unlisted {key};
             CREATE USER MAPPING FOR {role} SERVER machine OPTIONS (use_managed_identity 'true')"
        ));
        server.session_as("rights_places", role).execute(&format!(
            "SELECT millrace.create_pipeline('{role}', source => '{lake}/own/in/*.csv', staging => 'staging.{role}', every => NULL)"
        ));
    }
    let listed: Vec<String> =
        ["own", "shared", "theirs", "closed", "machine"].iter().map(|place| format!("{lake}/{place}")).collect();
    session.execute(&format!(
        "CREATE USER MAPPING FOR PUBLIC SERVER shared {key}; CREATE USER MAPPING FOR places_somebody SERVER theirs {key};
         ALTER DATABASE rights_places SET millrace.allowed_locations = '{}, {}, az://nowhere'",
        url(&root),
        listed.join(", ")
    ));

    let own = format!("{lake}/own");
    let mut page = head("place", &CALLERS.iter().map(|(_, what, _)| *what).collect::<Vec<_>>());
    for (what, place) in [
        ("a directory of the server's", url(&root)),
        ("a link in it that leads out of the list", url(&root.join("link"))),
        ("a path with `..` in it", format!("{}/in/../../places_rooted", url(&root))),
        ("a directory beside it, whose name begins as its own", url(&outside)),
        ("Azure, with a user mapping of one's own", own.clone()),
        ("Azure, with a user mapping for `PUBLIC`", format!("{lake}/shared")),
        ("Azure, where somebody else has a user mapping", format!("{lake}/theirs")),
        ("Azure, without `USAGE` on the server", format!("{lake}/closed")),
        ("Azure, with the identity of the machine", format!("{lake}/machine")),
        ("Azure, not on the list", format!("{lake}/unlisted")),
        ("a place for which there is no server", "az://nowhere".to_owned()),
    ] {
        let mut cells = Vec::new();
        for (role, _, _) in CALLERS {
            let mut session = server.session_as("rights_places", role);
            let mut may = Vec::new();
            for (name, sql) in ASKED {
                let sql = sql.replace("{place}", &place).replace("{own}", &own).replace("{role}", role);
                match state_of(&mut session, &sql, false).as_str() {
                    "" => may.push(*name),
                    // No right to it; no server, or no user mapping there; no path that is taken.
                    "42501" | "42704" | "22023" => {}
                    state => panic!("{sql} as {role}: {state}"),
                }
            }
            cells.push(match may.len() {
                0 => NO.to_owned(),
                n if n == ASKED.len() => "all".to_owned(),
                _ => may.join(", "),
            });
        }
        page.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
    }
    for beside in ["in", ""] {
        let found = std::fs::read_dir(outside.join(beside)).unwrap().count();
        assert_eq!(found, 1, "nothing was written beside the list");
    }
    page
}

#[test]
fn what_each_role_may_do_is_what_the_page_says() {
    let mut case = Case::new("rights_tables");
    let asked: Vec<&str> = ASKED.iter().map(|(name, _)| *name).collect();
    let page = format!(
        "# Who may do what\n\n\
         Generated by `make docs`, from what a test measures (`pg_test/e2e/rights_tables.rs`): it does each of these \
         things as each role, on a server with a pipeline `p` that one of them owns. `{NO}` is SQLSTATE 42501.\n\n\
         ## Functions\n\n{}\n\
         ## Tables and views\n\nOnly superusers write them past the functions, the extension's owner among them. `rejects` shows what its reader may \
         read of the pipelines' tables; tokens of deliveries are shown to `millrace_admin` alone.\n\n{}\n\
         ## Places\n\nWhat may be done at a place: {}. `all` is all of it. `millrace.allowed_locations` names the directory and the places \
         in Azure, but for those that are said to be beside it. Other roles than these may call none of the functions that take a location, \
         and no server can be made for a link-local address, whoever asks ([Security](security.md)).\n\n{}",
        case.functions(),
        case.relations(),
        asked.join(", "),
        places()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if let Some(file) = std::env::var_os("PRIVILEGES_PAGE") {
        std::fs::write(file, &page).unwrap();
    } else {
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let differs = page.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(is, said)| is != said);
        assert!(written == page, "{PAGE} is out of date (make docs): {differs:?}");
    }
}
