//! Writes entries, with the tree and the producers that they change.
//!
//! [`SqlStore::write`] moves the head before it writes entries: a fenced store finds its epoch
//! gone, and has written nothing that a commit could keep.

use std::collections::{BTreeMap, HashMap};

use journal::{Bytes32, Draft, Head, Time};
use names::Collection;
use sql::{Batch, Error, Insert, Kind, Tx, Value};

use super::{
    SqlStore, damaged,
    heads::last_of,
    producers::{self, follow},
    state::{Locked, State},
};
use crate::{
    check::{Checked, Leaf, MarkEntry, OWN, check},
    gap::OwnChange,
    producer::Producer,
    tree::TreeHead,
};

pub(super) const ENTRIES: Insert = Insert::into(
    "entries",
    &[("idx", Kind::Int), ("event_id", Kind::Text), ("entry", Kind::Bytes)],
);

pub(super) const OPENINGS: Insert = Insert::into(
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

pub(super) const TILES: Insert = Insert::into("tiles", &[("place", Kind::Int), ("hashes", Kind::Bytes)])
    .then("ON CONFLICT (place) DO UPDATE SET hashes = excluded.hashes");

/// What is written at one index of the log.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Change(&'a Checked),
    Mark(&'a MarkEntry),
}

/// Everything that a transaction writes.
pub(super) struct Additions<'a> {
    /// Entries with their indexes, in order, right after the head.
    pub new: Vec<(u64, Row<'a>)>,
    /// Changes that the log itself logs after them.
    pub own: Vec<OwnChange>,
    /// The mark that it logs last, if any.
    pub mark: Option<MarkEntry>,
    /// The producers' states after all of it.
    pub producers: BTreeMap<String, Producer>,
    pub has_gaps: bool,
    /// Whether changed standings of producers are logged now, not with the next write.
    pub logs_standings: bool,
    pub now: Time,
}

/// What a write leaves behind, once it is committed.
pub(super) struct Written {
    pub state: State,
    /// What the log itself logged.
    pub own: Vec<OwnChange>,
}

impl SqlStore {
    /// Writes entries, openings, tiles, head and producers. `None` if this store is fenced, and
    /// nothing was written.
    pub(super) async fn write(
        &self,
        tx: &mut Tx,
        state: &State,
        locked: &Locked,
        additions: Additions<'_>,
    ) -> Result<Option<Written>, Error> {
        let Additions {
            new,
            mut own,
            mark,
            mut producers,
            has_gaps,
            logs_standings,
            now,
        } = additions;
        for (source, producer) in producers.iter_mut().filter(|_| logs_standings) {
            producer.review(now);
            if let Some(standing) = producer.to_be_logged(now) {
                own.push(OwnChange::standing(source, producer, standing));
                producer.logged = standing;
            }
        }
        let logged = self.own_changes(tx, &own, now).await?;
        let behind = locked.head.size + new.len() as u64;
        let last = || logged.iter().map(Row::Change).chain(mark.iter().map(Row::Mark));
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
        // Only entries and their openings may not exist yet.
        tx.write(&batch)
            .await
            .map_err(|error| match error.is_unique_violation() {
                true => Error::Raced("an entry's event id or place"),
                false => error,
            })?;
        for change in &own {
            follow(tx, change, now).await?;
        }
        let state = State {
            edge,
            producers,
            has_gaps,
            is_read: true,
        };
        Ok(Some(Written { state, own }))
    }

    /// Makes entries of what the log itself logs, each as the next change of its producer's record.
    async fn own_changes(&self, tx: &mut Tx, own: &[OwnChange], now: Time) -> Result<Vec<Checked>, Error> {
        let mut logged = Vec::with_capacity(own.len());
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
            logged.push(check(OWN, next.with_detail()).map_err(|refusal| Error::Damaged {
                what: "entry of the log's own",
                problem: refusal.to_string(),
            })?);
        }
        Ok(logged)
    }

    /// Moves the head. `false` if this store is fenced.
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

pub(super) fn entry_row(index: i64, row: Row<'_>) -> [Value; 3] {
    let (id, bytes) = match row {
        Row::Change(change) => (change.entry.event_id, &change.bytes),
        Row::Mark(mark) => (mark.id, &mark.bytes),
    };
    [index.into(), id.to_string().into(), bytes[..].into()]
}

pub(super) fn opening_row(index: i64, row: Row<'_>) -> [Value; 8] {
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
