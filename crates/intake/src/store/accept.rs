//! Recording reports.

use std::collections::{BTreeMap, BTreeSet};

use api::{intake::Report, routing::ReportChange};
use journal::{Answers, Earlier, FirstAnswer, RequestId, Time};
use names::AgencyId;
use prost::Message as _;
use sql::{Batch, Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{
    Acceptance, Accepted, External, SqlStore,
    external::Known,
    follow::{delivery, lane},
    name,
};

/// An acceptance as rows: made where requests are handled beside each other, before the transaction
/// that they all wait for.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) report: Uuid,
    accept_time: Time,
    row: [Value; 11],
    pub(super) change: journal::Rows,
    request: Option<FirstAnswer>,
    external: Option<External>,
}

impl Prepared {
    pub(super) fn accepted(&self) -> Accepted {
        Accepted::Report {
            report: self.report,
            accept_time: self.accept_time,
        }
    }
}

impl From<Acceptance> for Prepared {
    fn from(acceptance: Acceptance) -> Self {
        let report = acceptance.report;
        let head = acceptance.change.head;
        let request = acceptance.request.map(|(id, fingerprint)| {
            let request = RequestId {
                caller: acceptance.caller.clone(),
                id,
                fingerprint,
            };
            // Without the receipt, which is kept nowhere and made again for a repeat.
            let answer = Report {
                name: name(report),
                accept_time: Some(head.time.to_proto()),
                ..Report::default()
            };
            FirstAnswer::new(request, answer.encode_to_vec(), head.time)
        });
        let is_urgent = acceptance.facts.urgent;
        let lane = lane(&acceptance.caller, is_urgent);
        let told = ReportChange {
            facts: Some(acceptance.facts),
            subjects: acceptance.subjects,
            subject_keys: acceptance.subject_keys.iter().map(|key| key.to_vec().into()).collect(),
            ..ReportChange::default()
        };
        Self {
            report,
            accept_time: head.time,
            row: [
                report.into(),
                acceptance.caller.into(),
                Value::text_or_null(acceptance.agency.as_ref().map(AgencyId::as_str)),
                acceptance.receipt_hash.into(),
                head.time.0.into(),
                head.hash.into(),
                acceptance.commitment_key.into(),
                acceptance.content.into(),
                is_urgent.into(),
                Value::text_or_null(acceptance.external.as_ref().map(External::key)),
                match &acceptance.external {
                    Some(external) => external.fingerprint().into(),
                    None => Value::Null(Kind::Bytes),
                },
            ],
            change: delivery(acceptance.change, lane, told).into_rows(),
            request,
            external: acceptance.external,
        }
    }
}

const REPORTS: Insert = Insert::into(
    "reports",
    &[
        ("id", Kind::Text),
        ("caller", Kind::Text),
        ("agency", Kind::Text),
        ("receipt_hash", Kind::Bytes),
        ("accept_time", Kind::Int),
        ("entry_hash", Kind::Bytes),
        ("commitment_key", Kind::Bytes),
        ("content", Kind::Bytes),
        ("urgent", Kind::Int),
        ("external_key", Kind::Text),
        ("fingerprint", Kind::Bytes),
    ],
);

const MISSING_REPORTS: Insert = REPORTS.then("ON CONFLICT DO NOTHING RETURNING id");

impl SqlStore {
    /// Records a batch that repeats no request, all of it at once. What is there already is a
    /// unique violation.
    pub(super) async fn accept_new(&self, batch: &[Prepared]) -> Result<(), Error> {
        let changes: Vec<_> = batch.iter().map(|report| &report.change).collect();
        let rows = journal::keep_in(Batch::default(), in_order(batch));
        let rows = rows.with(
            &REPORTS,
            by_external_id(batch).into_iter().map(|report| report.row.as_slice()),
        );
        self.db.write(&journal::append_to(rows, &changes)?).await
    }
}

/// Request ids in one order, so that two batches with the same ones do not wait for each other.
fn in_order(batch: &[Prepared]) -> Vec<&FirstAnswer> {
    let mut answers: Vec<&FirstAnswer> = batch.iter().filter_map(|report| report.request.as_ref()).collect();
    answers.sort_by_key(|answer| (&answer.request().caller, answer.request().id));
    answers
}

/// Reports by their external ids, likewise.
fn by_external_id(batch: &[Prepared]) -> Vec<&Prepared> {
    let mut reports: Vec<&Prepared> = batch.iter().collect();
    reports.sort_by_key(|report| report.external.as_ref().map(External::key));
    reports
}

/// Records those of a batch that are not there yet. Returns for each `None` when it was recorded
/// now, else what is there in its place.
pub(super) async fn record_missing(tx: &mut Tx, batch: &[Prepared]) -> Result<Vec<Option<Accepted>>, Error> {
    let answers: Vec<&FirstAnswer> = batch.iter().filter_map(|report| report.request.as_ref()).collect();
    let mut kept = journal::keep_free(tx, &answers).await?.into_iter();
    let mut earlier = Vec::with_capacity(batch.len());
    for report in batch {
        let found = report.request.as_ref().and_then(|_| kept.next().flatten());
        earlier.push(found.map(|found| accepted(report, &found)).transpose()?);
    }
    let missing = batch.iter().zip(&earlier).filter(|(_, earlier)| earlier.is_none());
    let missing: Vec<Prepared> = missing.map(|(report, _)| report.clone()).collect();
    let rows = by_external_id(&missing)
        .into_iter()
        .map(|report| report.row.clone())
        .collect();
    let inserted = MISSING_REPORTS
        .rows(tx, rows)
        .await?
        .iter()
        .map(|row| row.get("id"))
        .collect::<Result<BTreeSet<String>, _>>()?;
    let is_inserted = |report: &Prepared| inserted.contains(&report.report.to_string());
    let others = missing.iter().filter(|report| !is_inserted(report));
    let known = Known::find(tx, others.filter_map(|report| report.external.as_ref())).await?;
    let mut changes = Vec::with_capacity(inserted.len());
    let mut in_place = BTreeMap::new();
    for (report, earlier) in batch.iter().zip(&mut earlier) {
        match earlier {
            None if is_inserted(report) => changes.push(&report.change),
            None => {
                let external = report.external.as_ref();
                let found = external.and_then(|external| known.accepted(external));
                // Else itself: an earlier try was committed though it did not look so.
                let found = found.unwrap_or_else(|| report.accepted());
                if let Some(answer) = &report.request
                    && found != report.accepted()
                {
                    // Its answer would name a report that there is not.
                    journal::forget_first_answer(tx, answer).await?;
                    in_place.insert(report.report, found);
                }
                *earlier = Some(found);
            }
            Some(_) => {}
        }
    }
    // Of two with one request id, the second was told what the first would be.
    for found in earlier.iter_mut().flatten() {
        if let Accepted::Report { report, .. } = found
            && let Some(instead) = in_place.get(report)
        {
            *found = *instead;
        }
    }
    tx.write(&journal::append_to(Batch::default(), &changes)?).await?;
    Ok(earlier)
}

/// What is there in place of a report: the one that its request id stands for, or itself, when an
/// earlier try was committed though it did not look so.
pub(super) async fn find_earlier(tx: &mut Tx, report: &Prepared) -> Result<Option<Accepted>, Error> {
    if let Some(answer) = &report.request
        && let Some(earlier) = Answers::find(tx, [answer.request()]).await?.earlier(answer.request())
    {
        return accepted(report, &earlier).map(Some);
    }
    let known = Known::find(tx, report.external.as_ref()).await?;
    if let Some(found) = report.external.as_ref().and_then(|external| known.accepted(external)) {
        return Ok(Some(found));
    }
    let itself = tx
        .fetch_optional("SELECT id FROM reports WHERE id = $1", vec![report.report.into()])
        .await?;
    Ok(itself.map(|_| report.accepted()))
}

/// What became of a report whose request id stands for an earlier request.
fn accepted(report: &Prepared, earlier: &Earlier) -> Result<Accepted, Error> {
    let Earlier::Answered(answer) = earlier else {
        return Ok(Accepted::RequestIdReused);
    };
    let damaged = |problem: String| Error::Damaged {
        what: "first answer to a request",
        problem: format!("of {}: {problem}", name(report.report)),
    };
    let answer = Report::decode(answer.as_slice()).map_err(|error| damaged(error.to_string()))?;
    let id = names::REPORT.id(&answer.name);
    let accept_time = answer.accept_time.as_ref().and_then(Time::from_proto);
    let (report, accept_time) = id
        .zip(accept_time)
        .ok_or_else(|| damaged("it names no report and time".to_owned()))?;
    Ok(Accepted::Report { report, accept_time })
}
