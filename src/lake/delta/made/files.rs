//! What a log says of files: where they are, which of their rows are left, what changed nothing, and what is no file at all.

use serde_json::json;

use super::super::foreign_tests::{LIMITS, follow};
use super::*;
use crate::lake::tests::{location, run};
use crate::model::Code;

#[test]
fn rows_that_deletion_vectors_of_every_kind_take_out_are_gone() {
    run(async {
        let many: Vec<u64> = (0..70_000).filter(|n| n % 3 == 0).collect();
        let mut made = Made::new(features(&["deletionVectors"], &[]), &[field("n", "long")], &[], &json!({}));
        let add = made.numbers("a b.parquet", 0..70_000);
        let mut add = add;
        add["add"]["path"] = json!("a%20b.parquet");
        made.commit(std::slice::from_ref(&add));
        let (few, several) = (vector_bytes(&[1, 2, 69_999]), vector_bytes(&many));
        let (file, begin) = vector_file(&[&few, &several]);
        let uuid: Vec<u8> = (0..16).collect();
        let name = "deletion_vector_00010203-0405-0607-0809-0a0b0c0d0e0f.bin";
        made.put(&format!("xy/{name}"), &file);
        made.put("dv dir/one%.bin", &file);
        let absolute = url::Url::from_file_path(made.path().canonicalize().unwrap().join("dv dir/one%.bin")).unwrap();
        let relative = format!("xy{}", base85(&uuid));
        let vectors = [
            (
                json!({ "storageType": "i", "pathOrInlineDv": base85(&few), "sizeInBytes": few.len(), "cardinality": 3 }),
                3,
            ),
            (
                json!({ "storageType": "u", "pathOrInlineDv": relative, "offset": begin[0], "sizeInBytes": few.len(), "cardinality": 3 }),
                3,
            ),
            (
                json!({ "storageType": "u", "pathOrInlineDv": relative, "offset": begin[1], "sizeInBytes": several.len(), "cardinality": many.len() }),
                many.len(),
            ),
            (
                json!({ "storageType": "p", "pathOrInlineDv": absolute, "offset": begin[0], "sizeInBytes": few.len(), "cardinality": 3 }),
                3,
            ),
        ];
        let mut before: Option<Value> = None;
        for (vector, gone) in vectors {
            let mut removed = remove("a%20b.parquet");
            if let Some(before) = &before {
                removed["remove"]["deletionVector"] = before.clone();
            }
            add["add"]["deletionVector"] = vector.clone();
            made.commit(&[removed, add.clone()]);
            let n = made.n().await;
            assert_eq!(n.len(), 70_000 - gone, "{vector}");
            assert_eq!(n.contains(&1), gone != 3, "{vector}");
            before = Some(vector);
        }
        assert_eq!(made.rows().await.len(), 69_997);
        // The same from a checkpoint.
        let mut held =
            vec![features(&["deletionVectors"], &[]), metadata(&[field("n", "long")], &json!({})), add.clone()];
        let mut other = made.numbers("b.parquet", 100_000..100_002);
        made.commit(std::slice::from_ref(&other));
        other["add"]["dataChange"] = json!(false);
        held.push(other);
        let name = format!("_delta_log/{:020}.checkpoint.parquet", made.next - 1);
        made.put(&name, &checkpoint(&held, Stats::Text));
        assert_eq!(made.n().await.len(), 69_999);
    });
}

#[test]
fn a_deletion_vector_that_is_gone_or_broken_is_an_error_and_no_row_too_many() {
    run(async {
        let vector = vector_bytes(&[0]);
        let (mut file, begin) = vector_file(&[&vector]);
        let described = |cardinality: usize| json!({ "storageType": "u", "pathOrInlineDv": base85(&[7; 16]), "offset": begin[0], "sizeInBytes": vector.len(), "cardinality": cardinality });
        let name = "deletion_vector_07070707-0707-0707-0707-070707070707.bin";
        let mut made = Made::new(features(&["deletionVectors"], &[]), &[field("n", "long")], &[], &json!({}));
        let mut add = made.numbers("a.parquet", 0..3);
        add["add"]["deletionVector"] = described(1);
        made.commit(std::slice::from_ref(&add));
        let read = async || open(made.path()).await.scan(10).await.unwrap().try_collect::<Vec<_>>().await;
        assert_eq!(read().await.err().unwrap().code, Code::Gap);
        made.put(name, &file);
        assert_eq!(read().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        *file.last_mut().unwrap() ^= 1;
        made.put(name, &file);
        let error = read().await.err().unwrap();
        assert!(error.code == Code::Corrupt, "{error:?}");
    });
}

#[test]
fn paths_are_relative_or_whole_urls_and_percent_encoded() {
    run(async {
        let mut made = Made::plain();
        let add = made.numbers("with space/100%/ü+&.parquet", 0..1);
        let root = url::Url::from_directory_path(made.path().canonicalize().unwrap()).unwrap();
        for (i, path) in
            ["with%20space/100%25/%C3%BC+&.parquet", "with%20space/100%25/%C3%BC%2B%26.parquet"].iter().enumerate()
        {
            let mut add = add.clone();
            add["add"]["path"] = json!(path);
            if i == 0 {
                made.commit(&[add]);
            } else {
                made.commit(&[remove("with%20space/100%25/%C3%BC+&.parquet"), add]);
            }
            assert_eq!(made.n().await, [0], "{path}");
        }
        let inside = format!("{root}with%20space/100%25/%C3%BC+&.parquet");
        let mut whole = add.clone();
        whole["add"]["path"] = json!(inside);
        made.commit(&[remove("with%20space/100%25/%C3%BC%2B%26.parquet"), whole]);
        assert_eq!(made.rows().await.len(), 1);
    });
}

#[test]
fn a_shallow_clone_has_the_files_of_another_table_of_the_same_store() {
    run(async {
        let other = Made::plain();
        let root = other.path().canonicalize().unwrap();
        let whole = url::Url::from_directory_path(&root).unwrap().to_string();
        let vector = vector_bytes(&[0]);
        let (file, begin) = vector_file(&[&vector]);
        other.put("v.bin", &file);
        let mut clone = Made::new(features(&["deletionVectors"], &[]), &[field("n", "long")], &[], &json!({}));
        let mut add = other.numbers("p=a%2Fb/one two.parquet", 0..3);
        // As Java writes local URIs, as the standard does, and a path alone.
        for root in [whole.replace("file:///", "file:/"), whole.clone(), whole.replace("file://", "")] {
            let mut removed = remove(add["add"]["path"].as_str().unwrap());
            removed["remove"]["deletionVector"] = add["add"]["deletionVector"].clone();
            add["add"]["path"] = json!(format!("{root}p=a%252Fb/one%20two.parquet"));
            add["add"]["deletionVector"] = json!({ "storageType": "p", "pathOrInlineDv": format!("{whole}v.bin"), "offset": begin[0],
                "sizeInBytes": vector.len(), "cardinality": 1 });
            match clone.next {
                1 => clone.commit(std::slice::from_ref(&add)),
                _ => clone.commit(&[removed, add.clone()]),
            }
            assert_eq!(clone.rows().await.len(), 2, "{root}");
        }
        let own = clone.numbers("own.parquet", 10..11);
        clone.commit(&[own]);
        assert_eq!(clone.n().await, [1, 2, 10]);
        fs::remove_file(root.join("p=a%2Fb/one two.parquet")).unwrap();
        let gone = open(clone.path()).await.scan(10).await.unwrap().try_collect::<Vec<_>>().await.err().unwrap();
        assert!(gone.code == Code::Gap && format!("{gone:?}").contains("one%20two"), "{gone:?}");
        for elsewhere in
            ["abfss://lake@account.dfs.core.windows.net/t/a.parquet", "s3://bucket/a.parquet", "file://host/a.parquet"]
        {
            let mut made = Made::plain();
            let mut add = made.numbers("a.parquet", 0..1);
            add["add"]["path"] = json!(elsewhere);
            made.commit(&[add]);
            let refused = open(made.path()).await.scan(10).await.err().unwrap();
            assert!(refused.code == Code::Unsupported && refused.message.contains("another store"), "{refused:?}");
        }
    });
}

#[test]
fn what_is_no_change_of_rows_changes_none() {
    run(async {
        let mut made = Made::plain();
        let add = made.numbers("a.parquet", 0..2);
        made.commit(&[add]);
        let mut moved = made.numbers("b.parquet", 0..2);
        moved["add"]["dataChange"] = json!(false);
        let mut gone = remove("a.parquet");
        gone["remove"]["dataChange"] = json!(false);
        made.commit(&[gone, moved]);
        made.commit(&[json!({ "commitInfo": { "operation": "SET TBLPROPERTIES", "timestamp": 1 } })]);
        made.commit(&[json!({ "txn": { "appId": "stream", "version": 3, "lastUpdated": 1 } })]);
        made.commit(&[json!({ "telepathy": { "of": [1, { "what": null }] } }), json!({ "commitInfo": {} })]);
        made.commit(&[
            json!({ "domainMetadata": { "domain": "delta.clustering", "configuration": "{}", "removed": false } }),
        ]);
        made.commit(&[]);
        let mut follower = follow(made.path(), 2).await.unwrap();
        for version in 2..made.next {
            let changes = follower.next().await.unwrap().unwrap();
            assert_eq!((changes.version, changes.added.len(), changes.removed.len()), (version, 0, 0));
        }
        assert!(follower.next().await.unwrap().is_none());
        assert_eq!(made.rows().await.len(), 2);
        assert_eq!(open(made.path()).await.txn_version("stream").await.unwrap(), Some(3));
    });
}

#[test]
fn tables_without_rows_without_files_and_with_files_without_rows_are_tables() {
    run(async {
        let mut made = Made::plain();
        assert_eq!(made.n().await, [0i64; 0]);
        assert_eq!(open(made.path()).await.schema().fields().len(), 1);
        let add = made.numbers("none.parquet", 0..0);
        made.commit(&[add]);
        assert_eq!(made.rows().await.len(), 0);
        let mut untold = made.numbers("untold.parquet", 0..0);
        untold["add"].as_object_mut().unwrap().remove("stats");
        made.commit(&[untold]);
        assert_eq!(made.rows().await.len(), 0);
        let add = made.numbers("one.parquet", 0..1);
        made.commit(&[add]);
        assert_eq!(made.rows().await.len(), 1);
        made.commit(&["none.parquet", "untold.parquet", "one.parquet"].map(remove));
        assert_eq!(made.rows().await.len(), 0);
    });
}

#[test]
fn statistics_that_are_cut_off_tell_less_and_rows_are_counted() {
    run(async {
        for stats in
            [json!(null), json!(""), json!("{}"), json!("{\"numRecords\": "), json!("{\"minValues\":{\"n\":1}}")]
        {
            let mut made = Made::plain();
            let mut add = made.numbers("a.parquet", 0..3);
            add["add"]["stats"] = stats.clone();
            made.commit(&[add]);
            assert_eq!(made.rows().await.len(), 3, "{stats}");
        }
    });
}

#[test]
fn features_of_writers_alone_are_no_hindrance_to_reading() {
    run(async {
        for feature in [
            "appendOnly",
            "invariants",
            "checkConstraints",
            "changeDataFeed",
            "generatedColumns",
            "identityColumns",
            "domainMetadata",
            "rowTracking",
            "inCommitTimestamp",
            "icebergCompatV1",
            "icebergCompatV2",
            "icebergCompatV3",
            "icebergWriterCompatV1",
            "clustering",
            "allowColumnDefaults",
            "checkpointProtection",
            "materializePartitionColumns",
            "collations-preview",
            "telepathy",
        ] {
            for protocol in [writer_features(&[feature, "domainMetadata"]), features(&["deletionVectors"], &[feature])]
            {
                let property = json!({ format!("delta.enable{}", feature.trim_start_matches(char::is_lowercase)): "true",
                    "delta.enableRowTracking": "true", "delta.enableInCommitTimestamps": "true" });
                let mut made = Made::new(protocol, &[field("n", "long")], &[], &property);
                let mut add = made.numbers("a.parquet", 0..2);
                add["add"]["baseRowId"] = json!(0);
                add["add"]["defaultRowCommitVersion"] = json!(1);
                add["add"]["clusteringProvider"] = json!("liquid");
                let info = json!({ "commitInfo": { "inCommitTimestamp": 5, "timestamp": 5 } });
                let high = json!({ "domainMetadata": { "domain": "delta.rowTracking", "configuration": "{\"rowIdHighWaterMark\":1}", "removed": false } });
                made.commit(&[info, add, high]);
                assert_eq!(made.rows().await.len(), 2, "{feature}");
            }
        }
    });
}

#[test]
fn features_of_readers_that_are_not_known_are_refused_by_name_also_when_they_come_later() {
    run(async {
        for feature in ["telepathy", "geospatial", "catalogManaged", "catalogOwned-preview", "adaptiveMetadata-preview"]
        {
            let made = Made::new(features(&[feature], &["inCommitTimestamp"]), &[field("n", "long")], &[], &json!({}));
            let error = Table::open(&location(made.path()), &Default::default()).await.err().unwrap();
            let is_named = error.message.contains(feature) || error.message.contains("managed by a catalog");
            assert!(error.code == Code::Unsupported && is_named, "{error:?}");
            let mut made = Made::plain();
            let add = made.numbers("a.parquet", 0..2);
            made.commit(&[add]);
            let add = made.numbers("b.parquet", 2..4);
            made.commit(&[features(&[feature], &["inCommitTimestamp"]), add]);
            let mut follower = follow(made.path(), 1).await.unwrap();
            let changes = follower.next().await.unwrap().unwrap();
            let rows = follower.table().rows(changes.added[0].clone(), 0, LIMITS).await.unwrap();
            assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
            let error = follower.next().await.err().unwrap();
            assert!(error.code == Code::Unsupported && error.message.contains(feature), "{error:?}");
        }
        let made = Made::new(legacy(4, 2), &[field("n", "long")], &[], &json!({}));
        let error = Table::open(&location(made.path()), &Default::default()).await.err().unwrap();
        assert!(
            error.code == Code::Unsupported && error.hint.is_some() && format!("{error:?}").contains('4'),
            "{error:?}"
        );
    });
}
