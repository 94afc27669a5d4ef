//! Which keys a verifier trusts, and what follows for a checkpoint. No I/O.
//!
//! A *verifier key file* begins with the keys that its owner trusts, one per line: `origin+id+key`.
//! Tools that know nothing of Remit read the first. After an empty line, statements may follow
//! ([`crate::statement`]) in any order: they count as far as trusted keys signed them.
//!
//! * A key is trusted if it is listed, or if a trusted key itself stated that it was replaced by
//!   it.
//! * A key is not trusted if a trusted key states its revocation, its own included, whoever lists
//!   it. Nothing that a revoked key stated about other keys counts: a thief could have stated it.
//!   So holders of only the revoked key must get the new one from the log's operator, by a channel
//!   that a thief does not control.
//! * Of a revoked key's signatures, one checkpoint is still trusted: that of the tree named in the
//!   revocation.
//! * A key's signatures are not trusted because its successor states that it replaced it. They are
//!   only distinguished from a stranger's.

use journal::Time;
use signed_note::{Note, NoteError, StandardVerifier, Verifier as _, VerifierList};
use witness::CosignerKey;

use crate::{
    checkpoint::{self, CheckpointError},
    statement::{Said, Statement},
    tree::TreeHead,
};

/// The keys that a verifier trusts.
#[derive(Clone, Debug)]
pub struct Trusted {
    origin: String,
    keys: Vec<String>,
    revoked: Vec<(String, TreeHead)>,
    /// Keys that trusted keys state they replaced. Not trusted themselves.
    replaced: Vec<String>,
}

impl Trusted {
    /// Parses a verifier key file or a single verifier key.
    ///
    /// # Errors
    ///
    /// If a key or a statement is malformed or belongs to another log: a revocation must not get
    /// lost.
    pub fn parse(file: &str) -> Result<Self, CheckpointError> {
        let KeyFileParts { origin, keys, notes } = split(file)?;
        let statements = notes
            .iter()
            .map(|note| Statement::parse(&origin, note).ok_or(CheckpointError::Statement))
            .collect::<Result<Vec<_>, _>>()?;
        let mut revoked = Vec::new();
        loop {
            let believed = believed(&keys, &revoked, &statements);
            let found = statements.iter().find_map(|statement| match &statement.said {
                Said::Revoked { key, last, .. } if !revoked.iter().any(|(known, _)| known == key) => believed
                    .iter()
                    .any(|by| statement.is_signed_by(by))
                    .then(|| (key.clone(), *last)),
                _ => None,
            });
            match found {
                Some(found) => revoked.push(found),
                None => {
                    return Ok(Self {
                        origin,
                        replaced: replaced(&believed, &statements),
                        keys: believed,
                        revoked,
                    });
                }
            }
        }
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The trusted verifier keys, those of the file first.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Returns the head of a checkpoint signed by a trusted key. Ignores other signatures.
    pub fn open(&self, note: &str) -> Result<TreeHead, CheckpointError> {
        let note = Note::from_bytes(note.as_bytes())?;
        match verified(&note, &self.keys) {
            Err(CheckpointError::Note(NoteError::UnverifiedNote)) => {}
            Err(error) => return Err(error),
            Ok(()) => return self.head(&note),
        }
        for (key, last) in &self.revoked {
            if verified(&note, std::slice::from_ref(key)).is_ok() {
                return match self.head(&note)? {
                    head if head == *last => Ok(head),
                    head => Err(CheckpointError::Revoked {
                        key: key.clone(),
                        size: head.size,
                        last: last.size,
                    }),
                };
            }
        }
        let is_by = |key: &&String| verified(&note, std::slice::from_ref(*key)).is_ok();
        match self.replaced.iter().find(is_by) {
            Some(key) => Err(CheckpointError::Replaced { key: key.clone() }),
            None => Err(NoteError::UnverifiedNote.into()),
        }
    }

    /// Returns when trusted keys signed a checkpoint, by their own timestamps: the newest, or
    /// `None` if there is none.
    ///
    /// # Errors
    ///
    /// If a timestamped signature carries a trusted key's name but does not verify.
    pub fn signed_at(&self, note: &str) -> Result<Option<Time>, CheckpointError> {
        let note = Note::from_bytes(note.as_bytes())?;
        let keys = self.keys.iter().filter_map(|vkey| CosignerKey::beside(vkey).ok());
        let found = keys.map(|key| key.find(&note)).collect::<Result<Vec<_>, _>>()?;
        let times = found.into_iter().flatten().map(|signed| signed.time);
        let seconds = times.max().and_then(|seconds| i64::try_from(seconds).ok());
        Ok(seconds.map(|seconds| Time(seconds.saturating_mul(1_000_000))))
    }

    fn head(&self, note: &Note) -> Result<TreeHead, CheckpointError> {
        let (found, head) = checkpoint::text(note)?;
        // One key may sign for several logs: a checkpoint of another log proves nothing about this
        // one.
        if found != self.origin {
            let expected = self.origin.clone();
            return Err(CheckpointError::Origin { found, expected });
        }
        Ok(head)
    }
}

/// The listed keys that are not revoked, and their replacements.
fn believed(listed: &[String], revoked: &[(String, TreeHead)], statements: &[Statement]) -> Vec<String> {
    let is_revoked = |key: &String| revoked.iter().any(|(known, _)| known == key);
    let mut believed: Vec<String> = listed.iter().filter(|key| !is_revoked(key)).cloned().collect();
    let mut next = 0;
    while let Some(key) = believed.get(next).cloned() {
        next += 1;
        for statement in statements {
            if let Said::Replaced { old, new } = &statement.said
                && *old == key
                && !believed.contains(new)
                && !is_revoked(new)
                && statement.is_signed_by(old)
            {
                believed.push(new.clone());
            }
        }
    }
    believed
}

/// The keys replaced by trusted keys, and their predecessors, as each successor states.
fn replaced(believed: &[String], statements: &[Statement]) -> Vec<String> {
    let mut known = believed.to_vec();
    let mut next = 0;
    while let Some(key) = known.get(next).cloned() {
        next += 1;
        for statement in statements {
            if let Said::Replaced { old, new } = &statement.said
                && *new == key
                && !known.contains(old)
                && statement.is_signed_by(new)
            {
                known.push(old.clone());
            }
        }
    }
    known.split_off(believed.len())
}

/// Combines these verifier keys with the statements of a verifier key file, without the file's own
/// keys: for holders of an old key who got the current file from an untrusted source.
pub fn with_statements(vkeys: &str, file: &str) -> String {
    match file.replace("\r\n", "\n").split_once("\n\n") {
        Some((_, statements)) => format!("{}\n\n{statements}", vkeys.trim()),
        None => vkeys.trim().to_owned(),
    }
}

fn verified(note: &Note, vkeys: &[String]) -> Result<(), CheckpointError> {
    let mut keys = Vec::with_capacity(vkeys.len());
    for vkey in vkeys {
        keys.push(Box::new(StandardVerifier::new(vkey).map_err(CheckpointError::VerifierKey)?) as _);
    }
    note.verify(&VerifierList::new(keys))?;
    Ok(())
}

/// The parts of a verifier key file.
struct KeyFileParts {
    /// The name shared by all keys.
    origin: String,
    /// At least one.
    keys: Vec<String>,
    /// The statements, as notes.
    notes: Vec<String>,
}

fn split(file: &str) -> Result<KeyFileParts, CheckpointError> {
    let mut blocks = file.trim().split("\n\n");
    let mut origin = None;
    let mut keys: Vec<String> = Vec::new();
    for vkey in blocks.next().unwrap_or_default().lines().map(str::trim) {
        let key = StandardVerifier::new(vkey).map_err(CheckpointError::VerifierKey)?;
        let expected = origin.get_or_insert_with(|| key.name().to_owned());
        if expected != key.name() {
            return Err(CheckpointError::Origin {
                found: key.name().to_owned(),
                expected: expected.clone(),
            });
        }
        if !keys.iter().any(|known| known == vkey) {
            keys.push(vkey.to_owned());
        }
    }
    let origin = origin.ok_or(CheckpointError::NoKey)?;
    let mut notes = Vec::new();
    while let Some(text) = blocks.next() {
        let signatures = blocks.next().ok_or(CheckpointError::Statement)?;
        notes.push(format!("{text}\n\n{}\n", signatures.trim_end()));
    }
    Ok(KeyFileParts { origin, keys, notes })
}

/// The head of a checkpoint signed by a key that `vkeys` makes trusted: a verifier key or the
/// content of a verifier key file. Ignores other signatures.
pub fn open(note: &str, vkeys: &str) -> Result<TreeHead, CheckpointError> {
    Trusted::parse(vkeys)?.open(note)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use tlog_tiles::{Checkpoint, Hash};

    use super::*;
    use crate::log_key::LogKey;

    const ORIGIN: &str = "remit.test/log";
    const LAST: TreeHead = TreeHead { size: 7, root: [7; 32] };
    const HEAD: TreeHead = TreeHead {
        size: 923_748,
        root: [7; 32],
    };
    const NOW: Time = Time(1_795_305_600_000_000);

    fn key(n: u8) -> LogKey {
        LogKey::new(ORIGIN, &[n; 32])
    }

    fn signed(n: u8, head: TreeHead) -> String {
        checkpoint::sign(&head, &[key(n)], Time(1_000_000)).unwrap()
    }

    fn replaced(old: u8, new: u8, by: u8) -> String {
        let said = Said::Replaced {
            old: key(old).vkey(),
            new: key(new).vkey(),
        };
        Statement::sign(ORIGIN, &said, 1, &[&key(by)])
            .unwrap()
            .note()
            .to_owned()
    }

    fn revoked(n: u8, by: u8) -> String {
        let said = Said::Revoked {
            key: key(n).vkey(),
            last: LAST,
            reason: "the machine was stolen".to_owned(),
        };
        Statement::sign(ORIGIN, &said, 1, &[&key(by)])
            .unwrap()
            .note()
            .to_owned()
    }

    fn file(keys: &[u8], statements: &[String]) -> String {
        let keys: Vec<_> = keys.iter().map(|n| key(*n).vkey()).collect();
        [&[keys.join("\n") + "\n"], statements].concat().join("\n")
    }

    /// Which of the keys 1 to 4 are trusted for checkpoints of a tree.
    fn who(file: &str, head: TreeHead) -> Vec<u8> {
        let trusted = Trusted::parse(file).unwrap();
        (1..=4).filter(|n| trusted.open(&signed(*n, head)).is_ok()).collect()
    }

    #[test]
    fn listed_keys_and_their_replacements_are_trusted() {
        let larger = TreeHead { size: 8, ..LAST };
        for (name, keys, statements, believed) in [
            ("one", &[1][..], vec![], &[1][..]),
            ("an overlap", &[2, 1], vec![], &[1, 2]),
            ("a replacement", &[1], vec![replaced(1, 2, 1)], &[1, 2]),
            (
                "two, the later first",
                &[1],
                vec![replaced(2, 3, 2), replaced(1, 2, 1)],
                &[1, 2, 3],
            ),
            ("said by the new key only", &[1], vec![replaced(1, 2, 2)], &[1]),
            ("said by a stranger", &[1], vec![replaced(1, 2, 4)], &[1]),
            ("not backwards", &[2], vec![replaced(1, 2, 1)], &[2]),
            ("revoked by itself", &[2, 1], vec![revoked(1, 1)], &[2]),
            ("revoked by the other", &[2, 1], vec![revoked(1, 2)], &[2]),
            ("revoked by a stranger", &[2, 1], vec![revoked(1, 4)], &[1, 2]),
            ("a thief names a key", &[1], vec![replaced(1, 4, 1), revoked(1, 1)], &[]),
            (
                "a thief named a key, the listed stays",
                &[2, 1],
                vec![replaced(1, 4, 1), revoked(1, 2)],
                &[2],
            ),
            (
                "the new key revokes the old, which it came by",
                &[1],
                vec![replaced(1, 2, 1), revoked(1, 2)],
                &[],
            ),
        ] {
            let file = file(keys, &statements);
            assert_eq!(who(&file, larger), believed, "{name}");
        }
    }

    #[test]
    fn a_revoked_key_is_trusted_only_for_the_named_tree() {
        let trusted = Trusted::parse(&file(&[2, 1], &[revoked(1, 2)])).unwrap();
        assert_eq!(trusted.open(&signed(1, LAST)).unwrap(), LAST);
        for head in [
            TreeHead { size: 8, ..LAST },
            TreeHead { size: 6, ..LAST },
            TreeHead { root: [8; 32], ..LAST },
        ] {
            let error = trusted.open(&signed(1, head)).unwrap_err();
            assert!(matches!(error, CheckpointError::Revoked { last: 7, .. }), "{error}");
        }
        // Signed by both, the other key counts.
        let larger = TreeHead { size: 8, ..LAST };
        let both = checkpoint::sign(&larger, &[key(2), key(1)], Time(1_000_000)).unwrap();
        assert_eq!(trusted.open(&both).unwrap(), larger);
    }

    #[test]
    fn replaced_keys_are_distinguished_from_strangers() {
        for (name, keys, statements, is_replaced) in [
            ("by its successor's word", &[2][..], vec![replaced(1, 2, 2)], true),
            ("two before", &[3], vec![replaced(1, 2, 2), replaced(2, 3, 3)], true),
            ("by its own word only", &[2], vec![replaced(1, 2, 1)], false),
            ("by a stranger's word", &[2], vec![replaced(1, 2, 4)], false),
            ("nothing is said", &[2], vec![], false),
        ] {
            let trusted = Trusted::parse(&file(keys, &statements)).unwrap();
            let error = trusted.open(&signed(1, LAST)).unwrap_err();
            assert_eq!(
                matches!(error, CheckpointError::Replaced { .. }),
                is_replaced,
                "{name}: {error}"
            );
            assert!(
                matches!(trusted.open(&signed(4, LAST)), Err(CheckpointError::Note(_))),
                "{name}"
            );
        }
        // A revocation outweighs a replacement.
        let trusted = Trusted::parse(&file(&[2], &[replaced(1, 2, 2), revoked(1, 2)])).unwrap();
        let error = trusted.open(&signed(1, TreeHead { size: 8, ..LAST })).unwrap_err();
        assert!(matches!(error, CheckpointError::Revoked { .. }), "{error}");
    }

    #[test]
    fn the_old_key_leads_to_the_new_one_through_the_current_file() {
        let current = file(&[3], &[replaced(1, 2, 1), replaced(2, 3, 2)]);
        let (old, stranger) = (key(1).vkey(), key(4).vkey());
        assert_eq!(who(&with_statements(&old, &current), LAST), [1, 2, 3]);
        assert_eq!(
            who(&with_statements(&old, &current.replace('\n', "\r\n")), LAST),
            [1, 2, 3]
        );
        // The file's own keys are not trusted.
        assert_eq!(who(&with_statements(&stranger, &current), LAST), [4]);
        assert_eq!(who(&with_statements(&old, &file(&[2], &[])), LAST), [1]);
    }

    #[test]
    fn the_newest_time_signed_by_a_trusted_key_counts() {
        let sign = |keys: &[u8], seconds: i64| {
            let keys: Vec<_> = keys.iter().map(|n| key(*n)).collect();
            checkpoint::sign(&LAST, &keys, Time(seconds * 1_000_000)).unwrap()
        };
        let trusted = Trusted::parse(&file(&[2, 1], &[])).unwrap();
        assert_eq!(trusted.signed_at(&sign(&[1], 7)).unwrap(), Some(Time(7_000_000)));
        let (early, late) = (sign(&[1], 7), sign(&[2], 9));
        let both = format!("{early}{}", late.split_once("\n\n").unwrap().1);
        assert_eq!(trusted.signed_at(&both).unwrap(), Some(Time(9_000_000)));
        assert_eq!(trusted.signed_at(&sign(&[4], 7)).unwrap(), None);
        let plain: String = early.split_inclusive('\n').take(5).collect();
        assert_eq!(trusted.signed_at(&plain).unwrap(), None);
        // A time written by somebody else: after the four bytes of the key's id.
        let (rest, signature) = early.trim_end().rsplit_once(' ').unwrap();
        let mut signature = BASE64.decode(signature.as_bytes()).unwrap();
        signature[4 + 7] ^= 1;
        let forged = format!("{rest} {}\n", BASE64.encode(&signature));
        assert!(trusted.signed_at(&forged).is_err(), "{forged}");
        assert_eq!(trusted.open(&forged).unwrap(), LAST);
    }

    #[test]
    fn a_partly_malformed_file_is_refused() {
        let revocation = revoked(1, 1);
        let good = file(&[1], std::slice::from_ref(&revocation));
        let other = LogKey::new("remit.test/other", &[1; 32]).vkey();
        for damaged in [
            String::new(),
            "\n\n".to_owned(),
            format!("{other}\n{good}"),
            good.replace("revoked", "revoced"),
            good.replace("v1\n", "v2\n"),
            good[..good.len() - 60].to_owned(),
            good.replace("\nreason the machine was stolen", ""),
            format!("{good}\nmore"),
        ] {
            assert!(Trusted::parse(&damaged).is_err(), "{damaged}");
        }
        // Line endings, surrounding space and duplicate keys do no harm.
        assert!(Trusted::parse(&format!("{}\r\n{good}\n\n", key(1).vkey())).is_ok());
    }

    #[test]
    fn a_signed_head_opens_with_its_key_only() {
        let note = checkpoint::sign(&HEAD, &[key(1)], NOW).unwrap();
        assert!(
            note.starts_with(
                "remit.test/log\n923748\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n— remit.test/log "
            )
        );
        assert_eq!(open(&note, &key(1).vkey()).unwrap(), HEAD);
        for other in [key(2), LogKey::new("remit.test/other", &[1; 32])] {
            assert!(matches!(open(&note, &other.vkey()), Err(CheckpointError::Note(_))));
        }
        assert!(matches!(open(&note, "garbage"), Err(CheckpointError::VerifierKey(_))));
    }

    #[test]
    fn each_of_two_keys_is_enough_and_each_says_when() {
        let note = checkpoint::sign(&HEAD, &[key(2), key(1)], NOW).unwrap();
        for n in [1, 2] {
            assert_eq!(open(&note, &key(n).vkey()).unwrap(), HEAD);
            let parsed = Note::from_bytes(note.as_bytes()).unwrap();
            let found = key(n).timestamper().key().find(&parsed).unwrap().unwrap();
            assert_eq!(found.time, 1_795_305_600);
        }
        assert!(open(&note, &key(3).vkey()).is_err());
    }

    #[test]
    fn every_flipped_byte_of_what_the_key_signed_is_noticed() {
        let note = checkpoint::sign(&HEAD, &[key(1)], NOW).unwrap();
        // What follows the first signature is of other types, which verifiers leave aside where
        // they do not know them.
        let end = note.match_indices('\n').nth(4).unwrap().0;
        for i in 0..note.len() {
            let mut flipped = note.clone().into_bytes();
            flipped[i] ^= 1;
            // Not text at all is noticed earlier.
            let Ok(flipped) = String::from_utf8(flipped) else {
                continue;
            };
            if let Ok(head) = open(&flipped, &key(1).vkey()) {
                assert!(i > end && head == HEAD, "byte {i}");
            }
        }
    }

    #[test]
    fn a_checkpoint_of_another_log_by_the_same_key_is_refused() {
        let text = Checkpoint::new("remit.test/other", 1, Hash([0; 32]), "").unwrap();
        let mut note = Note::new(&text.to_bytes(), &[]).unwrap();
        note.add_sigs(&[&key(1)]).unwrap();
        let note = String::from_utf8(note.to_bytes()).unwrap();
        assert!(matches!(
            open(&note, &key(1).vkey()),
            Err(CheckpointError::Origin { .. })
        ));
    }
}
