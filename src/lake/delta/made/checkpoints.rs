//! Checkpoints of every kind, the hint that leads to them, and logs of which only they are left.

use std::fs;

use serde_json::{Value, json};

use super::super::foreign_tests::{follow, open, scanned};
use super::super::log::{LAST_CHECKPOINT, LOG, entry_name};
use super::*;
use crate::lake::tests::run;
use crate::model::Code;

const NOTHING: &[Value] = &[];

/// Five versions: 0 to 3 add two rows each, 4 takes out the first two and notes a transaction. Gives what a checkpoint of 4 holds.
fn five_versions(protocol: &Value) -> (Made, Vec<Value>) {
    let mut made = Made::new(protocol.clone(), &[field("n", "long")], &[], &json!({}));
    let mut adds = Vec::new();
    for version in 0..4 {
        let mut add = made.numbers(&format!("{version}.parquet"), version * 2..version * 2 + 2);
        if version == 0 {
            // The first commit is there already.
            fs::remove_file(made.path().join(entry_name(0))).unwrap();
            made.next = 0;
            made.commit(&[protocol.clone(), metadata(&[field("n", "long")], &json!({})), add.clone()]);
        } else {
            made.commit(std::slice::from_ref(&add));
        }
        add["add"]["dataChange"] = json!(false);
        adds.push(add);
    }
    let txn = json!({ "txn": { "appId": "app", "version": 7, "lastUpdated": 1 } });
    made.commit(&[remove("0.parquet"), txn.clone()]);
    let mut state = vec![protocol.clone(), metadata(&[field("n", "long")], &json!({})), txn, remove("0.parquet")];
    state.extend(adds.drain(1..));
    (made, state)
}

fn sidecars(made: &Made, state: &[Value], stats: Stats) -> (Vec<Value>, Vec<Value>) {
    let (files, mut rest): (Vec<Value>, Vec<Value>) =
        state.iter().cloned().partition(|action| action.get("add").is_some() || action.get("remove").is_some());
    rest.push(json!({ "checkpointMetadata": { "version": 4, "tags": {} } }));
    for (i, part) in files.chunks(2).enumerate() {
        let name = format!("3a0d65cd-4056-49b8-937b-95f9e3ee90e{i}.parquet");
        let size = made.put(&format!("{LOG}/_sidecars/{name}"), &checkpoint(part, stats));
        rest.push(json!({ "sidecar": { "path": name, "sizeInBytes": size, "modificationTime": 1, "tags": {} } }));
    }
    (rest, files)
}

/// Writes a checkpoint of version 4 in one of the ways of the protocol; gives the hint that writers leave.
fn write(made: &Made, state: &[Value], kind: &str) -> Value {
    let named = |ending: &str| format!("{LOG}/{:020}.checkpoint.{ending}", 4);
    const UUID: &str = "80a083e8-7026-4e79-81be-64bd76c43a11";
    let size = state.len();
    match kind {
        "classic" | "columns of statistics" => {
            let stats = if kind == "classic" { Stats::Text } else { Stats::Columns };
            made.put(&named("parquet"), &checkpoint(&with_columns(state, stats), stats));
        }
        "parts" => {
            let (first, second) = state.split_at(3);
            made.put(&named("0000000001.0000000002.parquet"), &checkpoint(first, Stats::Text));
            made.put(&named("0000000002.0000000002.parquet"), &checkpoint(second, Stats::Text));
            return json!({ "version": 4, "size": size, "parts": 2 });
        }
        "v2 json" | "v2 parquet" | "v2 classic name" => {
            let (manifest, _) = sidecars(made, state, Stats::Text);
            match kind {
                "v2 json" => made.put(&named(&format!("{UUID}.json")), lines(&manifest).as_bytes()),
                "v2 parquet" => made.put(&named(&format!("{UUID}.parquet")), &checkpoint(&manifest, Stats::Text)),
                _ => made.put(&named("parquet"), &checkpoint(&manifest, Stats::Text)),
            };
        }
        "v2 json without sidecars" | "v2 parquet without sidecars" => {
            let mut all = state.to_vec();
            all.insert(0, json!({ "checkpointMetadata": { "version": 4, "tags": {} } }));
            match kind.starts_with("v2 json") {
                true => made.put(&named(&format!("{UUID}.json")), lines(&all).as_bytes()),
                false => made.put(&named(&format!("{UUID}.parquet")), &checkpoint(&all, Stats::Text)),
            };
        }
        "v2 with columns of statistics" => {
            let (manifest, _) = sidecars(made, &with_columns(state, Stats::Columns), Stats::Columns);
            made.put(&named(&format!("{UUID}.json")), lines(&manifest).as_bytes());
        }
        other => panic!("{other}"),
    }
    json!({ "version": 4, "size": size })
}

/// The same actions with the statistics in columns.
fn with_columns(state: &[Value], stats: Stats) -> Vec<Value> {
    let mut state = state.to_vec();
    if stats == Stats::Columns {
        for add in state.iter_mut().filter_map(|action| action.get_mut("add")) {
            let text = add["stats"].take();
            add["stats_parsed"] = serde_json::from_str(text.as_str().unwrap()).unwrap();
            add.as_object_mut().unwrap().remove("stats");
        }
    }
    state
}

#[test]
fn a_table_is_the_same_by_its_log_and_by_a_checkpoint_of_any_kind_with_or_without_a_hint() {
    run(async {
        for kind in [
            "classic",
            "columns of statistics",
            "parts",
            "v2 json",
            "v2 parquet",
            "v2 classic name",
            "v2 json without sidecars",
            "v2 parquet without sidecars",
            "v2 with columns of statistics",
        ] {
            let protocol = if kind.starts_with("v2") { features(&["v2Checkpoint"], &[]) } else { legacy(1, 2) };
            for (hint, cleaned) in [
                ("right", true),
                ("none", true),
                ("broken", true),
                ("missing one", false),
                ("right", false),
                ("none", false),
            ] {
                let (mut made, state) = five_versions(&protocol);
                assert_eq!(made.rows().await.len(), 6, "{kind}");
                let right = write(&made, &state, kind);
                match hint {
                    "right" => made.put(LAST_CHECKPOINT, right.to_string().as_bytes()),
                    "broken" => made.put(LAST_CHECKPOINT, b"{\"version\": 4, \"si"),
                    "missing one" => made.put(LAST_CHECKPOINT, b"{\"version\": 3, \"size\": 5}"),
                    _ => 0,
                };
                if cleaned {
                    (0..4).for_each(|version| fs::remove_file(made.path().join(entry_name(version))).unwrap());
                }
                let case = format!("{kind}, hint {hint}, cleaned {cleaned}");
                let mut table = open(made.path()).await;
                assert_eq!((table.version(), made.n().await), (4, (2..8).collect()), "{case}");
                assert_eq!(table.count_rows().await.unwrap(), 6, "{case}");
                assert_eq!(table.txn_version("app").await.unwrap(), Some(7), "{case}");
                let add = made.numbers("5.parquet", 8..10);
                made.commit(&[add, remove("1.parquet")]);
                table.refresh().await.unwrap();
                assert_eq!(n_of(&scanned(&table).await), [4, 5, 6, 7, 8, 9], "{case}");
                assert_eq!(made.n().await, [4, 5, 6, 7, 8, 9], "{case}");
                let mut follower = follow(made.path(), 5).await.unwrap();
                let changes = follower.next().await.unwrap().unwrap();
                assert_eq!((changes.version, changes.added.len(), changes.removed.len()), (5, 1, 1), "{case}");
                if cleaned {
                    assert_eq!(follow(made.path(), 3).await.err().unwrap().code, Code::Gap, "{case}");
                }
            }
        }
    });
}

#[test]
fn of_a_table_that_has_nothing_but_a_checkpoint_everything_is_there() {
    run(async {
        for kind in ["classic", "parts", "v2 json", "v2 parquet"] {
            let protocol = if kind.starts_with("v2") { features(&["v2Checkpoint"], &[]) } else { legacy(1, 2) };
            let (made, state) = five_versions(&protocol);
            let hint = write(&made, &state, kind);
            made.put(LAST_CHECKPOINT, hint.to_string().as_bytes());
            (0..5).for_each(|version| fs::remove_file(made.path().join(entry_name(version))).unwrap());
            let table = open(made.path()).await;
            assert_eq!((table.version(), made.n().await), (4, (2..8).collect()), "{kind}");
            let mut follower = follow(made.path(), 5).await.unwrap();
            assert!(follower.next().await.unwrap().is_none(), "{kind}");
        }
    });
}

#[test]
fn a_checkpoint_of_which_a_part_or_a_sidecar_is_missing_is_not_taken_for_a_smaller_table() {
    run(async {
        let (made, state) = five_versions(&legacy(1, 2));
        write(&made, &state, "parts");
        fs::remove_file(made.path().join(format!("{LOG}/{:020}.checkpoint.0000000002.0000000002.parquet", 4))).unwrap();
        assert_eq!(made.n().await, (2..8).collect::<Vec<i64>>(), "the log is whole");
        (0..4).for_each(|version| fs::remove_file(made.path().join(entry_name(version))).unwrap());
        assert!(
            super::super::Table::open(&crate::lake::tests::location(made.path()), &Default::default()).await.is_err()
        );

        let (made, state) = five_versions(&features(&["v2Checkpoint"], &[]));
        write(&made, &state, "v2 json");
        (0..4).for_each(|version| fs::remove_file(made.path().join(entry_name(version))).unwrap());
        fs::remove_file(made.path().join(format!("{LOG}/_sidecars/3a0d65cd-4056-49b8-937b-95f9e3ee90e1.parquet")))
            .unwrap();
        let opened = super::super::Table::open(&crate::lake::tests::location(made.path()), &Default::default()).await;
        let read = match opened {
            Ok(table) => table.unwrap().data_files().await.map(drop),
            Err(e) => Err(e),
        };
        assert!(read.is_err());
    });
}

#[test]
fn compacted_stretches_of_a_log_stand_for_their_versions() {
    run(async {
        let (mut made, _) = five_versions(&legacy(1, 2));
        // Of versions 1 to 3 and of 2 to 4, as writers leave them beside the versions.
        let compacted = |made: &Made, first: i64, last: i64, more: &[Value]| {
            let adds = (first..=last.min(3))
                .map(|version| made.numbers(&format!("{version}.parquet"), version * 2..version * 2 + 2));
            let actions: Vec<Value> = adds.chain(more.iter().cloned()).collect();
            made.put(&format!("{LOG}/{first:020}.{last:020}.compacted.json"), lines(&actions).as_bytes());
        };
        compacted(&made, 1, 3, NOTHING);
        let txn = json!({ "txn": { "appId": "app", "version": 7 } });
        compacted(&made, 2, 4, &[remove("0.parquet"), txn]);
        let table = open(made.path()).await;
        assert_eq!((table.version(), made.n().await), (4, (2..8).collect()));
        assert_eq!(table.txn_version("app").await.unwrap(), Some(7));
        let mut follower = follow(made.path(), 1).await.unwrap();
        for version in 1..=4 {
            assert_eq!(follower.next().await.unwrap().unwrap().version, version);
        }
        let add = made.numbers("5.parquet", 8..9);
        made.commit(&[add]);
        assert_eq!(follower.next().await.unwrap().unwrap().version, 5);
        assert_eq!(made.n().await, (2..9).collect::<Vec<i64>>());
    });
}
