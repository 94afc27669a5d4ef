//! Restores entries that are proven to be the log's.

use names::Collection;
use sql::{Error, Tx, transact};

use super::{
    SqlStore, gaps,
    state::{Memory, State, lock_head},
    write::{Additions, ENTRIES, OPENINGS, Row, entry_row, opening_row},
};
use crate::{
    check::{Leaf, OWN},
    gap::OwnChange,
    store::StoreError,
};

impl SqlStore {
    /// Appends entries that are proven to be the log's at these indexes. Nothing is judged, and the
    /// log adds nothing of its own between them. The producers' states follow from the entries.
    pub(crate) async fn append_proven(&self, entries: &[&Leaf]) -> Result<(), StoreError> {
        let mut memory = self.memory.lock().await;
        *memory = Memory::unread();
        match transact!(self.db, |tx| self.try_append_proven(&mut tx, entries))? {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }

    /// Restores entries that are proven to be the log's at these indexes. Existing ones are kept.
    pub(crate) async fn put_back(&self, entries: &[(u64, Leaf)]) -> Result<(), StoreError> {
        let mut memory = self.memory.lock().await;
        *memory = Memory::unread();
        match transact!(self.db, |tx| self.try_put_back(&mut tx, entries))? {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }

    /// `false` if this store is fenced, and nothing was written.
    async fn try_put_back(&self, tx: &mut Tx, entries: &[(u64, Leaf)]) -> Result<bool, Error> {
        const KEEP: &str = "ON CONFLICT DO NOTHING";
        if lock_head(tx).await?.epoch != self.epoch {
            return Ok(false);
        }
        let rows = || entries.iter().map(|(index, leaf)| (index.cast_signed(), leaf.into()));
        let entries = rows().map(|(index, row)| entry_row(index, row));
        ENTRIES.then(KEEP).rows(tx, entries.collect()).await?;
        let openings = rows().map(|(index, row)| opening_row(index, row));
        OPENINGS.then(KEEP).rows(tx, openings.collect()).await?;
        Ok(true)
    }

    /// `false` if this store is fenced, and nothing was written.
    async fn try_append_proven(&self, tx: &mut Tx, entries: &[&Leaf]) -> Result<bool, Error> {
        let locked = lock_head(tx).await?;
        if locked.epoch != self.epoch {
            return Ok(false);
        }
        let state = State::read(tx, locked.head).await?;
        let mut producers = state.producers.clone();
        let mut records = Vec::new();
        for leaf in entries {
            let change = match leaf {
                Leaf::Change(change) => &change.entry,
                Leaf::Mark(mark) => {
                    let producer = producers.entry(mark.source.clone()).or_default();
                    producer.marked = Some((mark.set.count, mark.time));
                    continue;
                }
            };
            records.push(change.record.clone());
            if change.source != OWN {
                let producer = producers.entry(change.source.clone()).or_default();
                producer.held.add(&change.hash);
            } else if let Some(producer) = Collection::PRODUCERS.id(&change.record) {
                let producer = producers.entry(producer.to_owned()).or_default();
                OwnChange::happened(&change.kind, change.time, producer);
            }
        }
        let rows = entries.iter().map(|leaf| Row::from(*leaf));
        let additions = Additions {
            new: (locked.head.size..).zip(rows).collect(),
            own: Vec::new(),
            mark: None,
            producers,
            has_gaps: state.has_gaps,
            logs_standings: false,
            now: self.clock.now(),
        };
        if self.write(tx, &state, &locked, additions).await?.is_none() {
            return Ok(false);
        }
        if state.has_gaps {
            gaps::close(tx, records).await?;
        }
        Ok(true)
    }
}
