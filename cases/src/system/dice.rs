//! Random pauses of scripts, from the seed of the case.

/// A small generator (xorshift64*) for pauses: it has no lock and no state but its own.
pub(super) struct Pauses(u64);

impl Pauses {
    /// Of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number up to `most`, each as likely as any other.
    pub(super) fn upto(&mut self, most: u64) -> u64 {
        self.next() % (most + 1)
    }

    /// A number up to `most`, each order of magnitude as likely as any other.
    pub(super) fn spread(&mut self, most: u64) -> u64 {
        let bits = u64::BITS - most.leading_zeros();
        let width = self.next() % (u64::from(bits) + 1);
        (self.next() & ((1 << width) - 1)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_over_the_orders_of_magnitude() {
        let mut dice = Pauses::new(1);
        let draws: Vec<_> = (0..10_000).map(|_| dice.spread(1000)).collect();
        assert!(draws.iter().all(|draw| *draw <= 1000));
        assert!(draws.iter().filter(|draw| **draw < 10).count() > 2000);
        assert!(draws.iter().filter(|draw| **draw >= 100).count() > 1000);
    }
}
