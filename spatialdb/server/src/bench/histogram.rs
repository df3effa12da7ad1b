//! Percentiles of more samples than anybody wants to keep.

// A bucket is at most 1/64 of its samples wide, so that a percentile is right to 1.6 %.
const BITS: u32 = 6;

/// Counts of samples by size, in buckets of equal relative width.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    // Up to the largest sample.
    counts: Vec<u32>,
    count: u64,
}

impl Histogram {
    /// Counts a sample.
    pub(super) fn add(&mut self, sample: u64) {
        let bucket = bucket(sample);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.count += 1;
    }

    /// Counts what another one has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.count += other.count;
    }

    /// How many samples.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// As `Percentiles::at`, rounded up to the end of a bucket; 0 without samples.
    pub(super) fn at(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += u64::from(*count);
            if below >= rank {
                return last_of(bucket);
            }
        }
        0
    }
}

// Numbers below 2^BITS have a bucket each; of larger ones the highest bits count.
const fn bucket(sample: u64) -> usize {
    let shift = (u64::BITS - sample.leading_zeros()).saturating_sub(BITS + 1);
    ((shift as usize) << BITS) + (sample >> shift) as usize
}

const fn last_of(bucket: usize) -> u64 {
    let shift = (bucket >> BITS).saturating_sub(1) as u32;
    let first = (bucket - ((shift as usize) << BITS)) as u64;
    (((first as u128 + 1) << shift) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{percentiles::Percentiles, random::Random};

    #[test]
    fn every_sample_is_in_its_bucket() {
        for sample in (0..1000).chain([1 << 20, u64::MAX - 1, u64::MAX]) {
            let last = last_of(bucket(sample));
            assert!(last >= sample && (last - sample) as f64 <= sample as f64 / 64.0, "{sample} {last}");
            assert_eq!(bucket(last), bucket(sample));
        }
    }

    #[test]
    fn near_the_exact_percentiles() {
        let mut random = Random::new(3);
        let samples: Vec<u64> = (0..5000).map(|_| random.next() >> (random.next() % 40 + 20)).collect();
        let (mut all, mut half) = (Histogram::default(), Histogram::default());
        samples[..2500].iter().for_each(|sample| all.add(*sample));
        samples[2500..].iter().for_each(|sample| half.add(*sample));
        all.merge(&half);
        let exact = Percentiles::of(samples).expect("samples");
        assert_eq!(all.count(), 5000);
        for share in [0.0, 0.5, 0.99, 0.999, 1.0] {
            let (found, exact) = (all.at(share) as f64, exact.at(share) as f64);
            assert!(found >= exact && found <= exact * (1.0 + 1.0 / 64.0), "{share}: {found} {exact}");
        }
        assert_eq!(Histogram::default().at(0.5), 0);
    }
}
