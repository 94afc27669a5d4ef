//! A report follows its case.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    event::{Detail, DispositionKind},
    intake::CaseChange,
    routing::ReportChange,
};
use journal::{Arrival, Change, Delivery, Draft, Entropy, Head, Inbox, Lane, Opened, Payload, Time};
use prost::Message as _;
use sql::{Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{
    CaseNews, Sender, SqlStore, feed, name,
    sql_store::{agency, case_of, parse_id, parse_state},
};
use crate::{outcome::told, state::State};

pub(super) const STATES: Insert = Insert::into(
    "report_states",
    &[
        ("report", Kind::Text),
        ("state", Kind::Text),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
        ("known_time", Kind::Int),
        ("case_view", Kind::Bytes),
    ],
)
.then(
    "ON CONFLICT (report) DO UPDATE SET state = excluded.state, sequence = excluded.sequence, hash = excluded.hash, \
     change_time = excluded.change_time, known_time = excluded.known_time, case_view = excluded.case_view",
);

const STEPS: Insert = Insert::into(
    "report_steps",
    &[
        ("report", Kind::Text),
        ("record", Kind::Text),
        ("sequence", Kind::Int),
        ("change_time", Kind::Int),
        ("step", Kind::Bytes),
    ],
);

impl SqlStore {
    pub(super) async fn try_record(&self, tx: &mut Tx, news: &[CaseNews], now: Time) -> Result<Vec<Arrival>, Error> {
        let mut inbox = Inbox::load(tx, news.iter().map(|news| news.entry.record.clone()).collect()).await?;
        let ids: BTreeSet<String> = news
            .iter()
            .flat_map(|news| &news.change.reports)
            .filter_map(|name| Some(names::REPORT.id(name)?.to_string()))
            .collect();
        let mut reports = load_states(tx, ids.into_iter().collect()).await?;

        let (mut deliveries, mut steps, mut told_senders) = (Vec::new(), Vec::new(), Vec::new());
        let mut arrivals = Vec::with_capacity(news.len());
        for news in news {
            let arrival = inbox.check(&news.entry);
            if arrival == Arrival::New {
                inbox.advance(&news.entry);
                let step = told(&news.entry, &news.change).map(|step| step.encode_to_vec());
                let told_report = &news.change.told_report;
                for name in &news.change.reports {
                    // What one reporter says is told to no other.
                    let step = step.clone().filter(|_| told_report.is_empty() || told_report == name);
                    let id = names::REPORT.id(name).map(|id| id.to_string());
                    let Some(report) = id.and_then(|id| reports.get_mut(&id)) else {
                        continue;
                    };
                    steps.extend(step.map(|step| step_row(report.report, &news.entry, step)));
                    let (delivery, told) = report.follow(news, now, &*self.entropy)?;
                    deliveries.extend(delivery);
                    told_senders.extend(told);
                }
            }
            arrivals.push(arrival);
        }
        inbox.save(tx).await?;
        STEPS.rows(tx, steps).await?;
        let changed = reports.into_values().filter(|report| report.touched);
        STATES
            .rows(
                tx,
                changed
                    .map(|report| state_row(report.report, report.state, report.head, report.known_time, report.case))
                    .collect(),
            )
            .await?;
        journal::append(tx, deliveries).await?;
        // Last, as it says.
        feed::feed(tx, told_senders, now).await?;
        Ok(arrivals)
    }
}

fn step_row(report: Uuid, entry: &Opened, step: Vec<u8>) -> [Value; 5] {
    [
        report.into(),
        entry.record.clone().into(),
        entry.sequence.cast_signed().into(),
        entry.time.0.into(),
        step.into(),
    ]
}

/// A report's state while a change of it is made.
pub(super) struct Current {
    report: Uuid,
    pub(super) state: State,
    pub(super) head: Head,
    pub(super) known_time: Time,
    pub(super) case: Option<Vec<u8>>,
    pub(super) lane: Lane,
    sender: Sender,
    touched: bool,
}

impl Current {
    /// Follows a change of the case. Returns the report's own change, and what its sender is told.
    fn follow(
        &mut self,
        news: &CaseNews,
        now: Time,
        entropy: &dyn Entropy,
    ) -> Result<(Option<Delivery>, Option<feed::Item>), Error> {
        self.touched = true;
        let (before, case_before) = (self.state, self.case.take());
        // Only the change that files it says under what.
        let category = match news.change.category.as_str() {
            "" => case_of(case_before.as_deref())?.unwrap_or_default().category,
            category => category.to_owned(),
        };
        // Routing's clock may be ahead.
        self.known_time = self.known_time.max(news.entry.time.min(now));
        self.case = Some(
            CaseChange {
                change: None,
                reports: Vec::new(),
                category,
                ..news.change.clone()
            }
            .encode_to_vec(),
        );
        let outcome = news.change.outcome.as_ref();
        let is_withdrawn = outcome.is_some_and(|outcome| outcome.kind() == DispositionKind::Withdrawn);
        let next = self.state.follow(news.state, is_withdrawn);
        let delivery = next.map(|next| self.become_state(next, news, now, entropy));
        let told = feed::news(
            (before, case_before.as_deref()),
            self.state,
            &news.entry.kind,
            news.entry.time.min(now),
            &news.change,
        )?;
        let told = told.map(|news| feed::Item {
            owner: self.sender.owner(),
            report: self.report,
            news,
        });
        Ok((delivery, told))
    }

    fn become_state(&mut self, next: State, news: &CaseNews, now: Time, entropy: &dyn Entropy) -> Delivery {
        let draft = Draft {
            source: "intake",
            record: &name(self.report),
            kind: next.kind().name(),
            caused_by: Some(news.entry.event_id),
            detail: Detail {
                from_state: self.state.name().to_owned(),
                to_state: next.name().to_owned(),
                actor: Some(api::event::Actor {
                    system: "intake".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            traceparent: news.traceparent.clone(),
        };
        let change = draft.into_change(&self.head, now, entropy);
        self.head = change.head;
        self.state = next;
        delivery(change, self.lane.clone(), ReportChange::default())
    }
}

pub(super) async fn load_states(tx: &mut Tx, ids: Vec<String>) -> Result<BTreeMap<String, Current>, Error> {
    // The row of `reports` always exists and can be locked; the view's cannot.
    let locked = tx
        .fetch(
            "SELECT id, caller, agency, urgent FROM reports WHERE id = ANY($1) ORDER BY id FOR UPDATE",
            vec![ids.clone().into()],
        )
        .await?;
    let mut senders = locked
        .iter()
        .map(|row| {
            let sender = Sender {
                system: row.get("caller")?,
                agency: agency(row)?,
            };
            let lane = lane(&sender.system, row.get::<i64>("urgent")? != 0);
            Ok((row.get("id")?, (sender, lane)))
        })
        .collect::<Result<BTreeMap<String, (Sender, Lane)>, Error>>()?;
    let rows = tx
        .fetch(
            "SELECT id, state, sequence, hash, change_time, known_time, case_view FROM standings WHERE id = ANY($1)",
            vec![ids.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get("id")?;
            let (sender, lane) = senders.remove(&id).ok_or(Error::Damaged {
                what: "report",
                problem: "it has a standing, but is missing".to_owned(),
            })?;
            let current = Current {
                report: parse_id(&id)?,
                state: parse_state(row)?,
                head: Head {
                    sequence: row.count("sequence", "sequence")?,
                    hash: row.array("hash", "hash")?,
                    time: Time(row.get("change_time")?),
                },
                known_time: Time(row.get("known_time")?),
                case: row.get("case_view")?,
                lane,
                sender,
                touched: false,
            };
            Ok((id, current))
        })
        .collect()
}

pub(super) fn state_row(report: Uuid, state: State, head: Head, known_time: Time, case: Option<Vec<u8>>) -> [Value; 7] {
    [
        report.into(),
        Value::Word(state.name()),
        head.sequence.cast_signed().into(),
        head.hash.into(),
        head.time.0.into(),
        known_time.0.into(),
        case.map_or(Value::Null(Kind::Bytes), Value::Bytes),
    ]
}

/// The lane in which a report's changes wait for routing: its sender's, in which urgent ones have
/// another.
pub(super) fn lane(caller: &str, is_urgent: bool) -> Lane {
    Lane {
        is_urgent,
        sender: caller.into(),
    }
}

/// What goes out of a change: to routing, with what it has to know beside the change, and to audit.
pub(super) fn delivery(change: Change, lane: Lane, told: ReportChange) -> Delivery {
    let routing = ReportChange {
        change: Some(change.without_detail()),
        ..told
    }
    .encode_to_vec();
    let audit = change.with_detail().encode_to_vec();
    Delivery {
        change,
        payloads: vec![
            Payload::to("routing", routing).in_lane(lane),
            Payload::to("audit", audit),
        ],
    }
}
