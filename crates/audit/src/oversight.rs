//! Marks of producers, the gaps that they show, and producers that an operator lets append again.

use std::sync::Arc;

use api::audit::{
    EventSet, Gap as GapMessage, GapKind as KindMessage, ListGapsRequest, ListGapsResponse,
    Producer as ProducerMessage, RecordMarkRequest, RecordMarkResponse, Standing as StandingMessage,
    UnfreezeProducerRequest, UnfreezeProducerResponse,
};
use journal::{Mark, SetHash, Time, Writer};
use names::Collection;
use prost::Message as _;
use rpc::{Failure, Identity, Violations, page};

use crate::{
    check::SERVICES,
    gap::{Gap, GapKind},
    producer::{Producer, Standing},
    store::{GapCursor, Store, Unfreezing, Unfrozen},
};

/// Filter that page tokens of `ListGaps` are bound to: it has none.
const FILTER: &str = "gaps";
/// Maximum length of a reason, in characters.
const REASON: usize = 1_000;
/// Maximum tolerance of forks: 30 days.
const TOLERANCE: i64 = 30 * 24 * 60 * 60;

/// Validates a mark; on failure reports all violations.
pub(crate) fn mark(request: &RecordMarkRequest) -> Result<Mark, Failure> {
    let mut violations = Violations::new();
    let mut set = |name: &str, set: &Option<EventSet>| {
        let Some(set) = set else {
            violations.add(name, "is missing");
            return Default::default();
        };
        let count = u64::try_from(set.count).unwrap_or_else(|_| {
            violations.add(format!("{name}.count"), "must not be negative");
            0
        });
        let hash = match <[u8; 32]>::try_from(&*set.hash) {
            Ok(hash) => Some(SetHash::from_bytes(hash)),
            Err(_) if set.hash.is_empty() => None,
            Err(_) => {
                violations.add(format!("{name}.hash"), "must have 32 bytes, or none");
                None
            }
        };
        (count, hash)
    };
    let (delivered, delivered_hash) = set("delivered", &request.delivered);
    let (committed, committed_hash) = set("committed", &request.committed);
    if violations.is_empty() && delivered_hash.is_none() {
        violations.add("delivered.hash", "must have 32 bytes");
    }
    if violations.is_empty() && committed < delivered {
        let wrong = "must not be smaller than delivered.count: what was delivered was committed";
        violations.add("committed.count", wrong);
    }
    Ok(violations.finish(|| {
        Some(Mark {
            delivered: journal::EventSet {
                count: delivered,
                hash: delivered_hash?,
            },
            committed,
            committed_hash,
        })
    })?)
}

/// Compares a producer's mark with the log, and keeps it.
pub(crate) async fn note(
    store: &Arc<dyn Store>,
    writer: &Writer,
    source: &str,
    mark: Mark,
) -> Result<RecordMarkResponse, Failure> {
    let source = source.to_owned();
    let noted = writer.write(store, |store| async move { store.note_mark(&source, mark).await });
    let noted = noted.await?;
    Ok(RecordMarkResponse {
        standing: standing(noted.standing).into(),
        logged: noted.is_logged,
    })
}

/// Lets a producer append again.
pub(crate) async fn unfreeze(
    store: &Arc<dyn Store>,
    writer: &Writer,
    request: &UnfreezeProducerRequest,
    caller: &Identity,
    now: Time,
) -> Result<UnfreezeProducerResponse, Failure> {
    let (source, unfreezing) = unfreezing(request, caller)?;
    let name = source.clone();
    let unfrozen = writer.write(store, |store| async move { store.unfreeze(&name, unfreezing).await });
    match unfrozen.await? {
        Unfrozen::Done(producer) => Ok(UnfreezeProducerResponse {
            producer: Some(producer_message(&source, &producer, now)),
        }),
        Unfrozen::Unknown => Err(Failure::NotFound { what: "producer" }),
        Unfrozen::EtagMismatch => Err(Failure::EtagMismatch),
        Unfrozen::Earlier(earlier) => rpc::first_answer(&earlier),
    }
}

/// A page of gaps, and, on the first, the producers.
pub(crate) async fn list(
    store: &dyn Store,
    seal: &page::Seal,
    request: ListGapsRequest,
    now: Time,
) -> Result<ListGapsResponse, Failure> {
    let size = page::size(request.page_size)?;
    let after = match seal.decode(FILTER, &request.page_token)? {
        Some(cursor) => Some(parse_cursor(&cursor).ok_or_else(|| Failure::invalid("page_token", "start without one"))?),
        None => None,
    };
    let producers = match after {
        Some(_) => Vec::new(),
        None => store.producers().await?,
    };
    // One more than requested, to know whether there is a next page.
    let mut gaps = store.gaps(after.as_ref(), size + 1).await?;
    let is_last = gaps.len() <= size as usize;
    gaps.truncate(size as usize);
    let next_page_token = match gaps.last() {
        Some(gap) if !is_last => seal.encode(FILTER, &format!("{} {}", gap.kind.name(), gap.key)),
        _ => String::new(),
    };
    Ok(ListGapsResponse {
        gaps: gaps.into_iter().map(|gap| gap_message(gap, now)).collect(),
        producers: producers
            .into_iter()
            .map(|(source, producer)| producer_message(&source, &producer, now))
            .collect(),
        next_page_token,
    })
}

fn parse_cursor(cursor: &str) -> Option<GapCursor> {
    let (kind, key) = cursor.split_once(' ')?;
    Some((GapKind::from_name(kind)?, key.to_owned()))
}

/// Validates an unfreeze request: the producer and how it continues, or all violations.
pub(crate) fn unfreezing(
    request: &UnfreezeProducerRequest,
    caller: &Identity,
) -> Result<(String, Unfreezing), Failure> {
    let mut violations = Violations::new();
    let source = Collection::PRODUCERS.id(&request.name).unwrap_or_default().to_owned();
    if !SERVICES.contains(&&*source) {
        let names = SERVICES
            .map(|service| format!("`{}`", Collection::PRODUCERS.of(service)))
            .join(" or ");
        violations.add("name", format!("must be {names}"));
    }
    let reason = request.reason.trim();
    if reason.is_empty() {
        violations.add("reason", "must say what was examined: it is logged");
    }
    if reason.chars().count() > REASON {
        violations.add("reason", format!("must have at most {REASON} characters"));
    }
    let tolerate_seconds = request.tolerate.map_or(0, |tolerate| tolerate.seconds);
    if !(0..=TOLERANCE).contains(&tolerate_seconds) {
        violations.add("tolerate", "must be between nothing and 30 days");
    }
    if request.etag.is_empty() {
        violations.add("etag", "is missing; take it from the producer as ListGaps shows it");
    }
    let content = UnfreezeProducerRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let id = rpc::request_id(
        caller,
        "UnfreezeProducer",
        &request.request_id,
        &content.encode_to_vec(),
    );
    let id = violations.note(id)?;
    Ok(violations.finish(|| {
        let unfreezing = Unfreezing {
            actor: caller.actor(&[]),
            reason: reason.to_owned(),
            tolerate_seconds,
            etag: request.etag.clone(),
            request: id?,
        };
        Some((source, unfreezing))
    })?)
}

fn gap_message(gap: Gap, now: Time) -> GapMessage {
    let kind = match gap.kind {
        GapKind::Missing => KindMessage::Missing,
        GapKind::Fork => KindMessage::Fork,
        GapKind::EventIdReused => KindMessage::EventIdReused,
    };
    GapMessage {
        kind: kind.into(),
        record: gap.record,
        producer: Collection::PRODUCERS.of(&gap.source),
        first_sequence: gap.first_sequence.cast_signed(),
        last_sequence: gap.last_sequence.cast_signed(),
        event_id: gap.event_id,
        first_seen_time: Some(gap.since.to_proto()),
        age: Some(age(gap.since, now)),
        attempt_count: gap.attempts.cast_signed(),
        examine_time: gap.examined.map(Time::to_proto),
    }
}

/// Converts to a contract message.
pub(crate) fn producer_message(source: &str, producer: &Producer, now: Time) -> ProducerMessage {
    let since = (producer.standing != Standing::Unknown).then_some(producer.standing_since);
    ProducerMessage {
        name: Collection::PRODUCERS.of(source),
        held: Some(EventSet {
            count: producer.held.count.cast_signed(),
            hash: producer.held.hash.to_bytes().to_vec().into(),
        }),
        freeze_time: producer.frozen.map(Time::to_proto),
        standing: standing(producer.standing).into(),
        standing_time: since.map(Time::to_proto),
        standing_age: since.map(|since| age(since, now)),
        committed_count: producer.mark.map_or(0, |mark| mark.committed).cast_signed(),
        delivered_count: producer.mark.map_or(0, |mark| mark.delivered.count).cast_signed(),
        security_event_count: producer.incidents.cast_signed(),
        etag: producer.etag(source),
    }
}

/// Converts to the contract's enum.
pub(crate) fn standing(standing: Standing) -> StandingMessage {
    match standing {
        Standing::Unknown => StandingMessage::Unmarked,
        Standing::Complete => StandingMessage::Complete,
        Standing::Late => StandingMessage::Late,
        Standing::Lost => StandingMessage::Lost,
        Standing::Different => StandingMessage::Different,
        Standing::Ahead => StandingMessage::Ahead,
    }
}

/// Time since `since`; zero if the clock was set back.
fn age(since: Time, now: Time) -> prost_types::Duration {
    let micros = now.0.saturating_sub(since.0).max(0);
    prost_types::Duration {
        seconds: micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_never_negative() {
        let now = Time(5_000_001);
        assert_eq!(
            age(Time(2_000_000), now),
            prost_types::Duration {
                seconds: 3,
                nanos: 1_000
            }
        );
        assert_eq!(age(now.plus_seconds(3_600), now), prost_types::Duration::default());
    }

    #[test]
    fn all_violations_of_a_mark_are_reported_at_once() {
        let set = |count, hash: &[u8]| {
            Some(EventSet {
                count,
                hash: hash.to_vec().into(),
            })
        };
        let fields = |request: RecordMarkRequest| match mark(&request) {
            Err(Failure::InvalidInput(violations)) => violations.into_iter().map(|violation| violation.field).collect(),
            Err(other) => panic!("{other:?}"),
            Ok(_) => Vec::new(),
        };
        for (delivered, committed, expected) in [
            (set(1, &[0; 32]), set(2, &[0; 32]), &[][..]),
            (set(1, &[0; 32]), set(2, &[]), &[]),
            (None, None, &["delivered", "committed"]),
            (
                set(-1, &[0; 31]),
                set(2, &[0; 33]),
                &["delivered.count", "delivered.hash", "committed.hash"],
            ),
            (set(1, &[]), set(2, &[]), &["delivered.hash"]),
            (set(3, &[0; 32]), set(2, &[]), &["committed.count"]),
        ] {
            assert_eq!(fields(RecordMarkRequest { delivered, committed }), expected);
        }
    }
}
