//! Takes files away that are done with: deletes them, or moves them into an archive.
//!
//! Promises: a file that is no longer the one that was loaded is left alone. A file is deleted only behind its whole copy. Everything
//! can be done again, from wherever it stopped, with the same end: a copy that is there already is known by its bytes, and the copy of
//! another file of the same name stays.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{MultipartUpload, ObjectStore, PutPayload};

use super::error::{place_error, store_error};
use super::listing::LandingFile;
use super::reading;
use super::store::Dir;
use crate::model::{Code, Result};

/// What came of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Cleaned,
    /// Another file has its name by now.
    Replaced,
}

/// Deletes a file, or moves it into the archive where there is one.
pub async fn clean(dir: &Dir, file: &LandingFile, archive: Option<&Dir>) -> Result<Outcome> {
    match dir.etag_now(&file.path).await? {
        // an earlier attempt got this far
        None => return Ok(Outcome::Cleaned),
        Some(etag) if etag != file.etag => return Ok(Outcome::Replaced),
        Some(_) => {}
    }
    if let Some(archive) = archive {
        match keep(dir, file, archive).await {
            Ok(()) => {}
            Err(e) if e.code == Code::Changed => return Ok(Outcome::Replaced),
            Err(e) => return Err(e),
        }
        // The copy took its time.
        if dir.etag_now(&file.path).await?.is_some_and(|etag| etag != file.etag) {
            return Ok(Outcome::Replaced);
        }
    }
    dir.remove(&file.path).await?;
    Ok(Outcome::Cleaned)
}

/// Copies a file into the archive under its own name, or under one with its ETag where that name is taken by other bytes.
async fn keep(dir: &Dir, file: &LandingFile, archive: &Dir) -> Result<()> {
    if archive.etag_now(&file.path).await?.is_none() {
        return copy(dir, file, archive, &file.path).await;
    }
    if same_bytes(dir, file, archive).await? {
        return Ok(());
    }
    copy(dir, file, archive, &name_with_etag(&file.path, &file.etag)).await
}

fn name_with_etag(path: &str, etag: &str) -> String {
    let etag: String = etag.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.find('.') {
        Some(dot) => {
            let at = path.len() - name.len() + dot;
            format!("{}.{etag}{}", &path[..at], &path[at..])
        }
        None => format!("{path}.{etag}"),
    }
}

async fn same_bytes(dir: &Dir, file: &LandingFile, archive: &Dir) -> Result<bool> {
    let failed = |e| store_error(&e, "read file", &archive.place_of(&file.path));
    let path = archive.path(&file.path)?;
    let mut kept = match archive.root().get_opts(&path, Default::default()).await {
        Ok(kept) if kept.meta.size != file.size => return Ok(false),
        Ok(kept) => kept.into_stream(),
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(e) => return Err(failed(e)),
    };
    let mut original = reading::blocks(dir, file, 0).await?;
    let mut left = Bytes::new();
    while let Some(block) = original.try_next().await? {
        let mut block = block;
        while !block.is_empty() {
            if left.is_empty() {
                match kept.try_next().await.map_err(failed)? {
                    Some(piece) => left = piece,
                    None => return Ok(false),
                }
            }
            let length = block.len().min(left.len());
            if block.split_to(length) != left.split_to(length) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn copy(dir: &Dir, file: &LandingFile, archive: &Dir, name: &str) -> Result<()> {
    let place = archive.place_of(name);
    let mut blocks = reading::blocks(dir, file, 0).await?;
    let first = blocks.try_next().await?.unwrap_or_default();
    if first.len() as u64 == file.size {
        return archive.put(name, first).await;
    }
    let failed = |e| store_error(&e, "write file", &place);
    let path = archive.path(name)?;
    let mut upload = archive.root().put_multipart_opts(&path, Default::default()).await.map_err(failed)?;
    let result = upload_all(upload.as_mut(), first, blocks, &place).await;
    match result {
        Ok(written) if written == file.size => {
            upload.complete().await.map_err(failed)?;
            archive.keep(name).await
        }
        Ok(_) => {
            let _ = upload.abort().await;
            Err(place_error(Code::Changed, "file changed while it was copied", &dir.place_of(&file.path)))
        }
        Err(e) => {
            let _ = upload.abort().await;
            Err(e)
        }
    }
}

/// The least that storage takes as a part of a larger object.
const PART: usize = 8 * 1024 * 1024;

async fn upload_all(
    upload: &mut dyn MultipartUpload,
    first: Bytes,
    mut blocks: futures::stream::BoxStream<'static, Result<Bytes>>,
    place: &str,
) -> Result<u64> {
    let failed = |e| store_error(&e, "write file", place);
    let (mut part, mut size) = (vec![first], 0);
    let mut written = 0;
    loop {
        size += part.last().map_or(0, Bytes::len);
        let next = blocks.try_next().await?;
        if size >= PART || next.is_none() {
            written += size as u64;
            upload.put_part(std::mem::take(&mut part).into_iter().collect::<PutPayload>()).await.map_err(failed)?;
            size = 0;
        }
        match next {
            Some(block) => part.push(block),
            None => return Ok(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::listing::list;
    use crate::lake::tests::run;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    async fn places(temp: &std::path::Path) -> Vec<(Dir, Dir)> {
        let local = |name: &str| {
            let path = temp.join(name);
            std::fs::create_dir_all(&path).unwrap();
            Dir::at(&crate::lake::tests::location(&path), &Default::default()).unwrap()
        };
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let remote = |name: &str| Dir::in_store(&format!("az://lake/{name}"), store.clone(), name);
        vec![
            (local("in"), local("kept")),
            (remote("in2"), remote("kept2")),
            (local("in3"), remote("kept3")),
            (remote("in4"), local("kept4")),
        ]
    }

    async fn put(dir: &Dir, name: &str, content: &[u8]) -> LandingFile {
        dir.put(name, Bytes::from(content.to_vec())).await.unwrap();
        list(dir, None, true).await.unwrap().into_iter().find(|f| f.path == name).unwrap()
    }

    async fn names(dir: &Dir) -> Vec<String> {
        list(dir, None, true).await.unwrap().into_iter().map(|f| f.path).collect()
    }

    #[test]
    fn an_archived_file_is_moved_whole_and_doing_it_again_changes_nothing() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            let big: Vec<u8> = (0..11_000_000u32).map(|n| (n % 251) as u8).collect();
            for (dir, archive) in places(temp.path()).await {
                for content in [&b""[..], b"id\n1\n", &big] {
                    let file = put(&dir, "y=1/a.csv", content).await;
                    keep(&dir, &file, &archive).await.unwrap(); // as if it had died behind the copy
                    assert_eq!(clean(&dir, &file, Some(&archive)).await.unwrap(), Outcome::Cleaned);
                    assert_eq!(clean(&dir, &file, Some(&archive)).await.unwrap(), Outcome::Cleaned);
                    assert!(names(&dir).await.is_empty());
                    let kept = archive.root().get(&archive.path("y=1/a.csv").unwrap()).await.unwrap();
                    assert_eq!(kept.bytes().await.unwrap().len(), content.len());
                    archive.remove("y=1/a.csv").await.unwrap();
                }
            }
        });
    }

    #[test]
    fn neither_a_new_file_of_that_name_nor_an_older_copy_is_lost() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            for (dir, archive) in places(temp.path()).await {
                let first = put(&dir, "a.csv.gz", b"first").await;
                let second = put(&dir, "a.csv.gz", b"other").await;
                for archive in [None, Some(&archive)] {
                    assert_eq!(clean(&dir, &first, archive).await.unwrap(), Outcome::Replaced);
                }
                assert_eq!(clean(&dir, &second, Some(&archive)).await.unwrap(), Outcome::Cleaned);
                let third = put(&dir, "a.csv.gz", b"third").await;
                for _ in 0..2 {
                    assert_eq!(clean(&dir, &third, Some(&archive)).await.unwrap(), Outcome::Cleaned);
                }
                let kept = names(&archive).await;
                assert_eq!(kept.len(), 2, "{kept:?}");
                assert!(kept.iter().all(|name| name.starts_with("a.") && name.ends_with("csv.gz")), "{kept:?}");
            }
        });
    }

    #[test]
    fn a_deleted_file_is_gone_and_the_others_stay() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            for (dir, _) in places(temp.path()).await {
                let file = put(&dir, "a.csv", b"1").await;
                put(&dir, "b.csv", b"2").await;
                assert_eq!(clean(&dir, &file, None).await.unwrap(), Outcome::Cleaned);
                assert_eq!(names(&dir).await, ["b.csv"]);
            }
        });
    }
}
