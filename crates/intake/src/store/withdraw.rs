//! Withdrawing a report: recorded once, as a change of it.

use api::{
    event::{Actor, Detail},
    routing::ReportChange,
};
use journal::{Answers, Bytes32, Draft, Earlier, Head, IntakeKind, RequestId, Time};
use sql::{Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{
    Sender, SqlStore,
    follow::{Current, STATES, delivery, load_states, state_row},
    name,
    sql_store::case_of,
};
use crate::state::State;

/// A wish to withdraw, on its way into the store.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    /// Id of the report.
    pub report: Uuid,
    /// Who sends it.
    pub sender: Sender,
    /// Who sends it, as it is logged.
    pub actor: Actor,
    /// Whether what became of the report is hidden from whoever sends it: then it is taken whatever
    /// that is.
    pub is_hidden: bool,
    /// Trace context to go on with.
    pub traceparent: String,
    /// The id by which a repeat is known, and what tells whether it asks for the same.
    pub request: Option<(Uuid, Bytes32)>,
}

/// What became of the wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// Recorded, now or earlier.
    Requested(Time),
    /// The request id stands for something else.
    RequestIdReused,
    /// There is no such report.
    NotFound,
    /// It comes too late.
    Ended(State),
}

const WITHDRAWALS: Insert = Insert::into(
    "withdrawals",
    &[
        ("report", Kind::Text),
        ("caller", Kind::Text),
        ("sequence", Kind::Int),
        ("request_time", Kind::Int),
    ],
);

impl SqlStore {
    pub(super) async fn withdraw_once(&self, withdrawal: &Withdrawal, now: Time) -> Result<Withdrawn, Error> {
        match sql::transact!(self.db, |tx| self.try_withdraw(&mut tx, withdrawal, now)) {
            // The same id, for another report at the same moment: now it is found.
            Err(error) if error.is_unique_violation() => {
                sql::transact!(self.db, |tx| self.try_withdraw(&mut tx, withdrawal, now))
            }
            withdrawn => withdrawn,
        }
    }

    async fn try_withdraw(&self, tx: &mut Tx, withdrawal: &Withdrawal, now: Time) -> Result<Withdrawn, Error> {
        let id = withdrawal.report.to_string();
        let Some(current) = load_states(tx, vec![id.clone()]).await?.remove(&id) else {
            return Ok(Withdrawn::NotFound);
        };
        // Behind the lock of the report: a repeat that was sent at the same time waits for the
        // first.
        let request = withdrawal.request.map(|(id, fingerprint)| RequestId {
            caller: withdrawal.sender.system.clone(),
            id,
            fingerprint,
        });
        let mut answers = Answers::find(tx, &request).await?;
        match request.as_ref().and_then(|request| answers.earlier(request)) {
            Some(Earlier::Answered(answer)) => return read_answer(&answer),
            Some(Earlier::OtherContent) => return Ok(Withdrawn::RequestIdReused),
            None => {}
        }
        let earlier = tx
            .fetch(
                "SELECT caller, sequence, request_time FROM withdrawals WHERE report = $1 ORDER BY request_time",
                vec![withdrawal.report.into()],
            )
            .await?;
        let mut own = None;
        for row in &earlier {
            if row.get::<String>("caller")? == withdrawal.sender.system {
                own = Some(Time(row.get("request_time")?));
            }
        }
        // Each system has its own first time, hidden or not: a repeat tells none what others did.
        let time = match own {
            Some(time) => time,
            None => {
                let case = case_of(current.case.as_deref())?.unwrap_or_default();
                let is_over = !matches!(current.state, State::Accepted | State::Routed) || case.outcome.is_some();
                if is_over && !withdrawal.is_hidden {
                    return Ok(Withdrawn::Ended(current.state));
                }
                let (sequence, time) = match earlier.first() {
                    Some(first) => (first.get("sequence")?, now.max(current.head.time)),
                    None => {
                        let head = self.request_withdrawal(tx, withdrawal, current, now).await?;
                        (head.sequence.cast_signed(), head.time)
                    }
                };
                let row = [
                    withdrawal.report.into(),
                    withdrawal.sender.system.as_str().into(),
                    Value::Int(sequence),
                    time.0.into(),
                ];
                WITHDRAWALS.rows(tx, vec![row]).await?;
                time
            }
        };
        if let Some(request) = &request {
            answers.add(request, time.0.to_be_bytes().to_vec());
        }
        answers.keep(tx, now).await?;
        Ok(Withdrawn::Requested(time))
    }

    /// Records the change, of which a report has one.
    async fn request_withdrawal(
        &self,
        tx: &mut Tx,
        withdrawal: &Withdrawal,
        current: Current,
        now: Time,
    ) -> Result<Head, Error> {
        let state = current.state.name().to_owned();
        let draft = Draft {
            source: "intake",
            record: &name(withdrawal.report),
            kind: IntakeKind::WithdrawalRequested.name(),
            caused_by: None,
            detail: Detail {
                from_state: state.clone(),
                to_state: state,
                actor: Some(withdrawal.actor.clone()),
                ..Detail::default()
            },
            traceparent: withdrawal.traceparent.clone(),
        };
        let change = draft.into_change(&current.head, now, &*self.entropy);
        let head = change.head;
        let state = state_row(withdrawal.report, current.state, head, current.known_time, current.case);
        STATES.rows(tx, vec![state]).await?;
        journal::append(tx, vec![delivery(change, current.lane, ReportChange::default())]).await?;
        Ok(head)
    }
}

fn read_answer(answer: &[u8]) -> Result<Withdrawn, Error> {
    let time = answer.try_into().map(i64::from_be_bytes);
    let time = time.map_err(|_| Error::Damaged {
        what: "first answer to a withdrawal",
        problem: format!("it has {} bytes", answer.len()),
    })?;
    Ok(Withdrawn::Requested(Time(time)))
}
