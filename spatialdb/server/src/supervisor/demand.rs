//! How many workers are wanted.
//!
//! Responsible for: saying so by worker type, and sharing it out over the `[[workers]]` tables of a type.
//! Not responsible for: finding out (whoever balances work does), when processes start and end (`scale`).

use std::collections::BTreeMap;

use crate::config::WorkerConfig;

/// How many workers of each worker type are wanted. Of a type that is not in it as few run as its tables allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    by_type: BTreeMap<String, u32>,
}

impl Demand {
    /// So many workers of the type are wanted.
    pub fn set(&mut self, worker_type: &str, wanted: u32) {
        self.by_type.insert(worker_type.to_owned(), wanted);
    }

    /// How many of the type are wanted, if anybody has said so.
    pub fn wanted(&self, worker_type: &str) -> Option<u32> {
        self.by_type.get(worker_type).copied()
    }
}

impl<S: Into<String>> FromIterator<(S, u32)> for Demand {
    fn from_iter<I: IntoIterator<Item = (S, u32)>>(wanted: I) -> Self {
        let by_type = wanted.into_iter().map(|(worker_type, count)| (worker_type.into(), count)).collect();
        Self { by_type }
    }
}

/// How many processes each table should run, in the order of the tables: each its `min`, and what is wanted beyond that
/// goes to the first table of the type up to its `max`, then to the next.
pub(super) fn shares(configs: &[WorkerConfig], demand: &Demand) -> Vec<usize> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for config in configs {
        let wanted = demand.wanted(&config.worker_type).unwrap_or(0);
        left.entry(&config.worker_type).or_insert(usize::try_from(wanted).unwrap_or(usize::MAX));
    }
    for config in configs {
        if let Some(left) = left.get_mut(config.worker_type.as_str()) {
            *left = left.saturating_sub(config.min);
        }
    }
    let share = |config: &WorkerConfig| {
        let left = left.get_mut(config.worker_type.as_str());
        let more = left.map_or(0, |left| {
            let more = (*left).min(config.max.saturating_sub(config.min));
            *left -= more;
            more
        });
        config.min + more
    };
    configs.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::supervisor::RestartPolicy;

    fn table(worker_type: &str, min: usize, max: usize) -> WorkerConfig {
        WorkerConfig {
            worker_type: worker_type.to_owned(),
            name: worker_type.to_owned(),
            command: vec!["x".to_owned()],
            min,
            max,
            env: BTreeMap::new(),
            directory: ".".into(),
            scale_down_after: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            stop_timeout: Duration::ZERO,
            hung_after: Duration::ZERO,
            restart: RestartPolicy::default(),
        }
    }

    #[test]
    fn without_demand_each_table_has_its_min() {
        let configs = [table("a", 1, 4), table("b", 0, 2), table("a", 2, 2)];
        assert_eq!(shares(&configs, &Demand::default()), [1, 0, 2]);
        assert_eq!(shares(&configs, &Demand::from_iter([("c", 7)])), [1, 0, 2]);
    }

    #[test]
    fn the_first_table_of_a_type_takes_what_it_can() {
        let configs = [table("a", 1, 4), table("b", 0, 2), table("a", 1, 3)];
        let shared = |wanted| shares(&configs, &Demand::from_iter([("a", wanted)]));
        let cases = [
            (0, [1, 0, 1]),
            (2, [1, 0, 1]),
            (3, [2, 0, 1]),
            (5, [4, 0, 1]),
            (6, [4, 0, 2]),
            (u32::MAX, [4, 0, 3]),
        ];
        for (wanted, expected) in cases {
            assert_eq!(shared(wanted), expected, "{wanted}");
        }
        assert_eq!(shares(&configs, &Demand::from_iter([("a", 3), ("b", 1)])), [2, 1, 1]);
    }
}
