//! An observer has the public log and all names, receipts and times of one report's submission, and
//! must not learn which later entries belong to it: an excluded sender.
//!
//! Each world is a group of reports, accepted one after the other, routed together, and ended one
//! by one. The entries pass through real outboxes and relays into a real store. Every distinguisher
//! picks one later entry of a source; a random pick hits with a chance of one in the number of
//! reports.
//!
//! A second test is about one moment: transactions that change several records, and some records
//! twice. The observer knows one entry and looks for another that was committed with it.

use std::sync::{Arc, Mutex};

use api::event::{Actor, Detail, Opening, StateChange};
use async_trait::async_trait;
use audit::{SqlStore, Store as _};
use journal::{
    Chain, Content, Deliver, Delivery, Draft, Entropy as _, Entry, Head, ManualClock, Outcome, Payload, Relay,
    SeededEntropy, SqlOutbox, Time, Undelivered, chain_commitment, detail_commitment, entry_hash, ordered_id,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sql::Db;
use testkit::Backend;

use crate::fixture::{NOW, call};

const WORLDS: usize = 240;
const REPORTS: usize = 8;

/// Repeatable randomness.
struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, sides: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_be_bytes(bytes) % sides as u64) as usize
    }

    fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// A service whose changes go to audit through its outbox and a relay.
struct Service {
    source: &'static str,
    db: Db,
    entropy: Arc<SeededEntropy>,
    delivered: Arc<Delivered>,
}

/// A channel to audit that keeps what it delivers.
#[derive(Default)]
struct Delivered(Mutex<Vec<StateChange>>);

#[async_trait]
impl Deliver for Delivered {
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        let changes = payloads.iter().map(|payload| StateChange::decode(&**payload).unwrap());
        self.0.lock().unwrap().extend(changes);
        Ok(vec![Outcome::Taken; payloads.len()])
    }
}

impl Service {
    async fn new(source: &'static str, backend: &Backend, seed: u64) -> Self {
        Self {
            source,
            db: Db::open(backend.url(), &[journal::SCHEMA]).await.unwrap(),
            entropy: Arc::new(SeededEntropy::new(seed)),
            delivered: Arc::default(),
        }
    }

    /// A change that is committed and delivered alone.
    fn change(&self, draft: Draft<'_>, head: &mut Head, now: Time) -> StateChange {
        let change = draft.into_change(head, now, &*self.entropy);
        *head = change.head;
        change.with_detail()
    }

    /// Commits changes in one transaction without delivering them yet.
    async fn commit(&self, changes: Vec<(Draft<'_>, &mut Head)>, now: Time) {
        let mut deliveries = Vec::new();
        for (draft, head) in changes {
            let change = draft.into_change(head, now, &*self.entropy);
            *head = change.head;
            let payloads = vec![Payload::to("audit", change.with_detail().encode_to_vec())];
            deliveries.push(Delivery { change, payloads });
        }
        let mut tx = self.db.begin().await.unwrap();
        journal::append(&mut tx, deliveries).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Delivers the committed changes, and returns them in the order of their arrival at audit.
    async fn deliver(&self, now: Time) -> Vec<StateChange> {
        let relay = Relay {
            outbox: Arc::new(SqlOutbox(self.db.clone())),
            consumer: "audit",
            way: Arc::clone(&self.delivered) as _,
            clock: Arc::new(ManualClock::at(now)),
            entropy: Arc::clone(&self.entropy) as _,
            owner: "a".to_owned(),
            wake: Arc::default(),
        };
        while relay.step(&mut Time(i64::MIN)).await.unwrap() > 0 {}
        std::mem::take(&mut *self.delivered.0.lock().unwrap())
    }
}

/// One report and its case, as those with sight of them see them.
struct Life {
    report: String,
    case: String,
    of_report: Head,
    of_case: Head,
    cause: Option<uuid::Uuid>,
}

/// The observer's knowledge: the public log, and the answer to its own submission.
struct Known {
    /// The public entries behind the submissions, in log order.
    later: Vec<Vec<u8>>,
    /// The observer's submission among these, as the times show.
    rank: usize,
    name: String,
    entry: Vec<u8>,
    /// The receipt opens it.
    chain: Opening,
}

/// A world, and which of its later entries truly belong to the observer's report or its case.
struct World {
    known: Known,
    mine: Vec<bool>,
}

fn draft<'a>(
    source: &'static str,
    record: &'a str,
    kind: &'static str,
    cause: Option<uuid::Uuid>,
    purpose: &str,
) -> Draft<'a> {
    Draft {
        source,
        record,
        kind,
        caused_by: cause,
        detail: Detail {
            from_state: "ACCEPTED".to_owned(),
            to_state: "ROUTED".to_owned(),
            purpose: purpose.to_owned(),
            actor: Some(Actor {
                system: source.to_owned(),
                ..Actor::default()
            }),
            ..Detail::default()
        },
        traceparent: String::new(),
    }
}

/// Runs a world that begins at `begin`; the log grows by it.
async fn world(log: &SqlStore, intake: &Service, routing: &Service, begin: Time, dice: &Dice) -> World {
    let before = log.head().await.unwrap().size;
    let me = dice.below(REPORTS);
    let (mut lives, mut mine, mut delivered) = (Vec::new(), Vec::new(), Vec::new());
    let (mut entry, mut chain) = (Vec::new(), Opening::default());
    let mut now = begin;
    let later = |now: &mut Time, up_to: usize| now.0 += 1 + dice.below(up_to) as i64;
    for i in 0..REPORTS {
        later(&mut now, 400_000);
        let mut life = Life {
            report: format!("reports/{}", ordered_id(now, &*intake.entropy)),
            case: String::new(),
            of_report: Head::default(),
            of_case: Head::default(),
            cause: None,
        };
        let accepted = draft(intake.source, &life.report, "report.accepted", None, &"p".repeat(i));
        let accepted = intake.change(accepted, &mut life.of_report, now);
        life.cause = Some(Entry::decode(&accepted.entry).unwrap().id);
        if i == me {
            (entry, chain) = (accepted.entry.to_vec(), accepted.chain.clone().unwrap());
        }
        delivered.push(accepted);
        lives.push(life);
    }
    let is_mine = |change: &StateChange, lives: &[Life]| {
        let record = crate::fixture::decoded(change).record;
        [&lives[me].report, &lives[me].case].contains(&&record)
    };
    // Routed together: one transaction opens the cases in the order of arrival, and another records
    // that at intake.
    later(&mut now, 100_000);
    for life in &mut lives {
        life.case = format!("cases/{}", ordered_id(now, &*routing.entropy));
    }
    let opened: Vec<_> = lives
        .iter_mut()
        .enumerate()
        .map(|(i, life)| {
            let opened = draft(
                routing.source,
                &life.case,
                "case.opened",
                life.cause,
                &"q".repeat(i * 7),
            );
            (opened, &mut life.of_case)
        })
        .collect();
    routing.commit(opened, now).await;
    let opened = routing.deliver(now).await;
    mine.extend(opened.iter().map(|change| is_mine(change, &lives)));
    delivered.extend(opened.iter().cloned());
    later(&mut now, 100_000);
    let routed: Vec<_> = lives
        .iter_mut()
        .map(|life| {
            let case = life.case.clone();
            let cause = opened
                .iter()
                .find(|change| crate::fixture::decoded(change).record == case);
            let cause = cause.map(|change| Entry::decode(&change.entry).unwrap().id);
            (
                draft(intake.source, &life.report, "report.routed", cause, ""),
                &mut life.of_report,
            )
        })
        .collect();
    intake.commit(routed, now).await;
    let routed = intake.deliver(now).await;
    mine.extend(routed.iter().map(|change| is_mine(change, &lives)));
    delivered.extend(routed);
    // Taken over and ended one by one, as people get to them.
    let mut order: Vec<_> = (0..REPORTS).flat_map(|i| [(i, true), (i, false)]).collect();
    dice.shuffle(&mut order);
    for (i, is_case) in order {
        later(&mut now, 60_000_000);
        let life = &mut lives[i];
        let change = match is_case {
            true => {
                let taken = draft(routing.source, &life.case, "case.acknowledged", None, "");
                routing.change(taken, &mut life.of_case, now)
            }
            false => {
                let ended = draft(intake.source, &life.report, "report.closed", None, "");
                intake.change(ended, &mut life.of_report, now)
            }
        };
        mine.push(is_mine(&change, &lives));
        delivered.push(change);
    }
    log.append(&[call(&delivered)]).await.unwrap();
    let size = log.head().await.unwrap().size;
    let public = log.entries(before..size).await.unwrap();
    World {
        known: Known {
            later: public[REPORTS..].to_vec(),
            rank: me,
            name: lives[me].report.clone(),
            entry,
            chain,
        },
        mine,
    }
}

fn within(entry: &[u8], needle: &[u8]) -> bool {
    entry.windows(needle.len()).any(|window| window == needle)
}

fn sha(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

/// A distinguisher scores each candidate; the highest is its pick. It is given the candidates
/// (places among the later entries) and the place of one of them.
type Distinguisher = fn(&Known, &[usize], usize) -> f64;

fn entry_of(known: &Known, place: usize) -> Entry {
    Entry::decode(&known.later[place]).unwrap()
}

fn rank_of(candidates: &[usize], place: usize) -> usize {
    candidates.iter().position(|candidate| *candidate == place).unwrap()
}

fn same_bits(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a ^ b).count_zeros())).sum()
}

/// The commitments that an observer can compute: of every chain that its report may have next, and
/// of details, without a salt or under every salt that it knows or can guess.
fn recomputed(known: &Known, place: usize) -> bool {
    let entry = entry_of(known, place);
    let Content::Change { chain, detail } = entry.content else {
        return false;
    };
    let hash = entry_hash(&known.entry);
    let mut contents = vec![known.chain.content.to_vec()];
    for sequence in 1..5 {
        for previous in [[0; 32], hash] {
            for kind in [
                "report.accepted",
                "report.routed",
                "report.closed",
                "case.opened",
                "case.acknowledged",
            ] {
                for record in [known.name.clone(), known.name.replace("reports/", "cases/")] {
                    let kind = kind.to_owned();
                    contents.push(
                        Chain {
                            record,
                            sequence,
                            previous,
                            kind,
                        }
                        .encode(),
                    );
                }
            }
        }
    }
    // The event that caused it is among the entries, or is the observer's own.
    let ids = known.later.iter().map(|entry| Entry::decode(entry).unwrap().id);
    let own = Entry::decode(&known.entry).unwrap().id;
    let details = ids.chain([own]).map(Some).chain([None]).map(|cause| {
        let mut detail = draft("intake", "", "", cause, "").detail;
        detail.actor.as_mut().unwrap().system.clone_from(&entry.source);
        detail.caused_by = cause.map(|id| id.to_string()).unwrap_or_default();
        detail.encode_to_vec()
    });
    let details: Vec<_> = details.collect();
    let mut id = [0; 32];
    id[..16].copy_from_slice(entry.id.as_bytes());
    let own_salt: [u8; 32] = (*known.chain.salt).try_into().unwrap();
    let salts = [
        [0; 32],
        own_salt,
        hash,
        id,
        sha(&[known.name.as_bytes()]),
        sha(&[&own_salt]),
    ];
    let is_chain = |content: &Vec<u8>| {
        salts.iter().any(|salt| chain_commitment(salt, content) == chain)
            || [sha(&[content]), sha(&[b"remit-chain-v1", content])].contains(&chain)
    };
    let is_detail = |content: &Vec<u8>| {
        salts.iter().any(|salt| detail_commitment(salt, content) == detail)
            || [sha(&[content]), sha(&[b"remit-detail-v1", content])].contains(&detail)
    };
    contents.iter().any(is_chain) || details.iter().any(is_detail)
}

const DISTINGUISHERS: [(&str, Distinguisher); 15] = [
    ("the report's name or id stands in it", |known, _, place| {
        let id: uuid::Uuid = known.name.strip_prefix("reports/").unwrap().parse().unwrap();
        let entry = &known.later[place];
        f64::from(within(entry, known.name.as_bytes()) || within(entry, &id.as_bytes()[..8]))
    }),
    ("a digest of the name stands in it", |known, _, place| {
        let id = known.name.strip_prefix("reports/").unwrap();
        let digests = [
            sha(&[known.name.as_bytes()]),
            sha(&[id.as_bytes()]),
            sha(&[b"\0", known.name.as_bytes()]),
        ];
        f64::from(digests.iter().any(|digest| within(&known.later[place], &digest[..8])))
    }),
    ("it links to the first entry", |known, _, place| {
        let hash = entry_hash(&known.entry);
        f64::from(within(&known.later[place], &hash[..8]) || within(&known.later[place], &hash[24..]))
    }),
    ("a part of the first entry comes again", |known, _, place| {
        let first = Entry::decode(&known.entry).unwrap();
        let Content::Change { chain, detail } = first.content else {
            return 0.0;
        };
        let parts = [
            &chain[..8],
            &detail[..8],
            &first.id.as_bytes()[..8],
            &known.chain.salt[..8],
        ];
        f64::from(parts.iter().any(|part| within(&known.later[place], part)))
    }),
    ("a commitment can be recomputed", |known, _, place| {
        f64::from(recomputed(known, place))
    }),
    ("the longest", |known, _, place| known.later[place].len() as f64),
    ("as long as the name makes it", |known, _, place| {
        -(known.later[place].len().abs_diff(known.entry.len()) as f64)
    }),
    ("the id is nearest", |known, _, place| {
        let own = Entry::decode(&known.entry).unwrap().id.as_u128();
        -(entry_of(known, place).id.as_u128().abs_diff(own) as f64)
    }),
    (
        "as far in the order of ids as it was sent in",
        |known, candidates, place| {
            let mut ids: Vec<_> = candidates.iter().map(|place| entry_of(known, *place).id).collect();
            ids.sort_unstable();
            let id = entry_of(known, place).id;
            -(ids.iter().position(|other| *other == id).unwrap().abs_diff(known.rank) as f64)
        },
    ),
    ("as far in the log as it was sent in", |known, candidates, place| {
        -(rank_of(candidates, place).abs_diff(known.rank) as f64)
    }),
    ("as far in the second part of the log", |known, candidates, place| {
        -(rank_of(candidates, place).abs_diff(known.rank + REPORTS) as f64)
    }),
    ("as far from the end", |known, candidates, place| {
        -((candidates.len() - 1 - rank_of(candidates, place)).abs_diff(known.rank) as f64)
    }),
    ("the part of a second is nearest", |known, _, place| {
        let own = Entry::decode(&known.entry).unwrap().time.0 % 1_000_000;
        -((entry_of(known, place).time.0 % 1_000_000).abs_diff(own) as f64)
    }),
    ("the time is nearest", |known, _, place| {
        let own = Entry::decode(&known.entry).unwrap().time.0;
        -(entry_of(known, place).time.0.abs_diff(own) as f64)
    }),
    ("the bytes are most alike", |known, _, place| {
        same_bits(&known.later[place], &known.entry)
    }),
];

#[tokio::test]
async fn p3_an_observer_does_no_better_than_chance_at_telling_which_later_entries_are_of_a_report() {
    let seed = 20_270_101;
    let backends = [Backend::sqlite(), Backend::sqlite(), Backend::sqlite()];
    let intake = Service::new("intake", &backends[0], seed).await;
    let routing = Service::new("routing", &backends[1], seed + 1).await;
    let log = SqlStore::open(backends[2].url()).await.unwrap();
    let dice = Dice(SeededEntropy::new(seed + 2));
    let mut hits = vec![0_u32; DISTINGUISHERS.len() * 2];
    for n in 0..WORLDS {
        let begin = NOW.plus_seconds(3_600 * i64::try_from(n).unwrap());
        let World { known, mine } = world(&log, &intake, &routing, begin, &dice).await;
        assert_eq!(mine.len(), known.later.len());
        for (side, source) in ["intake", "routing"].into_iter().enumerate() {
            let candidates: Vec<_> = (0..mine.len())
                .filter(|place| entry_of(&known, *place).source == source)
                .collect();
            assert_eq!(candidates.len(), 2 * REPORTS);
            assert_eq!(candidates.iter().filter(|place| mine[**place]).count(), 2);
            for (i, (_, score)) in DISTINGUISHERS.iter().enumerate() {
                // Ties are broken at random.
                let mut any = candidates.clone();
                dice.shuffle(&mut any);
                let scored = any.into_iter().map(|place| (score(&known, &candidates, place), place));
                let (_, pointed) = scored.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
                hits[i * 2 + side] += u32::from(mine[pointed]);
            }
        }
    }
    // Hits are binomial; a fair distinguisher exceeds five standard deviations once in three
    // million.
    let (worlds, chance) = (WORLDS as f64, 1.0 / REPORTS as f64);
    let most = worlds * chance + 5.0 * (worlds * chance * (1.0 - chance)).sqrt();
    for (i, (what, _)) in DISTINGUISHERS.iter().enumerate() {
        for (side, source) in ["intake", "routing"].into_iter().enumerate() {
            let hit = f64::from(hits[i * 2 + side]);
            assert!(
                hit <= most,
                "{what}: {hit} of {worlds} entries of {source} told, where chance gives {}; seed {seed}",
                worlds * chance
            );
        }
    }
}

/// Entries of one moment in log order, and the place of the one that the observer knows.
struct Moment<'a> {
    entries: &'a [Entry],
    known: usize,
}

/// Scores each other entry; the highest is the pick.
type Companion = fn(&Moment<'_>, usize) -> f64;

const COMPANIONS: [(&str, Companion); 8] = [
    ("the next", |moment, place| -(place.abs_diff(moment.known + 1) as f64)),
    ("the one before", |moment, place| {
        -((place + 1).abs_diff(moment.known) as f64)
    }),
    ("the first", |_, place| -(place as f64)),
    ("the last", |_, place| place as f64),
    ("as far from the end", |moment, place| {
        -((moment.entries.len() - 1 - place).abs_diff(moment.known) as f64)
    }),
    ("half the moment further", |moment, place| {
        -(place.abs_diff((moment.known + moment.entries.len() / 2) % moment.entries.len()) as f64)
    }),
    ("the same time", |moment, place| {
        -(moment.entries[place]
            .time
            .0
            .abs_diff(moment.entries[moment.known].time.0) as f64)
    }),
    ("the nearest id", |moment, place| {
        let id = |place: usize| moment.entries[place].id.as_u128();
        -(id(place).abs_diff(id(moment.known)) as f64)
    }),
];

/// Each submission is a transaction of a report and its file, whose first change is older; then one
/// transaction changes each of some cases twice. All happens within a second, as on a busy day, and
/// is delivered together.
#[tokio::test]
async fn p3_an_observer_does_no_better_than_chance_at_telling_which_entries_were_committed_together() {
    let seed = 20_270_102;
    let backend = Backend::sqlite();
    let service = Service::new("intake", &backend, seed).await;
    let dice = Dice(SeededEntropy::new(seed + 1));
    // For each distinguisher, for a report's file and for a case's second change: hits, and the
    // expected number with its variance.
    let mut tally = [[(0.0, 0.0, 0.0); 2]; COMPANIONS.len()];
    for n in 0..WORLDS {
        let begin = NOW.plus_seconds(3_600 * i64::try_from(n).unwrap());
        let name = |collection: &str| format!("{collection}/{}", ordered_id(begin, &*service.entropy));
        let mut files: Vec<_> = (0..REPORTS).map(|_| (name("evidence"), Head::default())).collect();
        for (file, head) in &mut files {
            let uploaded = draft("intake", file, "evidence.uploaded", None, "");
            service.change(uploaded, head, begin);
        }
        let mut now = begin.plus_seconds(60);
        let mut pairs = Vec::new();
        for (file, head) in &mut files {
            now.0 += 1 + dice.below(60_000) as i64;
            let report = name("reports");
            let accepted = draft("intake", &report, "report.accepted", None, "");
            let attached = draft("intake", file, "evidence.attached", None, "");
            let mut of_report = Head::default();
            service
                .commit(vec![(accepted, &mut of_report), (attached, head)], now)
                .await;
            pairs.push((report, file.clone()));
        }
        for _ in 0..REPORTS {
            now.0 += 1 + dice.below(60_000) as i64;
            let (case, mut before) = (name("cases"), Head::default());
            service.change(draft("intake", &case, "case.opened", None, ""), &mut before, begin);
            let mut between = before;
            let missed = draft("intake", &case, "case.clock-missed", None, "");
            service.commit(vec![(missed, &mut between)], now).await;
            let handed_up = draft("intake", &case, "case.escalated", None, "");
            service.commit(vec![(handed_up, &mut between)], now).await;
            pairs.push((case.clone(), case));
        }
        let delivered = service.deliver(now).await;
        let entries: Vec<_> = delivered
            .iter()
            .map(|change| Entry::decode(&change.entry).unwrap())
            .collect();
        let records: Vec<_> = delivered
            .iter()
            .map(|change| crate::fixture::decoded(change).record)
            .collect();
        let of_case = usize::from(n % 2 == 1);
        let (one, other) = &pairs[of_case * REPORTS + dice.below(REPORTS)];
        let known = records.iter().position(|record| record == one).unwrap();
        let companion = records.iter().rposition(|record| record == other).unwrap();
        // Each record's order is kept: a second change is among the later entries.
        let from = if of_case == 1 { known + 1 } else { 0 };
        let mut candidates: Vec<_> = (from..entries.len()).filter(|place| *place != known).collect();
        dice.shuffle(&mut candidates);
        let moment = Moment {
            entries: &entries,
            known,
        };
        let chance = 1.0 / candidates.len() as f64;
        for ((_, score), tally) in COMPANIONS.iter().zip(&mut tally) {
            let scored = candidates.iter().map(|place| (score(&moment, *place), *place));
            let (_, pointed) = scored.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            let (hits, expected, variance) = &mut tally[of_case];
            *hits += f64::from(u32::from(pointed == companion));
            *expected += chance;
            *variance += chance * (1.0 - chance);
        }
    }
    for ((what, _), tally) in COMPANIONS.iter().zip(tally) {
        for (whose, (hits, expected, variance)) in ["a report's file", "a case's second change"].into_iter().zip(tally)
        {
            assert!(
                hits <= expected + 5.0 * variance.sqrt(),
                "{what} is {whose} {hits} times, where chance gives {expected:.1}; seed {seed}"
            );
        }
    }
}
