//! State and event in one transaction, and the ordered relay that carries events to their
//! consumers.
//!
//! How a change flows:
//!
//! 1. A service writes through its [`Writer`] (`writer.rs`), on a task that no caller can cancel.
//!    Simultaneous commands go through a [`Committer`] (`commit.rs`) and share a transaction.
//! 2. Inside, a [`Draft`] of each change of a record becomes a [`Change`] against the record's
//!    [`Head`] (`change.rs`): a canonical [`Entry`] (`entry.rs`, `bytes.rs`) that commits to its
//!    chain and to its detail (`chain.rs`). It is written together with the state: once into
//!    `journal`, and once per consumer into `outbox` (`outbox.rs`).
//! 3. After the commit the writer wakes the [`Relay`] of each consumer (`relay.rs`). It reads
//!    undelivered events, in each record's order, delivers them in batches in which the records are
//!    mixed at random, and deletes those that were taken. A refused event parks its own record
//!    only. A consumer for whom an event is work takes turns between senders (`turns.rs`). To audit
//!    it also says how far the producer has come (`mark.rs`), so that audit notices missing events;
//!    to others, up to when all has arrived (`progress.rs`). A service's relays run in its
//!    [`Background`] (`background.rs`), with its upkeep.
//! 4. The consumer opens the event's chain ([`Opened`]: it believes only what the entry commits to)
//!    and checks it against the record's sequence and link (`inbox.rs`) in the transaction in which
//!    it applies it.
//!
//! Invariants: an event exists if and only if the state it describes was committed. A record's
//! times never decrease, so reading `outbox` by time and sequence gives each record's events in
//! their order. A late commit is never overtaken: a relay reads all rows that are there, not those
//! past a position. Delivery is at least once; `inbox` makes it once. Two relays that both believe
//! they hold the lease deliver twice, which is harmless.
//!
//! What the public log shows of a record: its entries have whole seconds of the clock and stand in
//! an order that keeps each record's changes in sequence and is random otherwise. Where nothing
//! else happens within some seconds, the reader can still guess that two entries belong together.
//!
//! The kinds of changes of every service, and the words for them, are one list (`kind.rs`).
//!
//! First answers to requests that name an id are kept in the transaction that does what they ask
//! for (`requests.rs`).
//!
//! The key that seals page tokens stands beside the journal (`token_key.rs`), one for all replicas
//! of a service.
//!
//! `heads.rs` lists and counts what operators compare, to see from outside that everything arrives.
//!
//! What is measured of all this: `metrics.rs`.
//!
//! What happens only because time has passed asks first whether the clock can be believed
//! (`timekeeper.rs`).
//!
//! Time and randomness come from [`Clock`] and [`Entropy`] (`source.rs`). Nothing here imports
//! tonic.

mod background;
mod bytes;
mod chain;
mod change;
mod commit;
mod entry;
mod heads;
mod inbox;
mod kind;
mod mark;
mod metrics;
mod outbox;
mod progress;
mod relay;
mod requests;
mod source;
mod timekeeper;
mod token_key;
mod turns;
mod writer;

pub use background::{Background, supervised};
pub use bytes::Malformed;
pub use chain::{Chain, Opened, Openings, Opens, Unopened, chain_commitment, detail_commitment};
pub use change::{Change, DETAIL_BYTES, Draft, Head, Unloggable, keyed_hash};
pub use commit::{CommitError, Committer};
pub use entry::{Content, ENTRY_BYTES, Entry, entry_hash, entry_id};
pub use heads::{Backlog, RecordHead, StateTable, backlog, state_heads, state_heads_of};
pub use inbox::{Arrival, Discontinuity, Inbox};
pub use kind::{AuditKind, IntakeKind, Kind, RoutingKind};
pub use mark::{EventSet, Mark, SetHash};
pub use metrics::{Commands, Instruments, Waiting};
pub use moment::Time;
pub use outbox::{Delivery, Lane, Logged, Payload, Rows, SCHEMA, append, append_to, changes_of};
pub use progress::Progress;
pub use relay::{Deliver, EntryHash, Outbox, OutboxStatus, Outcome, Pending, Relay, SqlOutbox, Undelivered};
pub use requests::{
    Answers, Earlier, FirstAnswer, REQUEST_ID_WINDOW, RequestId, earlier, forget_first_answer, forget_request,
    forget_requests, keep_free, keep_in,
};
pub use source::{Clock, Entropy, ManualClock, SeededEntropy, SystemClock, SystemEntropy, ordered_id, random_id};
pub use timekeeper::{Doubt, JUMP, SKEW, Timekeeper};
pub use token_key::token_key;
pub use writer::Writer;

/// SHA-256 digests, keys and salts.
pub type Bytes32 = [u8; 32];
