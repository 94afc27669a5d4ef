//! What Remit does with cases by itself, each in one transaction: it opens them, hands them up, and
//! hands them to successors.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use api::routing::Facts;
use decision::{
    decide::decide,
    directory::{AgencyId, Directory},
    facts::{agency_id, facts_digest},
};
use journal::{Arrival, Bytes32, Head, Inbox, Time, ordered_id};
use names::Collection;
use prost::Message as _;
use sql::{Error, Insert, Kind, Tx, Value};
use uuid::Uuid;

use super::{
    MissedClock, ReportNews, Route, StoredCase,
    change::{ChangeContext, Changed, Locked, OnLocked, audience, lock, ourselves},
    exclusions,
    links::{self, New},
    report_name, rows,
    simulations::{OPENINGS, opening_row},
    sql::SqlStore,
    versions,
};
use crate::{
    active::Active,
    case::{self, Main, Matter, Said},
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
        ("matter", Kind::Bytes),
    ],
);

/// A known report fails the transaction on purpose: two replicas that take the same delivery at the
/// same time both find an empty inbox. The second is retried, and finds the change taken.
const REPORTS: Insert = Insert::into("case_reports", &[("report", Kind::Text), ("case_id", Kind::Text)]);

impl SqlStore {
    pub(super) async fn try_open(&self, tx: &mut Tx, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let mut inbox = Inbox::load(tx, news.iter().map(|news| news.entry.record.clone()).collect()).await?;
        let mut arrivals = Vec::with_capacity(news.len());
        let mut cases = Vec::new();
        let mut reports = Vec::new();
        let mut openings = Vec::new();
        let mut excluded = Vec::new();
        let mut changed = Vec::new();
        let (mut said, mut just_opened) = (Vec::new(), BTreeMap::new());
        let somebody_speaks = news.iter().any(|news| news.said.is_some());
        let mut new = Vec::new();
        for news in news {
            let arrival = inbox.check(&news.entry);
            if arrival == Arrival::New {
                inbox.advance(&news.entry);
                said.extend(news.said.map(|what| (news, what)));
                if let Some(route) = &news.route {
                    let mut route = decided_by(&active, route).into_owned();
                    self.commit_to_facts(&mut route);
                    let id = ordered_id(now, &*self.entropy);
                    let mut matter = Matter {
                        excluded: named_exclusions(&route.facts)?,
                        last_resort: active.rules.last_resort().to_vec(),
                        terms: route.decision.terms.clone(),
                        category: Collection::CATEGORIES
                            .id(&route.facts.category)
                            .unwrap_or_default()
                            .to_owned(),
                    };
                    cases.push(case_row(id, &route, &matter, now));
                    exclusions::extend(&mut matter, &active.directory);
                    reports.push([news.report.to_string().into(), id.to_string().into()]);
                    new.push((news, New { id, route, matter }));
                }
            }
            arrivals.push(arrival);
        }
        let linked = self.link(tx, new.iter().map(|(_, new)| new)).await?;
        for ((news, New { id, route, matter }), linked) in new.into_iter().zip(linked) {
            let opened = self.opened(id, news, &route, &matter, linked, &active.directory, now);
            openings.push(opening_row(id, &opened.delivery.change));
            if opened.after.state().is_open() {
                excluded.extend(exclusions::rows(id, &matter, &active.directory));
            }
            if somebody_speaks {
                just_opened.insert(news.report, locked_by_opening(&opened, news, &route, matter));
            }
            changed.push(opened);
        }
        // Before anything is fed: whoever changes a case locks it first, and the feeds last.
        changed.extend(self.heard(tx, said, just_opened, &active.directory, now).await?);
        CASES.rows(tx, cases).await?;
        REPORTS.rows(tx, reports).await?;
        OPENINGS.rows(tx, openings).await?;
        exclusions::EXCLUSIONS.rows(tx, excluded).await?;
        inbox.save(tx).await?;
        self.write(tx, changed).await?;
        Ok(arrivals)
    }

    /// What reporters say, as changes of their cases, some of which are being opened.
    async fn heard(
        &self,
        tx: &mut Tx,
        said: Vec<(&ReportNews, Said)>,
        mut just_opened: BTreeMap<Uuid, Locked>,
        directory: &Directory,
        now: Time,
    ) -> Result<Vec<Changed>, Error> {
        if said.is_empty() {
            return Ok(Vec::new());
        }
        let reports: Vec<String> = said.iter().map(|(news, _)| news.report.to_string()).collect();
        let rows = tx.fetch(CASES_OF, vec![reports.into()]).await?;
        let mut case_of = BTreeMap::new();
        for row in &rows {
            case_of.insert(rows::uuid(row, "report")?, rows::uuid(row, "case_id")?);
        }
        let ids: BTreeSet<String> = case_of.values().map(Uuid::to_string).collect();
        let mut locked = lock(tx, OnLocked::Wait, ids.into_iter().collect()).await?;
        exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
        let mut changed = Vec::new();
        for (news, said) in said {
            let open = case_of.get(&news.report).and_then(|id| locked.get_mut(id));
            let Some(case) = open.or_else(|| just_opened.get_mut(&news.report)) else {
                continue;
            };
            let rules = self.rules(directory, now.max(case.stored.head.time));
            let said = match said {
                // Of an excluded unit nobody knows what it does with the receipt, or to its bearer.
                Said::Withdraw { ends } => Said::Withdraw {
                    ends: ends
                        && !case.stored.urgent
                        && case.stored.reports == [news.report]
                        && case.matter.excluded.is_empty(),
                },
                said => said,
            };
            let asked = match said {
                Said::Review => rules.review_asked(&case.stored.case, &case.matter),
                _ => None,
            };
            let heard = asked.or_else(|| rules.said(&case.stored.case, news.report, said));
            if let Some(transition) = heard {
                let context = ChangeContext {
                    caused_by: Some(news.entry.event_id),
                    traceparent: news.traceparent.clone(),
                    ..ChangeContext::by_time()
                };
                changed.push(self.change(case, transition, context, directory, now));
            }
        }
        Ok(changed)
    }

    /// Commits the explanation of a route to the facts it was decided from.
    pub(super) fn commit_to_facts(&self, route: &mut Route) {
        let mut salt = [0; 32];
        self.entropy.fill(&mut salt);
        let explanation = &mut route.decision.explanation;
        explanation.facts_digest = facts_digest(&route.facts, &salt).to_vec().into();
        explanation.facts_salt = salt.to_vec().into();
    }

    #[expect(clippy::too_many_arguments, reason = "what a case is opened with")]
    fn opened(
        &self,
        id: Uuid,
        news: &ReportNews,
        route: &Route,
        matter: &Matter,
        link_commitment: Bytes32,
        directory: &Directory,
        now: Time,
    ) -> Changed {
        let context = ChangeContext {
            actor: ourselves(),
            caused_by: Some(news.entry.event_id),
            traceparent: news.traceparent.clone(),
            route: Some(route),
            note: api::routing::CaseNote::default(),
            link_commitment: Some(link_commitment),
        };
        let transition = self.rules(directory, now).open(&route.decision);
        let delivery = self.delivery(
            id,
            None,
            &Head::default(),
            &transition,
            matter,
            vec![report_name(news.report)],
            context,
            None,
            directory,
            now,
        );
        Changed {
            id,
            open_time: now,
            before: None,
            audience: audience(&transition.case).collect(),
            above: case::overseers(&transition.case, matter, directory),
            after: transition.case,
            head: delivery.change.head,
            is_inside: false,
            by: None,
            actor: ourselves(),
            step: None,
            note: None,
            delivery,
        }
    }

    pub(super) async fn try_hand_up(&self, tx: &mut Tx, missed: &[MissedClock], now: Time) -> Result<usize, Error> {
        // The new owner must be in the directory that is active at the commit.
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let mut of_case: BTreeMap<Uuid, Vec<&MissedClock>> = BTreeMap::new();
        for missed in missed {
            of_case.entry(missed.case).or_default().push(missed);
        }
        // A locked case is being changed by another replica. If its clock has still run out
        // afterwards, the next poll finds it.
        let ids = of_case.keys().map(Uuid::to_string).collect();
        let mut locked = lock(tx, OnLocked::Skip, ids).await?;
        exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
        let (mut changed, mut ended) = (Vec::new(), 0);
        for (id, mut case) in locked {
            let at = now.max(case.stored.head.time);
            for missed in of_case.get(&id).into_iter().flatten() {
                let rules = self.rules(directory, at);
                let before = changed.len();
                // After a time in which nothing ran, both the reminder and the end are due.
                while let Some(transition) =
                    rules.clock_due(&case.stored.case, &case.matter, missed.kind, missed.generation)
                {
                    changed.push(self.change(&mut case, transition, ChangeContext::by_time(), directory, now));
                }
                ended += usize::from(changed.len() > before);
            }
        }
        self.write(tx, changed).await?;
        Ok(ended)
    }

    /// Locks the joined cases and their main cases at once, in order, and reads the links then: one
    /// that was ended meanwhile has no effect.
    pub(super) async fn try_follow(&self, tx: &mut Tx, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let mut ids: BTreeSet<String> = cases.iter().map(Uuid::to_string).collect();
        let due = links::due(tx, cases, now).await?;
        ids.extend(due.iter().map(|link| link.main.to_string()));
        let mut locked = lock(tx, OnLocked::Skip, ids.into_iter().collect()).await?;
        exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
        let (mut changed, mut done) = (Vec::new(), Vec::new());
        for link in links::due(tx, cases, now).await? {
            let Some(mut member) = locked.remove(&link.case) else {
                continue;
            };
            let Some(main) = locked.get(&link.main) else { continue };
            let at = now.max(member.stored.head.time).max(main.stored.head.time);
            let mut steps = main.stored.history.iter().rev();
            let handed = steps.find(|step| !step.former_owner.is_empty());
            let of = Main {
                case: &main.stored.case,
                matter: &main.matter,
                handed,
            };
            done.push(link.case.to_string());
            let owner = member.stored.case.owner().map(AgencyId::resource_name);
            let rules = self.rules(directory, at);
            let Some((transition, note)) = rules.followed(of, &member.stored.case, &member.matter) else {
                continue;
            };
            // It is the lead's decision, and recorded as such. What it was made for is not told: who
            // sees the joined case need not see the other.
            let context = ChangeContext {
                actor: link
                    .actor
                    .filter(|actor| Some(actor.agency.as_str()) == owner.as_deref())
                    .unwrap_or_else(ourselves),
                note,
                ..ChangeContext::by_time()
            };
            changed.push(self.change(&mut member, transition, context, directory, now));
        }
        let followed = changed.len();
        links::forget_due(tx, done).await?;
        self.write(tx, changed).await?;
        Ok(followed)
    }

    pub(super) async fn try_settle(&self, tx: &mut Tx, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let ids = cases.iter().map(Uuid::to_string).collect();
        let mut locked = lock(tx, OnLocked::Skip, ids).await?;
        exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
        let mut changed = Vec::new();
        for mut case in locked.into_values() {
            let at = now.max(case.stored.head.time);
            let rules = self.rules(directory, at);
            if let Some(transition) = rules.settled(&case.stored.case) {
                changed.push(self.change(&mut case, transition, ChangeContext::by_time(), directory, now));
            }
            if let Some(transition) = rules.unwatched(&case.stored.case, &case.matter) {
                let mut change = self.change(&mut case, transition, ChangeContext::by_time(), directory, now);
                change.tell_who_lost_sight();
                changed.push(change);
            }
        }
        let settled = changed.len();
        self.write(tx, changed).await?;
        Ok(settled)
    }

    pub(super) async fn try_succeed(&self, tx: &mut Tx, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        let ids = cases.iter().map(Uuid::to_string).collect();
        let mut locked = lock(tx, OnLocked::Skip, ids).await?;
        exclusions::follow(tx, locked.values_mut().map(|case| &mut case.matter), directory).await?;
        let (mut changed, mut followed, mut handed) = (Vec::new(), Vec::new(), 0);
        for (id, mut case) in locked {
            let at = now.max(case.stored.head.time);
            let before = changed.len();
            while let Some(transition) = self.rules(directory, at).succeeded(&case.stored.case, &case.matter) {
                let mut change = self.change(&mut case, transition, ChangeContext::by_time(), directory, now);
                change.tell_who_lost_sight();
                changed.push(change);
            }
            handed += usize::from(changed.len() > before);
            followed.push((id, case.matter));
        }
        exclusions::replace(tx, &followed, directory).await?;
        self.write(tx, changed).await?;
        Ok(handed)
    }
}

const CASES_OF: &str = "SELECT report, case_id FROM case_reports WHERE report = ANY($1)";

/// A case that this transaction opens: nobody else has it.
fn locked_by_opening(opened: &Changed, news: &ReportNews, route: &Route, matter: Matter) -> Locked {
    let stored = StoredCase {
        id: opened.id,
        category: matter.category.clone(),
        urgent: route.facts.urgent,
        open_time: opened.open_time,
        opening: None,
        case: opened.after.clone(),
        head: opened.delivery.change.head,
        reports: vec![news.report],
        history: Vec::new(),
    };
    Locked { stored, matter }
}

/// The excluded agencies. A malformed one is an error: ignored, it would see the case.
fn named_exclusions(facts: &Facts) -> Result<BTreeSet<AgencyId>, Error> {
    let named = facts.excluded.iter();
    named
        .map(|text| agency_id(text).ok_or_else(|| rows::damaged("exclusion", "it names no agency")))
        .collect()
}

/// The route by the active versions: as it is, or decided again.
fn decided_by<'a>(active: &Active, route: &'a Route) -> Cow<'a, Route> {
    let (explanation, digests) = (&route.decision.explanation, active.digests());
    if explanation.directory_digest == digests.directory[..] && explanation.rule_set_digest == digests.rules[..] {
        return Cow::Borrowed(route);
    }
    Cow::Owned(Route {
        decision: decide(&route.facts, &active.rules, &active.directory),
        facts: route.facts.clone(),
        subject_keys: route.subject_keys.clone(),
    })
}

fn case_row(id: Uuid, route: &Route, matter: &Matter, now: Time) -> [Value; 7] {
    [
        id.to_string().into(),
        Collection::CATEGORIES
            .id(&route.facts.category)
            .unwrap_or_default()
            .into(),
        route.facts.urgent.into(),
        now.0.into(),
        route.facts.encode_to_vec().into(),
        route.decision.explanation.encode_to_vec().into(),
        rows::matter_bytes(matter).into(),
    ]
}
