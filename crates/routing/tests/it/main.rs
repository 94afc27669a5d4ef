//! Tests of routing's rules: no server, no database.

mod calendar;
mod directory;
mod random;
mod rules;
mod stories;
