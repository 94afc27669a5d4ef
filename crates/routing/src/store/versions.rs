//! The versions of directory and rule set: kept by digest, never changed, one of each kind active.
//!
//! Each content hashes to its digest. A directory's is the digest of its tree of territories, and then its file of agencies;
//! the tree is kept by that digest, so that directories share it. Creating a version and switching to it are changes of one
//! record per kind ([`VersionKind::record`]), which go to audit like every other.
//!
//! To switch, propose the pair that is to decide ([`Active::with_directory`], [`Active::with_rules`]) and hand it to
//! [`Versions::activate`], with what was active when it was proposed. The database is the judge: a switch in between is told
//! as [`Activated::Outdated`], and the proposal is made again.
//!
//! `versions/kept.rs` keeps and reads the contents, `versions/switch.rs` what is active.

mod kept;
mod switch;

use std::{collections::BTreeMap, sync::Arc};

use api::event::Actor;
use async_trait::async_trait;
use decision::{
    directory::{AgencyId, Directory},
    rules::RuleSet,
};
use journal::{Bytes32, Earlier, RequestId, Time};
use sql::Error;
use uuid::Uuid;

pub(crate) use self::switch::{active, load, none_active, try_seed};
pub(super) use self::{
    kept::{read_directory, read_rule_set, source, versions},
    switch::{activations, former, hold, ownerless, try_activate, try_create},
};
use crate::active::{Active, Digests, VersionKind};

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
}

/// What became of a version that was to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is kept.
    Done,
    /// It was kept already.
    Unchanged,
    /// An earlier request has the id. Nothing was written.
    Earlier(Earlier),
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
    /// The caller's id for the request.
    pub request: Option<Request>,
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
    /// An earlier request has the id. Nothing was written.
    Earlier(Earlier),
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
    /// as it is.
    async fn create(&self, version: &NewVersion, now: Time) -> Result<Created, Error>;

    /// What an earlier request with this id leads to; `None` when there was none.
    async fn earlier(&self, request: &RequestId) -> Result<Option<Earlier>, Error>;

    /// Switches, with a change per kind that is switched, in one durable transaction, or says why not.
    async fn activate(&self, activation: &Activation, now: Time) -> Result<Activated, Error>;

    /// Open cases that would have nobody under a directory. What it says may change until it is activated.
    async fn ownerless(&self, directory: &Directory) -> Result<Ownerless, Error>;

    /// Those of these agencies that a directory in force had once and that a later one no longer has,
    /// with the successor that each had last.
    async fn former(&self, ids: Vec<String>) -> Result<BTreeMap<AgencyId, Option<AgencyId>>, Error>;

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
