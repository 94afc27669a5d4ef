//! Writing into the log.
//!
//! One transaction with as many statements for a thousand changes as for one. It locks the head row, so what it reads after that
//! stands still, judges, and moves the head before it writes entries: a fenced store finds its epoch gone, and has written nothing
//! that a commit could keep.
//!
//! Two ways lead through it. Nearly always every change is the next of its record: then no event id is looked up, nor the head
//! of a record that begins, and the indexes of the entries (one entry per event id, one per place of a record) say when that was
//! wrong. Then, and where a change does not follow, all of it is looked up first.

use std::collections::{BTreeMap, HashMap, HashSet};

use journal::{
    Answers, Bytes32, Draft, Earlier, Entry, EventSet, Head, REQUEST_ID_WINDOW, RequestId, Time, forget_requests,
    random_id,
};
use names::Collection;
use sql::{Batch, Engine, Error, Insert, Kind, Tx, Value, transact};
use uuid::Uuid;

use super::{
    SqlStore, damaged, gaps, no_head,
    producers::{self, follow},
    state::{Memory, State},
};
use crate::{
    check::{Checked, Leaf, MarkEntry, OWN, Verdict, check},
    gap::{Finding, GapKind, OwnChange},
    judge::{Judge, Placed, RecordHead},
    producer::Producer,
    store::StoreError,
    tree::TreeHead,
};

/// Old request ids that one transaction forgets at most.
const FORGOTTEN: u32 = 1_000;

const ENTRIES: Insert = Insert::into(
    "entries",
    &[("idx", Kind::Int), ("event_id", Kind::Text), ("entry", Kind::Bytes)],
);

const OPENINGS: Insert = Insert::into(
    "openings",
    &[
        ("idx", Kind::Int),
        ("record", Kind::Text),
        ("sequence", Kind::Int),
        ("previous", Kind::Bytes),
        ("kind", Kind::Text),
        ("chain_salt", Kind::Bytes),
        ("detail_salt", Kind::Bytes),
        ("detail", Kind::Bytes),
    ],
);

const TILES: Insert = Insert::into("tiles", &[("place", Kind::Int), ("hashes", Kind::Bytes)])
    .then("ON CONFLICT (place) DO UPDATE SET hashes = excluded.hashes");

/// What the log itself logs beside producers' changes.
#[derive(Default)]
pub(super) struct Own {
    /// What befell producers.
    pub changes: Vec<OwnChange>,
    /// What it holds of a source, said in the clear.
    pub mark: Option<(String, EventSet)>,
}

/// The result of a transaction.
enum Attempt<T> {
    /// Written: the answer, and what to remember.
    Written(T, Remembered),
    /// This store is fenced, and nothing was written.
    Fenced,
}

/// What a transaction leaves to be remembered and told, once it is committed.
#[derive(Default)]
struct Remembered {
    state: Option<State>,
    /// Whether the heads that were remembered before are still those of the log.
    goes_on: bool,
    heads: Vec<(String, RecordHead)>,
    /// What an operator should hear of: changes that are missing, and what the log itself logged.
    missing: Vec<Finding>,
    own: Vec<OwnChange>,
}

/// The head row, locked.
struct Locked {
    head: TreeHead,
    epoch: i64,
}

/// What is written in one place of the log.
#[derive(Clone, Copy)]
enum Row<'a> {
    Change(&'a Checked),
    Mark(&'a MarkEntry),
}

/// All that a transaction writes.
struct Additions<'a> {
    /// Entries with their places, in order, right behind the head.
    new: Vec<(u64, Row<'a>)>,
    /// What the log itself logs behind them.
    own: Vec<OwnChange>,
    /// The mark that it logs last.
    mark: Option<MarkEntry>,
    /// The producers, after all of it.
    producers: BTreeMap<String, Producer>,
    has_gaps: bool,
    /// Whether the log says what it finds of the producers; else that waits for the next time.
    speaks: bool,
    now: Time,
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
                    // Whether it was committed may be unknown.
                    *memory = Memory::unread();
                    return Err(error.into());
                }
            }
        }
    }

    /// Changes what is known of producers, and logs what `change` returns.
    pub(super) async fn change_producers<F>(&self, mut change: F) -> Result<(), StoreError>
    where
        F: FnMut(&mut BTreeMap<String, Producer>, Time) -> Own + Send,
    {
        self.change_for(None, |producers, now, _| (change(producers, now), None))
            .await
    }

    /// [`SqlStore::change_producers`] for a request: told what an earlier one with its id leads to, and keeps the first answer.
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

    /// Appends entries that are proven to be what the log had in these places: nothing is judged, and the log says nothing of
    /// its own between them. What they tell of the producers is taken over.
    pub(crate) async fn append_proven(&self, entries: &[&Leaf]) -> Result<(), StoreError> {
        let mut memory = self.memory.lock().await;
        *memory = Memory::unread();
        match transact!(self.db, |tx| self.try_append_proven(&mut tx, entries))? {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }

    /// Puts entries back that are proven to be what the log has in these places. Where one is there, it stays.
    pub(crate) async fn put_back(&self, entries: &[(u64, Leaf)]) -> Result<(), StoreError> {
        let mut memory = self.memory.lock().await;
        *memory = Memory::unread();
        match transact!(self.db, |tx| self.try_put_back(&mut tx, entries))? {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }

    /// `false` when this store is fenced, and nothing was written.
    async fn try_put_back(&self, tx: &mut Tx, entries: &[(u64, Leaf)]) -> Result<bool, Error> {
        const THERE: &str = "ON CONFLICT DO NOTHING";
        if lock_head(tx).await?.epoch != self.epoch {
            return Ok(false);
        }
        let rows = || entries.iter().map(|(index, leaf)| (index.cast_signed(), leaf.into()));
        let entries = rows().map(|(index, row)| entry_row(index, row));
        ENTRIES.then(THERE).rows(tx, entries.collect()).await?;
        let openings = rows().map(|(index, row)| opening_row(index, row));
        OPENINGS.then(THERE).rows(tx, openings.collect()).await?;
        Ok(true)
    }

    /// `false` when this store is fenced, and nothing was written.
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
            speaks: false,
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
                // A record that begins is not looked for: its first place is taken once.
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
            // What it logged it may still say, fenced or not.
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
            speaks: true,
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
        let Some(mut remembered) = self.write(tx, state, &locked, additions).await? else {
            return Ok(Attempt::Fenced);
        };
        if has_gaps {
            has_gaps = gaps::close(tx, advanced.iter().map(|(record, _)| record.clone()).collect()).await?;
        }
        if let Some(state) = &mut remembered.state {
            state.has_gaps = has_gaps;
        }
        remembered.goes_on = recent.is_some();
        remembered.heads = advanced;
        remembered.missing = missing;
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
        let mark = mark.map(|(source, set)| MarkEntry::new(&source, set, random_id(&*self.entropy), now));
        let additions = Additions {
            new: Vec::new(),
            own: changes,
            mark,
            producers,
            has_gaps: state.has_gaps,
            speaks: true,
            now,
        };
        let goes_on = memory.state.is_at(locked.head);
        let Some(remembered) = self.write(tx, state, &locked, additions).await? else {
            return Ok(Attempt::Fenced);
        };
        if let (Some(request), Some(answer)) = (request, answer) {
            answers.add(request, answer);
            answers.keep(tx, now).await?;
            // Few requests have ids here: those that are too old go with the next one.
            let window = i64::try_from(REQUEST_ID_WINDOW.as_secs()).unwrap_or(i64::MAX);
            forget_requests(tx, now.plus_seconds(-window), FORGOTTEN).await?;
        }
        Ok(Attempt::Written((), Remembered { goes_on, ..remembered }))
    }

    /// Writes entries, details, tiles, head and producers. `None` when this store is fenced, and nothing was written.
    async fn write(
        &self,
        tx: &mut Tx,
        state: &State,
        locked: &Locked,
        additions: Additions<'_>,
    ) -> Result<Option<Remembered>, Error> {
        let Additions {
            new,
            mut own,
            mark,
            mut producers,
            has_gaps,
            speaks,
            now,
        } = additions;
        for (source, producer) in producers.iter_mut().filter(|_| speaks) {
            producer.review(now);
            if let Some(standing) = producer.to_be_logged(now) {
                own.push(OwnChange::standing(source, producer, standing));
                producer.logged = standing;
            }
        }
        let sealed = self.seal_own(tx, &own, now).await?;
        let behind = locked.head.size + new.len() as u64;
        let last = || sealed.iter().map(Row::Change).chain(mark.iter().map(Row::Mark));
        let rows = || new.iter().copied().chain((behind..).zip(last()));
        let mut edge = state.edge.clone();
        let mut entries: Vec<[Value; 3]> = Vec::new();
        let mut openings: Vec<[Value; 8]> = Vec::new();
        let mut placed: Vec<[Value; 2]> = Vec::new();
        if rows().next().is_some() {
            let leaves: Vec<Bytes32> = rows().map(|(_, row)| row.hash()).collect();
            let (grown, tiles) = edge.grow(&leaves).map_err(|error| damaged(&error))?;
            if !self.move_head(tx, locked.head, grown.head()).await? {
                return Ok(None);
            }
            entries.extend(rows().map(|(index, row)| entry_row(index.cast_signed(), row)));
            openings.extend(rows().map(|(index, row)| opening_row(index.cast_signed(), row)));
            placed.extend(tiles.into_iter().map(|(id, hashes)| [id.place().into(), hashes.into()]));
            edge = grown;
        }
        let (known, marks) = producers::rows(&state.producers, &producers);
        let batch = Batch::default()
            .with(&ENTRIES, entries.iter().map(<[Value; 3]>::as_slice))
            .with(&OPENINGS, openings.iter().map(<[Value; 8]>::as_slice))
            .with(&TILES, placed.iter().map(<[Value; 2]>::as_slice))
            .with(&producers::PRODUCERS, known.iter().map(<[Value; 6]>::as_slice))
            .with(&producers::MARKS, marks.iter().map(<[Value; 13]>::as_slice));
        // Only entries are inserted where nothing may be.
        tx.write(&batch)
            .await
            .map_err(|error| match error.is_unique_violation() {
                true => Error::Raced("an entry's event id or place"),
                false => error,
            })?;
        for change in &own {
            follow(tx, change, now).await?;
        }
        Ok(Some(Remembered {
            state: Some(State {
                edge,
                producers,
                has_gaps,
                is_read: true,
            }),
            goes_on: false,
            heads: Vec::new(),
            missing: Vec::new(),
            own,
        }))
    }

    /// Seals what the log itself logs, each as the next of its producer's record.
    async fn seal_own(&self, tx: &mut Tx, own: &[OwnChange], now: Time) -> Result<Vec<Checked>, Error> {
        let mut sealed = Vec::with_capacity(own.len());
        let mut heads: HashMap<&str, Head> = HashMap::new();
        for change in own {
            let record = Collection::PRODUCERS.of(&change.source);
            if !heads.contains_key(&*change.source) {
                heads.insert(&change.source, last_of(tx, &record).await?);
            }
            let head = heads.entry(&change.source).or_default();
            let draft = Draft {
                source: OWN,
                record: &record,
                kind: change.kind,
                caused_by: None,
                detail: change.detail.clone(),
                traceparent: String::new(),
            };
            let next = draft.into_change(head, now, &*self.entropy);
            *head = next.head;
            sealed.push(check(OWN, next.with_detail()).map_err(|refusal| Error::Damaged {
                what: "entry of the log's own",
                problem: refusal.reason().to_owned(),
            })?);
        }
        Ok(sealed)
    }

    /// Moves the head on. `false` when it is no longer this store's to move.
    async fn move_head(&self, tx: &mut Tx, from: TreeHead, to: TreeHead) -> Result<bool, Error> {
        let moved = tx
            .execute(
                "UPDATE head SET size = $1, root = $2 WHERE id = 1 AND epoch = $3 AND size = $4",
                vec![
                    to.size.cast_signed().into(),
                    to.root.into(),
                    self.epoch.into(),
                    from.size.cast_signed().into(),
                ],
            )
            .await?;
        Ok(moved == 1)
    }
}

/// After the commit: what is remembered for the next append, and what an operator is told.
fn remember(memory: &mut Memory, remembered: Remembered) {
    let Some(state) = remembered.state else { return };
    if !remembered.goes_on {
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
            "changes are missing: what follows them is kept out of the log"
        );
    }
    for change in remembered.own {
        change.tell();
    }
}

/// Whoever holds this row appends: what is read after it does not change before the commit.
async fn lock_head(tx: &mut Tx) -> Result<Locked, Error> {
    let row = tx
        .fetch_optional("SELECT size, root, epoch FROM head WHERE id = 1 FOR UPDATE", Vec::new())
        .await?;
    let row = row.ok_or_else(no_head)?;
    let head = TreeHead {
        size: row.count(0, "log size")?,
        root: row.array(1, "log root")?,
    };
    Ok(Locked {
        head,
        epoch: row.get(2)?,
    })
}

/// Looks the heads of records up: their last entries.
async fn find_heads<'a>(
    tx: &mut Tx,
    heads: &mut HashMap<&'a str, RecordHead>,
    records: &HashSet<&'a str>,
) -> Result<(), Error> {
    const SQLITE: &str = "SELECT last.record, last.sequence, entries.entry FROM json_each($1) AS wanted \
         JOIN openings AS last ON last.record = wanted.value AND last.sequence = \
         (SELECT max(openings.sequence) FROM openings WHERE openings.record = wanted.value) \
         JOIN entries ON entries.idx = last.idx";
    const POSTGRES: &str = "SELECT wanted.record, last.sequence, entries.entry FROM UNNEST($1::TEXT[]) AS wanted (record) \
         CROSS JOIN LATERAL (SELECT sequence, idx FROM openings WHERE openings.record = wanted.record \
         ORDER BY sequence DESC LIMIT 1) AS last JOIN entries ON entries.idx = last.idx";
    if records.is_empty() {
        return Ok(());
    }
    let statement = match tx.engine() {
        Engine::Sqlite => SQLITE,
        Engine::Postgres => POSTGRES,
    };
    let wanted: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
    for row in tx.fetch(statement, vec![wanted.into()]).await? {
        let (record, entry): (String, Vec<u8>) = (row.get(0)?, row.get(2)?);
        if let Some(record) = records.get(&*record) {
            heads.insert(record, (row.count(1, "sequence")?, journal::entry_hash(&entry)));
        }
    }
    Ok(())
}

/// Where a record's chain stands.
async fn last_of(tx: &mut Tx, record: &str) -> Result<Head, Error> {
    let row = tx
        .fetch_optional(
            "SELECT entries.entry, openings.sequence FROM openings JOIN entries ON entries.idx = openings.idx \
             WHERE openings.record = $1 ORDER BY openings.sequence DESC LIMIT 1",
            vec![record.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(Head::default()) };
    let bytes: Vec<u8> = row.get(0)?;
    let entry = Entry::decode(&bytes).map_err(|error| Error::Damaged {
        what: "entry",
        problem: error.to_string(),
    })?;
    Ok(Head {
        sequence: row.count(1, "sequence")?,
        hash: journal::entry_hash(&bytes),
        time: entry.time,
    })
}

/// What is logged under the event ids of these changes.
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
            let id: String = row.get(0)?;
            let id = id.parse().map_err(|_| Error::Damaged {
                what: "event id",
                problem: format!("`{id}` is none"),
            })?;
            let entry: Vec<u8> = row.get(2)?;
            Ok((id, (row.count(1, "log index")?, journal::entry_hash(&entry))))
        })
        .collect()
}

impl<'a> From<&'a Leaf> for Row<'a> {
    fn from(leaf: &'a Leaf) -> Self {
        match leaf {
            Leaf::Change(change) => Self::Change(change),
            Leaf::Mark(mark) => Self::Mark(mark),
        }
    }
}

impl Row<'_> {
    fn hash(self) -> Bytes32 {
        match self {
            Self::Change(change) => change.entry.hash,
            Self::Mark(mark) => mark.hash,
        }
    }
}

fn entry_row(index: i64, row: Row<'_>) -> [Value; 3] {
    let (id, bytes) = match row {
        Row::Change(change) => (change.entry.event_id, &change.bytes),
        Row::Mark(mark) => (mark.id, &mark.bytes),
    };
    [index.into(), id.to_string().into(), bytes[..].into()]
}

fn opening_row(index: i64, row: Row<'_>) -> [Value; 8] {
    let Row::Change(Checked {
        entry,
        chain_salt,
        detail,
        bytes: _,
    }) = row
    else {
        let (text, bytes) = (|| Value::Null(Kind::Text), || Value::Null(Kind::Bytes));
        let number = Value::Null(Kind::Int);
        return [index.into(), text(), number, bytes(), text(), bytes(), bytes(), bytes()];
    };
    [
        index.into(),
        entry.record.as_str().into(),
        entry.sequence.cast_signed().into(),
        entry.previous.into(),
        entry.kind.as_str().into(),
        chain_salt[..].into(),
        detail.salt[..].into(),
        detail.content[..].into(),
    ]
}
