//! Agencies under the supervision of a superior, each with what it has to correct until when.

use api::event::{Actor, Detail};
use decision::directory::AgencyId;
use journal::{
    Answers, Bytes32, Change, Delivery, Draft, Earlier, Head, Payload, RequestId, RoutingKind, Time, keyed_hash,
};
use prost::Message as _;
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{rows, sql::SqlStore};

const SUPERVISIONS: Insert = Insert::into(
    "supervisions",
    &[
        ("id", Kind::Text),
        ("agency", Kind::Text),
        ("supervisor", Kind::Text),
        ("demand", Kind::Text),
        ("demand_key", Kind::Bytes),
        ("correct_by", Kind::Int),
        ("supervise_time", Kind::Int),
        ("answer", Kind::Text),
        ("corrected", Kind::Int),
        ("end_note", Kind::Text),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
    ],
);

macro_rules! columns {
    () => {
        "id, agency, supervisor, demand, correct_by, supervise_time, answer, answer_time, corrected, end_note, \
         end_time, sequence, hash, change_time"
    };
}

/// A page of those that an agency is under or has put others under.
const PAGE: &str = concat!(
    "SELECT * FROM (SELECT ",
    columns!(),
    " FROM supervisions WHERE agency = $1 AND id > $2 ORDER BY id LIMIT $3) AS over UNION ALL \
     SELECT * FROM (SELECT ",
    columns!(),
    " FROM supervisions WHERE supervisor = $1 AND id > $2 ORDER BY id LIMIT $3) AS below"
);

const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM supervisions WHERE id = $1 AND (agency = $2 OR supervisor = $2)"
);

const LOCKED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM supervisions WHERE id = $1 AND (agency = $2 OR supervisor = $2) FOR UPDATE"
);

/// The most that one superior has an agency under at once.
pub const MOST_SUPERVISIONS: i64 = 20;

/// An agency under supervision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgencySupervision {
    /// Its id.
    pub id: Uuid,
    /// The agency.
    pub agency: AgencyId,
    /// The superior.
    pub supervisor: AgencyId,
    /// What it has to correct.
    pub demand: String,
    /// Until when.
    pub correct_by: Time,
    /// Since when.
    pub time: Time,
    /// Its answer, and when it gave it.
    pub answer: Option<(String, Time)>,
    /// How it ended: whether it was corrected, what the superior says, and when.
    pub end: Option<(bool, String, Time)>,
}

/// What is done with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The superior begins it.
    Begin(Box<AgencySupervision>),
    /// The agency answers.
    Answer(String),
    /// The superior ends it.
    End {
        /// Whether what it demanded was corrected.
        corrected: bool,
        /// What it says.
        note: String,
    },
}

/// A step to take.
#[derive(Clone, Debug)]
pub struct StepTaken {
    /// Which supervision.
    pub id: Uuid,
    /// The calling agency.
    pub by: AgencyId,
    /// What.
    pub step: Step,
    /// The caller, as logged.
    pub actor: Actor,
    /// The caller's id for the request.
    pub request: Option<RequestId>,
    /// Trace context to continue.
    pub traceparent: String,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It was taken, now or by an earlier request with the same id and content: the supervision
    /// now.
    Done(Box<AgencySupervision>),
    /// There is none for this agency.
    NotFound,
    /// It is the other side's.
    NotYours(&'static str),
    /// Its state does not allow it: the state, and why.
    WrongState(&'static str, String),
    /// The superior has the agency under too many.
    TooMany,
    /// The request id was used for different content.
    RequestIdReused,
}

impl AgencySupervision {
    /// Its state, as logged.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match (&self.answer, &self.end) {
            (_, Some(_)) => "ENDED",
            (Some(_), None) => "ANSWERED",
            (None, None) => "OPEN",
        }
    }
}

fn supervision(row: &Row) -> Result<AgencySupervision, Error> {
    let (answered, ended): (Option<i64>, Option<i64>) = (row.get("answer_time")?, row.get("end_time")?);
    let (answer, note): (String, String) = (row.get("answer")?, row.get("end_note")?);
    let corrected = row.get::<i64>("corrected")? != 0;
    Ok(AgencySupervision {
        id: rows::uuid(row, "id")?,
        agency: rows::agency(&row.get::<String>("agency")?)?,
        supervisor: rows::agency(&row.get::<String>("supervisor")?)?,
        demand: row.get("demand")?,
        correct_by: Time(row.get("correct_by")?),
        time: Time(row.get("supervise_time")?),
        answer: answered.map(|time| (answer, Time(time))),
        end: ended.map(|time| (corrected, note, Time(time))),
    })
}

/// Those that an agency is under or has put others under, in the order in which they began.
pub(super) async fn page(
    db: &Db,
    of: &AgencyId,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<AgencySupervision>, Error> {
    let after = after.map(|after| after.to_string()).unwrap_or_default();
    let values = vec![of.as_str().into(), after.into(), i64::from(limit).into()];
    let found = db.fetch(PAGE, values).await?;
    let mut found: Vec<_> = found.iter().map(supervision).collect::<Result<_, _>>()?;
    found.sort_by_key(|supervision| supervision.id);
    found.truncate(limit as usize);
    Ok(found)
}

/// A text under a new key, and the commitment to it.
struct Written {
    key: Bytes32,
    commitment: Vec<u8>,
}

impl SqlStore {
    fn write_text(&self, text: &str) -> Written {
        let mut key = [0; 32];
        self.entropy.fill(&mut key);
        Written {
            commitment: keyed_hash(&key, "supervision-text-v1", text.as_bytes()).to_vec(),
            key,
        }
    }

    pub(super) async fn try_step(&self, tx: &mut Tx, taken: &StepTaken, now: Time) -> Result<Stepped, Error> {
        let one = vec![taken.id.into(), taken.by.as_str().into()];
        let found = tx.fetch_optional(LOCKED, one.clone()).await?;
        let mut answers = Answers::find(tx, &taken.request).await?;
        match taken.request.as_ref().and_then(|request| answers.earlier(request)) {
            Some(Earlier::OtherContent) => return Ok(Stepped::RequestIdReused),
            Some(Earlier::Answered(id)) => {
                let id = Uuid::from_slice(&id).map_err(|error| rows::damaged("answer", error))?;
                let found = tx
                    .fetch_optional(ONE, vec![id.into(), taken.by.as_str().into()])
                    .await?;
                return Ok(match found {
                    Some(row) => Stepped::Done(Box::new(supervision(&row)?)),
                    None => Stepped::NotFound,
                });
            }
            None => {}
        }
        let current = found.as_ref().map(supervision).transpose()?;
        let head = found.as_ref().map(rows::head).transpose()?.unwrap_or_default();
        let (after, kind, text) = match (&taken.step, current.clone()) {
            (Step::Begin(new), _) => {
                let open = "SELECT count(*) AS open FROM supervisions \
                            WHERE supervisor = $1 AND agency = $2 AND end_time IS NULL";
                let values = vec![new.supervisor.as_str().into(), new.agency.as_str().into()];
                let open = tx.fetch_optional(open, values).await?;
                let open: i64 = open
                    .ok_or_else(|| rows::damaged("count", "it has no row"))?
                    .get("open")?;
                if open >= MOST_SUPERVISIONS {
                    return Ok(Stepped::TooMany);
                }
                ((**new).clone(), RoutingKind::AgencySupervised, new.demand.as_str())
            }
            (_, None) => return Ok(Stepped::NotFound),
            (_, Some(current)) if current.end.is_some() => {
                return Ok(Stepped::WrongState("ENDED", "the supervision has ended".to_owned()));
            }
            (Step::Answer(_), Some(current)) if current.agency != taken.by => {
                return Ok(Stepped::NotYours("only the agency under supervision may answer"));
            }
            (
                Step::Answer(_),
                Some(AgencySupervision {
                    answer: Some((_, at)), ..
                }),
            ) => {
                let description = format!("it was answered at {at}, and the superior ends it");
                return Ok(Stepped::WrongState("ANSWERED", description));
            }
            (Step::Answer(text), Some(current)) => {
                let answer = Some((text.clone(), now));
                (
                    AgencySupervision { answer, ..current },
                    RoutingKind::SupervisionAnswered,
                    text.as_str(),
                )
            }
            (Step::End { .. }, Some(current)) if current.supervisor != taken.by => {
                return Ok(Stepped::NotYours("only the superior that supervises may end it"));
            }
            (Step::End { corrected, note }, Some(current)) => {
                let end = Some((*corrected, note.clone(), now));
                (
                    AgencySupervision { end, ..current },
                    RoutingKind::AgencySupervisionEnded,
                    note.as_str(),
                )
            }
        };
        let written = self.write_text(text);
        let detail = Detail {
            from_state: current.map(|current| current.state().to_owned()).unwrap_or_default(),
            to_state: after.state().to_owned(),
            actor: Some(taken.actor.clone()),
            content_commitment: written.commitment.clone().into(),
            supervised_agency: after.agency.resource_name(),
            supervisor: after.supervisor.resource_name(),
            correct_by_time: Some(after.correct_by.to_proto()),
            ..Detail::default()
        };
        let draft = Draft {
            source: "routing",
            record: &names::SUPERVISION.of(taken.id),
            kind: kind.name(),
            caused_by: None,
            detail,
            traceparent: taken.traceparent.clone(),
        };
        let change = draft.into_change(&head, now, &*self.entropy);
        self.keep_step(tx, taken, &after, &written, &change).await?;
        if let Some(request) = &taken.request {
            answers.add(request, taken.id.as_bytes().to_vec());
        }
        answers.keep(tx, now).await?;
        let payload = change.with_detail().encode_to_vec();
        let delivery = Delivery {
            change,
            payloads: vec![Payload::to("audit", payload)],
        };
        journal::append(tx, vec![delivery]).await?;
        Ok(Stepped::Done(Box::new(after)))
    }

    async fn keep_step(
        &self,
        tx: &mut Tx,
        taken: &StepTaken,
        after: &AgencySupervision,
        written: &Written,
        change: &Change,
    ) -> Result<(), Error> {
        let Head { sequence, hash, time } = change.head;
        let head: [Value; 3] = [sequence.cast_signed().into(), hash.into(), time.0.into()];
        let [sequence, hash, time] = head;
        match &taken.step {
            Step::Begin(_) => {
                let row: [Value; 13] = [
                    after.id.into(),
                    after.agency.as_str().into(),
                    after.supervisor.as_str().into(),
                    after.demand.as_str().into(),
                    written.key.into(),
                    after.correct_by.0.into(),
                    after.time.0.into(),
                    "".into(),
                    0_i64.into(),
                    "".into(),
                    sequence,
                    hash,
                    time,
                ];
                SUPERVISIONS.rows(tx, vec![row]).await.map(drop)
            }
            Step::Answer(text) => {
                let answered = "UPDATE supervisions SET answer = $2, answer_key = $3, answer_time = $6, \
                                sequence = $4, hash = $5, change_time = $6 WHERE id = $1";
                let values = vec![
                    after.id.into(),
                    text.as_str().into(),
                    written.key.into(),
                    sequence,
                    hash,
                    time,
                ];
                tx.execute(answered, values).await.map(drop)
            }
            Step::End { corrected, note } => {
                let ended = "UPDATE supervisions SET end_note = $2, end_key = $3, corrected = $7, end_time = $6, \
                             sequence = $4, hash = $5, change_time = $6 WHERE id = $1";
                let values = vec![
                    after.id.into(),
                    note.as_str().into(),
                    written.key.into(),
                    sequence,
                    hash,
                    time,
                    (*corrected).into(),
                ];
                tx.execute(ended, values).await.map(drop)
            }
        }
    }
}
