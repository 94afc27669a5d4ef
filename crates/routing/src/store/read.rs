//! Reads, each in one snapshot. Reads on behalf of an agency always join `case_parties` and check
//! that its part sees what is read ([`Part::seeing`]).

use std::collections::{BTreeMap, BTreeSet};

use api::routing::{CaseNote, CaseStep};
use decision::{
    calendar::ClockKind,
    directory::{AgencyId, Directory},
};
use journal::{Bytes32, Time};
use prost::Message as _;
use sql::{Db, Error, Row, Snapshot, Tx, Value};
use uuid::Uuid;

use super::{
    Cursor, FeedItem, Listing, MissedAfter, MissedClock, Page, RefusedDelivery, StoredCase, lists,
    rows::{self, CaseRow, PartyRow, StateRow, stored_columns},
};
use crate::case::{Case, Clock, Part, Party, Sight, Supporter};

/// The reports of cases.
pub(super) const REPORTS_OF: &str = "SELECT case_id, report FROM case_reports WHERE case_id = ANY($1) ORDER BY report";

/// The parties of cases, in order.
pub(super) const PARTIES_OF: &str = "SELECT case_id, agency, part, by_request, supports FROM case_parties WHERE case_id = ANY($1) ORDER BY case_id, place";

/// The clocks of cases, in the order they were set.
pub(super) const CLOCKS_OF: &str = "SELECT case_id, kind, owner, generation, unit, budget, used, since, paused_until, \
     pause_ground, pauses, due, provisional, is_term, reminded, remind FROM case_clocks WHERE case_id = ANY($1) ORDER BY case_id, generation";

/// What happened to cases, in order.
pub(super) const HISTORY_OF: &str =
    "SELECT case_id, step, note FROM case_steps WHERE case_id = ANY($1) ORDER BY case_id, sequence";

/// Cases with a clock whose end may still move.
pub(super) async fn provisional(db: &Db, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
    let rows = db
        .fetch(
            "SELECT case_id FROM (SELECT case_id FROM case_clocks WHERE provisional = 1 \
             UNION SELECT case_id FROM case_parties WHERE part = 'supervising') AS due \
             WHERE case_id > $1 ORDER BY case_id LIMIT $2",
            vec![after.unwrap_or_default().into(), i64::from(limit).into()],
        )
        .await?;
    let id = |row: &Row| rows::uuid(row, "case_id");
    page(
        &rows,
        limit,
        "a case with a provisional deadline or a supervisor",
        id,
        |row| row.get("case_id"),
    )
}

pub(super) async fn missed(
    db: &Db,
    now: Time,
    after: Option<MissedAfter>,
    limit: u32,
) -> Result<Page<MissedClock, MissedAfter>, Error> {
    let (next, case, generation) = after.map_or((i64::MIN, String::new(), 0), |after| {
        (after.next.0, after.case, after.generation)
    });
    let rows = db
        .fetch(
            "SELECT case_id, kind, generation, next FROM case_clocks \
             WHERE next <= $1 AND (next, case_id, generation) > ($2, $3, $4) \
             ORDER BY next, case_id, generation LIMIT $5",
            vec![
                now.0.into(),
                next.into(),
                case.into(),
                generation.into(),
                i64::from(limit).into(),
            ],
        )
        .await?;
    let clock = |row: &Row| {
        let kind: String = row.get("kind")?;
        Ok::<_, Error>(MissedClock {
            case: rows::uuid(row, "case_id")?,
            // One that is unknown is perhaps a newer release's, which ends it.
            kind: ClockKind::from_name(&kind).ok_or_else(|| rows::damaged("clock kind", kind))?,
            generation: row.count("generation", "clock generation")?,
        })
    };
    let place = |row: &Row| {
        Ok::<_, Error>(MissedAfter {
            next: Time(row.get("next")?),
            case: row.get("case_id")?,
            generation: row.get("generation")?,
        })
    };
    page(&rows, limit, "a clock that has run out", clock, place)
}

/// A page of rows. One that cannot be read is reported, and keeps no other from being read.
pub(super) fn page<T, A>(
    rows: &[Row],
    limit: u32,
    what: &'static str,
    item: impl Fn(&Row) -> Result<T, Error>,
    place: impl Fn(&Row) -> Result<A, Error>,
) -> Result<Page<T, A>, Error> {
    let last = rows.last().filter(|_| rows.len() >= limit as usize);
    let next = last.map(place).transpose()?;
    let items = rows.iter().filter_map(|row| {
        item(row)
            .inspect_err(|error| tracing::error!(what, %error, "a row cannot be read"))
            .ok()
    });
    Ok(Page {
        items: items.collect(),
        next,
    })
}

pub(super) async fn case(db: &Db, id: Uuid, viewer: &Party) -> Result<Option<StoredCase>, Error> {
    let mut snapshot = db.snapshot().await?;
    let id = Value::from(id.to_string());
    let row = match viewer {
        Party::Operator => {
            let statement = concat!(
                "SELECT ",
                stored_columns!(),
                ", explanation, matter FROM cases JOIN case_states ON case_states.case_id = id WHERE id = $1"
            );
            snapshot.fetch_optional(statement, vec![id]).await?
        }
        Party::Agency(agency) => {
            let statement = concat!(
                "SELECT ",
                stored_columns!(),
                ", explanation, matter FROM cases JOIN case_states ON case_states.case_id = id \
                 JOIN case_parties ON case_parties.case_id = id WHERE id = $1 AND agency = $2 AND part = ANY($3)"
            );
            let values = vec![id, agency.as_str().into(), Part::seeing(Sight::Case).into()];
            snapshot.fetch_optional(statement, values).await?
        }
        // What it sees is its notice.
        Party::Subject(_) => None,
    };
    let found = row.as_ref().map(rows::stored_with_opening).transpose()?;
    let mut whole = attach(&mut snapshot, found.into_iter().collect()).await?;
    Ok(whole.pop())
}

pub(super) async fn cases(
    db: &Db,
    viewer: &Party,
    listing: Option<Listing>,
    officers: Option<&[String]>,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<(Cursor, StoredCase)>, Error> {
    // What the affected side sees is its notice.
    if let Party::Subject(_) = viewer {
        return Ok(Vec::new());
    }
    let mut snapshot = db.snapshot().await?;
    let found = match (listing, officers) {
        (Some(listing), None) => lists::page(&mut snapshot, viewer, listing, None, after, limit).await?,
        // A page of each, and the first of them all.
        (Some(listing), Some(officers)) => {
            let mut all = Vec::new();
            for officer in officers {
                all.extend(lists::page(&mut snapshot, viewer, listing, Some(officer), after, limit).await?);
            }
            all.sort_by_key(|(cursor, _)| (cursor.place, cursor.id));
            all.truncate(limit as usize);
            all
        }
        (None, _) => newest(&mut snapshot, viewer, after, limit).await?,
    };
    let (cursors, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Ok(cursors.into_iter().zip(attach(&mut snapshot, found).await?).collect())
}

/// All cases of a viewer, the newest first.
async fn newest(
    snapshot: &mut Snapshot,
    viewer: &Party,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<(Cursor, CaseRow)>, Error> {
    let (time, id) = after.map_or((i64::MAX, String::new()), |cursor| {
        (cursor.place, cursor.id.to_string())
    });
    let mut values = vec![time.into(), id.into(), i64::from(limit).into()];
    let statement = match viewer {
        Party::Operator => concat!(
            "SELECT ",
            stored_columns!(),
            " FROM cases JOIN case_states ON case_states.case_id = id \
             WHERE (cases.open_time, id) < ($1, $2) ORDER BY cases.open_time DESC, id DESC LIMIT $3"
        ),
        Party::Subject(_) => return Ok(Vec::new()),
        Party::Agency(agency) => {
            values.extend([agency.as_str().into(), Part::seeing(Sight::Case).into()]);
            concat!(
                "SELECT ",
                stored_columns!(),
                " FROM case_parties JOIN cases ON id = case_parties.case_id \
                 JOIN case_states ON case_states.case_id = id \
                 WHERE agency = $4 AND part = ANY($5) AND (case_parties.open_time, case_parties.case_id) < ($1, $2) \
                 ORDER BY case_parties.open_time DESC, case_parties.case_id DESC LIMIT $3"
            )
        }
    };
    let rows = snapshot.fetch(statement, values).await?;
    let case = |row: &Row| {
        let case = rows::stored(row)?;
        let (place, id) = (case.open_time.0, case.id);
        Ok((Cursor { place, id }, case))
    };
    rows.iter().map(case).collect()
}

/// Cases by id, without their openings.
pub(super) async fn by_ids(db: &Db, ids: Vec<String>) -> Result<Vec<StoredCase>, Error> {
    let mut snapshot = db.snapshot().await?;
    let statement = concat!(
        "SELECT ",
        stored_columns!(),
        " FROM cases JOIN case_states ON case_states.case_id = id WHERE id = ANY($1)"
    );
    let rows = snapshot.fetch(statement, vec![ids.into()]).await?;
    let found = rows.iter().map(rows::stored).collect::<Result<Vec<_>, _>>()?;
    attach(&mut snapshot, found).await
}

pub(super) async fn refused(db: &Db, limit: u32) -> Result<Vec<RefusedDelivery>, Error> {
    let statement = "SELECT consumer, record, since, reason FROM outbox_parked WHERE record LIKE 'cases/%' \
                     ORDER BY since, record, consumer LIMIT $1";
    let rows = db.fetch(statement, vec![i64::from(limit).into()]).await?;
    let refused = |row: &Row| {
        Ok(RefusedDelivery {
            consumer: row.get("consumer")?,
            case: row.get("record")?,
            since: Time(row.get("since")?),
            reason: row.get("reason")?,
        })
    };
    rows.iter().map(refused).collect()
}

pub(super) async fn sees_content(db: &Db, agency: &AgencyId, report: Uuid) -> Result<bool, Error> {
    let row = db
        .fetch_optional(
            "SELECT 1 FROM case_reports JOIN case_parties ON case_parties.case_id = case_reports.case_id \
             WHERE report = $1 AND agency = $2 AND part = ANY($3)",
            vec![
                report.into(),
                agency.as_str().into(),
                Part::seeing(Sight::Content).into(),
            ],
        )
        .await?;
    Ok(row.is_some())
}

pub(super) async fn excluded(db: &Db, reports: &[Uuid]) -> Result<BTreeMap<Uuid, BTreeSet<AgencyId>>, Error> {
    let ids = |reports: &mut dyn Iterator<Item = &Uuid>| reports.map(Uuid::to_string).collect::<Vec<_>>();
    let rows = db
        .fetch(
            "SELECT report, matter FROM case_reports JOIN cases ON cases.id = case_reports.case_id \
             WHERE report = ANY($1)",
            vec![ids(&mut reports.iter()).into()],
        )
        .await?;
    let mut excluded = BTreeMap::<Uuid, BTreeSet<AgencyId>>::new();
    for row in &rows {
        let mut named = rows::matter(row)?.excluded;
        if !named.is_empty() {
            excluded
                .entry(rows::uuid(row, "report")?)
                .or_default()
                .append(&mut named);
        }
    }
    // And who came to be excluded since, by whichever directory, or stepped aside.
    let since = db
        .fetch(
            "SELECT report, agency FROM case_reports \
             JOIN case_exclusions ON case_exclusions.case_id = case_reports.case_id WHERE report = ANY($1)",
            vec![ids(&mut reports.iter()).into()],
        )
        .await?;
    for row in &since {
        let agency = rows::agency(&row.get::<String>("agency")?)?;
        excluded.entry(rows::uuid(row, "report")?).or_default().insert(agency);
    }
    Ok(excluded)
}

/// Open cases whose owner is not in the directory, or ends there without a successor, with the
/// owner, at most `limit`.
///
/// Walks the index from agency to agency: the cost grows with the agencies, not with the cases.
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
        let agency = rows::agency(&row.get::<String>("agency")?)?;
        if !directory.lasts(&agency) {
            unknown.push(agency.to_string());
        }
    }
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let owned = tx
        .fetch(
            "SELECT agency, case_id FROM case_parties WHERE agency = ANY($1) AND part IN ('lead', 'designating') \
             ORDER BY agency, case_id LIMIT $2",
            vec![unknown.into(), i64::from(limit).into()],
        )
        .await?;
    owned
        .iter()
        .map(|row| {
            Ok((
                rows::agency(&row.get::<String>("agency")?)?,
                rows::uuid(row, "case_id")?,
            ))
        })
        .collect()
}

/// Open cases in which any of these agencies has a part, and those whose exclusions another
/// directory followed.
pub(super) async fn successions(
    db: &Db,
    ended: Vec<String>,
    directory: Bytes32,
    after: Option<String>,
    limit: u32,
) -> Result<Page<Uuid, String>, Error> {
    let rows = db
        .fetch(
            "SELECT case_id FROM (SELECT case_parties.case_id FROM case_parties \
             JOIN case_states ON case_states.case_id = case_parties.case_id \
             WHERE agency = ANY($1) AND case_states.state <> 'ADVISED' \
             UNION SELECT case_id FROM case_exclusions WHERE directory < $2 OR directory > $2) AS due \
             WHERE case_id > $3 ORDER BY case_id LIMIT $4",
            vec![
                ended.into(),
                directory.into(),
                after.unwrap_or_default().into(),
                i64::from(limit).into(),
            ],
        )
        .await?;
    let id = |row: &Row| rows::uuid(row, "case_id");
    page(&rows, limit, "a case with a part of an ended agency", id, |row| {
        row.get("case_id")
    })
}

/// One statement if there is no change, which is the common case. Cases are read after their
/// changes, so they are as the changes left them or newer.
pub(super) async fn feed(db: &Db, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error> {
    let rows = db
        .fetch(
            "SELECT position, case_id, kind, (SELECT position FROM feed_forgotten WHERE agency = $1) AS forgotten \
             FROM feed WHERE agency = $1 AND position > $2 ORDER BY feed.position LIMIT $3",
            vec![agency.as_str().into(), position(after).into(), i64::from(limit).into()],
        )
        .await?;
    let Some(first) = rows.first() else {
        return Ok(Some(Vec::new()));
    };
    let forgotten: Option<i64> = first.get("forgotten")?;
    if after > 0 && forgotten.is_some_and(|forgotten| forgotten > position(after)) {
        return Ok(None);
    }
    let mut items = rows
        .iter()
        .map(|row| {
            Ok(FeedItem {
                position: row.count("position", "position")?,
                id: rows::uuid(row, "case_id")?,
                kind: row.get("kind")?,
                case: None,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let ids: BTreeSet<String> = items.iter().map(|item| item.id.to_string()).collect();
    let statement = concat!(
        "SELECT ",
        stored_columns!(),
        ", explanation, matter FROM cases JOIN case_states ON case_states.case_id = id \
         JOIN case_parties ON case_parties.case_id = id WHERE agency = $1 AND id = ANY($2) AND part = ANY($3)"
    );
    let values = vec![
        agency.as_str().into(),
        Value::Texts(ids.into_iter().collect()),
        Part::seeing(Sight::Case).into(),
    ];
    let mut snapshot = db.snapshot().await?;
    let rows = snapshot.fetch(statement, values).await?;
    let found = rows
        .iter()
        .map(rows::stored_with_opening)
        .collect::<Result<Vec<_>, _>>()?;
    let found = attach(&mut snapshot, found).await?;
    let found: BTreeMap<_, _> = found.into_iter().map(|case| (case.id, case)).collect();
    for item in &mut items {
        item.case = found.get(&item.id).cloned();
    }
    Ok(Some(items))
}

pub(super) async fn feed_reaches(db: &Db, agency: &AgencyId, after: u64) -> Result<bool, Error> {
    let row = db
        .fetch_optional(
            "SELECT position, (SELECT position FROM feed_forgotten WHERE agency = $1) AS forgotten \
             FROM feed_head WHERE id = 1",
            vec![agency.as_str().into()],
        )
        .await?
        .ok_or_else(|| rows::damaged("feed head", "it is missing"))?;
    let (head, forgotten): (i64, Option<i64>) = (row.get("position")?, row.get("forgotten")?);
    Ok((forgotten.unwrap_or(0)..=head).contains(&position(after)))
}

/// A position as stored. No stored one is so large; a caller's may be.
fn position(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// The parts of cases that have tables of their own.
pub(super) struct Attached {
    pub(super) reports: BTreeMap<Uuid, Vec<Uuid>>,
    pub(super) parties: BTreeMap<Uuid, Vec<PartyRow>>,
    pub(super) clocks: BTreeMap<Uuid, Vec<Clock>>,
}

impl Attached {
    /// The changing part of a case.
    pub(super) fn case(&mut self, id: Uuid, state: StateRow) -> Result<Case, Error> {
        let parties = self.parties.remove(&id).unwrap_or_default();
        state.with(parties, self.clocks.remove(&id).unwrap_or_default())
    }
}

/// Adds their reports, parties and clocks to cases.
pub(super) async fn attach(snapshot: &mut Snapshot, found: Vec<CaseRow>) -> Result<Vec<StoredCase>, Error> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let ids = || vec![Value::Texts(found.iter().map(|row| row.id.to_string()).collect())];
    let mut attached = Attached {
        reports: reports(&snapshot.fetch(REPORTS_OF, ids()).await?)?,
        parties: parties(&snapshot.fetch(PARTIES_OF, ids()).await?)?,
        clocks: clocks(&snapshot.fetch(CLOCKS_OF, ids()).await?)?,
    };
    // Not for lists.
    let mut history = match found.iter().any(|row| row.opening.is_some()) {
        true => steps(&snapshot.fetch(HISTORY_OF, ids()).await?)?,
        false => BTreeMap::new(),
    };
    let mut whole = Vec::with_capacity(found.len());
    for row in found {
        whole.push(StoredCase {
            head: row.state.head,
            case: attached.case(row.id, row.state)?,
            reports: attached.reports.remove(&row.id).unwrap_or_default(),
            history: history.remove(&row.id).unwrap_or_default(),
            id: row.id,
            category: row.category,
            urgent: row.urgent,
            open_time: row.open_time,
            opening: row.opening,
        });
    }
    Ok(whole)
}

/// Parties by case, from the rows of [`PARTIES_OF`].
pub(super) fn parties(rows: &[Row]) -> Result<BTreeMap<Uuid, Vec<PartyRow>>, Error> {
    let mut parties: BTreeMap<Uuid, Vec<PartyRow>> = BTreeMap::new();
    for row in rows {
        let part: String = row.get("part")?;
        let part = Part::from_name(&part).ok_or_else(|| rows::damaged("part in a case", part))?;
        let party = PartyRow {
            part,
            supports: row.get::<i64>("supports")? != 0,
            supporter: Supporter {
                agency: rows::agency(&row.get::<String>("agency")?)?,
                by_request: row.get::<i64>("by_request")? != 0,
                informed: part == Part::Informed,
            },
        };
        parties.entry(rows::uuid(row, "case_id")?).or_default().push(party);
    }
    Ok(parties)
}

/// Clocks by case, from the rows of [`CLOCKS_OF`].
pub(super) fn clocks(rows: &[Row]) -> Result<BTreeMap<Uuid, Vec<Clock>>, Error> {
    let mut clocks: BTreeMap<Uuid, Vec<Clock>> = BTreeMap::new();
    for row in rows {
        clocks
            .entry(rows::uuid(row, "case_id")?)
            .or_default()
            .push(rows::clock(row)?);
    }
    Ok(clocks)
}

/// Steps by case, from the rows of [`HISTORY_OF`].
pub(super) fn steps(rows: &[Row]) -> Result<BTreeMap<Uuid, Vec<CaseStep>>, Error> {
    let mut found: BTreeMap<Uuid, Vec<CaseStep>> = BTreeMap::new();
    for row in rows {
        let step: Vec<u8> = row.get("step")?;
        let mut step = CaseStep::decode(step.as_slice()).map_err(|error| rows::damaged("step of a case", error))?;
        let note: Option<Vec<u8>> = row.get("note")?;
        let note = note.map(|note| CaseNote::decode(note.as_slice())).transpose();
        step.note = note.map_err(|error| rows::damaged("note of a case", error))?;
        found.entry(rows::uuid(row, "case_id")?).or_default().push(step);
    }
    Ok(found)
}

/// Reports by case, from the rows of [`REPORTS_OF`].
pub(super) fn reports(rows: &[Row]) -> Result<BTreeMap<Uuid, Vec<Uuid>>, Error> {
    let mut reports: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for row in rows {
        reports
            .entry(rows::uuid(row, "case_id")?)
            .or_default()
            .push(rows::uuid(row, "report")?);
    }
    Ok(reports)
}
