//! A clock's budget: the amount used between two instants, and when the rest will be used.
//!
//! Use is counted in whole days for clocks in days, and in microseconds for all others. A day on
//! which a clock runs counts as used if the clock is paused on it, except the day of its start: a
//! pause that begins and ends on the same day moves no deadline.

use jiff::{SignedDuration, Timestamp};

use super::{
    Calendar, ClockRule, Due, Hours, Unit, Worktime, calendar_days, days_after, elapsed, working_days, working_hours,
};

/// The end of a clock that runs from `since` on, with `used` of its budget already used.
#[must_use]
pub fn due_after(since: Timestamp, rule: ClockRule, used: i64, worktime: Worktime<'_>) -> Due {
    let left = total(rule).saturating_sub(used).max(0);
    let days = || usize::try_from(left).unwrap_or(usize::MAX);
    match rule.unit {
        Unit::Minutes | Unit::Hours => elapsed(since, SignedDuration::from_micros(left), worktime.calendar),
        Unit::CalendarDays => calendar_days(since, days(), worktime.calendar),
        Unit::WorkingDays => working_days(since, days(), worktime),
        Unit::WorkingHours => working_hours(since, SignedDuration::from_micros(left), worktime),
    }
}

/// The amount that a clock in `unit` uses between two instants.
#[must_use]
pub fn used(from: Timestamp, to: Timestamp, unit: Unit, worktime: Worktime<'_>) -> i64 {
    if to <= from {
        return 0;
    }
    let calendar = worktime.calendar;
    match unit {
        Unit::Minutes | Unit::Hours => micros(to.duration_since(from)),
        Unit::CalendarDays => days_between(from, to, calendar, |_| true),
        Unit::WorkingDays => days_between(from, to, calendar, |day| calendar.is_working_day(day)),
        Unit::WorkingHours => open_between(from, to, worktime),
    }
}

/// The whole budget.
fn total(rule: ClockRule) -> i64 {
    const MINUTE: i64 = 60_000_000;
    let value = i64::from(rule.value);
    match rule.unit {
        Unit::Minutes => value.saturating_mul(MINUTE),
        Unit::Hours | Unit::WorkingHours => value.saturating_mul(60 * MINUTE),
        Unit::CalendarDays | Unit::WorkingDays => value,
    }
}

/// Days after the first instant's day, up to and including the second's.
fn days_between(
    from: Timestamp,
    to: Timestamp,
    calendar: &Calendar,
    counts: impl Fn(jiff::civil::Date) -> bool,
) -> i64 {
    let last = calendar.date(to);
    let days = days_after(calendar.date(from)).take_while(|day| *day <= last);
    i64::try_from(days.filter(|day| counts(*day)).count()).unwrap_or(i64::MAX)
}

/// How long the desk is open between two instants.
fn open_between(from: Timestamp, to: Timestamp, Worktime { calendar, hours }: Worktime<'_>) -> i64 {
    let hours = hours.unwrap_or_else(|| Hours::whole_day());
    let (first, last) = (calendar.date(from), calendar.date(to));
    let mut open = SignedDuration::ZERO;
    for day in std::iter::once(first)
        .chain(days_after(first))
        .take_while(|day| *day <= last)
        .filter(|day| calendar.is_working_day(*day))
    {
        for (opens, closes) in hours.spans() {
            let (opens, closes) = (calendar.at(day, opens).max(from), calendar.at(day, closes).min(to));
            open += closes.duration_since(opens).max(SignedDuration::ZERO);
        }
    }
    micros(open)
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
