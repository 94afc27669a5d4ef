//! Faults that a verifier of a log's files finds. No server: the files are built from the
//! definitions.

use std::collections::BTreeMap;

use api::event::StateChange;
use audit::{
    tiles::{Content, TilePath, files, put_entry, put_openings},
    verify::{Fault, FilesVerifier, Problem},
};
use tlog_tiles::{Hash, node_hash, record_hash};

use crate::fixture::{ORIGIN, Producer, TestKey, mark_of, openings};

/// A log as files.
#[derive(Clone)]
struct Log {
    files: BTreeMap<TilePath, Vec<u8>>,
    checkpoint: String,
    vkey: String,
    with_detail: bool,
}

/// RFC 6962 §2.1, for a power of two of hashes.
fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        hashes => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(root_of(left), root_of(right))
        }
    }
}

/// RFC 6962 §2.1.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => tlog_tiles::EMPTY_HASH,
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(root(left), root(right))
        }
    }
}

impl Log {
    fn of(changes: &[StateChange], with_detail: bool) -> Self {
        let key = TestKey::new(ORIGIN, 3);
        let mut levels = vec![
            changes
                .iter()
                .map(|change| record_hash(&change.entry))
                .collect::<Vec<_>>(),
        ];
        while levels.last().unwrap().len() >= 256 {
            let next = levels
                .last()
                .unwrap()
                .as_chunks::<256>()
                .0
                .iter()
                .map(|tile| root_of(tile))
                .collect();
            levels.push(next);
        }
        let files = files(changes.len() as u64, with_detail).map(|path| {
            let start = path.n as usize * 256;
            let range = start..start + usize::from(path.width);
            let mut bytes = Vec::new();
            match path.content {
                Content::Hashes(level) => {
                    bytes.extend(levels[usize::from(level)][range].iter().flat_map(|hash| hash.0));
                }
                Content::Entries => changes[range]
                    .iter()
                    .for_each(|change| put_entry(&mut bytes, &change.entry)),
                Content::Details => changes[range].iter().for_each(|change| {
                    put_openings(&mut bytes, openings(change));
                }),
            }
            (path, bytes)
        });
        Self {
            files: files.collect(),
            checkpoint: key.sign(ORIGIN, changes.len() as u64, root(&levels[0]).0),
            vkey: key.vkey.clone(),
            with_detail,
        }
    }

    fn verify(&self) -> Result<u64, Fault> {
        let mut verifier = FilesVerifier::new(&self.checkpoint, &self.vkey, self.with_detail)?;
        for path in verifier.files() {
            let bytes = self.files.get(&path).ok_or_else(|| verifier.missing(path))?;
            verifier.take(path, bytes, |_, _| ())?;
        }
        verifier.finish().map(|head| head.size)
    }

    /// The fault found when a file is changed.
    fn with(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> Fault {
        let mut log = self.clone();
        change(log.files.get_mut(&path.parse().unwrap()).expect("there is such a file"));
        log.verify().expect_err("it was not noticed")
    }
}

/// The index that a fault names.
fn named(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Entry { index, .. }
        | Fault::Leaf { index, .. }
        | Fault::Node { index, .. }
        | Fault::Form { index, .. }
        | Fault::Missing { index, .. } => Some(*index),
        _ => None,
    }
}

fn log_of(entries: usize) -> Log {
    Log::of(&Producer::intake().many(entries), true)
}

/// Marks are entries like changes, and have no opening in a detail bundle.
#[test]
fn p2_a_log_with_marks_verifies_with_its_details_and_without() {
    let mut changes = Producer::intake().many(600);
    for at in [600, 300, 256, 255, 7] {
        changes.insert(at, mark_of("intake", &changes[..at]));
    }
    for with_detail in [false, true] {
        assert_eq!(Log::of(&changes, with_detail).verify().unwrap(), 605);
        let mut fewer = changes.clone();
        fewer.remove(100);
        let fault = Log::of(&fewer, with_detail).verify().unwrap_err();
        let is_found = match with_detail {
            true => matches!(
                fault,
                Fault::Entry {
                    problem: Problem::Mark { .. } | Problem::Sequence { .. },
                    ..
                }
            ),
            false => matches!(
                fault,
                Fault::Entry {
                    index: 255,
                    problem: Problem::Mark {
                        said: 255,
                        found: 254,
                        ..
                    }
                }
            ),
        };
        assert!(is_found, "{fault}");
    }
    // A mark with an opening, and a change without one: the entries alone show neither.
    let mut swapped = changes.clone();
    let opened = swapped[8].clone();
    (swapped[7].chain, swapped[7].detail) = (opened.chain, opened.detail);
    for (log, at) in [
        (swapped, 7),
        (
            {
                let mut bare = changes.clone();
                (bare[9].chain, bare[9].detail) = (None, None);
                bare
            },
            9,
        ),
    ] {
        let fault = Log::of(&log, true).verify().unwrap_err();
        assert!(
            matches!(fault, Fault::Entry { index, problem: Problem::Openings(_) } if index == at),
            "{fault}"
        );
    }
}

#[test]
fn logs_of_every_shape_verify() {
    for entries in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1_000] {
        for with_detail in [false, true] {
            let log = Log::of(&Producer::intake().many(entries), with_detail);
            assert_eq!(log.verify().unwrap(), entries as u64);
        }
    }
}

/// A tile that proofs of a few entries do not need: readers that authenticate only the needed tiles
/// miss it (CVE-2026-56865).
#[test]
fn a_forged_byte_of_tile_0_100_is_noticed_at_size_70000() {
    let log = Log::of(&Producer::intake().many(70_000), false);
    assert_eq!(log.verify().unwrap(), 70_000);
    for at in [0, 4_099, 8_191] {
        let fault = log.with("tile/0/100", |tile| tile[at] ^= 1);
        assert!(
            matches!(fault, Fault::Leaf { index, .. } if index == 25_600 + at as u64 / 32),
            "byte {at}: {fault}"
        );
    }
    // The entry is changed too, so that both agree: the tile above disagrees, whichever file it is
    // in.
    for (path, below) in [
        ("tile/1/000", 65_536),
        ("tile/1/001.p/17", 65_536),
        ("tile/2/000.p/1", 0),
    ] {
        let fault = log.with(path, |tile| tile[7] ^= 1);
        let first = if path == "tile/1/000" { 0 } else { below };
        assert!(
            matches!(fault, Fault::Node { index, .. } if index == first),
            "{path}: {fault}"
        );
    }
}

#[test]
fn a_flipped_bit_in_every_class_of_bytes_is_noticed_where_it_is() {
    let log = log_of(600);
    // Entry 256 is the first of the second bundle. Its fields have these offsets.
    for (class, at) in [
        ("version", 0),
        ("type", 1),
        ("entry id", 5),
        ("version of the id", 8),
        ("time", 25),
        ("length of the source", 26),
        ("source", 29),
        ("chain commitment, first", 33),
        ("chain commitment, last", 64),
        ("detail commitment, first", 65),
        ("detail commitment, last", 96),
    ] {
        let fault = log.with("tile/entries/001", |bundle| bundle[2 + at] ^= 1);
        assert_eq!(named(&fault), Some(256), "{class}: {fault}");
    }
    let chain = Producer::intake().many(600)[256].chain.clone().unwrap().content.len();
    // The length before it: the rest is read at the wrong offset.
    for at in [0, 1] {
        let fault = log.with("tile/entries/001", |bundle| bundle[at] ^= 1);
        assert_eq!(named(&fault), Some(256), "length {at}: {fault}");
    }
    for (path, at, index) in [
        ("tile/0/001", 5 * 32, 261),
        ("tile/0/002.p/88", 87 * 32 + 31, 599),
        ("tile/1/000.p/2", 32, 256),
        // In the first entry's opening: the chain's length, its salt, the chain, the detail's salt,
        // its length, and the detail.
        ("detail/001", 0, 256),
        ("detail/001", 1, 256),
        ("detail/001", 2, 256),
        ("detail/001", 40, 256),
        ("detail/001", 34 + chain, 256),
        ("detail/001", 34 + chain + 32, 256),
        ("detail/001", 34 + chain + 35, 256),
        ("detail/001", 34 + chain + 36, 256),
    ] {
        let fault = log.with(path, |bytes| bytes[at] ^= 0x10);
        assert_eq!(named(&fault), Some(index), "{path}: {fault}");
    }
}

#[test]
fn cut_lengthened_missing_and_exchanged_files_are_noticed() {
    let log = log_of(600);
    for path in log.files.keys() {
        let (path, first) = (path.to_string(), path.start().unwrap());
        for cut in [0, 1, 2, 31, 33, 40] {
            let fault = log.with(&path, |bytes| bytes.truncate(cut));
            assert_eq!(
                named(&fault).map(|index| index / 256),
                Some(first / 256),
                "{path} cut to {cut}: {fault}"
            );
        }
        log.with(&path, |bytes| bytes.truncate(bytes.len() - 1));
        log.with(&path, |bytes| bytes.push(0));
        log.with(&path, |bytes| {
            let again = bytes.clone();
            bytes.extend(again);
        });
        let mut without = log.clone();
        without.files.remove(&path.parse().unwrap());
        let fault = without.verify().unwrap_err();
        assert!(
            matches!(&fault, Fault::Missing { path: missing, index, size: 600 } if missing.to_string() == path && *index == first),
            "{fault}"
        );
    }
    for (a, b, index) in [
        ("tile/entries/000", "tile/entries/001", 0),
        ("tile/0/000", "tile/0/001", 0),
        ("detail/000", "detail/001", 0),
    ] {
        let mut exchanged = log.clone();
        let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
        let (of_a, of_b) = (exchanged.files[&a].clone(), exchanged.files[&b].clone());
        exchanged.files.extend([(a, of_b), (b, of_a)]);
        assert_eq!(named(&exchanged.verify().unwrap_err()), Some(index));
    }
}

#[test]
fn a_checkpoint_of_another_key_origin_or_size_is_noticed() {
    let log = log_of(300);
    let key = TestKey::new(ORIGIN, 3);
    let head = audit::open_checkpoint(&log.checkpoint, &log.vkey).unwrap();
    let with = |checkpoint: String| {
        Log {
            checkpoint,
            ..log.clone()
        }
        .verify()
        .unwrap_err()
    };

    let fault = with(TestKey::new(ORIGIN, 4).sign(ORIGIN, 300, head.root));
    assert!(matches!(fault, Fault::Checkpoint(_)), "{fault}");
    let fault = with(key.sign("remit.test/other", 300, head.root));
    assert!(
        matches!(fault, Fault::Checkpoint(audit::CheckpointError::Origin { .. })),
        "{fault}"
    );
    let fault = with(key.sign(ORIGIN, 0, head.root));
    assert!(matches!(fault, Fault::EmptyRoot), "{fault}");
    // Validly signed as the empty log, which every log once was: the existing entries lie beyond
    // it.
    let empty = key.sign(ORIGIN, 0, tlog_tiles::EMPTY_HASH.0);
    let verifier = FilesVerifier::new(&empty, &log.vkey, true).unwrap();
    assert_eq!(verifier.files().count(), 0);
    let first = *log.files.keys().find(|path| !path.is_within(0)).unwrap();
    let fault = verifier.beyond(first);
    assert!(matches!(fault, Fault::Beyond { index: 0, size: 0, .. }), "{fault}");
    // Larger than the tiles: within the last bundle, in the next, and absurdly large.
    for size in [301, 513, u64::MAX] {
        let fault = with(key.sign(ORIGIN, size, head.root));
        assert!(matches!(fault, Fault::Missing { .. }), "{size}: {fault}");
    }
    // Smaller: extra entries are harmless, but the root differs.
    let fault = with(key.sign(ORIGIN, 256, head.root));
    assert!(
        matches!(fault, Fault::Missing { .. } | Fault::Root { size: 256 }),
        "{fault}"
    );
    let mut root = head.root;
    root[31] ^= 1;
    assert!(matches!(with(key.sign(ORIGIN, 300, root)), Fault::Root { size: 300 }));
    for cut in 0..log.checkpoint.len() {
        if log.checkpoint.is_char_boundary(cut) {
            assert!(
                matches!(with(log.checkpoint[..cut].to_owned()), Fault::Checkpoint(_)),
                "cut at {cut}"
            );
        }
    }
}

/// A holder of the key can sign a rewritten log. Then the tree is sound, and the chains show it.
#[test]
fn p2_a_rewritten_and_resigned_log_shows_its_gaps() {
    let changes = Producer::intake().many(600);
    let without = |gap: usize| {
        let mut changes = changes.clone();
        changes.remove(gap);
        Log::of(&changes, true).verify().unwrap_err()
    };
    for gap in [0, 5, 256, 399] {
        let fault = without(gap);
        assert!(
            matches!(&fault, Fault::Entry { index, problem: Problem::Sequence { .. } } if *index == gap as u64 + 199),
            "{gap}: {fault}"
        );
    }
    let mut doubled = changes.clone();
    doubled.insert(10, changes[9].clone());
    let fault = Log::of(&doubled, true).verify().unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Entry {
                index: 10,
                problem: Problem::Sequence { .. }
            }
        ),
        "{fault}"
    );
    let mut linked_elsewhere = changes.clone();
    linked_elsewhere[300] = crate::fixture::altered(&changes[300], |chain| chain.previous[31] ^= 1);
    let fault = Log::of(&linked_elsewhere, true).verify().unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Entry {
                index: 300,
                problem: Problem::Link { .. }
            }
        ),
        "{fault}"
    );
    let mut lied: Vec<_> = changes;
    lied[77].detail.as_mut().unwrap().content = b"something else".to_vec().into();
    let fault = Log::of(&lied, true).verify().unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Entry {
                index: 77,
                problem: Problem::Detail
            }
        ),
        "{fault}"
    );
}
