//! What a verifier of the whole log notices. No server here: entries and a signed head are all it has.

use audit::verify::{Fault, LogVerifier, Problem};

use crate::support::{ORIGIN, Producer, TestKey};

const ENTRIES: usize = 300;

/// A log of 100 records with three entries each, its checkpoint and its verifier key.
fn log() -> (Vec<Vec<u8>>, String, String) {
    let entries: Vec<_> = Producer::intake()
        .many(ENTRIES)
        .iter()
        .map(|change| change.entry.to_vec())
        .collect();
    let mut verifier = LogVerifier::new();
    for (index, entry) in (0..).zip(&entries) {
        verifier.push(index, entry).unwrap();
    }
    assert_eq!((verifier.size(), verifier.records()), (300, 100));
    let head = verifier.head();

    let key = TestKey::new(ORIGIN, 3);
    let checkpoint = key.sign(ORIGIN, head.size, head.root);
    (entries, checkpoint, key.vkey)
}

/// A sound log up to an entry, and how it ends after that entry was tampered with.
struct Tampered<'a> {
    before: LogVerifier,
    checkpoint: &'a str,
    vkey: &'a str,
}

impl Tampered<'_> {
    /// The first fault, when the log goes on with these entries under the indexes that they claim.
    fn fault<'e>(&self, rest: impl Iterator<Item = (u64, &'e [u8])>) -> Option<Fault> {
        let mut verifier = self.before.clone();
        for (index, entry) in rest {
            if let Err(fault) = verifier.push(index, entry) {
                return Some(fault);
            }
        }
        verifier.finish(self.checkpoint, self.vkey).err()
    }

    /// The first fault, when the log goes on with these entries as if nothing had happened.
    fn fault_of<'e>(&self, rest: impl IntoIterator<Item = &'e Vec<u8>>) -> Fault {
        self.fault((self.before.size()..).zip(rest.into_iter().map(Vec::as_slice)))
            .expect("it was not noticed")
    }
}

/// Calls `check` for each entry, with the log before it.
fn for_every_entry(check: impl Fn(usize, &[Vec<u8>], &Tampered<'_>)) {
    let (entries, checkpoint, vkey) = log();
    let mut tampered = Tampered {
        before: LogVerifier::new(),
        checkpoint: &checkpoint,
        vkey: &vkey,
    };
    for (i, entry) in entries.iter().enumerate() {
        check(i, &entries, &tampered);
        tampered.before.push(i as u64, entry).unwrap();
    }
    // What is not tampered with verifies.
    assert!(tampered.fault([].into_iter()).is_none());
}

/// The index that a fault names, when it names one.
fn named(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Entry { index, .. } => Some(*index),
        _ => None,
    }
}

#[test]
fn p2_a_flipped_byte_of_any_entry_is_noticed() {
    for_every_entry(|i, entries, log| {
        let mut rest = entries[i..].to_vec();
        let at = i * 7 % rest[0].len();
        rest[0][at] ^= 1;
        let fault = log.fault_of(&rest);
        // In the entry itself, where the record's next one links to it, or by the root.
        match named(&fault) {
            Some(index) => assert!([i, i + 100].contains(&(index as usize)), "entry {i}: {fault}"),
            None => assert!(
                i >= 200 && matches!(fault, Fault::Root { size: 300 }),
                "entry {i}: {fault}"
            ),
        }
    });
}

#[test]
fn p2_any_missing_entry_is_noticed() {
    for_every_entry(|i, entries, log| {
        // The gap shows in the indexes.
        let next = i as u64 + 1;
        match log
            .fault((next..).zip(entries[i + 1..].iter().map(Vec::as_slice)))
            .expect("it was not noticed")
        {
            Fault::Entry {
                index,
                problem: Problem::Index { expected },
            } => assert_eq!((index, expected), (next, i as u64)),
            fault => assert!(
                i == 299 && matches!(fault, Fault::Size { found: 299, size: 300 }),
                "entry {i}: {fault}"
            ),
        }
        // The gap is papered over: the record's next entry shows it, which moved down by one.
        match log.fault_of(&entries[i + 1..]) {
            Fault::Entry {
                index,
                problem: Problem::Sequence { .. },
            } => assert_eq!(index as usize, i + 99),
            fault => assert!(
                i >= 200 && matches!(fault, Fault::Size { found: 299, size: 300 }),
                "entry {i}: {fault}"
            ),
        }
    });
}

#[test]
fn p2_any_two_entries_in_each_others_place_are_noticed() {
    for_every_entry(|i, entries, log| {
        // Of two records only the tree knows, of one record the chain does.
        for (other, by_chain) in [(i + 1, false), (i + 100, true)]
            .into_iter()
            .filter(|(other, _)| *other < 300)
        {
            let mut rest = entries[i..].to_vec();
            rest.swap(0, other - i);
            let fault = log.fault_of(&rest);
            match by_chain {
                true => assert_eq!(named(&fault), Some(i as u64), "{i} and {other}: {fault}"),
                false => assert!(matches!(fault, Fault::Root { size: 300 }), "{i} and {other}: {fault}"),
            }
        }
    });
}

#[test]
fn p2_any_truncation_is_noticed() {
    for_every_entry(|i, entries, log| {
        let fault = log.fault_of(&entries[..0]);
        assert!(
            matches!(fault, Fault::Size { found, size: 300 } if found == i as u64),
            "entry {i}: {fault}"
        );
        // Within the entry.
        let mut rest = entries[i..].to_vec();
        let end = i % rest[0].len();
        rest[0].truncate(end);
        let fault = log.fault_of(&rest);
        assert!(
            matches!(fault, Fault::Entry { index, problem: Problem::Malformed(_) } if index == i as u64),
            "{fault}"
        );
    });
}

#[test]
fn another_key_s_checkpoint_is_not_believed() {
    let (entries, checkpoint, _) = log();
    let other = TestKey::new(ORIGIN, 4).vkey;
    let log = Tampered {
        before: LogVerifier::new(),
        checkpoint: &checkpoint,
        vkey: &other,
    };
    assert!(matches!(log.fault_of(&entries), Fault::Checkpoint(_)));
}
