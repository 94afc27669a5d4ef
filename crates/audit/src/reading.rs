//! Serves reads of the log: pages of changes, streams of them, and proofs. No transport.

use std::{fmt, sync::Arc};

use api::audit::{
    ChangeFilter, GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, ListChangesRequest, ListChangesResponse, LoggedChange, WatchChangesRequest,
    WatchChangesResponse,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use journal::{Clock, Entropy, Time};
use names::READING;
use rpc::{Failure, Identity, Violations, page};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    check::OWN,
    disclosure::{Disclosure, Logged, refuse_chain, refuse_hidden},
    prove::{Proof, Prover},
    publisher::Published,
    read::{Filter, Part, Read, Sight, list},
    sequencer::Sequencer,
    store::{Store, Which},
};

/// Entries per message of a stream.
const BATCH: u64 = 500;
/// Maximum length of a filter's text, in bytes; entries have no longer ones. Logged with readings.
const LONGEST_TEXT: usize = 255;

/// Serves reads.
#[derive(Clone)]
pub(crate) struct Reading {
    pub store: Arc<dyn Store>,
    pub tokens: page::Tokens,
    pub prover: Arc<Prover>,
    pub published: watch::Receiver<Published>,
    pub sight: Option<Arc<dyn Sight>>,
    /// Logs readings of details.
    pub sequencer: Sequencer,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

pub(crate) type Changes = BoxStream<'static, Result<WatchChangesResponse, Failure>>;

impl Reading {
    pub async fn list(&self, caller: &Identity, request: ListChangesRequest) -> Result<ListChangesResponse, Failure> {
        let mut violations = Violations::new();
        let wanted = wanted(request.filter.as_ref(), request.with_detail, &mut violations);
        let bound_to = format!("ListChanges {wanted:?}");
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let token = violations.note(seal.decode(&bound_to, &request.page_token))?.flatten();
        let cursor = match token.as_deref().map(Cursor::parse) {
            Some(None) => return Err(not_ours()),
            Some(Some(cursor)) => cursor,
            None => Cursor {
                next: index("start_index", request.start_index, &mut violations),
                reading: None,
            },
        };
        let size = violations.finish(|| size)?;
        let end = self.published.borrow().head.size;
        let start = cursor.next.min(end);
        let (indexes, reading) = if wanted.with_detail {
            let disclosure = Disclosure {
                caller,
                purpose: &request.purpose,
                wanted: &wanted,
            };
            refuse_hidden(disclosure, self.sight.as_deref()).await?;
            let logged = match (cursor.reading, token) {
                (Some(id), _) => self.go_on(disclosure, id, cursor.next).await?,
                (None, Some(_)) => return Err(not_ours()),
                (None, None) => {
                    let id = self.begin(disclosure, start, Some(end)).await?;
                    Logged {
                        id,
                        indexes: start..end,
                    }
                }
            };
            (logged.indexes.clone(), Some(logged))
        } else {
            if let Some(record) = &wanted.record {
                refuse_chain(caller, record, self.sight.as_deref()).await?;
            }
            (start..end, None)
        };
        let (found, next) = list(&*self.store, &wanted, indexes, u64::from(size)).await?;
        let next = next.map(|next| Cursor {
            next,
            reading: reading.as_ref().map(|reading| reading.id),
        });
        Ok(ListChangesResponse {
            changes: found.into_iter().map(logged).collect(),
            next_page_token: next
                .map(|next| seal.encode(&bound_to, &next.to_string()))
                .unwrap_or_default(),
            reading: reading.map(|reading| reading.name()).unwrap_or_default(),
        })
    }

    pub async fn watch(&self, caller: Identity, request: WatchChangesRequest) -> Result<Changes, Failure> {
        let mut violations = Violations::new();
        let wanted = wanted(request.filter.as_ref(), request.with_detail, &mut violations);
        let start = index("start_index", request.start_index, &mut violations);
        let start = violations.finish(|| Some(start))?;
        let mut watching = Watching {
            reading: self.clone(),
            caller,
            wanted,
            purpose: request.purpose,
            next: start,
            logged: String::new(),
        };
        if watching.wanted.with_detail {
            let disclosure = watching.disclosure();
            refuse_hidden(disclosure, self.sight.as_deref()).await?;
            watching.logged = READING.of(self.begin(disclosure, start, None).await?);
        } else if let Some(record) = &watching.wanted.record {
            refuse_chain(&watching.caller, record, self.sight.as_deref()).await?;
        }
        let messages = stream::unfold(Some(watching), |watching| async {
            let mut watching = watching?;
            match watching.step().await {
                Ok(Some(message)) => Some((Ok(message), Some(watching))),
                Ok(None) => None,
                // Watchers ask again from where it ended.
                Err(failure) => Some((Err(failure), None)),
            }
        });
        Ok(messages.boxed())
    }

    pub async fn inclusion(&self, request: &GetInclusionProofRequest) -> Result<GetInclusionProofResponse, Failure> {
        let Published { head, note, .. } = self.published.borrow().clone();
        let mut violations = Violations::new();
        let size = self.size("tree_size", request.tree_size, &mut violations);
        let which = match (request.event_id.as_str(), request.index) {
            ("", Some(at)) => Some(Which::Index(index("index", at, &mut violations))),
            (event_id, None) => event_id.parse().ok().map(Which::Event),
            _ => None,
        };
        if which.is_none() {
            violations.add("event_id", "must be the UUID of an event; or name an index, not both");
        }
        let which = violations.finish(|| which)?;
        let proof = self
            .prover
            .inclusion(head, size.unwrap_or(head.size).min(head.size), which)
            .await?;
        let proof = match proof {
            Proof::Inclusion(proof) => proof,
            Proof::NotYet => return Err(Failure::NotYetLogged),
            Proof::Nowhere => return Err(Failure::NotLogged),
        };
        Ok(GetInclusionProofResponse {
            index: proof.index.cast_signed(),
            checkpoint: note,
            path: proof.path.into_iter().map(Bytes::from_owner).collect(),
            entry: proof.entry.into(),
            tree_size: proof.tree.size.cast_signed(),
            root_hash: Bytes::from_owner(proof.tree.root),
        })
    }

    pub async fn consistency(
        &self,
        request: &GetConsistencyProofRequest,
    ) -> Result<GetConsistencyProofResponse, Failure> {
        let Published { head, note, .. } = self.published.borrow().clone();
        let mut violations = Violations::new();
        let new = self
            .size("new_size", request.new_size, &mut violations)
            .unwrap_or(head.size);
        let old = self.size("old_size", request.old_size, &mut violations).unwrap_or(0);
        if violations.is_empty() && !(1..=new).contains(&old) {
            violations.add("old_size", format!("must be from 1 to the later size, {new}"));
        }
        violations.finish(|| Some(()))?;
        let proof = self.prover.consistency(head, old, new).await?;
        Ok(GetConsistencyProofResponse {
            path: proof.path.into_iter().map(Bytes::from_owner).collect(),
            new_size: proof.new.size.cast_signed(),
            old_root_hash: Bytes::from_owner(proof.old.root),
            new_root_hash: Bytes::from_owner(proof.new.root),
            checkpoint: note,
        })
    }

    /// A size, at most the published one; `None` for 0.
    fn size(&self, field: &str, size: i64, violations: &mut Violations) -> Option<u64> {
        let published = self.published.borrow().head.size;
        let size = index(field, size, violations);
        if size > published {
            let problem = format!("is larger than the published log, which has {published} entries");
            violations.add(field, problem);
        }
        Some(size).filter(|size| *size > 0)
    }

    /// Logs a reading of details. On return it is durable; without that, nothing is shown.
    async fn begin(&self, disclosure: Disclosure<'_>, first: u64, end: Option<u64>) -> Result<Uuid, Failure> {
        let (id, change) = disclosure.begin(first, end, self.clock.now(), &*self.entropy);
        let verdicts = self.sequencer.append(OWN, vec![change]).await?;
        match verdicts.first() {
            Some(Ok(_)) => Ok(id),
            Some(Err(refusal)) => Err(Failure::Internal(format!("a reading is not logged: {refusal}").into())),
            None => Err(Failure::Internal("a reading has no verdict".into())),
        }
    }

    /// The reading of a page token, if it is this one.
    async fn go_on(&self, disclosure: Disclosure<'_>, id: Uuid, next: u64) -> Result<Logged, Failure> {
        let part = Part {
            indexes: 0..u64::MAX,
            record: Some(&READING.of(id)),
            with_detail: true,
            limit: 1,
        };
        let found = self.store.read(part).await?;
        let now = self.clock.now();
        found
            .first()
            .and_then(|logged| disclosure.goes_on(id, logged, next, now))
            .ok_or_else(not_ours)
    }
}

/// The position of a page token, and its reading for lists with details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    next: u64,
    reading: Option<Uuid>,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (next, reading) = match text.split_once(' ') {
            Some((next, reading)) => (next, Some(reading.parse().ok()?)),
            None => (text, None),
        };
        Some(Self {
            next: next.parse().ok()?,
            reading,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reading {
            Some(reading) => write!(f, "{} {reading}", self.next),
            None => write!(f, "{}", self.next),
        }
    }
}

fn not_ours() -> Failure {
    Failure::invalid(
        "page_token",
        "is not one that this server gave for this request, or too old; start without one",
    )
}

/// A watcher of the log.
struct Watching {
    reading: Reading,
    caller: Identity,
    wanted: Filter,
    purpose: String,
    next: u64,
    /// The record of the reading, for streams with details.
    logged: String,
}

impl Watching {
    fn disclosure(&self) -> Disclosure<'_> {
        Disclosure {
            caller: &self.caller,
            purpose: &self.purpose,
            wanted: &self.wanted,
        }
    }

    /// Waits for the next message; `None` when the server stops.
    async fn step(&mut self) -> Result<Option<WatchChangesResponse>, Failure> {
        let next = self.next;
        let mut published = self.reading.published.clone();
        let end = match published.wait_for(|published| published.head.size > next).await {
            Ok(published) => published.head.size,
            Err(_) => return Ok(None),
        };
        // Sight may have been lost since the last message.
        if self.wanted.with_detail {
            refuse_hidden(self.disclosure(), self.reading.sight.as_deref()).await?;
        } else if let Some(record) = &self.wanted.record {
            refuse_chain(&self.caller, record, self.reading.sight.as_deref()).await?;
        }
        let (found, next) = list(&*self.reading.store, &self.wanted, next..end, BATCH).await?;
        self.next = next.unwrap_or(end);
        Ok(Some(WatchChangesResponse {
            changes: found.into_iter().map(logged).collect(),
            next_index: self.next.cast_signed(),
            reading: self.logged.clone(),
        }))
    }
}

fn logged(read: Read) -> LoggedChange {
    LoggedChange {
        index: read.index.cast_signed(),
        entry: read.entry.into(),
        chain: read.chain,
        detail: read.detail,
    }
}

fn wanted(filter: Option<&ChangeFilter>, with_detail: bool, violations: &mut Violations) -> Filter {
    let Some(filter) = filter else {
        return Filter {
            with_detail,
            ..Filter::default()
        };
    };
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut time = |field: &str, time: &Option<_>| {
        let read = time.as_ref().map(Time::from_proto);
        if read == Some(None) {
            violations.add(field, "is no time of the years 1 to 9999");
        }
        read.flatten()
    };
    let wanted = Filter {
        record: text(&filter.record),
        kind: text(&filter.kind),
        agency: text(&filter.agency),
        actor: text(&filter.actor),
        start: time("filter.start_time", &filter.start_time),
        end: time("filter.end_time", &filter.end_time),
        with_detail,
    };
    for (field, value) in [
        ("filter.record", &wanted.record),
        ("filter.kind", &wanted.kind),
        ("filter.agency", &wanted.agency),
        ("filter.actor", &wanted.actor),
    ] {
        if value.as_ref().is_some_and(|value| value.len() > LONGEST_TEXT) {
            let problem = format!("must have at most {LONGEST_TEXT} bytes: no name and no kind is longer");
            violations.add(field, problem);
        }
    }
    if wanted.kind.is_some() && wanted.record.is_none() && !with_detail {
        let problem = "is committed to, and not public: name the record too, or set with_detail";
        violations.add("filter.kind", problem);
    }
    if wanted.looks_into_details() && !with_detail {
        for (field, value) in [("filter.agency", &wanted.agency), ("filter.actor", &wanted.actor)] {
            if value.is_some() {
                violations.add(field, "stands in the details: set with_detail too");
            }
        }
    }
    wanted
}

fn index(field: &str, index: i64, violations: &mut Violations) -> u64 {
    u64::try_from(index).unwrap_or_else(|_| {
        violations.add(field, "must not be negative");
        0
    })
}
