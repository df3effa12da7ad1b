//! Publishing: what changed becomes deltas for those who look, and outcomes for those who wrote.

use super::Partition;
use crate::Micros;
use crate::interest::ShadowMismatch;
use crate::message::{Outbox, ToSession};

/// About how many conditions one shadow check looks at: some hundreds of microseconds.
const SHADOW_CONDITIONS: u64 = 1 << 14;

impl Partition {
    /// Gives every session that is due, and has taken its last delta, what it has not been told yet; and to every
    /// writer what became of its rows.
    pub fn publish(&mut self, now: Micros, outbox: &mut Outbox) {
        self.queue_events();
        if !self.subscribers.is_empty() {
            self.store.collect_changes();
        }
        for (session, subscriber) in &mut self.subscribers {
            let was_ready = subscriber.is_ready();
            let delta = subscriber.pump(&mut self.store, now, self.events.all(), &self.limits);
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
        self.events.clear();
    }

    /// Compares what one session holds in view of some rows with what its views match, by brute force. Each call goes on
    /// with the next session, and with the next rows when all sessions had their turn.
    ///
    /// # Errors
    /// The first difference.
    pub fn shadow_check(&mut self) -> Result<(), ShadowMismatch> {
        let (sessions, rows) = (self.subscribers.len() as u64, self.store.row_count() as u64);
        if sessions == 0 || rows == 0 {
            return Ok(());
        }
        let turn = self.shadow_turn;
        self.shadow_turn += 1;
        let Some((_, subscriber)) = self.subscribers.get_index((turn % sessions) as usize) else {
            return Ok(());
        };
        let window = (SHADOW_CONDITIONS / subscriber.conditions()).max(16);
        let from = turn / sessions % rows.div_ceil(window) * window;
        let to = (from + window).min(rows);
        subscriber.shadow_check(&self.store, from as u32..to as u32).map_or(Ok(()), Err)
    }

    /// Compares all that all sessions hold in view with what their views match, by brute force.
    ///
    /// # Errors
    /// The first difference.
    pub fn shadow_check_all(&self) -> Result<(), ShadowMismatch> {
        let rows = 0..self.store.row_count() as u32;
        let mut found = self.subscribers.values().filter_map(|s| s.shadow_check(&self.store, rows.clone()));
        found.next().map_or(Ok(()), Err)
    }

    /// A fault on purpose: forgets that a session holds an entity.
    #[cfg(test)]
    pub(crate) fn lose_held(
        &mut self,
        session: spatialdb_types::SessionId,
        entity: spatialdb_types::EntityId,
    ) {
        let row = self.store.find(entity).expect("it is here");
        let subscriber = self.subscribers.get_mut(&session).expect("it has views");
        assert!(subscriber.hand_over(row, entity).is_some());
    }
}
