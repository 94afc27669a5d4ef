//! Changes of cases: lock the case, make the change, and write it with all that follows from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::{
    event::{Actor, Detail},
    intake::{CaseChange, Outcome},
    routing::{CaseNote, CaseStep},
};
use decision::directory::{AgencyId, Directory};
use journal::{Bytes32, Delivery, Draft, Head, Payload, Time, keyed_hash, ordered_id};
use prost::Message as _;
use sql::{Error, Insert, Kind, Then, Tx, Value};
use uuid::Uuid;

use super::{
    Opening, Route, StoredCase, below, exclusions,
    feeds::{News, feed},
    links, lists, name, read, report_name, rows,
    sql::SqlStore,
};
use crate::{
    case::{self, Case, Event, Matter, Sight, Transition},
    metrics, view,
};

const STATES: Insert = Insert::into(
    "case_states",
    &[
        ("case_id", Kind::Text),
        ("state", Kind::Text),
        ("origin", Kind::Text),
        ("former_owner", Kind::Text),
        ("course", Kind::Bytes),
        ("disposition", Kind::Bytes),
        ("generation", Kind::Int),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
    ],
)
.then(
    "ON CONFLICT (case_id) DO UPDATE SET state = excluded.state, origin = excluded.origin, \
     former_owner = excluded.former_owner, course = excluded.course, disposition = excluded.disposition, \
     generation = excluded.generation, sequence = excluded.sequence, hash = excluded.hash, change_time = excluded.change_time",
);

const PARTIES: Insert = Insert::into(
    "case_parties",
    &[
        ("case_id", Kind::Text),
        ("agency", Kind::Text),
        ("part", Kind::Text),
        ("by_request", Kind::Int),
        ("supports", Kind::Int),
        ("place", Kind::Int),
        ("open_time", Kind::Int),
    ],
);

const STEPS: Insert = Insert::into(
    "case_steps",
    &[
        ("case_id", Kind::Text),
        ("sequence", Kind::Int),
        ("step", Kind::Bytes),
        ("note", Kind::Bytes),
        ("note_key", Kind::Bytes),
    ],
);

const CLOCKS: Insert = Insert::into(
    "case_clocks",
    &[
        ("case_id", Kind::Text),
        ("kind", Kind::Text),
        ("owner", Kind::Text),
        ("generation", Kind::Int),
        ("unit", Kind::Text),
        ("budget", Kind::Int),
        ("used", Kind::Int),
        ("since", Kind::Int),
        ("paused_until", Kind::Int),
        ("pause_ground", Kind::Int),
        ("pauses", Kind::Bytes),
        ("due", Kind::Int),
        ("provisional", Kind::Int),
        ("is_term", Kind::Int),
        ("reminded", Kind::Int),
        ("remind", Kind::Int),
        ("next", Kind::Int),
    ],
);

/// A change of a case, to be written.
pub(super) struct Changed {
    pub(super) id: Uuid,
    pub(super) open_time: Time,
    /// `None` if the change opens the case.
    pub(super) before: Option<Case>,
    pub(super) after: Case,
    /// The agencies to whose feeds it is added.
    pub(super) audience: BTreeSet<AgencyId>,
    /// Those who oversee its owner after it ([`case::overseers`]).
    pub(super) above: BTreeSet<AgencyId>,
    /// The head of the case's chain after it.
    pub(super) head: Head,
    /// Whether it is an agency's own affair, and no change for others.
    pub(super) is_inside: bool,
    /// The agency that made it, and so knows of it.
    pub(super) by: Option<AgencyId>,
    /// Who made it, as logged.
    pub(super) actor: Actor,
    /// For its history; `None` if the change opens the case.
    pub(super) step: Option<CaseStep>,
    /// What the officer wrote with it.
    pub(super) note: Option<WrittenNote>,
    pub(super) delivery: Delivery,
}

impl Changed {
    /// How long it took an agency to acknowledge, if the change is that.
    fn acknowledgement(&self) -> Option<(metrics::Asked, Duration)> {
        let logged = &self.delivery.change;
        metrics::acknowledgement(logged.kind, self.before.as_ref()?, &self.after, logged.head.time)
    }

    /// Adds the change to the feeds of those whose sight it ends, too: of whoever is excluded by
    /// the directory in force, it is the first they are told since.
    pub(super) fn tell_who_lost_sight(&mut self) {
        let left: BTreeSet<AgencyId> = audience(&self.after).collect();
        let before = self.before.iter().flat_map(audience);
        self.audience.extend(before.filter(|agency| !left.contains(agency)));
    }
}

/// What an officer wrote, and the key of the commitment to it.
pub(super) struct WrittenNote {
    note: Vec<u8>,
    reporter_text: String,
    key: Bytes32,
}

/// A case whose row in `case_states` is locked.
pub(super) struct Locked {
    pub(super) stored: StoredCase,
    pub(super) matter: Matter,
}

/// The circumstances of a change, for the log and intake.
pub(super) struct ChangeContext<'a> {
    pub(super) actor: Actor,
    pub(super) caused_by: Option<Uuid>,
    pub(super) traceparent: String,
    /// Set if the change routes the case: opens it, or files it under another category.
    pub(super) route: Option<&'a Route>,
    /// What the officer writes with it.
    pub(super) note: CaseNote,
    /// Commits to the links of a case that the change opens.
    pub(super) link_commitment: Option<Bytes32>,
}

impl ChangeContext<'_> {
    /// Of a change that no caller asked for.
    pub(super) fn by_time() -> Self {
        Self {
            actor: ourselves(),
            caused_by: None,
            traceparent: String::new(),
            route: None,
            note: CaseNote::default(),
            link_commitment: None,
        }
    }
}

impl SqlStore {
    /// Applies a transition to a locked case.
    pub(super) fn change(
        &self,
        case: &mut Locked,
        mut transition: Transition,
        mut context: ChangeContext<'_>,
        directory: &Directory,
        now: Time,
    ) -> Changed {
        transition.case.end_assignments();
        if let Some(agency) = transition.event.inside() {
            let agency = agency.clone();
            return self.inside(&mut case.stored, transition, agency, context, now);
        }
        let Locked { stored, matter } = case;
        let at = now.max(stored.head.time);
        let seeing = |case: &Case| -> Vec<AgencyId> {
            let may_know = |agency: &AgencyId| self.keeps_sight(case, at, matter, agency, directory);
            audience(case).filter(may_know).collect()
        };
        let audience = seeing(&stored.case).into_iter().chain(seeing(&transition.case));
        let audience = audience.collect();
        // What is told of this change already is told without whoever steps aside.
        *matter = matter.after(&transition.event);
        let written = self.written(&context.note);
        let note = std::mem::take(&mut context.note);
        let by = AgencyId::from_resource_name(&context.actor.agency).ok();
        let actor = context.actor.clone();
        // Progress that ends a link looks like any other.
        if matches!(transition.event, Event::ProgressRecorded) {
            let mut random = [0; 32];
            self.entropy.fill(&mut random);
            context.link_commitment = Some(random);
        }
        let by = by.filter(|_| !transition.event.is_of_subject());
        let delivery = self.delivery(
            stored.id,
            Some(&stored.case),
            &stored.head,
            &transition,
            matter,
            stored.reports.iter().copied().map(report_name).collect(),
            context,
            written.as_ref(),
            directory,
            now,
        );
        stored.head = delivery.change.head;
        let step = transition.event.step(&stored.case, &transition.case, stored.head.time);
        stored.history.extend(step.clone().map(|step| CaseStep {
            note: written.is_some().then_some(note),
            ..step
        }));
        Changed {
            id: stored.id,
            open_time: stored.open_time,
            before: Some(std::mem::replace(&mut stored.case, transition.case.clone())),
            above: case::overseers(&transition.case, matter, directory),
            after: transition.case,
            audience,
            head: stored.head,
            is_inside: false,
            by,
            actor,
            step,
            note: written,
            delivery,
        }
    }

    /// Applies a transition that is an agency's own affair: logged as a record of its own, whose
    /// name nobody can derive, so that nobody else who reads the case's chain learns of it.
    fn inside(
        &self,
        stored: &mut StoredCase,
        transition: Transition,
        agency: AgencyId,
        context: ChangeContext<'_>,
        now: Time,
    ) -> Changed {
        let record = names::ASSIGNMENT.of(ordered_id(now, &*self.entropy));
        let mut detail = Detail {
            actor: Some(context.actor.clone()),
            assigned_case: name(stored.id),
            ..Detail::default()
        };
        transition.event.fill(&mut detail);
        let draft = Draft {
            source: "routing",
            record: &record,
            kind: transition.event.kind().name(),
            caused_by: None,
            detail,
            traceparent: context.traceparent,
        };
        let change = draft.into_change(&Head::default(), now, &*self.entropy);
        let audit = change.with_detail().encode_to_vec();
        Changed {
            id: stored.id,
            open_time: stored.open_time,
            before: Some(std::mem::replace(&mut stored.case, transition.case.clone())),
            after: transition.case,
            audience: BTreeSet::from([agency]),
            // Nothing is written of it: for them nothing has changed.
            above: BTreeSet::new(),
            head: stored.head,
            is_inside: true,
            by: None,
            actor: context.actor,
            step: None,
            note: None,
            delivery: Delivery {
                change,
                payloads: vec![Payload::to("audit", audit)],
            },
        }
    }

    /// What an officer wrote, under a new key; `None` if nothing.
    fn written(&self, note: &CaseNote) -> Option<WrittenNote> {
        if *note == CaseNote::default() {
            return None;
        }
        let mut key = [0; 32];
        self.entropy.fill(&mut key);
        Some(WrittenNote {
            reporter_text: note.reporter_text.clone(),
            note: note.encode_to_vec(),
            key,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the one place that puts a change together")]
    pub(super) fn delivery(
        &self,
        id: Uuid,
        before: Option<&Case>,
        head: &Head,
        transition: &Transition,
        matter: &Matter,
        reports: Vec<String>,
        context: ChangeContext<'_>,
        note: Option<&WrittenNote>,
        directory: &Directory,
        now: Time,
    ) -> Delivery {
        let mut detail = Detail {
            from_state: before.map(|case| case.state().name().to_owned()).unwrap_or_default(),
            to_state: transition.case.state().name().to_owned(),
            actor: Some(context.actor),
            route: context.route.map(|route| view::route(&route.decision)),
            clocks: transition.case.all_clocks().map(view::clock).collect(),
            content_commitment: note.map(WrittenNote::commitment).unwrap_or_default().into(),
            link_commitment: context.link_commitment.map(Vec::from).unwrap_or_default().into(),
            ..Default::default()
        };
        transition.event.fill(&mut detail);
        let draft = Draft {
            source: "routing",
            record: &name(id),
            kind: transition.event.kind().name(),
            caused_by: context.caused_by,
            detail,
            traceparent: context.traceparent,
        };
        let change = draft.into_change(head, now, &*self.entropy);
        let advice = context.route.and_then(|route| view::advice(&route.decision));
        let shown = view::case_change(&change, &transition.case, matter, directory);
        let rules = self.rules(directory, now);
        let reviewable = rules.reviewer(&transition.case, matter).is_some();
        let intake = CaseChange {
            outcome: shown.outcome.map(|outcome| Outcome { reviewable, ..outcome }),
            reports,
            advice,
            reason: transition.event.reason().into(),
            category: transition.event.category(),
            told_report: transition.event.told_by().map(report_name).unwrap_or_default(),
            // What is proposed for a disposition is told with the decision, if there is one.
            reporter_text: note
                .filter(|_| matches!(transition.event, Event::ProgressRecorded | Event::QuestionAsked { .. }))
                .map(|written| written.reporter_text.clone())
                .unwrap_or_default(),
            ..shown
        };
        let audit = change.with_detail().encode_to_vec();
        Delivery {
            change,
            payloads: vec![
                Payload::to("intake", intake.encode_to_vec()),
                Payload::to("audit", audit),
            ],
        }
    }

    /// Writes changes of cases: states, parties, clocks, lists, journal, and last the feeds. Changes of
    /// one case must be in order.
    pub(super) async fn write(&self, tx: &mut Tx, changed: Vec<Changed>) -> Result<(), Error> {
        if changed.is_empty() {
            return Ok(());
        }
        let mut news = Vec::with_capacity(changed.len());
        // Of each case the first change, the last, and the last that is one for all who see it.
        let mut whole: BTreeMap<Uuid, (&Changed, &Changed, Option<&Changed>)> = BTreeMap::new();
        let mut steps: Vec<[Value; 5]> = Vec::new();
        for change in &changed {
            steps.extend(change.step.as_ref().map(|step| {
                let sequence = change.delivery.change.head.sequence.cast_signed();
                let written = change.note.as_ref();
                [
                    change.id.to_string().into(),
                    sequence.into(),
                    step.encode_to_vec().into(),
                    written.map_or(Value::Null(Kind::Bytes), |written| written.note.clone().into()),
                    written.map_or(Value::Null(Kind::Bytes), |written| written.key.into()),
                ]
            }));
            whole
                .entry(change.id)
                .and_modify(|(_, last, told)| {
                    *last = change;
                    *told = Some(change).filter(|change| !change.is_inside).or(*told);
                })
                .or_insert((change, change, Some(change).filter(|change| !change.is_inside)));
            if !change.audience.is_empty() {
                let logged = &change.delivery.change;
                news.push(News {
                    case: change.id,
                    kind: logged.kind,
                    time: logged.head.time,
                    audience: change.audience.iter().map(ToString::to_string).collect(),
                });
            }
        }
        let mut states = Vec::with_capacity(whole.len());
        let (mut left, mut parties) = (Vec::new(), Vec::new());
        let (mut ended, mut clocks) = (Vec::new(), Vec::new());
        let (mut relisted, mut overseen) = (lists::Relisted::default(), below::Overseen::default());
        for (id, (first, last, told)) in whole {
            let (before, after) = (first.before.as_ref(), &last.after);
            states.push(rows::state_row(id, after, &last.head));
            if before
                .is_none_or(|before| !before.parties().eq(after.parties()) || before.supporting != after.supporting)
            {
                left.extend(before.map(|_| id.to_string()));
                parties.extend(rows::party_rows(id, after, last.open_time));
            }
            let unread = told.map(|told| (told.head.time, told.by.as_ref()));
            relisted.add(id, before.is_some(), after, last.open_time, unread);
            if let Some(told) = told {
                overseen.add(id, before.is_none(), after, &last.head, &told.above);
            }
            if before.is_none_or(|before| !before.all_clocks().eq(after.all_clocks())) {
                ended.extend(before.map(|_| id.to_string()));
                clocks.extend(after.all_clocks().map(|clock| rows::clock_row(id, clock)));
            }
        }
        STATES.rows(tx, states).await?;
        if !left.is_empty() {
            tx.execute("DELETE FROM case_parties WHERE case_id = ANY($1)", vec![left.into()])
                .await?;
        }
        PARTIES.rows(tx, parties).await?;
        if !ended.is_empty() {
            tx.execute("DELETE FROM case_clocks WHERE case_id = ANY($1)", vec![ended.into()])
                .await?;
        }
        CLOCKS.rows(tx, clocks).await?;
        relisted.replace(tx).await?;
        overseen.replace(tx).await?;
        STEPS.rows(tx, steps).await?;
        links::wake(tx, &changed).await?;
        let taken: Vec<_> = changed.iter().filter_map(Changed::acknowledgement).collect();
        tx.then(Then::new(move || metrics::acknowledged(&taken)));
        journal::append(tx, changed.into_iter().map(|changed| changed.delivery).collect()).await?;
        feed(tx, news).await
    }
}

impl WrittenNote {
    fn commitment(&self) -> Vec<u8> {
        keyed_hash(&self.key, "case-note-v1", &self.note).to_vec()
    }
}

/// The actor of changes that no caller asked for.
pub(crate) fn ourselves() -> Actor {
    Actor {
        system: "routing".to_owned(),
        ..Default::default()
    }
}

/// The agencies that see a case.
pub(super) fn audience(case: &Case) -> impl Iterator<Item = AgencyId> {
    case.parties()
        .filter(|(_, part)| part.sees().contains(&Sight::Case))
        .map(|(agency, _)| agency.clone())
}

/// How to treat rows locked by another transaction.
#[derive(Clone, Copy)]
pub(super) enum OnLocked {
    /// Wait for its end.
    Wait,
    /// Skip them.
    Skip,
}

macro_rules! states {
    () => {
        concat!(
            "SELECT case_id, ",
            rows::state_columns!(),
            " FROM case_states WHERE case_id = ANY($1) ORDER BY case_id"
        )
    };
}

/// Locks rows of `case_states` and loads their cases.
pub(super) async fn lock(tx: &mut Tx, on_locked: OnLocked, ids: Vec<String>) -> Result<BTreeMap<Uuid, Locked>, Error> {
    let statement = match on_locked {
        OnLocked::Wait => concat!(states!(), " FOR UPDATE"),
        OnLocked::Skip => concat!(states!(), " FOR UPDATE SKIP LOCKED"),
    };
    let states = tx.fetch(statement, vec![ids.into()]).await?;
    if states.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut found = BTreeMap::new();
    for row in &states {
        found.insert(rows::uuid(row, "case_id")?, rows::state(row)?);
    }
    let ids: Vec<String> = found.keys().map(Uuid::to_string).collect();
    let opened = "SELECT id, category, urgent, open_time, explanation, matter FROM cases WHERE id = ANY($1)";
    let opened = tx.fetch(opened, vec![ids.clone().into()]).await?;
    let mut attached = read::Attached {
        reports: read::reports(&tx.fetch(read::REPORTS_OF, vec![ids.clone().into()]).await?)?,
        parties: read::parties(&tx.fetch(read::PARTIES_OF, vec![ids.clone().into()]).await?)?,
        clocks: read::clocks(&tx.fetch(read::CLOCKS_OF, vec![ids.clone().into()]).await?)?,
    };
    let mut history = read::steps(&tx.fetch(read::HISTORY_OF, vec![ids.clone().into()]).await?)?;
    let mut excluded = exclusions::of(tx, ids).await?;
    opened
        .iter()
        .map(|row| {
            let id = rows::uuid(row, "id")?;
            let state = found
                .remove(&id)
                .ok_or_else(|| rows::damaged("case", "it has no row in `case_states`"))?;
            let Opening {
                explanation,
                mut matter,
            } = rows::opening(row)?;
            matter.excluded.extend(excluded.remove(&id).unwrap_or_default());
            matter.category = row.get("category")?;
            let stored = StoredCase {
                id,
                category: row.get("category")?,
                urgent: row.get::<i64>("urgent")? != 0,
                open_time: Time(row.get("open_time")?),
                head: state.head,
                case: attached.case(id, state)?,
                reports: attached.reports.remove(&id).unwrap_or_default(),
                history: history.remove(&id).unwrap_or_default(),
                opening: Some(Opening {
                    explanation,
                    matter: matter.clone(),
                }),
            };
            Ok((id, Locked { stored, matter }))
        })
        .collect()
}
