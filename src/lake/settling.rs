//! Which listed files have been left alone long enough to be read.
//!
//! Promises: a file of which one listing differs from the next is held back for the whole time, whatever the clocks of server and
//! storage say. Only where nothing was listed before (a first look) does its time of modification decide alone.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::listing::LandingFile;

#[derive(Clone)]
struct Seen {
    etag: String,
    size: u64,
    /// When it was first listed like this.
    since: Instant,
    /// When it was last listed otherwise, or not at all.
    otherwise_at: Option<Instant>,
}

/// What the listings so far have shown of files that are not done with.
#[derive(Default)]
pub struct Settling {
    seen: HashMap<String, Seen>,
    last: Option<Instant>,
}

/// A file that has to wait, for how long, and whether this is the first listing that shows it like this.
#[derive(Debug, PartialEq)]
pub struct Waiting {
    pub file: LandingFile,
    pub wait: Duration,
    pub is_new: bool,
}

impl Settling {
    /// Parts the files of a listing into those that may be read and those that have to wait.
    pub fn sift(
        &mut self,
        listed: Vec<LandingFile>,
        settle: Duration,
        now: Instant,
        clock: SystemTime,
    ) -> (Vec<LandingFile>, Vec<Waiting>) {
        if settle.is_zero() {
            *self = Settling::default();
            return (listed, vec![]);
        }
        let mut before = std::mem::take(&mut self.seen);
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        for file in listed {
            let known = before.remove(&file.path).filter(|seen| seen.etag == file.etag && seen.size == file.size);
            let is_new = known.is_none();
            let seen = known.unwrap_or_else(|| Seen {
                etag: file.etag.clone(),
                size: file.size,
                since: now,
                otherwise_at: self.last,
            });
            let wait = wait_of(&seen, &file, settle, now, clock);
            self.seen.insert(file.path.clone(), seen);
            match wait.is_zero() {
                true => ready.push(file),
                false => waiting.push(Waiting { file, wait, is_new }),
            }
        }
        self.last = Some(now);
        (ready, waiting)
    }
}

fn wait_of(seen: &Seen, file: &LandingFile, settle: Duration, now: Instant, clock: SystemTime) -> Duration {
    let left = |since: Instant| settle.saturating_sub(now.saturating_duration_since(since));
    let observed = left(seen.since);
    let age = match clock.duration_since(SystemTime::from(file.modified)) {
        Ok(age) => age,
        // At a first look distance is all there is to go by: a file must not wait for ever because its clock is wrong.
        Err(ahead) if seen.otherwise_at.is_none() => ahead.duration(),
        Err(_) => return observed,
    };
    observed.min(settle.saturating_sub(age).max(seen.otherwise_at.map_or(Duration::ZERO, left)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const SETTLE: Duration = Duration::from_secs(2);

    fn file(etag: &str, modified: u64) -> LandingFile {
        let modified = DateTime::from_timestamp(modified as i64, 0).unwrap();
        LandingFile { path: "a".into(), etag: etag.into(), size: 1, modified }
    }

    struct Look {
        settling: Settling,
        start: Instant,
    }

    impl Look {
        fn new() -> Look {
            Look { settling: Settling::default(), start: Instant::now() }
        }

        /// How long the file has to wait at a second of the test, which begins at 1,000 on the server's clock.
        fn at(&mut self, second: u64, listed: Option<LandingFile>) -> Option<u64> {
            let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + second);
            let now = self.start + Duration::from_secs(second);
            let (ready, waiting) = self.settling.sift(listed.into_iter().collect(), SETTLE, now, clock);
            assert!(ready.len() + waiting.len() <= 1);
            waiting.first().map(|w| w.wait.as_secs())
        }
    }

    #[test]
    fn a_first_look_goes_by_the_time_of_modification() {
        assert_eq!(Look::new().at(0, Some(file("x", 998))), None);
        assert_eq!(Look::new().at(0, Some(file("x", 999))), Some(1));
        assert_eq!(Look::new().at(0, Some(file("x", 1_000))), Some(2));
        assert_eq!(Look::new().at(0, Some(file("x", 5_000))), None);
    }

    #[test]
    fn a_growing_file_waits_until_it_was_listed_the_same_for_the_whole_time() {
        let mut look = Look::new();
        for second in 0..5 {
            assert_eq!(look.at(second, Some(file(&second.to_string(), 1_000 + second))), Some(2));
        }
        assert_eq!(look.at(5, Some(file("4", 1_004))), Some(1));
        assert_eq!(look.at(6, Some(file("4", 1_004))), None);
    }

    #[test]
    fn clocks_that_differ_neither_let_a_growing_file_through_nor_hold_a_whole_one_back() {
        for skewed in [10, 5_000] {
            let mut look = Look::new();
            assert_eq!(look.at(0, None), None);
            assert_eq!(look.at(1, Some(file("x", skewed))), Some(if skewed == 10 { 1 } else { 2 }));
            assert_eq!(look.at(2, Some(file("y", skewed))), Some(if skewed == 10 { 1 } else { 2 }));
            assert_eq!(look.at(4, Some(file("y", skewed))), None);
            assert_eq!(look.at(5, Some(file("y", skewed))), None);
        }
    }

    #[test]
    fn files_that_may_be_read_still_may_at_the_next_look() {
        let mut look = Look::new();
        assert_eq!(look.at(0, Some(file("x", 900))), None);
        assert_eq!(look.at(1, Some(file("x", 900))), None);
    }
}
