//! A quick hash for the tables of known results. A search makes millions of look-ups, and no attacker chooses the keys.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Odd, with its bits spread evenly (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Clone, Copy, Default)]
pub(crate) struct Quick(u64);

pub(crate) type Table<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Quick>>;

impl Quick {
    fn mix(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(SPREAD);
        self.0 = mixed ^ (mixed >> 29);
    }
}

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        let mixed = self.0.wrapping_mul(SPREAD);
        mixed ^ (mixed >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value) + 1);
    }

    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value) + 1);
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64 + 1);
    }

    fn write_i8(&mut self, value: i8) {
        self.mix(u64::from(value.cast_unsigned()) + 1);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value.cast_unsigned() as u64 + 1);
    }
}

pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = Quick::default();
    value.hash(&mut hasher);
    hasher.finish()
}
