//! Every record of a log is flipped, deleted, reordered and cut in turn; all of it must be noticed.
//!
//! Incrementally: the log before an entry is verified once and kept, and each tampering is judged
//! by the entries up to the latest point where it must show: the end of its bundle, where the tile
//! differs, or, if the tile was rebuilt too, the tile above or the root. `REMIT_TAMPERED` is the
//! number of entries: 10,000 for the whole test (`make test-slow`), fewer otherwise.

use api::event::StateChange;
use audit::{
    tiles::{Content, TilePath, put_entry, take_entry},
    verify::{Fault, FilesVerifier},
};
use tlog_tiles::record_hash;

use crate::fixture::{ORIGIN, Producer, TestKey};

/// Tampers with a log of a few entries, in seconds.
const SAMPLE: usize = 520;

fn size() -> usize {
    std::env::var("REMIT_TAMPERED").map_or(SAMPLE, |size| size.parse().expect("REMIT_TAMPERED is a number"))
}

/// The bundles of a log and their leaf tiles.
struct Log {
    checkpoint: String,
    vkey: String,
    bundles: Vec<(TilePath, Vec<u8>, Vec<u8>)>,
}

fn log(changes: &[StateChange]) -> Log {
    let mut verifier = audit::verify::LogVerifier::new();
    for (index, change) in (0..).zip(changes) {
        verifier.push(index, &change.entry).unwrap();
    }
    let (key, head) = (TestKey::new(ORIGIN, 3), verifier.head());
    let bundles = changes.chunks(256).zip(0..).map(|(changes, n)| {
        let (mut entries, mut leaves) = (Vec::new(), Vec::new());
        for change in changes {
            put_entry(&mut entries, &change.entry);
            leaves.extend_from_slice(&record_hash(&change.entry).0);
        }
        let width = u16::try_from(changes.len()).unwrap();
        let path = TilePath {
            content: Content::Entries,
            n,
            width,
        };
        (path, leaves, entries)
    });
    Log {
        checkpoint: key.sign(ORIGIN, head.size, head.root),
        bundles: bundles.collect(),
        vkey: key.vkey,
    }
}

fn tile(path: TilePath) -> TilePath {
    TilePath {
        content: Content::Hashes(0),
        ..path
    }
}

/// The fault found in one bundle with these bytes.
fn judge(before: &FilesVerifier, path: TilePath, leaves: &[u8], entries: &[u8]) -> Option<Fault> {
    let mut verifier = before.clone();
    let taken = verifier.take(tile(path), leaves, |_, _| ());
    taken.and_then(|()| verifier.take(path, entries, |_, _| ())).err()
}

fn bundle(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| put_entry(&mut bytes, entry));
    bytes
}

#[test]
fn p2_whatever_is_done_to_any_entry_is_noticed_where_it_was_done() {
    let changes = Producer::intake().many(size());
    let log = log(&changes);
    let mut before = FilesVerifier::new(&log.checkpoint, &log.vkey, false).unwrap();
    let mut tampered = 0_u64;
    for (path, leaves, bytes) in &log.bundles {
        let mut rest = &bytes[..];
        let entries: Vec<_> = std::iter::from_fn(|| take_entry(&mut rest)).collect();
        assert!(judge(&before, *path, leaves, bytes).is_none());
        for at in 0..entries.len() {
            let index = path.n * 256 + at as u64;
            let mut noticed = |what: &str, bytes: &[u8], from: u64| {
                let fault = judge(&before, *path, leaves, bytes);
                let named = match &fault {
                    Some(Fault::Leaf { index, .. } | Fault::Form { index, .. } | Fault::Entry { index, .. }) => *index,
                    other => panic!("{what} of entry {index} was not noticed: {other:?}"),
                };
                assert_eq!(named, from, "{what} of entry {index}: {fault:?}");
                tampered += 1;
            };
            // Another byte of each entry, so that all are covered.
            let entry = entries[at];
            let place = at * 7 % entry.len();
            let mut flipped = entry.to_vec();
            flipped[place] ^= 1 << (at % 8);
            let with = |entry: &[u8]| bundle(&[&entries[..at], &[entry], &entries[at + 1..]].concat());
            noticed("a flip", &with(&flipped), index);
            noticed("a cut", &with(&entry[..place]), index);
            noticed(
                "a deletion",
                &bundle(&[&entries[..at], &entries[at + 1..]].concat()),
                index,
            );
            noticed(
                "a repetition",
                &bundle(&[&entries[..=at], &entries[at..]].concat()),
                index + 1,
            );
            let mut swapped = entries.clone();
            let other = if at + 1 < entries.len() { at + 1 } else { 0 };
            swapped.swap(at, other);
            noticed("an exchange", &bundle(&swapped), path.n * 256 + at.min(other) as u64);
            noticed("the end", &bundle(&entries[..at]), index);
        }
        before.take(tile(*path), leaves, |_, _| ()).unwrap();
        before.take(*path, bytes, |_, _| ()).unwrap();
    }
    assert_eq!(tampered, 6 * changes.len() as u64);
}

/// The leaf hashes of a bundle, rebuilt by whoever tampers.
fn leaves(entries: &[&[u8]]) -> Vec<u8> {
    entries.iter().flat_map(|entry| record_hash(entry).0).collect()
}

/// The fault found in one bundle and its tile, both rebuilt: by the entries themselves, or by the
/// hashes above them.
fn judge_rebuilt(before: &FilesVerifier, path: TilePath, entries: &[&[u8]], above: &[u8]) -> Option<Fault> {
    let mut verifier = before.clone();
    let taken = verifier.take(tile(path), &leaves(entries), |_, _| ());
    let taken = taken.and_then(|()| verifier.take(path, &bundle(entries), |_, _| ()));
    let judged = taken.and_then(|()| match path.is_full() {
        // As much of it as the log has so far.
        true => {
            let parent = TilePath {
                content: Content::Hashes(1),
                n: 0,
                width: u16::try_from(path.n + 1).unwrap(),
            };
            verifier.take(parent, &above[..usize::from(parent.width) * 32], |_, _| ())
        }
        false => verifier.finish().map(drop),
    });
    judged.err()
}

#[test]
fn p2_whatever_is_done_to_any_entry_is_noticed_when_its_tile_was_made_anew() {
    let changes = Producer::intake().many(size());
    assert!(changes.len() < 65_536, "more would need more tiles above");
    let log = log(&changes);
    let all: Vec<&[u8]> = changes.iter().map(|change| &*change.entry).collect();
    let above: Vec<u8> = all
        .chunks_exact(256)
        .flat_map(|entries| {
            let hashes: Vec<_> = entries.iter().map(|entry| record_hash(entry).0).collect();
            audit::Edge::empty().grow(&hashes).unwrap().0.head().root
        })
        .collect();
    let mut before = FilesVerifier::new(&log.checkpoint, &log.vkey, false).unwrap();
    let (mut tampered, mut by_the_tree) = (0, 0);
    for ((path, leaves, bytes), entries) in log.bundles.iter().zip(all.chunks(256)) {
        let fault = judge_rebuilt(&before, *path, entries, &above);
        // Nothing was changed: only the last bundle can show that the log ends there.
        assert!(fault.is_none(), "{fault:?}");
        let first = path.n * 256;
        let next = all.get(entries.len() + usize::try_from(first).unwrap());
        for at in 0..entries.len() {
            let entry = entries[at];
            let mut flipped = entry.to_vec();
            flipped[at * 7 % entry.len()] ^= 1 << (at % 8);
            let last = entries.len() - 1;
            let mut swapped = entries.to_vec();
            swapped.swap(at, if at < last { at + 1 } else { 0 });
            let mut done = vec![
                ("a flip", [&entries[..at], &[&flipped], &entries[at + 1..]].concat()),
                ("an exchange", swapped),
            ];
            if at < last {
                done.push(("a repetition", [&entries[..=at], &entries[at..last]].concat()));
            }
            if let Some(next) = next {
                done.push(("a deletion", [&entries[..at], &entries[at + 1..], &[next]].concat()));
            }
            for (what, entries) in done {
                let index = first + at as u64;
                match judge_rebuilt(&before, *path, &entries, &above) {
                    Some(Fault::Entry { index, .. }) => assert!((first..first + 256).contains(&index), "{what}"),
                    Some(Fault::Node { index, .. }) if index == first && path.is_full() => by_the_tree += 1,
                    Some(Fault::Root { .. }) if !path.is_full() => by_the_tree += 1,
                    other => panic!("{what} of entry {index} was not noticed as it should be: {other:?}"),
                }
                tampered += 1;
            }
        }
        before.take(tile(*path), leaves, |_, _| ()).unwrap();
        before.take(*path, bytes, |_, _| ()).unwrap();
    }
    assert!(
        tampered > 3 * changes.len() && by_the_tree > changes.len() / 2,
        "{tampered}, {by_the_tree}"
    );
}
