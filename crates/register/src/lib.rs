//! The operator register: who operates which domain, app or platform, and where.
//!
//! Loading: `grpc.rs`, for `service.rs`, receives a file in pieces and [`load`] drives the rest.
//! [`mod@file`] parses its lines into rows, using [`key`] and [`entry`]; [`sorted`] sorts them by
//! name; [`checked`] validates them against each other; the [`store`] (`sql_store.rs`) writes them
//! where nobody sees them, until one small transaction puts the whole load in force and logs it.
//! [`sweep`] deletes replaced rows. Look-up: `complete` (in [`answer`]) takes a delivery of
//! reports, looks up all their subjects at once, and adds the answers to the facts.
//!
//! The register depends on the decision for calendars, which define days, and for facts, which its
//! answers become part of.
//!
//! Invariants: readers see exactly one version, never part of a load. A version has no two entries
//! for the same name and day. The register is asked once per report, when it is routed; its answer
//! and version are facts, so a replay does not ask it.
//!
//! Of a report's subjects, only the name of the matching entry is kept, which is the register's own
//! content. The requested host is not kept: it can name a person (`someone.blog.example.cn`), and
//! nothing needs it after the look-up. Intake sends hosts, apps and platforms only, never user
//! accounts, telephone numbers or bank accounts, and only in deliveries. The operator's name is
//! neither in facts nor in explanations. The register is not a register of persons: an entry's
//! operator is an organisation, or empty.

pub mod answer;
pub mod checked;
pub mod entry;
pub mod file;
pub mod grpc;
pub mod key;
pub mod load;
pub mod service;
pub mod sorted;
pub mod sql_store;
pub mod store;
pub mod sweep;

pub use sql_store::SqlStore;
