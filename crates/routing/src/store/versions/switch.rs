//! The active versions: held in a transaction, created and switched, each with its change.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::event::{Actor, Detail, VersionDifference};
use data_encoding::HEXLOWER;
use decision::directory::{AgencyId, Directory};
use journal::{Answers, Bytes32, Delivery, Draft, Earlier, Entropy, Head, Payload, Time};
use prost::Message as _;
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};

use super::{
    Activated, Activation, Created, Hand, NAMED, NewVersion, Ownerless, PastActivation, Person, Proposal, Request,
    kept::{Reads, keep, read_directory, read_rule_set},
};
use crate::{
    active::{Active, Current, Digests, VersionKind},
    store::{read, rows},
};

const ACTIVE: Insert = Insert::into(
    "active_versions",
    &[
        ("kind", Kind::Text),
        ("digest", Kind::Bytes),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
    ],
);

const FORMER: Insert = Insert::into("former_agencies", &[("agency", Kind::Text), ("successor", Kind::Text)])
    .then("ON CONFLICT (agency) DO UPDATE SET successor = excluded.successor");

const ACTIVATIONS: Insert = Insert::into(
    "activations",
    &[
        ("kind", Kind::Text),
        ("sequence", Kind::Int),
        ("digest", Kind::Bytes),
        ("activate_time", Kind::Int),
        ("activated_by", Kind::Text),
        ("event_id", Kind::Text),
    ],
);

/// The rows of [`ActiveVersions`].
macro_rules! active {
    () => {
        "SELECT kind, digest, sequence, hash, change_time FROM active_versions ORDER BY kind"
    };
}

/// The active version of one kind, and the head of the kind's chain of changes.
#[derive(Clone, Copy, Debug)]
struct ActiveVersion {
    digest: Bytes32,
    head: Head,
}

/// The active versions of both kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActiveVersions {
    directory: ActiveVersion,
    rules: ActiveVersion,
}

impl ActiveVersions {
    pub(crate) fn digests(&self) -> Digests {
        Digests {
            directory: self.directory.digest,
            rules: self.rules.digest,
        }
    }

    fn generation(&self) -> u64 {
        self.directory.head.sequence + self.rules.head.sequence
    }

    fn of(&mut self, kind: VersionKind) -> &mut ActiveVersion {
        match kind {
            VersionKind::Directory => &mut self.directory,
            VersionKind::RuleSet => &mut self.rules,
        }
    }

    /// Reads both rows; `None` if nothing was ever activated.
    fn read(found: &[Row]) -> Result<Option<Self>, Error> {
        let version = |kind: VersionKind| {
            for row in found {
                if row.get::<String>("kind")? == kind.as_str() {
                    return Ok(ActiveVersion {
                        digest: row.array("digest", "digest")?,
                        head: rows::head(row)?,
                    });
                }
            }
            Err(rows::damaged("active versions", format!("the {kind} is missing")))
        };
        if found.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            directory: version(VersionKind::Directory)?,
            rules: version(VersionKind::RuleSet)?,
        }))
    }
}

/// The active versions at this moment; `None` if nothing was ever activated.
pub(crate) async fn active(db: &Db) -> Result<Option<ActiveVersions>, Error> {
    let found = db.fetch(active!(), vec![]);
    ActiveVersions::read(&found.await?)
}

/// The error for a database in which nothing was ever activated.
pub(crate) fn none_active() -> Error {
    rows::damaged("active versions", "nothing was ever activated")
}

/// The active pair, which cannot be switched until the transaction ends.
pub(in crate::store) async fn hold(tx: &mut Tx, current: &Current) -> Result<Arc<Active>, Error> {
    let found = tx.fetch(concat!(active!(), " FOR SHARE"), vec![]).await?;
    let versions = ActiveVersions::read(&found)?.ok_or_else(none_active)?;
    let known = current.get();
    if known.digests() == versions.digests() {
        return Ok(known);
    }
    let active = Arc::new(load(tx, &versions, &known).await?);
    current.advance(&active);
    Ok(active)
}

/// Loads the active pair, except for the parts that are `known`.
pub(crate) async fn load(mut from: impl Reads, versions: &ActiveVersions, known: &Active) -> Result<Active, Error> {
    let digests = versions.digests();
    let (same_directory, same_rules) = (
        known.directory.digest() == digests.directory,
        known.rules.digest() == digests.rules,
    );
    let missing = |kind| rows::damaged("active versions", format!("the content of the {kind} is missing"));
    let directory = match same_directory {
        true => Arc::clone(&known.directory),
        false => Arc::new(
            read_directory(&mut from, &digests.directory)
                .await?
                .ok_or_else(|| missing(VersionKind::Directory))?,
        ),
    };
    let rules = match same_directory && same_rules {
        true => Arc::clone(&known.rules),
        false => Arc::new(
            read_rule_set(&mut from, &digests.rules, &directory)
                .await?
                .ok_or_else(|| missing(VersionKind::RuleSet))?,
        ),
    };
    Ok(Active {
        directory,
        rules,
        generation: versions.generation(),
    })
}

/// Creates a version, unless it exists.
pub(in crate::store) async fn try_create(
    tx: &mut Tx,
    version: &NewVersion,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Created, Error> {
    let mut versions = lock(tx).await?.ok_or_else(none_active)?;
    let NewVersion {
        proposed,
        kind,
        request,
        ..
    } = version;
    if let Some(earlier) = earlier(tx, request.as_ref()).await? {
        return Ok(Created::Earlier(earlier));
    }
    if !keep(tx, proposed, *kind, &version.actor, now).await? {
        keep_answer(tx, request.as_ref(), |request| &request.unchanged, now).await?;
        return Ok(Created::Unchanged);
    }
    let current = versions.of(*kind);
    let active = HEXLOWER.encode(&current.digest);
    let draft = Draft {
        source: "routing",
        record: kind.record(),
        kind: kind.created().name(),
        caused_by: None,
        detail: Detail {
            from_state: active.clone(),
            to_state: active,
            actor: Some(version.actor.clone()),
            version_digest: proposed.digests().of(*kind).to_vec().into(),
            ..Default::default()
        },
        traceparent: version.traceparent.clone(),
    };
    let delivery = delivery(draft, &current.head, now, entropy);
    current.head = delivery.change.head;
    update(tx, *kind, current).await?;
    journal::append(tx, vec![delivery]).await?;
    keep_answer(tx, request.as_ref(), |request| &request.done, now).await?;
    Ok(Created::Done)
}

/// The answer to an earlier request with the same id. Call it with the versions locked, so that a
/// simultaneous repetition waits for the first request.
async fn earlier(tx: &mut Tx, request: Option<&Request>) -> Result<Option<Earlier>, Error> {
    let Some(Request { id, .. }) = request else {
        return Ok(None);
    };
    Ok(Answers::find(tx, [id]).await?.earlier(id))
}

async fn keep_answer(
    tx: &mut Tx,
    request: Option<&Request>,
    answer: impl FnOnce(&Request) -> &Vec<u8>,
    now: Time,
) -> Result<(), Error> {
    let Some(request) = request else {
        return Ok(());
    };
    let mut answers = Answers::default();
    answers.add(&request.id, answer(request).clone());
    answers.keep(tx, now).await
}

pub(in crate::store) async fn try_activate(
    tx: &mut Tx,
    activation: &Activation,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Activated, Error> {
    let mut versions = lock(tx).await?.ok_or_else(none_active)?;
    let request = activation.request.as_ref();
    if let Some(earlier) = earlier(tx, request).await? {
        return Ok(Activated::Earlier(earlier));
    }
    let seen = versions.digests();
    if seen != activation.seen {
        return Ok(Activated::Outdated);
    }
    let next = activation.next.digests();
    if next == seen {
        // A repeat that comes after another switch must not undo that.
        keep_answer(tx, request, |request| &request.unchanged, now).await?;
        return Ok(Activated::Unchanged);
    }
    if next.directory != seen.directory {
        let ownerless = ownerless(tx, &activation.next.directory).await?;
        if !ownerless.cases.is_empty() {
            return Ok(Activated::Ownerless(ownerless));
        }
    }
    let switched = VersionKind::ALL
        .into_iter()
        .filter(|kind| next.of(*kind) != seen.of(*kind));
    let switched: Vec<_> = switched.collect();
    let mut proposals = Vec::new();
    match &activation.hand {
        // What nothing was routed by yet, one person sets up.
        Hand::First(_) if !is_in_use(tx).await? => {}
        Hand::First(None) => return Ok(Activated::Nameless),
        Hand::First(Some(person)) => {
            let mut deliveries = Vec::new();
            for kind in switched {
                let current = versions.of(kind);
                deliveries.push(propose(tx, kind, current, (activation, person), entropy, now).await?);
                update(tx, kind, current).await?;
            }
            journal::append(tx, deliveries).await?;
            keep_answer(tx, request, |request| &request.proposed, now).await?;
            return Ok(Activated::Proposed);
        }
        hand @ (Hand::Second(_) | Hand::Look(_)) => {
            for kind in &switched {
                let found = proposed_in(tx, *kind).await?;
                let fits = |found: &Proposal| (found.digest, found.against) == (next.of(*kind), seen);
                let Some(found) = found.filter(fits) else {
                    return Ok(Activated::NotProposed);
                };
                if let Hand::Second(person) | Hand::Look(Some(person)) = hand
                    && let Err(same) = person.check_other(&found.by)
                {
                    return Ok(Activated::Same(same));
                }
                proposals.push(found);
            }
            if matches!(hand, Hand::Look(_)) {
                return Ok(Activated::Approvable);
            }
        }
    }
    if next.directory != seen.directory {
        keep_former(tx, &seen.directory, &activation.next.directory).await?;
    }
    let mut deliveries = Vec::new();
    for (at, kind) in switched.into_iter().enumerate() {
        let current = versions.of(kind);
        let before = HEXLOWER.encode(&current.digest);
        let proposal = proposals.get(at);
        deliveries.push(switch(tx, kind, current, before, (activation, proposal), entropy, now).await?);
        update(tx, kind, current).await?;
    }
    // Whatever else was proposed, of either kind, was compared with a pair that is no longer in
    // force.
    tx.execute("DELETE FROM version_proposals", vec![]).await?;
    journal::append(tx, deliveries).await?;
    keep_answer(tx, request, |request| &request.done, now).await?;
    Ok(Activated::Done(Arc::new(Active {
        generation: versions.generation(),
        ..activation.next.clone()
    })))
}

/// Whether anything was ever routed.
async fn is_in_use(tx: &mut Tx) -> Result<bool, Error> {
    let found = tx.fetch_optional("SELECT 1 FROM cases LIMIT 1", vec![]);
    Ok(found.await?.is_some())
}

const PROPOSALS: Insert = Insert::into(
    "version_proposals",
    &[
        ("kind", Kind::Text),
        ("digest", Kind::Bytes),
        ("against_directory", Kind::Bytes),
        ("against_rules", Kind::Bytes),
        ("officer", Kind::Text),
        ("is_signed", Kind::Int),
        ("system", Kind::Text),
        ("purpose", Kind::Text),
        ("propose_time", Kind::Int),
        ("event_id", Kind::Text),
    ],
);

/// Keeps what one person proposes, in the place of what was proposed before, with its change.
async fn propose(
    tx: &mut Tx,
    kind: VersionKind,
    current: &mut ActiveVersion,
    (activation, person): (&Activation, &Person),
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Delivery, Error> {
    let Activation { next, actor, .. } = activation;
    keep(tx, next, kind, actor, now).await?;
    let digest = next.digests().of(kind);
    let in_force = HEXLOWER.encode(&current.digest);
    let draft = Draft {
        source: "routing",
        record: kind.record(),
        kind: kind.proposed().name(),
        caused_by: None,
        detail: Detail {
            from_state: in_force.clone(),
            to_state: in_force,
            actor: Some(actor.clone()),
            purpose: activation.purpose.clone(),
            version_digest: digest.to_vec().into(),
            version_difference: Some(activation.difference.clone()),
            ..Default::default()
        },
        traceparent: activation.traceparent.clone(),
    };
    let delivery = delivery(draft, &current.head, now, entropy);
    let change = &delivery.change;
    current.head = change.head;
    tx.execute(
        "DELETE FROM version_proposals WHERE kind = $1",
        vec![kind.as_str().into()],
    )
    .await?;
    let row = [
        kind.as_str().into(),
        digest.into(),
        activation.seen.directory.into(),
        activation.seen.rules.into(),
        person.name.as_str().into(),
        i64::from(person.is_signed).into(),
        person.system.as_str().into(),
        activation.purpose.as_str().into(),
        now.0.into(),
        change.event_id.to_string().into(),
    ];
    PROPOSALS.rows(tx, vec![row]).await?;
    Ok(delivery)
}

const PROPOSED: &str = "SELECT digest, against_directory, against_rules, officer, is_signed, system, purpose, propose_time, \
                        event_id FROM version_proposals WHERE kind = $1";

/// What is proposed of a kind.
pub(in crate::store) async fn proposal(db: &Db, kind: VersionKind) -> Result<Option<Proposal>, Error> {
    let found = db.fetch_optional(PROPOSED, vec![kind.as_str().into()]).await?;
    found.as_ref().map(read_proposal).transpose()
}

async fn proposed_in(tx: &mut Tx, kind: VersionKind) -> Result<Option<Proposal>, Error> {
    let found = tx.fetch_optional(PROPOSED, vec![kind.as_str().into()]).await?;
    found.as_ref().map(read_proposal).transpose()
}

fn read_proposal(row: &Row) -> Result<Proposal, Error> {
    Ok(Proposal {
        digest: row.array("digest", "digest")?,
        against: Digests {
            directory: row.array("against_directory", "digest")?,
            rules: row.array("against_rules", "digest")?,
        },
        by: Person {
            name: row.get("officer")?,
            is_signed: row.get::<i64>("is_signed")? != 0,
            system: row.get("system")?,
        },
        purpose: row.get("purpose")?,
        propose_time: Time(row.get("propose_time")?),
        event_id: rows::uuid(row, "event_id")?,
    })
}

/// Keeps the agencies that the next directory no longer has: who named them goes on meaning them.
async fn keep_former(tx: &mut Tx, seen: &Bytes32, next: &Directory) -> Result<(), Error> {
    let Some(before) = read_directory(&mut &mut *tx, seen).await? else {
        return Err(rows::damaged("active versions", "the directory in force is not kept"));
    };
    let former = before.agencies().filter(|agency| next.agency(&agency.id).is_none());
    let former = former.map(|agency| {
        let successor = agency.successor.as_ref().map(AgencyId::as_str);
        [agency.id.as_str().into(), Value::text_or_null(successor)]
    });
    FORMER.rows(tx, former.collect::<Vec<_>>()).await?;
    Ok(())
}

const FORMER_OF: &str = "SELECT agency, successor FROM former_agencies WHERE agency = ANY($1)";

/// Agencies that only former directories have, with the successors that they had last.
pub(in crate::store) async fn former(db: &Db, ids: Vec<String>) -> Result<BTreeMap<AgencyId, Option<AgencyId>>, Error> {
    successors(&db.fetch(FORMER_OF, vec![ids.into()]).await?)
}

/// Like [`former`], in a transaction.
pub(in crate::store) async fn former_in(
    tx: &mut Tx,
    ids: Vec<String>,
) -> Result<BTreeMap<AgencyId, Option<AgencyId>>, Error> {
    successors(&tx.fetch(FORMER_OF, vec![ids.into()]).await?)
}

fn successors(rows: &[Row]) -> Result<BTreeMap<AgencyId, Option<AgencyId>>, Error> {
    let former = |row: &Row| {
        let successor: Option<String> = row.get("successor")?;
        let successor = successor.as_deref().map(rows::agency).transpose()?;
        Ok((rows::agency(&row.get::<String>("agency")?)?, successor))
    };
    rows.iter().map(former).collect()
}

/// Activates a pair in a new database; `None` if there is one already. If another replica was
/// faster, it fails with a [transient](Error::is_transient) error.
pub(crate) async fn try_seed(
    tx: &mut Tx,
    first: &Active,
    actor: Actor,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Option<ActiveVersions>, Error> {
    if lock(tx).await?.is_some() {
        return Ok(None);
    }
    let nothing = ActiveVersion {
        digest: [0; 32],
        head: Head::default(),
    };
    let mut versions = ActiveVersions {
        directory: nothing,
        rules: nothing,
    };
    let activation = Activation {
        next: first.clone(),
        seen: versions.digests(),
        hand: Hand::First(None),
        difference: VersionDifference::default(),
        purpose: String::new(),
        actor,
        traceparent: String::new(),
        request: None,
    };
    let (mut deliveries, mut active) = (Vec::new(), Vec::new());
    for kind in VersionKind::ALL {
        let current = versions.of(kind);
        deliveries.push(switch(tx, kind, current, String::new(), (&activation, None), entropy, now).await?);
        active.push(active_row(kind, current));
    }
    ACTIVE.rows(tx, active).await?;
    journal::append(tx, deliveries).await?;
    Ok(Some(versions))
}

/// Stores the version, makes the change and updates `current`, which the caller writes.
async fn switch(
    tx: &mut Tx,
    kind: VersionKind,
    current: &mut ActiveVersion,
    before: String,
    (activation, proposal): (&Activation, Option<&Proposal>),
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Delivery, Error> {
    let Activation { next, actor, .. } = activation;
    keep(tx, next, kind, actor, now).await?;
    let digest = next.digests().of(kind);
    let caused_by = proposal.map(|proposal| proposal.event_id);
    let draft = Draft {
        source: "routing",
        record: kind.record(),
        kind: kind.activated().name(),
        caused_by,
        detail: Detail {
            from_state: before,
            to_state: HEXLOWER.encode(&digest),
            actor: Some(actor.clone()),
            purpose: proposal.map_or_else(|| activation.purpose.clone(), |proposal| proposal.purpose.clone()),
            version_digest: digest.to_vec().into(),
            version_difference: Some(activation.difference.clone()).filter(|found| found.difference_count > 0),
            ..Default::default()
        },
        traceparent: activation.traceparent.clone(),
    };
    let delivery = delivery(draft, &current.head, now, entropy);
    let change = &delivery.change;
    *current = ActiveVersion {
        digest,
        head: change.head,
    };
    let row = [
        kind.as_str().into(),
        change.head.sequence.cast_signed().into(),
        digest.into(),
        change.head.time.0.into(),
        actor.system.as_str().into(),
        change.event_id.to_string().into(),
    ];
    ACTIVATIONS.rows(tx, vec![row]).await?;
    Ok(delivery)
}

fn delivery(draft: Draft<'_>, head: &Head, now: Time, entropy: &dyn Entropy) -> Delivery {
    let change = draft.into_change(head, now, entropy);
    let audit = change.with_detail().encode_to_vec();
    Delivery {
        change,
        payloads: vec![Payload::to("audit", audit)],
    }
}

async fn lock(tx: &mut Tx) -> Result<Option<ActiveVersions>, Error> {
    let found = tx.fetch(concat!(active!(), " FOR UPDATE"), vec![]).await?;
    ActiveVersions::read(&found)
}

fn active_row(kind: VersionKind, current: &ActiveVersion) -> [Value; 5] {
    [
        kind.as_str().into(),
        current.digest.into(),
        current.head.sequence.cast_signed().into(),
        current.head.hash.into(),
        current.head.time.0.into(),
    ]
}

async fn update(tx: &mut Tx, kind: VersionKind, current: &ActiveVersion) -> Result<(), Error> {
    tx.execute(
        "UPDATE active_versions SET digest = $2, sequence = $3, hash = $4, change_time = $5 WHERE kind = $1",
        active_row(kind, current).to_vec(),
    )
    .await
    .map(drop)
}

pub(in crate::store) async fn ownerless(tx: &mut Tx, directory: &Directory) -> Result<Ownerless, Error> {
    let mut cases = read::unknown_owners(tx, directory, NAMED + 1).await?;
    let more = cases.len() > NAMED as usize;
    cases.truncate(NAMED as usize);
    Ok(Ownerless { cases, more })
}

/// Whether a version was ever in force.
pub(crate) async fn was_active(db: &Db, kind: VersionKind, digest: Bytes32) -> Result<bool, Error> {
    let found = db.fetch_optional(
        "SELECT 1 FROM activations WHERE kind = $1 AND digest = $2 LIMIT 1",
        vec![kind.as_str().into(), digest.to_vec().into()],
    );
    Ok(found.await?.is_some())
}

pub(in crate::store) async fn activations(
    db: &Db,
    kind: VersionKind,
    below: Option<u64>,
    limit: u32,
) -> Result<Vec<PastActivation>, Error> {
    let below = below.map_or(i64::MAX, |below| i64::try_from(below).unwrap_or(i64::MAX));
    db.fetch(
        "SELECT sequence, digest, activate_time, activated_by, event_id FROM activations \
         WHERE kind = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
        vec![kind.as_str().into(), below.into(), i64::from(limit).into()],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(PastActivation {
            sequence: row.count("sequence", "sequence")?,
            digest: row.array("digest", "digest")?,
            activate_time: Time(row.get("activate_time")?),
            activated_by: row.get("activated_by")?,
            event_id: row.get("event_id")?,
        })
    })
    .collect()
}
