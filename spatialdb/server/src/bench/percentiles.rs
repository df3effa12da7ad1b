//! Percentiles of samples, exact: nearest rank over all of them.

/// Samples in order.
pub(super) struct Percentiles(Vec<u64>);

impl Percentiles {
    /// Of these samples; `None` if there are none.
    pub(super) fn of(mut samples: Vec<u64>) -> Option<Self> {
        samples.sort_unstable();
        (!samples.is_empty()).then_some(Self(samples))
    }

    /// The smallest sample that at least `share` of all samples do not exceed.
    ///
    /// # Units
    /// `share` from 0 to 1; 0.5 is the median.
    pub(super) fn at(&self, share: f64) -> u64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The largest sample.
    pub(super) fn max(&self) -> u64 {
        self.at(1.0)
    }

    /// How many samples.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The one in the middle; of an even number, the upper one.
///
/// # Panics
/// There is none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::random::Random;

    // The definition, word by word.
    fn brute_force(samples: &[u64], share: f64) -> u64 {
        let needed = share * samples.len() as f64;
        let enough = |candidate: u64| samples.iter().filter(|s| **s <= candidate).count() as f64 >= needed;
        samples.iter().copied().filter(|s| enough(*s)).min().expect("the largest is enough")
    }

    #[test]
    fn equal_to_the_definition() {
        let mut random = Random::new(7);
        for count in [1, 2, 3, 10, 99, 100, 101, 1000] {
            let samples: Vec<u64> = (0..count).map(|_| random.next() % 50).collect();
            let percentiles = Percentiles::of(samples.clone()).expect("samples");
            for share in [0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                assert_eq!(percentiles.at(share), brute_force(&samples, share), "{count} {share}");
            }
            assert_eq!(Some(percentiles.max()), samples.iter().copied().max());
            assert_eq!(percentiles.count(), samples.len());
        }
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert!(Percentiles::of(Vec::new()).is_none());
    }
}
