//! Deadlines, against days that three independent packages agree on.

use jiff::Timestamp;
use routing::calendar::{Calendar, ClockKind, ClockRule, Due, Unit, due};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn count(start: &str, value: u32, unit: Unit) -> Due {
    due(
        at(start),
        ClockRule {
            kind: ClockKind::Acknowledge,
            value,
            unit,
        },
        Calendar::shipped(),
    )
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
    // Saturday 2026-02-14 is worked for the Spring Festival that follows.
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
fn the_end_of_the_time_line_is_no_panic() {
    for unit in [Unit::Hours, Unit::CalendarDays, Unit::WorkingDays] {
        let rule = ClockRule {
            kind: ClockKind::Acknowledge,
            value: u32::MAX,
            unit,
        };
        for start in [Timestamp::MIN, Timestamp::MAX] {
            assert!(due(start, rule, Calendar::shipped()).at >= start);
        }
        let none = ClockRule { value: 0, ..rule };
        assert!(due(at("2026-03-02T00:00:00Z"), none, Calendar::shipped()).at >= at("2026-03-02T00:00:00Z"));
    }
}

#[test]
fn a_bad_calendar_is_told_all_its_faults() {
    let yaml = "id: X\nutc_offset: east\nyears: [2026]\nholidays: [\"2026-13-01\", \"2025-01-01\", \"2026-01-01\"]\n\
                working_days: [\"2026-01-01\"]\n";
    let error = Calendar::parse(yaml).expect_err("bad").to_string();
    for part in [
        "`east`",
        "`2026-13-01`",
        "2025-01-01 is of a year",
        "2026-01-01 is a holiday and a working day",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
