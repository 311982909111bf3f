//! Finds the bytes that may mean something in a CSV file, 64 bytes at a time.
//!
//! The splitter hops from one such byte to the next and never looks at those between. The comparisons are written as plain
//! loops over fixed arrays: the compiler turns them into vector instructions on every processor, without `unsafe`.

const BLOCK: usize = 64;

/// The bytes that may have a meaning in a dialect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Special {
    pub delimiter: u8,
    pub quote: u8,
    pub escape: u8,
}

impl Special {
    /// Bit i is set where byte i of the block is special.
    fn mask(&self, block: &[u8; BLOCK]) -> u64 {
        let (delimiter, quote, escape) = (self.delimiter, self.quote, self.escape);
        let mut hits = [0u8; BLOCK];
        for (hit, &b) in hits.iter_mut().zip(block) {
            *hit = u8::from((b == delimiter) | (b == quote) | (b == escape) | (b == b'\n') | (b == b'\r'));
        }
        let mut mask = 0;
        for (i, eight) in hits.as_chunks::<8>().0.iter().enumerate() {
            // The product moves the lowest bit of byte i to bit 56 + i: eight flags end up side by side, no carries.
            let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            mask |= bits << (8 * i);
        }
        mask
    }
}

/// Walks over the positions of special bytes, in order.
pub(super) struct Scanner<'a> {
    pub buffer: &'a [u8],
    special: Special,
    base: usize,
    mask: u64,
    looked_at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(buffer: &'a [u8], special: Special, from: usize) -> Self {
        Scanner { buffer, special, base: from, mask: 0, looked_at: from }
    }

    /// Goes on at `position`, which may lie before the present one.
    pub fn seek(&mut self, position: usize) {
        self.base = position;
        self.mask = 0;
        self.looked_at = position;
    }

    #[inline]
    pub fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            if self.looked_at >= self.buffer.len() {
                return None;
            }
            self.load();
        }
        let position = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(position)
    }

    #[inline]
    fn load(&mut self) {
        self.base = self.looked_at;
        let rest = &self.buffer[self.base..];
        if let Some(block) = rest.first_chunk::<BLOCK>() {
            self.mask = self.special.mask(block);
        } else {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.mask = self.special.mask(&block) & ((1 << rest.len()) - 1);
        }
        self.looked_at += BLOCK;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_is_found_wherever_it_lies_and_nothing_else() {
        let special = Special { delimiter: b';', quote: b'"', escape: b'\\' };
        let bytes: Vec<u8> = (0..700u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        for from in [0, 1, 63, 64, 65, 699, 700] {
            let mut scanner = Scanner::new(&bytes, special, from);
            let found: Vec<usize> = std::iter::from_fn(|| scanner.next()).collect();
            let expected: Vec<usize> = (from..bytes.len()).filter(|&i| b";\"\\\n\r".contains(&bytes[i])).collect();
            assert_eq!(found, expected);
        }
    }
}
