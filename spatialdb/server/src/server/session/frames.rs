//! From the core's frames to the wire's.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use spatialdb_core::{Event, FrameBody, LeaveReason, PositionRows, Rejection, Rows, SharedRows, ValueRows};
use spatialdb_proto::{Encoded, Outgoing, v1, wire_code};

use super::density;

/// A frame of one message, but for what the session's task knows: its number and the time.
#[derive(Debug, Default)]
pub(super) struct Piece {
    frame: v1::Frame,
    /// Rows that others are told too.
    shared: Vec<Arc<SharedRows>>,
    bytes: usize,
}

/// Bytes of frames: the difference is what sharing saves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) encoded: usize,
    pub(super) sent: usize,
}

impl Piece {
    /// The message, numbered by the session's task.
    pub(super) fn into_message(self, number: impl FnOnce(&mut v1::Frame)) -> Outgoing {
        let mut frame = self.frame;
        number(&mut frame);
        Outgoing::frame(frame, self.shared.into_iter().map(|rows| rows as Encoded).collect())
    }
}

/// The frames that tell the same: one, unless it would pass `bytes_max`.
pub(super) fn pieces_of(body: FrameBody, bytes_max: usize, traffic: &mut Traffic) -> Vec<Piece> {
    let (frame, shared) = frame_of(body);
    let mut shared_bytes = 0;
    for rows in &shared {
        let encode = |rows: &Rows| {
            let bytes = encode(rows);
            traffic.encoded += bytes.len();
            bytes
        };
        shared_bytes += rows.encoded(encode).len();
    }
    let own = frame.encoded_len();
    traffic.encoded += own;
    traffic.sent += own + shared_bytes;
    if own + shared_bytes <= bytes_max {
        return vec![Piece { frame, shared, bytes: own + shared_bytes }];
    }
    split(frame, shared, bytes_max)
}

/// Rows as fields of a frame.
fn encode(rows: &Rows) -> Box<[u8]> {
    let mut frame = v1::Frame::default();
    match rows.clone() {
        Rows::Positions(rows) => frame.positions.push(position_column(rows)),
        Rows::Values(rows) => frame.columns.push(value_column(rows)),
    }
    frame.encode_to_vec().into()
}

fn frame_of(body: FrameBody) -> (v1::Frame, Vec<Arc<SharedRows>>) {
    let frame = v1::Frame {
        applied_seq: body.applied.0,
        more: body.more,
        entered: body.entered.into_iter().map(|e| e.0).collect(),
        left: left_of(&body.left),
        gone: body
            .gone
            .into_iter()
            .map(|(component, entities)| v1::ComponentEntities {
                component: component.0,
                entities: entities.into_iter().map(|e| e.0).collect(),
            })
            .collect(),
        positions: body.positions.into_iter().map(position_column).collect(),
        columns: body.columns.into_iter().map(value_column).collect(),
        densities: body.densities.into_iter().map(density::column).collect(),
        view_ready: body
            .view_ready
            .into_iter()
            .map(|(view, entity_count)| v1::ViewReady { view_id: view.0, entity_count })
            .collect(),
        events: event_columns(body.events),
        events_missed: body
            .missed
            .counts()
            .map(|(kind, count)| v1::EventsMissed { component: kind.component.0, event: kind.event.0, count })
            .collect(),
        rejections: body.outcome.rejections.into_iter().map(rejection_of).collect(),
        rejections_collapsed: body
            .outcome
            .collapsed
            .into_iter()
            .map(|(reason, count)| v1::RejectionCount { reason: reason.name().to_owned(), count })
            .collect(),
        ..v1::Frame::default()
    };
    (frame, body.shared)
}

fn left_of(left: &[(spatialdb_types::EntityId, LeaveReason)]) -> Vec<v1::Left> {
    let reasons = [
        (LeaveReason::OutOfView, v1::LeaveReason::OutOfView),
        (LeaveReason::Deleted, v1::LeaveReason::Deleted),
    ];
    let with = |(reason, wire): (LeaveReason, v1::LeaveReason)| {
        let entities: Vec<u64> = left.iter().filter(|(_, r)| *r == reason).map(|(e, _)| e.0).collect();
        (!entities.is_empty()).then_some(v1::Left { reason: wire as i32, entities })
    };
    reasons.into_iter().filter_map(with).collect()
}

fn position_column(rows: PositionRows) -> v1::PositionColumn {
    v1::PositionColumn {
        space: rows.space.0,
        entities: rows.entities.into_iter().map(|e| e.0).collect(),
        revisions: rows.revisions.into_iter().map(|r| r.0).collect(),
        x: rows.x,
        y: rows.y,
        z: rows.z,
    }
}

fn value_column(rows: ValueRows) -> v1::Column {
    let all = Bytes::from(rows.bytes);
    let mut start = 0;
    let values = rows
        .ends
        .iter()
        .map(|&end| {
            let value = all.slice(start..end as usize);
            start = end as usize;
            value
        })
        .collect();
    v1::Column {
        component: rows.component.0,
        entities: rows.entities.into_iter().map(|e| e.0).collect(),
        revisions: rows.revisions.into_iter().map(|r| r.0).collect(),
        values,
        fields: Vec::new(),
    }
}

/// Events in order: those of one kind that follow each other are one column.
fn event_columns(events: Vec<Event>) -> Vec<v1::EventColumn> {
    let mut columns = Vec::new();
    for Event { entity, kind, payload, .. } in events {
        push_event(&mut columns, kind.component.0, kind.event.0, entity.0, Bytes::from_owner(payload));
    }
    columns
}

fn push_event(columns: &mut Vec<v1::EventColumn>, component: u32, event: u32, entity: u64, payload: Bytes) {
    let same = columns.last().is_some_and(|last| (last.component, last.event) == (component, event));
    if !same {
        columns.push(v1::EventColumn { component, event, ..v1::EventColumn::default() });
    }
    if let Some(column) = columns.last_mut() {
        column.entities.push(entity);
        column.payloads.push(payload);
    }
}

fn rejection_of(rejection: Rejection) -> v1::Rejection {
    v1::Rejection {
        seq: rejection.seq.0,
        column: rejection.column,
        row: rejection.row,
        code: wire_code(rejection.reason.code()) as i32,
        reason: rejection.reason.name().to_owned(),
        entity: rejection.entity.0,
        component: rejection.component.0,
        detail: rejection.detail,
    }
}

/// Splits a frame that is too large, as one entity with very large values makes it, into frames that follow each other.
/// A single value always fits, since `value_bytes_max` is below `frame_bytes_max`; so do shared rows.
fn split(mut frame: v1::Frame, shared: Vec<Arc<SharedRows>>, bytes_max: usize) -> Vec<Piece> {
    let applied_seq = frame.applied_seq;
    let last_more = frame.more;
    let columns = std::mem::take(&mut frame.columns);
    let positions = std::mem::take(&mut frame.positions);
    let densities = std::mem::take(&mut frame.densities);
    let events = std::mem::take(&mut frame.events);
    // What ends the set goes with its last pieces: what happened to an entity that leaves comes before it has left.
    let view_ready = std::mem::take(&mut frame.view_ready);
    let left = std::mem::take(&mut frame.left);
    let lists = id_lists(&mut frame, bytes_max / 16);
    let of_ids = |frame: v1::Frame| Piece { bytes: frame.encoded_len(), frame, shared: Vec::new() };
    let mut pieces = vec![of_ids(frame)];
    pieces.extend(lists.into_iter().map(of_ids));
    for column in positions {
        for column in pieces_of_positions(&column, bytes_max / 64) {
            room(&mut pieces, bytes_max, column.encoded_len()).frame.positions.push(column);
        }
    }
    for column in densities {
        for column in density::pieces_of(&column, bytes_max / 64) {
            room(&mut pieces, bytes_max, column.encoded_len()).frame.densities.push(column);
        }
    }
    for column in columns {
        for i in 0..column.entities.len() {
            let column = v1::Column {
                component: column.component,
                entities: vec![column.entities[i]],
                revisions: vec![column.revisions[i]],
                values: vec![column.values[i].clone()],
                fields: Vec::new(),
            };
            room(&mut pieces, bytes_max, column.encoded_len()).frame.columns.push(column);
        }
    }
    for rows in shared {
        room(&mut pieces, bytes_max, (*rows).as_ref().len()).shared.push(rows);
    }
    for column in events {
        for (entity, payload) in column.entities.into_iter().zip(column.payloads) {
            let (component, event) = (column.component, column.event);
            let piece = room(&mut pieces, bytes_max, EVENT_HEAD_BYTES + payload.len());
            push_event(&mut piece.frame.events, component, event, entity, payload);
        }
    }
    for v1::Left { reason, entities } in left {
        for ids in entities.chunks(bytes_max / 64) {
            let left = v1::Left { reason, entities: ids.to_vec() };
            room(&mut pieces, bytes_max, left.encoded_len()).frame.left.push(left);
        }
    }
    let last = pieces.len() - 1;
    pieces[last].frame.view_ready = view_ready;
    for (i, piece) in pieces.iter_mut().enumerate() {
        piece.frame.applied_seq = applied_seq;
        piece.frame.more = i < last || last_more;
    }
    pieces
}

/// Takes the lists of ids out of a frame that has more than `ids_max` of them, as frames of that many at most.
fn id_lists(frame: &mut v1::Frame, ids_max: usize) -> Vec<v1::Frame> {
    let gone = frame.gone.iter().map(|gone| gone.entities.len());
    if frame.entered.len() + gone.sum::<usize>() <= ids_max {
        return Vec::new();
    }
    let mut pieces = Vec::new();
    for ids in std::mem::take(&mut frame.entered).chunks(ids_max) {
        pieces.push(v1::Frame { entered: ids.to_vec(), ..v1::Frame::default() });
    }
    for v1::ComponentEntities { component, entities } in std::mem::take(&mut frame.gone) {
        let of = |ids: &[u64]| vec![v1::ComponentEntities { component, entities: ids.to_vec() }];
        pieces
            .extend(entities.chunks(ids_max).map(|ids| v1::Frame { gone: of(ids), ..v1::Frame::default() }));
    }
    pieces
}

/// Room left in a frame for the fields that every frame has, and for the tags and the length of each column.
const HEADROOM_BYTES: usize = 256;
const COLUMN_HEAD_BYTES: usize = 16;

/// What an event takes beside its payload, if it is a column of its own.
const EVENT_HEAD_BYTES: usize = 32;

/// The piece that has room for so many bytes more, which it counts.
fn room(pieces: &mut Vec<Piece>, bytes_max: usize, bytes: usize) -> &mut Piece {
    let bytes = bytes + COLUMN_HEAD_BYTES;
    let has_room = pieces.last().is_some_and(|piece| piece.bytes + bytes + HEADROOM_BYTES <= bytes_max);
    let at = if has_room { pieces.len() - 1 } else { pieces.len() };
    pieces.resize_with(at + 1, Piece::default);
    pieces[at].bytes += bytes;
    &mut pieces[at]
}

fn pieces_of_positions(column: &v1::PositionColumn, rows: usize) -> Vec<v1::PositionColumn> {
    let all: Vec<usize> = (0..column.entities.len()).collect();
    all.chunks(rows.max(1))
        .map(|chunk| {
            let (from, to) = (chunk[0], chunk[chunk.len() - 1] + 1);
            v1::PositionColumn {
                space: column.space,
                entities: column.entities[from..to].to_vec(),
                revisions: column.revisions[from..to].to_vec(),
                x: column.x[from..to].to_vec(),
                y: column.y[from..to].to_vec(),
                z: column.z[from..to].to_vec(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pieces: Vec<Piece>) -> Vec<v1::Frame> {
        pieces.into_iter().map(|piece| piece.frame).collect()
    }

    #[test]
    fn a_large_entity_takes_several_frames_and_loses_nothing() {
        let value = |n: u8| Bytes::from(vec![n; 200_000]);
        let column = |component, n| v1::Column {
            component,
            entities: vec![7],
            revisions: vec![u64::from(n)],
            values: vec![value(n)],
            fields: vec![],
        };
        let frame = v1::Frame {
            applied_seq: 5,
            entered: vec![7],
            columns: (0..10).map(|n| column(1000 + u32::from(n), n)).collect(),
            view_ready: vec![v1::ViewReady { view_id: 1, entity_count: 1 }],
            ..v1::Frame::default()
        };
        let pieces = frames(split(frame.clone(), Vec::new(), 1 << 20));
        assert!(pieces.len() > 1 && pieces.iter().all(|p| p.encoded_len() <= 1 << 20));
        assert_eq!(pieces[0].entered, [7]);
        assert_eq!(pieces.iter().map(|p| p.more).collect::<Vec<_>>(), [true, false]);
        assert!(pieces[0].view_ready.is_empty());
        assert_eq!(pieces[pieces.len() - 1].view_ready, frame.view_ready);
        let columns: Vec<_> = pieces.into_iter().flat_map(|p| p.columns).collect();
        assert_eq!(columns, frame.columns);
    }

    #[test]
    fn a_mass_of_squares_takes_several_frames() {
        let squares: Vec<i32> = (0..100_000).map(|n| i32::MIN + n).collect();
        let counts: Vec<u64> = (0..100_000).map(|n| (1 << 40) + n).collect();
        let (x, y) = (squares.clone(), squares);
        let column =
            v1::DensityColumn { view_id: 3, square_m: 16.0, r#type: "post".to_owned(), x, y, counts };
        let frame = v1::Frame { densities: vec![column.clone()], ..v1::Frame::default() };
        let pieces = frames(split(frame, Vec::new(), 1 << 20));
        assert!(pieces.len() > 1 && pieces.iter().all(|p| p.encoded_len() <= 1 << 20));
        let columns: Vec<_> = pieces.into_iter().flat_map(|p| p.densities).collect();
        assert!(columns.iter().all(|c| (c.view_id, c.square_m, &*c.r#type) == (3, 16.0, "post")));
        assert_eq!(columns.iter().flat_map(|c| c.x.clone()).collect::<Vec<_>>(), column.x);
        assert_eq!(columns.iter().flat_map(|c| c.y.clone()).collect::<Vec<_>>(), column.y);
        assert_eq!(columns.iter().flat_map(|c| c.counts.clone()).collect::<Vec<_>>(), column.counts);
    }

    #[test]
    fn a_mass_of_events_takes_several_frames_in_order_and_before_what_leaves() {
        let column = |event: u32, n: u64| v1::EventColumn {
            component: 1000,
            event,
            entities: (0..n).collect(),
            payloads: (0..n).map(|i| Bytes::from(vec![i as u8; 1000])).collect(),
        };
        let events = vec![column(1, 2000), column(2, 10), column(1, 1500)];
        let left = vec![v1::Left { reason: 1, entities: vec![5] }];
        let frame = v1::Frame { left: left.clone(), events: events.clone(), ..v1::Frame::default() };
        let pieces = frames(split(frame, Vec::new(), 1 << 20));
        assert!(pieces.len() > 1 && pieces.iter().all(|p| p.encoded_len() <= 1 << 20));
        assert_eq!(pieces[pieces.len() - 1].left, left);
        assert!(pieces[..pieces.len() - 1].iter().all(|p| p.left.is_empty() && p.more));
        let mut told = Vec::new();
        for column in pieces.into_iter().flat_map(|p| p.events) {
            for (entity, payload) in column.entities.into_iter().zip(column.payloads) {
                push_event(&mut told, column.component, column.event, entity, payload);
            }
        }
        assert_eq!(told, events);
    }

    #[test]
    fn a_mass_of_ids_takes_several_frames() {
        let entities: Vec<u64> = (1..=300_000).map(|id| (1 << 50) + id).collect();
        let left = vec![v1::Left { reason: 1, entities: entities.clone() }];
        let frame = v1::Frame { left, entered: vec![7], ..v1::Frame::default() };
        let pieces = frames(split(frame, Vec::new(), 1 << 20));
        assert!(pieces.iter().all(|p| p.encoded_len() <= 1 << 20));
        let told: Vec<u64> = pieces.iter().flat_map(|p| &p.left).flat_map(|l| l.entities.clone()).collect();
        assert_eq!(told, entities);
        assert_eq!(pieces.iter().flat_map(|p| p.entered.clone()).collect::<Vec<_>>(), [7]);
    }
}
