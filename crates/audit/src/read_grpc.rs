//! The reading methods of `AuditService`: decode, call, encode.

use std::sync::Arc;

use api::audit::{
    ChangeFilter, GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, ListChangesRequest, ListChangesResponse, LoggedChange, WatchChangesRequest,
    WatchChangesResponse,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use journal::Time;
use rpc::{Failure, Identity, Violation, page};
use tokio::sync::watch;
use tonic::Status;

use crate::{
    prove::{self, Which},
    publisher::Published,
    read::{Read, Sight, Wanted, disclose, list},
    store::Store,
};

/// Entries of one message of a stream.
const BATCH: u64 = 500;

/// What reading needs.
#[derive(Clone)]
pub(crate) struct Reading {
    pub store: Arc<dyn Store>,
    pub published: watch::Receiver<Published>,
    pub sight: Option<Arc<dyn Sight>>,
}

pub(crate) type Changes = BoxStream<'static, Result<WatchChangesResponse, Status>>;

impl Reading {
    pub async fn list(&self, caller: &Identity, request: ListChangesRequest) -> Result<ListChangesResponse, Failure> {
        let mut violations = Vec::new();
        let wanted = wanted(request.filter.as_ref(), request.with_detail, &mut violations);
        let bound_to = format!("ListChanges {wanted:?}");
        let size = noted(page::size(request.page_size), &mut violations)?;
        let token = noted(page::decode(&bound_to, &request.page_token), &mut violations)?;
        let start = match token {
            // A token that passes was made below.
            Some(cursor) => cursor
                .parse()
                .map_err(|_| Failure::invalid("page_token", "start without one"))?,
            None => index("start_index", request.start_index, &mut violations),
        };
        if !violations.is_empty() {
            return Err(Failure::InvalidInput(violations));
        }
        self.disclose(caller, &wanted, &request.purpose).await?;
        let end = self.published.borrow().head.size;
        let (found, next) = list(&*self.store, &wanted, start.min(end)..end, u64::from(size)).await?;
        Ok(ListChangesResponse {
            changes: found.into_iter().map(logged).collect(),
            next_page_token: next
                .map(|next| page::encode(&bound_to, &next.to_string()))
                .unwrap_or_default(),
        })
    }

    pub async fn watch(&self, caller: Identity, request: WatchChangesRequest) -> Result<Changes, Failure> {
        let mut violations = Vec::new();
        let wanted = wanted(request.filter.as_ref(), request.with_detail, &mut violations);
        let start = index("start_index", request.start_index, &mut violations);
        if !violations.is_empty() {
            return Err(Failure::InvalidInput(violations));
        }
        self.disclose(&caller, &wanted, &request.purpose).await?;
        let watching = Watching {
            reading: self.clone(),
            caller,
            wanted,
            purpose: request.purpose,
            next: start,
        };
        let messages = stream::unfold(Some(watching), |watching| async {
            let mut watching = watching?;
            match watching.step().await {
                Ok(Some(message)) => Some((Ok(message), Some(watching))),
                Ok(None) => None,
                // Whoever watches asks again, from where it ended.
                Err(failure) => Some((Err(failure.into()), None)),
            }
        });
        Ok(messages.boxed())
    }

    pub async fn inclusion(&self, request: &GetInclusionProofRequest) -> Result<GetInclusionProofResponse, Failure> {
        let Published { head, note, .. } = self.published.borrow().clone();
        let mut violations = Vec::new();
        let size = self.size("tree_size", request.tree_size, &mut violations);
        let which = match (request.event_id.as_str(), request.index) {
            ("", Some(at)) => Some(Which::Index(index("index", at, &mut violations))),
            (event_id, None) => event_id.parse().ok().map(Which::Event),
            _ => None,
        };
        if which.is_none() {
            violations.push(Violation::new(
                "event_id",
                "must be the UUID of an event; or name an index, not both",
            ));
        }
        let (Some(which), true) = (which, violations.is_empty()) else {
            return Err(Failure::InvalidInput(violations));
        };
        let proof = prove::inclusion(&*self.store, head, size.unwrap_or(head.size).min(head.size), which).await?;
        let proof = proof.ok_or(Failure::NotYetLogged)?;
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
        let mut violations = Vec::new();
        let new = self
            .size("new_size", request.new_size, &mut violations)
            .unwrap_or(head.size);
        let old = self.size("old_size", request.old_size, &mut violations).unwrap_or(0);
        if violations.is_empty() && !(1..=new).contains(&old) {
            violations.push(Violation::new(
                "old_size",
                format!("must be from 1 to the later size, {new}"),
            ));
        }
        if !violations.is_empty() {
            return Err(Failure::InvalidInput(violations));
        }
        let proof = prove::checked_consistency(&*self.store, head, old, new).await?;
        Ok(GetConsistencyProofResponse {
            path: proof.path.into_iter().map(Bytes::from_owner).collect(),
            new_size: proof.new.size.cast_signed(),
            old_root_hash: Bytes::from_owner(proof.old.root),
            new_root_hash: Bytes::from_owner(proof.new.root),
            checkpoint: note,
        })
    }

    /// A size up to the published one; `None` for 0.
    fn size(&self, field: &str, size: i64, violations: &mut Vec<Violation>) -> Option<u64> {
        let published = self.published.borrow().head.size;
        let size = index(field, size, violations);
        if size > published {
            let problem = format!("is larger than the published log, which has {published} entries");
            violations.push(Violation::new(field, problem));
        }
        Some(size).filter(|size| *size > 0)
    }

    async fn disclose(&self, caller: &Identity, wanted: &Wanted, purpose: &str) -> Result<(), Failure> {
        if !wanted.with_detail {
            return Ok(());
        }
        disclose(caller, wanted, purpose, self.sight.as_deref()).await
    }
}

/// Somebody who follows the log.
struct Watching {
    reading: Reading,
    caller: Identity,
    wanted: Wanted,
    purpose: String,
    next: u64,
}

impl Watching {
    /// The next message, once there is something to tell; `None` when the server stops.
    async fn step(&mut self) -> Result<Option<WatchChangesResponse>, Failure> {
        let next = self.next;
        let mut published = self.reading.published.clone();
        let end = match published.wait_for(|published| published.head.size > next).await {
            Ok(published) => published.head.size,
            Err(_) => return Ok(None),
        };
        // Sight may have been lost since the last message.
        self.reading.disclose(&self.caller, &self.wanted, &self.purpose).await?;
        let (found, next) = list(&*self.reading.store, &self.wanted, next..end, BATCH).await?;
        self.next = next.unwrap_or(end);
        Ok(Some(WatchChangesResponse {
            changes: found.into_iter().map(logged).collect(),
            next_index: self.next.cast_signed(),
        }))
    }
}

fn logged(read: Read) -> LoggedChange {
    let (salt, detail) = read
        .detail
        .map(|(salt, detail)| (Bytes::from_owner(salt), detail.into()))
        .unwrap_or_default();
    LoggedChange {
        index: read.index.cast_signed(),
        entry: read.entry.into(),
        salt,
        detail,
    }
}

fn wanted(filter: Option<&ChangeFilter>, with_detail: bool, violations: &mut Vec<Violation>) -> Wanted {
    let Some(filter) = filter else {
        return Wanted {
            with_detail,
            ..Wanted::default()
        };
    };
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut time = |field: &str, time: &Option<_>| {
        let read = time.as_ref().map(Time::from_proto);
        if read == Some(None) {
            violations.push(Violation::new(field, "is no time of the years 1 to 9999"));
        }
        read.flatten()
    };
    let wanted = Wanted {
        record: text(&filter.record),
        kind: text(&filter.kind),
        agency: text(&filter.agency),
        actor: text(&filter.actor),
        start: time("filter.start_time", &filter.start_time),
        end: time("filter.end_time", &filter.end_time),
        with_detail,
    };
    if wanted.looks_into_details() && !with_detail {
        for (field, value) in [("filter.agency", &wanted.agency), ("filter.actor", &wanted.actor)] {
            if value.is_some() {
                violations.push(Violation::new(field, "stands in the details: set with_detail too"));
            }
        }
    }
    wanted
}

fn index(field: &str, index: i64, violations: &mut Vec<Violation>) -> u64 {
    u64::try_from(index).unwrap_or_else(|_| {
        violations.push(Violation::new(field, "must not be negative"));
        0
    })
}

/// Keeps what is wrong with a field, so that the others are looked at too.
fn noted<T: Default>(parsed: Result<T, Failure>, violations: &mut Vec<Violation>) -> Result<T, Failure> {
    match parsed {
        Err(Failure::InvalidInput(found)) => {
            violations.extend(found);
            Ok(T::default())
        }
        other => other,
    }
}
