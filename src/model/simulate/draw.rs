//! Random numbers whose values never change: ChaCha8 with a seed and stream of our own, and our own ways to draw from it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// Different purposes or files must not share numbers, hence the stream.
    pub fn new(seed: u64, purpose: u64, stream: u64) -> Draw {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&purpose.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Draw(rng)
    }

    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 to `bound - 1`, evenly.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// From 0 to below 1, evenly.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// An index, as often as its weight says, by running totals.
    #[inline]
    pub fn weighted(&mut self, totals: &[u32]) -> usize {
        let at = self.below(totals.last().copied().unwrap_or(1));
        totals.partition_point(|&total| total <= at)
    }

    /// A version 4 UUID that no other call with the same seed and another `serial` gives: half of it is random, the other half a
    /// one-to-one scrambling of the serial number.
    pub fn uuid(&mut self, serial: u64) -> u128 {
        let high = (self.bits() & !0xf000) | 0x4000;
        const MASK: u64 = (1 << 62) - 1;
        let mut low = serial & MASK;
        for factor in [0x9e37_79b9_7f4a_7c15u64, 0xd6e8_feb8_6659_fd93] {
            low = low.wrapping_mul(factor) & MASK;
            low ^= low >> 31;
        }
        u128::from(high) << 64 | u128::from(low | 1 << 63)
    }
}
