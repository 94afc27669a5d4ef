//! Showing who reported: recorded in the transaction that reads it.

use api::{
    event::{Actor, Detail},
    routing::ReportChange,
};
use journal::{Answers, Bytes32, Change, Draft, Earlier, IntakeKind, Logged, RequestId, Time, keyed_hash};
use names::AgencyId;
use sql::{Error, Insert, Kind, Tx};
use uuid::Uuid;

use super::{
    SqlStore, StoredReport,
    follow::{STATES, delivery, load_states, state_row},
    name,
    sql_store::stored,
};

/// The kind of the change.
const KIND: IntakeKind = IntakeKind::ReportRevealed;

/// A request to show who reported, that was found to be allowed.
#[derive(Clone, Debug)]
pub struct Reveal {
    /// Id of the report.
    pub report: Uuid,
    /// What it is needed for, from the closed list, such as `contact-reporter`.
    pub purpose: &'static str,
    /// Why, in words.
    pub justification: String,
    /// The system that asks.
    pub system: String,
    /// Id of the agency that asks.
    pub agency: Option<AgencyId>,
    /// Who asks, as it is logged.
    pub actor: Actor,
    /// Key of the commitment to the justification.
    pub commitment_key: Bytes32,
    /// Trace context to go on with.
    pub traceparent: String,
    /// The id by which a repeat is known, and what tells whether it asks for the same.
    pub request: Option<(Uuid, Bytes32)>,
}

/// What became of a request to show who reported.
#[derive(Clone, Debug)]
pub enum Revealed {
    /// There is no such report.
    NotFound,
    /// The request id was used for something else.
    RequestIdReused,
    /// The report as it is now, and the change of it that the request is: a new one, or that of the
    /// first request.
    Report(Box<StoredReport>, Logged),
}

/// What a transaction found.
enum Found {
    Nothing,
    RequestIdReused,
    New(Box<StoredReport>, Box<Change>),
    /// The first request is this change of the report.
    Repeated(Box<StoredReport>, u64),
}

const REVEALS: Insert = Insert::into(
    "reveals",
    &[
        ("report", Kind::Text),
        ("sequence", Kind::Int),
        ("purpose", Kind::Text),
        ("justification", Kind::Text),
        ("system", Kind::Text),
        ("agency", Kind::Text),
        ("reveal_time", Kind::Int),
        ("commitment_key", Kind::Bytes),
    ],
);

impl SqlStore {
    pub(super) async fn reveal_once(&self, reveal: &Reveal, now: Time) -> Result<Revealed, Error> {
        let found = match sql::transact!(self.db, |tx| self.try_reveal(&mut tx, reveal, now)) {
            // The same id, for another report at the same moment: now it is found.
            Err(error) if error.is_unique_violation() => {
                sql::transact!(self.db, |tx| self.try_reveal(&mut tx, reveal, now))?
            }
            found => found?,
        };
        Ok(match found {
            Found::Nothing => Revealed::NotFound,
            Found::RequestIdReused => Revealed::RequestIdReused,
            Found::New(report, change) => {
                let logged = Logged {
                    event_id: change.event_id.to_string(),
                    kind: KIND.name().to_owned(),
                    time: change.head.time,
                    entry: change.entry.to_vec(),
                    chain: change.chain(),
                    delivered: false,
                };
                Revealed::Report(report, logged)
            }
            Found::Repeated(report, sequence) => {
                let changes = journal::changes_of(&self.db, &name(report.report), "audit").await?;
                let place = sequence.checked_sub(1).and_then(|place| usize::try_from(place).ok());
                let logged = place.and_then(|place| changes.into_iter().nth(place));
                let logged = logged.ok_or_else(|| Error::Damaged {
                    what: "reveals",
                    problem: format!("{} has no change {sequence}", name(report.report)),
                })?;
                Revealed::Report(report, logged)
            }
        })
    }

    async fn try_reveal(&self, tx: &mut Tx, reveal: &Reveal, now: Time) -> Result<Found, Error> {
        let id = reveal.report.to_string();
        let Some(current) = load_states(tx, vec![id.clone()]).await?.remove(&id) else {
            return Ok(Found::Nothing);
        };
        let row = tx
            .fetch_optional(
                "SELECT id, caller, agency, content, accept_time, state, known_time, case_view \
                 FROM standings WHERE id = $1",
                vec![id.as_str().into()],
            )
            .await?;
        let Some(report) = row.as_ref().map(stored).transpose()?.map(Box::new) else {
            return Ok(Found::Nothing);
        };
        // Behind the lock of the report: a repeat that was sent at the same time waits for the
        // first.
        let request = reveal.request.map(|(id, fingerprint)| RequestId {
            caller: reveal.system.clone(),
            id,
            fingerprint,
        });
        let mut answers = Answers::find(tx, &request).await?;
        match request.as_ref().and_then(|request| answers.earlier(request)) {
            Some(Earlier::Answered(sequence)) => return Ok(Found::Repeated(report, read_sequence(&sequence)?)),
            Some(Earlier::OtherContent) => return Ok(Found::RequestIdReused),
            None => {}
        }
        let state = current.state.name().to_owned();
        let draft = Draft {
            source: "intake",
            record: &name(reveal.report),
            kind: KIND.name(),
            caused_by: None,
            detail: Detail {
                from_state: state.clone(),
                to_state: state,
                actor: Some(reveal.actor.clone()),
                purpose: reveal.purpose.to_owned(),
                content_commitment: keyed_hash(
                    &reveal.commitment_key,
                    "justification-v1",
                    reveal.justification.as_bytes(),
                )
                .to_vec()
                .into(),
                ..Default::default()
            },
            traceparent: reveal.traceparent.clone(),
        };
        let change = draft.into_change(&current.head, now, &*self.entropy);
        let head = change.head;
        STATES
            .rows(
                tx,
                vec![state_row(
                    reveal.report,
                    current.state,
                    head,
                    current.known_time,
                    current.case,
                )],
            )
            .await?;
        let row = [
            id.into(),
            head.sequence.cast_signed().into(),
            reveal.purpose.into(),
            reveal.justification.as_str().into(),
            reveal.system.as_str().into(),
            sql::Value::text_or_null(reveal.agency.as_ref().map(AgencyId::as_str)),
            head.time.0.into(),
            reveal.commitment_key.into(),
        ];
        REVEALS.rows(tx, vec![row]).await?;
        if let Some(request) = &request {
            answers.add(request, head.sequence.to_be_bytes().to_vec());
        }
        answers.keep(tx, now).await?;
        journal::append(
            tx,
            vec![delivery(change.clone(), current.lane, ReportChange::default())],
        )
        .await?;
        Ok(Found::New(report, Box::new(change)))
    }
}

/// The first answer to a request: the sequence of the change that it was.
fn read_sequence(answer: &[u8]) -> Result<u64, Error> {
    let sequence = answer.try_into().map(u64::from_be_bytes);
    sequence.map_err(|_| Error::Damaged {
        what: "first answer to a reveal",
        problem: format!("it has {} bytes", answer.len()),
    })
}
