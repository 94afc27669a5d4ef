//! What the store reads: each in one snapshot, and for an agency always through `case_parties`.

use std::collections::{BTreeMap, BTreeSet};

use journal::Time;
use sql::{Db, Error, Row, Snapshot, Tx, Value};
use uuid::Uuid;

use super::{
    Cursor, FeedItem, MissedClock, StoredCase, Viewer,
    rows::{self, stored_columns},
};
use crate::{
    directory::{AgencyId, Directory},
    state::State,
};

/// The reports of cases.
pub(super) const REPORTS_OF: &str = "SELECT case_id, report FROM case_reports WHERE case_id = ANY($1) ORDER BY report";

pub(super) async fn missed(db: &Db, now: Time, limit: u32) -> Result<Vec<MissedClock>, Error> {
    db.fetch(
        "SELECT case_id, clock_generation FROM case_states WHERE clock_due <= $1 ORDER BY clock_due LIMIT $2",
        vec![now.0.into(), i64::from(limit).into()],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(MissedClock {
            case: rows::uuid(row, 0)?,
            generation: row.count(1, "clock generation")?,
        })
    })
    .collect()
}

pub(super) async fn case(db: &Db, id: Uuid, viewer: &Viewer) -> Result<Option<StoredCase>, Error> {
    let mut snapshot = db.snapshot().await?;
    let id = Value::from(id.to_string());
    let row = match viewer {
        Viewer::Operator => {
            let statement = concat!(
                "SELECT ",
                stored_columns!(),
                ", explanation FROM cases JOIN case_states ON case_states.case_id = id WHERE id = $1"
            );
            snapshot.fetch_optional(statement, vec![id]).await?
        }
        Viewer::Agency(agency) => {
            let statement = concat!(
                "SELECT ",
                stored_columns!(),
                ", explanation FROM cases JOIN case_states ON case_states.case_id = id \
                 JOIN case_parties ON case_parties.case_id = id WHERE id = $1 AND agency = $2"
            );
            snapshot
                .fetch_optional(statement, vec![id, agency.as_str().into()])
                .await?
        }
    };
    let mut found: Vec<_> = row.as_ref().map(rows::explained).transpose()?.into_iter().collect();
    attach_reports(&mut snapshot, &mut found).await?;
    Ok(found.pop())
}

pub(super) async fn cases(
    db: &Db,
    viewer: &Viewer,
    state: Option<State>,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<StoredCase>, Error> {
    let (time, id) = after.map_or((i64::MAX, String::new()), |cursor| {
        (cursor.open_time.0, cursor.id.to_string())
    });
    let state = state.map_or("", State::name);
    let mut values = vec![time.into(), id.into(), state.into(), i64::from(limit).into()];
    let statement = match viewer {
        Viewer::Operator => concat!(
            "SELECT ",
            stored_columns!(),
            " FROM cases JOIN case_states ON case_states.case_id = id \
             WHERE (cases.open_time, id) < ($1, $2) AND ($3 = '' OR state = $3) \
             ORDER BY cases.open_time DESC, id DESC LIMIT $4"
        ),
        Viewer::Agency(agency) => {
            values.push(agency.as_str().into());
            concat!(
                "SELECT ",
                stored_columns!(),
                " FROM case_parties JOIN cases ON id = case_parties.case_id \
                 JOIN case_states ON case_states.case_id = id \
                 WHERE agency = $5 AND (case_parties.open_time, case_parties.case_id) < ($1, $2) \
                 AND ($3 = '' OR state = $3) \
                 ORDER BY case_parties.open_time DESC, case_parties.case_id DESC LIMIT $4"
            )
        }
    };
    let mut snapshot = db.snapshot().await?;
    let rows = snapshot.fetch(statement, values).await?;
    let mut found = rows.iter().map(rows::stored).collect::<Result<Vec<_>, _>>()?;
    attach_reports(&mut snapshot, &mut found).await?;
    Ok(found)
}

pub(super) async fn leads(db: &Db, agency: &AgencyId, report: Uuid) -> Result<bool, Error> {
    let row = db
        .fetch_optional(
            "SELECT 1 FROM case_reports JOIN case_parties ON case_parties.case_id = case_reports.case_id \
             WHERE report = $1 AND agency = $2 AND role = 'lead'",
            vec![report.to_string().into(), agency.as_str().into()],
        )
        .await?;
    Ok(row.is_some())
}

/// Open cases whose owner the directory does not have, or has with an end and no successor; with the owner, at most `limit`.
///
/// It walks from agency to agency in the index, so that it costs as much as there are agencies, not cases.
pub(super) async fn unknown_owners(
    tx: &mut Tx,
    directory: &Directory,
    limit: u32,
) -> Result<Vec<(AgencyId, Uuid)>, Error> {
    let parties = tx
        .fetch(
            "WITH RECURSIVE parties (agency) AS (SELECT min(agency) FROM case_parties UNION ALL \
             SELECT (SELECT min(agency) FROM case_parties WHERE agency > parties.agency) FROM parties \
             WHERE parties.agency IS NOT NULL) SELECT agency FROM parties WHERE agency IS NOT NULL",
            vec![],
        )
        .await?;
    let mut unknown = Vec::new();
    for row in &parties {
        let agency = rows::agency(&row.get::<String>(0)?)?;
        if !directory.lasts(&agency) {
            unknown.push(agency.to_string());
        }
    }
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let owned = tx
        .fetch(
            "SELECT agency, case_id FROM case_parties WHERE agency = ANY($1) AND role IN ('lead', 'designating') \
             ORDER BY agency, case_id LIMIT $2",
            vec![unknown.into(), i64::from(limit).into()],
        )
        .await?;
    owned
        .iter()
        .map(|row| Ok((rows::agency(&row.get::<String>(0)?)?, rows::uuid(row, 1)?)))
        .collect()
}

/// Ids of open cases that any of these agencies owns or supports, at most `limit`.
pub(super) async fn cases_of(tx: &mut Tx, agencies: Vec<String>, limit: u32) -> Result<Vec<String>, Error> {
    if agencies.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx
        .fetch(
            "SELECT DISTINCT case_parties.case_id FROM case_parties \
             JOIN case_states ON case_states.case_id = case_parties.case_id \
             WHERE agency = ANY($1) AND case_states.owner IS NOT NULL LIMIT $2",
            vec![agencies.into(), i64::from(limit).into()],
        )
        .await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// One statement while nothing happened, which is what most reads find. The cases are read after it, and are therefore as
/// the changes left them, or later.
pub(super) async fn feed(db: &Db, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error> {
    let rows = db
        .fetch(
            "SELECT position, case_id, kind, (SELECT position FROM feed_forgotten WHERE agency = $1) \
             FROM feed WHERE agency = $1 AND position > $2 ORDER BY feed.position LIMIT $3",
            vec![agency.as_str().into(), position(after).into(), i64::from(limit).into()],
        )
        .await?;
    let Some(first) = rows.first() else {
        return Ok(Some(Vec::new()));
    };
    let forgotten: Option<i64> = first.get(3)?;
    if after > 0 && forgotten.is_some_and(|forgotten| forgotten > position(after)) {
        return Ok(None);
    }
    let mut items = rows
        .iter()
        .map(|row| {
            Ok(FeedItem {
                position: row.count(0, "position")?,
                id: rows::uuid(row, 1)?,
                kind: row.get(2)?,
                case: None,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let ids: BTreeSet<String> = items.iter().map(|item| item.id.to_string()).collect();
    let statement = concat!(
        "SELECT ",
        stored_columns!(),
        ", explanation FROM cases JOIN case_states ON case_states.case_id = id \
         JOIN case_parties ON case_parties.case_id = id WHERE agency = $1 AND id = ANY($2)"
    );
    let values = vec![agency.as_str().into(), Value::Texts(ids.into_iter().collect())];
    let mut snapshot = db.snapshot().await?;
    let rows = snapshot.fetch(statement, values).await?;
    let mut found = rows.iter().map(rows::explained).collect::<Result<Vec<_>, _>>()?;
    attach_reports(&mut snapshot, &mut found).await?;
    let found: BTreeMap<_, _> = found.into_iter().map(|case| (case.id, case)).collect();
    for item in &mut items {
        item.case = found.get(&item.id).cloned();
    }
    Ok(Some(items))
}

pub(super) async fn feed_reaches(db: &Db, agency: &AgencyId, after: u64) -> Result<bool, Error> {
    let row = db
        .fetch_optional(
            "SELECT position, (SELECT position FROM feed_forgotten WHERE agency = $1) FROM feed_head WHERE id = 1",
            vec![agency.as_str().into()],
        )
        .await?
        .ok_or_else(|| rows::damaged("feed head", "it is missing"))?;
    let (head, forgotten): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
    Ok((forgotten.unwrap_or(0)..=head).contains(&position(after)))
}

/// As stored. No position is so large; one that a caller sends may be.
fn position(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

async fn attach_reports(snapshot: &mut Snapshot, cases: &mut [StoredCase]) -> Result<(), Error> {
    let ids = cases.iter().map(|case| case.id.to_string()).collect();
    let found = reports(&snapshot.fetch(REPORTS_OF, vec![Value::Texts(ids)]).await?)?;
    for case in cases {
        case.reports = found.get(&case.id).cloned().unwrap_or_default();
    }
    Ok(())
}

/// Reports by case, from the rows of [`REPORTS_OF`].
pub(super) fn reports(rows: &[Row]) -> Result<BTreeMap<Uuid, Vec<Uuid>>, Error> {
    let mut reports: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for row in rows {
        reports
            .entry(rows::uuid(row, 0)?)
            .or_default()
            .push(rows::uuid(row, 1)?);
    }
    Ok(reports)
}
