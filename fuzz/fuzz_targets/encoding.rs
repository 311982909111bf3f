//! Casts of text and of typed values. With `FUZZ_PG` (how to reach a server) each text that was cast is also read by Postgres' own
//! input function, and both must give the same value: `text → bytes → type` and `text → type`.
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;

use pg_millrace::fuzzing::Cast;
use postgres::{Client, NoTls};

/// Casts that are compared with one question to the server.
const BATCH: usize = 4096;

struct Oracle {
    client: Client,
    waiting: BTreeMap<&'static str, Vec<Cast>>,
}

thread_local! {
    static ORACLE: RefCell<Option<Oracle>> = RefCell::new(std::env::var("FUZZ_PG").ok().map(|uri| Oracle::connect(&uri)));
}

impl Oracle {
    fn connect(uri: &str) -> Oracle {
        let mut client = Client::connect(uri, NoTls).expect("FUZZ_PG leads to no server");
        client
            .batch_execute(
                "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY';
                 CREATE FUNCTION pg_temp.refuses(t text, type text) RETURNS boolean LANGUAGE plpgsql AS $$
                 BEGIN EXECUTE pg_catalog.format('SELECT %L::%s', t, type); RETURN false; EXCEPTION WHEN data_exception THEN RETURN true; END $$",
            )
            .expect("FUZZ_PG lets nobody work there");
        Oracle { client, waiting: BTreeMap::new() }
    }

    fn ask(&mut self, cast: Cast) {
        let waiting = self.waiting.entry(cast.sql).or_default();
        waiting.push(cast);
        if waiting.len() >= BATCH {
            let casts = std::mem::take(waiting);
            self.compare(&casts);
        }
    }

    fn compare(&mut self, casts: &[Cast]) {
        let sql = casts[0].sql;
        let create = format!("DROP TABLE IF EXISTS pg_temp.cast; CREATE TEMP TABLE cast_of (t text, v {sql})");
        self.client.batch_execute(&create.replace("pg_temp.cast;", "pg_temp.cast_of;")).unwrap();
        let mut copy = self.client.copy_in("COPY cast_of FROM STDIN (FORMAT binary)").unwrap();
        let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for cast in casts {
            bytes.extend(2_i16.to_be_bytes());
            for field in [cast.text.as_bytes(), &cast.bytes] {
                bytes.extend((field.len() as i32).to_be_bytes());
                bytes.extend(field);
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        copy.write_all(&bytes).unwrap();
        copy.finish().unwrap_or_else(|e| panic!("{sql}: COPY refuses what was cast: {e:?}"));
        let differ = format!(
            "SELECT t, v::text, t::{sql}::text FROM cast_of WHERE v::text IS DISTINCT FROM t::{sql}::text LIMIT 1"
        );
        match self.client.query_opt(&differ, &[]) {
            Ok(None) => {}
            Ok(Some(row)) => {
                let text = |i: usize| row.get::<_, Option<String>>(i);
                panic!("{sql}: {:?} is cast to {:?}; Postgres reads {:?}", text(0), text(1), text(2));
            }
            Err(_) => {
                let refused = "SELECT t FROM cast_of WHERE pg_temp.refuses(t, $1) LIMIT 1";
                let row = self.client.query_one(refused, &[&sql]).unwrap();
                panic!("{sql}: Postgres refuses {:?}, which was cast", row.get::<_, String>(0));
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(cast) = pg_millrace::fuzzing::encoding(data) else { return };
    ORACLE.with_borrow_mut(|oracle| {
        if let Some(oracle) = oracle {
            oracle.ask(cast);
        }
    });
});
