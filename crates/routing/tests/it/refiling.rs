//! A case that is filed under another category, in the store: its route is replaced, and the one
//! before can still be decided again; what was found by the category ends.

use api::event::{ConnectingFactor, Detail};
use api::routing::{Facts, case_sight::Sight};
use routing::case::{Action, Reclassify, Recuse, Refiled, State};
use routing::replay::replay;
use routing::store::{Acted, Command, Simulations as _, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{Fixture, agency, agency_viewer, by, command, facts, gambling, request, standing};
use crate::joining::{about, guidance, joined};

testkit::on_each_backend!(
    p3_p4_a_refiled_case_has_the_route_of_its_new_category,
    a_preview_shows_where_it_would_go_and_why,
    p3_each_route_of_a_case_can_be_decided_again,
    p7_an_excluded_agency_gets_no_refiled_case,
    p7_refiling_ends_what_was_found_by_the_category,
    bad_categories_change_nothing,
    a_repeated_request_files_it_once,
);

const LEAD: &str = "police-450100";

fn refile(case: Uuid, by: &str, category: &str) -> Command {
    let action = Action::Reclassify(Reclassify {
        category: category.to_owned(),
        refiled: Refiled::NoCategory,
    });
    command(case, by, action)
}

/// A report about a seller in Nanning, filed under the wrong category.
fn misfiled() -> Facts {
    let mut facts = gambling();
    // Of these details, each is for another category.
    facts.details.insert("deposit.channel".to_owned(), "card".to_owned());
    facts.details.insert("substance".to_owned(), "opioid".to_owned());
    facts
}

async fn refused(fixture: &Fixture, command: Command) -> String {
    match fixture.act(command).await {
        Acted::Refused(refusal) => format!("{refusal:?}"),
        other => panic!("{other:?}"),
    }
}

async fn p3_p4_a_refiled_case_has_the_route_of_its_new_category(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[misfiled()]).await[0];
    let report = fixture.case(case).await.reports[0];
    fixture.done(refile(case, LEAD, "consumer-harm")).await;
    fixture.assert_promises().await;
    let after = fixture.case(case).await;
    assert_eq!(after.category, "consumer-harm");
    assert_eq!(standing(&after), (State::ASSIGNED, Some("market-regulator-450000")));
    assert_eq!(fixture.kinds(case).await, ["case.opened", "case.reclassified"]);
    // The explanation is the new one, and the log has both categories and the route.
    let opening = after.opening.unwrap();
    assert_eq!(opening.matter.category, "consumer-harm");
    assert_ne!(opening.explanation.row, "");
    let logged: Detail = fixture.last_detail(case).await;
    assert_eq!(
        (logged.from_category.as_str(), logged.to_category.as_str()),
        ("categories/gambling", "categories/consumer-harm")
    );
    let route = logged.route.unwrap();
    assert_eq!(route.lead, "agencies/market-regulator-450000");
    assert_eq!(route.row, opening.explanation.row);
    assert_eq!(route.facts_digest, opening.explanation.facts_digest);
    // Its reporter is told.
    let told = fixture.told(case).await.pop().unwrap();
    assert_eq!(told.category, "categories/consumer-harm");
    assert_eq!(told.lead, "agencies/market-regulator-450000");
    // The giver answers for it until the receiver has it, and then sees it no more.
    let reads = async |id: &str| fixture.store.sees_content(&agency(id), report).await.unwrap();
    assert!(reads(LEAD).await && reads("market-regulator-450000").await);
    fixture.done(by(case, "market-regulator-450000")).await;
    assert!(!reads(LEAD).await && reads("market-regulator-450000").await);
    assert!(fixture.store.case(case, &agency_viewer(LEAD)).await.unwrap().is_none());
    // It is on the lists of its new agency, under its new category.
    let listed = fixture
        .store
        .cases(&agency_viewer("market-regulator-450000"), None, None, 10)
        .await
        .unwrap()
        .items;
    assert_eq!(listed[0].category, "consumer-harm");
    // Its history says so.
    assert_eq!(fixture.case(case).await.history[0].category, "categories/consumer-harm");
    let back = refused(&fixture, refile(case, "market-regulator-450000", "gambling")).await;
    assert!(back.contains("filed under before"), "{back}");
}

async fn a_preview_shows_where_it_would_go_and_why(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[misfiled()]).await[0];
    let before = fixture.case(case).await;
    let preview = Command {
        validate_only: true,
        ..refile(case, LEAD, "consumer-harm")
    };
    let Acted::Previewed(preview) = fixture.act(preview).await else {
        panic!("no preview")
    };
    assert_eq!(preview.lead, "agencies/market-regulator-450000");
    let explanation = preview.explanation.unwrap();
    let untouched = fixture.case(case).await;
    assert_eq!((untouched.head, &untouched.category), (before.head, &before.category));
    fixture.done(refile(case, LEAD, "consumer-harm")).await;
    let opening = fixture.case(case).await.opening.unwrap();
    assert_eq!(
        (&opening.explanation.row, &opening.explanation.factors),
        (&explanation.row, &explanation.factors),
        "what was shown is what is done"
    );
}

async fn p3_each_route_of_a_case_can_be_decided_again(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[misfiled()]).await[0];
    fixture.done(refile(case, LEAD, "consumer-harm")).await;
    fixture
        .done(refile(case, "market-regulator-450000", "fraud.shopping"))
        .await;
    let active = fixture.current.get();
    for (former, category) in [
        (Some(1), "gambling"),
        (Some(2), "consumer-harm"),
        (None, "fraud.shopping"),
    ] {
        let routed = fixture.store.routed(case, former).await.unwrap().unwrap();
        let facts = routed.facts.clone().unwrap();
        assert_eq!(facts.category, format!("categories/{category}"));
        let again = decision::decide::decide(&facts, &active.rules, &active.directory);
        let (result, checks) = replay(&routed, &facts, &again);
        assert_eq!(result, api::routing::ReplayResult::Agrees, "{category}: {checks:#?}");
    }
    assert!(fixture.store.routed(case, Some(3)).await.unwrap().is_none());
    // A detail that the categories between did not have is there again.
    fixture
        .done(refile(case, standing(&fixture.case(case).await).1.unwrap(), "drugs"))
        .await;
    let routed = fixture.store.routed(case, None).await.unwrap().unwrap();
    let details: Vec<_> = routed.facts.unwrap().details.into_keys().collect();
    assert_eq!(details, ["substance"]);
    // A simulation decides what is in force.
    let simulated = fixture.store.case_facts(None, 10).await.unwrap();
    assert_eq!(simulated[0].facts.as_ref().unwrap().category, "categories/drugs");
}

async fn p7_an_excluded_agency_gets_no_refiled_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let report = Facts {
        excluded: vec!["agencies/market-regulator-450000".to_owned()],
        ..misfiled()
    };
    let case = fixture.open(&[report]).await[0];
    fixture.done(refile(case, LEAD, "consumer-harm")).await;
    fixture.assert_promises().await;
    let owner = fixture.case(case).await.case.owner().unwrap().to_string();
    assert_ne!(owner, "market-regulator-450000");
    let kept_out = agency_viewer("market-regulator-450000");
    assert!(fixture.store.case(case, &kept_out).await.unwrap().is_none());
    // Whoever stepped aside is passed over, too: the way back of a case leads elsewhere.
    let case = fixture
        .open(&[facts("consumer-harm", &[(ConnectingFactor::Operator, "450100")])])
        .await[0];
    fixture
        .done(command(case, "market-regulator-450000", Action::Recuse(Recuse)))
        .await;
    let designating = fixture.case(case).await.case.owner().unwrap().to_string();
    fixture.done(refile(case, &designating, "counterfeit")).await;
    fixture.assert_promises().await;
    let refiled = fixture.case(case).await;
    assert_ne!(refiled.case.owner().unwrap().as_str(), "market-regulator-450000");
    let route = fixture.last_detail(case).await.route.unwrap();
    assert_ne!(route.lead, "agencies/market-regulator-450000");
}

async fn p7_refiling_ends_what_was_found_by_the_category(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let (stays, leaves) = (
        fixture.open_about(&gambling(), &[1]).await,
        fixture.open_about(&gambling(), &[1]).await,
    );
    for case in [main, stays, leaves] {
        fixture.done(by(case, LEAD)).await;
    }
    // A joined one goes alone.
    fixture.done(refile(leaves, LEAD, "drugs")).await;
    assert_eq!(fixture.links(leaves).await, []);
    assert_eq!(fixture.links(stays).await, joined(main));
    // With the main case, nothing more follows it, and nothing new joins it.
    fixture.done(refile(main, LEAD, "drugs")).await;
    assert_eq!(standing(&fixture.case(main).await).1, Some(LEAD), "the same lead");
    assert_eq!(fixture.links(stays).await, []);
    fixture.done(command(main, LEAD, guidance())).await;
    assert_eq!(fixture.follow().await, 0);
    assert_eq!(fixture.case(stays).await.case.state(), State::IN_PROGRESS);
    let news = about(&fixture, &gambling(), &[1]);
    let next = fixture.open_news(news).await;
    assert_eq!(fixture.links(next).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(next),
        "those that come later join each other"
    );
}

async fn bad_categories_change_nothing(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[misfiled()]).await[0];
    let before = fixture.case(case).await;
    for (category, why) in [
        ("no-such", "is no category"),
        ("gambling", "is the one that it is filed under"),
        ("Gambling", "is no category"),
    ] {
        let refused = refused(&fixture, refile(case, LEAD, category)).await;
        assert!(refused.contains(why), "{refused}");
    }
    // Who does not see it learns nothing, not even which categories there are.
    for category in ["no-such", "drugs"] {
        let acted = fixture.act(refile(case, "police-110000", category)).await;
        assert_eq!(acted, Acted::NotFound);
    }
    let refused = refused(&fixture, refile(case, "police-440000", "drugs")).await;
    assert!(refused.contains("only the lead"), "{refused}");
    assert_eq!(fixture.case(case).await.head, before.head);
    assert_eq!(fixture.count("SELECT count(*) FROM case_former_routes").await, 0);
}

async fn a_repeated_request_files_it_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[misfiled()]).await[0];
    let once = || request(refile(case, LEAD, "consumer-harm"), 1, 1);
    let first = fixture.act(once()).await;
    assert!(matches!(&first, Acted::Done(sight) if matches!(sight.sight, Some(Sight::CurrentCase(_)))));
    assert_eq!(fixture.act(once()).await, first);
    assert_eq!(fixture.kinds(case).await, ["case.opened", "case.reclassified"]);
    assert_eq!(fixture.case(case).await.history.len(), 1);
}
