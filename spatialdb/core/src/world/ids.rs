//! Entity ids: given once, to one worker, and never again.

use std::collections::{BTreeMap, VecDeque};

use spatialdb_types::{EntityId, Error, ID_END, Limits, Reason};

/// A worker, whichever session it has now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// What kind of worker.
    pub worker_type: String,
    /// Which one.
    pub name: String,
}

/// Gives out entity ids and knows which were used.
#[derive(Debug)]
pub struct Ids {
    next: u64,
    /// Ids from there on may not be given yet.
    end: u64,
    reserve_max: u64,
    blocks_max: u64,
    blocks_remembered_max: u64,
    requests_max: u64,
    request_id_bytes_max: u64,
    /// Reserved blocks by their first id.
    blocks: BTreeMap<u64, Block>,
    block_counts: BTreeMap<Owner, u64>,
    /// What creates with a request id were answered.
    requests: BTreeMap<(Owner, String), Vec<EntityId>>,
    request_order: VecDeque<(Owner, String)>,
}

#[derive(Debug)]
struct Block {
    owner: Owner,
    count: u64,
    /// One bit per id that was created; empty once all were.
    used: Vec<u64>,
    used_count: u64,
}

impl Block {
    const fn is_used_up(&self) -> bool {
        self.used_count == self.count
    }
}

/// What a create may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAnswer {
    /// The id of each row.
    pub entities: Vec<EntityId>,
    /// Whether each row is to be made; the others were made by an earlier request.
    pub fresh: Vec<bool>,
}

impl Ids {
    pub(super) const fn new(next: EntityId, limits: &Limits) -> Self {
        Self {
            next: if next.0 == 0 { 1 } else { next.0 },
            end: ID_END,
            reserve_max: limits.reserve_ids_max,
            blocks_max: limits.reserved_blocks_max,
            blocks_remembered_max: limits.reserved_blocks_remembered_max,
            requests_max: limits.create_requests_remembered_max,
            request_id_bytes_max: limits.request_id_bytes_max,
            blocks: BTreeMap::new(),
            block_counts: BTreeMap::new(),
            requests: BTreeMap::new(),
            request_order: VecDeque::new(),
        }
    }

    /// The first id that nobody was given.
    pub const fn next(&self) -> EntityId {
        EntityId(self.next)
    }

    /// Ids below that one may be given: whoever keeps the world has seen to it that they are not given again.
    pub fn allow(&mut self, end: EntityId) {
        self.end = end.0.min(ID_END);
    }

    /// Reserves a block of ids. Returns the first.
    ///
    /// # Errors
    /// `LIMIT_REACHED` naming `reserve_ids_max`, `reserved_blocks_max` or the end of ids; nothing is reserved.
    pub fn reserve(&mut self, owner: &Owner, count: u64) -> Result<EntityId, Error> {
        if count == 0 || count > self.reserve_max {
            let detail =
                format!("{count} ids asked for; 1 to reserve_ids_max = {} are given", self.reserve_max);
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let blocks = self.block_counts.get(owner).copied().unwrap_or(0);
        if blocks >= self.blocks_max {
            let detail = format!(
                "worker {} {} has {blocks} blocks with unused ids; reserved_blocks_max = {}",
                owner.worker_type, owner.name, self.blocks_max
            );
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let first = self.give(count)?;
        let used = vec![0; count.div_ceil(64) as usize];
        self.blocks.insert(first.0, Block { owner: owner.clone(), count, used, used_count: 0 });
        *self.block_counts.entry(owner.clone()).or_default() += 1;
        if self.blocks.len() as u64 > self.blocks_remembered_max
            && let Some((_, oldest)) = self.blocks.pop_first()
            && !oldest.is_used_up()
        {
            self.forget_open_block(&oldest.owner);
        }
        Ok(first)
    }

    /// Ids for a create whose ids the server gives. With a request id a retry gets the first answer.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` if the request id came with another count; `LIMIT_REACHED`. Nothing is given then.
    pub fn create(&mut self, owner: &Owner, request_id: &str, count: u64) -> Result<CreateAnswer, Error> {
        if request_id.len() as u64 > self.request_id_bytes_max {
            let detail = format!(
                "request_id has {} bytes; request_id_bytes_max = {}",
                request_id.len(),
                self.request_id_bytes_max
            );
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let key = (owner.clone(), request_id.to_owned());
        if let Some(entities) = self.requests.get(&key) {
            if entities.len() as u64 != count {
                let detail = format!(
                    "request_id {request_id:?} came with {} rows before, with {count} now",
                    entities.len()
                );
                return Err(Error::new(Reason::RequestIdReused, detail));
            }
            return Ok(CreateAnswer { entities: entities.clone(), fresh: vec![false; entities.len()] });
        }
        let first = self.give(count)?.0;
        let entities: Vec<EntityId> = (first..first + count).map(EntityId).collect();
        if !request_id.is_empty() {
            self.remember(key, entities.clone());
        }
        Ok(CreateAnswer { fresh: vec![true; entities.len()], entities })
    }

    /// Uses an id that the worker chose. Returns whether it is fresh; if not, an earlier create used it.
    ///
    /// # Errors
    /// `ID_NOT_RESERVED` if the id is not in a block of this worker.
    pub fn choose(&mut self, owner: &Owner, entity: EntityId) -> Result<bool, Error> {
        let block = self.blocks.range_mut(..=entity.0).next_back();
        let Some((&first, block)) =
            block.filter(|(first, b)| entity.0 - **first < b.count && b.owner == *owner)
        else {
            let detail = format!(
                "entity {entity} is in no block that worker {} {} has reserved",
                owner.worker_type, owner.name
            );
            return Err(Error::new(Reason::IdNotReserved, detail));
        };
        if block.is_used_up() {
            return Ok(false);
        }
        let at = entity.0 - first;
        let (word, bit) = ((at / 64) as usize, 1 << (at % 64));
        if block.used[word] & bit != 0 {
            return Ok(false);
        }
        block.used[word] |= bit;
        block.used_count += 1;
        if block.is_used_up() {
            self.join_used_up(first);
            self.forget_open_block(owner);
        }
        Ok(true)
    }

    /// A block that is used up stays, so that retries are known, but joined with the one before and after it.
    fn join_used_up(&mut self, first: u64) {
        let Some(mut block) = self.blocks.remove(&first) else { return };
        block.used = Vec::new();
        let mut first = first;
        let joins = |other: &Block| other.is_used_up() && other.owner == block.owner;
        if let Some((&start, before)) = self.blocks.range(..first).next_back()
            && start + before.count == first
            && joins(before)
        {
            (first, block.count) = (start, block.count + before.count);
            self.blocks.remove(&start);
        }
        let end = first + block.count;
        let joins = |other: &Block| other.is_used_up() && other.owner == block.owner;
        if let Some(count) = self.blocks.get(&end).filter(|after| joins(after)).map(|after| after.count) {
            block.count += count;
            self.blocks.remove(&end);
        }
        block.used_count = block.count;
        self.blocks.insert(first, block);
    }

    fn forget_open_block(&mut self, owner: &Owner) {
        if let Some(count) = self.block_counts.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.block_counts.remove(owner);
            }
        }
    }

    fn give(&mut self, count: u64) -> Result<EntityId, Error> {
        let first = self.next;
        if count > ID_END - first {
            let detail = format!("{count} ids asked for; only {} are left below 2^53", ID_END - first);
            return Err(Error::new(Reason::LimitReached, detail));
        }
        if count > self.end.saturating_sub(first) {
            let detail = format!(
                "{count} ids asked for; {} may be given until more are set aside on disk",
                self.end.saturating_sub(first)
            );
            return Err(Error::new(Reason::LimitReached, detail));
        }
        self.next = first + count;
        Ok(EntityId(first))
    }

    fn remember(&mut self, key: (Owner, String), entities: Vec<EntityId>) {
        while self.request_order.len() as u64 >= self.requests_max {
            if let Some(oldest) = self.request_order.pop_front() {
                self.requests.remove(&oldest);
            }
        }
        self.request_order.push_back(key.clone());
        self.requests.insert(key, entities);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner { worker_type: "t".to_owned(), name: name.to_owned() }
    }

    fn ids() -> Ids {
        let limits = Limits {
            reserve_ids_max: 100,
            reserved_blocks_max: 2,
            create_requests_remembered_max: 2,
            ..Limits::default()
        };
        Ids::new(EntityId(10), &limits)
    }

    #[test]
    fn a_retry_gets_the_first_answer() {
        let mut ids = ids();
        let first = ids.create(&owner("a"), "r1", 3).expect("given");
        assert_eq!(first.entities, [EntityId(10), EntityId(11), EntityId(12)]);
        let again = ids.create(&owner("a"), "r1", 3).expect("given");
        assert_eq!((again.entities, again.fresh), (first.entities, vec![false; 3]));
        assert_eq!(ids.create(&owner("a"), "r1", 4).expect_err("reused").reason, Reason::RequestIdReused);
        assert_eq!(ids.create(&owner("b"), "r1", 1).expect("other worker").fresh, [true]);
        assert_eq!(ids.create(&owner("a"), "", 1).expect("given").entities, [EntityId(14)]);
    }

    #[test]
    fn the_oldest_request_is_forgotten_first() {
        let mut ids = ids();
        for request in ["r1", "r2", "r3"] {
            ids.create(&owner("a"), request, 1).expect("given");
        }
        assert_eq!(ids.create(&owner("a"), "r3", 1).expect("given").fresh, [false]);
        assert_eq!(ids.create(&owner("a"), "r1", 1).expect("given").fresh, [true]);
    }

    #[test]
    fn only_the_owner_chooses_from_a_block_and_each_id_once() {
        let mut ids = ids();
        let first = ids.reserve(&owner("a"), 2).expect("reserved");
        assert_eq!(ids.choose(&owner("a"), first), Ok(true));
        assert_eq!(ids.choose(&owner("a"), first), Ok(false));
        assert_eq!(ids.choose(&owner("b"), first).expect_err("other").reason, Reason::IdNotReserved);
        assert_eq!(
            ids.choose(&owner("a"), EntityId(first.0 + 2)).expect_err("past").reason,
            Reason::IdNotReserved
        );
    }

    #[test]
    fn limits_are_named() {
        let mut ids = ids();
        assert!(ids.reserve(&owner("a"), 101).expect_err("too many").detail.contains("reserve_ids_max"));
        assert!(ids.reserve(&owner("a"), 0).is_err());
        let block = ids.reserve(&owner("a"), 1).expect("one");
        ids.reserve(&owner("a"), 1).expect("two");
        assert!(ids.reserve(&owner("a"), 1).expect_err("three").detail.contains("reserved_blocks_max"));
        ids.choose(&owner("a"), block).expect("chosen");
        ids.reserve(&owner("a"), 1).expect("a used up block does not count");
        for count in [1, 2] {
            let next = ids.reserve(&owner("b"), count).expect("reserved");
            (next.0..next.0 + count)
                .for_each(|id| assert_eq!(ids.choose(&owner("b"), EntityId(id)), Ok(true)));
            assert_eq!(ids.choose(&owner("b"), next), Ok(false));
        }
        assert_eq!(
            ids.blocks.values().filter(|b| b.owner == owner("b")).count(),
            1,
            "used up blocks are joined"
        );
        let mut few = Ids::new(EntityId(10), &Limits::default());
        few.allow(EntityId(12));
        assert!(few.create(&owner("a"), "", 3).expect_err("too many").detail.contains("2 may be given"));
        assert_eq!(few.create(&owner("a"), "", 2).expect("given").entities, [EntityId(10), EntityId(11)]);
        let end = Ids::new(EntityId(ID_END - 1), &Limits::default()).create(&owner("a"), "", 2);
        assert_eq!(end.expect_err("end of ids").reason, Reason::LimitReached);
    }
}
