//! Routing's store in SQLite or PostgreSQL: what it writes. What it reads is in `read.rs`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::event::{Actor, Detail};
use async_trait::async_trait;
use journal::{Arrival, Bytes32, Delivery, Draft, Entropy, Head, Inbox, Time, ordered_id, seal};
use prost::Message as _;
use sql::{Db, Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{
    Acknowledged, Acknowledgement, Cursor, FeedItem, MissedClock, ReportNews, RequestId, Route, Store, StoredCase,
    Viewer, name, read, report_name, rows,
    simulations::{OPENINGS, opening_row},
    versions::{self, Activated, Activation, NewVersion, PastActivation, VersionInfo, Versions},
};
use crate::{
    active::{Active, Current, VersionKind},
    calendar::Calendars,
    directory::{self, AgencyId, Directory},
    rules::RuleSet,
    state::{Case, Matter, Refusal, Rules, State, Transition},
    view,
};

const CASES: Insert = Insert::into(
    "cases",
    &[
        ("id", Kind::Text),
        ("category", Kind::Text),
        ("urgent", Kind::Int),
        ("open_time", Kind::Int),
        ("facts", Kind::Bytes),
        ("explanation", Kind::Bytes),
        ("excluded", Kind::Text),
        ("last_resort", Kind::Text),
        ("acknowledge_clock", Kind::Text),
        ("result_clock", Kind::Text),
    ],
);

const STATES: Insert = Insert::into(
    "case_states",
    &[
        ("case_id", Kind::Text),
        ("state", Kind::Text),
        ("owner", Kind::Text),
        ("supporting", Kind::Text),
        ("clock_kind", Kind::Text),
        ("clock_generation", Kind::Int),
        ("clock_due", Kind::Int),
        ("clock_provisional", Kind::Int),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
    ],
)
.then(
    "ON CONFLICT (case_id) DO UPDATE SET state = excluded.state, owner = excluded.owner, \
     supporting = excluded.supporting, clock_kind = excluded.clock_kind, \
     clock_generation = excluded.clock_generation, clock_due = excluded.clock_due, \
     clock_provisional = excluded.clock_provisional, sequence = excluded.sequence, hash = excluded.hash, \
     change_time = excluded.change_time",
);

/// A report that is there already fails the transaction, on purpose: two replicas that take the same delivery at the same
/// time both find an empty inbox. The one that comes second is run again, and finds the change taken.
const REPORTS: Insert = Insert::into("case_reports", &[("report", Kind::Text), ("case_id", Kind::Text)]);

const PARTIES: Insert = Insert::into(
    "case_parties",
    &[
        ("case_id", Kind::Text),
        ("agency", Kind::Text),
        ("role", Kind::Text),
        ("open_time", Kind::Int),
    ],
);

const FEED: Insert = Insert::into(
    "feed",
    &[
        ("agency", Kind::Text),
        ("position", Kind::Int),
        ("case_id", Kind::Text),
        ("kind", Kind::Text),
        ("change_time", Kind::Int),
    ],
);

const FORGOTTEN: Insert = Insert::into("feed_forgotten", &[("agency", Kind::Text), ("position", Kind::Int)]).then(
    "ON CONFLICT (agency) DO UPDATE SET position = excluded.position \
     WHERE excluded.position > feed_forgotten.position",
);

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

/// A store in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    pub(super) db: Db,
    current: Arc<Current>,
    calendars: Arc<Calendars>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("engine", &self.db.engine())
            .finish_non_exhaustive()
    }
}

/// A change of a case on its way into the tables.
struct Changed {
    id: Uuid,
    open_time: Time,
    /// `None` when it is opened.
    before: Option<Case>,
    after: Case,
    delivery: Delivery,
}

/// A case whose row in `case_states` is locked.
struct Locked {
    stored: StoredCase,
    matter: Matter,
}

/// A change as the feed tells it.
struct News {
    case: Uuid,
    kind: &'static str,
    time: Time,
    /// Who sees the case before it or after.
    audience: BTreeSet<String>,
}

/// What the log and intake are told of a change, beside the case itself.
struct Told<'a> {
    actor: Actor,
    caused_by: Option<Uuid>,
    traceparent: String,
    /// Set when the change opens the case.
    route: Option<&'a Route>,
}

impl SqlStore {
    /// In an open database, where `current` was found to be active.
    pub fn new(db: Db, current: Arc<Current>, calendars: Arc<Calendars>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            db,
            current,
            calendars,
            entropy,
        }
    }

    fn rules<'a>(&'a self, directory: &'a Directory, now: Time) -> Rules<'a> {
        Rules {
            directory,
            calendars: &self.calendars,
            now,
        }
    }

    async fn try_open(&self, tx: &mut Tx, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let mut inbox = Inbox::load(tx, news.iter().map(|news| news.entry.record.clone()).collect()).await?;
        let mut arrivals = Vec::with_capacity(news.len());
        let mut cases = Vec::new();
        let mut reports = Vec::new();
        let mut openings = Vec::new();
        let mut changed = Vec::new();
        for news in news {
            let arrival = inbox.check(&news.entry, &news.hash);
            if arrival == Arrival::New {
                inbox.advance(&news.entry, news.hash);
                if let Some(route) = &news.route {
                    let route = &*still(route, &active);
                    let id = ordered_id(now, &*self.entropy);
                    let matter = Matter {
                        excluded: route
                            .facts
                            .excluded
                            .iter()
                            .filter_map(|text| crate::facts::agency_id(text))
                            .collect(),
                        last_resort: active.rules.last_resort().to_vec(),
                        clocks: route.decision.clocks,
                    };
                    cases.push(case_row(id, route, &matter, now));
                    reports.push([news.report.to_string().into(), id.to_string().into()]);
                    let opened = self.opened(id, news, route, &matter, &active.directory, now);
                    openings.push(opening_row(id, &opened.delivery.change));
                    changed.push(opened);
                }
            }
            arrivals.push(arrival);
        }
        CASES.rows(tx, cases).await?;
        REPORTS.rows(tx, reports).await?;
        OPENINGS.rows(tx, openings).await?;
        inbox.save(tx).await?;
        self.write(tx, changed).await?;
        Ok(arrivals)
    }

    fn opened(
        &self,
        id: Uuid,
        news: &ReportNews,
        route: &Route,
        matter: &Matter,
        directory: &Directory,
        now: Time,
    ) -> Changed {
        let told = Told {
            actor: ourselves(),
            caused_by: Some(news.entry.event_id),
            traceparent: news.traceparent.clone(),
            route: Some(route),
        };
        let transition = self.rules(directory, now).open(&route.decision);
        let delivery = self.delivery(
            id,
            None,
            &Head::default(),
            &transition,
            matter,
            vec![report_name(news.report)],
            told,
            directory,
            now,
        );
        Changed {
            id,
            open_time: now,
            before: None,
            after: transition.case,
            delivery,
        }
    }

    async fn try_acknowledge(
        &self,
        tx: &mut Tx,
        batch: &[Acknowledgement],
        now: Time,
    ) -> Result<Vec<Acknowledged>, Error> {
        let directory = &self.current.get().directory;
        // Cases first: whoever waits here for another transaction sees that one's requests below.
        let ids = batch.iter().map(|command| command.case.to_string()).collect();
        let mut locked = lock(
            tx,
            "SELECT case_id, state, owner, supporting, clock_kind, clock_generation, clock_due, clock_provisional, \
             sequence, hash, change_time FROM case_states WHERE case_id = ANY($1) ORDER BY case_id FOR UPDATE",
            vec![Value::Texts(ids)],
        )
        .await?;
        let mut answered = earlier_answers(tx, batch).await?;
        let mut requests = BTreeMap::new();
        let mut changed = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        for command in batch {
            let key = command
                .request
                .as_ref()
                .map(|request| (request.caller.clone(), request.id));
            if let (Some(request), Some((fingerprint, case))) =
                (&command.request, key.as_ref().and_then(|key| answered.get(key)))
            {
                answers.push(match *fingerprint == request.fingerprint {
                    true => Acknowledged::Case(Box::new(case.clone())),
                    false => Acknowledged::RequestIdReused,
                });
                continue;
            }
            let Some(case) = locked.get_mut(&command.case) else {
                answers.push(Acknowledged::NotFound);
                continue;
            };
            let now = now.max(case.stored.head.time);
            let transition =
                match self
                    .rules(directory, now)
                    .acknowledge(&case.stored.case, &case.matter, &command.agency)
                {
                    Err(Refusal::Stranger) => Err(Acknowledged::NotFound),
                    Err(Refusal::NotLead) => Err(Acknowledged::NotLead),
                    _ if !command.etag.is_empty() && command.etag != view::etag(&case.stored.head) => {
                        Err(Acknowledged::EtagMismatch)
                    }
                    Err(Refusal::WrongState(state)) => Err(Acknowledged::WrongState(state)),
                    Ok(transition) => Ok(transition),
                };
            answers.push(match transition {
                Err(refused) => refused,
                Ok(transition) => {
                    let told = Told {
                        actor: command.actor.clone(),
                        caused_by: None,
                        traceparent: command.traceparent.clone(),
                        route: None,
                    };
                    changed.push(self.change(case, transition, told, directory, now));
                    let viewer = Viewer::Agency(command.agency.clone());
                    let answer = view::case(&case.stored, &viewer, directory);
                    if let (Some(request), Some(key)) = (&command.request, key) {
                        requests.insert(key.clone(), request_row(request, &answer, now));
                        answered.insert(key, (request.fingerprint, answer.clone()));
                    }
                    Acknowledged::Case(Box::new(answer))
                }
            });
        }
        REQUESTS.rows(tx, requests.into_values().collect()).await?;
        self.write(tx, changed).await?;
        Ok(answers)
    }

    async fn try_hand_up(&self, tx: &mut Tx, missed: &[MissedClock], now: Time) -> Result<usize, Error> {
        // Who gets the case has to be in the directory that is active when it does.
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let generations: BTreeMap<Uuid, u64> = missed.iter().map(|missed| (missed.case, missed.generation)).collect();
        // A case that is locked is being acknowledged, or handed up by another replica: if its clock still runs out, the
        // next look finds it.
        let locked = lock(
            tx,
            "SELECT case_id, state, owner, supporting, clock_kind, clock_generation, clock_due, clock_provisional, \
             sequence, hash, change_time FROM case_states WHERE case_id = ANY($1) ORDER BY case_id \
             FOR UPDATE SKIP LOCKED",
            vec![Value::Texts(generations.keys().map(Uuid::to_string).collect())],
        )
        .await?;
        let mut changed = Vec::new();
        for (id, mut case) in locked {
            let now = now.max(case.stored.head.time);
            let generation = generations.get(&id).copied().unwrap_or(0);
            if let Some(transition) =
                self.rules(directory, now)
                    .clock_missed(&case.stored.case, &case.matter, generation)
            {
                let told = Told {
                    actor: ourselves(),
                    caused_by: None,
                    // Nobody's request: time did it.
                    traceparent: String::new(),
                    route: None,
                };
                changed.push(self.change(&mut case, transition, told, directory, now));
            }
        }
        let ended = changed.len();
        self.write(tx, changed).await?;
        Ok(ended)
    }

    async fn try_succeed(&self, tx: &mut Tx, now: Time, limit: u32) -> Result<usize, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let today = directory::day(now);
        let ended: Vec<String> = directory.ended(today).map(|agency| agency.id.to_string()).collect();
        let ids = read::cases_of(tx, ended, limit).await?;
        let locked = lock(
            tx,
            "SELECT case_id, state, owner, supporting, clock_kind, clock_generation, clock_due, clock_provisional, \
             sequence, hash, change_time FROM case_states WHERE case_id = ANY($1) ORDER BY case_id \
             FOR UPDATE SKIP LOCKED",
            vec![Value::Texts(ids)],
        )
        .await?;
        let mut changed = Vec::new();
        for (_, mut case) in locked {
            let now = now.max(case.stored.head.time);
            if let Some(transition) = self
                .rules(directory, now)
                .succeeded(&case.stored.case, &case.matter, today)
            {
                let told = Told {
                    actor: ourselves(),
                    caused_by: None,
                    // Nobody's request: a day ended.
                    traceparent: String::new(),
                    route: None,
                };
                changed.push(self.change(&mut case, transition, told, directory, now));
            }
        }
        let handed = changed.len();
        self.write(tx, changed).await?;
        Ok(handed)
    }

    /// Applies a transition to a locked case.
    fn change(
        &self,
        case: &mut Locked,
        transition: Transition,
        told: Told<'_>,
        directory: &Directory,
        now: Time,
    ) -> Changed {
        let Locked { stored, matter } = case;
        let delivery = self.delivery(
            stored.id,
            Some(&stored.case),
            &stored.head,
            &transition,
            matter,
            stored.reports.iter().copied().map(report_name).collect(),
            told,
            directory,
            now,
        );
        stored.head = delivery.change.head;
        Changed {
            id: stored.id,
            open_time: stored.open_time,
            before: Some(std::mem::replace(&mut stored.case, transition.case.clone())),
            after: transition.case,
            delivery,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all that a change consists of, in the one place that puts it together"
    )]
    fn delivery(
        &self,
        id: Uuid,
        before: Option<&Case>,
        head: &Head,
        transition: &Transition,
        matter: &Matter,
        reports: Vec<String>,
        told: Told<'_>,
        directory: &Directory,
        now: Time,
    ) -> Delivery {
        let draft = Draft {
            source: "routing",
            record: &name(id),
            kind: transition.kind,
            caused_by: told.caused_by,
            detail: Detail {
                from_state: before.map(|case| case.state.name().to_owned()).unwrap_or_default(),
                to_state: transition.case.state.name().to_owned(),
                actor: Some(told.actor),
                route: told.route.map(|route| view::route(&route.decision)),
                clock: transition.case.duty.as_ref().map(view::clock),
                ..Default::default()
            },
            traceparent: told.traceparent,
        };
        let change = seal(draft, head, now, &*self.entropy);
        let advice = told.route.and_then(|route| view::advice(&route.decision));
        let intake = view::case_change(&change, &transition.case, matter, reports, advice, directory);
        let audit = change.with_detail().encode_to_vec();
        Delivery {
            change,
            payloads: vec![("intake", intake.encode_to_vec()), ("audit", audit)],
        }
    }

    /// Writes changes of different cases: the states, who sees them, the journal, and last of all the feed.
    async fn write(&self, tx: &mut Tx, changed: Vec<Changed>) -> Result<(), Error> {
        if changed.is_empty() {
            return Ok(());
        }
        let states = changed
            .iter()
            .map(|changed| rows::state_row(changed.id, &changed.after, &changed.delivery.change.head))
            .collect();
        STATES.rows(tx, states).await?;

        let mut left = Vec::new();
        let mut parties = Vec::new();
        let mut news = Vec::new();
        for changed in &changed {
            let before = changed.before.as_ref().map(roles).unwrap_or_default();
            let after = roles(&changed.after);
            if before != after {
                if !before.is_empty() {
                    left.push(changed.id.to_string());
                }
                parties.extend(after.iter().map(|(agency, role)| {
                    [
                        changed.id.to_string().into(),
                        agency.as_str().into(),
                        (*role).into(),
                        changed.open_time.0.into(),
                    ]
                }));
            }
            let audience: BTreeSet<String> = before.into_keys().chain(after.into_keys()).collect();
            if !audience.is_empty() {
                let change = &changed.delivery.change;
                news.push(News {
                    case: changed.id,
                    kind: change.kind,
                    time: change.head.time,
                    audience,
                });
            }
        }
        if !left.is_empty() {
            tx.execute("DELETE FROM case_parties WHERE case_id = ANY($1)", vec![left.into()])
                .await?;
        }
        PARTIES.rows(tx, parties).await?;
        journal::append(tx, changed.into_iter().map(|changed| changed.delivery).collect()).await?;
        feed(tx, news).await
    }
}

/// A route as it is: decided by what is active, or decided again.
fn still<'a>(route: &'a Route, active: &Active) -> Cow<'a, Route> {
    let (explanation, digests) = (&route.decision.explanation, active.digests());
    if explanation.directory_digest == digests.directory[..] && explanation.rule_set_digest == digests.rules[..] {
        return Cow::Borrowed(route);
    }
    Cow::Owned(Route {
        decision: crate::decide::decide(&route.facts, &active.rules, &active.directory),
        facts: route.facts.clone(),
    })
}

/// Actor of what no caller asked for.
pub(crate) fn ourselves() -> Actor {
    Actor {
        system: "routing".to_owned(),
        ..Default::default()
    }
}

/// Who sees a case, and as what.
fn roles(case: &Case) -> BTreeMap<String, &'static str> {
    let owner = case.duty.iter().map(|duty| {
        let role = if case.state.has_lead() { "lead" } else { "designating" };
        (duty.owner.to_string(), role)
    });
    let supporting = case.supporting.iter().map(|agency| (agency.to_string(), "supporting"));
    // The owner last: whoever owns a case does not also support it.
    supporting.chain(owner).collect()
}

/// Gives each change its position and tells those who see it.
///
/// The row of the head is locked from here to the commit, and for nothing before: positions are given in the order of
/// commits, without gaps, and whoever read up to one has missed none below it.
async fn feed(tx: &mut Tx, news: Vec<News>) -> Result<(), Error> {
    if news.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(news.len()).map_err(|error| rows::damaged("batch", error))?;
    let head: i64 = tx
        .fetch_optional(
            "UPDATE feed_head SET position = position + $1 WHERE id = 1 RETURNING position",
            vec![count.into()],
        )
        .await?
        .ok_or_else(|| rows::damaged("feed head", "it is missing"))?
        .get(0)?;
    let rows = news
        .into_iter()
        .zip(head - count + 1..)
        .flat_map(|(news, position)| {
            news.audience.into_iter().map(move |agency| {
                [
                    agency.into(),
                    position.into(),
                    news.case.to_string().into(),
                    news.kind.into(),
                    news.time.0.into(),
                ]
            })
        })
        .collect();
    FEED.rows(tx, rows).await.map(drop)
}

/// Deletes the oldest changes, and remembers for each agency up to where.
async fn forget_feed(tx: &mut Tx, before: Time, limit: u32) -> Result<u64, Error> {
    let gone = tx
        .fetch(
            "WITH old AS MATERIALIZED (SELECT agency, position FROM feed WHERE change_time < $1 \
             ORDER BY change_time LIMIT $2 FOR UPDATE SKIP LOCKED) \
             DELETE FROM feed WHERE (agency, position) IN (SELECT agency, position FROM old) \
             RETURNING agency, position",
            vec![before.0.into(), i64::from(limit).into()],
        )
        .await?;
    let mut forgotten: BTreeMap<String, i64> = BTreeMap::new();
    for row in &gone {
        let position: i64 = row.get(1)?;
        let last = forgotten.entry(row.get(0)?).or_default();
        *last = position.max(*last);
    }
    let rows = forgotten
        .into_iter()
        .map(|(agency, position)| [agency.into(), position.into()])
        .collect();
    FORGOTTEN.rows(tx, rows).await?;
    Ok(gone.len() as u64)
}

fn case_row(id: Uuid, route: &Route, matter: &Matter, now: Time) -> [Value; 10] {
    [
        id.to_string().into(),
        route.facts.category.as_str().into(),
        route.facts.urgent.into(),
        now.0.into(),
        route.facts.encode_to_vec().into(),
        route.decision.explanation.encode_to_vec().into(),
        rows::agencies_text(&matter.excluded).into(),
        rows::agencies_text(&matter.last_resort).into(),
        Value::text_or_null(matter.clocks.map(|clocks| rows::clock_text(clocks.acknowledge))),
        Value::text_or_null(matter.clocks.map(|clocks| rows::clock_text(clocks.result))),
    ]
}

fn request_row(request: &RequestId, answer: &api::routing::Case, now: Time) -> [Value; 5] {
    [
        request.caller.as_str().into(),
        request.id.to_string().into(),
        request.fingerprint.into(),
        answer.encode_to_vec().into(),
        now.0.into(),
    ]
}

/// Locks rows of `case_states` and loads their cases.
async fn lock(tx: &mut Tx, statement: &'static str, values: Vec<Value>) -> Result<BTreeMap<Uuid, Locked>, Error> {
    let standing = tx
        .fetch(statement, values)
        .await?
        .iter()
        .map(|row| Ok((rows::uuid(row, 0)?, rows::standing(row, 1)?)))
        .collect::<Result<BTreeMap<_, _>, Error>>()?;
    if standing.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<String> = standing.keys().map(Uuid::to_string).collect();
    let found = tx
        .fetch(
            "SELECT id, category, urgent, open_time, explanation, excluded, last_resort, acknowledge_clock, result_clock \
             FROM cases WHERE id = ANY($1)",
            vec![ids.clone().into()],
        )
        .await?;
    let mut reports = read::reports(&tx.fetch(read::REPORTS_OF, vec![ids.into()]).await?)?;
    found
        .iter()
        .map(|row| {
            let id = rows::uuid(row, 0)?;
            let (case, head) = standing
                .get(&id)
                .cloned()
                .ok_or_else(|| rows::damaged("case", "it has no state"))?;
            let stored = StoredCase {
                id,
                category: row.get(1)?,
                urgent: row.get::<i64>(2)? != 0,
                open_time: Time(row.get(3)?),
                explanation: Some(rows::explanation(row, 4)?),
                case,
                head,
                reports: reports.remove(&id).unwrap_or_default(),
            };
            let matter = rows::matter(row, 5)?;
            Ok((id, Locked { stored, matter }))
        })
        .collect()
}

type Answers = BTreeMap<(String, Uuid), ([u8; 32], api::routing::Case)>;

/// The first answers to the request ids in a batch.
async fn earlier_answers(tx: &mut Tx, batch: &[Acknowledgement]) -> Result<Answers, Error> {
    let ids: Vec<String> = batch
        .iter()
        .filter_map(|command| Some(command.request.as_ref()?.id.to_string()))
        .collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    tx.fetch(
        "SELECT caller, request_id, fingerprint, answer FROM requests WHERE request_id = ANY($1)",
        vec![ids.into()],
    )
    .await?
    .iter()
    .map(|row| {
        let answer: Vec<u8> = row.get(3)?;
        let answer = api::routing::Case::decode(answer.as_slice()).map_err(|error| rows::damaged("answer", error))?;
        Ok((
            (row.get(0)?, rows::uuid(row, 1)?),
            (row.array(2, "fingerprint")?, answer),
        ))
    })
    .collect()
}

#[async_trait]
impl Store for SqlStore {
    async fn open(&self, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error> {
        sql::transact!(self.db, |tx| self.try_open(&mut tx, news, now))
    }

    async fn acknowledge(&self, batch: &[Acknowledgement], now: Time) -> Result<Vec<Acknowledged>, Error> {
        sql::transact!(self.db, |tx| self.try_acknowledge(&mut tx, batch, now))
    }

    async fn missed(&self, now: Time, limit: u32) -> Result<Vec<MissedClock>, Error> {
        read::missed(&self.db, now, limit).await
    }

    async fn hand_up(&self, missed: &[MissedClock], now: Time) -> Result<usize, Error> {
        sql::transact!(self.db, |tx| self.try_hand_up(&mut tx, missed, now))
    }

    async fn succeed(&self, now: Time, limit: u32) -> Result<usize, Error> {
        // Most looks end here: nobody has ended.
        if self.current.get().directory.ended(directory::day(now)).next().is_none() {
            return Ok(0);
        }
        sql::transact!(self.db, |tx| self.try_succeed(&mut tx, now, limit))
    }

    async fn case(&self, id: Uuid, viewer: &Viewer) -> Result<Option<StoredCase>, Error> {
        read::case(&self.db, id, viewer).await
    }

    async fn cases(
        &self,
        viewer: &Viewer,
        state: Option<State>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<StoredCase>, Error> {
        read::cases(&self.db, viewer, state, after, limit).await
    }

    async fn leads(&self, agency: &AgencyId, report: Uuid) -> Result<bool, Error> {
        read::leads(&self.db, agency, report).await
    }

    async fn feed(&self, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error> {
        read::feed(&self.db, agency, after, limit).await
    }

    async fn feed_reaches(&self, agency: &AgencyId, position: u64) -> Result<bool, Error> {
        read::feed_reaches(&self.db, agency, position).await
    }

    async fn forget_feed(&self, before: Time, limit: u32) -> Result<u64, Error> {
        sql::transact!(self.db, |tx| forget_feed(&mut tx, before, limit))
    }

    async fn forget_requests(&self, before: Time, limit: u32) -> Result<u64, Error> {
        sql::transact!(self.db, |tx| tx.execute(
            "WITH old AS MATERIALIZED (SELECT caller, request_id FROM requests WHERE answer_time < $1 \
             ORDER BY answer_time LIMIT $2 FOR UPDATE SKIP LOCKED) \
             DELETE FROM requests WHERE (caller, request_id) IN (SELECT caller, request_id FROM old)",
            vec![before.0.into(), i64::from(limit).into()],
        ))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.db.ping().await
    }
}

#[async_trait]
impl Versions for SqlStore {
    fn active(&self) -> Arc<Active> {
        self.current.get()
    }

    async fn refresh(&self) -> Result<bool, Error> {
        let standings = versions::standings(&self.db).await?;
        if standings.is_none_or(|standings| standings.digests() == self.current.get().digests()) {
            return Ok(false);
        }
        sql::transact!(self.db, |tx| versions::hold(&mut tx, &self.current))?;
        Ok(true)
    }

    async fn create(&self, version: &NewVersion, now: Time) -> Result<bool, Error> {
        sql::transact!(self.db, |tx| versions::try_create(
            &mut tx,
            version,
            &*self.entropy,
            now
        ))
    }

    async fn activate(&self, activation: &Activation, now: Time) -> Result<Activated, Error> {
        let activated = sql::transact!(self.db, |tx| versions::try_activate(
            &mut tx,
            activation,
            &*self.entropy,
            now
        ))?;
        match &activated {
            Activated::Done(active) => self.current.advance(active),
            Activated::Outdated => drop(self.refresh().await?),
            Activated::Unchanged | Activated::Ownerless(_) => {}
        }
        Ok(activated)
    }

    async fn ownerless(&self, directory: &Directory) -> Result<versions::Ownerless, Error> {
        sql::transact!(self.db, |tx| versions::ownerless(&mut tx, directory))
    }

    async fn directory(&self, digest: &[u8]) -> Result<Option<Directory>, Error> {
        versions::read_directory(&mut &self.db, digest).await
    }

    async fn rule_set(&self, digest: &[u8], directory: &Directory) -> Result<Option<RuleSet>, Error> {
        versions::read_rule_set(&mut &self.db, digest, directory).await
    }

    async fn source(&self, kind: VersionKind, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        versions::source(&self.db, kind, digest).await
    }

    async fn versions(
        &self,
        kind: VersionKind,
        after: Option<(Time, Bytes32)>,
        limit: u32,
    ) -> Result<Vec<VersionInfo>, Error> {
        versions::versions(&self.db, kind, after, limit).await
    }

    async fn activations(
        &self,
        kind: VersionKind,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PastActivation>, Error> {
        versions::activations(&self.db, kind, below, limit).await
    }
}
