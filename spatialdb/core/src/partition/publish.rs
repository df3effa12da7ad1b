//! Publishing: what changed becomes deltas for those who look, and outcomes for those who wrote.

use super::Partition;
use crate::Micros;
use crate::interest::{ShadowMismatch, Subscriber};
use crate::message::{Outbox, ToSession};

/// About how many conditions one shadow check looks at: some hundreds of microseconds.
const SHADOW_CONDITIONS: u64 = 1 << 14;

/// How many squares of a census one shadow check recounts.
const SHADOW_SQUARES: u64 = 1 << 10;

impl Partition {
    /// Gives every session that is due, and has taken its last delta, what it has not been told yet; and to every
    /// writer what became of its rows.
    pub fn publish(&mut self, now: Micros, outbox: &mut Outbox) {
        self.tell_interests(outbox);
        self.queue_events();
        self.hasten_new_owners();
        if !self.subscribers.is_empty() {
            self.store.collect_changes();
            self.store.update_census(&self.limits);
            self.sweep.run(&mut self.subscribers, &mut self.store, now, &self.limits);
        }
        for (session, subscriber) in &mut self.subscribers {
            let was_ready = subscriber.is_ready();
            let delta = subscriber.pump(&mut self.store, now, self.events.all(), &self.limits);
            // What became of its writes is told with or after what they changed in its views, never before.
            let told = subscriber.is_told(was_ready);
            let outcome = if told { self.outcomes.swap_remove(session) } else { None }.unwrap_or_default();
            let store = &self.store;
            let shown = !subscriber.is_hastened() || subscriber.shows_all(store);
            let authority = self.authority.as_mut().and_then(|authority| {
                if shown {
                    authority.note_shown(*session);
                }
                authority.take_news(*session, store, shown)
            });
            if delta.is_some() || !outcome.is_empty() || authority.is_some() {
                let delta = delta.map(Box::new);
                outbox.sessions.push((*session, ToSession { delta, outcome, authority, restarted: None }));
            }
        }
        if let Some(authority) = &mut self.authority {
            let others = authority.drain_news(&self.store);
            let told = |authority| ToSession { authority: Some(authority), ..ToSession::default() };
            outbox.sessions.extend(others.map(|(session, authority)| (session, told(authority))));
        }
        self.tell_writers(outbox);
        self.store.finish_publish();
        self.events.clear();
    }

    /// Whoever gained something sees it as it is before it hears so, whatever the rates of its views, and its own writes of
    /// old too.
    fn hasten_new_owners(&mut self) {
        let Some(authority) = &mut self.authority else { return };
        for session in authority.take_rushed() {
            let Some(subscriber) = self.subscribers.get_mut(&session) else { continue };
            subscriber.hasten();
            for entity in authority.gained_by(session) {
                let row = self.store.find(entity).filter(|id| self.store.has_last_word(*id, session));
                if let Some(row) = row.filter(|id| subscriber.show_anew(*id)) {
                    self.store.touch(row);
                }
            }
        }
    }

    /// Tells writers without views what became of their rows. They need not wait for a publish: there is nothing that they
    /// would have to be told before.
    pub fn tell_writers(&mut self, outbox: &mut Outbox) {
        self.untold_rows = 0;
        let subscribers = &self.subscribers;
        let writers = self.outcomes.extract_if(.., |session, _| !subscribers.contains_key(session));
        outbox.sessions.extend(
            writers.map(|(session, outcome)| (session, ToSession { outcome, ..ToSession::default() })),
        );
    }

    /// Of how many rows [`Partition::tell_writers`] would tell.
    pub const fn untold_rows(&self) -> u64 {
        self.untold_rows
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
        let rows = from as u32..to as u32;
        let of_views = subscriber.shadow_check(&self.store, rows.clone());
        let places = self.store.census.as_ref().map_or(0, |census| census.places() as u64);
        let first = turn % places.div_ceil(SHADOW_SQUARES).max(1) * SHADOW_SQUARES;
        let squares = first as usize..(first + SHADOW_SQUARES).min(places) as usize;
        of_views.or_else(|| subscriber.shadow_count(&self.store, rows, squares)).map_or(Ok(()), Err)
    }

    /// Compares all that all sessions hold in view with what their views match, by brute force.
    ///
    /// # Errors
    /// The first difference.
    pub fn shadow_check_all(&self) -> Result<(), ShadowMismatch> {
        let rows = 0..self.store.row_count() as u32;
        let places = self.store.census.as_ref().map_or(0, |census| census.places());
        let check = |subscriber: &Subscriber| {
            let of_views = subscriber.shadow_check(&self.store, rows.clone());
            let counts = || subscriber.shadow_count(&self.store, rows.clone(), 0..places);
            of_views.or_else(counts).or_else(|| subscriber.shadow_count_all(&self.store))
        };
        self.subscribers.values().find_map(check).map_or(Ok(()), Err)
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
