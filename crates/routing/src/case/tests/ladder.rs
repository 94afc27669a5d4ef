//! Remit's own actions: missed clocks climb, and successors take places.

use super::*;

#[test]
fn a_missed_request_for_assistance_goes_to_the_superior_and_the_lead_stays() {
    let case = in_progress("police-450100", &[]);
    let request = Action::RequestAssistance(RequestAssistance {
        of: id("police-440600"),
    });
    let request_of = |case: &Case, of: &str| {
        let request = Action::RequestAssistance(RequestAssistance { of: id(of) });
        act(1, case, &matter(&[]), "police-450100", &request).map(|done| done.case)
    };
    assert!(matches!(request, Action::RequestAssistance(_)));
    let mut case = request_of(&case, "police-440000").unwrap();
    let mut asked = Vec::new();
    for hours in [1_000, 2_000, 3_000, 4_000] {
        let [clock] = &case.clocks[..] else {
            panic!("{:?}", case.clocks)
        };
        assert_eq!(
            rules(2).clock_missed(&case, &matter(&[]), ClockKind::Assist, clock.generation),
            None,
            "not due"
        );
        let generation = clock.generation;
        let on = rules(hours)
            .clock_missed(&case, &matter(&[]), ClockKind::Assist, generation)
            .unwrap();
        assert_eq!(on.event.kind().name(), "case.clock-missed");
        assert_eq!(on.case.standing, case.standing);
        case = on.case;
        asked.push(case.clocks[0].owner.to_string());
    }
    assert_eq!(asked, ["police-CN", "conference-CN", "conference-CN", "conference-CN"]);
    // A superior that leads the case is not asked: it knows.
    let led_above = request_of(&in_progress("police-450100", &[]), "police-440000").unwrap();
    let Standing::Open(stage, duty) = led_above.standing.clone() else {
        panic!()
    };
    let led_above = Case {
        standing: Standing::Open(
            stage,
            Duty {
                owner: id("police-CN"),
                ..duty
            },
        ),
        ..led_above
    };
    let generation = led_above.clocks[0].generation;
    let ended = rules(1_000)
        .clock_missed(&led_above, &matter(&[]), ClockKind::Assist, generation)
        .unwrap();
    assert_eq!(
        (ended.case.clocks, ended.case.supporting),
        (vec![], vec![Supporter::asked(id("police-440000"))])
    );
}

#[test]
fn a_missed_clock_climbs_to_the_conference_which_keeps_it() {
    let mut case = assigned("police-450100", &["police-CN"]);
    let mut ladder = Vec::new();
    for generation in 1..=5 {
        let at = rules(1_000 * i64::try_from(generation).unwrap());
        let up = missed(&at, &case, &matter(&[]), generation).unwrap();
        case = up.case;
        ladder.push((up.event.kind().name(), standing_of(&case).1.to_owned()));
    }
    let ladder: Vec<_> = ladder.iter().map(|(kind, owner)| (*kind, owner.as_str())).collect();
    assert_eq!(
        ladder,
        [
            ("case.escalated", "police-450000"),
            ("case.escalated", "police-CN"),
            ("case.escalated", "conference-CN"),
            ("case.clock-missed", "conference-CN"),
            ("case.clock-missed", "conference-CN"),
        ]
    );
    assert_eq!(
        standing_of(&case),
        (
            State::ASSIGNED,
            "conference-CN",
            6,
            5_024,
            vec!["police-450100", "police-450000", "police-CN"]
        ),
        "who led supports, each once"
    );
}

#[test]
fn p4_the_ladder_ends_where_the_rule_set_that_routed_the_case_says() {
    // Who is no longer in the directory is passed over; the next of those named decides.
    let matter = Matter {
        last_resort: vec![id("joint-office-CN"), id("inspection-CN"), id("conference-CN")],
        ..matter(&[])
    };
    let mut case = assigned("police-450000", &[]);
    let mut ladder = Vec::new();
    for generation in 1..=3 {
        let at = rules(1_000 * i64::try_from(generation).unwrap());
        let up = missed(&at, &case, &matter, generation).unwrap();
        case = up.case;
        ladder.push((up.event.kind().name(), standing_of(&case).1.to_owned()));
    }
    let ladder: Vec<_> = ladder.iter().map(|(kind, owner)| (*kind, owner.as_str())).collect();
    assert_eq!(
        ladder,
        [
            ("case.escalated", "police-CN"),
            ("case.escalated", "inspection-CN"),
            ("case.clock-missed", "inspection-CN"),
        ]
    );
}

#[test]
fn p4_an_excluded_last_resort_has_a_substitute() {
    let case = assigned("police-CN", &[]);
    let escalated = |matter: &Matter| {
        let next = missed(&rules(24), &case, matter, 1).unwrap().case;
        standing_of(&next).1.to_owned()
    };
    let named = Matter {
        last_resort: vec![id("conference-CN"), id("inspection-CN")],
        ..matter(&["conference-CN"])
    };
    assert_eq!(escalated(&named), "inspection-CN");
    assert_eq!(
        escalated(&matter(&["conference-CN"])),
        "content-regulator-CN",
        "where no substitute is named, another unit at the top"
    );
}

/// The shipped directory, where Nanning's and Liuzhou's police ended in 1969, with successors.
fn succeeded_by(nanning: &str, liuzhou: &str) -> Directory {
    let mut source = Directory::shipped().source().to_owned();
    for (agency, successor) in [("police-450100", nanning), ("police-450200", liuzhou)] {
        let line = source
            .lines()
            .find(|line| line.contains(&format!("id: {agency},")))
            .unwrap();
        let ends = format!("valid_to: 1969-12-31, successor: {successor}, territory:");
        source = source.replace(line, &line.replace("territory:", &ends));
    }
    Directory::parse(&source, Directory::shipped().territories()).unwrap()
}

#[test]
fn p4_successors_support_once_and_not_what_they_own_or_are_kept_out_of() {
    let case = assigned("police-450100", &["police-450200", "police-450000", "police-440000"]);
    let succeeded = |nanning: &str, liuzhou: &str, excluded: &[&str]| {
        let directory = succeeded_by(nanning, liuzhou);
        let rules = Rules {
            directory: &directory,
            ..rules(1)
        };
        let after = rules.succeeded(&case, &matter(excluded)).unwrap().case;
        let (_, owner, _, _, supporting) = standing_of(&after);
        (owner.to_owned(), supporting.join(" "))
    };
    let expected = |owner: &str, supporting: &str| (owner.to_owned(), supporting.to_owned());
    assert_eq!(
        succeeded("police-450000", "police-450300", &[]),
        expected("police-450000", "police-450300 police-440000"),
        "who owns it now supports it no more"
    );
    assert_eq!(
        succeeded("police-450300", "police-450000", &[]),
        expected("police-450300", "police-450000 police-440000"),
        "once"
    );
    assert_eq!(
        succeeded("police-450000", "police-450300", &["police-450300"]),
        expected("police-450000", "police-440000"),
        "kept out"
    );
}

#[test]
fn the_climb_passes_excluded_units() {
    let case = assigned("police-450100", &[]);
    let next = missed(&rules(24), &case, &matter(&["police-CN"]), 1).unwrap().case;
    assert_eq!(
        standing_of(&next).1,
        "conference-CN",
        "450000 stands under the excluded unit, too"
    );
}

#[test]
fn a_clock_ends_once_and_not_early() {
    let case = assigned("police-450100", &[]);
    assert_eq!(missed(&rules(23), &case, &matter(&[]), 1), None);
    assert_eq!(missed(&rules(24), &case, &matter(&[]), 2), None);
    let next = missed(&rules(24), &case, &matter(&[]), 1).unwrap().case;
    assert_eq!(
        missed(&rules(1_000), &next, &matter(&[]), 1),
        None,
        "another generation runs"
    );
}

#[test]
fn a_late_designation_goes_up_without_a_lead() {
    let case = open(Stage::AwaitingDesignation, DESIGNATE, "police-450000", &[], 1);
    let next = missed(&rules(10_000), &case, &matter(&[]), 1).unwrap().case;
    let (state, owner, generation, _, supporting) = standing_of(&next);
    assert_eq!(
        (state, owner, generation, supporting.len()),
        (State::AWAITING_DESIGNATION, "police-CN", 2, 0)
    );
}

/// The shipped directory, where these agencies ended in 1969, some with a successor.
fn ended_with(ends: &[(&str, &str)]) -> Directory {
    let mut source = Directory::shipped().source().to_owned();
    for (agency, successor) in ends {
        let line = source
            .lines()
            .find(|line| line.contains(&format!("id: {agency},")))
            .unwrap();
        let successor = match *successor {
            "" => String::new(),
            successor => format!("successor: {successor}, "),
        };
        let ends = format!("valid_to: 1969-12-31, {successor}territory:");
        source = source.replace(line, &line.replace("territory:", &ends));
    }
    Directory::parse(&source, Directory::shipped().territories()).unwrap()
}

/// The case after all changes that follow from the directory, and their kinds.
fn all_succeeded(case: &Case, matter: &Matter, directory: &Directory) -> (Case, Vec<&'static str>) {
    let rules = Rules { directory, ..rules(1) };
    let (mut case, mut kinds) = (case.clone(), Vec::new());
    while let Some(next) = rules.succeeded(&case, matter) {
        kinds.push(next.event.kind().name());
        case = next.case;
        assert!(kinds.len() < 20, "{kinds:?}");
    }
    (case, kinds)
}

fn asked(case: &Case, of: &str) -> Case {
    let request = Action::RequestAssistance(RequestAssistance { of: id(of) });
    let by = case.owner().unwrap().to_string();
    act(1, case, &matter(&[]), &by, &request).unwrap().case
}

/// The supporting agencies; `?` marks those that support only because of a request.
fn supporters(case: &Case) -> Vec<String> {
    let mark = |by_request| if by_request { "?" } else { "" };
    let supporters = case.supporting.iter();
    supporters
        .map(|supporter| format!("{}{}", supporter.agency, mark(supporter.by_request)))
        .collect()
}

#[test]
fn p7_a_part_by_request_follows_succession_and_gives_way_to_any_other() {
    let case = asked(&in_progress("police-450100", &["police-440000"]), "police-450200");
    let case = asked(&case, "police-440000");
    assert_eq!(supporters(&case), ["police-440000", "police-450200?"]);
    for (ends, expected) in [
        (
            vec![("police-450200", "police-450300")],
            vec!["police-440000", "police-450300?"],
        ),
        (
            vec![("police-440000", "police-450000")],
            vec!["police-450000", "police-450200?"],
        ),
        // Both are continued by one.
        (
            vec![("police-440000", "police-450300"), ("police-450200", "police-450300")],
            vec!["police-450300"],
        ),
        // One is continued by the other.
        (vec![("police-450200", "police-440000")], vec!["police-440000"]),
        // By the lead.
        (vec![("police-450200", "police-450100")], vec!["police-440000"]),
        // The lead is: it is no supporter any more.
        (vec![("police-450100", "police-450200")], vec!["police-440000"]),
    ] {
        // The directory refuses superiors that end before their units.
        let mut source = Directory::shipped().source().to_owned();
        if ends.iter().any(|(agency, _)| *agency == "police-440000") {
            source = source.replace("superior: police-440000", "superior: police-CN");
        }
        let mut directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
        for (agency, successor) in &ends {
            let line = directory
                .source()
                .lines()
                .find(|line| line.contains(&format!("id: {agency},")))
                .unwrap();
            let ended = format!("valid_to: 1969-12-31, successor: {successor}, territory:");
            let source = directory.source().replace(line, &line.replace("territory:", &ended));
            directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
        }
        let (after, _) = all_succeeded(&case, &matter(&[]), &directory);
        assert_eq!(supporters(&after), expected, "{ends:?}");
    }
}

#[test]
fn p5_a_request_whose_agency_ends_without_successor_goes_to_its_superior() {
    let case = asked(&in_progress("police-450100", &[]), "police-440300");
    let (after, kinds) = all_succeeded(&case, &matter(&[]), &ended_with(&[("police-440300", "")]));
    assert_eq!(kinds, ["case.assistance-passed-on", "case.succeeded"]);
    assert_eq!(supporters(&after), ["police-440000?"]);
    let [clock] = &after.clocks[..] else {
        panic!("{:?}", after.clocks)
    };
    assert_eq!((clock.owner.as_str(), clock.rule), ("police-440000", ASSIST));
    assert!(clock.generation > case.generation);
    assert_eq!(after.standing, case.standing);
    // A superior that supports already keeps its part without the request.
    let case = asked(&in_progress("police-450100", &["police-440000"]), "police-440300");
    let (after, _) = all_succeeded(&case, &matter(&[]), &ended_with(&[("police-440300", "")]));
    assert_eq!(supporters(&after), ["police-440000"]);
    assert_eq!(after.clocks.len(), 1);
    // One that leads the case knows, and is not asked.
    let case = asked(&in_progress("police-440000", &[]), "police-440300");
    let (after, kinds) = all_succeeded(&case, &matter(&[]), &ended_with(&[("police-440300", "")]));
    assert_eq!(kinds, ["case.assistance-passed-on", "case.succeeded"]);
    assert_eq!((after.clocks.len(), supporters(&after).len()), (0, 0));
    // Over an excluded superior, to the next; over one at the top, to the last resort.
    let case = asked(&in_progress("police-450100", &[]), "police-440300");
    let case = Case {
        supporting: vec![Supporter::asked(id("police-440300"))],
        ..case
    };
    let (after, _) = all_succeeded(
        &case,
        &matter(&["police-440000"]),
        &ended_with(&[("police-440300", "")]),
    );
    assert_eq!(supporters(&after), ["police-CN?"]);
    let case = asked(&in_progress("police-450100", &[]), "inspection-CN");
    let (after, _) = all_succeeded(&case, &matter(&[]), &top_ended());
    assert_eq!(supporters(&after), ["conference-CN?"]);
    // To the successor's superior where the successor may not see the case.
    let case = asked(&in_progress("police-450100", &[]), "police-440300");
    let directory = ended_with(&[("police-440300", "police-320100")]);
    let (after, kinds) = all_succeeded(&case, &matter(&["police-320100"]), &directory);
    assert_eq!(kinds, ["case.assistance-passed-on", "case.succeeded"]);
    assert_eq!(supporters(&after), ["police-440000?"]);
}

/// The shipped directory without the national inspection body, which ended; its units are under the
/// conference.
fn top_ended() -> Directory {
    let source = Directory::shipped()
        .source()
        .replace("superior: inspection-CN", "superior: conference-CN");
    let line = source.lines().find(|line| line.contains("id: inspection-CN,")).unwrap();
    let source = source.replace(line, &line.replace("territory:", "valid_to: 1969-12-31, territory:"));
    Directory::parse(&source, Directory::shipped().territories()).unwrap()
}

#[test]
fn p7_who_comes_to_succeed_an_excluded_unit_loses_every_part() {
    // Guilin continues an agency in another province, which is excluded.
    let directory = ended_with(&[("police-130400", "police-450300")]);
    let matter = matter(&["police-130400"]);
    let owner = |case: &Case| case.owner().unwrap().to_string();
    // The lead: its superior designates.
    let (after, kinds) = all_succeeded(&in_progress("police-450300", &["police-440000"]), &matter, &directory);
    assert_eq!(kinds, ["case.succeeded"]);
    assert_eq!(
        (owner(&after), after.state(), supporters(&after)),
        (
            "police-450000".to_owned(),
            State::AWAITING_DESIGNATION,
            vec!["police-440000".to_owned()]
        )
    );
    // One that supports, and one that was asked.
    let (after, _) = all_succeeded(&in_progress("police-450100", &["police-450300"]), &matter, &directory);
    assert_eq!((owner(&after).as_str(), supporters(&after).len()), ("police-450100", 0));
    let case = asked(&in_progress("police-450100", &[]), "police-450300");
    let (after, kinds) = all_succeeded(&case, &matter, &directory);
    assert_eq!(kinds, ["case.assistance-passed-on", "case.succeeded"]);
    assert_eq!(supporters(&after), ["police-450000?"]);
    // Nor does a missed clock bring it the case, or a request.
    let directory = ended_with(&[("police-130400", "police-450000")]);
    let rules = Rules {
        directory: &directory,
        ..rules(1_000)
    };
    let up = missed(&rules, &assigned("police-440300", &[]), &matter, 1)
        .unwrap()
        .case;
    assert_eq!(owner(&up), "police-440000");
    let case = assigned("police-450100", &[]);
    let up = missed(&rules, &case, &matter, 1).unwrap().case;
    assert_eq!(owner(&up), "police-CN", "over its excluded superior");
    let request = Action::RequestAssistance(RequestAssistance {
        of: id("police-450000"),
    });
    let case = in_progress("police-440300", &[]);
    let asked = rules.act(&case, &matter, &Party::Agency(id("police-440300")), &request);
    assert!(
        matches!(asked, Err(Refusal::Argument { field: "agency", .. })),
        "{asked:?}"
    );
}

#[test]
fn p4_where_everybody_is_excluded_the_last_resort_keeps_the_case() {
    let tops: Vec<String> = Directory::shipped()
        .agencies()
        .filter(|agency| agency.superior.is_none())
        .map(|agency| agency.id.to_string())
        .collect();
    let tops: Vec<&str> = tops.iter().map(String::as_str).collect();
    let (after, kinds) = all_succeeded(&in_progress("police-450100", &[]), &matter(&tops), Directory::shipped());
    assert_eq!((after.owner().unwrap().as_str(), kinds.len()), ("conference-CN", 1));
}
