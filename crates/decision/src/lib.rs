//! The decision: from the facts of a report to the lead, the supporting agencies, the clocks and
//! the reasons.
//!
//! From facts to a route: [`facts`] reads them from the contract's message or from a line of JSON.
//! The first matching row of a rule set ([`rules`]) gives the function that leads and the places to
//! try, in order. The [`directory`] finds the agency for each place by climbing the tree of
//! territories. [`decide`] combines the answer with all its steps, and [`calendar`] computes when a
//! clock ends. [`simulate`] decides many facts by two rule sets and reports the differences. Files
//! written by people (agencies, rules and calendars, in YAML) and messages from machines are also
//! parsed and validated here. [`phrases`] has the sentences of explanations in both languages.
//!
//! Invariants: everything is a pure function of its parameters. The day, the operator register's
//! answer and the age of a loss are facts; nothing here reads the clock, draws random numbers or
//! keeps state. The same facts, rule set and directory give the same answer byte for byte, and
//! every input has one. Directories and rule sets are immutable and identified by the digest of a
//! canonical form.
//!
//! Neither this crate nor its dependencies contain a transport (tonic), a runtime (tokio), a
//! database (sqlx) or a source of randomness (rand). A test reads the dependency tree.

pub mod calendar;
pub mod category;
pub mod decide;
pub mod directory;
pub mod factor;
pub mod facts;
pub mod phrases;
pub mod rules;
pub mod simulate;
