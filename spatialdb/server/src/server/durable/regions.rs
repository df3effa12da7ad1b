//! The regions of a world in records of the world's log: the last one that has them counts.

use prost::{Message, Oneof};
use spatialdb_core::authority::issuer::{Memory, RememberedNode, RememberedRegion, RememberedShape};
use spatialdb_core::authority::tiling::{Axis, Cut};
use spatialdb_durability::Record;
use spatialdb_types::{Epoch, RegionId, SpaceId};

use super::DataError;

/// Stands beside what was given, and who has attached, whose numbers are others.
#[derive(Clone, PartialEq, Message)]
struct Words {
    #[prost(message, optional, tag = "17")]
    regions: Option<Regions>,
}

#[derive(Clone, PartialEq, Message)]
struct Regions {
    #[prost(uint64, tag = "1")]
    last_region: u64,
    #[prost(message, repeated, tag = "2")]
    shapes: Vec<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(string, tag = "1")]
    layer: String,
    #[prost(uint32, optional, tag = "2")]
    space: Option<u32>,
    #[prost(message, repeated, tag = "3")]
    nodes: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(oneof = "NodeKind", tags = "1, 2, 3")]
    kind: Option<NodeKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum NodeKind {
    #[prost(double, tag = "1")]
    CutX(f64),
    #[prost(double, tag = "2")]
    CutY(f64),
    #[prost(message, tag = "3")]
    Region(Region),
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Region {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(string, optional, tag = "3")]
    owner: Option<String>,
    #[prost(bool, tag = "4")]
    is_pinned: bool,
    #[prost(string, optional, tag = "5")]
    pinned_to: Option<String>,
}

/// As bytes that stand in a record beside others.
pub(super) fn encode(memory: &Memory) -> Vec<u8> {
    let node = |node: &RememberedNode| {
        let kind = match node {
            RememberedNode::Cut(Cut { axis: Axis::X, at }) => NodeKind::CutX(*at),
            RememberedNode::Cut(Cut { axis: Axis::Y, at }) => NodeKind::CutY(*at),
            RememberedNode::Region(region) => NodeKind::Region(Region {
                id: region.region.0,
                epoch: region.epoch.0,
                owner: region.owner.clone(),
                is_pinned: region.is_pinned,
                pinned_to: region.pinned_to.clone(),
            }),
        };
        Node { kind: Some(kind) }
    };
    let shape = |shape: &RememberedShape| Shape {
        layer: shape.layer.clone(),
        space: shape.space.map(|space| space.0),
        nodes: shape.nodes.iter().map(node).collect(),
    };
    let shapes = memory.shapes.iter().map(shape).collect();
    Words { regions: Some(Regions { last_region: memory.last_region.0, shapes }) }.encode_to_vec()
}

/// What a record says of them; `None`: nothing.
///
/// # Errors
/// It is not what was written.
pub(super) fn read(record: &Record) -> Result<Option<Memory>, DataError> {
    let what = || format!("record {} of the world's log", record.seq);
    let words = Words::decode(&*record.body).map_err(|source| DataError::About { what: what(), source })?;
    let node = |node: Node| {
        let cut = |axis, at| RememberedNode::Cut(Cut { axis, at });
        Some(match node.kind? {
            NodeKind::CutX(at) => cut(Axis::X, at),
            NodeKind::CutY(at) => cut(Axis::Y, at),
            NodeKind::Region(region) => RememberedNode::Region(RememberedRegion {
                region: RegionId(region.id),
                epoch: Epoch(region.epoch),
                owner: region.owner,
                is_pinned: region.is_pinned,
                pinned_to: region.pinned_to,
            }),
        })
    };
    let shape = |shape: Shape| RememberedShape {
        layer: shape.layer,
        space: shape.space.map(SpaceId),
        nodes: shape.nodes.into_iter().filter_map(node).collect(),
    };
    Ok(words.regions.map(|regions| Memory {
        last_region: RegionId(regions.last_region),
        shapes: regions.shapes.into_iter().map(shape).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use spatialdb_durability::{LogSeq, Term};

    use super::super::about::{Attached, AttachedSession, Given};
    use super::*;

    #[test]
    fn all_that_a_record_says_stands_beside_each_other() {
        let region = |id, owner: Option<&str>| {
            let owner = owner.map(str::to_owned);
            let (region, epoch) = (RegionId(id), Epoch(id + 40));
            let (is_pinned, pinned_to) = (id == 2, (id == 2).then(|| "bob".to_owned()));
            RememberedNode::Region(RememberedRegion { region, epoch, owner, is_pinned, pinned_to })
        };
        let cut = |axis, at| RememberedNode::Cut(Cut { axis, at });
        let nodes = vec![
            cut(Axis::X, -1.5),
            region(1, Some("ann")),
            cut(Axis::Y, 2.0),
            region(2, None),
            region(3, Some("")),
        ];
        let shape = |space, nodes| RememberedShape { layer: "walk".to_owned(), space, nodes };
        let shapes = vec![shape(Some(SpaceId(0)), nodes), shape(None, vec![region(9, None)])];
        let memory = Memory { last_region: RegionId(9), shapes };
        let given = Given { entity_ids: 1, revisions: 2, epochs: 3, sessions: 4 };
        let session = AttachedSession { session: 5, worker_type: "sim".to_owned(), name: "ann".to_owned() };
        let attached = Attached { sessions: vec![session] };
        let body = [given.encode_to_vec(), attached.encode_to_vec(), encode(&memory)].concat();
        let record = |body| Record { seq: LogSeq(1), term: Term(1), unix_us: 0, body };
        let whole = record(body);
        assert_eq!(read(&whole).expect("read"), Some(memory));
        assert_eq!(
            (Given::read(&whole).expect("read"), Attached::read(&whole).expect("read")),
            (given, attached)
        );
        assert_eq!(read(&record(given.encode_to_vec())).expect("read"), None);
        assert!(read(&record(vec![0x8a, 0x01, 0xff])).is_err());
    }
}
