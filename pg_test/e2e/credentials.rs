//! Every kind of credentials that Azurite can check, each by a pipeline that reads, loads and writes; and what is said of wrong ones.

use crate::azurite::Azurite;
use crate::lake::{CONTAINER, location, put};
use crate::server::{Preload, Server};
use crate::sql::{Session, quote};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Case {
    server: Arc<Server>,
    session: Session,
    azurite: Azurite,
}

fn case(name: &str, azurite: Azurite, server_options: &str) -> Case {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(name);
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location {}, endpoint {} {server_options})",
        quote(&location(&azurite)),
        quote(&azurite.endpoint())
    ));
    Case { server, session, azurite }
}

impl Case {
    fn map(&mut self, options: &str) {
        self.session.execute(&format!(
            "DROP USER MAPPING IF EXISTS FOR PUBLIC SERVER lake; CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS ({options})"
        ));
    }

    /// Lists, reads, lands in a raw layer (a conditional put), loads and publishes.
    fn works(&mut self, kind: &str) {
        self.works_with(kind, "id int");
    }

    fn works_with(&mut self, kind: &str, columns: &str) {
        let place = location(&self.azurite);
        self.session.execute(&format!(
            r#"SELECT millrace.create_pipeline('{kind}', source => '{place}/in/*.csv', columns => '{columns}', staging => 'staging.{kind}',
                raw => '{place}/{kind}/raw', semi_processed => '{place}/{kind}/clean', every => NULL, options => '{{"settle": 0}}')"#
        ));
        self.session.execute(&format!("CALL millrace.run('{kind}')"));
        assert_eq!(self.session.number(&format!("SELECT count(*) FROM staging.{kind}")), 2, "{kind}");
        crate::retail::assert_verified(&mut self.session, kind);
    }

    /// Refused with this hint, soon, and without a word of the secret.
    fn refused(&mut self, options: &str, state: &str, hint: &str, secret: &str) {
        self.map(options);
        let begun = Instant::now();
        let list = format!("SELECT count(*) FROM millrace.list('{}/in/')", location(&self.azurite));
        let error = self.session.refused(&list, state);
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
        assert!(!format!("{error:?}").contains(secret), "a secret is shown");
    }

    /// The value of a named part of what Azurite says of itself, as a SQL literal.
    fn literal(&self, name: &str) -> String {
        quote(&self.azurite.text(name))
    }
}

fn signature(token: &str) -> String {
    token.split("sig=").nth(1).unwrap().split('&').next().unwrap().to_owned()
}

#[test]
fn keys_and_signatures_of_account_and_container_open_the_lake_and_wrong_ones_are_named() {
    let mut case = case("credential_kinds", Azurite::start(&[CONTAINER]), "");
    put(&case.azurite, "in/1.csv", b"id\n1\n2\n");
    for (kind, options) in [
        ("account_key", format!("account_key {}", case.literal("key"))),
        ("account_sas", format!("sas_token {}", case.literal("sas"))),
        ("container_sas", format!("sas_token {}", case.literal("container"))),
    ] {
        case.map(&options);
        case.works(kind);
    }
    let wrong = case.azurite.key().replace("Eby8", "Abc8");
    case.refused(&format!("account_key {}", quote(&wrong)), "42501", "key is wrong", &wrong);
    for name in ["expired", "expired_container"] {
        let token = case.azurite.text(name);
        case.refused(&format!("sas_token {}", quote(&token)), "42501", "expired", &signature(&token));
    }
    // A signature that is good, but not for listing.
    let token = case.azurite.text("read_only");
    case.refused(&format!("sas_token {}", quote(&token)), "42501", "may not do this", &signature(&token));
    case.refused("anonymous 'true'", "42501", "", "sig=");
    // One that is good for looking and not for writing: what is landed is read, a layer is not written, and nothing is lost.
    let token = case.azurite.text("look_only");
    case.map(&format!("sas_token {}", quote(&token)));
    let place = location(&case.azurite);
    let create = |layer: &str| {
        format!(
            r#"SELECT millrace.create_pipeline('looks', source => '{place}/in/*.csv', columns => 'id int', staging => 'staging.looks',
                   {layer} every => NULL, options => '{{"settle": 0}}')"#
        )
    };
    let error = case.session.raises(&create(&format!("semi_processed => '{place}/looks',")), "42501");
    assert!(error.hint().is_some_and(|hint| hint.contains("may not do this")), "{error:?}");
    assert!(!format!("{error:?}").contains(&signature(&token)), "a secret is shown");
    case.session.execute(&create(""));
    case.session.execute("CALL millrace.run('looks')");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.looks"), 2);
}

#[test]
fn a_public_container_needs_no_secret() {
    let azurite = Azurite::start(&["public"]);
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("credential_public");
    let place = format!("abfss://public@{}.dfs.core.windows.net", azurite.account());
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE SERVER filler FOREIGN DATA WRAPPER millrace OPTIONS (location '{place}/in', endpoint {0});
         CREATE USER MAPPING FOR PUBLIC SERVER filler OPTIONS (account_key {1});
         SELECT millrace.simulate('transactions', '{place}/in', rows_per_file => 10, files => 1);
         DROP SERVER filler CASCADE;
         CREATE SERVER open FOREIGN DATA WRAPPER millrace OPTIONS (location '{place}', endpoint {0}, anonymous 'true')",
        quote(&azurite.endpoint()),
        quote(&azurite.key())
    ));
    session.execute(&format!(
        r#"SELECT millrace.create_pipeline('p', source => '{place}/in/*.csv', staging => 'staging.p', every => NULL, options => '{{"settle": 0}}');"#
    ));
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 10);
    let refused = format!("SELECT millrace.simulate('transactions', '{place}/in', rows_per_file => 10, files => 1)");
    let error = session.raises(&refused, "42501");
    assert!(error.hint().is_some(), "{error:?}");
}

#[test]
fn tokens_of_an_application_a_workload_and_the_machine_open_the_lake_over_https() {
    let azurite = Azurite::start_secured(&[CONTAINER]);
    let tokens = azurite.text("tokens");
    let options = format!(", authority_host {0}, identity_endpoint '{1}/identity'", quote(&tokens), tokens);
    let mut case = case("credential_tokens", azurite, &options);
    case.refused(&format!("account_key {}", case.literal("key")), "08006", "ca_certificate", &case.azurite.key());
    case.session
        .execute(&format!("ALTER SERVER lake OPTIONS (ADD ca_certificate {})", quote(&case.azurite.certificate())));

    let place = location(&case.azurite);
    case.map(&format!("account_key {}", case.literal("key")));
    case.session
        .execute(&format!("SELECT millrace.simulate('transactions', '{place}/in', rows_per_file => 2, files => 1)"));
    let file = case.server.create_dir("credential_tokens_files").join("token");
    std::fs::write(&file, case.azurite.text("assertion")).unwrap();
    let application = format!("client_id {}, tenant_id {}", case.literal("client"), case.literal("tenant"));
    for (kind, options) in [
        ("client_secret", format!("{application}, client_secret {}", case.literal("secret"))),
        ("federated_token_file", format!("{application}, federated_token_file '{}'", file.display())),
        ("managed_identity", "use_managed_identity 'true'".to_string()),
    ] {
        case.map(&options);
        case.works_with(kind, "transaction_id text");
    }
    let wrong = "MISTAKEN-SECRET";
    case.refused(&format!("{application}, client_secret '{wrong}'"), "42501", "check client_id", wrong);
    case.refused(
        &format!("{application}, federated_token_file '/nowhere/token'"),
        "08006",
        "federated_token_file",
        wrong,
    );
    assert!(!case.server.log().contains("open-sesame"), "a secret is in the log");
}
