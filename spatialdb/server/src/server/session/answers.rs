//! Answering what a session asks once, page by page.

use std::collections::BTreeMap;

use bytes::Bytes;
use spatialdb_core::HitRef;
use spatialdb_proto::v1;
use spatialdb_types::Seq;

use crate::server::cuts::Answers;

/// Bytes of a page, about.
const PAGE_BYTES: usize = 256 << 10;

/// About what an entity takes beside its values.
const HIT_BYTES: usize = 48;

/// The pages of an answer.
pub(super) fn pages_of(seq: Seq, answers: &Answers) -> Vec<v1::Answer> {
    let mut pages = Vec::new();
    let mut page = Page::default();
    for (_, hit) in answers.hits() {
        page.push(&hit, answers.is_ordered());
        if page.bytes >= PAGE_BYTES {
            pages.push(std::mem::take(&mut page).finish(seq));
        }
    }
    let mut last = page.finish(seq);
    (last.match_count, last.last) = (answers.match_count(), true);
    pages.push(last);
    pages
}

/// A page in the making.
#[derive(Default)]
struct Page {
    answer: v1::Answer,
    columns: BTreeMap<u32, v1::Column>,
    bytes: usize,
}

impl Page {
    fn push(&mut self, hit: &HitRef<'_>, is_ordered: bool) {
        let entity = hit.entity().0;
        self.bytes += HIT_BYTES;
        self.answer.entities.push(entity);
        if is_ordered {
            self.answer.distances_m.push(hit.distance_squared().sqrt());
        }
        if let Some((at, revision)) = hit.position() {
            let positions = &mut self.answer.positions;
            let column = match positions.iter().position(|column| column.space == at.space.0) {
                Some(i) => &mut positions[i],
                None => {
                    positions.push(v1::PositionColumn { space: at.space.0, ..v1::PositionColumn::default() });
                    positions.last_mut().expect("just pushed")
                }
            };
            column.entities.push(entity);
            column.revisions.push(revision.0);
            column.x.push(at.point.x);
            column.y.push(at.point.y);
            column.z.push(at.point.z);
        }
        for (component, revision, value) in hit.values() {
            let column = self.columns.entry(component.0).or_default();
            column.component = component.0;
            column.entities.push(entity);
            column.revisions.push(revision.0);
            column.values.push(Bytes::copy_from_slice(value));
            self.bytes += HIT_BYTES + value.len();
        }
    }

    fn finish(mut self, seq: Seq) -> v1::Answer {
        self.answer.seq = seq.0;
        self.answer.columns = self.columns.into_values().collect();
        self.answer
    }
}
