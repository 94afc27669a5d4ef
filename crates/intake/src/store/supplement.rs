//! Adding to a report: recorded beside it, as a change of it.

use api::{
    event::{Actor, Detail},
    intake::Supplement,
    routing::ReportChange,
};
use journal::{Answers, Bytes32, Draft, Earlier, IntakeKind, RequestId, Time, keyed_hash};
use names::AgencyId;
use prost::Message as _;
use sql::{Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{
    Sender, SqlStore,
    evidence::{self, Unattachables},
    follow::{STATES, delivery, load_states, state_row},
    name,
    sql_store::{self, case_of},
};
use crate::state::State;

/// Maximum number of additions to a report by one sender that answer no question: by name, and as
/// many by the receipt. An answer is bound by its question.
pub const MOST: u64 = 50;
/// Maximum bytes of text in these.
pub const MOST_BYTES: u64 = 200 << 10;
/// Maximum number of files in these.
pub const MOST_FILES: u64 = 60;
/// How many times that whoever has the receipt can add together.
pub const TIMES_IN_ALL: u64 = 5;

/// A checked addition on its way into the store.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Id of the report.
    pub report: Uuid,
    /// Who sends it.
    pub sender: Sender,
    /// Who sends it, as it is logged.
    pub actor: Actor,
    /// What is added.
    pub text: String,
    /// Ids of the files, each with who sends it, as its record logs that.
    pub files: Vec<(Uuid, Actor)>,
    /// The question that it answers.
    pub question: Option<i64>,
    /// Whether it asks for a review of what was decided.
    pub asks_review: bool,
    /// Whether it comes by the receipt, and not by the report's name.
    pub by_receipt: bool,
    /// Whether what became of the report is hidden from whoever adds: then it is taken whatever
    /// that is.
    pub is_hidden: bool,
    /// Key of the commitment to the content.
    pub commitment_key: Bytes32,
    /// Trace context to go on with.
    pub traceparent: String,
    /// The id by which a repeat is known, and what tells whether it asks for the same.
    pub request: Option<(Uuid, Bytes32)>,
}

/// What became of an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// Recorded now, or by an earlier request with this id and content.
    Recorded {
        /// When.
        time: Time,
        /// Whether the report's case had been decided by then.
        was_decided: bool,
    },
    /// The request id stands for something else.
    RequestIdReused,
    /// There is no such report.
    NotFound,
    /// The report takes nothing any more.
    Ended(State),
    /// There is no such question, or it is no longer open.
    NotAsked,
    /// The question is answered.
    Answered,
    /// No review can be asked for.
    NotReviewable {
        /// Whether the case is decided.
        is_decided: bool,
    },
    /// The report takes no more from this sender, or from nobody by the receipt.
    Full,
    /// Files that it cannot have.
    Unattachable(Unattachables),
}

/// An addition as stored.
#[derive(Clone, Debug)]
pub struct StoredSupplement {
    /// Who sent it.
    pub sender: Sender,
    /// Whether it came by the receipt.
    pub by_receipt: bool,
    /// The encoded [`Supplement`].
    pub content: Vec<u8>,
}

impl StoredSupplement {
    /// As it is shown, without whether its sender is excluded.
    pub fn shown(&self) -> Result<Supplement, Error> {
        let said = Supplement::decode(self.content.as_slice()).map_err(|error| Error::Damaged {
            what: "supplement",
            problem: error.to_string(),
        })?;
        let agency = self.sender.agency.as_ref();
        Ok(Supplement {
            sender_agency: agency.map(AgencyId::resource_name).unwrap_or_default(),
            sender_system: self.sender.system.clone(),
            by_receipt: self.by_receipt,
            ..said
        })
    }
}

const SUPPLEMENTS: Insert = Insert::into(
    "supplements",
    &[
        ("report", Kind::Text),
        ("sequence", Kind::Int),
        ("question", Kind::Int),
        ("caller", Kind::Text),
        ("agency", Kind::Text),
        ("size", Kind::Int),
        ("files", Kind::Int),
        ("content", Kind::Bytes),
        ("commitment_key", Kind::Bytes),
        ("by_receipt", Kind::Int),
    ],
);

const OF_REPORT: &str = "SELECT caller, agency, by_receipt, content FROM supplements WHERE report = $1 \
                         ORDER BY sequence";

/// What counts, without what is said.
const UNASKED: &str = "SELECT caller, agency, by_receipt, size, files FROM supplements \
                       WHERE report = $1 AND question IS NULL";

const ANSWER: &str = "SELECT sequence FROM supplements WHERE report = $1 AND question = $2 LIMIT 1";

fn sender(row: &Row) -> Result<Sender, Error> {
    Ok(Sender {
        system: row.get("caller")?,
        agency: sql_store::agency(row)?,
    })
}

fn by_receipt(row: &Row) -> Result<bool, Error> {
    Ok(row.get::<i64>("by_receipt")? != 0)
}

fn stored(row: &Row) -> Result<StoredSupplement, Error> {
    Ok(StoredSupplement {
        sender: sender(row)?,
        by_receipt: by_receipt(row)?,
        content: row.get("content")?,
    })
}

impl SqlStore {
    pub(super) async fn supplements_of(&self, report: Uuid) -> Result<Vec<StoredSupplement>, Error> {
        let rows = self.db.fetch(OF_REPORT, vec![report.into()]).await?;
        rows.iter().map(stored).collect()
    }

    pub(super) async fn is_answered_in(&self, report: Uuid, question: i64) -> Result<bool, Error> {
        let answer = self.db.fetch_optional(ANSWER, vec![report.into(), question.into()]);
        Ok(answer.await?.is_some())
    }

    pub(super) async fn add_once(&self, addition: &Addition, now: Time) -> Result<Added, Error> {
        match sql::transact!(self.db, |tx| self.try_add(&mut tx, addition, now)) {
            // The same id, for another report at the same moment: now it is found.
            Err(error) if error.is_unique_violation() => {
                sql::transact!(self.db, |tx| self.try_add(&mut tx, addition, now))
            }
            added => added,
        }
    }

    async fn try_add(&self, tx: &mut Tx, addition: &Addition, now: Time) -> Result<Added, Error> {
        let id = addition.report.to_string();
        let Some(current) = load_states(tx, vec![id.clone()]).await?.remove(&id) else {
            return Ok(Added::NotFound);
        };
        // Behind the lock of the report: a repeat that was sent at the same time waits for the
        // first.
        let request = addition.request.map(|(id, fingerprint)| RequestId {
            caller: addition.sender.system.clone(),
            id,
            fingerprint,
        });
        let mut answers = Answers::find(tx, &request).await?;
        match request.as_ref().and_then(|request| answers.earlier(request)) {
            Some(Earlier::Answered(answer)) => return read_answer(&answer),
            Some(Earlier::OtherContent) => return Ok(Added::RequestIdReused),
            None => {}
        }
        let case = case_of(current.case.as_deref())?.unwrap_or_default();
        match current.state {
            State::Withdrawn | State::Advised if !addition.is_hidden => return Ok(Added::Ended(current.state)),
            _ => {}
        }
        if let Some(number) = addition.question {
            if addition.is_hidden {
                return Ok(Added::NotAsked);
            }
            let answer = tx
                .fetch_optional(ANSWER, vec![addition.report.into(), number.into()])
                .await?;
            if answer.is_some() {
                return Ok(Added::Answered);
            }
            if case.question.as_ref().is_none_or(|open| open.question_number != number) {
                return Ok(Added::NotAsked);
            }
        } else {
            let earlier = tx.fetch(UNASKED, vec![addition.report.into()]).await?;
            if is_full(&earlier, addition)? {
                return Ok(Added::Full);
            }
        }
        if addition.asks_review {
            // Who must not know what became of the report is told what holds before a decision.
            let outcome = case.outcome.as_ref().filter(|_| !addition.is_hidden);
            let due = case.due_time.as_ref().and_then(Time::from_proto);
            let is_open = current.state == State::Routed && due.is_some_and(|due| now < due);
            if !outcome.is_some_and(|outcome| outcome.reviewable && is_open) {
                return Ok(Added::NotReviewable {
                    is_decided: outcome.is_some(),
                });
            }
        }
        let files: Vec<Uuid> = addition.files.iter().map(|(id, _)| *id).collect();
        let current_files = evidence::lock(tx, &files).await?;
        let unattachable = evidence::judge_locked(&files, &current_files, &addition.sender, now);
        if !unattachable.is_empty() {
            return Ok(Added::Unattachable(unattachable));
        }
        let content = Supplement {
            add_time: Some(now.max(current.head.time).to_proto()),
            text: addition.text.clone(),
            evidence: files.iter().copied().map(crate::evidence::name).collect(),
            question_number: addition.question.unwrap_or_default(),
            review_requested: addition.asks_review,
            ..Supplement::default()
        }
        .encode_to_vec();
        let state = current.state.name().to_owned();
        let kind = match addition.question {
            Some(_) => IntakeKind::ReportAnswered,
            None if addition.asks_review => IntakeKind::ReviewRequested,
            None => IntakeKind::ReportSupplemented,
        };
        let draft = Draft {
            source: "intake",
            record: &name(addition.report),
            kind: kind.name(),
            caused_by: None,
            detail: Detail {
                from_state: state.clone(),
                to_state: state,
                actor: Some(addition.actor.clone()),
                content_commitment: keyed_hash(&addition.commitment_key, "supplement-v1", &content)
                    .to_vec()
                    .into(),
                question_number: addition.question.unwrap_or_default(),
                ..Detail::default()
            },
            traceparent: addition.traceparent.clone(),
        };
        let change = draft.into_change(&current.head, now, &*self.entropy);
        let head = change.head;
        let row = [
            addition.report.into(),
            head.sequence.cast_signed().into(),
            addition.question.map_or(Value::Null(Kind::Int), Value::Int),
            addition.sender.system.as_str().into(),
            Value::text_or_null(addition.sender.agency.as_ref().map(AgencyId::as_str)),
            Value::Int(i64::try_from(addition.text.len()).unwrap_or(i64::MAX)),
            Value::Int(i64::try_from(files.len()).unwrap_or(i64::MAX)),
            content.into(),
            addition.commitment_key.into(),
            Value::Int(addition.by_receipt.into()),
        ];
        SUPPLEMENTS.rows(tx, vec![row]).await?;
        let was_decided = case.outcome.is_some() || current.state == State::Closed;
        let state = state_row(addition.report, current.state, head, current.known_time, current.case);
        STATES.rows(tx, vec![state]).await?;
        let mut deliveries = self
            .attach(
                tx,
                &current_files,
                addition.report,
                &addition.files,
                change.event_id,
                &addition.traceparent,
                now,
            )
            .await?;
        let told = ReportChange {
            question_number: addition.question.unwrap_or_default(),
            ..ReportChange::default()
        };
        deliveries.push(delivery(change, current.lane, told));
        if let Some(request) = &request {
            answers.add(request, answer(head.time, was_decided));
        }
        answers.keep(tx, now).await?;
        journal::append(tx, deliveries).await?;
        Ok(Added::Recorded {
            time: head.time,
            was_decided,
        })
    }
}

/// What was added, in numbers.
#[derive(Default)]
struct Sum {
    count: u64,
    bytes: u64,
    files: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64, files: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.files += files;
    }

    fn is_over(&self, times: u64) -> bool {
        self.count > MOST * times || self.bytes > MOST_BYTES * times || self.files > MOST_FILES * times
    }
}

/// Whether a report has no room for an addition that answers nothing. What somebody added by one
/// door takes no room from others, nor from the other door; and to whom the report is hidden, no
/// refusal tells what others added.
fn is_full(earlier: &[Row], addition: &Addition) -> Result<bool, Error> {
    let (mut own, mut by_receipts) = (Sum::default(), Sum::default());
    let (bytes, files) = (addition.text.len() as u64, addition.files.len() as u64);
    own.add(bytes, files);
    by_receipts.add(bytes, files);
    for row in earlier {
        let bytes = row.count("size", "size of a supplement")?;
        let files = row.count("files", "files of a supplement")?;
        let by_receipt = by_receipt(row)?;
        if by_receipt {
            by_receipts.add(bytes, files);
        }
        if by_receipt == addition.by_receipt && addition.sender.owns(&sender(row)?) {
            own.add(bytes, files);
        }
    }
    let counts_all = addition.by_receipt && !addition.is_hidden;
    Ok(own.is_over(1) || counts_all && by_receipts.is_over(TIMES_IN_ALL))
}

/// The first answer to an addition, as it is kept.
fn answer(time: Time, was_decided: bool) -> Vec<u8> {
    let mut answer = time.0.to_be_bytes().to_vec();
    answer.push(was_decided.into());
    answer
}

fn read_answer(answer: &[u8]) -> Result<Added, Error> {
    let read = answer.split_first_chunk::<8>();
    match read {
        Some((time, [was_decided])) => Ok(Added::Recorded {
            time: Time(i64::from_be_bytes(*time)),
            was_decided: *was_decided != 0,
        }),
        _ => Err(Error::Damaged {
            what: "first answer to an addition",
            problem: format!("it has {} bytes", answer.len()),
        }),
    }
}
