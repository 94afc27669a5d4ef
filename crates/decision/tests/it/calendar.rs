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
    check("2026-12-28T09:00:00+08:00", 10, Unit::CalendarDays, "2027-01-07", false);
}

#[test]
fn the_last_days_of_december_are_settled_by_the_next_years_notice() {
    // The notice for 2019 made a Monday in December 2018 a holiday, and the one for 2023 Saturday
    // 2022-12-31: until the notice for 2027 is known, the last days of 2026 may still change.
    check("2026-12-28T09:00:00+08:00", 3, Unit::WorkingDays, "2026-12-31", true);
    check("2026-12-21T09:00:00+08:00", 4, Unit::WorkingDays, "2026-12-25", false);
    check("2025-12-28T09:00:00+08:00", 3, Unit::WorkingDays, "2025-12-31", false);
}

#[test]
fn every_year_from_2019_on_is_shipped() {
    // Days from the notices' texts: Labour Day 2019 as changed, Spring Festival 2020 as extended,
    // and the make-up days around them.
    let calendar = Calendars::shipped().main();
    let works = |day: &str| calendar.is_working_day(day.parse().unwrap());
    for off in [
        "2019-05-03",
        "2019-10-07",
        "2020-01-31",
        "2020-10-08",
        "2021-02-17",
        "2022-01-31",
        "2022-12-31",
        "2023-10-06",
        "2024-02-16",
        "2024-09-17",
    ] {
        assert!(!works(off), "{off}");
    }
    for worked in [
        "2019-04-28",
        "2019-05-05",
        "2020-01-19",
        "2020-02-03",
        "2020-06-28",
        "2021-09-26",
        "2022-10-09",
        "2023-06-25",
        "2024-02-18",
        "2024-10-12",
    ] {
        assert!(works(worked), "{worked}");
    }
    assert!(!works("2020-02-01"), "the extension took the make-up day away");
    for year in 2019..=2026 {
        let day = jiff::civil::date(year, 6, 30);
        assert!(calendar.is_published(day), "{year}");
        // Public holidays with the weekends in them: 27 (2023) to 33 (2026) days each year.
        let first = jiff::civil::date(year, 1, 1);
        let days = first
            .series(jiff::Span::new().days(1))
            .take_while(|day| day.year() == year);
        let worked = days.filter(|day| calendar.is_working_day(*day)).count();
        assert!((246..=252).contains(&worked), "{year}: {worked} working days");
    }
    check("2024-02-08T09:00:00+08:00", 2, Unit::WorkingDays, "2024-02-18", false);
    check("2020-01-22T09:00:00+08:00", 2, Unit::WorkingDays, "2020-02-03", false);
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
        "line 2, column 13: calendar `X`: utc_offset: `east`",
        "line 4, column 12: calendar `X`: holidays: `2026-13-01` is not a date",
        "line 4, column 26: calendar `X`: holidays: the year of 2025-01-01 is missing",
        "line 5, column 16: calendar `X`: working_days: 2026-01-01 is both a holiday and a working day",
        "line 5, column 44: calendar `X`: working_days: 2026-01-04 occurs twice",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn days_and_offsets_have_one_spelling() {
    let yaml = |offset: &str, day: &str| {
        format!("id: X\nutc_offset: \"{offset}\"\nyears: [2026]\nholidays: [\"{day}\"]\nworking_days: []\n")
    };
    assert!(Calendars::parse(&yaml("+08:00", "2026-01-01")).is_ok());
    assert!(Calendars::parse(&yaml("-03:30", "2026-01-01")).is_ok());
    for offset in [
        "+-8:00",
        "+8:00",
        "08:00",
        "+08:60",
        "+08:0x",
        "+ 8:00",
        "+08:00:00",
        "",
    ] {
        let error = Calendars::parse(&yaml(offset, "2026-01-01"))
            .expect_err(offset)
            .to_string();
        assert!(error.contains("line 2, column 13"), "{offset}: {error}");
    }
    for day in [
        "2026-1-1",
        "20260101",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+08:00",
        "2026-01-01 ",
    ] {
        let error = Calendars::parse(&yaml("+08:00", day)).expect_err(day).to_string();
        assert!(error.contains("line 4, column 12"), "{day}: {error}");
    }
    for blank in ["holidays: []", "id: X", "utc_offset: \"+08:00\"", "years: [2026]"] {
        let good = yaml("+08:00", "2026-01-01").replace("[\"2026-01-01\"]", "[]");
        let key = blank.split(' ').next().unwrap();
        let error = Calendars::parse(&good.replace(blank, key));
        assert!(error.is_err(), "`{key}` without a value");
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
