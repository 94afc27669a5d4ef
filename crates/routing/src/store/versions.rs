//! Versions of the directory and the rule set: immutable, identified by digest, one of each kind
//! active.
//!
//! The digest is the SHA-256 of the content. The content of a directory is the digest of its tree
//! of territories, followed by its file of agencies. The tree is stored under that digest, so that
//! directories share it. Creating a version and switching to it are changes of one record per kind
//! ([`VersionKind::record`]), and are logged like all others.
//!
//! To switch, propose a new pair ([`Active::with_directory`], [`Active::with_rules`]) and pass it
//! to [`Versions::activate`] with the digests of the pair it was proposed against. If there was
//! another switch meanwhile, the answer is [`Activated::Outdated`]: propose again.
//!
//! Two people put a version in force: one proposes, another approves ([`Hand`]). That is checked
//! where the switch is made, and nowhere else. Until the first case is opened one is enough: there
//! is nothing yet that a route decides.
//!
//! `versions/kept.rs` stores and reads contents, `versions/switch.rs` the active versions.

mod kept;
mod switch;

use std::{collections::BTreeMap, sync::Arc};

use api::event::{Actor, VersionDifference};
use async_trait::async_trait;
use decision::{
    directory::{AgencyId, Directory},
    rules::RuleSet,
};
use journal::{Bytes32, Earlier, RequestId, Time};
use sql::Error;
use uuid::Uuid;

pub(crate) use self::switch::{active, load, none_active, try_seed, was_active};
pub(super) use self::{
    kept::{read_directory, read_rule_set, source, versions},
    switch::{activations, former, former_in, hold, ownerless, proposal, try_activate, try_create},
};
use crate::active::{Active, Digests, VersionKind};

/// Maximum number of ownerless cases that a refusal names.
pub const NAMED: u32 = 100;

/// A version to create.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The pair that would be active with it; only the part of this kind is stored.
    pub proposed: Active,
    /// Which part.
    pub kind: VersionKind,
    /// Who creates it, as logged.
    pub actor: Actor,
    /// Trace context to continue.
    pub traceparent: String,
    /// The caller's id for the request.
    pub request: Option<Request>,
}

/// A caller's id for a request, and what is then kept as its first answer.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id.
    pub id: RequestId,
    /// The encoded answer where something was written.
    pub done: Vec<u8>,
    /// The encoded answer where everything was so already.
    pub unchanged: Vec<u8>,
    /// The encoded answer where it was proposed.
    pub proposed: Vec<u8>,
}

/// The result of creating a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// Created.
    Done,
    /// It existed already.
    Unchanged,
    /// An earlier request has the same id. Nothing was written.
    Earlier(Earlier),
}

/// A switch to another version.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The new pair. Parts that are not stored yet are stored.
    pub next: Active,
    /// The active pair when it was proposed.
    pub seen: Digests,
    /// Who: the first of two, or the second.
    pub hand: Hand,
    /// How it differs from the active pair.
    pub difference: VersionDifference,
    /// The reason, if one is required; logged.
    pub purpose: String,
    /// Who switches, as logged.
    pub actor: Actor,
    /// Trace context to continue.
    pub traceparent: String,
    /// The caller's id for the request.
    pub request: Option<Request>,
}

/// Whose hand switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// The first of two: proposes, or switches where one is enough. With the acting officer, if one
    /// is named.
    First(Option<Person>),
    /// The second of two: approves what another proposed.
    Second(Person),
    /// Looks at what the second of two would do, and does nothing. With the acting officer, if one
    /// is named: without, anybody may look.
    Look(Option<Person>),
}

/// An officer who switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name, in the form in which names of people are compared.
    pub name: String,
    /// Whether an issuer signed it. Otherwise the system says who its officer is.
    pub is_signed: bool,
    /// Through which system.
    pub system: String,
}

/// Why who approves is not shown to be another person than who proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// It is the same.
    Officer,
    /// One system named both, and not both names are signed: it may be one person with two names.
    System,
}

impl Person {
    /// Whether somebody else than `first` is shown to act.
    ///
    /// # Errors
    /// Why not.
    pub fn check_other(&self, first: &Self) -> Result<(), Same> {
        match (self.name != first.name, self.system != first.system) {
            (false, _) => Err(Same::Officer),
            (true, false) if !(self.is_signed && first.is_signed) => Err(Same::System),
            (true, _) => Ok(()),
        }
    }
}

/// What was proposed, and is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The version.
    pub digest: Bytes32,
    /// The pair that was in force then.
    pub against: Digests,
    /// Who proposed it.
    pub by: Person,
    /// Why, if that was said.
    pub purpose: String,
    /// When.
    pub propose_time: Time,
    /// Id of its event.
    pub event_id: Uuid,
}

/// The result of a switch. Only `Done` and `Proposed` wrote anything.
#[derive(Clone, Debug)]
pub enum Activated {
    /// Done.
    Done(Arc<Active>),
    /// Proposed: a second person has to approve it.
    Proposed,
    /// Two people are needed, and the first is not named.
    Nameless,
    /// Nobody has proposed it, or another pair was in force then.
    NotProposed,
    /// Who approves is not shown to be another person than who proposed.
    Same(Same),
    /// The second of two would put it in force; nothing was done.
    Approvable,
    /// The pair was active already.
    Unchanged,
    /// Another switch came first; [`Versions::active`] returns its pair.
    Outdated,
    /// Open cases would lose their owner.
    Ownerless(Ownerless),
    /// An earlier request has the id. Nothing was written.
    Earlier(Earlier),
}

/// Open cases whose owners are not in a directory, or end there without a successor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownerless {
    /// Owners and ids of their cases, at most [`NAMED`].
    pub cases: Vec<(AgencyId, Uuid)>,
    /// Whether there are more.
    pub more: bool,
}

/// A stored version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// SHA-256 of its content.
    pub digest: Bytes32,
    /// When it was created.
    pub create_time: Time,
    /// The system that created it.
    pub created_by: String,
}

/// A past switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastActivation {
    /// Sequence of its change in the record of its kind.
    pub sequence: u64,
    /// The version that became active.
    pub digest: Bytes32,
    /// When it did.
    pub activate_time: Time,
    /// The system that switched.
    pub activated_by: String,
    /// Id of the event in the log.
    pub event_id: String,
}

/// The store of versions. Each method is one atomic use case, the same for both kinds.
#[async_trait]
pub trait Versions: Send + Sync + 'static {
    /// The active pair as this process knows it: at most a second behind a switch by another
    /// replica.
    fn active(&self) -> Arc<Active>;

    /// Takes over a switch by another replica. Returns whether there was one.
    async fn refresh(&self) -> Result<bool, Error>;

    /// Creates a version without switching to it, with its change, in one durable transaction,
    /// unless it exists.
    async fn create(&self, version: &NewVersion, now: Time) -> Result<Created, Error>;

    /// The answer to an earlier request with this id; `None` if there was none.
    async fn earlier(&self, request: &RequestId) -> Result<Option<Earlier>, Error>;

    /// Switches, with a change for each kind that differs, in one durable transaction.
    async fn activate(&self, activation: &Activation, now: Time) -> Result<Activated, Error>;

    /// What is proposed of a kind and not in force; `None` if nothing is.
    async fn proposal(&self, kind: VersionKind) -> Result<Option<Proposal>, Error>;

    /// Open cases that would lose their owner under a directory. May change until the switch.
    async fn ownerless(&self, directory: &Directory) -> Result<Ownerless, Error>;

    /// Those of these agencies that a directory in force had once and that a later one no longer
    /// has, with the successor that each had last.
    async fn former(&self, ids: Vec<String>) -> Result<BTreeMap<AgencyId, Option<AgencyId>>, Error>;

    /// The directory with a digest; `None` if there is none.
    async fn directory(&self, digest: &[u8]) -> Result<Option<Directory>, Error>;

    /// The rule set with a digest, read against a directory; `None` if there is none.
    async fn rule_set(&self, digest: &[u8], directory: &Directory) -> Result<Option<RuleSet>, Error>;

    /// The canonical bytes of a rule set, or the file of agencies of a directory; `None` if there
    /// is no such version of the kind.
    async fn source(&self, kind: VersionKind, digest: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Versions of a kind, the newest first, after a position, at most `limit`.
    async fn versions(
        &self,
        kind: VersionKind,
        after: Option<(Time, Bytes32)>,
        limit: u32,
    ) -> Result<Vec<VersionInfo>, Error>;

    /// Switches of a kind, the newest first, below a sequence, at most `limit`.
    async fn activations(
        &self,
        kind: VersionKind,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PastActivation>, Error>;
}
