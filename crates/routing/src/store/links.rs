//! Links between cases on one subject: found when a case is opened, in the same transaction; what
//! follows from them ([`wake`], [`due`]); and their end ([`found`]).
//!
//! What a report is about comes as hashes that intake keyed. With the lead and the exclusions they
//! make the rows of `subject_heads`, each of which names one case that new reports are compared with.
//! So a report is only ever compared with cases of the same lead and exclusions, by a look-up of a
//! few rows, however many reports there are on a subject.
//!
//! A report joins a case if all that it is about is what that case is about, too: then what is
//! decided there answers the whole report.

use std::collections::{BTreeMap, BTreeSet};

use api::event::Actor;
use data_encoding::HEXLOWER;
use decision::{decide::Destination, directory::AgencyId};
use journal::{Bytes32, Entropy, Time, keyed_hash};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{
    Command, Links, MOST_LINKS, Page, Route, change::Changed, exclusions, name, read, report_name, rows, sql::SqlStore,
};
use crate::case::{Action, Candidate, Link, Matter, Membership, Part, Sight, SplitReport, State};

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

/// Mean of the time between two joined cases that follow their main case, in microseconds.
///
/// They follow one after the other, in the order in which they were opened, each after a time of its
/// own from one exponential distribution. So in the log no changes stand together, and of two cases
/// on one subject the time between their decisions is the same whether the first is the main case or
/// joined to an earlier one: whoever knows both cannot tell.
const MEAN_LAG: f64 = 180_000_000.0;

/// The longest that a joined case waits for what was decided, in microseconds, however many there
/// are before it: six hours.
const LONGEST_WAIT: i64 = 6 * 3_600_000_000;

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
    // Above 0, and at most 1.
    let even = ((u64::from_be_bytes(random) >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    (-even.ln() * MEAN_LAG) as i64
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

/// A link of a joined case whose effect is due.
pub(super) struct Due {
    pub(super) case: Uuid,
    pub(super) main: Uuid,
    /// Who made the change of the main case.
    pub(super) actor: Option<Actor>,
}

/// Links of these cases whose effect is due.
pub(super) async fn due(tx: &mut Tx, cases: &[Uuid], now: Time) -> Result<Vec<Due>, Error> {
    let ids: Vec<String> = cases.iter().map(Uuid::to_string).collect();
    let statement = "SELECT case_id, other, actor FROM case_links WHERE case_id = ANY($1) AND kind = 'joined' \
                     AND end_time IS NULL AND follow_time <= $2 ORDER BY case_id";
    let rows = tx.fetch(statement, vec![ids.into(), now.0.into()]).await?;
    let due = |row: &Row| {
        let actor: Option<Vec<u8>> = row.get("actor")?;
        let actor = actor.map(|actor| Actor::decode(actor.as_slice())).transpose();
        Ok(Due {
            case: rows::uuid(row, "case_id")?,
            main: rows::uuid(row, "other")?,
            actor: actor.map_err(|error| rows::damaged("actor of a decision", error))?,
        })
    };
    rows.iter().map(due).collect()
}

/// What was due of these cases was done.
pub(super) async fn forget_due(tx: &mut Tx, cases: Vec<String>) -> Result<(), Error> {
    if !cases.is_empty() {
        let statement = "UPDATE case_links SET follow_time = NULL WHERE case_id = ANY($1) AND kind = 'joined'";
        tx.execute(statement, vec![cases.into()]).await?;
    }
    Ok(())
}

/// Cases with a link whose effect is due.
pub(super) async fn following(
    db: &Db,
    now: Time,
    after: Option<String>,
    limit: u32,
) -> Result<Page<Uuid, String>, Error> {
    let statement = "SELECT case_id FROM case_links WHERE follow_time <= $1 AND case_id > $2 ORDER BY case_id LIMIT $3";
    let values = vec![now.0.into(), after.unwrap_or_default().into(), i64::from(limit).into()];
    let rows = db.fetch(statement, values).await?;
    let id = |row: &Row| rows::uuid(row, "case_id");
    read::page(&rows, limit, "a joined case", id, |row| row.get("case_id"))
}

/// After changes: what was decided, or handed on, is to be applied to what is joined; and to what the
/// lead has acknowledged now. Each after its own time ([`MEAN_LAG`]).
pub(super) async fn wake(tx: &mut Tx, changed: &[Changed]) -> Result<(), Error> {
    let (mut moved, mut taken) = (Vec::new(), Vec::new());
    for change in changed {
        let Some(before) = &change.before else { continue };
        let becomes = |state: State| change.after.state() == state && before.state() != state;
        if becomes(State::RESOLVED) || before.owner() != change.after.owner() {
            moved.push(change);
        }
        if becomes(State::IN_PROGRESS) && before.state() == State::ASSIGNED {
            taken.push((change.id.to_string(), change.delivery.change.head.time));
        }
    }
    let mains = mains(tx, &moved).await?;
    for change in moved.into_iter().filter(|change| mains.contains(&change.id)) {
        let statement = "UPDATE case_links SET follow_time = $2 + CASE WHEN total < $4 THEN total ELSE $4 END, \
                         actor = $3 FROM (SELECT case_id AS joined, sum(lag) OVER (ORDER BY case_id) AS total FROM case_links \
                         WHERE other = $1 AND kind = 'joined' AND end_time IS NULL) AS chain \
                         WHERE case_id = joined AND kind = 'joined'";
        let time = change.delivery.change.head.time;
        // The commitment to the officer is of this case's record, and would link the others to it.
        let actor = Actor {
            officer_commitment: Default::default(),
            ..change.actor.clone()
        };
        let values = vec![
            change.id.into(),
            time.0.into(),
            actor.encode_to_vec().into(),
            LONGEST_WAIT.into(),
        ];
        tx.execute(statement, values).await?;
    }
    if let Some(now) = taken.iter().map(|(_, now)| *now).max() {
        let taken: Vec<String> = taken.into_iter().map(|(case, _)| case).collect();
        let statement = "UPDATE case_links SET follow_time = $2 + lag \
                         WHERE case_id = ANY($1) AND kind = 'joined' AND end_time IS NULL";
        tx.execute(statement, vec![taken.into(), now.0.into()]).await?;
    }
    Ok(())
}

/// Those of the changed cases that others are joined to: few, of many that are handed up at once.
async fn mains(tx: &mut Tx, changed: &[&Changed]) -> Result<BTreeSet<Uuid>, Error> {
    if changed.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: Vec<String> = changed.iter().map(|change| change.id.to_string()).collect();
    let statement =
        "SELECT DISTINCT other FROM case_links WHERE other = ANY($1) AND kind = 'joined' AND end_time IS NULL";
    let rows = tx.fetch(statement, vec![ids.into()]).await?;
    rows.iter().map(|row| rows::uuid(row, "other")).collect()
}

/// The links of a case to cases that an agency has a seeing part in.
pub(super) async fn of(db: &Db, case: Uuid, viewer: &AgencyId) -> Result<Links, Error> {
    let seeing = || Value::from(Part::seeing(Sight::Case));
    let mut links = Links::default();
    let statement = "SELECT kind, other FROM case_links JOIN case_parties ON case_parties.case_id = other \
                     WHERE case_links.case_id = $1 AND end_time IS NULL AND agency = $2 AND part = ANY($3)";
    let values = vec![case.into(), viewer.as_str().into(), seeing()];
    for row in &db.fetch(statement, values).await? {
        let other = Some(rows::uuid(row, "other")?);
        match row.get::<String>("kind")? == Link::Joined.name() {
            true => links.main = other,
            false => links.prior = other,
        }
    }
    let statement = "SELECT case_links.case_id AS case_id FROM case_links \
                     JOIN case_parties ON case_parties.case_id = case_links.case_id \
                     WHERE other = $1 AND kind = 'joined' AND end_time IS NULL AND agency = $2 AND part = ANY($3) \
                     ORDER BY case_links.case_id DESC LIMIT $4";
    let values = vec![case.into(), viewer.as_str().into(), seeing(), MOST_LINKS.into()];
    for row in &db.fetch(statement, values).await? {
        links.joined.push(rows::uuid(row, "case_id")?);
    }
    Ok(links)
}

/// A command to end a link, with what the store knows of it.
pub(super) struct Split {
    pub(super) command: Command,
    /// Of the link, if there is one that the caller may see.
    salt: Option<Bytes32>,
}

/// Looks where a report is that a command names; `None` for other commands.
pub(super) async fn found(tx: &mut Tx, command: &Command) -> Result<Option<Split>, Error> {
    let (Action::SplitReport(split), Some(agency)) = (&command.action, command.by.agency()) else {
        return Ok(None);
    };
    let statement = "SELECT case_reports.case_id AS case_id, other, salt FROM case_reports \
                     JOIN case_parties ON case_parties.case_id = case_reports.case_id \
                     LEFT JOIN case_links ON case_links.case_id = case_reports.case_id AND kind = 'joined' \
                     AND end_time IS NULL WHERE report = $1 AND agency = $2 AND part = ANY($3)";
    let seeing = Part::seeing(Sight::Case);
    let values = vec![split.report.into(), agency.as_str().into(), seeing.into()];
    let (mut found, mut salt) = (Membership::None, None);
    for row in &tx.fetch(statement, values).await? {
        let case = rows::uuid(row, "case_id")?;
        let other: Option<String> = row.get("other")?;
        if case == command.case {
            found = Membership::Own;
        } else if other == Some(command.case.to_string()) {
            (found, salt) = (Membership::Joined(case), Some(row.array("salt", "salt")?));
        }
    }
    let mut command = command.clone();
    command.action = Action::SplitReport(SplitReport { found, ..*split });
    Ok(Some(Split { command, salt }))
}

impl Split {
    /// Ends the link, and returns what the log is told of it.
    pub(super) async fn end(&self, tx: &mut Tx, now: Time) -> Result<Option<Bytes32>, Error> {
        let (Action::SplitReport(split), Some(salt)) = (&self.command.action, &self.salt) else {
            return Ok(None);
        };
        let Membership::Joined(case) = split.found else {
            return Ok(None);
        };
        let statement =
            "UPDATE case_links SET end_time = $2, follow_time = NULL WHERE case_id = $1 AND kind = 'joined'";
        tx.execute(statement, vec![case.into(), now.0.into()]).await?;
        let report = report_name(split.report);
        Ok(Some(keyed_hash(salt, "case-split-v1", report.as_bytes())))
    }
}
