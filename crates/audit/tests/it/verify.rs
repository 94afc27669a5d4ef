//! Faults that a verifier of the whole log finds. No server: it has only entries, their openings,
//! and a signed head.

use api::event::StateChange;
use audit::verify::{Fault, LogVerifier, Problem};
use journal::{Content, Entry, EventSet};

use crate::fixture::{ORIGIN, Producer, TestKey, mark_of, openings};

const ENTRIES: usize = 300;

/// A log of 100 records with three entries each, its checkpoint and its verifier key.
fn log() -> (Vec<StateChange>, String, String) {
    let entries = Producer::intake().many(ENTRIES);
    let mut verifier = LogVerifier::new();
    for (index, change) in (0..).zip(&entries) {
        verifier.push_opened(index, &change.entry, openings(change)).unwrap();
    }
    assert_eq!((verifier.size(), verifier.records()), (300, 100));
    let head = verifier.head();

    let key = TestKey::new(ORIGIN, 3);
    let checkpoint = key.sign(ORIGIN, head.size, head.root);
    (entries, checkpoint, key.vkey)
}

/// A sound log up to an entry, and its continuation after that entry was tampered with.
struct Tampered<'a> {
    before: LogVerifier,
    checkpoint: &'a str,
    vkey: &'a str,
}

impl Tampered<'_> {
    /// The first fault when the log continues with these entries under their claimed indexes.
    fn fault<'e>(&self, rest: impl Iterator<Item = (u64, &'e StateChange)>) -> Option<Fault> {
        let mut verifier = self.before.clone();
        for (index, change) in rest {
            if let Err(fault) = verifier.push_opened(index, &change.entry, openings(change)) {
                return Some(fault);
            }
        }
        verifier.finish(self.checkpoint, self.vkey).err()
    }

    /// The first fault when the log continues with these entries as if nothing had happened.
    fn fault_of<'e>(&self, rest: impl IntoIterator<Item = &'e StateChange>) -> Fault {
        self.fault((self.before.size()..).zip(rest))
            .expect("it was not noticed")
    }
}

/// Calls `check` for each entry, with the log before it.
fn for_every_entry(check: impl Fn(usize, &[StateChange], &Tampered<'_>)) {
    let (entries, checkpoint, vkey) = log();
    let mut tampered = Tampered {
        before: LogVerifier::new(),
        checkpoint: &checkpoint,
        vkey: &vkey,
    };
    for (i, change) in entries.iter().enumerate() {
        check(i, &entries, &tampered);
        let before = &mut tampered.before;
        before.push_opened(i as u64, &change.entry, openings(change)).unwrap();
    }
    // The untouched log verifies.
    assert!(tampered.fault([].into_iter()).is_none());
}

fn with_entry(change: &StateChange, alter: impl FnOnce(&mut Vec<u8>)) -> StateChange {
    let mut entry = change.entry.to_vec();
    alter(&mut entry);
    StateChange {
        entry: entry.into(),
        ..change.clone()
    }
}

/// The index in a fault, if it has one.
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
        rest[0] = with_entry(&rest[0], |entry| {
            let at = i * 7 % entry.len();
            entry[at] ^= 1;
        });
        let fault = log.fault_of(&rest);
        // In the entry itself, in the next one of its record, which links to it, or in the root.
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
        // The indexes show the gap.
        let next = i as u64 + 1;
        match log.fault((next..).zip(&entries[i + 1..])).expect("it was not noticed") {
            Fault::Entry {
                index,
                problem: Problem::Index { expected },
            } => assert_eq!((index, expected), (next, i as u64)),
            fault => assert!(
                i == 299 && matches!(fault, Fault::Size { found: 299, size: 300 }),
                "entry {i}: {fault}"
            ),
        }
        // The gap is closed: the record's next entry, moved down by one, shows it.
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
        // For two records only the tree shows it, for one record its chain.
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
        rest[0] = with_entry(&rest[0], |entry| entry.truncate(i % entry.len()));
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

/// Without openings: a re-signed log from which an entry was removed, to which one was added, or in
/// which one was replaced, shows in the producer's next mark.
#[test]
fn p2_a_producers_mark_shows_to_everybody_that_its_entries_are_not_what_they_were() {
    let (mut intake, mut routing) = (Producer::intake(), Producer::new("routing", 2));
    let mut log = Vec::new();
    for i in 0..90 {
        log.push(intake.next(&format!("reports/{}", i % 7)));
        log.push(routing.next(&format!("cases/{}", i % 5)));
        if i % 10 == 9 {
            log.push(mark_of("intake", &log));
        }
        if i == 49 {
            log.push(mark_of("routing", &log));
        }
    }
    let first_fault = |log: &[StateChange]| {
        let mut verifier = LogVerifier::new();
        let faults = (0..)
            .zip(log)
            .find_map(|(index, change)| verifier.push(index, &change.entry).err());
        (faults, verifier)
    };
    let (fault, verifier) = first_fault(&log);
    assert!(fault.is_none());
    let counted = |source: &str| {
        let counted = verifier.producers()[source];
        (
            counted.held.count,
            counted.marked.map(|(count, _)| count),
            counted.marks,
        )
    };
    assert_eq!(
        (counted("intake"), counted("routing")),
        ((90, Some(90), 9), (90, Some(50), 1))
    );

    let of =
        |source: &str, change: &StateChange| change.chain.is_some() && crate::fixture::decoded(change).source == source;
    let is_mark_of = |source: &str, change: &StateChange| {
        let entry = Entry::decode(&change.entry).unwrap();
        change.chain.is_none() && entry.source == source
    };
    let mut stranger = Producer::new("intake", 77);
    for at in 0..log.len() {
        let source = if of("intake", &log[at]) { "intake" } else { "routing" };
        if !of(source, &log[at]) {
            continue;
        }
        let (mut without, mut doubled, mut other) = (log.clone(), log.clone(), log.clone());
        without.remove(at);
        doubled.insert(at, log[at].clone());
        other[at] = match source {
            "intake" => stranger.next("reports/0"),
            _ => Producer::new("routing", 78).next("cases/0"),
        };
        // The next mark of the same source, at its present index; after the last one nothing is
        // confirmed.
        for (log, moved) in [(&without, -1), (&doubled, 1), (&other, 0)] {
            let fault = first_fault(log).0;
            match log
                .iter()
                .enumerate()
                .skip(at)
                .find(|(_, change)| is_mark_of(source, change))
            {
                Some((next, _)) => assert!(
                    matches!(&fault, Some(Fault::Entry { index, problem: Problem::Mark { said, found, .. } })
                        if *index == next as u64 && i64::try_from(*found).unwrap() - i64::try_from(*said).unwrap() == moved),
                    "{at} {moved}: {fault:?}"
                ),
                None => assert!(fault.is_none(), "{at} {moved}: {fault:?}"),
            }
        }
    }
}

/// A mark holds only in its place. A removed one confirms nothing, and the root shows it.
#[test]
fn p2_a_replayed_mark_is_noticed_and_a_missing_one_confirms_nothing() {
    let mut intake = Producer::intake();
    let mut log: Vec<StateChange> = intake.many(6);
    let mark = mark_of("intake", &log);
    log.push(mark.clone());
    log.extend(intake.many_from("later", 3));
    let run = |log: &[StateChange]| {
        let mut verifier = LogVerifier::new();
        let fault = (0..)
            .zip(log)
            .find_map(|(index, change)| verifier.push(index, &change.entry).err());
        (fault, verifier)
    };
    let (fault, whole) = run(&log);
    assert!(fault.is_none());
    let counted = |verifier: &LogVerifier| {
        let counted = verifier.producers()["intake"];
        (
            counted.held.count,
            counted.marked.map(|(count, _)| count),
            counted.marks,
        )
    };
    assert_eq!(counted(&whole), (9, Some(6), 1));

    for at in 0..=log.len() {
        let mut replayed = log.clone();
        replayed.insert(at, mark.clone());
        let (fault, _) = run(&replayed);
        // The correct value stands beside the mark.
        match at {
            6 | 7 => assert!(fault.is_none(), "{at}"),
            _ => assert!(
                matches!(&fault, Some(Fault::Entry { index, problem: Problem::Mark { said: 6, .. } }) if *index == at as u64),
                "{at}: {fault:?}"
            ),
        }
    }
    // The correct count with another sum, and the correct sum with another count.
    let set = |count: u64, seed: u8| {
        let mut set = EventSet::default();
        for change in &log[..6] {
            set.add(&journal::entry_hash(&change.entry));
        }
        set.add(&[seed; 32]);
        set.count = count;
        set
    };
    let right = set(6, 0).hash;
    for (count, hash) in [
        (6, set(6, 1).hash),
        (5, right),
        (7, right),
        (u64::MAX, right),
        (0, right),
    ] {
        let entry = Entry {
            content: Content::Mark(EventSet { count, hash }),
            ..Entry::decode(&mark.entry).unwrap()
        };
        let mut forged = log.clone();
        forged[6].entry = entry.encode().into();
        let (fault, _) = run(&forged);
        assert!(
            matches!(&fault, Some(Fault::Entry { index: 6, problem: Problem::Mark { said, .. } }) if *said == count),
            "{count}: {fault:?}"
        );
    }
    let mut without = log.clone();
    without.remove(6);
    let (fault, verifier) = run(&without);
    assert!(fault.is_none());
    assert_eq!(counted(&verifier), (9, None, 0));
    let key = TestKey::new(ORIGIN, 3);
    let checkpoint = key.sign(ORIGIN, 10, whole.head().root);
    whole.finish(&checkpoint, &key.vkey).unwrap();
    assert!(matches!(
        verifier.finish(&checkpoint, &key.vkey),
        Err(Fault::Size { .. })
    ));
}

/// Details are guessable, so equal ones must not look alike: each commitment has a salt of its own.
#[test]
fn p3_no_two_commitments_share_a_salt() {
    let changes = Producer::intake().many(60);
    let mut salts = std::collections::HashSet::new();
    for change in &changes {
        for opening in [&change.chain, &change.detail] {
            let salt = opening.as_ref().unwrap().salt.to_vec();
            assert_eq!(salt.len(), 32);
            assert!(salts.insert(salt), "a salt occurs twice");
        }
    }
    let details: std::collections::HashSet<_> = changes
        .iter()
        .map(|change| change.detail.as_ref().unwrap().content.clone())
        .collect();
    assert_eq!(details.len(), 1, "all details are equal");
}
