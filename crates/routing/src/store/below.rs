//! The cases below each superior: the rows of what it sees of each, pages and counts of them.
//!
//! A row is there for each superior of an open case's owner that no exclusion of the case keeps out
//! ([`case::overseers`]), written in the transaction that changes the case. So pages and counts
//! need no other look at sight. Who is above whom follows from the directory: another one makes all
//! rows anew, and until that is done nobody is shown any. A replica of an earlier version changes
//! cases and not their rows: so each row has the change by which it was made, and is shown while
//! that is the case's last.

use std::collections::BTreeSet;

use decision::directory::{AgencyId, Directory};
use journal::{Head, Time};
use sql::{Db, Error, Insert, Kind, Row, Snapshot, Tx, Value};
use uuid::Uuid;

use super::{
    Cursor, Listing, StoredCase,
    change::{OnLocked, lock},
    exclusions,
    read::attach,
    rows::{self, CaseRow, stored_columns},
    sql::SqlStore,
    versions,
};
use crate::case::{self, Case, Order, Worklist};

const BELOW: Insert = Insert::into(
    "case_below",
    &[
        ("case_id", Kind::Text),
        ("superior", Kind::Text),
        ("owner", Kind::Text),
        ("stage", Kind::Text),
        ("runs", Kind::Int),
        ("place", Kind::Int),
        ("made_by", Kind::Int),
    ],
);

const MADE: &str = "INSERT INTO case_below_made (id, directory, sequence) VALUES (1, $1, $2) ON CONFLICT (id) \
                    DO UPDATE SET directory = excluded.directory, sequence = excluded.sequence";

/// Whether the rows were made since the directory in force was put in force, last.
const IS_MADE: &str = "SELECT 1 FROM case_below_made AS made JOIN active_versions AS active \
                       ON made.sequence = active.sequence WHERE id = 1 AND kind = 'directory'";

const SWITCH: &str = "SELECT sequence FROM active_versions WHERE kind = 'directory'";

/// Open cases, each once.
const OPEN: &str = "SELECT DISTINCT case_id FROM case_clocks WHERE case_id > $1 ORDER BY case_id LIMIT $2";

/// Those of these open cases of which no row is by their last change. Some have none to have.
const LATE: &str = "SELECT case_id FROM case_states WHERE case_id = ANY($1) AND NOT EXISTS (SELECT 1 \
                    FROM case_below WHERE case_below.case_id = case_states.case_id \
                    AND case_below.made_by = case_states.sequence) ORDER BY case_id";

/// A page, with conditions whose values begin at the sixth.
macro_rules! page {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            stored_columns!(),
            ", place FROM case_below JOIN cases ON id = case_below.case_id \
             JOIN case_states ON case_states.case_id = id AND case_states.sequence = case_below.made_by \
             WHERE superior = $1 AND place <= $2 \
             AND (place, case_below.case_id) > ($3, $4)",
            $condition,
            " ORDER BY place, case_below.case_id LIMIT $5"
        )
    };
}

/// A count, with conditions whose values begin at the fourth.
macro_rules! count {
    ($condition:literal) => {
        concat!(
            "SELECT count(*) AS found FROM (SELECT 1 FROM case_below WHERE superior = $1 AND place <= $2 \
             AND made_by = (SELECT sequence FROM case_states WHERE case_states.case_id = case_below.case_id)",
            $condition,
            " LIMIT $3) AS listed"
        )
    };
}

/// The pages and counts of all, of what runs, and of a stage.
const PAGES: [&str; 3] = [page!(""), page!(" AND runs = 1"), page!(" AND stage = $6")];
const COUNTS: [&str; 3] = [count!(""), count!(" AND runs = 1"), count!(" AND stage = $4")];

/// The same of one owner.
const PAGES_OF: [&str; 3] = [
    page!(" AND owner = $6"),
    page!(" AND runs = 1 AND owner = $6"),
    page!(" AND stage = $6 AND owner = $7"),
];
const COUNTS_OF: [&str; 3] = [
    count!(" AND owner = $4"),
    count!(" AND runs = 1 AND owner = $4"),
    count!(" AND stage = $4 AND owner = $5"),
];

/// A case below a superior.
const ONE: &str = concat!(
    "SELECT ",
    stored_columns!(),
    " FROM case_below JOIN cases ON id = case_below.case_id JOIN case_states ON case_states.case_id = id \
     AND case_states.sequence = case_below.made_by WHERE case_below.case_id = $1 AND superior = $2"
);

/// Which of the cases below: the place in [`PAGES`], the stage, and the last place.
fn of(listing: Option<Listing>) -> (usize, Option<&'static str>, i64) {
    match listing {
        None => (0, None, i64::MAX),
        Some(Listing::State(state)) => (2, Some(state.name()), i64::MAX),
        Some(Listing::Worklist(worklist, now)) => match (&worklist.row().order, worklist.row().states) {
            (Order::Ended, _) => (1, None, now.0),
            (_, [state]) => (2, Some(state.name()), i64::MAX),
            _ => (1, None, i64::MAX),
        },
    }
}

/// The rows of cases after changes.
#[derive(Default)]
pub(super) struct Overseen {
    ids: Vec<String>,
    rows: Vec<[Value; 7]>,
}

impl Overseen {
    /// A case after its changes, the last of them, and those who oversee its owner.
    pub(super) fn add(&mut self, id: Uuid, is_new: bool, case: &Case, last: &Head, above: &BTreeSet<AgencyId>) {
        self.ids.extend((!is_new).then(|| id.to_string()));
        let Some(duty) = case.duty() else { return };
        let runs = Worklist::of(case).any(|(agency, row, _)| *agency == duty.owner && row.worklist == Worklist::Due);
        self.rows.extend(above.iter().map(|superior| {
            [
                id.into(),
                superior.as_str().into(),
                duty.owner.as_str().into(),
                Value::Word(case.state().name()),
                i64::from(runs).into(),
                duty.clock.due.0.into(),
                last.sequence.cast_signed().into(),
            ]
        }));
    }

    /// Replaces the rows.
    pub(super) async fn replace(self, tx: &mut Tx) -> Result<(), Error> {
        let Self { ids, rows } = self;
        if !ids.is_empty() {
            tx.execute("DELETE FROM case_below WHERE case_id = ANY($1)", vec![ids.into()])
                .await?;
        }
        BELOW.rows(tx, rows).await.map(drop)
    }
}

/// The cases of a page, with the places where they end; `None` while the rows are being made anew.
pub(super) async fn page(
    db: &Db,
    superior: &AgencyId,
    owner: Option<&AgencyId>,
    listing: Option<Listing>,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Option<Vec<(Cursor, StoredCase)>>, Error> {
    let mut snapshot = db.snapshot().await?;
    if !is_made(&mut snapshot).await? {
        return Ok(None);
    }
    let (which, stage, last) = of(listing);
    let (place, id) = after.map_or((i64::MIN, String::new()), |after| (after.place, after.id.to_string()));
    let mut values = vec![
        superior.as_str().into(),
        last.into(),
        place.into(),
        id.into(),
        i64::from(limit).into(),
    ];
    values.extend(stage.map(Value::Word));
    values.extend(owner.map(|owner| Value::from(owner.as_str())));
    let statement = owner.map_or(PAGES[which], |_| PAGES_OF[which]);
    let found = snapshot.fetch(statement, values).await?;
    let case = |row: &Row| {
        let case = rows::stored(row)?;
        let (place, id) = (row.get("place")?, case.id);
        Ok((Cursor { place, id }, case))
    };
    let found: Vec<(Cursor, CaseRow)> = found.iter().map(case).collect::<Result<_, Error>>()?;
    let (cursors, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let found = attach(&mut snapshot, found).await?;
    Ok(Some(cursors.into_iter().zip(found).collect()))
}

/// The lengths of those worklists that a superior has of what is below it, up to a number; `None`
/// while the rows are being made anew.
pub(super) async fn count(
    db: &Db,
    superior: &AgencyId,
    owner: Option<&AgencyId>,
    now: Time,
    most: u32,
) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
    let mut snapshot = db.snapshot().await?;
    if !is_made(&mut snapshot).await? {
        return Ok(None);
    }
    let mut counts = Vec::with_capacity(Worklist::BELOW.len());
    for worklist in Worklist::BELOW {
        let (which, stage, last) = of(Some(Listing::Worklist(worklist, now)));
        let mut values = vec![superior.as_str().into(), last.into(), i64::from(most).into()];
        values.extend(stage.map(Value::Word));
        values.extend(owner.map(|owner| Value::from(owner.as_str())));
        let statement = owner.map_or(COUNTS[which], |_| COUNTS_OF[which]);
        let row = snapshot.fetch_optional(statement, values).await?;
        let row = row.ok_or_else(|| rows::damaged("count", "it has no row"))?;
        let found: i64 = row.get("found")?;
        counts.push((worklist, u32::try_from(found).unwrap_or(most)));
    }
    Ok(Some(counts))
}

/// A case below a superior; `None` within while the rows are being made anew.
pub(super) async fn one(db: &Db, id: Uuid, superior: &AgencyId) -> Result<Option<Option<StoredCase>>, Error> {
    let mut snapshot = db.snapshot().await?;
    let values = vec![id.to_string().into(), superior.as_str().into()];
    let Some(row) = snapshot.fetch_optional(ONE, values).await? else {
        return Ok(None);
    };
    if !is_made(&mut snapshot).await? {
        return Ok(Some(None));
    }
    let found = rows::stored(&row)?;
    Ok(Some(attach(&mut snapshot, vec![found]).await?.pop()))
}

async fn is_made(snapshot: &mut Snapshot) -> Result<bool, Error> {
    Ok(snapshot.fetch_optional(IS_MADE, vec![]).await?.is_some())
}

/// Whether the rows were made since the last switch of directories.
pub(super) async fn is_done(db: &Db) -> Result<bool, Error> {
    is_made(&mut db.snapshot().await?).await
}

/// How far the rows are made anew: after which switch, and up to which case.
pub type Remade = (i64, String);

/// The next open cases.
async fn open(tx: &mut Tx, after: Option<String>, limit: u32) -> Result<Vec<String>, Error> {
    let values = vec![after.unwrap_or_default().into(), i64::from(limit).into()];
    let found = tx.fetch(OPEN, values).await?;
    found.iter().map(|row| row.get("case_id")).collect()
}

/// Makes the rows of cases anew.
async fn remake(tx: &mut Tx, ids: Vec<String>, directory: &Directory) -> Result<(), Error> {
    let mut locked = lock(tx, OnLocked::Wait, ids).await?;
    exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
    let mut overseen = Overseen::default();
    for (id, case) in &locked {
        let above = case::overseers(&case.stored.case, &case.matter, directory);
        overseen.add(*id, false, &case.stored.case, &case.stored.head, &above);
    }
    overseen.replace(tx).await
}

impl SqlStore {
    /// Makes the rows of the next cases anew; see [`Store::oversee`](super::Store::oversee).
    pub(super) async fn try_oversee(
        &self,
        tx: &mut Tx,
        after: Option<&Remade>,
        limit: u32,
    ) -> Result<Option<Remade>, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let directory: &Directory = &active.directory;
        if tx.fetch_optional(IS_MADE, vec![]).await?.is_some() {
            return Ok(None);
        }
        let switch = tx.fetch_optional(SWITCH, vec![]).await?;
        let switch: i64 = switch.ok_or_else(versions::none_active)?.get("sequence")?;
        // Another switch than at the beginning begins anew.
        let last = after.filter(|(of, _)| *of == switch).map(|(_, last)| last.clone());
        let ids = open(tx, last, limit).await?;
        let Some(last) = ids.last().cloned() else {
            tx.execute(MADE, vec![directory.digest().into(), switch.into()]).await?;
            return Ok(None);
        };
        remake(tx, ids, directory).await?;
        Ok(Some((switch, last)))
    }

    /// Makes those rows of the next cases anew that are late; see
    /// [`Store::oversee_late`](super::Store::oversee_late).
    pub(super) async fn try_oversee_late(
        &self,
        tx: &mut Tx,
        after: Option<String>,
        limit: u32,
    ) -> Result<Option<String>, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let ids = open(tx, after, limit).await?;
        let last = ids.last().cloned();
        let late = tx.fetch(LATE, vec![ids.into()]).await?;
        let late: Vec<String> = late.iter().map(|row| row.get("case_id")).collect::<Result<_, _>>()?;
        if !late.is_empty() {
            remake(tx, late, &active.directory).await?;
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use sql::Engine;
    use testkit::Backend;

    use super::*;
    use crate::Routing;

    testkit::on_each_backend!(every_list_below_is_read_through_an_index);

    /// Of 40,000 cases, below one of ten superiors; those of one have one owner.
    const FILLED: [&str; 3] = [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
         INSERT INTO cases (id, category, urgent, open_time, facts, explanation, matter) \
         SELECT CAST(i AS TEXT), 'gambling', 0, i, CAST('a' AS BYTEA), CAST('a' AS BYTEA), CAST('a' AS BYTEA) FROM n",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
         INSERT INTO case_states (case_id, state, course, generation, sequence, hash, change_time) \
         SELECT CAST(i AS TEXT), 'CLOSED', CAST('a' AS BYTEA), 1, 1, CAST('a' AS BYTEA), i FROM n",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
         INSERT INTO case_below (case_id, superior, owner, stage, runs, place, made_by) \
         SELECT CAST(i AS TEXT), 'police-' || (i % 10), \
         CASE WHEN i % 10 = 7 OR i % 2 = 0 THEN 'unit-7' ELSE 'unit-' || (i % 10) END, \
         CASE WHEN i % 10 = 7 OR i % 2 = 0 THEN 'ASSIGNED' ELSE 'IN_PROGRESS' END, i % 2, i, 1 FROM n",
    ];

    async fn every_list_below_is_read_through_an_index(backend: Backend) {
        let db = Routing::open(backend.url()).await.unwrap();
        for statement in FILLED {
            sql::transact!(db, |tx| tx.execute(statement, vec![])).unwrap();
        }
        let is_postgres = matches!(db.engine(), Engine::Postgres);
        if is_postgres {
            sql::transact!(db, |tx| tx.execute("ANALYZE", vec![])).unwrap();
        }
        let int = Value::Int;
        let pages = [&PAGES[..], &PAGES_OF].concat();
        let counts = [&COUNTS[..], &COUNTS_OF].concat();
        let statements = pages.into_iter().map(|page| (page, true));
        for (statement, is_page) in statements.chain(counts.into_iter().map(|count| (count, false))) {
            let mut values = vec![Value::from("police-7"), int(i64::MAX)];
            match is_page {
                true => values.extend([int(10_000), "1".into(), int(101)]),
                false => values.push(int(10_001)),
            }
            values.extend(statement.contains("stage = $").then(|| Value::from("ASSIGNED")));
            values.extend(statement.contains("owner = $").then(|| Value::from("unit-7")));
            let explain = if is_postgres { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
            let explain: &'static str = Box::leak(format!("{explain} {statement}").into_boxed_str());
            let mut tx = db.begin().await.unwrap();
            let plan = tx.fetch(explain, values).await.unwrap();
            tx.rollback().await;
            let column = if is_postgres { "QUERY PLAN" } else { "detail" };
            let plan: Vec<String> = plan.iter().map(|row| row.get(column).unwrap()).collect();
            let plan = plan.join("\n");
            for costly in ["Seq Scan", "Sort", "SCAN case", "TEMP B-TREE"] {
                assert!(!plan.contains(costly), "{statement}: {plan}");
            }
            assert!(plan.contains("case_below_"), "{statement}: {plan}");
        }
    }
}
