//! The storages there are.

use spatialdb_durability::{FaultyKeys, KeyedStorage, Keys, MemoryKeys};

/// A kind of storage.
pub(crate) trait Kind {
    type Keys: Keys + 'static;

    /// An empty one, and what is to live as long as it.
    fn begin() -> (Self, KeyedStorage<Self::Keys>)
    where
        Self: Sized;

    /// The same, closed and opened anew.
    fn reopen(&self, storage: KeyedStorage<Self::Keys>) -> KeyedStorage<Self::Keys>;
}

pub(crate) struct Memory;

impl Kind for Memory {
    type Keys = MemoryKeys;

    fn begin() -> (Self, KeyedStorage<MemoryKeys>) {
        (Self, KeyedStorage::new(MemoryKeys::default()))
    }

    fn reopen(&self, storage: KeyedStorage<MemoryKeys>) -> KeyedStorage<MemoryKeys> {
        KeyedStorage::new(storage.into_keys())
    }
}

/// It comes back as after a crash of the machine.
pub(crate) struct Faulty;

impl Kind for Faulty {
    type Keys = FaultyKeys;

    fn begin() -> (Self, KeyedStorage<FaultyKeys>) {
        (Self, KeyedStorage::new(FaultyKeys::default()))
    }

    fn reopen(&self, storage: KeyedStorage<FaultyKeys>) -> KeyedStorage<FaultyKeys> {
        KeyedStorage::new(storage.into_keys().crashed())
    }
}

#[cfg(feature = "rocksdb")]
pub(crate) mod rocks {
    use spatialdb_durability::{Directory, RocksKeys};

    use super::*;

    pub(crate) struct Rocks(tempfile::TempDir);

    impl Rocks {
        fn open(&self) -> KeyedStorage<RocksKeys> {
            let directory = Directory::take(self.0.path()).expect("nobody else has it");
            KeyedStorage::new(RocksKeys::open(directory).expect("whole"))
        }
    }

    impl Kind for Rocks {
        type Keys = RocksKeys;

        fn begin() -> (Self, KeyedStorage<RocksKeys>) {
            let kind = Self(tempfile::tempdir().expect("a folder"));
            let storage = kind.open();
            (kind, storage)
        }

        fn reopen(&self, storage: KeyedStorage<RocksKeys>) -> KeyedStorage<RocksKeys> {
            drop(storage);
            self.open()
        }
    }
}
