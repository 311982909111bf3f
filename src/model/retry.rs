//! When to try again.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(300);

/// The wait after the n-th failure in a row (from 1): `first`, doubled each time, at most five minutes.
pub fn backoff(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1u32 << failures.saturating_sub(1).min(20)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<u64> = (1..=11).map(|n| backoff(Duration::from_secs(1), n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff(Duration::from_secs(1), u32::MAX), LONGEST);
    }
}
