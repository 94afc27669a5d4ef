//! The changes of each source, compared with its marks.

use std::collections::BTreeMap;

use journal::{Bytes32, Content, Entry, EventSet, Time};

use super::Problem;

/// The changes of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All of them.
    pub held: EventSet,
    /// Number of them confirmed by its newest mark, and the mark's time; `None` without one.
    pub marked: Option<(u64, Time)>,
    /// Number of its marks.
    pub marks: u64,
}

/// All sources, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers(pub BTreeMap<String, Counted>);

impl Producers {
    /// Takes the next entry. A mark that differs is a fault.
    pub fn take(&mut self, entry: &Entry, hash: Bytes32) -> Result<(), Problem> {
        // Looked up by reference: there are few sources, but millions of entries.
        if !self.0.contains_key(&entry.source) {
            self.0.insert(entry.source.clone(), Counted::default());
        }
        let Some(counted) = self.0.get_mut(&entry.source) else {
            return Ok(());
        };
        match entry.content {
            Content::Change { .. } => counted.held.add(&hash),
            Content::Mark(set) if set == counted.held => {
                counted.marked = Some((set.count, entry.time));
                counted.marks += 1;
            }
            Content::Mark(set) => {
                return Err(Problem::Mark {
                    source_name: entry.source.clone(),
                    said: set.count,
                    found: counted.held.count,
                });
            }
        }
        Ok(())
    }
}
