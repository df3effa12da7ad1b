//! Snapshots that are damaged or wrong: one clear line, and never a half-loaded world.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use spatialdb_schema::Schema;
use spatialdb_snapshots::{Header, SpaceEntry, Writer, WriterOptions};
use spatialdb_tests::{METADATA, Process, VITALS, probe_snapshot, repository, run, spatialdb};
use spatialdb_types::{ComponentId, EntityId, Position, SpaceId};

const TRAILER: usize = 68;

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize
}

/// Where the parts of a file with one block are.
struct Parts {
    block: usize,
    footer: usize,
    trailer: usize,
}

fn parts(file: &[u8]) -> Parts {
    let trailer = file.len() - TRAILER;
    Parts { block: 16 + u32_at(file, 12) + 4, footer: u32_at(file, trailer + 8), trailer }
}

/// Both `verify` and `launch` refuse the file with the same line, which names all the parts.
fn refused(what: &str, file: &[u8], says: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.snapshot");
    fs::write(&path, file).expect("written");
    let path = path.to_str().expect("text");
    let verify = run(&["snapshot", "verify", path]);
    let launch = run(&["launch", path, "--listen", "127.0.0.1:0"]);
    for done in [&verify, &launch] {
        assert_eq!(done.code, Some(65), "{what}: {}", done.stderr);
        assert_eq!(done.stdout, "", "{what}: nothing is served or called right");
        assert_eq!(done.stderr.lines().count(), 1, "{what}: {}", done.stderr);
        assert!(done.stderr.starts_with(&format!("error: {path}: ")), "{what}: {}", done.stderr);
        for part in says {
            assert!(done.stderr.contains(part), "{what}: {:?} names {part:?}", done.stderr);
        }
    }
    assert_eq!(verify.stderr, launch.stderr, "{what}");
}

#[test]
fn cut_off_files_are_refused() {
    let whole = probe_snapshot();
    let Parts { block, footer, trailer } = parts(&whole);
    let cases: [(usize, &[&str]); 12] = [
        (0, &["header"]),
        (5, &["header"]),
        (8, &["header", "cut off"]),
        (15, &["header", "cut off"]),
        (100, &["header", "cut off"]),
        (block - 1, &["header", "cut off"]),
        (block, &["trailer"]),
        (block + 20, &["trailer"]),
        (footer, &["trailer"]),
        (trailer - 1, &["trailer"]),
        (whole.len() - 60, &["trailer"]),
        (whole.len() - 1, &["trailer"]),
    ];
    for (length, says) in cases {
        refused(&format!("cut at {length}"), &whole[..length], says);
    }
    let longer = [&whole[..], b"\0"].concat();
    refused("one byte more", &longer, &["trailer"]);
}

#[test]
fn flipped_bits_are_refused_with_the_part() {
    let whole = probe_snapshot();
    let Parts { block, footer, trailer } = parts(&whole);
    let offset = format!("block 0 at offset {block}");
    let cases: [(&str, usize, &str); 18] = [
        ("magic", 0, "not a snapshot"),
        ("version", 8, "version"),
        ("header length", 12, "header"),
        ("header length, its highest byte", 15, "header"),
        ("world name", 18, "header"),
        ("schema", block - 60, "header"),
        ("header checksum", block - 1, "header"),
        ("block length", block, &offset),
        ("block raw length", block + 4, &offset),
        ("block checksum", block + 8, &offset),
        ("block contents", block + 12, &offset),
        ("block end", footer - 1, &offset),
        ("entity count", footer, "footer"),
        ("footer end", trailer - 1, "footer"),
        ("file length", trailer, "trailer"),
        ("footer offset", trailer + 8, "trailer"),
        ("digest", trailer + 30, "trailer"),
        ("end mark", whole.len() - 1, "trailer"),
    ];
    for (what, at, says) in cases {
        let mut file = whole.clone();
        file[at] ^= 0x10;
        refused(what, &file, &[says]);
    }
}

#[test]
fn another_version_is_refused_with_both() {
    let mut file = probe_snapshot();
    file[8..12].copy_from_slice(&7_u32.to_le_bytes());
    refused("version 7", &file, &["format version 7", "reads version 1"]);
}

/// The id of an entity, a component and its bytes.
type Row<'a> = (u64, u32, &'a [u8]);

/// A file whose checksums are right, with these entities in blocks of one.
fn write(path: &Path, entities: &[Row]) {
    let schema = Schema::compile(&[repository().join("tests/schema")]).expect("it compiles");
    let spaces = vec![SpaceEntry { id: 0, name: "ground".to_owned() }];
    let options = WriterOptions { block_entities: 1, ..WriterOptions::default() };
    let mut writer = Writer::create(path, Header::new("forged", spaces, &schema), options).expect("a file");
    for (id, component, value) in entities {
        let at = Position::new(SpaceId(0), *id as f64, 0.0, 0.0);
        writer
            .push(EntityId(*id), Some(at), [(ComponentId(*component), *value)])
            .expect("it takes any bytes");
    }
    writer.finish().expect("written");
}

#[test]
fn contents_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("forged.snapshot");
    let good: Row = (1, METADATA, b"\x12\x01a");
    let cases: [(&str, [Row; 2], &[&str]); 4] = [
        ("payload", [good, (2, VITALS, b"\x0a\x01x")], &["block 1", "entity 2", "probe.Vitals", "hp"]),
        ("text", [good, (2, VITALS, b"\x12\x01\xff")], &["block 1", "entity 2", "probe.Vitals", "label"]),
        ("component", [good, (2, 4242, b"")], &["block 1", "entity 2", "4242"]),
        ("twice", [good, (1, METADATA, b"")], &["block 1", "entity 1", "block 0"]),
    ];
    for (what, entities, says) in cases {
        write(&path, &entities);
        refused(what, &fs::read(&path).expect("read"), says);
    }
}

#[test]
fn a_schema_that_does_not_fit_the_snapshot_is_told_field_by_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = folder.path().join("probe.snapshot");
    fs::write(&snapshot, probe_snapshot()).expect("written");
    let probe = fs::read_to_string(repository().join("tests/schema/probe.proto")).expect("read");
    fs::create_dir(folder.path().join("schema")).expect("made");
    let changed = probe.replace("int32 hp = 1;", "string hp = 1;");
    assert_ne!(changed, probe);
    fs::write(folder.path().join("schema/probe.proto"), changed).expect("written");
    fs::write(folder.path().join("world.toml"), "[world]\nschema = [\"schema\"]\n").expect("written");
    let config = folder.path().join("world.toml");
    let (snapshot, config) = (snapshot.to_str().expect("text"), config.to_str().expect("text"));
    let done = run(&["launch", snapshot, "--listen", "127.0.0.1:0", "--config", config]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(65), ""));
    for part in [snapshot, "probe.Vitals", "hp", "int32", "string"] {
        assert!(done.stderr.contains(part), "{:?} names {part:?}", done.stderr);
    }
}

#[test]
fn nothing_is_answered_while_a_damaged_world_loads() {
    let mut file = fs::read(repository().join("snapshots/earth.snapshot")).expect("read");
    let footer = parts(&file).footer;
    // In the last block: most of the world is loaded before it is found.
    file[footer - 9] ^= 1;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("earth.snapshot");
    fs::write(&path, file).expect("written");
    let address = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address");
    let listen = address.to_string();
    let args = ["launch", path.to_str().expect("text"), "--listen", &listen];
    let mut process = Process::start(&mut spatialdb(&args));
    while process.is_running() {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) else {
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        // It may be gone already.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut answer = [0; 64];
        let count = stream.read(&mut answer).unwrap_or(0);
        assert_eq!(count, 0, "it answered: {}", String::from_utf8_lossy(&answer[..count]));
    }
    let done = process.finish();
    assert_eq!(done.code, Some(65));
    assert!(done.stderr.lines().count() == 1 && done.stderr.contains("block "), "{}", done.stderr);
}
