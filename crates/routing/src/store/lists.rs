//! The lists that cases are on: their rows, which each change writes anew; pages, counts, and what
//! was read.
//!
//! A list has rows only of agencies that see the case ([`Worklist::of`]), written in the
//! transaction that gives or takes the part. So pages and counts need no other look at sight,
//! but for agencies that the directory in force bars (`barred.rs`).

use std::{collections::BTreeMap, fmt::Write as _};

use data_encoding::HEXLOWER;
use decision::directory::AgencyId;
use journal::Time;
use names::text::person;
use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Row, Snapshot, Tx, Value};
use uuid::Uuid;

use super::{
    Cursor, Read, Undelivered,
    change::{OnLocked, audience, lock},
    rows::{self, CaseRow, stored_columns},
};
use crate::case::{Case, Order, Party, State, Worklist};

const LISTS: Insert = Insert::into(
    "case_lists",
    &[
        ("case_id", Kind::Text),
        ("agency", Kind::Text),
        ("list", Kind::Text),
        ("place", Kind::Int),
        ("officer", Kind::Text),
    ],
);

/// The agency of the rows for operators.
const OPERATORS: &str = "";

/// The list of what an agency has not read. Unlike the others it does not follow from the case.
const UNREAD: &str = "unread";

/// Cases whose lists are made anew in one transaction.
const FILL: u32 = 500;

/// Cases that wait for a new directory which a count looks at, at most.
const PENDING: i64 = 10_000;

/// A page of a list.
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    stored_columns!(),
    ", place FROM case_lists JOIN cases ON id = case_lists.case_id JOIN case_states ON case_states.case_id = id \
     WHERE agency = $1 AND list = $2 AND place <= $3 AND (place, case_lists.case_id) > ($4, $5) \
     ORDER BY place, case_lists.case_id LIMIT $6"
);

/// A page of those on a list that an officer has. The condition that looks superfluous is the
/// index's.
pub(super) const PAGE_OF: &str = concat!(
    "SELECT ",
    stored_columns!(),
    ", place FROM case_lists JOIN cases ON id = case_lists.case_id JOIN case_states ON case_states.case_id = id \
     WHERE agency = $1 AND list = $2 AND place <= $3 AND (place, case_lists.case_id) > ($4, $5) \
     AND officer = $7 AND officer <> '' ORDER BY place, case_lists.case_id LIMIT $6"
);

/// The number of those on a list that an officer has, up to a number.
pub(super) const COUNT_OF: &str = "SELECT count(*) AS found FROM \
     (SELECT 1 FROM case_lists WHERE agency = $1 AND list = $2 AND place <= $3 AND officer = $5 AND officer <> '' \
     LIMIT $4) AS listed";

/// The length of a list, up to a number.
pub(super) const COUNT: &str = "SELECT count(*) AS found FROM \
     (SELECT 1 FROM case_lists WHERE agency = $1 AND list = $2 AND place <= $3 LIMIT $4) AS listed";

/// Exclusions that followed another directory than this, up to a number.
pub(super) const PENDING_ALL: &str = "SELECT count(*) AS found FROM (SELECT 1 FROM case_exclusions \
     WHERE directory < $1 OR directory > $1 LIMIT $2) AS pending";

/// The cases of these exclusions that an agency sees.
pub(super) const PENDING_OF: &str = "SELECT DISTINCT case_parties.case_id FROM case_exclusions \
     JOIN case_parties ON case_parties.case_id = case_exclusions.case_id AND case_parties.agency = $2 \
     WHERE directory < $1 OR directory > $1";

/// What all agencies have not read.
pub(super) const UNREAD_OF_ALL: &str = "SELECT agency, case_id, place FROM case_lists \
     WHERE list = 'unread' AND (place, case_id, agency) > ($1, $2, $3) ORDER BY place, case_id, agency LIMIT $4";

/// What one has not read.
pub(super) const UNREAD_OF: &str = "SELECT agency, case_id, place FROM case_lists \
     WHERE agency = $4 AND list = 'unread' AND (place, case_id) > ($1, $2) ORDER BY place, case_id LIMIT $3";

/// Whether a list has a case of an agency.
pub(super) const IS_LISTED: &str = "SELECT 1 FROM case_lists WHERE case_id = $1 AND agency = $2 AND list = $3";

/// Which of the cases that a viewer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Those in a state, the newest first.
    State(State),
    /// Those on a worklist of the agency at a time, in its order. An operator has none.
    Worklist(Worklist, Time),
}

impl Listing {
    /// Name in the database, and the last place that belongs to it.
    fn stored(self) -> (&'static str, i64) {
        match self {
            Self::State(state) => (state.name(), i64::MAX),
            Self::Worklist(worklist, now) => match worklist.row().order {
                Order::Ended => (Worklist::Due.row().name, now.0),
                _ => (worklist.row().name, i64::MAX),
            },
        }
    }
}

/// A row of `case_lists`.
type ListRow = [Value; 5];

/// The rows of a case after a change. `unread` is when it was, and who has seen it because it made
/// it; `None` if it is none for others than its agency: then what they have not read stays as it
/// is.
fn rows(id: Uuid, case: &Case, open_time: Time, unread: Option<(Time, Option<&AgencyId>)>) -> Vec<ListRow> {
    let row = |agency: &AgencyId, list: &'static str, place: i64| {
        let officer = case.officer_at(agency).map(person).unwrap_or_default();
        [
            id.into(),
            agency.as_str().into(),
            Value::Word(list),
            place.into(),
            officer.into(),
        ]
    };
    let mut rows = vec![[
        id.into(),
        OPERATORS.into(),
        Value::Word(case.state().name()),
        newest_first(open_time).into(),
        "".into(),
    ]];
    for agency in audience(case) {
        rows.push(row(&agency, case.state().name(), newest_first(open_time)));
        if let Some((time, reader)) = unread
            && reader != Some(&agency)
        {
            rows.push(row(&agency, UNREAD, time.0));
        }
    }
    rows.extend(Worklist::of(case).map(|(agency, of, place)| row(agency, of.name, place.0)));
    rows
}

/// Cases whose rows are replaced.
#[derive(Default)]
pub(super) struct Relisted {
    /// Those that have changed for all who see them.
    told: Vec<String>,
    /// Those that have changed inside an agency only.
    inside: Vec<String>,
    rows: Vec<ListRow>,
}

impl Relisted {
    /// A case after its changes; see [`rows`].
    pub(super) fn add(
        &mut self,
        id: Uuid,
        is_listed: bool,
        case: &Case,
        open_time: Time,
        unread: Option<(Time, Option<&AgencyId>)>,
    ) {
        let of = match unread {
            Some(_) => &mut self.told,
            None => &mut self.inside,
        };
        of.extend(is_listed.then(|| id.to_string()));
        self.rows.extend(rows(id, case, open_time, unread));
    }

    /// Replaces the rows.
    pub(super) async fn replace(self, tx: &mut Tx) -> Result<(), Error> {
        let Self { told, inside, rows } = self;
        if !told.is_empty() {
            tx.execute("DELETE FROM case_lists WHERE case_id = ANY($1)", vec![told.into()])
                .await?;
        }
        if !inside.is_empty() {
            let gone = "DELETE FROM case_lists WHERE case_id = ANY($1) AND list <> $2";
            tx.execute(gone, vec![inside.clone().into(), UNREAD.into()]).await?;
        }
        LISTS.rows(tx, rows).await?;
        if !inside.is_empty() {
            let officers = "UPDATE case_lists SET officer = coalesce((SELECT assigned.officer FROM case_lists AS assigned \
                            WHERE assigned.case_id = case_lists.case_id AND assigned.agency = case_lists.agency \
                            AND assigned.list = $3), '') WHERE case_id = ANY($1) AND list = $2";
            let assigned = Worklist::Assigned.row().name;
            tx.execute(officers, vec![inside.into(), UNREAD.into(), assigned.into()])
                .await?;
        }
        Ok(())
    }
}

/// Lists are in the order of `place`.
const fn newest_first(open_time: Time) -> i64 {
    -open_time.0
}

/// The cases of a page, with the places where they end.
pub(super) async fn page(
    snapshot: &mut Snapshot,
    viewer: &Party,
    listing: Listing,
    officer: Option<&str>,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<(Cursor, CaseRow)>, Error> {
    let (list, last) = listing.stored();
    let (place, id) = after.map_or((i64::MIN, String::new()), |after| (after.place, after.id.to_string()));
    let mut values = vec![
        agency(viewer).into(),
        Value::Word(list),
        last.into(),
        place.into(),
        id.into(),
        i64::from(limit).into(),
    ];
    values.extend(officer.map(Value::from));
    let statement = officer.map_or(PAGE, |_| PAGE_OF);
    let rows = snapshot.fetch(statement, values).await?;
    let case = |row: &Row| {
        let case = rows::stored(row)?;
        let (place, id) = (row.get("place")?, case.id);
        Ok((Cursor { place, id }, case))
    };
    rows.iter().map(case).collect()
}

fn agency(viewer: &Party) -> &str {
    viewer.agency().map_or(OPERATORS, AgencyId::as_str)
}

/// The length of each worklist of an agency, up to a number, without these cases; of what these
/// officers have of it, if any are named.
pub(super) async fn count(
    db: &Db,
    of: &AgencyId,
    officers: Option<&[String]>,
    without: Vec<String>,
    now: Time,
    most: u32,
) -> Result<Vec<(Worklist, u32)>, Error> {
    let mut snapshot = db.snapshot().await?;
    let mut kept_out: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let hidden = without.len();
    if hidden > 0 {
        let listed = "SELECT list, place, officer FROM case_lists WHERE agency = $1 AND case_id = ANY($2)";
        for row in &snapshot.fetch(listed, vec![of.as_str().into(), without.into()]).await? {
            let has = row.get::<String>("officer")?;
            if officers.is_none_or(|officers| officers.contains(&has)) {
                kept_out.entry(row.get("list")?).or_default().push(row.get("place")?);
            }
        }
    }
    let mut counts = Vec::with_capacity(Worklist::ROWS.len());
    for row in Worklist::ROWS {
        let (list, last) = Listing::Worklist(row.worklist, now).stored();
        let limit = i64::from(most).saturating_add(i64::try_from(hidden).unwrap_or(i64::MAX));
        let values = vec![of.as_str().into(), Value::Word(list), last.into(), limit.into()];
        let mut found = 0;
        match officers {
            None => found = self::found(snapshot.fetch_optional(COUNT, values).await?)?,
            // Each case has one officer at an agency.
            Some(officers) => {
                for officer in officers {
                    let values = [&values[..], &[officer.as_str().into()]].concat();
                    found += self::found(snapshot.fetch_optional(COUNT_OF, values).await?)?;
                }
            }
        }
        let hidden = kept_out.get(list).into_iter().flatten();
        let hidden = hidden.filter(|place| **place <= last).count();
        let found = usize::try_from(found).unwrap_or_default().saturating_sub(hidden);
        counts.push((row.worklist, u32::try_from(found).unwrap_or(most).min(most)));
    }
    Ok(counts)
}

fn found(row: Option<Row>) -> Result<i64, Error> {
    row.ok_or_else(|| rows::damaged("count", "it has no row"))?.get("found")
}

/// An agency's cases that a new directory may bar it from, since they have not followed it yet.
/// `None` if there are too many such cases of anybody's to look through.
pub(super) async fn pending(db: &Db, of: &AgencyId, directory: [u8; 32]) -> Result<Option<Vec<String>>, Error> {
    let mut snapshot = db.snapshot().await?;
    let all = vec![directory.into(), PENDING.into()];
    match found(snapshot.fetch_optional(PENDING_ALL, all).await?)? {
        0 => return Ok(Some(Vec::new())),
        PENDING.. => return Ok(None),
        _ => {}
    }
    let values = vec![directory.into(), of.as_str().into()];
    let rows = snapshot.fetch(PENDING_OF, values).await?;
    rows.iter()
        .map(|row| row.get("case_id"))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// What agencies have not read, of all or of one.
pub(super) async fn undelivered(
    db: &Db,
    of: Option<&AgencyId>,
    after: Option<Undelivered>,
    limit: u32,
) -> Result<Vec<Undelivered>, Error> {
    let (place, id, last) = after.map_or((i64::MIN, String::new(), String::new()), |after| {
        (after.time.0, after.case.to_string(), after.agency.to_string())
    });
    let limit = Value::from(i64::from(limit));
    let rows = match of {
        Some(of) => {
            let values = vec![place.into(), id.into(), limit, of.as_str().into()];
            db.fetch(UNREAD_OF, values).await?
        }
        None => {
            let values = vec![place.into(), id.into(), last.into(), limit];
            db.fetch(UNREAD_OF_ALL, values).await?
        }
    };
    let undelivered = |row: &Row| {
        Ok(Undelivered {
            time: Time(row.get("place")?),
            case: rows::uuid(row, "case_id")?,
            agency: rows::agency(&row.get::<String>("agency")?)?,
        })
    };
    rows.iter().map(undelivered).collect()
}

/// Whether an agency has not read the last change of a case that it sees.
pub(super) async fn is_unread(db: &Db, of: &AgencyId, case: Uuid) -> Result<bool, Error> {
    let values = vec![case.to_string().into(), of.as_str().into(), UNREAD.into()];
    Ok(db.fetch_optional(IS_LISTED, values).await?.is_some())
}

/// Takes what was read from the lists of what was not, unless it has changed since or is being
/// changed: then it is unread again.
pub(super) async fn read(tx: &mut Tx, reads: &[Read]) -> Result<(), Error> {
    let ids: Vec<String> = reads.iter().map(|read| read.case.to_string()).collect();
    let locked = "SELECT case_id, sequence FROM case_states WHERE case_id = ANY($1) ORDER BY case_id \
                  FOR UPDATE SKIP LOCKED";
    let mut sequences = BTreeMap::new();
    for row in &tx.fetch(locked, vec![ids.into()]).await? {
        sequences.insert(rows::uuid(row, "case_id")?, row.count("sequence", "sequence")?);
    }
    let mut of_agency: BTreeMap<&AgencyId, Vec<String>> = BTreeMap::new();
    for read in reads {
        if sequences.get(&read.case) == Some(&read.sequence) {
            of_agency.entry(&read.agency).or_default().push(read.case.to_string());
        }
    }
    for (agency, cases) in of_agency {
        let gone = "DELETE FROM case_lists WHERE list = $1 AND agency = $2 AND case_id = ANY($3)";
        tx.execute(gone, vec![UNREAD.into(), agency.as_str().into(), cases.into()])
            .await?;
    }
    Ok(())
}

/// The rules that the rows follow from.
fn rules() -> String {
    let mut rules = String::from("1");
    for row in Worklist::ROWS {
        // Writing to a text does not fail.
        let _ = write!(rules, "{row:?}");
    }
    HEXLOWER.encode(&Sha256::digest(rules))
}

/// Makes the lists of all cases anew if they were made by other rules than this release's.
pub(crate) async fn follow_rules(db: &Db) -> Result<(), Error> {
    let rules = rules();
    let known = db.fetch_optional("SELECT rules FROM case_lists_rules WHERE id = 1", vec![]);
    if let Some(row) = known.await?
        && row.get::<String>("rules")? == rules
    {
        return Ok(());
    }
    let mut after = String::new();
    let mut done = 0;
    loop {
        let ids = db.fetch(
            "SELECT case_id FROM case_states WHERE case_id > $1 ORDER BY case_id LIMIT $2",
            vec![after.clone().into(), i64::from(FILL).into()],
        );
        let ids: Vec<String> = ids
            .await?
            .iter()
            .map(|row| row.get("case_id"))
            .collect::<Result<_, _>>()?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        done += ids.len();
        sql::transact!(db, |tx| refill(&mut tx, ids.clone()))?;
        tracing::info!(cases = done, "the lists of cases are being made anew");
    }
    let noted = "INSERT INTO case_lists_rules (id, rules) VALUES (1, $1) \
                 ON CONFLICT (id) DO UPDATE SET rules = excluded.rules";
    sql::transact!(db, |tx| tx.execute(noted, vec![rules.clone().into()])).map(drop)
}

/// Writes the rows of cases anew, but for what was read.
async fn refill(tx: &mut Tx, ids: Vec<String>) -> Result<(), Error> {
    let locked = lock(tx, OnLocked::Wait, ids.clone()).await?;
    let gone = "DELETE FROM case_lists WHERE case_id = ANY($1) AND list <> $2";
    tx.execute(gone, vec![ids.into(), UNREAD.into()]).await?;
    let mut filled = Vec::new();
    for (id, case) in locked {
        let stored = &case.stored;
        filled.extend(rows(id, &stored.case, stored.open_time, None));
    }
    LISTS.rows(tx, filled).await.map(drop)
}

#[cfg(test)]
mod tests {
    use sql::Engine;
    use testkit::Backend;

    use super::*;
    use crate::Routing;

    testkit::on_each_backend!(every_list_is_read_through_an_index);

    /// Of 20,000 cases, each with a list of one of ten agencies.
    const FILLED: [&str; 4] = [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO cases (id, category, urgent, open_time, facts, explanation, matter) \
         SELECT CAST(i AS TEXT), 'gambling', 0, i, CAST('a' AS BYTEA), CAST('a' AS BYTEA), CAST('a' AS BYTEA) FROM n",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO case_states (case_id, state, course, generation, sequence, hash, change_time) \
         SELECT CAST(i AS TEXT), 'CLOSED', CAST('a' AS BYTEA), 1, 1, CAST('a' AS BYTEA), i FROM n",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO case_lists (case_id, agency, list, place, officer) \
         SELECT CAST(i AS TEXT), 'police-' || (i % 10), 'due', i, CASE WHEN i % 2 = 1 THEN 'o-1' ELSE '' END FROM n",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO case_exclusions (case_id, agency, directory) SELECT CAST(i AS TEXT), 'police-1', $1 FROM n",
    ];

    async fn every_list_is_read_through_an_index(backend: Backend) {
        let db = Routing::open(backend.url()).await.unwrap();
        let digest = Value::Hash([7; 32]);
        for statement in FILLED {
            let values = statement.contains("$1").then(|| digest.clone());
            sql::transact!(db, |tx| tx.execute(statement, values.clone().into_iter().collect())).unwrap();
        }
        let is_postgres = matches!(db.engine(), Engine::Postgres);
        if is_postgres {
            sql::transact!(db, |tx| tx.execute("ANALYZE", vec![])).unwrap();
        }
        let of = |rest: &[Value]| [&[Value::from("police-7"), Value::from("due")], rest].concat();
        let int = Value::Int;
        let cases: Vec<String> = (1..4).map(|i| i.to_string()).collect();
        for (what, statement, values) in [
            (
                "the first page",
                PAGE,
                of(&[int(i64::MAX), int(i64::MIN), "".into(), int(101)]),
            ),
            (
                "a later page",
                PAGE,
                of(&[int(i64::MAX), int(10_000), "1".into(), int(101)]),
            ),
            (
                "the overdue",
                PAGE,
                of(&[int(5_000), int(i64::MIN), "".into(), int(101)]),
            ),
            ("a count", COUNT, of(&[int(5_000), int(10_001)])),
            (
                "the first page of an officer",
                PAGE_OF,
                of(&[int(i64::MAX), int(i64::MIN), "".into(), int(101), "o-1".into()]),
            ),
            (
                "a later page of an officer",
                PAGE_OF,
                of(&[int(i64::MAX), int(10_000), "1".into(), int(101), "o-1".into()]),
            ),
            (
                "a count of an officer's",
                COUNT_OF,
                of(&[int(5_000), int(10_001), "o-1".into()]),
            ),
            (
                "what nobody has read",
                UNREAD_OF_ALL,
                vec![int(10_000), "1".into(), "".into(), int(101)],
            ),
            (
                "what one has not read",
                UNREAD_OF,
                vec![int(10_000), "1".into(), int(101), "police-7".into()],
            ),
            ("the pending", PENDING_ALL, vec![digest.clone(), int(PENDING)]),
            (
                "an unread",
                IS_LISTED,
                vec!["7".into(), "police-7".into(), "due".into()],
            ),
            (
                "a replacement",
                "DELETE FROM case_lists WHERE case_id = ANY($1)",
                vec![cases.into()],
            ),
        ] {
            let explain = if is_postgres { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
            let explain: &'static str = Box::leak(format!("{explain} {statement}").into_boxed_str());
            let mut tx = db.begin().await.unwrap();
            let plan = tx.fetch(explain, values).await.unwrap();
            tx.rollback().await;
            let column = if is_postgres { "QUERY PLAN" } else { "detail" };
            let plan: Vec<String> = plan.iter().map(|row| row.get(column).unwrap()).collect();
            let plan = plan.join("\n");
            for costly in ["Seq Scan", "Sort", "SCAN case", "TEMP B-TREE"] {
                assert!(!plan.contains(costly), "{what}: {plan}");
            }
            let is_search = ["INDEX", "PRIMARY KEY", "Index"]
                .iter()
                .any(|found| plan.contains(found));
            assert!(is_search, "{what}: {plan}");
        }
    }
}
