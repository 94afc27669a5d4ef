//! Which events a consumer is given next that takes turns between senders.
//!
//! Each sender's events wait in a lane of their own, urgent ones in another. A delivery takes from
//! every lane in turn, so that nobody waits behind a sender of thousands, only behind what a
//! delivery holds. Urgent lanes have three turns in four while others wait, and not all: nobody can
//! hold up routine events by calling his own urgent.

use std::collections::VecDeque;

use sql::{Db, Error};

use crate::{
    Entropy, Pending, Time,
    relay::{LONGEST_PARKED_SECONDS, pending as read, shuffle},
};

/// Urgent turns for each turn of the others.
const URGENT: usize = 3;
/// Most lanes of a kind in a delivery; of more, each delivery draws anew.
const LANES: usize = 64;

/// One look into an index for each lane: the backlog's length does not matter.
const FIND_LANES: &str = "WITH RECURSIVE lanes(lane) AS (\
     SELECT (SELECT lane FROM outbox WHERE consumer = $1 AND urgent = $2 AND lane <> '' ORDER BY lane LIMIT 1) \
     UNION ALL \
     SELECT (SELECT o.lane FROM outbox o WHERE o.consumer = $1 AND o.urgent = $2 AND o.lane <> '' \
     AND o.lane > lanes.lane ORDER BY o.lane LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL) \
     SELECT lane FROM lanes WHERE lane IS NOT NULL";

const FIND: &str = "SELECT position, record, payload FROM outbox WHERE consumer = $1 AND urgent = $2 AND lane = $3 \
     AND lane <> '' AND NOT EXISTS (\
     SELECT 1 FROM outbox_parked WHERE outbox_parked.consumer = outbox.consumer \
     AND outbox_parked.record = outbox.record AND outbox_parked.retry_time > $4 \
     AND outbox_parked.retry_time <= $5) ORDER BY position LIMIT $6";

/// Undelivered events for a consumer, by turns.
pub(crate) async fn pending(
    db: &Db,
    consumer: &str,
    now: Time,
    limit: usize,
    entropy: &dyn Entropy,
) -> Result<Vec<Pending>, Error> {
    let urgent = of_kind(db, consumer, true, now, limit, entropy).await?;
    let others = of_kind(db, consumer, false, now, limit, entropy).await?;
    Ok(interleaved(urgent, others, limit))
}

/// The events of the urgent or the other lanes, by turns.
async fn of_kind(
    db: &Db,
    consumer: &str,
    is_urgent: bool,
    now: Time,
    limit: usize,
    entropy: &dyn Entropy,
) -> Result<Vec<Pending>, Error> {
    let found = db.fetch(FIND_LANES, vec![consumer.into(), is_urgent.into()]).await?;
    let mut lanes: Vec<String> = found.iter().map(|row| row.get("lane")).collect::<Result<_, _>>()?;
    // With less room than lanes, each delivery would otherwise leave out the same.
    shuffle(&mut lanes, entropy);
    let first_of = async |lane: &str, count: usize| -> Result<VecDeque<Pending>, Error> {
        let values = vec![
            consumer.into(),
            is_urgent.into(),
            lane.into(),
            now.0.into(),
            // Later than any retry: the clock was set back since.
            now.plus_seconds(LONGEST_PARKED_SECONDS).0.into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ];
        db.fetch(FIND, values).await?.iter().map(read).collect()
    };
    // A lane whose events are all parked has nothing to give: then the next lanes are drawn.
    for drawn in lanes.chunks(LANES) {
        let each = (limit / drawn.len()).max(1);
        let mut events = Vec::with_capacity(drawn.len());
        let mut longer = Vec::new();
        for lane in drawn {
            let found = first_of(lane, each).await?;
            if found.len() == each {
                longer.push((events.len(), lane));
            }
            events.push(found);
        }
        // The turns of lanes that have nothing to give go to the others.
        let giving = events.iter().filter(|lane| !lane.is_empty()).count();
        if giving < drawn.len() {
            for (at, lane) in longer {
                events[at] = first_of(lane, (limit / giving).max(1)).await?;
            }
        }
        if events.iter().any(|lane| !lane.is_empty()) {
            return Ok(by_turns(events));
        }
    }
    Ok(Vec::new())
}

/// One of each lane, then the next of each.
fn by_turns<T>(mut lanes: Vec<VecDeque<T>>) -> Vec<T> {
    let mut all = Vec::new();
    while !lanes.is_empty() {
        all.extend(lanes.iter_mut().filter_map(VecDeque::pop_front));
        lanes.retain(|lane| !lane.is_empty());
    }
    all
}

/// Urgent events and others, [`URGENT`] to one while there are both.
fn interleaved<T>(urgent: Vec<T>, others: Vec<T>, limit: usize) -> Vec<T> {
    let mut all = Vec::with_capacity(limit.min(urgent.len() + others.len()));
    let (mut urgent, mut others) = (urgent.into_iter().peekable(), others.into_iter().peekable());
    while all.len() < limit && (urgent.peek().is_some() || others.peek().is_some()) {
        all.extend(urgent.by_ref().take(URGENT));
        all.extend(others.next());
    }
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sql::transact;
    use testkit::Backend;

    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn lanes_take_turns_and_keep_their_order() {
        let lanes = [vec![1, 2, 3, 4], vec![10], vec![20, 21]];
        assert_eq!(by_turns(lanes.map(VecDeque::from).into()), [1, 10, 20, 2, 21, 3, 4]);
        assert!(by_turns(Vec::<VecDeque<u8>>::new()).is_empty());
    }

    #[test]
    fn urgent_events_have_three_turns_in_four_and_never_all() {
        let both = |urgent: usize, others: usize, limit| {
            let all = interleaved(vec!['u'; urgent], vec!['o'; others], limit);
            all.into_iter().collect::<String>()
        };
        assert_eq!(both(9, 2, 512), "uuuouuuouuu");
        assert_eq!(both(512, 512, 8), "uuuouuuo");
        assert_eq!(both(0, 4, 3), "ooo");
        assert_eq!(both(1, 4, 4), "uooo");
        assert_eq!(both(4, 0, 512), "uuuu");
        assert_eq!(both(0, 0, 512), "");
    }

    testkit::on_each_backend!(
        more_lanes_than_a_delivery_has_room_for_all_come_to_their_turn,
        lanes_without_a_due_event_leave_their_turns_to_others,
    );

    const NOW: Time = Time(1_795_305_600_000_000);

    /// Events of one report each, in these lanes; those of lanes that begin with `p` are parked.
    async fn waiting(backend: &Backend, lanes: &[String]) -> Db {
        let db = Db::open(backend.url(), &[crate::SCHEMA]).await.unwrap();
        let event = "INSERT INTO outbox (consumer, position, record, payload, urgent, lane) \
                     VALUES ('routing', $1, $1, $2, 0, $3)";
        let parked = "INSERT INTO outbox_parked (consumer, record, since, attempts, retry_time, reason) \
                      VALUES ('routing', $1, 0, 1, $2, 'refused')";
        let written = transact!(db, |tx| async {
            for (position, lane) in lanes.iter().enumerate() {
                let position = format!("{position:06}");
                let payload = lane.as_bytes().to_vec();
                tx.execute(
                    event,
                    vec![position.clone().into(), payload.into(), lane.clone().into()],
                )
                .await?;
                if lane.starts_with('p') {
                    let later = NOW.plus_seconds(60);
                    tx.execute(parked, vec![position.into(), later.0.into()]).await?;
                }
            }
            Ok::<_, Error>(())
        });
        written.unwrap();
        db
    }

    async fn given(db: &Db, entropy: &SeededEntropy) -> Vec<String> {
        let events = pending(db, "routing", NOW, 512, entropy).await.unwrap();
        events
            .into_iter()
            .map(|event| String::from_utf8(event.payload).unwrap())
            .collect()
    }

    async fn more_lanes_than_a_delivery_has_room_for_all_come_to_their_turn(backend: Backend) {
        let lanes: Vec<String> = (0..200).map(|lane| format!("lane-{lane}")).collect();
        let db = waiting(&backend, &lanes).await;
        let entropy = SeededEntropy::new(5);
        let mut served = BTreeSet::new();
        for _ in 0..60 {
            let given = given(&db, &entropy).await;
            assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), LANES);
            served.extend(given);
        }
        assert_eq!(served.len(), lanes.len());
    }

    async fn lanes_without_a_due_event_leave_their_turns_to_others(backend: Backend) {
        // A sender of many beside sixty whose reports are parked.
        let parked = (0..60).map(|lane| format!("parked-{lane}"));
        let many = std::iter::repeat_n("many".to_owned(), 600);
        let lanes: Vec<String> = parked.chain(many).collect();
        let db = waiting(&backend, &lanes).await;
        let entropy = SeededEntropy::new(5);
        assert_eq!(given(&db, &entropy).await.len(), 512, "a whole delivery");
        // A few beside hundreds of parked lanes: each delivery finds them.
        let parked = (0..300).map(|lane| format!("p-{lane}"));
        let few = ["a", "b"].map(str::to_owned);
        let lanes: Vec<String> = parked.chain(few).collect();
        transact!(db, |tx| async {
            tx.execute("DELETE FROM outbox", Vec::new()).await?;
            tx.execute("DELETE FROM outbox_parked", Vec::new()).await
        })
        .unwrap();
        drop(db);
        let db = waiting(&backend, &lanes).await;
        for _ in 0..5 {
            assert!(!given(&db, &entropy).await.is_empty());
        }
    }
}
