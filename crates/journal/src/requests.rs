//! First answers to requests that name an id, kept for a window in the transaction that does what
//! they ask for.
//!
//! A repeat by the same caller gets the first answer; the same id with other content is told as
//! such. A repeat may come while the first request is under way. Where the change locks a record,
//! look for an answer behind that lock ([`Answers`]): the repeat waits, and finds the first. Where
//! it locks none, let the row itself be the lock: [`keep_in`] fails and [`keep_free`] waits while
//! another transaction keeps the same id.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use sql::{Batch, Db, Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use crate::{Bytes32, Time};

/// How long a request id stands for its first answer.
pub const REQUEST_ID_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

const REQUESTS: Insert = Insert::into(
    "requests",
    &[
        ("caller", Kind::Text),
        ("request_id", Kind::Text),
        ("fingerprint", Kind::Bytes),
        ("answer", Kind::Bytes),
        ("answer_time", Kind::Int),
    ],
);

const FREE_REQUESTS: Insert = REQUESTS.then("ON CONFLICT DO NOTHING RETURNING caller, request_id");

/// Locks what it finds, against deletion only: so that it has a commit to wait for also outside a
/// transaction. An answer is repeated only when PostgreSQL's standby has the first one.
const FIND: &str = "SELECT caller, request_id, fingerprint, answer FROM requests WHERE request_id = ANY($1) \
                    FOR KEY SHARE";

/// A caller's id for a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The calling system.
    pub caller: String,
    /// The id.
    pub id: Uuid,
    /// Hash of the request, to tell a repeat from other content.
    pub fingerprint: Bytes32,
}

impl RequestId {
    /// The id of a call of a method, with what it asks for.
    pub fn new(caller: &str, id: Uuid, method: &str, content: &[u8]) -> Self {
        let fingerprint = Sha256::new()
            .chain_update(b"remit-request-v1")
            .chain_update(method)
            .chain_update([0])
            .chain_update(content);
        Self {
            caller: caller.to_owned(),
            id,
            fingerprint: fingerprint.finalize().into(),
        }
    }

    fn key(&self) -> (&str, Uuid) {
        (&self.caller, self.id)
    }
}

/// A request and its first answer, as a row.
#[derive(Clone, Debug)]
pub struct FirstAnswer {
    request: RequestId,
    row: [Value; 5],
}

impl FirstAnswer {
    /// The answer to a request, given now.
    pub fn new(request: RequestId, answer: Vec<u8>, now: Time) -> Self {
        let row = row(&request, answer, now);
        Self { request, row }
    }

    /// The request.
    pub fn request(&self) -> &RequestId {
        &self.request
    }
}

fn row(request: &RequestId, answer: Vec<u8>, now: Time) -> [Value; 5] {
    [
        request.caller.as_str().into(),
        request.id.into(),
        request.fingerprint.into(),
        answer.into(),
        now.0.into(),
    ]
}

/// Adds first answers to the batch that does what the requests ask for. An id that is in use is a
/// unique violation, and nothing of the batch is written.
pub fn keep_in<'a>(batch: Batch<'a>, answers: impl IntoIterator<Item = &'a FirstAnswer>) -> Batch<'a> {
    batch.with(&REQUESTS, answers.into_iter().map(|answer| answer.row.as_slice()))
}

/// Keeps the answers to requests whose ids are free; of several with one id, the first. Returns for
/// each, in order, `None` when it was kept, else what the earlier request leads to.
///
/// Waits for other transactions that keep the same ids. Ids are taken in one order, so that two of
/// them do not wait for each other.
pub async fn keep_free(tx: &mut Tx, answers: &[&FirstAnswer]) -> Result<Vec<Option<Earlier>>, Error> {
    if answers.is_empty() {
        return Ok(Vec::new());
    }
    let mut firsts: BTreeMap<(&str, Uuid), usize> = BTreeMap::new();
    for (place, answer) in answers.iter().enumerate() {
        firsts.entry(answer.request.key()).or_insert(place);
    }
    let rows = firsts.values().map(|place| answers[*place].row.clone()).collect();
    let mut kept = BTreeSet::new();
    for row in FREE_REQUESTS.rows(tx, rows).await? {
        kept.insert((row.get::<String>("caller")?, row.get::<String>("request_id")?));
    }
    let known = Answers::find(tx, answers.iter().map(|answer| &answer.request)).await?;
    let mut found = Vec::with_capacity(answers.len());
    for (place, answer) in answers.iter().enumerate() {
        let RequestId { caller, id, .. } = &answer.request;
        let is_first = firsts.get(&answer.request.key()) == Some(&place);
        found.push(match is_first && kept.contains(&(caller.clone(), id.to_string())) {
            true => None,
            // When there is none, it was forgotten in between: the next try has room.
            false => Some(known.earlier(&answer.request).ok_or(Error::Collided("a request id"))?),
        });
    }
    Ok(found)
}

/// Forgets a request whose answer no longer holds, unless somebody else has answered it anew.
pub async fn forget_request(tx: &mut Tx, request: &RequestId, answer: &[u8]) -> Result<(), Error> {
    forget(tx, request, answer.into()).await
}

/// Forgets an answer that this transaction keeps: the request turned out to do nothing.
pub async fn forget_first_answer(tx: &mut Tx, answer: &FirstAnswer) -> Result<(), Error> {
    let [.., kept, _] = &answer.row;
    forget(tx, &answer.request, kept.clone()).await
}

async fn forget(tx: &mut Tx, request: &RequestId, answer: Value) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM requests WHERE request_id = $1 AND caller = $2 AND answer = $3",
        vec![request.id.into(), request.caller.as_str().into(), answer],
    )
    .await
    .map(drop)
}

/// What an earlier request with the same id leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It asked for the same: its encoded answer.
    Answered(Vec<u8>),
    /// It asked for something else.
    OtherContent,
}

/// Earlier answers, and those that a transaction adds.
#[derive(Debug, Default)]
pub struct Answers {
    known: BTreeMap<(String, Uuid), (Bytes32, Vec<u8>)>,
    added: Vec<RequestId>,
}

impl Answers {
    /// The answers to these requests that there are.
    pub async fn find<'r>(tx: &mut Tx, requests: impl IntoIterator<Item = &'r RequestId>) -> Result<Self, Error> {
        let ids = ids(requests);
        match ids.is_empty() {
            true => Ok(Self::default()),
            false => Self::read(&tx.fetch(FIND, vec![ids.into()]).await?),
        }
    }

    fn read(rows: &[Row]) -> Result<Self, Error> {
        let mut answers = Self::default();
        for row in rows {
            let id: String = row.get("request_id")?;
            let id = Uuid::try_parse(&id).map_err(|error| Error::Damaged {
                what: "request id",
                problem: error.to_string(),
            })?;
            let kept = (row.array("fingerprint", "fingerprint")?, row.get("answer")?);
            answers.known.insert((row.get("caller")?, id), kept);
        }
        Ok(answers)
    }

    /// What an earlier request with this id leads to; `None` when there was none.
    pub fn earlier(&self, request: &RequestId) -> Option<Earlier> {
        let (fingerprint, answer) = self.known.get(&(request.caller.clone(), request.id))?;
        Some(match *fingerprint == request.fingerprint {
            true => Earlier::Answered(answer.clone()),
            false => Earlier::OtherContent,
        })
    }

    /// Adds the first answer to a request.
    pub fn add(&mut self, request: &RequestId, answer: Vec<u8>) {
        let key = (request.caller.clone(), request.id);
        self.known.insert(key, (request.fingerprint, answer));
        self.added.push(request.clone());
    }

    /// Writes what was added.
    pub async fn keep(mut self, tx: &mut Tx, now: Time) -> Result<(), Error> {
        let mut rows: Vec<[Value; 5]> = Vec::with_capacity(self.added.len());
        for request in self.added {
            let answer = self.known.remove(&(request.caller.clone(), request.id));
            rows.push(row(&request, answer.unwrap_or_default().1, now));
        }
        REQUESTS.rows(tx, rows).await.map(drop)
    }
}

/// What an earlier request with this id leads to, outside a transaction: one that is being done is
/// not seen.
pub async fn earlier(db: &Db, request: &RequestId) -> Result<Option<Earlier>, Error> {
    let found = db.fetch(FIND, vec![ids([request]).into()]).await?;
    Ok(Answers::read(&found)?.earlier(request))
}

/// Forgets answers that were given before a moment, the oldest first, at most `limit`, and returns
/// how many.
pub async fn forget_requests(tx: &mut Tx, before: Time, limit: u32) -> Result<u64, Error> {
    tx.execute(
        "WITH old AS MATERIALIZED (SELECT caller, request_id FROM requests WHERE answer_time < $1 \
         ORDER BY answer_time LIMIT $2 FOR UPDATE SKIP LOCKED) \
         DELETE FROM requests WHERE (caller, request_id) IN (SELECT caller, request_id FROM old)",
        vec![before.0.into(), i64::from(limit).into()],
    )
    .await
}

fn ids<'r>(requests: impl IntoIterator<Item = &'r RequestId>) -> Vec<String> {
    requests.into_iter().map(|request| request.id.to_string()).collect()
}
