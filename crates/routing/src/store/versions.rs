//! The versions of directory and rule set: kept by digest, never changed, one of each kind active.
//!
//! Each content hashes to its digest. A directory's is the digest of its tree of territories, and then its file of agencies;
//! the tree is kept by that digest, so that directories share it. Creating a version and switching to it are changes of one
//! record per kind ([`VersionKind::record`]), which go to audit like every other.
//!
//! To switch, propose the pair that is to decide ([`Active::with_directory`], [`Active::with_rules`]) and hand it to
//! [`Versions::activate`], with what was active when it was proposed. The database is the judge: a switch in between is told
//! as [`Activated::Outdated`], and the proposal is made again.

use std::sync::Arc;

use api::event::{Actor, Detail};
use async_trait::async_trait;
use data_encoding::HEXLOWER;
use journal::{Bytes32, Delivery, Draft, Entropy, Head, Time, seal};
use places::Territories;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{read, rows};
use crate::{
    active::{Active, Current, Digests, VersionKind},
    directory::{AgencyId, Directory},
    rules::RuleSet,
};

/// Cases without an owner that a refusal names at most.
pub const NAMED: u32 = 100;

/// A version to be kept.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The pair that would decide, were it active; only its part of this kind is kept.
    pub proposed: Active,
    /// Which part.
    pub kind: VersionKind,
    /// Who makes it, as it is logged.
    pub actor: Actor,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// A switch.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The pair that is to decide. What of it is not kept yet is kept.
    pub next: Active,
    /// What was active when it was proposed.
    pub seen: Digests,
    /// Why, where a reason has to be given; logged.
    pub purpose: String,
    /// Who switches, as it is logged.
    pub actor: Actor,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// What became of a switch.
#[derive(Clone, Debug)]
pub enum Activated {
    /// Done.
    Done(Arc<Active>),
    /// It is what was active already: nothing was written.
    Unchanged,
    /// Another switch came first. Nothing was written; [`Versions::active`] is the newer one.
    Outdated,
    /// Open cases would have nobody: the agencies that own them are not in the new directory, or end in it without a successor.
    /// Nothing was written.
    Ownerless(Ownerless),
}

/// Open cases whose owners a directory does not have, or has with an end and no successor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownerless {
    /// Owners and ids of their cases, at most [`NAMED`].
    pub cases: Vec<(AgencyId, Uuid)>,
    /// Whether there are more than are named.
    pub more: bool,
}

/// A version as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// SHA-256 of its content.
    pub digest: Bytes32,
    /// When it was kept first.
    pub create_time: Time,
    /// The system that made it.
    pub created_by: String,
}

/// A switch that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastActivation {
    /// Sequence of its change in the record of its kind.
    pub sequence: u64,
    /// What became active.
    pub digest: Bytes32,
    /// When.
    pub activate_time: Time,
    /// The system that switched.
    pub activated_by: String,
    /// Id of the event in the log.
    pub event_id: String,
}

/// The versions. Each method is one atomic use case, the same for both kinds.
#[async_trait]
pub trait Versions: Send + Sync + 'static {
    /// What decides, as this process knows it: after a switch elsewhere, the former for a second at most.
    fn active(&self) -> Arc<Active>;

    /// Takes over a switch that another replica made; returns whether there was one.
    async fn refresh(&self) -> Result<bool, Error>;

    /// Keeps a version without switching to it, with its change, in one durable transaction. One that is kept already stays
    /// as it is, which is answered with `false`.
    async fn create(&self, version: &NewVersion, now: Time) -> Result<bool, Error>;

    /// Switches, with a change per kind that is switched, in one durable transaction, or says why not.
    async fn activate(&self, activation: &Activation, now: Time) -> Result<Activated, Error>;

    /// Open cases that would have nobody under a directory. What it says may change until it is activated.
    async fn ownerless(&self, directory: &Directory) -> Result<Ownerless, Error>;

    /// The directory of a digest; `None` when it was never kept.
    async fn directory(&self, digest: &[u8]) -> Result<Option<Directory>, Error>;

    /// The rule set of a digest, as it goes with a directory; `None` when it was never kept.
    async fn rule_set(&self, digest: &[u8], directory: &Directory) -> Result<Option<RuleSet>, Error>;

    /// The canonical bytes of a rule set, or the text of the agencies of a directory; `None` when there is no such version of
    /// the kind.
    async fn source(&self, kind: VersionKind, digest: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Versions of a kind, newest first, after a place in that order, at most `limit`.
    async fn versions(
        &self,
        kind: VersionKind,
        after: Option<(Time, Bytes32)>,
        limit: u32,
    ) -> Result<Vec<VersionInfo>, Error>;

    /// Switches of a kind, newest first, from below a sequence, at most `limit`.
    async fn activations(
        &self,
        kind: VersionKind,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PastActivation>, Error>;
}

const VERSIONS: Insert = Insert::into(
    "versions",
    &[
        ("digest", Kind::Bytes),
        ("kind", Kind::Text),
        ("content", Kind::Bytes),
        ("create_time", Kind::Int),
        ("created_by", Kind::Text),
    ],
)
.then("ON CONFLICT (digest) DO NOTHING RETURNING kind");

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

const TERRITORIES: &str = "territories";

/// Length of a digest.
const DIGEST: usize = 32;

/// Where the versions of one kind stand.
#[derive(Clone, Copy, Debug)]
struct Standing {
    digest: Bytes32,
    head: Head,
}

/// Where both kinds stand; `None` in a database that nothing was ever activated in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standings {
    directory: Standing,
    rules: Standing,
}

impl Standings {
    pub(crate) fn digests(&self) -> Digests {
        Digests {
            directory: self.directory.digest,
            rules: self.rules.digest,
        }
    }

    fn generation(&self) -> u64 {
        self.directory.head.sequence + self.rules.head.sequence
    }

    fn of(&mut self, kind: VersionKind) -> &mut Standing {
        match kind {
            VersionKind::Directory => &mut self.directory,
            VersionKind::RuleSet => &mut self.rules,
        }
    }

    /// From the rows in the order of the kinds' names.
    fn read(found: &[Row]) -> Result<Option<Self>, Error> {
        let standing = |row: &Row| {
            Ok::<_, Error>(Standing {
                digest: row.array(1, "digest")?,
                head: Head {
                    sequence: row.count(2, "sequence")?,
                    hash: row.array(3, "hash")?,
                    time: Time(row.get(4)?),
                },
            })
        };
        match found {
            [] => Ok(None),
            [directory, rules] => Ok(Some(Self {
                directory: standing(directory)?,
                rules: standing(rules)?,
            })),
            _ => Err(rows::damaged("active versions", "one of the two kinds is missing")),
        }
    }
}

/// Where both kinds stand, as it is now and may no longer be in a moment.
pub(crate) async fn standings(db: &Db) -> Result<Option<Standings>, Error> {
    let found = db.fetch(
        "SELECT kind, digest, sequence, hash, change_time FROM active_versions ORDER BY kind",
        vec![],
    );
    Standings::read(&found.await?)
}

/// What decides, held against a switch until the transaction ends.
pub(super) async fn hold(tx: &mut Tx, current: &Current) -> Result<Arc<Active>, Error> {
    let found = tx
        .fetch(
            "SELECT kind, digest, sequence, hash, change_time FROM active_versions ORDER BY kind FOR SHARE",
            vec![],
        )
        .await?;
    let standings =
        Standings::read(&found)?.ok_or_else(|| rows::damaged("active versions", "nothing was ever activated"))?;
    let known = current.get();
    if known.digests() == standings.digests() {
        return Ok(known);
    }
    let active = Arc::new(load(tx, &standings, &known).await?);
    current.advance(&active);
    Ok(active)
}

/// Loads what is active; what is `known` of it is not read again.
pub(crate) async fn load(from: impl Reads, standings: &Standings, known: &Active) -> Result<Active, Error> {
    let mut from = from;
    let digests = standings.digests();
    let (same_directory, same_rules) = (
        known.directory.digest() == digests.directory,
        known.rules.digest() == digests.rules,
    );
    let missing = |kind| rows::damaged("active versions", format!("the {kind} is missing"));
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
        generation: standings.generation(),
    })
}

/// A kept version is not kept twice.
pub(super) async fn try_create(
    tx: &mut Tx,
    version: &NewVersion,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<bool, Error> {
    let mut standings = lock(tx)
        .await?
        .ok_or_else(|| rows::damaged("active versions", "nothing was ever activated"))?;
    let NewVersion { proposed, kind, .. } = version;
    if !keep(tx, proposed, *kind, &version.actor, now).await? {
        return Ok(false);
    }
    let standing = standings.of(*kind);
    let active = HEXLOWER.encode(&standing.digest);
    let draft = Draft {
        source: "routing",
        record: kind.record(),
        kind: kind.created(),
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
    let delivery = delivery(draft, &standing.head, now, entropy);
    standing.head = delivery.change.head;
    update(tx, *kind, standing).await?;
    journal::append(tx, vec![delivery]).await?;
    Ok(true)
}

pub(super) async fn try_activate(
    tx: &mut Tx,
    activation: &Activation,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Activated, Error> {
    let Some(mut standings) = lock(tx).await? else {
        return Err(rows::damaged("active versions", "nothing was ever activated"));
    };
    let seen = standings.digests();
    if seen != activation.seen {
        return Ok(Activated::Outdated);
    }
    let next = activation.next.digests();
    if next == seen {
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
    let mut deliveries = Vec::new();
    for kind in switched {
        let standing = standings.of(kind);
        let before = HEXLOWER.encode(&standing.digest);
        deliveries.push(switch(tx, kind, standing, before, activation, entropy, now).await?);
        update(tx, kind, standing).await?;
    }
    journal::append(tx, deliveries).await?;
    Ok(Activated::Done(Arc::new(Active {
        generation: standings.generation(),
        ..activation.next.clone()
    })))
}

/// Makes a pair the first that decides. Fails as [`Error::is_transient`] when another replica was faster.
pub(crate) async fn try_seed(
    tx: &mut Tx,
    first: &Active,
    actor: Actor,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Option<Standings>, Error> {
    if lock(tx).await?.is_some() {
        return Ok(None);
    }
    let nothing = Standing {
        digest: [0; 32],
        head: Head::default(),
    };
    let mut standings = Standings {
        directory: nothing,
        rules: nothing,
    };
    let activation = Activation {
        next: first.clone(),
        seen: standings.digests(),
        purpose: String::new(),
        actor,
        traceparent: String::new(),
    };
    let (mut deliveries, mut active) = (Vec::new(), Vec::new());
    for kind in VersionKind::ALL {
        let standing = standings.of(kind);
        deliveries.push(switch(tx, kind, standing, String::new(), &activation, entropy, now).await?);
        active.push(standing_row(kind, standing));
    }
    ACTIVE.rows(tx, active).await?;
    journal::append(tx, deliveries).await?;
    Ok(Some(standings))
}

/// Keeps the version, seals its activation and moves the standing; writing the standing is left to the caller.
async fn switch(
    tx: &mut Tx,
    kind: VersionKind,
    standing: &mut Standing,
    before: String,
    activation: &Activation,
    entropy: &dyn Entropy,
    now: Time,
) -> Result<Delivery, Error> {
    let Activation { next, actor, .. } = activation;
    keep(tx, next, kind, actor, now).await?;
    let digest = next.digests().of(kind);
    let draft = Draft {
        source: "routing",
        record: kind.record(),
        kind: kind.activated(),
        caused_by: None,
        detail: Detail {
            from_state: before,
            to_state: HEXLOWER.encode(&digest),
            actor: Some(actor.clone()),
            purpose: activation.purpose.clone(),
            version_digest: digest.to_vec().into(),
            ..Default::default()
        },
        traceparent: activation.traceparent.clone(),
    };
    let delivery = delivery(draft, &standing.head, now, entropy);
    let change = &delivery.change;
    *standing = Standing {
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
    let change = seal(draft, head, now, entropy);
    let audit = change.with_detail().encode_to_vec();
    Delivery {
        change,
        payloads: vec![("audit", audit)],
    }
}

async fn lock(tx: &mut Tx) -> Result<Option<Standings>, Error> {
    let found = tx
        .fetch(
            "SELECT kind, digest, sequence, hash, change_time FROM active_versions ORDER BY kind FOR UPDATE",
            vec![],
        )
        .await?;
    Standings::read(&found)
}

fn standing_row(kind: VersionKind, standing: &Standing) -> [Value; 5] {
    [
        kind.as_str().into(),
        standing.digest.into(),
        standing.head.sequence.cast_signed().into(),
        standing.head.hash.into(),
        standing.head.time.0.into(),
    ]
}

async fn update(tx: &mut Tx, kind: VersionKind, standing: &Standing) -> Result<(), Error> {
    tx.execute(
        "UPDATE active_versions SET digest = $2, sequence = $3, hash = $4, change_time = $5 WHERE kind = $1",
        standing_row(kind, standing).to_vec(),
    )
    .await
    .map(drop)
}

/// Keeps one part of a pair, and returns whether it was not kept before.
async fn keep(tx: &mut Tx, pair: &Active, kind: VersionKind, actor: &Actor, now: Time) -> Result<bool, Error> {
    let row = |digest: Bytes32, kind: &str, content: Vec<u8>| {
        [
            digest.into(),
            kind.into(),
            content.into(),
            now.0.into(),
            actor.system.as_str().into(),
        ]
    };
    let rows = match kind {
        VersionKind::Directory => {
            let directory = &pair.directory;
            let territories = directory.territories().source();
            let tree = directory.territories().digest();
            let content = [&tree, directory.source().as_bytes()].concat();
            vec![
                row(tree, TERRITORIES, territories.as_bytes().to_vec()),
                row(directory.digest(), kind.as_str(), content),
            ]
        }
        VersionKind::RuleSet => vec![row(pair.rules.digest(), kind.as_str(), pair.rules.canonical().to_vec())],
    };
    let kept = VERSIONS.rows(tx, rows).await?;
    for row in &kept {
        if row.get::<String>(0)? == kind.as_str() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn ownerless(tx: &mut Tx, directory: &Directory) -> Result<Ownerless, Error> {
    let mut cases = read::unknown_owners(tx, directory, NAMED + 1).await?;
    let more = cases.len() > NAMED as usize;
    cases.truncate(NAMED as usize);
    Ok(Ownerless { cases, more })
}

/// Where single rows are read from.
pub(crate) trait Reads {
    /// One row or none.
    fn row(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send;
}

impl Reads for &Db {
    fn row(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send {
        self.fetch_optional(statement, values)
    }
}

impl Reads for &mut Tx {
    fn row(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send {
        self.fetch_optional(statement, values)
    }
}

pub(super) async fn read_directory(from: &mut impl Reads, digest: &[u8]) -> Result<Option<Directory>, Error> {
    let kind = VersionKind::Directory.as_str();
    let Some(content) = content(from, kind, digest).await? else {
        return Ok(None);
    };
    let (tree, agencies) = take_apart(&content)?;
    let territories = self::content(from, TERRITORIES, tree)
        .await?
        .ok_or_else(|| rows::damaged(kind, "its tree of territories is missing"))?;
    let shipped = Territories::shipped();
    let territories = match shipped.source().as_bytes() == territories {
        true => shipped.clone(),
        false => Territories::parse(text(&territories)?).map_err(|error| rows::damaged(TERRITORIES, error))?,
    };
    let directory = Directory::parse(text(agencies)?, &territories).map_err(|error| rows::damaged(kind, error))?;
    Ok(Some(directory))
}

pub(super) async fn read_rule_set(
    from: &mut impl Reads,
    digest: &[u8],
    directory: &Directory,
) -> Result<Option<RuleSet>, Error> {
    let kind = VersionKind::RuleSet.as_str();
    let Some(content) = content(from, kind, digest).await? else {
        return Ok(None);
    };
    RuleSet::decode(&content, directory)
        .map(Some)
        .map_err(|error| rows::damaged(kind, error))
}

pub(super) async fn source(db: &Db, kind: VersionKind, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(content) = content(&mut &*db, kind.as_str(), digest).await? else {
        return Ok(None);
    };
    Ok(Some(match kind {
        VersionKind::Directory => take_apart(&content)?.1.to_vec(),
        VersionKind::RuleSet => content,
    }))
}

/// A directory's content: the digest of its tree, and its agencies.
fn take_apart(content: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    content
        .split_at_checked(DIGEST)
        .ok_or_else(|| rows::damaged(VersionKind::Directory.as_str(), "it is too short"))
}

async fn content(from: &mut impl Reads, kind: &'static str, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let row = from
        .row(
            "SELECT content FROM versions WHERE digest = $1 AND kind = $2",
            vec![digest.into(), kind.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let content: Vec<u8> = row.get(0)?;
    if Sha256::digest(&content).as_slice() != digest {
        return Err(rows::damaged(kind, "its content does not have its digest"));
    }
    Ok(Some(content))
}

fn text(content: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(content).map_err(|error| rows::damaged("version", error))
}

pub(super) async fn versions(
    db: &Db,
    kind: VersionKind,
    after: Option<(Time, Bytes32)>,
    limit: u32,
) -> Result<Vec<VersionInfo>, Error> {
    let (time, digest) = after.map_or((i64::MAX, [0xff; 32]), |(time, digest)| (time.0, digest));
    db.fetch(
        "SELECT digest, create_time, created_by FROM versions WHERE kind = $1 AND (create_time, digest) < ($2, $3) \
         ORDER BY create_time DESC, digest DESC LIMIT $4",
        vec![
            kind.as_str().into(),
            time.into(),
            digest.into(),
            i64::from(limit).into(),
        ],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(VersionInfo {
            digest: row.array(0, "digest")?,
            create_time: Time(row.get(1)?),
            created_by: row.get(2)?,
        })
    })
    .collect()
}

pub(super) async fn activations(
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
            sequence: row.count(0, "sequence")?,
            digest: row.array(1, "digest")?,
            activate_time: Time(row.get(2)?),
            activated_by: row.get(3)?,
            event_id: row.get(4)?,
        })
    })
    .collect()
}
