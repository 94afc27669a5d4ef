//! Exports to a folder, and receipts.

use std::path::Path;

use api::event::StateChange;
use audit::{
    export::{ExportError, Folder},
    receipt::{NotAReceipt, Receipt},
    tiles::files,
    verify::{Fault, FilesVerifier, LogVerifier},
};
use journal::Bytes32;
use tlog_tiles::{Hash, record_hash};

use crate::fixture::{ORIGIN, Producer, TestKey, decoded, openings};

/// The checkpoint of a log.
fn checkpoint(changes: &[StateChange]) -> String {
    let mut verifier = LogVerifier::new();
    for (index, change) in (0..).zip(changes) {
        verifier.push(index, &change.entry).unwrap();
    }
    let head = verifier.head();
    TestKey::new(ORIGIN, 3).sign(ORIGIN, head.size, head.root)
}

fn vkey() -> String {
    TestKey::new(ORIGIN, 3).vkey
}

fn open(folder: &Path, of: &[StateChange], with_detail: bool) -> Result<Folder, ExportError> {
    Folder::open(folder, &checkpoint(of), &vkey(), with_detail)
}

/// Pushes missing entries, up to `until`.
fn push(folder: &mut Folder, changes: &[StateChange], until: usize) {
    let from = folder.size() as usize;
    for change in &changes[from.min(until)..until] {
        folder.push(&change.entry, openings(change)).unwrap();
    }
}

fn export(folder: &Path, changes: &[StateChange], with_detail: bool) -> Result<u64, ExportError> {
    let mut open = open(folder, changes, with_detail)?;
    push(&mut open, changes, changes.len());
    open.finish().map(|head| head.size)
}

fn verify(folder: &Path, with_detail: bool) -> Result<u64, Fault> {
    let read = |path: &str| std::fs::read(folder.join(path)).ok();
    let key = String::from_utf8(read("vkey").unwrap()).unwrap();
    let note = String::from_utf8(read("checkpoint").unwrap()).unwrap();
    let mut verifier = FilesVerifier::new(&note, &key, with_detail)?;
    for path in verifier.files() {
        let bytes = read(&path.to_string()).ok_or_else(|| verifier.missing(path))?;
        verifier.take(path, &bytes, |_, _| ())?;
    }
    verifier.finish().map(|head| head.size)
}

#[test]
fn a_folder_grows_with_the_log_and_verifies_at_each_step() {
    let changes = Producer::intake().many(70_000);
    for with_detail in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        for size in [0, 1, 3, 255, 256, 256, 300, 512, 1_000, 65_536, 70_000] {
            assert_eq!(
                export(folder.path(), &changes[..size], with_detail).unwrap(),
                size as u64
            );
            assert_eq!(verify(folder.path(), with_detail).unwrap(), size as u64);
        }
        // Partial files that have become full are removed.
        assert!(!folder.path().join("tile/entries/000.p").exists());
        assert!(files(70_000, with_detail).all(|file| folder.path().join(file.to_string()).exists()));
    }
}

#[test]
fn an_interrupted_export_goes_on_where_it_was() {
    let changes = Producer::intake().many(2_000);
    for with_detail in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        export(folder.path(), &changes[..300], with_detail).unwrap();
        let mut interrupted = open(folder.path(), &changes, with_detail).unwrap();
        push(&mut interrupted, &changes, 1_500);
        drop(interrupted);
        // The folder still matches its checkpoint.
        assert_eq!(verify(folder.path(), with_detail).unwrap(), 300);
        let again = open(folder.path(), &changes, with_detail).unwrap();
        assert_eq!(again.size(), 1_280);
        drop(again);
        // A truncated bundle is fetched again.
        let cut = folder.path().join("tile/entries/003");
        std::fs::write(&cut, &std::fs::read(&cut).unwrap()[..999]).unwrap();
        assert_eq!(open(folder.path(), &changes, with_detail).unwrap().size(), 768);
        // So is a bundle with malformed entries.
        let other = std::fs::read(folder.path().join("tile/entries/002")).unwrap();
        std::fs::write(&cut, [&other[..2], &[9], &other[3..]].concat()).unwrap();
        assert_eq!(open(folder.path(), &changes, with_detail).unwrap().size(), 768);
        assert_eq!(export(folder.path(), &changes, with_detail).unwrap(), 2_000);
        assert_eq!(verify(folder.path(), with_detail).unwrap(), 2_000);
    }
}

#[test]
fn an_export_can_aim_at_a_newer_checkpoint_and_at_no_older_one() {
    let changes = Producer::intake().many(700);
    let folder = tempfile::tempdir().unwrap();
    let mut open = open(folder.path(), &changes[..600], true).unwrap();
    push(&mut open, &changes, 300);
    let older = open.aim(&checkpoint(&changes[..599])).unwrap_err();
    assert!(
        matches!(
            older,
            ExportError::Behind {
                folder: 600,
                server: 599
            }
        ),
        "{older}"
    );
    let strangers = TestKey::new(ORIGIN, 4).sign(ORIGIN, 700, [7; 32]);
    assert!(matches!(open.aim(&strangers), Err(ExportError::Fault(_))));
    assert_eq!(open.target().size, 600);
    open.aim(&checkpoint(&changes)).unwrap();
    push(&mut open, &changes, 700);
    assert_eq!(open.finish().unwrap().size, 700);
    assert_eq!(verify(folder.path(), true).unwrap(), 700);
}

#[test]
fn what_does_not_continue_the_folder_gets_no_checkpoint() {
    let changes = Producer::intake().many(1_000);
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), &changes[..600], false).unwrap();

    // The server lags, or was restored to an earlier state.
    let error = open(folder.path(), &changes[..599], false).unwrap_err();
    assert!(
        matches!(
            error,
            ExportError::Behind {
                folder: 600,
                server: 599
            }
        ),
        "{error}"
    );
    // Another log under the same key: its past was rewritten.
    let other = Producer::new("intake", 9).many(1_000);
    let error = export(folder.path(), &other, false).unwrap_err();
    assert!(
        matches!(error, ExportError::Fault(Fault::Root { size: 1_000 })),
        "{error}"
    );
    assert_eq!(verify(folder.path(), false).unwrap(), 600);
    // The files it left are read, found wrong and discarded; then the true log is fetched.
    assert!(matches!(
        export(folder.path(), &changes, false),
        Err(ExportError::Fault(Fault::Root { .. }))
    ));
    assert_eq!(export(folder.path(), &changes, false).unwrap(), 1_000);
    assert_eq!(verify(folder.path(), false).unwrap(), 1_000);

    // Too few entries, another key, a false detail, and damage in the folder itself.
    let mut few = open(folder.path(), &Producer::intake().many(1_100), false).unwrap();
    push(&mut few, &Producer::intake().many(1_100), 1_050);
    assert!(matches!(
        few.finish(),
        Err(ExportError::Fault(Fault::Size {
            found: 1_050,
            size: 1_100
        }))
    ));
    let stranger = TestKey::new(ORIGIN, 4).sign(ORIGIN, 1_000, [0; 32]);
    let error = Folder::open(folder.path(), &stranger, &vkey(), false).unwrap_err();
    assert!(matches!(error, ExportError::Fault(Fault::Checkpoint(_))), "{error}");
    let error = open(folder.path(), &changes, true).unwrap_err();
    assert!(matches!(error, ExportError::Details { has: false, .. }), "{error}");
    let lies = tempfile::tempdir().unwrap();
    let mut lied = open(lies.path(), &changes, true).unwrap();
    // An opening of another entry, no opening, and a correct chain with a wrong detail.
    assert!(lied.push(&changes[0].entry, openings(&changes[1])).is_err());
    assert!(lied.push(&changes[0].entry, None).is_err());
    let half = journal::Openings {
        detail: openings(&changes[1]).unwrap().detail,
        ..openings(&changes[0]).unwrap()
    };
    assert!(lied.push(&changes[0].entry, Some(half)).is_err());
    assert!(matches!(
        open(lies.path(), &changes, true),
        Err(ExportError::Busy { .. })
    ));
    let last = folder.path().join("tile/entries/003.p/232");
    let mut bytes = std::fs::read(&last).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&last, bytes).unwrap();
    assert!(matches!(
        open(folder.path(), &changes, false),
        Err(ExportError::Damaged { .. })
    ));
}

/// The key that signed the folder's checkpoint may have been replaced. A checkpoint signed by the
/// new key covers the same entries.
#[test]
fn a_folder_goes_on_whoever_signed_its_checkpoint_and_only_as_the_same_log() {
    let changes = Producer::intake().many(1_000);
    let (folder, new) = (tempfile::tempdir().unwrap(), TestKey::new(ORIGIN, 4));
    let head = |changes| audit::open_checkpoint(&checkpoint(changes), &vkey()).unwrap();
    let signed = |name: &str, key: &TestKey| key.sign(name, 1_000, head(&changes).root);
    let open = |note: &str, key: &TestKey| Folder::open(folder.path(), note, &key.vkey, true);
    export(folder.path(), &changes[..600], true).unwrap();

    // Another log under the old checkpoint, or another tree: the fault is the folder's.
    let other = TestKey::new("remit.test/other", 4);
    let error = open(&signed("remit.test/other", &other), &other).unwrap_err();
    assert!(matches!(error, ExportError::OtherLog { .. }), "{error}");
    assert!(
        error.to_string().contains(&folder.path().display().to_string()),
        "{error}"
    );
    let own = std::fs::read_to_string(folder.path().join("checkpoint")).unwrap();
    for damaged in [
        "no note".to_owned(),
        TestKey::new(ORIGIN, 3).sign(ORIGIN, 600, [7; 32]),
        TestKey::new(ORIGIN, 3).sign(ORIGIN, 599, head(&changes[..599]).root),
    ] {
        std::fs::write(folder.path().join("checkpoint"), damaged).unwrap();
        let error = open(&signed(ORIGIN, &new), &new).unwrap_err();
        assert!(
            matches!(error, ExportError::Damaged { .. } | ExportError::File { .. }),
            "{error}"
        );
    }
    std::fs::write(folder.path().join("checkpoint"), own).unwrap();

    let mut continued = open(&signed(ORIGIN, &new), &new).unwrap();
    assert_eq!(continued.size(), 600);
    push(&mut continued, &changes, 1_000);
    assert_eq!(continued.finish().unwrap().size, 1_000);
    assert_eq!(verify(folder.path(), true).unwrap(), 1_000);
}

/// A receipt for an entry of a small log, built from the definition.
fn receipt(changes: &[StateChange], index: usize) -> Receipt {
    fn path(leaves: &[Hash], at: usize, into: &mut Vec<Bytes32>) {
        if leaves.len() > 1 {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let (mine, at, sibling) = match at < left.len() {
                true => (left, at, right),
                false => (right, at - left.len(), left),
            };
            path(mine, at, into);
            into.push(root(sibling).0);
        }
    }
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [leaf] => *leaf,
            leaves => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                tlog_tiles::node_hash(root(left), root(right))
            }
        }
    }
    let leaves: Vec<_> = changes.iter().map(|change| record_hash(&change.entry)).collect();
    let mut hashes = Vec::new();
    path(&leaves, index, &mut hashes);
    Receipt {
        entry: changes[index].entry.to_vec(),
        chain: (index != 15).then(|| {
            let chain = changes[index].chain.clone().unwrap();
            ((*chain.salt).try_into().unwrap(), chain.content.to_vec())
        }),
        index: index as u64,
        path: hashes,
        checkpoint: checkpoint(changes),
    }
}

#[test]
fn a_receipt_verifies_by_itself_and_no_byte_of_it_can_be_changed() {
    let changes = Producer::intake().many(21);
    for index in [0, 7, 15, 16, 20] {
        let receipt = receipt(&changes, index);
        let text = receipt.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "));
        let read = Receipt::parse(&text).unwrap();
        assert_eq!((&read, read.to_string()), (&receipt, text.clone()));
        let proved = read.verify(&vkey()).unwrap();
        assert_eq!((proved.entry.encode(), proved.head.size), (receipt.entry.clone(), 21));
        // It identifies a change only for the entry whose chain it opens.
        let opened = (index != 15).then(|| decoded(&changes[index]));
        assert_eq!(proved.opened, opened);
        assert!(read.verify(&TestKey::new(ORIGIN, 4).vkey).is_err());
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            for bit in [1, 0x10] {
                forged[at] ^= bit;
                // The name on a signature line is not signed, but selects the key.
                let noticed = match std::str::from_utf8(&forged) {
                    Ok(forged) => Receipt::parse(forged).map_or(true, |receipt| receipt.verify(&vkey()).is_err()),
                    Err(_) => true,
                };
                assert!(noticed, "byte {at} of\n{text}");
                forged[at] ^= bit;
            }
            if text.is_char_boundary(at) {
                let cut = Receipt::parse(&text[..at]);
                assert!(
                    cut.map_or(true, |receipt| receipt.verify(&vkey()).is_err()),
                    "cut at {at}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_receipt_says_where() {
    let text = receipt(&Producer::intake().many(21), 7).to_string();
    for (forged, expected) in [
        (String::new(), NotAReceipt::FirstLine),
        (text.replace("@v1", "@v2"), NotAReceipt::FirstLine),
        (text.replace("extra ", "extra"), NotAReceipt::Extra),
        (text.replace("index 7", "index 07"), NotAReceipt::Index),
        (text.replace("index 7", "index -7"), NotAReceipt::Index),
        (text.replace("index 7\n", "index 7\nAAAA\n"), NotAReceipt::Hash(4)),
        (text.split("\n\n").next().unwrap().to_owned(), NotAReceipt::Checkpoint),
    ] {
        assert_eq!(Receipt::parse(&forged), Err(expected));
    }
}
