//! Deadlines, checked against days that three independent packages agree on.

use decision::calendar::{Calendars, ClockKind, ClockRule, Due, Hours, Unit, Worktime, due};
use decision::directory::{AgencyId, Directory};
use jiff::Timestamp;

/// Public holidays of Japan in 2026, after the shipped calendar: a second calendar for agencies.
const JP: &str = "
---
id: JP
utc_offset: '+09:00'
years: [2026]
holidays: ['2026-01-01', '2026-01-12', '2026-02-11', '2026-02-23', '2026-03-20', '2026-04-29', '2026-05-03', '2026-05-04',
  '2026-05-05', '2026-05-06', '2026-07-20', '2026-08-11', '2026-09-21', '2026-09-22', '2026-09-23', '2026-10-12', '2026-11-03',
  '2026-11-23']
working_days: []
";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Without desk hours.
fn count(start: &str, value: u32, unit: Unit) -> Due {
    due(at(start), rule(value, unit), shipped(None))
}

const fn rule(value: u32, unit: Unit) -> ClockRule {
    ClockRule {
        kind: ClockKind::Acknowledge,
        value,
        unit,
    }
}

fn shipped(hours: Option<&Hours>) -> Worktime<'_> {
    Worktime {
        calendar: Calendars::shipped().main(),
        hours,
    }
}

#[track_caller]
fn check(start: &str, value: u32, unit: Unit, last_day: &str, provisional: bool) -> Due {
    let due = count(start, value, unit);
    assert_eq!(
        (due.last_day.to_string().as_str(), due.provisional),
        (last_day, provisional),
        "{start} + {value}"
    );
    due
}

#[test]
fn working_days_over_the_long_holidays() {
    let due = check("2026-02-13T09:00:00+08:00", 7, Unit::WorkingDays, "2026-03-02", false);
    assert_eq!(due.at, at("2026-03-02T16:00:00Z"), "24:00 in UTC+08:00");
    check("2026-09-30T09:00:00+08:00", 7, Unit::WorkingDays, "2026-10-15", false);
}

#[test]
fn make_up_days_are_worked() {
    // Saturday 2026-02-14 is a make-up day for the following Spring Festival.
    check("2026-02-13T09:00:00+08:00", 1, Unit::WorkingDays, "2026-02-14", false);
    check("2025-09-27T09:00:00+08:00", 1, Unit::WorkingDays, "2025-09-28", false);
    check("2026-11-20T09:00:00+08:00", 1, Unit::WorkingDays, "2026-11-23", false);
}

#[test]
fn a_deadline_in_an_unpublished_year_is_provisional() {
    check("2026-12-28T09:00:00+08:00", 10, Unit::WorkingDays, "2027-01-11", true);
    check("2026-12-28T09:00:00+08:00", 3, Unit::WorkingDays, "2026-12-31", false);
    check("2026-12-28T09:00:00+08:00", 10, Unit::CalendarDays, "2027-01-07", false);
}

#[test]
fn the_day_of_the_start_is_the_local_one() {
    // 17:00 in UTC is 01:00 of the next day in UTC+08:00.
    check("2026-03-02T17:00:00Z", 1, Unit::CalendarDays, "2026-03-04", false);
    check("2026-03-02T15:59:59Z", 1, Unit::CalendarDays, "2026-03-03", false);
}

#[test]
fn hours_elapse_whatever_the_day() {
    let due = check("2026-10-01T22:30:00+08:00", 24, Unit::Hours, "2026-10-02", false);
    assert_eq!(due.at, at("2026-10-02T22:30:00+08:00"));
}

#[test]
fn the_end_of_representable_time_does_not_panic() {
    let hours: Hours = "08:00-18:00".parse().unwrap();
    for unit in Unit::ALL {
        for worktime in [shipped(None), shipped(Some(&hours))] {
            for start in [at("9990-01-01T00:00:00Z"), Timestamp::MAX] {
                assert!(due(start, rule(u32::MAX, unit), worktime).at >= start, "{unit:?}");
            }
            let start = at("2026-03-02T00:00:00Z");
            assert!(due(start, rule(0, unit), worktime).at >= start, "{unit:?}");
        }
    }
}

#[test]
fn all_faults_of_a_calendar_are_reported() {
    let yaml = "id: X\nutc_offset: east\nyears: [2026]\nholidays: [\"2026-13-01\", \"2025-01-01\", \"2026-01-01\"]\n\
                working_days: [\"2026-01-01\", \"2026-01-04\", \"2026-01-04\"]\n";
    let error = Calendars::parse(yaml).expect_err("bad").to_string();
    for part in [
        "calendar `X`: utc_offset",
        "`east`",
        "`2026-13-01`",
        "the year of 2025-01-01 is missing",
        "2026-01-01 is both a holiday and a working day",
        "working_days: 2026-01-04 occurs twice",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn all_faults_of_a_calendar_file_are_reported() {
    let bad = "id: X\nutc_offset: east\nyears: []\nholidays: []\nworking_days: []\n";
    let twice = format!("{bad}---\n{bad}");
    let error = Calendars::parse(&twice).expect_err("bad").to_string();
    assert!(
        error.contains("calendar `X`: utc_offset: `east` is not an offset"),
        "{error}"
    );
    let good = bad.replace("east", "'+00:00'");
    let error = Calendars::parse(&format!("{good}---\n{good}"))
        .expect_err("bad")
        .to_string();
    assert!(error.contains("calendar `X`: the id is used twice"), "{error}");
    assert!(Calendars::parse("").is_err());
}

#[test]
fn working_hours_run_while_the_desk_is_open() {
    const DAY: &str = "08:00-18:00";
    const BREAK: &str = "08:30-12:00, 14:00-17:30";
    for (start, hours, value, end) in [
        // Monday to Tuesday.
        ("2026-03-02T17:00:00+08:00", DAY, 4, "2026-03-03T11:00:00+08:00"),
        // The Saturday before the Spring Festival is a working day, the festival is not.
        ("2026-02-13T17:00:00+08:00", DAY, 4, "2026-02-14T11:00:00+08:00"),
        ("2026-02-14T17:00:00+08:00", DAY, 4, "2026-02-24T11:00:00+08:00"),
        // Over a weekend, and over the week of the National Day, whose last Saturday is a working
        // day.
        ("2026-03-06T17:30:00+08:00", DAY, 1, "2026-03-09T08:30:00+08:00"),
        ("2026-09-30T12:00:00+08:00", DAY, 20, "2026-10-09T12:00:00+08:00"),
        // Breaks do not count; a clock that ends with the desk ends that day.
        ("2026-03-02T11:00:00+08:00", BREAK, 2, "2026-03-02T15:00:00+08:00"),
        ("2026-03-02T13:00:00+08:00", BREAK, 1, "2026-03-02T15:00:00+08:00"),
        ("2026-03-02T16:30:00+08:00", BREAK, 1, "2026-03-02T17:30:00+08:00"),
        ("2026-03-02T20:00:00+08:00", BREAK, 1, "2026-03-03T09:30:00+08:00"),
        (
            "2026-03-02T00:00:00+08:00",
            "00:00-24:00",
            24,
            "2026-03-03T00:00:00+08:00",
        ),
    ] {
        let hours: Hours = hours.parse().unwrap();
        let due = due(at(start), rule(value, Unit::WorkingHours), shipped(Some(&hours)));
        assert_eq!(
            (due.at, due.provisional),
            (at(end), false),
            "{start} + {value} of {hours}"
        );
    }
    let due = count("2026-03-06T22:00:00+08:00", 4, Unit::WorkingHours);
    assert_eq!(
        due.at,
        at("2026-03-09T02:00:00+08:00"),
        "all of a working day, where no hours are told"
    );
    let due = count("2026-12-31T22:00:00+08:00", 4, Unit::WorkingHours);
    assert!(due.provisional, "2027 is not published");
}

#[test]
fn a_clock_in_working_days_ends_when_the_desk_closes() {
    let hours: Hours = "08:30-12:00, 14:00-17:30".parse().unwrap();
    let start = at("2026-09-30T09:00:00+08:00");
    let seven = |unit| due(start, rule(7, unit), shipped(Some(&hours)));
    assert_eq!(seven(Unit::WorkingDays).at, at("2026-10-15T17:30:00+08:00"));
    assert_eq!(seven(Unit::CalendarDays).at, at("2026-10-08T00:00:00+08:00"));
}

#[test]
fn hours_are_ordered_spans() {
    for good in [
        "08:30-12:00",
        "08:30-12:00, 14:00-17:30",
        "00:00-24:00",
        "08:00-12:00,12:00-18:00",
    ] {
        assert_eq!(good.parse::<Hours>().unwrap().to_string(), good, "as written");
    }
    for bad in [
        "8-12",
        "08:00",
        "12:00-08:00",
        "08:00-24:01",
        "+8:00-12:00",
        "08:00-12:00, 11:00-13:00",
        "08:60-12:00",
        "",
    ] {
        assert!(bad.parse::<Hours>().is_err(), "{bad}");
    }
}

/// The shipped agencies, with a calendar and hours for Nanning's police.
fn nanning(calendar: &str) -> Directory {
    let desk = format!("calendar: {calendar}, hours: '09:00-17:00', superior:");
    let source = Directory::shipped().source();
    let line = source.lines().find(|line| line.contains("id: police-450100,")).unwrap();
    let source = source.replace(line, &line.replace("superior:", &desk));
    Directory::parse(&source, Directory::shipped().territories()).unwrap()
}

#[test]
fn each_agency_uses_its_own_calendar() {
    let yaml = include_str!("../../../../deploy/config/calendar-CN.yaml");
    let calendars = Calendars::parse(&format!("{yaml}{JP}")).unwrap();
    let directory = nanning("JP");
    calendars.check(&directory).unwrap();
    for (agency, last_day, end) in [
        ("police-450100", "2026-10-05", "2026-10-05T17:00:00+09:00"),
        ("police-440000", "2026-10-10", "2026-10-11T00:00:00+08:00"),
    ] {
        let agency = directory.agency(&AgencyId::new(agency).unwrap());
        let due = due(
            at("2026-09-30T09:00:00+08:00"),
            rule(3, Unit::WorkingDays),
            calendars.worktime(agency),
        );
        assert_eq!((due.last_day.to_string().as_str(), due.at), (last_day, at(end)));
    }
    let error = calendars.check(&nanning("XX")).expect_err("unknown").to_string();
    assert!(
        error.contains("agency `police-450100`: the calendar `XX` does not exist, only CN, JP"),
        "{error}"
    );
}
