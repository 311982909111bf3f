//! What landing directories promise, on local disk and in an object store alike.

use std::fs;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use super::listing::{LandingFile, list};
use super::parquet_file::ParquetFile;
use super::reading::blocks;
use super::store::Dir;
use super::writing::put_atomic;
use crate::model::{Code, Location, Result};

pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    // as small as a worker may make it
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(4).enable_all().build().unwrap().block_on(work)
}

pub(super) fn location(path: &Path) -> Location {
    Location::from_local_path(path).unwrap()
}

async fn open(path: &Path) -> Dir {
    Dir::open(&location(path), &Default::default()).await.unwrap()
}

async fn read(dir: &Dir, file: &LandingFile, from: u64) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = blocks(dir, file, from).await?.try_collect().await?;
    Ok(pieces.concat())
}

fn names(files: &[LandingFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

const FILES: &[&str] = &[
    "b.csv",
    "a b%20ü.csv",
    "c.json",
    ".hidden.csv",
    "_SUCCESS",
    "x.csv.tmp",
    "x.csv.TEMP",
    "x.part",
    "x.partial",
    "x.crdownload",
    "x.inprogress",
    "x.csv~",
    "x.csv._COPYING_",
    "x.csv#1",
    "year=2024/d.csv",
    "year=2024/_delta_log/e.csv",
    ".git/f.csv",
    "_temporary/0/g.csv",
    "up.tmp/h.csv",
];

async fn landing(root: &Path) -> (Dir, Dir) {
    let store = InMemory::new();
    for name in FILES {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
        let path = object_store::path::Path::parse(format!("in/{name}")).unwrap();
        store.put(&path, (*name).into()).await.unwrap();
    }
    (open(root).await, Dir::in_store("az://c/in", Arc::new(store), "in"))
}

#[test]
fn listing_ignores_hidden_and_temporary_names_and_sorts_by_path() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let (disk, store) = landing(temp.path()).await;
        for dir in [disk, store] {
            let found = list(&dir, None, false).await.unwrap();
            assert_eq!(names(&found), ["a b%20ü.csv", "b.csv", "c.json"]);
            let found = list(&dir, None, true).await.unwrap();
            assert_eq!(names(&found), ["a b%20ü.csv", "b.csv", "c.json", "year=2024/d.csv"]);
            for file in &found {
                assert_eq!(file.size, file.path.len() as u64);
                assert_eq!(read(&dir, file, 0).await.unwrap(), file.path.as_bytes());
                assert_eq!(read(&dir, file, 3).await.unwrap(), &file.path.as_bytes()[3..]);
                assert_eq!(read(&dir, file, file.size).await.unwrap(), b"");
            }
        }
    });
}

#[test]
fn a_pattern_meets_names_or_where_it_has_a_slash_whole_paths() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let (disk, store) = landing(temp.path()).await;
        for dir in [disk, store] {
            let table: &[(&str, bool, &[&str])] = &[
                ("*.csv", false, &["a b%20ü.csv", "b.csv"]),
                ("*.csv", true, &["a b%20ü.csv", "b.csv", "year=2024/d.csv"]),
                ("year=*/*.csv", false, &["year=2024/d.csv"]),
                ("**/*.csv", false, &["a b%20ü.csv", "b.csv", "year=2024/d.csv"]),
                ("year=[0-9]*/{d,e}.csv", false, &["year=2024/d.csv"]),
                ("**", false, &["a b%20ü.csv", "b.csv", "c.json", "year=2024/d.csv"]),
                ("?.{csv,json}", false, &["b.csv", "c.json"]),
                (".hidden.csv", false, &[]),
            ];
            for (pattern, recursive, wanted) in table {
                let found = list(&dir, Some(pattern), *recursive).await.unwrap();
                assert_eq!(names(&found), *wanted, "{pattern}");
            }
        }
        let dir = open(temp.path()).await;
        assert_eq!(list(&dir, Some("[a"), false).await.unwrap_err().code, Code::InvalidParameter);
    });
}

#[test]
fn a_location_of_one_file_becomes_its_directory_and_name() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("[x].csv"), "1").unwrap();
        fs::write(temp.path().join("x.csv"), "1").unwrap();
        let file = location(temp.path()).join("[x].csv");
        let (dir, pattern) = Dir::resolve(&file, &Default::default()).await.unwrap();
        let found = list(&dir, pattern.as_deref(), false).await.unwrap();
        assert_eq!(names(&found), ["[x].csv"]);
        let (_, pattern) = Dir::resolve(&location(temp.path()), &Default::default()).await.unwrap();
        assert_eq!(pattern, None);
    });
}

#[test]
fn a_file_replaced_by_one_of_the_same_size_is_noticed() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.csv");
        fs::write(&path, "one").unwrap();
        let dir = open(temp.path()).await;
        let before = list(&dir, None, false).await.unwrap().remove(0);
        let moment = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(temp.path().join("b"), "two").unwrap();
        fs::File::options().write(true).open(temp.path().join("b")).unwrap().set_modified(moment).unwrap();
        fs::rename(temp.path().join("b"), &path).unwrap();
        let after = list(&dir, None, false).await.unwrap().remove(0);
        assert_eq!((before.size, before.modified), (after.size, after.modified));
        assert_ne!(before.etag, after.etag);
        assert_eq!(read(&dir, &before, 0).await.unwrap_err().code, Code::Changed);
        assert_eq!(read(&dir, &after, 0).await.unwrap(), b"two");
    });
}

#[test]
fn a_file_changed_or_removed_after_the_listing_is_refused_when_read() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let (disk, store) = landing(temp.path()).await;
        for dir in [disk, store] {
            let files = list(&dir, None, false).await.unwrap();
            put_atomic(&dir, "b.csv", Bytes::from_static(b"other")).await.unwrap();
            let error = read(&dir, &files[1], 0).await.unwrap_err();
            assert_eq!(error.code, Code::Changed);
            assert!(error.is_temporary());
            assert!(error.detail.unwrap().contains("b.csv"));
            dir.remove_quietly("c.json").await;
            assert_eq!(read(&dir, &files[2], 0).await.unwrap_err().code, Code::NotFound);
            let error = ParquetFile::landing(&dir, &files[1]).open().await.err().unwrap();
            assert!(matches!(error.code, Code::Changed | Code::Corrupt), "{error:?}");
        }
    });
}

#[test]
fn a_file_that_changes_while_it_is_read_ends_in_an_error() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("big.csv");
        let content: Vec<u8> = (0..7_000_000u32).map(|i| i as u8).collect();
        fs::write(&path, &content).unwrap();
        let dir = open(temp.path()).await;
        let file = list(&dir, None, false).await.unwrap().remove(0);
        assert_eq!(read(&dir, &file, 5).await.unwrap(), &content[5..]);

        let mut stream = blocks(&dir, &file, 0).await.unwrap();
        assert!(stream.try_next().await.unwrap().unwrap().len() >= 1024 * 1024);
        fs::File::options().write(true).open(&path).unwrap().set_len(3_000_000).unwrap();
        let rest: Result<Vec<Bytes>> = stream.try_collect().await;
        assert_eq!(rest.unwrap_err().code, Code::Changed);
    });
}

#[test]
fn a_missing_or_forbidden_directory_says_so_with_a_hint() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let missing = location(temp.path()).join("no such");
        let error = Dir::open(&missing, &Default::default()).await.err().unwrap();
        assert_eq!(error.code, Code::NotFound);
        assert!(error.detail.unwrap().contains("no%20such"));
        assert!(error.hint.is_some());

        fs::write(temp.path().join("file"), "").unwrap();
        let file = location(temp.path()).join("file");
        assert_eq!(Dir::open(&file, &Default::default()).await.err().unwrap().code, Code::Mismatch);

        let closed = temp.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        // the superuser may read everything
        if fs::read_dir(&closed).is_err() {
            let error = Dir::open(&location(&closed), &Default::default()).await.err().unwrap();
            assert_eq!(error.code, Code::Forbidden);
        }
        for text in ["gs://b/x", "s3://b/k"] {
            let error = Dir::open(&Location::parse(text).unwrap(), &Default::default()).await.err().unwrap();
            assert_eq!(error.code, Code::Forbidden);
            assert!(error.detail.unwrap().contains(text));
        }
    });
}

#[test]
fn odd_names_and_broken_links_do_not_stop_the_others() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("good.csv"), "1").unwrap();
        fs::write(temp.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.csv")), "1").unwrap();
        symlink("nowhere", temp.path().join("broken.csv")).unwrap();
        symlink(temp.path(), temp.path().join("loop")).unwrap();
        symlink(temp.path().join("good.csv"), temp.path().join("link.csv")).unwrap();
        let dir = open(temp.path()).await;
        let found = list(&dir, Some("*.csv"), false).await.unwrap();
        assert_eq!(names(&found), ["caf\u{fffd}.csv", "good.csv", "link.csv"]);
        assert_eq!(read(&dir, &found[0], 0).await.unwrap_err().code, Code::NotFound);
        assert_eq!(read(&dir, &found[2], 0).await.unwrap(), b"1");
    });
}

#[test]
fn a_written_file_appears_whole_and_leaves_nothing_else() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path()).await;
        put_atomic(&dir, "new dir/a.csv", Bytes::from_static(b"1")).await.unwrap();
        put_atomic(&dir, "new dir/a.csv", Bytes::from_static(b"2")).await.unwrap();
        assert_eq!(fs::read(temp.path().join("new dir/a.csv")).unwrap(), b"2");
        assert!(!dir.create_new("new dir/a.csv", Bytes::from_static(b"3")).await.unwrap());
        assert!(dir.create_new("new dir/b.csv", Bytes::from_static(b"4")).await.unwrap());
        let left: Vec<_> = fs::read_dir(temp.path().join("new dir")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        for name in [".a", "_a", "a.tmp", "x/../a", "_x/a"] {
            let error = put_atomic(&dir, name, Bytes::new()).await.unwrap_err();
            assert_eq!(error.code, Code::InvalidParameter, "{name}");
        }
    });
}

#[test]
fn many_thousand_files_are_listed_in_seconds() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        for i in 0..20_000 {
            fs::write(temp.path().join(format!("{i:06}.csv")), "").unwrap();
        }
        let dir = open(temp.path()).await;
        let start = Instant::now();
        let found = list(&dir, Some("*.csv"), false).await.unwrap();
        let took = start.elapsed();
        assert_eq!((found.len(), found[19_999].path.as_str()), (20_000, "019999.csv"));
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
}
