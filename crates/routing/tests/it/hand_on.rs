//! Handing cases on in the store: one owner and one commit, sight that moves with the case, previews
//! that change nothing, and feeds that end.

use api::event::{CaseState, Detail, HandOverReason, StateChange};
use api::routing::case_sight::Sight;
use journal::{Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Action, Decline, Designate, Dispatch, Escalate, Part, Reason, State, Transfer};
use routing::store::{Acted, Command, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{Fixture, agency, agency_viewer, by, command, gambling, official, request, standing};

testkit::on_each_backend!(
    p4_a_declined_case_is_designated_and_the_decliner_sees_it_no_longer,
    p7_a_transfer_moves_sight_lists_and_feeds,
    p7_an_excluded_agency_gets_a_case_by_no_door,
    a_preview_shows_who_gets_it_and_changes_nothing,
    p2_handing_on_is_logged_with_its_reason_and_told_to_intake,
    p4_two_at_once_hand_it_on_once,
);

fn decline(case: Uuid, from: &str, better: Option<&str>) -> Command {
    let better = better.map(agency);
    let reason = Reason::Place;
    command(case, from, Action::Decline(Decline { reason, better }))
}

fn transfer(case: Uuid, from: &str, to: &str) -> Command {
    let transfer = Transfer {
        to: agency(to),
        reason: Reason::BetterPlaced,
        keep_supporting: false,
    };
    command(case, from, Action::Transfer(transfer))
}

fn designate(case: Uuid, from: &str, lead: &str) -> Command {
    command(case, from, Action::Designate(Designate { agency: agency(lead) }))
}

async fn done(fixture: &Fixture, command: Command) {
    let acted = fixture.act(command).await;
    assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    fixture.assert_promises().await;
}

async fn sees(fixture: &Fixture, case: Uuid, id: &str) -> bool {
    let viewer = agency_viewer(id);
    let one = fixture.store.case(case, &viewer).await.unwrap().is_some();
    let listed = fixture.store.cases(&viewer, None, None, 10).await.unwrap().items;
    assert_eq!(
        listed.iter().any(|listed| listed.id == case),
        one,
        "two doors, one answer"
    );
    one
}

/// The fourth story, in the store.
async fn p4_a_declined_case_is_designated_and_the_decliner_sees_it_no_longer(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let acted = fixture.act(decline(case, "police-450100", Some("police-450200"))).await;
    let Acted::Done(sight) = &acted else {
        panic!("{acted:?}")
    };
    assert_eq!(sight.sight, Some(Sight::LostCase(format!("cases/{case}"))));
    assert!(!sees(&fixture, case, "police-450100").await);
    let declined = fixture.case(case).await;
    assert_eq!(
        standing(&declined),
        (State::AWAITING_DESIGNATION, Some("police-450000"))
    );
    assert_eq!(declined.case.course.led, [agency("police-450100")]);
    done(&fixture, designate(case, "police-450000", "police-450200")).await;
    assert!(sees(&fixture, case, "police-450200").await && !sees(&fixture, case, "police-450000").await);
    let acted = fixture.act(decline(case, "police-450200", None)).await;
    assert!(matches!(acted, Acted::Refused(_)), "{acted:?}");
    done(&fixture, by(case, "police-450200")).await;
    assert_eq!(
        fixture.kinds(case).await,
        [
            "case.opened",
            "case.declined",
            "case.agency-designated",
            "case.acknowledged"
        ]
    );
    let history = fixture.case(case).await.history;
    assert_eq!(history[0].reason(), HandOverReason::Place);
    assert_eq!(history[0].better_agency, "agencies/police-450200");
    assert_eq!(history[0].former_owner, "agencies/police-450100");
}

async fn p7_a_transfer_moves_sight_lists_and_feeds(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let report = fixture.case(case).await.reports[0];
    let reads = async |id: &str| fixture.store.sees_content(&agency(id), report).await.unwrap();
    done(&fixture, by(case, "police-450100")).await;
    done(&fixture, transfer(case, "police-450100", "police-510100")).await;
    let parties: Vec<_> = fixture.case(case).await.case.parties().map(|(_, part)| part).collect();
    assert_eq!(parties, [Part::Lead, Part::Supporting, Part::Giving]);
    for id in ["police-450100", "police-510100"] {
        assert!(sees(&fixture, case, id).await && reads(id).await, "{id}");
    }
    done(&fixture, by(case, "police-510100")).await;
    assert!(!sees(&fixture, case, "police-450100").await && !reads("police-450100").await);
    let feed = fixture.feed("police-450100", 0).await;
    assert_eq!(
        feed.last().unwrap().kind,
        "case.acknowledged",
        "the change that ended its sight"
    );
    assert!(
        feed.iter().all(|item| item.case.is_none()),
        "and nothing of what it was"
    );
    assert_eq!(
        fixture.act(by(case, "police-450100")).await,
        Acted::NotFound,
        "and it acts no longer"
    );
}

/// The ninth story: a later hand-over to Handan is refused in every way there is.
async fn p7_an_excluded_agency_gets_a_case_by_no_door(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[official()]).await[0];
    let lead = "inspection-130000";
    assert_eq!(standing(&fixture.case(case).await).1, Some(lead));
    let to = agency("police-130400");
    let reason = Reason::Place;
    for action in [
        Action::Transfer(Transfer {
            to: to.clone(),
            reason,
            keep_supporting: true,
        }),
        Action::Dispatch(Dispatch { to: to.clone(), reason }),
        Action::Decline(Decline {
            reason,
            better: Some(to.clone()),
        }),
    ] {
        let acted = fixture.act(command(case, lead, action)).await;
        assert!(
            matches!(&acted, Acted::Refused(refusal) if format!("{refusal:?}").contains("excluded")),
            "{acted:?}"
        );
    }
    let up = Action::Escalate(Escalate { reason });
    done(&fixture, command(case, lead, up)).await;
    // Its heir gets it no more than itself.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-130300")])
        .await;
    fixture.ticker(&fixture.store).succeed().await.unwrap();
    let owner = fixture.case(case).await.case.owner().unwrap().to_string();
    let heir = Action::Dispatch(Dispatch {
        to: agency("police-130300"),
        reason,
    });
    let acted = fixture.act(command(case, &owner, heir)).await;
    assert!(
        matches!(&acted, Acted::Refused(refusal) if format!("{refusal:?}").contains("excluded")),
        "{acted:?}"
    );
    assert!(!sees(&fixture, case, "police-130400").await && !sees(&fixture, case, "police-130300").await);
}

async fn a_preview_shows_who_gets_it_and_changes_nothing(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let before = fixture.case(case).await;
    let preview = |command: Command| Command {
        validate_only: true,
        ..command
    };
    let real = decline(case, "police-450100", Some("police-450200"));
    let Acted::Previewed(shown) = fixture.act(preview(real.clone())).await else {
        panic!("no preview")
    };
    assert_eq!(shown.lead, "agencies/police-450000");
    assert_eq!(shown.state(), CaseState::AwaitingDesignation);
    assert_eq!(shown.losing_sight, ["agencies/police-450100"]);
    assert_eq!(shown.seeing_content, Vec::<String>::new());
    let after = fixture.case(case).await;
    assert_eq!((after.head, &after.case), (before.head, &before.case));
    assert_eq!(fixture.kinds(case).await, ["case.opened"]);
    // What is refused is refused before, too; and a stranger learns nothing.
    let refused = fixture
        .act(preview(transfer(case, "police-450100", "police-450000")))
        .await;
    assert!(matches!(refused, Acted::Refused(_)), "{refused:?}");
    assert_eq!(
        fixture.act(preview(decline(case, "police-450200", None))).await,
        Acted::NotFound
    );
    // The act is what its preview said.
    done(&fixture, real).await;
    let case = fixture.case(case).await.case;
    let clocks: Vec<_> = case.all_clocks().map(routing::view::clock).collect();
    assert_eq!(
        (case.owner().unwrap().resource_name(), clocks),
        (shown.lead, shown.clocks)
    );
}

async fn p2_handing_on_is_logged_with_its_reason_and_told_to_intake(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    done(&fixture, by(case, "police-450100")).await;
    let command = request(transfer(case, "police-450100", "police-510100"), 7, 1);
    let first = fixture.act(command.clone()).await;
    assert_eq!(fixture.act(command).await, first, "a repeat gets the first answer");
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("audit", fixture.now(), 20).await.unwrap();
    let last = StateChange::decode(told.last().unwrap().payload.as_slice()).unwrap();
    let detail = Detail::decode(last.detail.unwrap().content).unwrap();
    assert_eq!(detail.reason(), HandOverReason::BetterPlaced);
    assert_eq!((&*detail.from_state, &*detail.to_state), ("IN_PROGRESS", "ASSIGNED"));
    assert_eq!(detail.actor.unwrap().agency, "agencies/police-450100");
    let told = outbox.pending("intake", fixture.now(), 20).await.unwrap();
    let change = api::intake::CaseChange::decode(told.last().unwrap().payload.as_slice()).unwrap();
    assert_eq!(change.lead, "agencies/police-510100");
    assert!(!change.acknowledged, "not by the receiver");
}

/// The lead declines while it transfers, from two replicas: one of both happens.
async fn p4_two_at_once_hand_it_on_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let other = fixture.replica().await;
    let case = fixture.open(&[gambling()]).await[0];
    let (away, given) = (
        [decline(case, "police-450100", None)],
        [transfer(case, "police-450100", "police-510100")],
    );
    let now = fixture.now();
    let (first, second) = tokio::join!(fixture.store.act(&away, now), other.act(&given, now));
    let acted = [first.unwrap().remove(0), second.unwrap().remove(0)];
    let count = acted.iter().filter(|acted| matches!(acted, Acted::Done(_))).count();
    assert_eq!(count, 1, "{acted:?}");
    assert_eq!(fixture.kinds(case).await.len(), 2);
    fixture.assert_promises().await;
}
