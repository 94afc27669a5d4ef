//! The operator register: who operates which domain, app or platform, and where.
//!
//! How a file gets into it: `grpc.rs` takes it in pieces; [`load`] drives the rest: [`mod@file`] makes rows of its lines, by
//! [`key`] and [`entry`], [`sorted`] brings them into the order of their names, [`checked`] compares them with each other, and the
//! [`store`] (`sql_store.rs`) writes them where nobody sees them, until one small transaction puts the whole into force and logs it.
//! [`sweep`] deletes what was replaced. How it is asked: `complete` (in [`answer`]) takes a delivery of reports, looks all their
//! subjects up at once, and puts the answers into the facts.
//!
//! The register is built on the decision for the calendars by which a day is counted, and is a part of the facts for it.
//!
//! Invariants: whoever reads sees one version, never half of a load. A version has no two entries for the same name and day. The
//! register is asked once per report, when it is routed, and its answer, with the version, is a fact: replay asks nobody.
//!
//! What is kept of a report's subjects: the name of the register's entry that matched, which is the register's own content,
//! and nothing else. Not the host that was asked for: it can name a person (`someone.blog.example.cn`), and nothing after the
//! look-up needs it. Intake sends hosts, apps and platforms alone, never an account, a telephone number or an account of a bank, and
//! only while it delivers. The operator's name is in neither facts nor explanation. As the register is no register of persons,
//! an entry's operator is an organisation, or empty.

pub mod answer;
pub mod checked;
pub mod entry;
pub mod file;
pub mod grpc;
pub mod key;
pub mod load;
pub mod sorted;
pub mod sql_store;
pub mod store;
pub mod sweep;

pub use sql_store::SqlStore;
