//! What a worker hears of its authority only once it has all frames that went before: so that it knows what it may write.

use spatialdb_types::{PartitionId, RegionId, Revision};

use super::Session;
use crate::message::EntityAuthority;

/// Something to hear behind frames.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// A region that it may get, and what lies around it, is in view.
    Warm(RegionId),
    /// Entities that it gained in a partition, up to that clock; those in view are shown as they were left.
    Gained(PartitionId, Revision, Vec<EntityAuthority>),
}

impl Session {
    /// All of the last frame is sent. To be called before the next is taken.
    pub fn frame_sent(&mut self) {
        let words = self.sending.take();
        words.into_iter().flatten().for_each(|after| self.say(after));
    }

    /// The worker hears it behind all frames that there are.
    pub(super) fn say_after(&mut self, after: After) {
        match (self.frames.back_mut(), &mut self.sending) {
            (Some((_, frame)), _) => frame.then.push(after),
            (None, Some(words)) => words.push(after),
            (None, None) => self.say(after),
        }
    }

    fn say(&mut self, after: After) {
        match after {
            After::Warm(region) => self.told_all_around(region),
            After::Gained(from, clock, words) => self.tell_gained(from, clock, &words),
        }
    }
}
