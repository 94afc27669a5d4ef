//! Deputies of officers, and what they bar: who acted in another's stead reviews nothing of the
//! other's.

use api::event::{Actor, Deputyship, Detail};
use decision::directory::AgencyId;
use journal::{Answers, Change, Delivery, Draft, Earlier, Head, Payload, RequestId, RoutingKind, Time};
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{Command, change::Locked, rows, sql::SqlStore};
use crate::case::{Action, Deputy, Review, stood_in};

const DEPUTIES: Insert = Insert::into(
    "deputies",
    &[
        ("id", Kind::Text),
        ("agency", Kind::Text),
        ("officer", Kind::Text),
        ("deputy", Kind::Text),
        ("begins", Kind::Int),
        ("ends", Kind::Int),
        ("appointer", Kind::Text),
        ("appoint_time", Kind::Int),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
    ],
);

/// Those of an agency that end after a time, in the order in which they were appointed.
const OF: &str = "SELECT id, officer, deputy, begins, ends, appointer, appoint_time FROM deputies \
                  WHERE agency = $1 AND ends > $2 ORDER BY id";

/// A deputy to appoint.
#[derive(Clone, Debug)]
pub struct Appointment {
    /// The agency.
    pub agency: AgencyId,
    /// The deputy.
    pub deputy: Deputy,
    /// What the log has of it: commitments to both, and the time.
    pub logged: Deputyship,
    /// The caller, as logged.
    pub actor: Actor,
    /// The caller's id for the request.
    pub request: Option<RequestId>,
    /// Trace context to continue.
    pub traceparent: String,
}

/// What became of an appointment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appointed {
    /// It was made, now or by an earlier request with the same id and content.
    Done(Deputy),
    /// It cannot be made: field and fault.
    Refused(&'static str, String),
    /// The request id was used for different content.
    RequestIdReused,
}

/// A deputy to end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The agency.
    pub agency: AgencyId,
    /// Which.
    pub id: Uuid,
    /// The caller, as logged.
    pub actor: Actor,
    /// Trace context to continue.
    pub traceparent: String,
}

/// What became of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ends now.
    Done(Deputy),
    /// It has ended already.
    Before(Time),
    /// The agency has none with this id.
    NotFound,
}

/// Those of an agency that end after a time.
pub(super) async fn of(db: &Db, agency: &AgencyId, after: Time) -> Result<Vec<Deputy>, Error> {
    let found = db.fetch(OF, vec![agency.as_str().into(), after.0.into()]).await?;
    found.iter().map(deputy).collect()
}

async fn of_in(tx: &mut Tx, agency: &AgencyId, after: Time) -> Result<Vec<Deputy>, Error> {
    let found = tx.fetch(OF, vec![agency.as_str().into(), after.0.into()]).await?;
    found.iter().map(deputy).collect()
}

fn deputy(row: &Row) -> Result<Deputy, Error> {
    Ok(Deputy {
        id: rows::uuid(row, "id")?,
        officer: row.get("officer")?,
        deputy: row.get("deputy")?,
        begin: Time(row.get("begins")?),
        end: Time(row.get("ends")?),
        appointer: row.get("appointer")?,
        time: Time(row.get("appoint_time")?),
    })
}

/// The command, if it is a review: with whether reviewer and proposer acted in each other's stead
/// since the proposal.
pub(super) async fn looked_up(
    tx: &mut Tx,
    command: &Command,
    case: &Locked,
    now: Time,
) -> Result<Option<Command>, Error> {
    let (Action::Review(review), Some(agency)) = (&command.action, command.by.agency()) else {
        return Ok(None);
    };
    let Some(proposed) = &case.stored.case.disposition else {
        return Ok(None);
    };
    let since = proposed.propose_time;
    let all = of_in(tx, agency, since).await?;
    let action = Action::Review(Review {
        stood_in: stood_in(&all, &review.officer, &proposed.note.officer, since, now.max(since)),
        ..review.clone()
    });
    Ok(Some(Command {
        action,
        ..command.clone()
    }))
}

impl SqlStore {
    pub(super) async fn try_appoint(
        &self,
        tx: &mut Tx,
        appointment: &Appointment,
        now: Time,
    ) -> Result<Appointed, Error> {
        let Appointment { agency, deputy, .. } = appointment;
        let others = of_in(tx, agency, now).await?;
        let mut answers = Answers::find(tx, &appointment.request).await?;
        match appointment
            .request
            .as_ref()
            .and_then(|request| answers.earlier(request))
        {
            Some(Earlier::OtherContent) => return Ok(Appointed::RequestIdReused),
            Some(Earlier::Answered(id)) => {
                let id = Uuid::from_slice(&id).map_err(|error| rows::damaged("answer", error))?;
                let row = "SELECT id, officer, deputy, begins, ends, appointer, appoint_time FROM deputies \
                           WHERE id = $1";
                let row = tx.fetch_optional(row, vec![id.into()]).await?;
                let row = row.ok_or_else(|| rows::damaged("deputy", "it is missing"))?;
                return Ok(Appointed::Done(self::deputy(&row)?));
            }
            None => {}
        }
        if let Err((field, description)) = deputy.check(&others, now) {
            return Ok(Appointed::Refused(field, description));
        }
        let change = self.deputy_change(
            deputy.id,
            RoutingKind::DeputyAppointed,
            &Head::default(),
            Detail {
                actor: Some(appointment.actor.clone()),
                deputyship: Some(appointment.logged.clone()),
                ..Detail::default()
            },
            appointment.traceparent.clone(),
            now,
        );
        let row: [Value; 11] = [
            deputy.id.into(),
            agency.as_str().into(),
            deputy.officer.as_str().into(),
            deputy.deputy.as_str().into(),
            deputy.begin.0.into(),
            deputy.end.0.into(),
            deputy.appointer.as_str().into(),
            deputy.time.0.into(),
            change.head.sequence.cast_signed().into(),
            change.head.hash.into(),
            change.head.time.0.into(),
        ];
        DEPUTIES.rows(tx, vec![row]).await?;
        if let Some(request) = &appointment.request {
            answers.add(request, deputy.id.as_bytes().to_vec());
        }
        answers.keep(tx, now).await?;
        journal::append(tx, vec![told(change)]).await?;
        Ok(Appointed::Done(deputy.clone()))
    }

    pub(super) async fn try_end_deputy(&self, tx: &mut Tx, ending: &Ending, now: Time) -> Result<Ended, Error> {
        let found = "SELECT id, officer, deputy, begins, ends, appointer, appoint_time, sequence, hash, change_time \
                     FROM deputies WHERE id = $1 AND agency = $2 FOR UPDATE";
        let values = vec![ending.id.into(), ending.agency.as_str().into()];
        let Some(row) = tx.fetch_optional(found, values).await? else {
            return Ok(Ended::NotFound);
        };
        let deputy = deputy(&row)?;
        if deputy.end <= now {
            return Ok(Ended::Before(deputy.end));
        }
        let detail = Detail {
            actor: Some(ending.actor.clone()),
            ..Detail::default()
        };
        let (head, traceparent) = (rows::head(&row)?, ending.traceparent.clone());
        let change = self.deputy_change(ending.id, RoutingKind::DeputyEnded, &head, detail, traceparent, now);
        let ends = "UPDATE deputies SET ends = $2, sequence = $3, hash = $4, change_time = $5 WHERE id = $1";
        let values = vec![
            ending.id.into(),
            now.0.into(),
            change.head.sequence.cast_signed().into(),
            change.head.hash.into(),
            change.head.time.0.into(),
        ];
        tx.execute(ends, values).await?;
        journal::append(tx, vec![told(change)]).await?;
        Ok(Ended::Done(Deputy { end: now, ..deputy }))
    }

    fn deputy_change(
        &self,
        id: Uuid,
        kind: RoutingKind,
        head: &Head,
        detail: Detail,
        traceparent: String,
        now: Time,
    ) -> Change {
        let draft = Draft {
            source: "routing",
            record: &names::DEPUTY.of(id),
            kind: kind.name(),
            caused_by: None,
            detail,
            traceparent,
        };
        draft.into_change(head, now, &*self.entropy)
    }
}

/// Auditors alone are told: an agency's officers are its own affair.
fn told(change: Change) -> Delivery {
    let payload = prost::Message::encode_to_vec(&change.with_detail());
    Delivery {
        change,
        payloads: vec![Payload::to("audit", payload)],
    }
}
