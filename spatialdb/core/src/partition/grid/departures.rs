//! Who left a cell, and when.

use crate::partition::{PublishSeq, RowId};

/// How many departures from cells that are gone are kept.
const ORPHANS_KEPT: usize = 4096;

/// Who left, and when: bounded.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    log: Vec<(PublishSeq, RowId)>,
    /// Complete for what happened after this.
    pub(super) after: PublishSeq,
}

impl Departures {
    /// Adds a departure; the oldest go when there are more than `kept`.
    pub(super) fn push(&mut self, publish: PublishSeq, row: RowId, kept: usize) {
        self.log.push((publish, row));
        if self.log.len() > kept {
            let cut = self.log.len() - kept / 2;
            self.after = self.log[cut - 1].0;
            self.log.drain(..cut);
        }
    }

    /// The departures after `since`.
    pub(super) fn since(&self, since: PublishSeq) -> impl Iterator<Item = RowId> + use<'_> {
        let start = self.log.partition_point(|&(publish, _)| publish <= since);
        self.log[start..].iter().map(|&(_, row)| row)
    }

    /// Takes over what another log has.
    pub(super) fn adopt(&mut self, other: &mut Self) {
        let other = std::mem::take(other);
        self.after = self.after.max(other.after);
        if other.log.is_empty() {
            return;
        }
        self.log.extend(other.log);
        self.log.sort_by_key(|&(publish, _)| publish);
        if self.log.len() > ORPHANS_KEPT {
            let cut = self.log.len() - ORPHANS_KEPT / 2;
            self.after = self.after.max(self.log[cut - 1].0);
            self.log.drain(..cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_are_kept_as_long_as_there_is_room() {
        let mut departures = Departures::default();
        for i in 0..40 {
            departures.push(PublishSeq(u64::from(i)), RowId(i), 20);
        }
        assert!(departures.log.len() <= 20);
        let known = departures.since(departures.after).count();
        assert_eq!(known, departures.log.len());
        assert_eq!(departures.log[0].0.0, departures.after.0 + 1);
    }
}
