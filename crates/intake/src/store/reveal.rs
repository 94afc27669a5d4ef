//! Showing who reported: recorded in the transaction that reads it.

use api::event::{Actor, Detail};
use journal::{Bytes32, Draft, IntakeKind, Sealed, Time, keyed_hash, seal};
use sql::{Error, Insert, Kind, Tx};
use uuid::Uuid;

use super::{SqlStore, StoredReport, delivery, load_states, name, state_row, stored};

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
    pub agency: Option<String>,
    /// Who asks, as it is logged.
    pub actor: Actor,
    /// Key of the commitment to the justification.
    pub commitment_key: Bytes32,
    /// Trace context to go on with.
    pub traceparent: String,
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
    pub(super) async fn try_reveal(
        &self,
        tx: &mut Tx,
        reveal: &Reveal,
        now: Time,
    ) -> Result<Option<(StoredReport, Sealed)>, Error> {
        let id = reveal.report.to_string();
        let Some(current) = load_states(tx, vec![id.clone()]).await?.remove(&id) else {
            return Ok(None);
        };
        let row = tx
            .fetch_optional(
                "SELECT id, caller, agency, content, accept_time, state, known_time, case_view \
                 FROM standings WHERE id = $1",
                vec![id.as_str().into()],
            )
            .await?;
        let Some(report) = row.as_ref().map(stored).transpose()? else {
            return Ok(None);
        };
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
        let change = seal(draft, &current.head, now, &*self.entropy);
        let head = change.head;
        super::STATES
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
            sql::Value::text_or_null(reveal.agency.as_deref()),
            head.time.0.into(),
            reveal.commitment_key.into(),
        ];
        REVEALS.rows(tx, vec![row]).await?;
        journal::append(tx, vec![delivery(change.clone(), None)]).await?;
        Ok(Some((report, change)))
    }
}
