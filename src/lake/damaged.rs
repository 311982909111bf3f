//! Calls of the Parquet and Arrow libraries, which panic at some files that are damaged.
//!
//! Promises: such a panic is an error that names the file, as any other damage is. It never ends more than the reading of that file, and never
//! looks like the file's end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::future::FutureExt;
use futures::stream::{BoxStream, Stream, StreamExt};

use super::error::place_error;
use crate::model::mask::mask;
use crate::model::{Code, Error, Result};

/// What was being done is dropped behind a panic and not looked at again: that makes it safe to go on.
pub fn called<T>(place: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(error(&*panic, place)))
}

pub async fn awaited<T>(place: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|panic| Err(error(&*panic, place)))
}

/// The stream, which ends behind an error where it panics.
pub fn streamed<'a, T: 'a>(
    place: String,
    stream: impl Stream<Item = Result<T>> + Send + 'a,
) -> BoxStream<'a, Result<T>> {
    AssertUnwindSafe(stream)
        .catch_unwind()
        .map(move |next| next.unwrap_or_else(|panic| Err(error(&*panic, &place))))
        .boxed()
}

fn error(panic: &(dyn Any + Send), place: &str) -> Error {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let error = place_error(Code::Corrupt, "cannot read Parquet file", place);
    let detail = format!("location: {}: {}", mask(place), mask(words.unwrap_or("its contents make no sense")));
    error.detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "az://lake/a.parquet";

    fn damage() -> Result<i32> {
        panic!("no such {}", "page")
    }

    #[test]
    fn a_panic_of_a_library_is_an_error_that_names_the_file() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let awaited = runtime.block_on(awaited(PLACE, async { damage() })).unwrap_err();
        assert_eq!(called(PLACE, damage).unwrap_err(), awaited);
        assert_eq!(awaited.code, Code::Corrupt);
        assert_eq!(awaited.detail.as_deref(), Some("location: az://lake/a.parquet: no such page"));
    }

    #[test]
    fn a_stream_that_panics_ends_behind_an_error_and_not_as_if_it_were_whole() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows = futures::stream::iter(0..3).map(|row| if row == 1 { damage() } else { Ok(row) });
        let read: Vec<_> = runtime.block_on(streamed(PLACE.to_owned(), rows).collect());
        assert_eq!(read[0], Ok(0));
        assert_eq!((read.len(), read[1].as_ref().unwrap_err().code), (2, Code::Corrupt));
    }
}
