//! First answers to requests that name an id, kept for a window in the transaction that does what
//! they ask for.
//!
//! A repeat by the same caller gets the first answer; the same id with other content is told as
//! such. Look for an answer behind the lock that the request's change takes: a repeat that comes at
//! the same time then waits, and finds the first.

use std::{collections::BTreeMap, time::Duration};

use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};
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

const FIND: &str = "SELECT caller, request_id, fingerprint, answer FROM requests WHERE request_id = ANY($1)";

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
            rows.push([
                request.caller.into(),
                request.id.into(),
                request.fingerprint.into(),
                answer.unwrap_or_default().1.into(),
                now.0.into(),
            ]);
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
