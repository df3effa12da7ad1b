//! Publishing: what changed becomes deltas for those who look, and outcomes for those who wrote.

use super::Partition;
use crate::Micros;
use crate::message::{Outbox, ToSession};

impl Partition {
    /// Gives every session that is due, and has taken its last delta, what it has not been told yet; and to every
    /// writer what became of its rows.
    pub fn publish(&mut self, now: Micros, outbox: &mut Outbox) {
        let frame_bytes_max = self.limits.frame_bytes_max as usize;
        if !self.subscribers.is_empty() {
            self.store.collect_changes();
        }
        for (session, subscriber) in &mut self.subscribers {
            let was_ready = subscriber.is_ready();
            let delta = subscriber.pump(&mut self.store, now, frame_bytes_max);
            // What became of its writes is told with or after what they changed in its views, never before.
            let told = subscriber.is_told(was_ready);
            let outcome = if told { self.outcomes.swap_remove(session) } else { None }.unwrap_or_default();
            if delta.is_some() || !outcome.is_empty() {
                outbox
                    .sessions
                    .push((*session, ToSession { delta: delta.map(Box::new), outcome, restarted: None }));
            }
        }
        // Sessions without views are told at once.
        let subscribers = &self.subscribers;
        for (session, outcome) in
            self.outcomes.extract_if(.., |session, _| !subscribers.contains_key(session))
        {
            outbox.sessions.push((session, ToSession { outcome, ..ToSession::default() }));
        }
        self.store.finish_publish();
    }
}
