//! The world of `tests/schema`: its components as Rust types, and its snapshot.

use std::{collections::BTreeMap, fs, sync::OnceLock};

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1;

use crate::{repository, run};

/// `spatialdb.v1.Position`.
pub const POSITION: u32 = 1;
/// `spatialdb.v1.Metadata`.
pub const METADATA: u32 = 2;
/// `spatialdb.v1.Interest`.
pub const INTEREST: u32 = 3;
/// `spatialdb.v1.PlayerOwner`.
pub const PLAYER_OWNER: u32 = 4;
/// `spatialdb.v1.WorkerSession`.
pub const WORKER_SESSION: u32 = 6;
/// `probe.Vitals`.
pub const VITALS: u32 = 1000;
/// `probe.Tag`.
pub const TAG: u32 = 1001;
/// `probe.Blob0`; the ten blobs follow each other.
pub const BLOB_FIRST: u32 = 1100;

/// `probe.Vitals`.
#[derive(Clone, PartialEq, Message)]
pub struct Vitals {
    /// A number.
    #[prost(int32, tag = "1")]
    pub hp: i32,
    /// A text.
    #[prost(string, tag = "2")]
    pub label: String,
    /// A truth.
    #[prost(bool, tag = "3")]
    pub alive: bool,
    /// A list.
    #[prost(int32, repeated, tag = "4")]
    pub marks: Vec<i32>,
    /// Bytes.
    #[prost(bytes = "vec", tag = "5")]
    pub seal: Vec<u8>,
    /// One of two.
    #[prost(oneof = "State", tags = "6, 7")]
    pub state: Option<State>,
    /// Messages.
    #[prost(message, repeated, tag = "8")]
    pub legs: Vec<Leg>,
    /// A map.
    #[prost(btree_map = "string, int64", tag = "9")]
    pub stock: BTreeMap<String, i64>,
}

/// `probe.Hit`, event 1 of Vitals.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Hit {
    /// A number.
    #[prost(int32, tag = "1")]
    pub power: i32,
    /// A text.
    #[prost(string, tag = "2")]
    pub by: String,
}

impl Hit {
    /// With that number and nothing else, as it travels.
    pub fn bytes(power: i32) -> Bytes {
        Self { power, by: String::new() }.encode_to_vec().into()
    }
}

/// The arms of `Vitals.state`.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum State {
    /// Field 6.
    #[prost(string, tag = "6")]
    Awake(String),
    /// Field 7.
    #[prost(uint32, tag = "7")]
    AsleepS(u32),
}

/// `probe.Leg`.
#[derive(Clone, PartialEq, Message)]
pub struct Leg {
    /// A text.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(double, tag = "2")]
    pub metres: f64,
}

impl Vitals {
    /// With that number and nothing else.
    pub fn hp(hp: i32) -> Self {
        Self { hp, ..Self::default() }
    }

    /// With something in every field.
    pub fn full() -> Self {
        Self {
            hp: 7,
            label: "seven".to_owned(),
            alive: true,
            marks: vec![1, 2, 3],
            seal: vec![0, 255],
            state: Some(State::Awake("yes".to_owned())),
            legs: vec![Leg { name: "first".to_owned(), metres: 1.5 }],
            stock: BTreeMap::from([("tea".to_owned(), -1)]),
        }
    }

    /// As it travels.
    pub fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

/// A value of `spatialdb.v1.Metadata` as it travels.
pub fn metadata(kind: &str, name: &str) -> Bytes {
    v1::Metadata { r#type: kind.to_owned(), name: name.to_owned() }.encode_to_vec().into()
}

/// The bytes of a snapshot with 64 posts: entities 1 to 64, of Metadata type `post`, on an even grid over
/// -1050..1050 m of space 0, none within 100 m of an axis. New ids start at 1000.
pub fn probe_snapshot() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(make_snapshot).clone()
}

fn make_snapshot() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let (lines, snapshot) = (folder.path().join("probe.jsonl"), folder.path().join("probe.snapshot"));
    let mut text = concat!(
        r#"{"world":"probe","spaces":[{"id":0,"name":"ground"},{"id":7,"name":"cellar"}],"#,
        r#""next_entity_id":"1000"}"#,
        "\n"
    )
    .to_owned();
    for index in 0..64 {
        let at = |step: i32| step * 300 - 1050;
        let (id, x, y) = (index + 1, at(index % 8), at(index / 8));
        text += &format!(
            "{{\"id\":\"{id}\",\"components\":{{\"Position\":{{\"x\":{x},\"y\":{y}}},\
             \"Metadata\":{{\"type\":\"post\",\"name\":\"post {id}\"}}}}}}\n"
        );
    }
    fs::write(&lines, text).expect("written");
    let schema = repository().join("tests/schema");
    let paths = [&lines, &snapshot, &schema].map(|path| path.to_str().expect("text").to_owned());
    let done = run(&["snapshot", "convert", &paths[0], &paths[1], "--schema", &paths[2]]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    fs::read(snapshot).expect("read")
}
