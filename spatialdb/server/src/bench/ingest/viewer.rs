//! A viewer of the whole world, slower than its writers, that must end up with exactly what is stored.

use std::time::Duration;

use spatialdb_proto::v1::{Frame, View};
use spatialdb_types::Point3;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::super::{error::BenchError, link::Link, tools};

const CATCH_UP: Duration = Duration::from_secs(15);
const RATE_HZ: f64 = 1.0;

/// A copy of the positions of all entities, kept up to date by frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    positions: Vec<Option<Point3>>,
    /// Rows received.
    pub(super) rows: u64,
    /// Frames received.
    pub(super) frames: u64,
}

impl Replica {
    /// An empty copy of a world of that many entities.
    pub(super) fn new(entities: usize) -> Self {
        Self { positions: vec![None; entities], ..Self::default() }
    }

    /// Takes in a frame.
    pub(super) fn apply(&mut self, frame: &Frame) {
        self.frames += 1;
        for column in &frame.positions {
            self.rows += column.entities.len() as u64;
            for (row, entity) in column.entities.iter().enumerate() {
                let at = |values: &[f64]| values.get(row).copied().unwrap_or_default();
                self.set(*entity, Some(Point3::new(at(&column.x), at(&column.y), at(&column.z))));
            }
        }
        frame.left.iter().flat_map(|left| &left.entities).for_each(|entity| self.set(*entity, None));
    }

    /// Compares with what should be there.
    ///
    /// # Errors
    /// How many are wrong, and how the first is.
    pub(super) fn check(&self, what: &str, expected: &[Point3]) -> Result<(), BenchError> {
        let pairs = self.positions.iter().zip(expected).enumerate();
        let mut wrong = pairs.filter(|(_, (found, expected))| found.as_ref() != Some(*expected));
        let Some((place, (found, expected))) = wrong.next() else { return Ok(()) };
        Err(BenchError::Mismatch {
            what: what.to_owned(),
            count: 1 + wrong.count(),
            total: self.positions.len(),
            first: format!("entity {} is at {found:?}, expected {expected:?}", place + 1),
        })
    }

    /// Notes where an entity is; ids that the world does not have are passed over, and then missed elsewhere.
    pub(super) fn set(&mut self, entity: u64, at: Option<Point3>) {
        let place = usize::try_from(entity).unwrap_or(usize::MAX).wrapping_sub(1);
        if let Some(slot) = self.positions.get_mut(place) {
            *slot = at;
        }
    }
}

/// Attaches the view and fills the replica.
///
/// # Errors
/// The session ends, or does not show every entity.
pub(super) async fn fill(link: &mut Link, replica: &mut Replica) -> Result<(), BenchError> {
    let constraint = Some(tools::everything());
    let view = View { view_id: 1, constraint, rate_hz: RATE_HZ, ..View::default() };
    let entities = replica.positions.len() as u64;
    link.fill_view(view, entities, |frame| replica.apply(frame)).await
}

/// Follows the world; once `finished` tells what was written last, until the replica is equal to it.
///
/// # Errors
/// The session ends, or the replica is not equal in time.
pub(super) async fn follow(
    viewer: Link,
    mut replica: Replica,
    mut finished: oneshot::Receiver<Vec<Point3>>,
) -> Result<Replica, BenchError> {
    // A session lives as long as both of its halves.
    let Link { sender: _sender, mut receiver } = viewer;
    let expected = loop {
        tokio::select! {
            frame = receiver.frame() => replica.apply(&frame?),
            expected = &mut finished => match expected {
                Ok(expected) => break expected,
                // The writers failed, and say why.
                Err(_) => return Ok(replica),
            },
        }
    };
    let deadline = Instant::now() + CATCH_UP;
    while let Err(difference) = replica.check("the viewer's replica", &expected) {
        match timeout_at(deadline, receiver.frame()).await {
            Ok(frame) => replica.apply(&frame?),
            Err(_) => return Err(difference),
        }
    }
    Ok(replica)
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::v1::{Left, PositionColumn};

    use super::*;

    fn frame(entities: &[u64], x: &[f64]) -> Frame {
        let column = PositionColumn {
            entities: entities.to_vec(),
            x: x.to_vec(),
            y: vec![0.0; x.len()],
            ..PositionColumn::default()
        };
        Frame { positions: vec![column], ..Frame::default() }
    }

    #[test]
    fn a_missing_or_stale_entity_is_found() {
        let expected = [Point3::new(1.0, 0.0, 0.0), Point3::new(2.0, 0.0, 0.0)];
        let mut replica = Replica::new(2);
        replica.apply(&frame(&[1, 2, 99], &[1.0, 3.0, 0.0]));
        let error = replica.check("it", &expected).expect_err("stale").to_string();
        assert!(error.starts_with("it: 1 of 2 are wrong; the first: entity 2"), "{error}");
        replica.apply(&frame(&[2], &[2.0]));
        assert!(replica.check("it", &expected).is_ok());
        let left = vec![Left { reason: 2, entities: vec![1] }];
        replica.apply(&Frame { left, ..Frame::default() });
        assert!(replica.check("it", &expected).is_err());
        assert_eq!((replica.frames, replica.rows), (3, 4));
    }
}
