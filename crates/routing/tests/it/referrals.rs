//! A suspected crime in the store: who reads what, on which list it is, what is logged and told,
//! and that it goes on by itself.

use api::event::{ConnectingFactor, Disposition, DispositionEffect, DispositionKind, ReferralAnswer};
use api::routing::CaseNote;
use routing::case::{Action, AnswerReferral, Propose, ReferCrime, Review, State, Worklist};
use routing::store::{Acted, Command, Listing, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, agency, agency_viewer, by, command, facts, standing};

testkit::on_each_backend!(
    p4_p7_a_crime_is_handed_over_read_and_taken,
    p5_a_late_referral_goes_on_by_itself,
    p7_a_refused_crime_is_out_of_sight,
);

const LEAD: &str = "market-regulator-450000";
const BODY: &str = "police-450100";

fn refer(case: Uuid) -> Command {
    let action = Action::ReferCrime(ReferCrime { to: agency(BODY) });
    Command {
        note: CaseNote {
            text: "File 12.".to_owned(),
            ..CaseNote::default()
        },
        ..command(case, LEAD, action)
    }
}

fn answer(case: Uuid, by: &str, taken: bool) -> Command {
    command(case, by, Action::AnswerReferral(AnswerReferral { taken }))
}

/// A case of which its lead and a second officer decided that it is a crime.
async fn decided(fixture: &Fixture) -> Uuid {
    let harm = facts("consumer-harm", &[(ConnectingFactor::Operator, "450100")]);
    let case = fixture.open(&[harm]).await[0];
    let propose = Action::Propose(Propose {
        what: Disposition {
            kind: DispositionKind::SuspectedCrime.into(),
            effects: vec![DispositionEffect::None.into()],
            legal_basis: "刑法 266".to_owned(),
        },
        note: CaseNote {
            text: "The sum is above the threshold.".to_owned(),
            officer: "o-1".to_owned(),
            ..CaseNote::default()
        },
    });
    let approve = Action::Review(Review {
        approved: true,
        officer: "o-2".to_owned(),
        stood_in: false,
    });
    fixture.done(by(case, LEAD)).await;
    fixture.done(command(case, LEAD, propose)).await;
    fixture.done(command(case, LEAD, approve)).await;
    case
}

/// The agencies on whose list of referrals a case is.
async fn listed(fixture: &Fixture, agencies: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for id in agencies {
        let listing = Listing::Worklist(Worklist::Referrals, fixture.now());
        let page = fixture.store.cases(&agency_viewer(id), Some(listing), None, 10).await;
        found.extend(page.unwrap().items.iter().map(|_| (*id).to_owned()));
    }
    found
}

async fn p4_p7_a_crime_is_handed_over_read_and_taken(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = decided(&fixture).await;
    let report = fixture.case(case).await.reports[0];
    let reads = async |id: &str| fixture.store.sees_content(&agency(id), report).await.unwrap();
    assert_eq!(listed(&fixture, &[LEAD, BODY]).await, [LEAD]);
    assert!(!reads(BODY).await);
    fixture.done(refer(case)).await;
    fixture.assert_promises().await;
    assert_eq!(listed(&fixture, &[LEAD, BODY]).await, [BODY]);
    assert!(reads(BODY).await && reads(LEAD).await);
    // With the letter.
    let viewer = agency_viewer(BODY);
    let stored = fixture.store.case(case, &viewer).await.unwrap().unwrap();
    let shown = routing::view::case(&stored, &viewer, &fixture.current.get().directory);
    let letter = shown.history.last().unwrap().note.clone().unwrap();
    assert_eq!(letter.text, "File 12.");
    let logged = fixture.last_detail(case).await;
    assert_eq!(logged.receiving_agency, format!("agencies/{BODY}"));
    // Nobody else takes it, and it is taken once.
    assert!(matches!(fixture.act(answer(case, LEAD, true)).await, Acted::Refused(_)));
    assert_eq!(fixture.act(answer(case, "police-110000", true)).await, Acted::NotFound);
    fixture.done(answer(case, BODY, true)).await;
    assert!(matches!(fixture.act(answer(case, BODY, true)).await, Acted::Refused(_)));
    fixture.assert_promises().await;
    assert_eq!(listed(&fixture, &[LEAD, BODY]).await, [] as [&str; 0]);
    assert_eq!(fixture.last_detail(case).await.referral_answer(), ReferralAnswer::Taken);
    assert_eq!(
        fixture.kinds(case).await[3..],
        ["case.resolved", "case.crime-referred", "case.crime-taken"]
    );
    let stored = fixture.case(case).await;
    assert_eq!(standing(&stored), (State::RESOLVED, Some(LEAD)));
    assert!(stored.case.course.referral.unwrap().taken.is_some());
    assert_eq!(
        stored.history.last().unwrap().receiving_agency,
        format!("agencies/{BODY}")
    );
}

async fn p5_a_late_referral_goes_on_by_itself(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = decided(&fixture).await;
    let ticker = fixture.ticker(&fixture.store);
    fixture.clock.advance(DAY + 60);
    ticker.step().await.unwrap();
    fixture.assert_promises().await;
    assert_eq!(fixture.kinds(case).await.last().unwrap(), "case.clock-missed");
    // By the superior of the lead; the lead may still do it.
    let superior = "market-regulator-CN";
    assert_eq!(listed(&fixture, &[LEAD, superior]).await, [superior], "owed still");
    assert!(
        fixture
            .store
            .case(case, &agency_viewer(superior))
            .await
            .unwrap()
            .is_some()
    );
    fixture.done(refer(case)).await;
    assert!(
        fixture
            .store
            .case(case, &agency_viewer(superior))
            .await
            .unwrap()
            .is_none()
    );
    fixture.clock.advance(9 * DAY);
    ticker.step().await.unwrap();
    fixture.assert_promises().await;
    assert_eq!(listed(&fixture, &[BODY, "police-450000"]).await, ["police-450000"]);
    let report = fixture.case(case).await.reports[0];
    assert!(
        !fixture.store.sees_content(&agency(BODY), report).await.unwrap(),
        "it let its time pass"
    );
    fixture.done(answer(case, "police-450000", true)).await;
    assert_eq!(
        fixture.case(case).await.case.course.referral.unwrap().to,
        agency("police-450000")
    );
}

async fn p7_a_refused_crime_is_out_of_sight(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = decided(&fixture).await;
    let report = fixture.case(case).await.reports[0];
    fixture.done(refer(case)).await;
    fixture.done(answer(case, BODY, false)).await;
    fixture.assert_promises().await;
    assert_eq!(standing(&fixture.case(case).await), (State::ASSIGNED, Some(LEAD)));
    assert!(fixture.store.case(case, &agency_viewer(BODY)).await.unwrap().is_none());
    assert!(!fixture.store.sees_content(&agency(BODY), report).await.unwrap());
    // Its reporter is told that it goes on.
    let told = fixture.told(case).await.pop().unwrap();
    assert_eq!(
        (told.lead.as_str(), told.outcome),
        ("agencies/market-regulator-450000", None)
    );
}
