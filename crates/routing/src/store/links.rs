//! Links between cases on one subject: found when a case is opened, in the same transaction.
//!
//! What a report is about comes as hashes that intake keyed. With the lead and the exclusions they
//! make the rows of `subject_heads`, each of which names one case that new reports are compared with.
//! So a report is only ever compared with cases of the same lead and exclusions, by a look-up of a
//! few rows, however many reports there are on a subject.
//!
//! A report joins a case if all that it is about is what that case is about, too: then what is
//! decided there answers the whole report.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use decision::{decide::Destination, directory::AgencyId};
use journal::{Bytes32, Entropy, keyed_hash};
use sha2::{Digest as _, Sha256};
use sql::{Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{Route, exclusions, name, rows, sql::SqlStore};
use crate::case::{Candidate, Link, Matter, State};

/// Locks the rows, and returns the case of each: that of the row, or the new one.
const HEADS: Insert = Insert::into("subject_heads", &[("subject", Kind::Text), ("case_id", Kind::Text)])
    .then("ON CONFLICT (subject) DO UPDATE SET case_id = subject_heads.case_id RETURNING subject, case_id");

const NEW_HEADS: Insert = Insert::into("subject_heads", &[("subject", Kind::Text), ("case_id", Kind::Text)])
    .then("ON CONFLICT (subject) DO UPDATE SET case_id = excluded.case_id");

const SUBJECTS: Insert = Insert::into("case_subjects", &[("case_id", Kind::Text), ("subject", Kind::Text)]);

const LINKS: Insert = Insert::into(
    "case_links",
    &[
        ("case_id", Kind::Text),
        ("kind", Kind::Text),
        ("other", Kind::Text),
        ("salt", Kind::Bytes),
        ("lag", Kind::Int),
    ],
);

/// The time after which a joined case takes over what was decided: at random between a minute and
/// an hour, so that the log shows no two changes together.
const LAG: std::ops::Range<i64> = 60_000_000..3_600_000_000;

/// A case that is about to be opened.
pub(super) struct New {
    pub(super) id: Uuid,
    pub(super) route: Route,
    /// With the exclusions that the directory in force adds.
    pub(super) matter: Matter,
}

/// A case of a row, and what it is about.
struct Head {
    case: Candidate,
    subjects: BTreeSet<String>,
}

impl New {
    /// Who leads it. Only a case with a lead is linked.
    fn lead(&self) -> Option<&AgencyId> {
        match &self.route.decision.outcome {
            Destination::Lead { agency, .. } => self.matter.terms.is_some().then_some(agency),
            _ => None,
        }
    }

    /// The rows of what it is about.
    fn subjects(&self) -> BTreeSet<String> {
        let Some(lead) = self.lead() else {
            return BTreeSet::new();
        };
        let row = |key: &Bytes32| {
            let mut digest = Sha256::new();
            digest.update(b"case-subject-v1\0");
            digest.update(key);
            for agency in std::iter::once(lead).chain(&self.matter.excluded) {
                digest.update(agency.as_str());
                digest.update([0]);
            }
            HEXLOWER.encode(&digest.finalize())
        };
        self.route.subject_keys.iter().map(row).collect()
    }
}

impl SqlStore {
    /// Links cases that are about to be opened, in their order, to earlier ones. Returns a commitment
    /// to the links of each.
    pub(super) async fn link<'n>(
        &self,
        tx: &mut Tx,
        new: impl Iterator<Item = &'n New>,
    ) -> Result<Vec<Bytes32>, Error> {
        let new: Vec<_> = new.map(|new| (new, new.subjects())).collect();
        let mut wanted: BTreeMap<&str, Uuid> = BTreeMap::new();
        for (new, subjects) in &new {
            for subject in subjects {
                wanted.entry(subject).or_insert(new.id);
            }
        }
        // In one order, so that no two transactions wait for each other.
        let wanted = wanted.iter().map(|(subject, case)| [(*subject).into(), (*case).into()]);
        let mut head_of: BTreeMap<String, Uuid> = BTreeMap::new();
        for row in &HEADS.rows(tx, wanted.collect()).await? {
            head_of.insert(row.get("subject")?, rows::uuid(row, "case_id")?);
        }
        let opening: BTreeSet<Uuid> = new.iter().map(|(new, _)| new.id).collect();
        let known: BTreeSet<Uuid> = head_of
            .values()
            .copied()
            .filter(|case| !opening.contains(case))
            .collect();
        let mut heads = heads(tx, &known).await?;
        let (mut commitments, mut links) = (Vec::with_capacity(new.len()), Vec::new());
        let (mut about, mut replaced) = (Vec::new(), BTreeMap::new());
        for (new, subjects) in new {
            let mut salt = [0; 32];
            self.entropy.fill(&mut salt);
            let linked = new.lead().and_then(|lead| {
                let of_subjects: BTreeSet<Uuid> = subjects
                    .iter()
                    .filter_map(|subject| head_of.get(subject))
                    .copied()
                    .collect();
                let links = of_subjects.into_iter().filter_map(|id| {
                    let head = heads.get(&id).filter(|head| subjects.is_subset(&head.subjects))?;
                    Some((head.case.link(lead, &new.matter)?, id))
                });
                // A case to join before a reference, and of several the latest.
                links.max()
            });
            commitments.push(match linked {
                Some((link, other)) => {
                    links.push([
                        new.id.into(),
                        Value::Word(link.name()),
                        other.into(),
                        salt.into(),
                        lag(&*self.entropy).into(),
                    ]);
                    commitment(&salt, link, other)
                }
                // Random, like the others.
                None => salt,
            });
            if matches!(linked, Some((Link::Joined, _))) {
                continue;
            }
            let Some(lead) = new.lead().filter(|_| !subjects.is_empty()) else {
                continue;
            };
            for subject in &subjects {
                let head = head_of.get(subject).and_then(|id| heads.get(id));
                let joinable = |head: &Head| head.case.link(lead, &new.matter) == Some(Link::Joined);
                if !head.is_some_and(joinable) {
                    head_of.insert(subject.clone(), new.id);
                    replaced.insert(subject.clone(), new.id);
                }
                about.push([new.id.into(), subject.as_str().into()]);
            }
            let case = Candidate {
                state: State::ASSIGNED,
                holder: Some(lead.clone()),
                excluded: new.matter.excluded.clone(),
            };
            heads.insert(new.id, Head { case, subjects });
        }
        let replaced = replaced
            .into_iter()
            .map(|(subject, case)| [subject.into(), case.into()]);
        NEW_HEADS.rows(tx, replaced.collect()).await?;
        SUBJECTS.rows(tx, about).await?;
        LINKS.rows(tx, links).await?;
        Ok(commitments)
    }
}

/// What the log is told of a link.
fn commitment(salt: &Bytes32, link: Link, other: Uuid) -> Bytes32 {
    keyed_hash(
        salt,
        "case-link-v1",
        format!("{} {}", link.name(), name(other)).as_bytes(),
    )
}

fn lag(entropy: &dyn Entropy) -> i64 {
    let mut random = [0; 8];
    entropy.fill(&mut random);
    let span = (LAG.end - LAG.start).unsigned_abs();
    LAG.start + (u64::from_be_bytes(random) % span).cast_signed()
}

/// Cases that may be joined, as they stand. They are not locked: what is joined to a case that
/// another agency has in the same moment goes on by itself.
async fn heads(tx: &mut Tx, cases: &BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Head>, Error> {
    if cases.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<String> = cases.iter().map(Uuid::to_string).collect();
    let states = "SELECT case_id, state FROM case_states WHERE case_id = ANY($1)";
    let mut found = BTreeMap::new();
    for row in &tx.fetch(states, vec![ids.clone().into()]).await? {
        let state: String = row.get("state")?;
        let case = Candidate {
            state: State::from_name(&state).ok_or_else(|| rows::damaged("case state", state))?,
            holder: None,
            excluded: BTreeSet::new(),
        };
        let subjects = BTreeSet::new();
        found.insert(rows::uuid(row, "case_id")?, Head { case, subjects });
    }
    let holders = "SELECT case_id, agency FROM case_parties WHERE case_id = ANY($1) AND part IN ('lead', 'deciding')";
    for row in &tx.fetch(holders, vec![ids.clone().into()]).await? {
        if let Some(head) = found.get_mut(&rows::uuid(row, "case_id")?) {
            head.case.holder = Some(rows::agency(&row.get::<String>("agency")?)?);
        }
    }
    for (case, excluded) in exclusions::of(tx, ids.clone()).await? {
        if let Some(head) = found.get_mut(&case) {
            head.case.excluded.extend(excluded);
        }
    }
    let subjects = "SELECT case_id, subject FROM case_subjects WHERE case_id = ANY($1)";
    for row in &tx.fetch(subjects, vec![ids.into()]).await? {
        if let Some(head) = found.get_mut(&rows::uuid(row, "case_id")?) {
            head.subjects.insert(row.get("subject")?);
        }
    }
    Ok(found)
}
