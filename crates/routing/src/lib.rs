//! Routing: assigns each report to its jurisdiction and runs the case.
//!
//! The decision is a pure function, and its files import neither a transport nor a database: [`directory`] knows which
//! agency stands where, [`rules`] is the table, [`decide`] turns facts into a decision and its explanation, and
//! [`calendar`] turns the decision's clock into a deadline.

pub mod calendar;
pub mod decide;
pub mod directory;
pub mod rules;
