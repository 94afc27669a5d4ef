//! What is done with cases, each in one transaction: opened, taken over, handed up, handed to successors.

use std::{borrow::Cow, collections::BTreeMap};

use journal::{Arrival, Head, Inbox, Time, ordered_id};
use prost::Message as _;
use sql::{Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{
    Acknowledged, Acknowledgement, MissedClock, ReportNews, RequestId, Route, Viewer,
    change::{Changed, Others, Told, lock, ourselves},
    read, report_name, rows,
    simulations::{OPENINGS, opening_row},
    sql::SqlStore,
    versions,
};
use crate::{
    active::Active,
    directory::{self, Directory},
    state::{Matter, Refusal},
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

/// A report that is there already fails the transaction, on purpose: two replicas that take the same delivery at the same
/// time both find an empty inbox. The one that comes second is run again, and finds the change taken.
const REPORTS: Insert = Insert::into("case_reports", &[("report", Kind::Text), ("case_id", Kind::Text)]);

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

impl SqlStore {
    pub(super) async fn try_open(&self, tx: &mut Tx, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error> {
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

    pub(super) async fn try_acknowledge(
        &self,
        tx: &mut Tx,
        batch: &[Acknowledgement],
        now: Time,
    ) -> Result<Vec<Acknowledged>, Error> {
        let directory = &self.current.get().directory;
        // Cases first: whoever waits here for another transaction sees that one's requests below.
        let ids = batch.iter().map(|command| command.case.to_string()).collect();
        let mut locked = lock(tx, Others::AreWaitedFor, ids).await?;
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

    pub(super) async fn try_hand_up(&self, tx: &mut Tx, missed: &[MissedClock], now: Time) -> Result<usize, Error> {
        // Who gets the case has to be in the directory that is active when it does.
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let generations: BTreeMap<Uuid, u64> = missed.iter().map(|missed| (missed.case, missed.generation)).collect();
        // A case that is locked is being acknowledged, or handed up by another replica: if its clock still runs out, the
        // next look finds it.
        let locked = lock(
            tx,
            Others::KeepTheirs,
            generations.keys().map(Uuid::to_string).collect(),
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
                changed.push(self.change(&mut case, transition, Told::by_time(), directory, now));
            }
        }
        let ended = changed.len();
        self.write(tx, changed).await?;
        Ok(ended)
    }

    pub(super) async fn try_succeed(&self, tx: &mut Tx, now: Time, limit: u32) -> Result<usize, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let today = directory::day(now);
        let ended: Vec<String> = directory.ended(today).map(|agency| agency.id.to_string()).collect();
        let ids = read::cases_of(tx, ended, limit).await?;
        let locked = lock(tx, Others::KeepTheirs, ids).await?;
        let mut changed = Vec::new();
        for (_, mut case) in locked {
            let now = now.max(case.stored.head.time);
            if let Some(transition) = self
                .rules(directory, now)
                .succeeded(&case.stored.case, &case.matter, today)
            {
                changed.push(self.change(&mut case, transition, Told::by_time(), directory, now));
            }
        }
        let handed = changed.len();
        self.write(tx, changed).await?;
        Ok(handed)
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
