//! Which tests run on which storage: all on local disk and on Azurite, but for those that are named here with the reason.

use std::collections::BTreeSet;
use std::path::Path;

/// Tests, or whole files, that are on one storage alone.
const ALONE: &[(&str, &str)] = &[
    ("azure", "servers and mappings of Azure, for which a disk has no use"),
    ("credentials", "kinds of credentials, for which a disk has no use"),
    ("cancelled", "requests to Azurite that the relay holds back"),
    ("fault_points", "steps in the lake are stopped by the relay in front of Azurite"),
    ("faults", "what a network does between the server and Azurite"),
    ("resources", "what is held while a request to Azurite is under way"),
    ("s3", "the other object store"),
    ("storm", "both storages at once: two pipelines on Azurite and one on a disk"),
    ("local_disk", "rights and directories of the disk"),
    ("cleanup::a_file_on_disk_stays_until_its_chunk_is_published", "moves a directory away; prefixes can't be moved"),
    ("cleanup::one_place_on_azurite_is_known_by_all_its_names", "a directory of the disk has one name"),
    (
        "discovery::a_file_that_grows_on_azurite_is_read_when_it_is_whole_without_anybody_asking_for_it",
        "files on disk are renamed into place",
    ),
    (
        "discovery::an_idle_look_at_a_hundred_thousand_known_files_on_disk_asks_the_ledger_nothing",
        "about queries, which know of no storage; as many blobs take minutes to put",
    ),
    ("look::whoever_may_not_read_local_files_looks_at_none", "rights on local files"),
    ("lifecycle", "processes, databases and names; files only make chunks"),
    ("model", "consumers; files only make chunks"),
    ("allowed", "paths and links of the disk; how other places are spelled is a unit test"),
    ("hostile", "roles, names and rights within the database"),
    (
        "moving",
        "servers and databases that are copied and restored; what the lake holds is asked the same way everywhere",
    ),
    ("rights", "roles, and the rights on local files that COPY asks for"),
    ("rights_tables", "both at once: places of each kind"),
    ("judged", "what rules say of rows, wherever those were read"),
    ("matrix", "this list"),
];

fn source(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pg_test/e2e").join(file)).unwrap_or_default()
}

/// The modules that a file declares.
fn modules(file: &str) -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned());
    source(file).lines().filter_map(name).collect()
}

fn tests_of(module: &str) -> Vec<String> {
    let text = source(&format!("{module}.rs")) + &source(&format!("{module}/mod.rs"));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines.windows(2).filter(|pair| pair[0] == "#[test]").filter_map(|pair| pair[1].strip_prefix("fn "));
    tests.filter_map(|line| line.split('(').next()).map(|name| format!("{module}::{name}")).collect()
}

#[test]
fn every_test_runs_on_disk_and_on_azurite_or_says_here_why_not() {
    let (all, on_both) = (modules("main.rs"), modules("on_azurite.rs"));
    assert!(on_both.is_subset(&all) && on_both.len() > 20, "{on_both:?}");
    let mut named: BTreeSet<&str> = ALONE.iter().map(|(name, _)| *name).collect();
    assert_eq!(named.len(), ALONE.len(), "named twice");
    let mut unnamed = Vec::new();
    for module in all.difference(&on_both).filter(|module| *module != "lake") {
        let tests = tests_of(module);
        if !tests.is_empty() && named.remove(module.as_str()) {
            continue;
        }
        unnamed.extend(tests.into_iter().filter(|test| !named.remove(test.as_str())));
    }
    assert!(unnamed.is_empty(), "neither in on_azurite.rs, nor of on_each_storage!, nor named here: {unnamed:?}");
    assert!(named.is_empty(), "named here, and no such test is on one storage alone: {named:?}");
    for module in on_both {
        let text = source(&format!("{module}.rs")) + &source(&format!("{module}/mod.rs"));
        let asks = text.contains("module_path!()") && !text.contains("on_each_storage!");
        assert!(asks, "{module} is in on_azurite.rs and does not ask where it is");
    }
}
