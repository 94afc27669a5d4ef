//! Which witnesses there are, and how many of them are enough: a C2SP tlog-policy file.
//!
//! The log asks the witnesses by it, and verifiers decide by the same file what they believe.

use std::collections::HashMap;

use signed_note::{Note, NoteError, StandardVerifier};

use crate::cosignature::{Cosignature, CosignerKey};

/// A line that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// Its number, from 1; 0 for what is missing in the whole.
    pub line: usize,
    /// What is wrong with it, and what is expected.
    pub problem: String,
}

/// A witness of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy.
    pub name: String,
    /// What its cosignatures are checked with.
    pub key: CosignerKey,
    /// Where it takes submissions; `None` where it is only believed, and not asked.
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

/// A policy. The one without witnesses needs none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<String>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

impl Policy {
    /// Reads a policy file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        for (line, text) in (1..).zip(text.split('\n')) {
            let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            let error = |problem| PolicyError { line, problem };
            if text.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
                return Err(error("control characters are not allowed".to_owned()));
            }
            reader.line(&words).map_err(error)?;
        }
        match reader.quorum_is_set {
            true => Ok(reader.policy),
            false => Err(PolicyError {
                line: 0,
                problem: "there is no quorum; write `quorum NAME`, or `quorum none`".to_owned(),
            }),
        }
    }

    /// The verifier keys of the logs that it is for; none when it is for any.
    pub fn logs(&self) -> &[String] {
        &self.logs
    }

    /// The witnesses, in the order of the file.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether any cosignature is needed at all.
    pub fn needs_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether these witnesses, by their places in the order of the file, are enough.
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

    /// The cosignatures on a note, with the places of the witnesses that made them.
    ///
    /// # Errors
    /// When one bears a witness's name and key and does not verify.
    pub fn cosignatures(&self, note: &Note) -> Result<Vec<(usize, Cosignature)>, NoteError> {
        let mut found = Vec::new();
        for (place, witness) in self.witnesses.iter().enumerate() {
            found.extend(witness.key.find(note)?.map(|cosignature| (place, cosignature)));
        }
        Ok(found)
    }

    /// Whether enough witnesses have cosigned a note. One with a false cosignature has not been.
    pub fn is_met_by(&self, note: &Note) -> bool {
        let found = self.cosignatures(note).unwrap_or_default();
        self.is_met(|place| found.iter().any(|(by, _)| *by == place))
    }
}

#[derive(Default)]
struct Reader {
    policy: Policy,
    names: HashMap<String, Member>,
    taken: Vec<Member>,
    quorum_is_set: bool,
}

impl Reader {
    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["log", vkey] | ["log", vkey, _] => self.log(vkey),
            ["witness", name, vkey] => self.witness(name, vkey, None),
            ["witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            ["group", name, threshold, ref members @ ..] if !members.is_empty() => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            _ => Err(
                "write `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|K MEMBER…` or `quorum NAME|none`"
                    .to_owned(),
            ),
        }
    }

    fn log(&mut self, vkey: &str) -> Result<(), String> {
        StandardVerifier::new(vkey).map_err(|_| format!("`{vkey}` is not the verifier key of a log"))?;
        if self.policy.logs.iter().any(|known| known == vkey) {
            return Err("this log is there twice".to_owned());
        }
        self.policy.logs.push(vkey.to_owned());
        Ok(())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), String> {
        let key = CosignerKey::parse(vkey).map_err(|error| format!("`{vkey}`: {error}"))?;
        let known = |witness: &Witness| witness.key.public() == key.public();
        if self.policy.witnesses.iter().any(known) {
            return Err("this witness's key is there twice".to_owned());
        }
        self.define(name, Member::Witness(self.policy.witnesses.len()))?;
        self.policy.witnesses.push(Witness {
            name: name.to_owned(),
            key,
            url: url.map(|url| url.trim_end_matches('/').to_owned()),
        });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), String> {
        let threshold = match threshold {
            "all" => members.len(),
            "any" => 1,
            k => k
                .parse()
                .ok()
                .filter(|k| (1..=members.len()).contains(k))
                .ok_or_else(|| format!("`{k}` must be `all`, `any` or a number from 1 to {}", members.len()))?,
        };
        let mut found = Vec::with_capacity(members.len());
        for member in members {
            let place = self.find(member)?;
            if self.taken.contains(&place) {
                return Err(format!("`{member}` is in a group already; each counts once"));
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

    fn quorum(&mut self, name: &str) -> Result<(), String> {
        if self.quorum_is_set {
            return Err("the quorum is there twice".to_owned());
        }
        self.quorum_is_set = true;
        if name != "none" {
            self.policy.quorum = Some(self.find(name)?);
        }
        Ok(())
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), String> {
        if name == "none" || self.names.insert(name.to_owned(), member).is_some() {
            return Err(format!("the name `{name}` is taken"));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Member, String> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| format!("`{name}` is not defined in a line above"))
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

    #[test]
    fn quorums_count_as_they_are_written() {
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
    fn what_cannot_be_meant_is_refused_with_its_line() {
        let w = witnesses(2);
        let vkey = cosigner(0).key().vkey();
        for (text, line, problem) in [
            ("quorum none\nquorum none".to_owned(), 2, "twice"),
            (w.clone(), 0, "no quorum"),
            (format!("{w}quorum w7"), 3, "`w7` is not defined"),
            (format!("quorum w0\n{w}"), 1, "not defined in a line above"),
            (format!("{w}group g 3 w0 w1\nquorum g"), 3, "from 1 to 2"),
            (format!("{w}group g 0 w0\nquorum g"), 3, "from 1 to 1"),
            (
                format!("{w}group g any w0\ngroup h any w0\nquorum g"),
                4,
                "in a group already",
            ),
            (format!("{w}group w0 any w1\nquorum w1"), 3, "taken"),
            (format!("witness none {vkey}\nquorum none"), 1, "taken"),
            (format!("{w}witness again {vkey}\nquorum none"), 3, "key is there twice"),
            ("log nonsense\nquorum none".to_owned(), 1, "not the verifier key"),
            ("witness a b\nquorum none".to_owned(), 1, "NAME+12345678"),
            ("wittness a b\nquorum none".to_owned(), 1, "write `log"),
            ("quorum none\r\n".to_owned(), 1, "control"),
        ] {
            let error = Policy::parse(&text).unwrap_err();
            assert!(error.line == line && error.problem.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_note_meets_the_policy_by_true_cosignatures_only() {
        let policy = format!("{}group g 2 w0 w1 w2\nquorum g\n", witnesses(3));
        let policy = Policy::parse(&policy).unwrap();
        let text = b"log.test\n1\nAAAA\n";
        let sign = |n| cosigner(n).sign(text, Time(1_000_000)).unwrap();
        let note = |signatures: &[_]| Note::new(text, signatures).unwrap();
        assert!(policy.is_met_by(&note(&[sign(0), sign(2)])));
        // Neither one twice, nor a stranger, nor one of another text.
        let other = cosigner(1).sign(b"log.test\n2\nAAAA\n", Time(1_000_000)).unwrap();
        for signatures in [&[sign(0), sign(0)][..], &[sign(0), sign(7)], &[sign(0), other], &[]] {
            assert!(!policy.is_met_by(&note(signatures)));
        }
    }
}
