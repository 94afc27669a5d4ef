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
    let lanes: Vec<String> = found.iter().map(|row| row.get("lane")).collect::<Result<_, _>>()?;
    let lanes = drawn(lanes, LANES, entropy);
    let each = (limit / lanes.len().max(1)).max(1);
    let mut events = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let values = vec![
            consumer.into(),
            is_urgent.into(),
            lane.into(),
            now.0.into(),
            // Later than any retry: the clock was set back since.
            now.plus_seconds(LONGEST_PARKED_SECONDS).0.into(),
            i64::try_from(each).unwrap_or(i64::MAX).into(),
        ];
        let rows = db.fetch(FIND, values).await?;
        events.push(rows.iter().map(read).collect::<Result<VecDeque<_>, _>>()?);
    }
    Ok(by_turns(events))
}

/// As many lanes as there is room for, each as likely as another, in random order: with less room
/// than lanes, each delivery would otherwise leave out the same.
fn drawn(mut lanes: Vec<String>, room: usize, entropy: &dyn Entropy) -> Vec<String> {
    shuffle(&mut lanes, entropy);
    lanes.truncate(room);
    lanes
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

    #[test]
    fn more_lanes_than_a_delivery_has_room_for_all_come_to_their_turn() {
        let lanes: Vec<String> = (0..200).map(|lane| lane.to_string()).collect();
        let entropy = SeededEntropy::new(5);
        let mut served = BTreeSet::new();
        for _ in 0..60 {
            let drawn = drawn(lanes.clone(), LANES, &entropy);
            assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), LANES);
            served.extend(drawn);
        }
        assert_eq!(served.len(), lanes.len());
        assert_eq!(drawn(lanes[..3].to_vec(), LANES, &entropy).len(), 3);
    }
}
