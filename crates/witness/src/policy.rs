//! A witness policy: the witnesses, and how many of them suffice. A C2SP tlog-policy file.
//!
//! The log asks the witnesses of its policy for cosignatures; verifiers use the same file to decide
//! which checkpoints to trust.

use std::collections::HashMap;

use data_encoding::BASE64;
use signed_note::{Note, NoteError, StandardVerifier, Verifier, VerifierList};

use crate::cosignature::{Cosignature, CosignerKey, KeyError};

/// An invalid line of a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// Its number, from 1; 0 if the fault is not in one line.
    pub line: usize,
    /// The problem and what is expected instead.
    pub problem: String,
}

/// A witness of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy.
    pub name: String,
    /// The key that verifies its cosignatures. `None` if the key's type is unknown here, such as
    /// ML-DSA-44; such a witness never counts.
    pub key: Option<CosignerKey>,
    /// The URL for submissions. `None` if its cosignatures count but it is not asked for any.
    pub url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A log of the policy: its verifier key, of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log(String);

impl Log {
    /// Whether the log signed a note as its own checkpoint. Always false for keys of unknown types.
    fn signed(&self, note: &Note) -> bool {
        let name = self.0.split('+').next().unwrap_or_default();
        let is_its_own = note.text().split(|byte| *byte == b'\n').next() == Some(name.as_bytes());
        let verifier: Box<dyn Verifier> = match (StandardVerifier::new(&self.0), CosignerKey::parse(&self.0)) {
            (Ok(key), _) => Box::new(key),
            (_, Ok(key)) => Box::new(key),
            _ => return false,
        };
        is_its_own && note.verify(&VerifierList::new(vec![verifier])).is_ok()
    }
}

/// A witness policy. The default has no witnesses and requires none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

impl Policy {
    /// Parses a policy file. Comments and names may contain any bytes.
    pub fn parse(file: impl AsRef<[u8]>) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        // A byte order mark, which some editors write, is no part of the first word.
        let file = file.as_ref();
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        for (line, text) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            let error = |problem| PolicyError { line, problem };
            if text.iter().any(|byte| *byte != b'\t' && byte.is_ascii_control()) {
                return Err(error("control characters are not allowed".to_owned()));
            }
            let words = text.split(|byte| matches!(byte, b' ' | b'\t'));
            let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with(b"#")) {
                continue;
            }
            reader.line(&words).map_err(error)?;
        }
        match reader.quorum_is_set {
            true => Ok(reader.policy),
            false => Err(PolicyError {
                line: 0,
                problem: "no quorum is defined; write `quorum NAME` or `quorum none`".to_owned(),
            }),
        }
    }

    /// Whether the policy lists trusted logs. If not, the log's key must be known from elsewhere.
    pub fn names_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Whether one of the listed logs signed a note as its own checkpoint.
    pub fn is_signed_by_a_log(&self, note: &Note) -> bool {
        self.logs.iter().any(|log| log.signed(note))
    }

    /// The witnesses, in the order of the file.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether any cosignature is required.
    pub fn needs_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether these witnesses suffice. `by` receives indexes into [`Policy::witnesses`].
    pub fn is_met(&self, by: impl Fn(usize) -> bool) -> bool {
        self.quorum.is_none_or(|member| self.witnessed(member, &by))
    }

    fn witnessed(&self, member: Member, by: &impl Fn(usize) -> bool) -> bool {
        match member {
            Member::Witness(place) => by(place),
            Member::Group(place) => self.groups.get(place).is_some_and(|group| {
                let met = group.members.iter().filter(|member| self.witnessed(**member, by));
                met.count() >= group.threshold
            }),
        }
    }

    /// Returns the cosignatures on a note, each with the index of its witness.
    ///
    /// # Errors
    ///
    /// If a signature with a witness's name and key id does not verify.
    pub fn cosignatures(&self, note: &Note) -> Result<Vec<(usize, Cosignature)>, NoteError> {
        let mut found = Vec::new();
        for (place, witness) in self.witnesses.iter().enumerate() {
            let cosignature = match &witness.key {
                Some(key) => key.find(note)?,
                None => None,
            };
            found.extend(cosignature.map(|cosignature| (place, cosignature)));
        }
        Ok(found)
    }

    /// Whether enough witnesses cosigned a note. Never true for a note with an invalid cosignature.
    pub fn is_met_by(&self, note: &Note) -> bool {
        let found = self.cosignatures(note).unwrap_or_default();
        self.is_met(|place| found.iter().any(|(by, _)| *by == place))
    }
}

#[derive(Default)]
struct Reader {
    policy: Policy,
    names: HashMap<Vec<u8>, Member>,
    /// The public keys of logs and of witnesses. Each may occur once per kind, whatever its name.
    keys: [Vec<Vec<u8>>; 2],
    taken: Vec<Member>,
    quorum_is_set: bool,
}

/// Key types.
const ED25519: u8 = 1;
const TIMESTAMPED: u8 = 4;

/// A verifier key of a known or unknown type.
struct VerifierKey {
    text: String,
    kind: u8,
    public: Vec<u8>,
}

impl VerifierKey {
    fn parse(word: &[u8]) -> Option<Self> {
        let text = str::from_utf8(word).ok()?;
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let key = BASE64.decode(key.as_bytes()).ok()?;
        let (kind, public) = key.split_first()?;
        let is_id = id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (signed_note::is_key_name_valid(name) && is_id && !public.is_empty()).then(|| Self {
            text: text.to_owned(),
            kind: *kind,
            public: public.to_vec(),
        })
    }
}

/// Lossy text for messages.
fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

impl Reader {
    fn line(&mut self, words: &[&[u8]]) -> Result<(), String> {
        match *words {
            [b"log", vkey] | [b"log", vkey, _] => self.log(vkey),
            [b"witness", name, vkey] => self.witness(name, vkey, None),
            [b"witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            [b"group", name, threshold, ref members @ ..] if !members.is_empty() => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err(
                "write `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|K MEMBER…` or `quorum NAME|none`"
                    .to_owned(),
            ),
        }
    }

    fn log(&mut self, word: &[u8]) -> Result<(), String> {
        let none = || format!("`{}` is not the verifier key of a log", shown(word));
        let key = VerifierKey::parse(word).ok_or_else(none)?;
        let is_sound = match key.kind {
            ED25519 => StandardVerifier::new(&key.text).is_ok(),
            TIMESTAMPED => CosignerKey::parse(&key.text).is_ok(),
            _ => true,
        };
        if !is_sound {
            return Err(none());
        }
        self.once(0, key.public, "log")?;
        self.policy.logs.push(Log(key.text));
        Ok(())
    }

    fn witness(&mut self, name: &[u8], word: &[u8], url: Option<&[u8]>) -> Result<(), String> {
        let none = |error| format!("`{}`: {error}", shown(word));
        let parsed = VerifierKey::parse(word).ok_or_else(|| none(KeyError))?;
        let key = match parsed.kind {
            ED25519 | TIMESTAMPED => Some(CosignerKey::parse(&parsed.text).map_err(none)?),
            _ => None,
        };
        self.once(1, parsed.public, "witness")?;
        self.define(name, Member::Witness(self.policy.witnesses.len()))?;
        self.policy.witnesses.push(Witness {
            name: shown(name),
            key,
            url: url.map(|url| shown(url).trim_end_matches('/').to_owned()),
        });
        Ok(())
    }

    fn once(&mut self, kind: usize, public: Vec<u8>, what: &str) -> Result<(), String> {
        if self.keys[kind].contains(&public) {
            return Err(format!("this {what}'s key occurs twice"));
        }
        self.keys[kind].push(public);
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), String> {
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            k => str::from_utf8(k)
                .ok()
                .and_then(|k| k.parse().ok())
                .filter(|k| (1..=members.len()).contains(k))
                .ok_or_else(|| {
                    format!(
                        "`{}` must be `all`, `any` or a number from 1 to {}",
                        shown(k),
                        members.len()
                    )
                })?,
        };
        let mut found = Vec::with_capacity(members.len());
        for member in members {
            let place = self.find(member)?;
            if self.taken.contains(&place) {
                return Err(format!("`{}` is already in a group; each counts once", shown(member)));
            }
            self.taken.push(place);
            found.push(place);
        }
        self.define(name, Member::Group(self.policy.groups.len()))?;
        self.policy.groups.push(Group {
            threshold,
            members: found,
        });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum_is_set {
            return Err("the quorum is defined twice".to_owned());
        }
        self.quorum_is_set = true;
        if name != b"none" {
            self.policy.quorum = Some(self.find(name)?);
        }
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), String> {
        if name == b"none" || self.names.insert(name.to_owned(), member).is_some() {
            return Err(format!("the name `{}` is already in use", shown(name)));
        }
        Ok(())
    }

    fn find(&self, name: &[u8]) -> Result<Member, String> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| format!("`{}` is not defined above", shown(name)))
    }
}

#[cfg(test)]
mod tests {
    use journal::Time;

    use super::*;
    use crate::cosignature::Cosigner;

    fn cosigner(n: u8) -> Cosigner {
        Cosigner::new(&format!("witness.test/{n}"), &[n; 32])
    }

    fn witnesses(n: u8) -> String {
        (0..n)
            .map(|n| format!("witness w{n} {} http://w{n}.test/\n", cosigner(n).key().vkey()))
            .collect()
    }

    /// An ordinary log key, and the same key for timestamped signatures.
    fn log_key(n: u8) -> String {
        let key = ed25519_dalek::SigningKey::from_bytes(&[n; 32]);
        signed_note::new_ed25519_verifier_key("log.test", &key.verifying_key())
    }

    fn cosigner_of_log(n: u8) -> String {
        Cosigner::new("log.test", &[n; 32]).key().vkey()
    }

    /// A verifier key of an unknown type: ML-DSA-44, numbered as in tlog-cosignature.
    fn lattice(name: &str) -> String {
        let key = [&[6][..], &[9; 1_312]].concat();
        let id = signed_note::key_id(name, &key);
        format!("{name}+{id:08x}+{}", BASE64.encode(&key))
    }

    #[test]
    fn only_checkpoints_of_the_listed_logs_are_trusted() {
        let text = b"log.test\n1\nAAAA\n";
        let plain = |n: u8| {
            let id = log_key(n).split('+').nth(1).unwrap().to_owned();
            let secret = BASE64.encode(&[&[1][..], &[n; 32]].concat());
            signed_note::StandardSigner::new(&format!("PRIVATE+KEY+log.test+{id}+{secret}")).unwrap()
        };
        let signed = |text: &[u8], n: u8| {
            let timestamped = Cosigner::new("log.test", &[n; 32]).sign(text, Time(1_000_000)).unwrap();
            let mut note = Note::new(text, &[timestamped]).unwrap();
            note.add_sigs(&[&plain(n)]).unwrap();
            note
        };
        for (logs, by, believed) in [
            (vec![log_key(1)], 1, true),
            (vec![log_key(1)], 2, false),
            (vec![log_key(3), log_key(2)], 2, true),
            (vec![cosigner_of_log(1)], 1, true),
            (vec![cosigner_of_log(1)], 2, false),
            (vec![lattice("log.test")], 1, false),
            (vec![lattice("log.test"), log_key(1)], 1, true),
        ] {
            let lines: String = logs.iter().map(|key| format!("log {key}\n")).collect();
            let policy = Policy::parse(format!("{lines}quorum none")).unwrap();
            assert!(policy.names_logs());
            assert_eq!(policy.is_signed_by_a_log(&signed(text, by)), believed, "{lines}");
        }
        // One key may sign for several logs; this policy lists one of them.
        let policy = Policy::parse(format!("log {}\nquorum none", log_key(1))).unwrap();
        assert!(!policy.is_signed_by_a_log(&signed(b"other.test\n1\nAAAA\n", 1)));
        assert!(!Policy::parse("quorum none").unwrap().names_logs());
    }

    #[test]
    fn unknown_keys_and_bytes_do_not_invalidate_the_rest() {
        // A witness with a key of a future type, a name and a comment that are not UTF-8, and a
        // quorum without them.
        let mut file = witnesses(2).into_bytes();
        file.extend_from_slice(b"# caf\xe9\n\xe9 is no keyword");
        let error = Policy::parse(&file).unwrap_err();
        assert_eq!(error.line, 4, "{error}");
        file.truncate(file.len() - b"\xe9 is no keyword".len());
        file.extend_from_slice(format!("witness \u{e9} {} http://w/\n", lattice("witness.test/pq")).as_bytes());
        file.extend_from_slice(b"group \xff 2 w0 w1 \xc3\xa9\nquorum \xff\n");
        let policy = Policy::parse(&file).unwrap();
        assert_eq!(policy.witnesses()[2].key, None);
        let text = b"log.test\n1\nAAAA\n";
        let sign = |n| cosigner(n).sign(text, Time(1_000_000)).unwrap();
        assert!(policy.is_met_by(&Note::new(text, &[sign(0), sign(1)]).unwrap()));
        assert!(!policy.is_met_by(&Note::new(text, &[sign(0)]).unwrap()));
    }

    #[test]
    fn quorums_count_as_written() {
        let two_of_three = format!("# ours\n\n{}group g 2 w0 w1 w2\nquorum g\n", witnesses(3));
        let nested = format!(
            "{}group a any w0 w1\ngroup b all w2 w3\ngroup both all a b\nquorum both",
            witnesses(4)
        );
        let one = format!("{}\tquorum  w1", witnesses(2));
        for (text, by, met) in [
            (&two_of_three, &[0][..], false),
            (&two_of_three, &[0, 2], true),
            (&two_of_three, &[0, 1, 2], true),
            (&nested, &[0, 1, 2], false),
            (&nested, &[1, 2, 3], true),
            (&nested, &[2, 3], false),
            (&one, &[0], false),
            (&one, &[1], true),
            (&"quorum none".to_owned(), &[], true),
        ] {
            let policy = Policy::parse(text).unwrap();
            assert_eq!(policy.is_met(|place| by.contains(&place)), met, "{text} {by:?}");
        }
        assert_eq!(
            Policy::parse(&one).unwrap().witnesses()[0].url.as_deref(),
            Some("http://w0.test")
        );
    }

    #[test]
    fn invalid_policies_are_refused_with_the_line() {
        let w = witnesses(2);
        let vkey = cosigner(0).key().vkey();
        for (text, line, problem) in [
            ("quorum none\nquorum none".to_owned(), 2, "twice"),
            (w.clone(), 0, "no quorum"),
            (format!("{w}quorum w7"), 3, "`w7` is not defined"),
            (format!("quorum w0\n{w}"), 1, "not defined above"),
            (format!("{w}group g 3 w0 w1\nquorum g"), 3, "from 1 to 2"),
            (format!("{w}group g 0 w0\nquorum g"), 3, "from 1 to 1"),
            (
                format!("{w}group g any w0\ngroup h any w0\nquorum g"),
                4,
                "already in a group",
            ),
            (format!("{w}group w0 any w1\nquorum w1"), 3, "in use"),
            (format!("witness none {vkey}\nquorum none"), 1, "in use"),
            (format!("{w}witness again {vkey}\nquorum none"), 3, "key occurs twice"),
            ("log nonsense\nquorum none".to_owned(), 1, "not the verifier key"),
            ("witness a b\nquorum none".to_owned(), 1, "NAME+12345678"),
            ("wittness a b\nquorum none".to_owned(), 1, "write `log"),
            ("quorum none\r\n".to_owned(), 1, "control"),
            ("quorum none\n#\u{7}".to_owned(), 2, "control"),
            (
                format!("log {}\nlog {}\nquorum none", log_key(1), cosigner_of_log(1)),
                2,
                "log's key occurs twice",
            ),
            (
                format!("log {}\nquorum none", &log_key(1)[..60]),
                1,
                "not the verifier key",
            ),
            (format!("witness a {}\nquorum none", log_key(1)), 1, "NAME+12345678"),
        ] {
            let error = Policy::parse(&text).unwrap_err();
            assert!(error.line == line && error.problem.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn only_valid_cosignatures_meet_the_policy() {
        let policy = format!("{}group g 2 w0 w1 w2\nquorum g\n", witnesses(3));
        let policy = Policy::parse(&policy).unwrap();
        let text = b"log.test\n1\nAAAA\n";
        let sign = |n| cosigner(n).sign(text, Time(1_000_000)).unwrap();
        let note = |signatures: &[_]| Note::new(text, signatures).unwrap();
        assert!(policy.is_met_by(&note(&[sign(0), sign(2)])));
        // Not the same one twice, not a stranger's, not one of another text.
        let other = cosigner(1).sign(b"log.test\n2\nAAAA\n", Time(1_000_000)).unwrap();
        for signatures in [&[sign(0), sign(0)][..], &[sign(0), sign(7)], &[sign(0), other], &[]] {
            assert!(!policy.is_met_by(&note(signatures)));
        }
    }
}
