//! What landing directories and Delta tables promise, on a real Blob service.

use bytes::Bytes;
use futures::TryStreamExt;

use super::azurite::Azurite;
use super::delta::Table;
use super::listing::{LandingFile, list};
use super::reading::blocks;
use super::tests::run;
use super::writing::put_atomic;
use super::{Credentials, Dir};
use crate::model::{Code, Error, Location, Result};
use std::time::Duration;

fn credentials(azurite: &Azurite, pairs: &[(&str, &str)]) -> Credentials {
    let mut all: Credentials = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    all.insert("endpoint".into(), azurite.endpoint());
    all.insert("account_name".into(), azurite.account());
    all
}

fn place(text: &str) -> Location {
    Location::parse(text).unwrap()
}

async fn read(dir: &Dir, file: &LandingFile, from: u64) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = blocks(dir, file, from).await?.try_collect().await?;
    Ok(pieces.concat())
}

async fn refusal(location: &str, credentials: Credentials) -> Error {
    Dir::open(&place(location), &credentials).await.err().unwrap()
}

#[test]
fn files_are_written_whole_listed_and_read_as_the_listing_saw_them() {
    let azurite = Azurite::start(&["lake"]);
    let key = azurite.key();
    let credentials = credentials(&azurite, &[("account_key", &key)]);
    run(async {
        let dir = Dir::open(&place("az://lake/in"), &credentials).await.unwrap();
        for name in ["b.csv", "a b%20ü.csv", "y=2024/c.csv", "c.json"] {
            put_atomic(&dir, name, Bytes::from(name.as_bytes().to_vec())).await.unwrap();
        }
        assert_eq!(put_atomic(&dir, "_x.csv", Bytes::new()).await.unwrap_err().code, Code::InvalidParameter);
        let found = list(&dir, Some("*.csv"), true).await.unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["a b%20ü.csv", "b.csv", "y=2024/c.csv"]);
        assert_eq!(list(&dir, Some("*.csv"), false).await.unwrap().len(), 2);
        for file in &found {
            assert_eq!(read(&dir, file, 0).await.unwrap(), file.path.as_bytes());
            assert_eq!(read(&dir, file, 2).await.unwrap(), &file.path.as_bytes()[2..]);
        }
        // replaced by one of the same size: the listing's file is gone for good
        put_atomic(&dir, "b.csv", Bytes::from_static(b"X.csv")).await.unwrap();
        assert_eq!(read(&dir, &found[1], 0).await.unwrap_err().code, Code::Changed);
        let again = list(&dir, None, false).await.unwrap();
        assert_ne!(again[1].etag, found[1].etag);
        assert!(dir.create_new("once", Bytes::from_static(b"1")).await.unwrap());
        assert!(!dir.create_new("once", Bytes::from_static(b"2")).await.unwrap());
        assert_eq!(dir.get("once").await.unwrap().unwrap(), "1");

        let big: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        put_atomic(&dir, "big/f.csv", Bytes::from(big.clone())).await.unwrap();
        let (below, pattern) = Dir::resolve(&place("az://lake/in/big/f.csv"), &credentials).await.unwrap();
        let file = list(&below, pattern.as_deref(), false).await.unwrap().remove(0);
        assert_eq!(read(&below, &file, 0).await.unwrap(), big);
        assert_eq!(read(&below, &file, 4_000_000).await.unwrap(), &big[4_000_000..]);
    });
}

#[test]
fn each_kind_of_credentials_opens_the_lake_and_wrong_ones_are_named_without_a_secret() {
    let azurite = Azurite::start(&["lake"]);
    let (key, sas) = (azurite.key(), azurite.sas());
    run(async {
        for given in [("account_key", &key), ("sas_token", &sas), ("sas_token", &format!("?{sas}"))] {
            let all = credentials(&azurite, &[(given.0, given.1)]);
            for location in ["az://lake/x", "abfss://lake@devstoreaccount1.dfs.core.windows.net/x"] {
                let dir = Dir::open(&place(location), &all).await.unwrap();
                put_atomic(&dir, "f.csv", Bytes::from_static(b"1")).await.unwrap();
                assert_eq!(list(&dir, None, false).await.unwrap().len(), 1);
            }
        }
        let http = azurite.endpoint() + "/lake/x";
        let keyed = Credentials::from([("account_key".to_owned(), key.clone())]);
        assert_eq!(list(&Dir::open(&place(&http), &keyed).await.unwrap(), None, false).await.unwrap().len(), 1);

        let wrong = key.replace("Eby8", "Abc8");
        let expired = azurite.expired_sas();
        for (location, given, code) in [
            ("az://lake/x", ("account_key", wrong.as_str()), Code::Forbidden),
            ("az://lake/x", ("sas_token", expired.as_str()), Code::Forbidden),
            ("az://lake/x", ("sas_token", "sv=2018-11-09&sig=TOPSECRET"), Code::Forbidden),
            ("az://nowhere/x", ("account_key", key.as_str()), Code::NotFound),
        ] {
            let error = refusal(location, credentials(&azurite, &[given])).await;
            let text = format!("{error:?}");
            assert_eq!(error.code, code, "{text}");
            let signature = expired.split("sig=").nth(1).unwrap();
            for secret in [wrong.as_str(), key.as_str(), signature, "TOPSECRET"] {
                assert!(!text.contains(secret), "{text}");
            }
            assert!(error.hint.is_some(), "{text}");
        }
    });
}

#[test]
fn a_lake_that_is_out_of_reach_is_reported_soon_and_works_again_when_it_is_back() {
    let mut azurite = Azurite::start(&["lake"]);
    let key = azurite.key();
    let all = credentials(&azurite, &[("account_key", &key)]);
    let dir = run(async {
        let dir = Dir::open(&place("az://lake/x"), &all).await.unwrap();
        put_atomic(&dir, "f.csv", Bytes::from_static(b"1")).await.unwrap();
        dir
    });
    azurite.stop();
    let error = run(async {
        let started = std::time::Instant::now();
        let error = refusal("az://lake/x", all.clone()).await;
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
        error
    });
    assert_eq!(error.code, Code::Unavailable, "{error:?}");
    azurite.restart();
    run(async { assert_eq!(list(&dir, None, false).await.unwrap().len(), 1) });

    let nowhere = Credentials::from([
        ("endpoint".to_owned(), "https://account.invalid".to_owned()),
        ("account_name".to_owned(), "account".to_owned()),
        ("account_key".to_owned(), key),
    ]);
    let error = run(refusal("az://lake/x", nowhere));
    assert_eq!(error.code, Code::Unavailable, "{error:?}");
}

#[test]
fn a_missing_container_is_no_place_for_a_table() {
    let azurite = Azurite::start(&["lake"]);
    let key = azurite.key();
    let all = credentials(&azurite, &[("account_key", &key)]);
    run(async {
        assert!(Table::open(&place("az://lake/t"), &all).await.unwrap().is_none());
        let error = Table::open(&place("az://missing/t"), &all).await.err().unwrap();
        assert_eq!(error.code, Code::NotFound, "{error:?}");
    });
}
