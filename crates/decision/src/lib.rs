//! The decision: from the facts of a report to who leads, who supports, by when, and why.
//!
//! How facts become a route: [`facts`] reads them, from the contract's message or from a line of JSON; a rule set ([`rules`])
//! says by its first row that matches which function leads and which places count, in which order; the [`directory`] finds the
//! agency for each place by climbing the tree of territories; [`decide`] puts the answer together with every step of it,
//! and [`calendar`] says when a clock ends. [`simulate`] decides many facts by two rule sets and tells where the answers differ.
//! What people write (agencies, rules, calendars, in YAML) and machines send is read here, too, and checked whole.
//!
//! Invariants: everything is a pure function of what it is given. The day, what the operator register answered, the age of
//! a loss are facts; nothing here asks for the time, draws at random, or remembers. The same facts, rule set and directory give
//! the same answer byte for byte, and there is no input without one. Directories and rule sets are immutable, and known by the
//! digest of a canonical form.
//!
//! What is not here, nor in anything that this crate is built on: a transport (tonic), a runtime (tokio), a database (sqlx),
//! a source of randomness (rand). A test reads the dependency tree.

pub mod calendar;
pub mod decide;
pub mod directory;
pub mod facts;
pub mod rules;
pub mod simulate;
