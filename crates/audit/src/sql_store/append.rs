//! Appends changes, and what the log itself logs.
//!
//! One transaction, with as many statements for a thousand changes as for one. It locks the head
//! row, so that what it reads afterwards does not change, judges, and writes (`write.rs`).
//!
//! There is a short way and a careful one. Nearly always every change is the next of its record.
//! Then neither event ids nor the heads of new records are looked up: the database's unique indexes
//! (one entry per event id, one per sequence of a record) refuse what was assumed wrongly. Then,
//! and if a change does not follow, everything is looked up first.

use std::collections::{BTreeMap, HashMap, HashSet};

use journal::{Answers, Bytes32, Earlier, EventSet, REQUEST_ID_WINDOW, RequestId, Time, entry_id, forget_requests};
use sql::{Error, Tx, transact};
use uuid::Uuid;

use super::{
    SqlStore, gaps,
    heads::find_heads,
    state::{Memory, State, lock_head},
    write::{Additions, Row, Written},
};
use crate::{
    check::{Checked, MarkEntry, Verdict},
    gap::{Finding, GapKind, OwnChange},
    judge::{Judge, Placed, RecordHead},
    producer::Producer,
    store::StoreError,
};

/// Maximum number of old request ids to forget per transaction.
const FORGOTTEN: u32 = 1_000;

/// Entries by the log itself.
#[derive(Default)]
pub(super) struct Own {
    /// Changes of producers.
    pub changes: Vec<OwnChange>,
    /// A mark: its source, and what the log holds of it.
    pub mark: Option<(String, EventSet)>,
}

/// The result of a transaction.
enum Attempt<T> {
    /// Written: the answer, and what to remember.
    Written(T, Remembered),
    /// This store is fenced, and nothing was written.
    Fenced,
}

/// What is remembered of a transaction, and told to operators, once it is committed.
#[derive(Default)]
struct Remembered {
    /// `None` if nothing was written.
    written: Option<Written>,
    /// Whether the heads remembered before are still current.
    continues: bool,
    heads: Vec<(String, RecordHead)>,
    /// Changes that are missing.
    missing: Vec<Finding>,
}

impl SqlStore {
    /// Appends a group in one transaction. Returns a verdict for each change.
    pub(super) async fn append_group(&self, group: &[&[Checked]]) -> Result<Vec<Verdict>, StoreError> {
        let mut memory = self.memory.lock().await;
        let mut careful = false;
        loop {
            match transact!(self.db, |tx| self.try_append(&mut tx, &memory, group, careful)) {
                Ok(Attempt::Written(verdicts, remembered)) => {
                    remember(&mut memory, remembered);
                    return Ok(verdicts);
                }
                Ok(Attempt::Fenced) => return Err(StoreError::Fenced),
                Err(Error::Raced(_)) if !careful => careful = true,
                Err(error) => {
                    // It may have been committed.
                    *memory = Memory::unread();
                    return Err(error.into());
                }
            }
        }
    }

    /// Changes the producers' states, and logs what `change` returns.
    pub(super) async fn change_producers<F>(&self, mut change: F) -> Result<(), StoreError>
    where
        F: FnMut(&mut BTreeMap<String, Producer>, Time) -> Own + Send,
    {
        self.change_for(None, |producers, now, _| (change(producers, now), None))
            .await
    }

    /// [`SqlStore::change_producers`] for a request. `change` gets the first answer to the same
    /// request id, if any, and returns the answer to keep.
    pub(super) async fn change_for<F>(&self, request: Option<&RequestId>, mut change: F) -> Result<(), StoreError>
    where
        F: FnMut(&mut BTreeMap<String, Producer>, Time, Option<Earlier>) -> (Own, Option<Vec<u8>>) + Send,
    {
        let mut memory = self.memory.lock().await;
        match transact!(self.db, |tx| self.try_change(&mut tx, &memory, request, &mut change)) {
            Ok(Attempt::Written((), remembered)) => {
                remember(&mut memory, remembered);
                Ok(())
            }
            Ok(Attempt::Fenced) => Err(StoreError::Fenced),
            Err(error) => {
                *memory = Memory::unread();
                Err(error.into())
            }
        }
    }

    async fn try_append(
        &self,
        tx: &mut Tx,
        memory: &Memory,
        group: &[&[Checked]],
        careful: bool,
    ) -> Result<Attempt<Vec<Verdict>>, Error> {
        let changes = || group.iter().flat_map(|call| call.iter());
        let locked = lock_head(tx).await?;
        let read;
        let (state, recent) = if memory.state.is_at(locked.head) {
            (&memory.state, Some(&memory.recent))
        } else {
            read = State::read(tx, locked.head).await?;
            (&read, None)
        };

        let mut heads = HashMap::new();
        let mut unknown = HashSet::new();
        for change in changes() {
            let record = &*change.entry.record;
            if heads.contains_key(record) || unknown.contains(record) {
                continue;
            }
            match recent.and_then(|recent| recent.get(record)) {
                Some(head) => {
                    heads.insert(record, head);
                }
                // A new record is not looked up: the database lets it begin only once.
                None if change.entry.sequence == 1 && !careful => {
                    heads.insert(record, RecordHead::default());
                }
                None => {
                    unknown.insert(record);
                }
            }
        }
        find_heads(tx, &mut heads, &unknown).await?;
        let mut judge = Judge {
            heads,
            known: HashMap::new(),
            producers: state.producers.clone(),
            disputed: HashSet::new(),
            next: locked.head.size,
            findings: Vec::new(),
            now: self.clock.now(),
        };
        if careful || !judge.all_follow(changes()) {
            if !careful {
                let begun = changes().filter(|change| change.entry.sequence == 1);
                let begun = begun.map(|change| &*change.entry.record).collect();
                find_heads(tx, &mut judge.heads, &begun).await?;
            }
            judge.known = known(tx, changes()).await?;
            let records = changes().map(|change| change.entry.record.clone()).collect();
            judge.disputed = gaps::disputed(tx, records).await?;
        }
        let placed: Vec<_> = changes().map(|change| (judge.place(change), change)).collect();

        let verdicts = placed.iter().map(|(placed, _)| Verdict::from(*placed)).collect();
        let new: Vec<_> = placed
            .iter()
            .filter_map(|(placed, change)| match placed {
                Placed::New(index) => Some((*index, Row::Change(change))),
                _ => None,
            })
            .collect();
        let found = judge.findings();
        if new.is_empty() && found.is_empty() {
            // Repeating earlier verdicts is harmless, fenced or not.
            return Ok(Attempt::Written(verdicts, Remembered::default()));
        }
        if locked.epoch != self.epoch {
            return Ok(Attempt::Fenced);
        }

        let found = gaps::note(tx, found, judge.now).await?;
        let mut own = Vec::new();
        let mut missing = Vec::new();
        for finding in found {
            if finding.kind == GapKind::Missing {
                missing.push(finding);
                continue;
            }
            let producer = judge.producers.entry(finding.source.clone()).or_default();
            producer.incidents += 1;
            let was_frozen = state
                .producers
                .get(&finding.source)
                .is_some_and(|producer| producer.frozen.is_some());
            let froze_before = own
                .iter()
                .any(|own: &OwnChange| own.source == finding.source && own.freezes());
            let is_frozen = producer.frozen.is_some();
            let freezes = finding.kind == GapKind::Fork && is_frozen && !was_frozen && !froze_before;
            own.push(OwnChange::security_event(&finding, freezes, is_frozen));
        }
        let mut has_gaps = state.has_gaps || !own.is_empty() || !missing.is_empty();
        let additions = Additions {
            new,
            own,
            mark: None,
            producers: judge.producers,
            has_gaps,
            logs_standings: true,
            now: judge.now,
        };
        let advanced: Vec<(String, RecordHead)> = {
            let record = |row: &Row<'_>| match row {
                Row::Change(change) => Some(change.entry.record.clone()),
                Row::Mark(_) => None,
            };
            let records: HashSet<String> = additions.new.iter().filter_map(|(_, row)| record(row)).collect();
            let head = |record: &str| judge.heads.get(record).copied().unwrap_or_default();
            records
                .into_iter()
                .map(|record| {
                    let head = head(&record);
                    (record, head)
                })
                .collect()
        };
        let Some(mut written) = self.write(tx, state, &locked, additions).await? else {
            return Ok(Attempt::Fenced);
        };
        if has_gaps {
            has_gaps = gaps::close(tx, advanced.iter().map(|(record, _)| record.clone()).collect()).await?;
        }
        written.state.has_gaps = has_gaps;
        let remembered = Remembered {
            written: Some(written),
            continues: recent.is_some(),
            heads: advanced,
            missing,
        };
        Ok(Attempt::Written(verdicts, remembered))
    }

    async fn try_change<F>(
        &self,
        tx: &mut Tx,
        memory: &Memory,
        request: Option<&RequestId>,
        change: &mut F,
    ) -> Result<Attempt<()>, Error>
    where
        F: FnMut(&mut BTreeMap<String, Producer>, Time, Option<Earlier>) -> (Own, Option<Vec<u8>>) + Send,
    {
        let locked = lock_head(tx).await?;
        if locked.epoch != self.epoch {
            return Ok(Attempt::Fenced);
        }
        let read;
        let state = if memory.state.is_at(locked.head) {
            &memory.state
        } else {
            read = State::read(tx, locked.head).await?;
            &read
        };
        let (now, mut producers) = (self.clock.now(), state.producers.clone());
        let mut answers = Answers::find(tx, request).await?;
        let earlier = request.and_then(|request| answers.earlier(request));
        let (Own { changes, mark }, answer) = change(&mut producers, now, earlier);
        let mark = mark.map(|(source, set)| MarkEntry::new(&source, set, entry_id(now, &*self.entropy), now));
        let additions = Additions {
            new: Vec::new(),
            own: changes,
            mark,
            producers,
            has_gaps: state.has_gaps,
            logs_standings: true,
            now,
        };
        let Some(written) = self.write(tx, state, &locked, additions).await? else {
            return Ok(Attempt::Fenced);
        };
        if let (Some(request), Some(answer)) = (request, answer) {
            answers.add(request, answer);
            answers.keep(tx, now).await?;
            // Few requests have ids here: outdated ones are deleted with the next one.
            let window = i64::try_from(REQUEST_ID_WINDOW.as_secs()).unwrap_or(i64::MAX);
            forget_requests(tx, now.plus_seconds(-window), FORGOTTEN).await?;
        }
        let remembered = Remembered {
            written: Some(written),
            continues: memory.state.is_at(locked.head),
            ..Remembered::default()
        };
        Ok(Attempt::Written((), remembered))
    }
}

/// After the commit: remembers its result for the next append, and tells operators of findings.
fn remember(memory: &mut Memory, remembered: Remembered) {
    let Some(Written { state, own }) = remembered.written else {
        return;
    };
    if !remembered.continues {
        memory.recent.forget();
    }
    memory.state = state;
    for (record, head) in remembered.heads {
        memory.recent.put(record, head);
    }
    for gap in remembered.missing {
        tracing::warn!(
            source = gap.source,
            record = gap.record,
            first = gap.first_sequence,
            last = gap.last_sequence,
            "changes are missing: later ones of the record are kept out of the log"
        );
    }
    for change in own {
        change.tell();
    }
}

/// Index and hash of the entries logged under the event ids of these changes.
async fn known<'a>(
    tx: &mut Tx,
    changes: impl Iterator<Item = &'a Checked>,
) -> Result<HashMap<Uuid, (u64, Bytes32)>, Error> {
    let ids: Vec<String> = changes.map(|change| change.entry.event_id.to_string()).collect();
    let rows = tx
        .fetch(
            "SELECT event_id, idx, entry FROM entries WHERE event_id = ANY($1)",
            vec![ids.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get("event_id")?;
            let id = id.parse().map_err(|_| Error::Damaged {
                what: "event id",
                problem: format!("`{id}` is not a UUID"),
            })?;
            let entry: Vec<u8> = row.get("entry")?;
            Ok((id, (row.count("idx", "log index")?, journal::entry_hash(&entry))))
        })
        .collect()
}
