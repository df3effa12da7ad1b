//! Which processes of one table others stand in for.
//!
//! Responsible for: finding out from sessions and processes. Not responsible for: what follows (`scale`). Time comes in,
//! since any moment, as an argument.
//!
//! A worker that is started by hand under the name of a process replaces the session of that process, which then ends. While
//! a process runs, nobody can say whose a session of its name is; when it runs no more, a session that is still there is of
//! somebody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Holder;

/// The session of a process that has ended is over by then.
const SESSION_ENDS: Duration = Duration::from_millis(200);

/// For so long a name stays with who has left it: somebody who debugs a worker starts it again and again.
const RETURN: Duration = Duration::from_secs(3);

/// The names of one table, by the numbers of its processes.
#[derive(Debug, Default)]
pub(super) struct Occupied {
    stands: BTreeMap<usize, Stand>,
    /// Those that were left to the supervisor again, until it is said.
    returned: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// The process runs.
    Up,
    /// It has ended then.
    Down(Duration),
    /// Somebody else has the name.
    Taken,
    /// Somebody else had it until then.
    Left(Duration),
}

impl Occupied {
    /// The process of a number has started.
    pub(super) fn up(&mut self, number: usize) {
        self.stands.insert(number, Stand::Up);
    }

    /// The process of a number has ended.
    pub(super) fn down(&mut self, number: usize, now: Duration) {
        if self.stands.get(&number) == Some(&Stand::Up) {
            self.stands.insert(number, Stand::Down(now));
        }
    }

    /// Whether somebody else has the name of a number, by who holds it now.
    pub(super) fn look(&mut self, number: usize, holder: Option<Holder>, now: Duration) -> bool {
        let next = match (self.stands.get(&number).copied(), holder) {
            (_, Some(Holder::Stranger)) => Some(Stand::Taken),
            (Some(Stand::Up), _) => Some(Stand::Up),
            (Some(Stand::Down(since)), _) if now < since + SESSION_ENDS => Some(Stand::Down(since)),
            (_, Some(Holder::Somebody)) => Some(Stand::Taken),
            (Some(Stand::Taken), None) => Some(Stand::Left(now)),
            (Some(Stand::Left(since)), None) if now < since + RETURN => Some(Stand::Left(since)),
            (Some(Stand::Left(_)), None) => {
                self.returned.insert(number);
                None
            }
            (None | Some(Stand::Down(_)), None) => None,
        };
        match next {
            Some(stand) => _ = self.stands.insert(number, stand),
            None => _ = self.stands.remove(&number),
        }
        matches!(next, Some(Stand::Taken | Stand::Left(_)))
    }

    /// Whether the name was somebody else's until lately. Said once.
    pub(super) fn has_returned(&mut self, number: usize) -> bool {
        self.returned.remove(&number)
    }

    /// When to look again though nothing happens.
    pub(super) fn next(&self) -> Option<Duration> {
        let due = |stand: &Stand| match stand {
            Stand::Up | Stand::Taken => None,
            Stand::Down(since) => Some(*since + SESSION_ENDS),
            Stand::Left(since) => Some(*since + RETURN),
        };
        self.stands.values().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: Option<Holder> = Some(Holder::Somebody);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_session_is_a_stranger_s_once_the_process_of_its_name_has_ended() {
        let mut occupied = Occupied::default();
        occupied.up(1);
        assert!(!occupied.look(1, SOMEBODY, ms(0)), "it may be the process's");
        occupied.down(1, ms(1000));
        assert!(!occupied.look(1, SOMEBODY, ms(1100)), "it may not have ended yet");
        assert_eq!(occupied.next(), Some(ms(1200)));
        assert!(occupied.look(1, SOMEBODY, ms(1200)));
        assert_eq!(occupied.next(), None);
        assert!(occupied.look(1, None, ms(5000)), "it may come back");
        assert!(occupied.look(1, SOMEBODY, ms(6000)) && occupied.look(1, None, ms(7000)));
        assert_eq!(occupied.next(), Some(ms(10_000)));
        assert!(occupied.look(1, None, ms(9999)) && !occupied.look(1, None, ms(10_000)));
        assert!(occupied.has_returned(1) && !occupied.has_returned(1));
    }

    #[test]
    fn a_process_that_ends_leaves_its_name() {
        let mut occupied = Occupied::default();
        occupied.up(1);
        occupied.down(1, ms(0));
        assert!(!occupied.look(1, SOMEBODY, ms(100)) && !occupied.look(1, None, ms(200)));
        assert_eq!(occupied.next(), None);
    }

    #[test]
    fn who_was_there_first_or_is_known_to_be_another_has_the_name() {
        let mut occupied = Occupied::default();
        assert!(occupied.look(1, SOMEBODY, ms(0)), "nothing of that name ever ran");
        occupied.up(2);
        assert!(occupied.look(2, Some(Holder::Stranger), ms(0)));
        occupied.down(2, ms(10));
        assert!(occupied.look(2, Some(Holder::Stranger), ms(20)));
        assert!(!occupied.look(3, None, ms(0)));
    }
}
