//! A copy of the positions that a session sees, and the rules that its frames must keep.

use std::fmt::Display;

use prost::Message;
use rustc_hash::FxHashMap;
use spatialdb_proto::v1::{ServerMessage, ViewReady, server_message::Body};
use spatialdb_types::Point3;

use super::{
    super::{
        area::Area,
        error::BenchError,
        wire::{Fields, Malformed, Row, Value, Varints, position_rows},
    },
    Truth,
};

// Fields of ServerMessage, Frame and Left.
const FRAME: u32 = 4;
const NUMBER: u32 = 1;
const MORE: u32 = 6;
const ENTERED: u32 = 7;
const LEFT: u32 = 8;
const GONE: u32 = 9;
const POSITIONS: u32 = 10;
const COLUMNS: u32 = 11;
const VIEW_READY: u32 = 12;
const REJECTIONS: u32 = 13;
const REJECTIONS_COLLAPSED: u32 = 14;
const LEFT_ENTITIES: u32 = 2;

/// Why a frame is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It says what cannot be.
    #[error("{0}")]
    Wrong(String),
}

/// What a session has been told.
///
/// It has room for what was ever in view: hundreds of sessions each see little of a large world.
pub(super) struct Replica {
    slots: FxHashMap<u64, Slot>,
    entities: u64,
    in_view: usize,
    // Those that have entered and have no position yet.
    without_value: usize,
    frame: u64,
    /// Rows that told once more what was known.
    pub(super) repeats: u64,
}

/// An entity.
#[derive(Clone, Copy, Default)]
struct Slot {
    // The last revision, which stays below 2^53, and the marks below.
    state: u64,
    at: Point3,
}

const IN_VIEW: u64 = 1 << 63;
const WITHOUT_VALUE: u64 = 1 << 62;
const REVISION: u64 = WITHOUT_VALUE - 1;

impl Replica {
    /// An empty copy of a world of that many entities.
    pub(super) fn new(entities: usize) -> Self {
        let entities = entities as u64;
        Self { slots: FxHashMap::default(), entities, in_view: 0, without_value: 0, frame: 0, repeats: 0 }
    }

    /// Takes in a message of the server; hands over each position that is news. Returns the views that are full as of
    /// it.
    ///
    /// # Errors
    /// It is no frame, or breaks a rule: numbers without gaps; who enters was not there, who leaves was; who is in
    /// view, and nobody else, has positions, with revisions that do not fall.
    pub(super) fn apply(
        &mut self,
        message: &[u8],
        mut each: impl FnMut(Point3),
    ) -> Result<Vec<ViewReady>, Fault> {
        for body in Fields::of(message) {
            if let (FRAME, Value::Bytes(frame)) = body? {
                return self.frame(message, frame, &mut each);
            }
        }
        Err(no_frame(message))
    }

    fn frame(
        &mut self,
        message: &[u8],
        frame: &[u8],
        each: &mut impl FnMut(Point3),
    ) -> Result<Vec<ViewReady>, Fault> {
        let (mut more, mut number, mut ready) = (0, 0, Vec::new());
        // Who enters and leaves counts first, wherever it stands among the bytes.
        for field in Fields::of(frame) {
            match field? {
                (NUMBER, Value::Varint(value)) => number = value,
                (MORE, Value::Varint(value)) => more = value,
                (ENTERED, Value::Bytes(ids)) => Varints::of(ids).try_for_each(|id| self.enter(id?))?,
                (ENTERED, Value::Varint(id)) => self.enter(id)?,
                (LEFT, Value::Bytes(left)) => self.left(left)?,
                (VIEW_READY, Value::Bytes(view)) => {
                    ready.push(ViewReady::decode(view).map_err(|_| no_frame(message))?);
                }
                (GONE | COLUMNS | REJECTIONS | REJECTIONS_COLLAPSED, _) => return Err(no_frame(message)),
                _ => {}
            }
        }
        if number != self.frame + 1 {
            return Err(Fault::Wrong(format!("frame {number} came after {}", self.frame)));
        }
        self.frame = number;
        for field in Fields::of(frame) {
            if let (POSITIONS, Value::Bytes(column)) = field? {
                position_rows(column, |row| {
                    if self.set(&row)? {
                        each(row.at);
                    }
                    Ok::<_, Fault>(())
                })?;
            }
        }
        if more == 0 && self.without_value > 0 {
            let count = self.without_value;
            return Err(Fault::Wrong(format!(
                "{count} entities entered without a position by frame {number}"
            )));
        }
        Ok(ready)
    }

    fn left(&mut self, left: &[u8]) -> Result<(), Fault> {
        for field in Fields::of(left) {
            match field? {
                (LEFT_ENTITIES, Value::Bytes(ids)) => Varints::of(ids).try_for_each(|id| self.leave(id?))?,
                (LEFT_ENTITIES, Value::Varint(id)) => self.leave(id)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn enter(&mut self, entity: u64) -> Result<(), Fault> {
        if !(1..=self.entities).contains(&entity) {
            return Err(Fault::Wrong(format!("entity {entity}, which the world does not have")));
        }
        let slot = self.slots.entry(entity).or_default();
        if slot.state & IN_VIEW != 0 {
            return Err(Fault::Wrong(format!("entity {entity} entered twice")));
        }
        slot.state |= IN_VIEW | WITHOUT_VALUE;
        self.in_view += 1;
        self.without_value += 1;
        Ok(())
    }

    fn leave(&mut self, entity: u64) -> Result<(), Fault> {
        let Some(slot) = self.slots.get_mut(&entity).filter(|slot| slot.state & IN_VIEW != 0) else {
            return Err(Fault::Wrong(format!("entity {entity} left and was not in view")));
        };
        self.without_value -= usize::from(slot.state & WITHOUT_VALUE != 0);
        self.in_view -= 1;
        slot.state &= REVISION;
        Ok(())
    }

    // Returns whether it is news.
    fn set(&mut self, row: &Row) -> Result<bool, Fault> {
        let Some(slot) = self.slots.get_mut(&row.entity) else {
            return Err(Fault::Wrong(format!("{row:?} for an entity that was never in view")));
        };
        let (is_in_view, before) = (slot.state & IN_VIEW != 0, slot.state & REVISION);
        if !is_in_view || row.revision < before || row.revision > REVISION {
            let found = format!("{row:?} for an entity of revision {before}, in view: {is_in_view}");
            return Err(Fault::Wrong(found));
        }
        let (is_first, is_repeated) = (slot.state & WITHOUT_VALUE != 0, row.revision == before);
        if is_repeated && !is_first {
            self.repeats += 1;
            // The same write, so nothing else may be told of it.
            let same = || Fault::Wrong(format!("{row:?} for an entity that is at {:?}", slot.at));
            return if row.at == slot.at { Ok(false) } else { Err(same()) };
        }
        self.without_value -= usize::from(is_first);
        *slot = Slot { state: IN_VIEW | row.revision, at: row.at };
        Ok(true)
    }

    /// Compares with what these areas should show.
    ///
    /// # Errors
    /// How many are missing, wrong or too many, and how the first is.
    pub(super) fn check(&self, who: &str, areas: &[Area], truth: &Truth) -> Result<(), BenchError> {
        let mut expected: Vec<u32> = areas.iter().flat_map(|area| truth.inside(area)).collect();
        expected.sort_unstable();
        expected.dedup();
        let mut wrong = Differences::default();
        for place in expected.iter().map(|place| *place as usize) {
            let at = truth.positions()[place];
            match self.slots.get(&(place as u64 + 1)).filter(|slot| slot.state & IN_VIEW != 0) {
                None => wrong.add(place, &format_args!("is not in view, expected at {at:?}")),
                Some(slot) if slot.at != at => {
                    wrong.add(place, &format_args!("is at {:?}, expected {at:?}", slot.at));
                }
                Some(_) => {}
            }
        }
        // The rest is only looked at where there is one too many.
        if self.in_view + wrong.count > expected.len() {
            let in_view = self.slots.iter().filter(|(_, slot)| slot.state & IN_VIEW != 0);
            for place in in_view.map(|(entity, _)| *entity as u32 - 1) {
                if expected.binary_search(&place).is_err() {
                    wrong.add(place as usize, &"is in view, and should not be");
                }
            }
        }
        let (count, total) = (wrong.count, expected.len());
        let mismatch = |first| Err(BenchError::Mismatch { what: who.to_owned(), count, total, first });
        wrong.first.map_or(Ok(()), mismatch)
    }
}

/// How many entities are wrong, and how the first is.
#[derive(Default)]
struct Differences {
    count: usize,
    first: Option<String>,
}

impl Differences {
    fn add(&mut self, place: usize, how: &dyn Display) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("entity {} {how}", place + 1));
    }
}

// Only the start of it: a frame may tell of a hundred thousand entities.
fn no_frame(message: &[u8]) -> Fault {
    let found = ServerMessage::decode(message).map(|mut message| {
        if let Some(Body::Frame(frame)) = &mut message.body {
            frame.positions.clear();
            frame.entered.clear();
        }
        format!("{message:?}").chars().take(1000).collect::<String>()
    });
    Fault::Wrong(found.unwrap_or_else(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::v1::{Frame, Left, PositionColumn, Rejection};

    use super::*;

    fn column(rows: &[(u64, u64, f64)]) -> PositionColumn {
        PositionColumn {
            entities: rows.iter().map(|row| row.0).collect(),
            revisions: rows.iter().map(|row| row.1).collect(),
            x: rows.iter().map(|row| row.2).collect(),
            y: vec![0.0; rows.len()],
            ..PositionColumn::default()
        }
    }

    fn left(ids: &[u64]) -> Vec<Left> {
        vec![Left { reason: 1, entities: ids.to_vec() }]
    }

    fn apply(replica: &mut Replica, frame: Frame) -> Result<Vec<ViewReady>, Fault> {
        let frame = Frame { frame: replica.frame + 1, ..frame };
        replica.apply(&ServerMessage { body: Some(Body::Frame(frame)) }.encode_to_vec(), |_| ())
    }

    fn filled() -> Replica {
        let mut replica = Replica::new(3);
        let positions = vec![column(&[(1, 5, 1.0)]), column(&[(3, 7, 3.0)])];
        let view_ready = vec![ViewReady { view_id: 9, entity_count: 2 }];
        let frame = Frame { entered: vec![1, 3], positions, view_ready, ..Frame::default() };
        let ready = apply(&mut replica, frame).expect("right");
        assert_eq!((ready[0].view_id, ready[0].entity_count), (9, 2));
        replica
    }

    #[test]
    fn a_replica_is_compared_with_the_truth() {
        let point = |x| Point3::new(x, 0.0, 0.0);
        let truth = Truth::new(vec![point(1.0), point(950.0), point(3.0)]);
        let area = [Area::Square { min: (0.0, 0.0), side_m: 10.0 }];
        let mut replica = filled();
        assert!(replica.check("it", &area, &truth).is_ok());
        let error = replica.check("it", &[Area::FirstIds(2)], &truth).expect_err("one more").to_string();
        assert!(error.contains("2 of 2 are wrong; the first: entity 2 is not in view"), "{error}");
        let error = replica.check("it", &[Area::FirstIds(1)], &truth).expect_err("one too many").to_string();
        assert!(error.contains("entity 3 is in view, and should not be"), "{error}");
        apply(&mut replica, Frame { positions: vec![column(&[(1, 6, 1.5)])], ..Frame::default() })
            .expect("right");
        assert!(replica.check("it", &area, &truth).is_err());
        apply(&mut replica, Frame { left: left(&[1]), ..Frame::default() }).expect("right");
        assert!(replica.check("it", &area, &truth).is_err());
        // It comes back as it was.
        let entered = Frame { entered: vec![1], positions: vec![column(&[(1, 6, 1.0)])], ..Frame::default() };
        apply(&mut replica, entered).expect("right");
        assert!(replica.check("it", &area, &truth).is_ok());
    }

    #[test]
    fn what_is_known_is_no_news() {
        let mut replica = filled();
        let positions = vec![column(&[(1, 5, 1.0), (3, 8, 4.0)])];
        let frame = Frame { frame: 2, positions, ..Frame::default() };
        let mut news = Vec::new();
        let message = ServerMessage { body: Some(Body::Frame(frame)) }.encode_to_vec();
        replica.apply(&message, |at| news.push(at.x)).expect("right");
        assert_eq!((news, replica.repeats), (vec![4.0], 1));
    }

    #[test]
    fn a_frame_that_breaks_a_rule_is_refused() {
        let refused = |frame: Frame| apply(&mut filled(), frame).expect_err("refused").to_string();
        let rows = |rows: &[(u64, u64, f64)]| Frame { positions: vec![column(rows)], ..Frame::default() };
        assert!(refused(rows(&[(1, 4, 1.0)])).contains("revision 5, in view: true"));
        assert!(refused(rows(&[(1, 5, 2.0)])).contains("for an entity that is at"));
        assert!(refused(rows(&[(2, 5, 2.0)])).contains("never in view"));
        let gone = Frame { left: left(&[3]), ..rows(&[(3, 8, 2.0)]) };
        assert!(refused(gone).contains("revision 7, in view: false"));
        let foreign = Frame { entered: vec![4], ..Frame::default() };
        assert!(refused(foreign).contains("entity 4, which the world does not have"));
        assert!(refused(Frame { entered: vec![1], ..rows(&[(1, 6, 2.0)]) }).contains("entered twice"));
        assert!(refused(Frame { entered: vec![2], ..Frame::default() }).contains("without a position"));
        assert!(refused(Frame { left: left(&[2]), ..Frame::default() }).contains("was not in view"));
        let rejections = vec![Rejection { reason: "NOPE".to_owned(), ..Rejection::default() }];
        assert!(refused(Frame { rejections, ..Frame::default() }).contains("NOPE"));
        let late = Frame { frame: 7, ..Frame::default() };
        let late = ServerMessage { body: Some(Body::Frame(late)) }.encode_to_vec();
        assert_eq!(filled().apply(&late, |_| ()), Err(Fault::Wrong("frame 7 came after 1".to_owned())));
        assert!(filled().apply(&[0xff], |_| ()).is_err());
        assert!(filled().apply(&[], |_| ()).is_err());
    }
}
