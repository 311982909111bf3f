//! Credentials in Postgres: servers, user mappings, and what happens when they are wrong or taken away.

use crate::azurite::Azurite;
use crate::lake::{CONTAINER, create_server, location, put};
use crate::server::{Preload, Server, wait_until};
use crate::sql::{Session, quote};
use std::sync::Arc;
use std::time::Duration;

fn database(name: &str, preload: Preload) -> (Arc<Server>, Session, Azurite) {
    let server = Server::shared(preload);
    let mut session = server.create_database(name);
    session.execute("CREATE SCHEMA staging");
    (server, session, Azurite::start(&[CONTAINER]))
}

fn pipeline(azurite: &Azurite, name: &str) -> String {
    format!(
        "SELECT millrace.create_pipeline('{name}', source => '{}/in/*.csv', columns => 'id int', staging => '{name}', every => NULL)",
        location(azurite)
    )
}

#[test]
fn options_that_are_not_known_or_do_not_fit_are_refused_by_name() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("azure_options");
    let create = "CREATE SERVER s FOREIGN DATA WRAPPER millrace OPTIONS";
    let error = session.raises(&format!("{create} (location 'az://lake', acount_name 'x')"), "22023");
    assert!(error.detail().unwrap().contains("account_name"), "{error:?}");
    session.raises(&format!("{create} (account_name 'x')"), "22023");
    session.raises(&format!("{create} (location 'az://lake', use_emulator 'perhaps')"), "22023");
    let error = session.raises(&format!("{create} (location 'az://lake', account_key 'VE9QU0VDUkVU')"), "22023");
    assert!(!format!("{error:?}").contains("VE9QU0VDUkVU"), "{error:?}");
    session.execute(&format!("{create} (location 'az://lake', account_name 'acme')"));
    let mapping = "CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS";
    session.raises(&format!("{mapping} (password 'x')"), "22023");
    session.raises(&format!("{mapping} (client_id 'a', client_secret 'b')"), "22023");
    session.raises(&format!("{mapping} (account_key 'VE9Q', sas_token 'sig=x')"), "22023");
    session.execute(&format!("{mapping} (client_id 'a', client_secret 'b', tenant_id 'c')"));
    session.raises("CREATE FOREIGN TABLE t (id int) SERVER s OPTIONS (x 'y')", "0A000");
}

#[test]
fn each_role_enters_the_lake_with_its_own_mapping_or_that_of_public() {
    let (server, mut session, azurite) = database("azure_roles", Preload::No);
    put(&azurite, "in/1.csv", b"id\n1\n");
    let create = pipeline(&azurite, "p");
    session.raises(&create, "42704");
    session.execute(&create_server(&azurite));
    session.execute(
        "CREATE ROLE azure_ann LOGIN IN ROLE millrace_admin; CREATE ROLE azure_bob LOGIN IN ROLE millrace_admin;
         GRANT CREATE ON SCHEMA public TO azure_ann, azure_bob",
    );
    let error = session.raises(&create, "42704");
    assert!(error.message().contains("user mapping"), "{error:?}");
    let mut ann = server.session_as("azure_roles", "azure_ann");
    let as_ann = pipeline(&azurite, "a").replace("staging => 'a'", "staging => 'public.a'");
    let error = ann.raises(&as_ann, "42501");
    assert!(error.message().contains("foreign server lake"), "{error:?}");
    session.execute("GRANT USAGE ON FOREIGN SERVER lake TO azure_ann, azure_bob");
    ann.execute(&format!(
        "CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (sas_token {})",
        quote(&azurite.sas())
    ));
    ann.execute(&as_ann);
    ann.execute("CALL millrace.run('a')");
    assert_eq!(ann.number("SELECT count(*) FROM public.a"), 1);

    let mut bob = server.session_as("azure_roles", "azure_bob");
    let as_bob = pipeline(&azurite, "b").replace("staging => 'b'", "staging => 'public.b'");
    bob.raises(&as_bob, "42704");
    session.execute(&format!(
        "CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (account_key {})",
        quote(&azurite.key())
    ));
    bob.execute(&as_bob);
    bob.execute("CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (use_managed_identity 'true')");
    let error = bob.raises("CALL millrace.run('b')", "42501");
    assert!(error.message().contains("identity of the machine"), "{error:?}");
    assert!(bob.lines("SELECT umoptions FROM pg_user_mappings WHERE umoptions::text LIKE '%account_key%'").is_empty());
}

#[test]
fn the_longest_location_serves_and_a_changed_mapping_counts_at_once() {
    let (_server, mut session, azurite) = database("azure_prefix", Preload::No);
    put(&azurite, "in/1.csv", b"id\n1\n");
    session.execute(&create_server(&azurite));
    let wrong = quote(&azurite.key().replace("Eby8", "Abc8"));
    let key = quote(&azurite.key());
    session.execute(&format!(
        "CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (account_key {wrong});
         CREATE SERVER deeper FOREIGN DATA WRAPPER millrace OPTIONS (location '{}/in', endpoint '{}');
         CREATE USER MAPPING FOR PUBLIC SERVER deeper OPTIONS (account_key {key})",
        location(&azurite),
        azurite.endpoint()
    ));
    session.execute(&pipeline(&azurite, "p").replace("staging => 'p'", "staging => 'staging.p'"));
    session.execute("CALL millrace.run('p')");
    session.execute(&format!("ALTER USER MAPPING FOR PUBLIC SERVER deeper OPTIONS (SET account_key {wrong})"));
    session.raises("CALL millrace.run('p')", "42501");
    session.execute("DROP USER MAPPING FOR PUBLIC SERVER deeper; DROP SERVER deeper");
    session.raises("CALL millrace.run('p')", "42501");
    session.execute(&format!("ALTER USER MAPPING FOR PUBLIC SERVER lake OPTIONS (SET account_key {key})"));
    put(&azurite, "in/2.csv", b"id\n2\n");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 2);
}

#[test]
fn wrong_credentials_are_named_and_no_secret_is_shown() {
    let (server, mut session, azurite) = database("azure_wrong", Preload::Yes);
    put(&azurite, "in/1.csv", b"id\n1\n");
    session.execute(&create_server(&azurite));
    let wrong = azurite.key().replace("Eby8", "Abc8");
    let expired = azurite.expired_sas();
    let signature = expired.split("sig=").nth(1).unwrap().to_owned();
    session.execute(&format!(
        "SET log_min_error_statement = panic;
         CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (sas_token {})",
        quote(&azurite.sas())
    ));
    session.execute(
        &pipeline(&azurite, "p")
            .replace("staging => 'p'", "staging => 'staging.p'")
            .replace("every => NULL", "every => '50 ms'"),
    );
    let loaded = |session: &mut Session| session.number("SELECT count(*) FROM staging.p");
    wait_until("the first file is loaded", Duration::from_secs(30), || loaded(&mut session) == 1);
    for options in
        [format!("SET sas_token {}", quote(&expired)), format!("DROP sas_token, ADD account_key {}", quote(&wrong))]
    {
        session.execute(&format!("ALTER USER MAPPING FOR PUBLIC SERVER lake OPTIONS ({options})"));
        wait_until("the pipeline tells of it", Duration::from_secs(30), || {
            session.number("SELECT count(*) FROM millrace.pipelines WHERE last_error IS NOT NULL") == 1
        });
        session.execute("SELECT millrace.resume('p')");
    }
    put(&azurite, "in/2.csv", b"id\n2\n");
    session.execute(&format!(
        "ALTER USER MAPPING FOR PUBLIC SERVER lake OPTIONS (SET account_key {}); SELECT millrace.resume('p')",
        quote(&azurite.key())
    ));
    wait_until("the second file is loaded", Duration::from_secs(60), || loaded(&mut session) == 2);
    let told = session.lines("SELECT to_jsonb(e)::text FROM millrace.events e").join("\n")
        + &session.lines("SELECT to_jsonb(p)::text FROM millrace.pipelines p").join("\n")
        + &server.log();
    for secret in [azurite.key(), wrong, signature] {
        assert!(!told.contains(&secret), "a secret is shown");
    }
}

#[test]
fn an_outage_of_the_lake_delays_and_loses_nothing() {
    let (_server, mut session, mut azurite) = database("azure_outage", Preload::Yes);
    session.execute(&create_server(&azurite));
    session.execute(&format!(
        "CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (account_key {})",
        quote(&azurite.key())
    ));
    let place = location(&azurite);
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{place}/in/*.csv', columns => 'id int', staging => 'staging.p',
                raw => '{place}/raw', semi_processed => '{place}/semi', every => '50 ms')"
    ));
    for round in 1..=3 {
        for n in 0..5 {
            put(&azurite, &format!("in/{round}_{n}.csv"), format!("id\n{round}{n}\n").as_bytes());
        }
        match round {
            // Azurite itself needs some seconds until what it has answered is on its disk.
            3 => {
                std::thread::sleep(Duration::from_secs(8));
                azurite.kill();
            }
            _ => azurite.stop(),
        }
        std::thread::sleep(Duration::from_millis(700));
        azurite.restart();
    }
    session.execute("SELECT millrace.resume('p')");
    wait_until("everything is loaded and published", Duration::from_secs(90), || {
        session.line(
            "SELECT (SELECT count(*) FROM staging.p), (SELECT count(*) FROM millrace.publications WHERE state <> 'done')",
        ) == "15|0"
    });
    assert_eq!(session.number("SELECT count(DISTINCT id) FROM staging.p"), 15);
    crate::retail::assert_verified(&mut session, "p");
}

#[test]
fn a_dump_takes_servers_and_mappings_along() {
    let (server, mut session, azurite) = database("azure_dump", Preload::No);
    session.execute(&create_server(&azurite));
    session.execute("CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (account_key 'VE9Q')");
    let dump = server.dump("azure_dump");
    assert!(dump.contains("CREATE SERVER lake FOREIGN DATA WRAPPER millrace"), "{dump}");
    assert!(dump.contains("CREATE USER MAPPING FOR public SERVER lake"), "{dump}");
    assert!(!dump.contains("CREATE FOREIGN DATA WRAPPER"), "the wrapper belongs to the extension");
}
