//! Storage that stalls, breaks off, answers nonsense or is busy: whoever waits can leave at once, and nothing is lost.
//!
//! Between the extension and Azurite stands a relay (`relay.rs`) that does all that on demand.

use crate::azurite::Azurite;
use crate::lake::{self, CONTAINER, put};
use crate::relay::{Harm, Mood, Relay};
use crate::retail::assert_verified;
use crate::server::{Preload, Server, wait_until};
use crate::sql::{Session, quote};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Case {
    server: Server,
    session: Session,
    azurite: Azurite,
    relay: Relay,
}

fn case(name: &str, preload: Preload, timeout: &str) -> Case {
    let server = Server::start_new(preload);
    let mut session = server.create_database(name);
    let azurite = Azurite::start(&[CONTAINER]);
    let relay = Relay::to(&azurite);
    session.execute("CREATE SCHEMA staging");
    session.execute(&lake::create_server_at(&azurite, &relay.endpoint(&azurite)));
    session.execute(&lake::create_mapping(&azurite));
    session.execute(&format!("ALTER SYSTEM SET millrace.network_timeout = '{timeout}'"));
    session.execute("SELECT pg_reload_conf()");
    wait_until("the setting counts", Duration::from_secs(20), || {
        session.value("SHOW millrace.network_timeout") == timeout
    });
    Case { server, session, azurite, relay }
}

#[test]
fn whoever_waits_for_storage_that_stalls_can_leave_at_once() {
    let mut case = case("stalled", Preload::Yes, "10min");
    let place = lake::location(&case.azurite);
    put(&case.azurite, "in/1.csv", b"id\n1\n");
    let create = |name: &str, every: &str| {
        format!(
            "SELECT millrace.create_pipeline('{name}', source => '{place}/in/*.csv', columns => 'id int', staging => 'staging.{name}',
                    raw => '{place}/{name}', every => {every}, options => '{{\"settle\": 0}}')"
        )
    };
    case.session.execute(&create("p", "NULL"));
    case.session.execute(&create("w", "'50 ms'"));
    wait_until("the worker works", Duration::from_secs(60), || {
        case.session.number("SELECT count(*) FROM staging.w") == 1
    });
    case.relay.is(Mood::Always(Harm::Stall));
    wait_until("progress says that the worker waits for the lake", Duration::from_secs(60), || {
        case.session.line("SELECT phase, waits_for FROM millrace.progress WHERE pipeline = 'w'") == "listing|lake"
    });
    case.session.execute("SET statement_timeout = '500 ms'");
    let begun = Instant::now();
    for sql in [
        format!("SELECT count(*) FROM millrace.list('{place}/in/')"),
        format!("SELECT count(*) FROM millrace.describe('{place}/in/*.csv')"),
        format!("SELECT count(*) FROM millrace.peek('{place}/in/*.csv')"),
        create("q", "NULL"),
        "CALL millrace.run('p')".to_string(),
        "SELECT count(*) FROM millrace.verify('w')".to_string(),
    ] {
        case.session.raises(&sql, "57014");
    }
    // Half a second each, and much time for a busy machine; a request itself would take ten minutes.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let took = case.server.stop_fast();
    assert!(took < Duration::from_secs(10), "a fast shutdown took {took:?} with a worker that waits for storage");
}

#[test]
fn bursts_stalls_and_broken_answers_delay_and_lose_nothing() {
    let mut case = case("faults", Preload::Yes, "3s");
    let place = lake::location(&case.azurite);
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{place}/in/*.csv', columns => 'id int, filler text', staging => 'staging.p',
                raw => '{place}/raw', semi_processed => '{place}/semi', every => '50 ms', options => '{{\"settle\": 0, \"max_files_per_chunk\": 3}}')"
    ));
    let filler = "x".repeat(2_000);
    let mut landed = 0;
    for (harm, seconds) in [
        (Harm::Status(503), 2),
        (Harm::Status(429), 2),
        (Harm::Status(500), 2),
        (Harm::Reset, 2),
        (Harm::Truncate(700), 3),
        (Harm::Truncate(5_000), 3),
        (Harm::Stall, 10),
    ] {
        for _ in 0..4 {
            landed += 1;
            put(&case.azurite, &format!("in/{landed:02}.csv"), format!("id,filler\n{landed},{filler}\n").as_bytes());
            std::thread::sleep(Duration::from_millis(50));
        }
        case.relay.is(Mood::Always(harm));
        std::thread::sleep(Duration::from_secs(seconds));
        case.relay.is(Mood::Fine);
        case.session.execute("SELECT millrace.resume('p')");
    }
    wait_until("everything is loaded and published", Duration::from_secs(120), || {
        case.session.line("SELECT (SELECT count(*) FROM staging.p), (SELECT count(*) FROM millrace.publications WHERE state <> 'done')")
            == format!("{landed}|0")
    });
    assert_eq!(case.session.number("SELECT count(DISTINCT id) FROM staging.p WHERE length(filler) = 2000"), landed);
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p_rejects"), 0);
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.files WHERE state = 'dead'"), 0);
    assert_verified(&mut case.session, "p");
    for secret in [case.azurite.key(), "sig=".into()] {
        assert!(!case.server.log().contains(&secret), "a secret is in the log");
    }
}

#[test]
fn what_is_wrong_with_a_place_is_said_with_a_way_on() {
    let mut case = case("wrong_places", Preload::No, "2s");
    let place = lake::location(&case.azurite);
    let list = |place: &str| format!("SELECT count(*) FROM millrace.list({})", quote(place));
    let hint = |session: &mut Session, sql: &str, state: &str| {
        session.raises(sql, state).hint().unwrap_or_default().to_owned()
    };
    case.session.execute(&format!(
        "CREATE SERVER missing FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://missing', endpoint '{0}', account_name '{1}');
         CREATE USER MAPPING FOR PUBLIC SERVER missing OPTIONS (account_key '{2}');
         CREATE SERVER nowhere FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://nowhere', endpoint 'https://account.invalid', account_name 'x');
         CREATE USER MAPPING FOR PUBLIC SERVER nowhere OPTIONS (account_key '{2}');
         CREATE SERVER proxied FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://proxied', endpoint '{0}', account_name '{1}', proxy_url 'http://127.0.0.1:9');
         CREATE USER MAPPING FOR PUBLIC SERVER proxied OPTIONS (account_key '{2}')",
        case.azurite.endpoint(),
        case.azurite.account(),
        case.azurite.key()
    ));
    assert!(hint(&mut case.session, &list("az://missing/in"), "58P01").contains("no such container"));
    assert!(hint(&mut case.session, &list("az://nowhere/in"), "08006").contains("name of the host"));
    hint(&mut case.session, &list("az://proxied/in"), "08006");
    hint(&mut case.session, &list("s3://bucket/in"), "42704");
    let wrong = case.azurite.key().replace("Eby8", "Abc8");
    case.session
        .execute(&format!("ALTER USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (SET account_key '{wrong}')"));
    assert!(hint(&mut case.session, &list(&format!("{place}/in")), "42501").contains("key is wrong"));
    case.session.execute(&format!(
        "ALTER USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (DROP account_key, ADD sas_token {})",
        quote(&case.azurite.expired_sas())
    ));
    assert!(hint(&mut case.session, &list(&format!("{place}/in")), "42501").contains("expired"));
}

/// Deletes a container (or makes it again), which the extension never does.
fn container(azurite: &Azurite, method: &str) -> u16 {
    let endpoint = azurite.endpoint();
    let (host, account) = endpoint.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} /{account}/{CONTAINER}?restype=container&{} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        azurite.sas()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_running_pipeline_says_what_is_wrong_with_its_place_and_goes_on_by_itself_when_that_is_mended() {
    const LONG: Duration = Duration::from_secs(120);
    let mut case = case("mended", Preload::Yes, "2s");
    let place = lake::location(&case.azurite);
    put(&case.azurite, "in/0.csv", b"id\n0\n");
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{place}/in/*.csv', columns => 'id int', staging => 'staging.p',
                every => '50 ms', options => '{{\"settle\": 0}}')"
    ));
    wait_until("the worker works", LONG, || case.session.number("SELECT count(*) FROM staging.p") == 1);
    let (key, endpoint) = (case.azurite.key(), case.relay.endpoint(&case.azurite));
    let wrong = key.replace("Eby8", "Abc8");
    let set_key =
        |key: &str| format!("ALTER USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (SET account_key {})", quote(key));
    let set_endpoint = |url: &str| format!("ALTER SERVER lake OPTIONS (SET endpoint {})", quote(url));
    let changes = [
        (set_key(&wrong), set_key(&key), "42501", "key is wrong"),
        (set_endpoint("https://account.invalid"), set_endpoint(&endpoint), "08006", "name of the host is not known"),
        (String::new(), String::new(), "58P01", "no such container"),
    ];
    for (n, (harm, mend, state, words)) in (1..).zip(&changes) {
        if harm.is_empty() {
            assert_eq!(container(&case.azurite, "DELETE"), 202);
        } else {
            case.session.execute(harm);
        }
        let noted = format!(
            "SELECT count(*) FROM millrace.pipelines WHERE pipeline = 'p' AND last_error LIKE '%Hint: %{words}%' AND last_sqlstate = '{state}'
                AND failures > 1 AND retry_at >= last_error_at + interval '1 second'"
        );
        wait_until(&format!("it is said, and tried again later: {words}"), LONG, || case.session.number(&noted) == 1);
        // The worker is there all the time, and answers.
        assert_eq!(
            case.session.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_millrace p'"),
            1
        );
        if mend.is_empty() {
            // A container that is being deleted can't be made again yet.
            wait_until("the container is there again", LONG, || container(&case.azurite, "PUT") == 201);
        } else {
            case.session.execute(mend);
        }
        put(&case.azurite, &format!("in/{n}.csv"), format!("id\n{n}\n").as_bytes());
        wait_until("it goes on by itself", LONG, || {
            case.session.line(
                "SELECT count(*), (SELECT failures FROM millrace.pipelines WHERE pipeline = 'p' AND last_error IS NULL) FROM staging.p",
            ) == format!("{}|0", n + 1)
        });
    }
    assert_no_secret_is_logged(&case, &[&key, &wrong]);
}

fn assert_no_secret_is_logged(case: &Case, secrets: &[&str]) {
    // What statements said is the users' own; what the extension says of them is looked at here.
    let log = case.server.log();
    for line in log.lines().filter(|line| line.contains("pg_millrace:")) {
        assert!(secrets.iter().all(|secret| !line.contains(secret)), "a secret is in the log");
    }
}
