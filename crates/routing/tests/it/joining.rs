//! Joining: cases on one subject are linked when they are opened, and nothing else about them
//! differs.

use std::collections::BTreeSet;

use api::event::{Disposition, DispositionEffect, DispositionKind};
use api::routing::{CaseNote, Facts};
use decision::decide::Destination;
use journal::Arrival;
use routing::case::{Action, Decline, Propose, Reason, Recuse, State};
use routing::store::{Acted, ReportNews, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, HOUR, agency, by, command, decided, facts, gambling, standing};

testkit::on_each_backend!(
    a_report_joins_the_open_case_on_all_its_subjects,
    p7_what_another_is_kept_from_is_not_joined,
    after_the_decision_a_new_case_has_a_reference_to_the_prior_one,
    of_many_reports_at_once_one_opens_and_the_others_join_it,
    p1_the_log_has_a_commitment_to_each_link_and_tells_none,
);

/// A report about these subjects, of a decision that a test may change.
pub fn about(fixture: &Fixture, facts: &Facts, subjects: &[u8]) -> ReportNews {
    let mut news = fixture.arrival(facts);
    let route = news.route.as_mut().unwrap();
    route.subject_keys = subjects.iter().map(|subject| [*subject; 32]).collect();
    news
}

impl Fixture {
    /// Opens the case of a report about these subjects.
    pub async fn open_about(&self, facts: &Facts, subjects: &[u8]) -> Uuid {
        self.open_news(about(self, facts, subjects)).await
    }

    pub async fn open_news(&self, news: ReportNews) -> Uuid {
        let report = news.report;
        let arrivals = self.store.open(&[news], self.now()).await.unwrap();
        assert_eq!(arrivals, [Arrival::New]);
        self.case_of(report).await
    }

    /// The links of a case that have not ended: their kinds and cases.
    pub async fn links(&self, case: Uuid) -> Vec<(String, Uuid)> {
        let statement = "SELECT kind, other FROM case_links WHERE case_id = $1 AND end_time IS NULL ORDER BY kind";
        let rows = self.rows(statement, vec![case.into()]).await;
        let link = |row: &sql::Row| {
            let other: String = row.get("other").unwrap();
            (row.get("kind").unwrap(), Uuid::parse_str(&other).unwrap())
        };
        rows.iter().map(link).collect()
    }

    pub async fn done(&self, command: routing::store::Command) {
        let acted = self.act(command).await;
        assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    }
}

pub fn joined(main: Uuid) -> Vec<(String, Uuid)> {
    vec![("joined".to_owned(), main)]
}

fn prior(case: Uuid) -> Vec<(String, Uuid)> {
    vec![("prior".to_owned(), case)]
}

/// The lead decides, without a second person.
pub fn guidance() -> Action {
    Action::Propose(Propose {
        what: Disposition {
            kind: DispositionKind::Guidance.into(),
            effects: vec![DispositionEffect::Corrected.into()],
            legal_basis: "网络安全法 61".to_owned(),
        },
        note: CaseNote {
            text: "It was corrected.".to_owned(),
            reporter_text: "The page was corrected.".to_owned(),
            officer: "o-1".to_owned(),
            ..CaseNote::default()
        },
    })
}

const LEAD: &str = "police-450100";

async fn a_report_joins_the_open_case_on_all_its_subjects(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1, 2]).await;
    assert_eq!(fixture.links(main).await, []);
    let second = fixture.open_about(&gambling(), &[2]).await;
    let third = fixture.open_about(&gambling(), &[2, 1]).await;
    assert_eq!(fixture.links(second).await, joined(main));
    assert_eq!(
        fixture.links(third).await,
        joined(main),
        "never to one that is joined itself"
    );
    // Of what it is about besides, nobody would decide there.
    let wider = fixture.open_about(&gambling(), &[2, 3]).await;
    assert_eq!(fixture.links(wider).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[3]).await).await,
        joined(wider)
    );
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[2]).await).await,
        joined(main)
    );
    // Without a subject that can be compared, and on others.
    for subjects in [&[][..], &[4], &[1, 4]] {
        assert_eq!(fixture.links(fixture.open_about(&gambling(), subjects).await).await, []);
    }
    // With another lead; which leaves the first its own.
    let elsewhere = facts("gambling", &[(api::event::ConnectingFactor::Operator, "450200")]);
    let other = fixture.open_about(&elsewhere, &[1]).await;
    assert_ne!(standing(&fixture.case(other).await).1, Some(LEAD));
    assert_eq!(fixture.links(other).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&elsewhere, &[1]).await).await,
        joined(other)
    );
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(main)
    );
    // Each has its own clock and owner, whatever it is linked to.
    fixture.clock.advance(HOUR);
    let late = fixture.case(fixture.open_about(&gambling(), &[1]).await).await;
    assert_eq!(standing(&late), (State::ASSIGNED, Some(LEAD)));
    assert_eq!(late.open_time, fixture.now());
    assert!(late.case.duty().unwrap().clock.due > fixture.case(main).await.case.duty().unwrap().clock.due);
    // While another designates for it, nothing joins it.
    let decline = Action::Decline(Decline {
        reason: Reason::Place,
        better: None,
    });
    fixture.done(command(main, LEAD, decline)).await;
    let next = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(next).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(next)
    );
    // Who has no lead yet, joins nothing.
    let mut undecided = about(&fixture, &gambling(), &[1]);
    undecided.route.as_mut().unwrap().decision.outcome = Destination::Designate {
        superior: agency("police-CN"),
    };
    assert_eq!(fixture.links(fixture.open_news(undecided).await).await, []);
    fixture.assert_promises().await;
}

async fn p7_what_another_is_kept_from_is_not_joined(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let kept_from = |unit: &str| Facts {
        excluded: vec![format!("agencies/{unit}")],
        ..gambling()
    };
    let (away, other) = (kept_from("police-440600"), kept_from("police-440300"));
    assert!(
        [&away, &other]
            .iter()
            .all(|facts| decided(facts).outcome == decided(&gambling()).outcome)
    );
    let open = fixture.open_about(&gambling(), &[1]).await;
    let hidden = fixture.open_about(&away, &[1]).await;
    assert_eq!(fixture.links(hidden).await, [], "a part of it may see the open one");
    assert_eq!(fixture.links(fixture.open_about(&other, &[1]).await).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(open)
    );
    assert_eq!(
        fixture.links(fixture.open_about(&away, &[1]).await).await,
        joined(hidden)
    );
    // Who steps aside is out of that case only: it has a part in what joins another.
    fixture
        .done(command(open, "police-440000", Action::Recuse(Recuse)))
        .await;
    let next = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(next).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(next)
    );
}

async fn after_the_decision_a_new_case_has_a_reference_to_the_prior_one(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let first = fixture.open_about(&gambling(), &[1]).await;
    fixture.done(by(first, LEAD)).await;
    let joining = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(joining).await, joined(first));
    fixture.done(command(first, LEAD, guidance())).await;
    let second = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(second).await, prior(first));
    assert_eq!(standing(&fixture.case(second).await), (State::ASSIGNED, Some(LEAD)));
    let third = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(
        fixture.links(third).await,
        joined(second),
        "what is open comes before what was"
    );
    fixture.done(by(second, LEAD)).await;
    fixture.done(command(second, LEAD, guidance())).await;
    fixture.clock.advance(61 * DAY);
    while fixture.ticker(&fixture.store).step().await.unwrap() > 0 {}
    assert_eq!(standing(&fixture.case(second).await).0, State::CLOSED);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        prior(second)
    );
    fixture.assert_promises().await;
}

async fn of_many_reports_at_once_one_opens_and_the_others_join_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    for round in 0..4 {
        let (one, other) = (round * 2 + 1, round * 2 + 2);
        let mut opening = Vec::new();
        // Some in one transaction, each in another order of its subjects.
        for replica in 0..4 {
            let store = match replica {
                0 => std::sync::Arc::clone(&fixture.store),
                _ => fixture.replica().await,
            };
            let news = [
                about(&fixture, &gambling(), &[one, other]),
                about(&fixture, &gambling(), &[other, one]),
            ];
            let now = fixture.now();
            opening.push(tokio::spawn(async move {
                store.open(&news, now).await.unwrap();
                news.map(|news| news.report)
            }));
        }
        let mut linked = Vec::new();
        for opening in opening {
            for report in opening.await.unwrap() {
                let case = fixture.case_of(report).await;
                linked.push((case, fixture.links(case).await));
            }
        }
        let mains: Vec<_> = linked.iter().filter(|(_, links)| links.is_empty()).collect();
        assert_eq!(mains.len(), 1, "{linked:?}");
        let main = mains[0].0;
        assert!(
            linked
                .iter()
                .all(|(case, links)| *case == main || *links == joined(main))
        );
    }
    fixture.assert_promises().await;
}

async fn p1_the_log_has_a_commitment_to_each_link_and_tells_none(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let joining = fixture.open_about(&gambling(), &[1]).await;
    let alone = fixture.open_about(&gambling(), &[]).await;
    let details = fixture.rows("SELECT case_id, detail FROM case_openings", vec![]).await;
    let mut commitments = BTreeSet::new();
    for row in &details {
        let detail: Vec<u8> = row.get("detail").unwrap();
        let detail = <api::event::Detail as prost::Message>::decode(detail.as_slice()).unwrap();
        assert_eq!(detail.link_commitment.len(), 32);
        assert!(!format!("{detail:?}").contains(&main.to_string()));
        if row.get::<String>("case_id").unwrap() == joining.to_string() {
            let salt = fixture.rows("SELECT salt FROM case_links", vec![]).await[0].only::<Vec<u8>>();
            let salt = salt.unwrap().try_into().unwrap();
            let link = format!("joined cases/{main}");
            let expected = journal::keyed_hash(&salt, "case-link-v1", link.as_bytes());
            assert_eq!(detail.link_commitment[..], expected);
        }
        commitments.insert(detail.link_commitment);
    }
    assert_eq!(commitments.len(), 3);
    // Nobody else is told of it: not the main case, nor the case that joined it by another change.
    for case in [main, joining, alone] {
        assert_eq!(fixture.all_kinds(case).await, ["case.opened"]);
    }
}
