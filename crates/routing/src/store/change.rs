//! A change of a case on its way into the tables: locked, made, and written with everything that follows it.

use std::collections::{BTreeMap, BTreeSet};

use api::event::{Actor, Detail};
use journal::{Delivery, Draft, Head, Time, seal};
use prost::Message as _;
use sql::{Error, Insert, Kind, Tx};
use uuid::Uuid;

use super::{
    Route, StoredCase,
    feeds::{News, feed},
    name, read, report_name, rows,
    sql::SqlStore,
};
use crate::{
    directory::Directory,
    state::{Case, Matter, Transition},
    view,
};

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

const PARTIES: Insert = Insert::into(
    "case_parties",
    &[
        ("case_id", Kind::Text),
        ("agency", Kind::Text),
        ("role", Kind::Text),
        ("open_time", Kind::Int),
    ],
);

/// A change of a case on its way into the tables.
pub(super) struct Changed {
    pub(super) id: Uuid,
    pub(super) open_time: Time,
    /// `None` when it is opened.
    pub(super) before: Option<Case>,
    pub(super) after: Case,
    pub(super) delivery: Delivery,
}

/// A case whose row in `case_states` is locked.
pub(super) struct Locked {
    pub(super) stored: StoredCase,
    pub(super) matter: Matter,
}

/// What the log and intake are told of a change, beside the case itself.
pub(super) struct Told<'a> {
    pub(super) actor: Actor,
    pub(super) caused_by: Option<Uuid>,
    pub(super) traceparent: String,
    /// Set when the change opens the case.
    pub(super) route: Option<&'a Route>,
}

impl Told<'_> {
    /// Of what nobody asked for: time did it.
    pub(super) fn by_time() -> Self {
        Self {
            actor: ourselves(),
            caused_by: None,
            traceparent: String::new(),
            route: None,
        }
    }
}

impl SqlStore {
    /// Applies a transition to a locked case.
    pub(super) fn change(
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
    pub(super) fn delivery(
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
    pub(super) async fn write(&self, tx: &mut Tx, changed: Vec<Changed>) -> Result<(), Error> {
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

/// Whether cases that other transactions hold are waited for, or left to them.
#[derive(Clone, Copy)]
pub(super) enum Others {
    AreWaitedFor,
    KeepTheirs,
}

macro_rules! standings {
    () => {
        concat!(
            "SELECT case_id, ",
            rows::standing_columns!(),
            " FROM case_states WHERE case_id = ANY($1) ORDER BY case_id"
        )
    };
}

/// Locks rows of `case_states` and loads their cases.
pub(super) async fn lock(tx: &mut Tx, others: Others, ids: Vec<String>) -> Result<BTreeMap<Uuid, Locked>, Error> {
    let statement = match others {
        Others::AreWaitedFor => concat!(standings!(), " FOR UPDATE"),
        Others::KeepTheirs => concat!(standings!(), " FOR UPDATE SKIP LOCKED"),
    };
    let standing = tx
        .fetch(statement, vec![ids.into()])
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
