//! What the store reads: each in one snapshot, and for an agency always through `case_parties`.

use std::collections::{BTreeMap, BTreeSet};

use journal::Time;
use sql::{Db, Error, Row, Snapshot, Value};
use uuid::Uuid;

use super::{
    Cursor, FeedItem, MissedClock, StoredCase, Viewer,
    rows::{self, stored_columns},
};
use crate::{directory::AgencyId, state::State};

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
                " FROM cases JOIN case_states ON case_states.case_id = id WHERE id = $1"
            );
            snapshot.fetch_optional(statement, vec![id]).await?
        }
        Viewer::Agency(agency) => {
            let statement = concat!(
                "SELECT ",
                stored_columns!(),
                " FROM cases JOIN case_states ON case_states.case_id = id \
                 JOIN case_parties ON case_parties.case_id = id WHERE id = $1 AND agency = $2"
            );
            snapshot
                .fetch_optional(statement, vec![id, agency.as_str().into()])
                .await?
        }
    };
    let mut found: Vec<_> = row.as_ref().map(rows::stored).transpose()?.into_iter().collect();
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

pub(super) async fn feed(db: &Db, agency: &AgencyId, after: u64, limit: u32) -> Result<Vec<FeedItem>, Error> {
    let mut snapshot = db.snapshot().await?;
    let rows = snapshot
        .fetch(
            "SELECT position, case_id, kind FROM feed WHERE agency = $1 AND position > $2 \
             ORDER BY position LIMIT $3",
            vec![
                agency.as_str().into(),
                after.cast_signed().into(),
                i64::from(limit).into(),
            ],
        )
        .await?;
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
    if items.is_empty() {
        return Ok(items);
    }
    let ids: BTreeSet<String> = items.iter().map(|item| item.id.to_string()).collect();
    let statement = concat!(
        "SELECT ",
        stored_columns!(),
        " FROM cases JOIN case_states ON case_states.case_id = id \
         JOIN case_parties ON case_parties.case_id = id WHERE agency = $1 AND id = ANY($2)"
    );
    let values = vec![agency.as_str().into(), Value::Texts(ids.into_iter().collect())];
    let rows = snapshot.fetch(statement, values).await?;
    let mut found = rows.iter().map(rows::stored).collect::<Result<Vec<_>, _>>()?;
    attach_reports(&mut snapshot, &mut found).await?;
    for item in &mut items {
        item.case = found.iter().find(|case| case.id == item.id).cloned();
    }
    Ok(items)
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
