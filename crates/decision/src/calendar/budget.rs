//! A clock's budget: the amount used between two instants, and when the rest will be used.
//!
//! Use is counted in whole days for clocks in days, and in microseconds for all others.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::{
    Calendar, ClockRule, Due, Hours, Unit, Worktime, calendar_days, days_after, elapsed, working_days, working_hours,
};

/// A time in which a clock ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When the pause before it began; `None` for the first run of a clock.
    pub paused: Option<Timestamp>,
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
}

/// The end of a clock that runs from `since` on, with `used` of its budget already used.
///
/// A clock in days that has used just its budget ends with the day of `since`. One that has used
/// more, by being paused on such a day, ends at once.
#[must_use]
pub fn due_after(since: Timestamp, rule: ClockRule, used: i64, worktime: Worktime<'_>) -> Due {
    match total(rule).saturating_sub(used) {
        ..0 => elapsed(since, SignedDuration::ZERO, worktime.calendar),
        left => after(since, left, rule.unit, worktime),
    }
}

/// When its owner is reminded of a clock that runs from `since` on: when three quarters of the budget
/// are used, or of what is left of it, if it has used them already (ours: no rule was found). Clocks
/// that go by days or by the desk remind while it is open.
/// `None` if that is not before the clock's end.
#[must_use]
pub fn remind_at(since: Timestamp, rule: ClockRule, used: i64, worktime: Worktime<'_>) -> Option<Timestamp> {
    let most = |whole: i64| whole / 4 * 3 + whole % 4 * 3 / 4;
    let left = most(total(rule)).saturating_sub(used);
    let left = match left {
        ..=0 => most(total(rule).saturating_sub(used)),
        left => left,
    };
    if left <= 0 {
        return None;
    }
    let at = after(since, left, rule.unit, worktime).at;
    let at = match rule.unit {
        Unit::Minutes | Unit::Hours => at,
        Unit::CalendarDays | Unit::WorkingDays | Unit::WorkingHours => opening(at, worktime)?,
    };
    (at < due_after(since, rule, used, worktime).at).then_some(at)
}

/// The instant itself if the desk is open, or else when it opens next.
fn opening(at: Timestamp, Worktime { calendar, hours }: Worktime<'_>) -> Option<Timestamp> {
    let hours = hours.unwrap_or_else(|| Hours::whole_day());
    let first = calendar.date(at);
    std::iter::once(first)
        .chain(days_after(first))
        .filter(|day| calendar.is_working_day(*day))
        .flat_map(|day| hours.spans().map(move |span| (day, span)))
        .map(|(day, (opens, closes))| (calendar.at(day, opens), calendar.at(day, closes)))
        .find(|(_, closes)| *closes > at)
        .map(|(opens, _)| opens.max(at))
}

/// The end of what is left of a budget.
fn after(since: Timestamp, left: i64, unit: Unit, worktime: Worktime<'_>) -> Due {
    let days = || usize::try_from(left).unwrap_or(usize::MAX);
    match unit {
        Unit::Minutes | Unit::Hours => elapsed(since, SignedDuration::from_micros(left), worktime.calendar),
        Unit::CalendarDays => calendar_days(since, days(), worktime.calendar),
        Unit::WorkingDays => working_days(since, days(), worktime),
        Unit::WorkingHours => working_hours(since, SignedDuration::from_micros(left), worktime),
    }
}

/// The amount that a clock in `unit` uses in a run.
///
/// Days are counted from the day after an act (民法典 201), be it the start of the clock or its
/// resumption, to the day on which it is paused. So a pause that begins and ends on one day moves
/// no deadline, and any other moves it by the days between its begin and its end.
///
/// But a run uses at least one day if the pause before it took one that counts. Otherwise a clock
/// that is resumed and paused again on one day, time after time, would never end. So it ends after
/// at most two more such pauses than its budget has days, and never earlier than without pauses.
#[must_use]
pub fn used(run: Run, unit: Unit, worktime: Worktime<'_>) -> i64 {
    let Run { paused, from, to } = run;
    if to <= from {
        return 0;
    }
    let calendar = worktime.calendar;
    let days = |counts: &dyn Fn(Date) -> bool| {
        let paused = paused.map_or(0, |paused| days_between(paused, from, calendar, counts));
        days_between(from, to, calendar, counts).max(paused.min(1))
    };
    match unit {
        Unit::Minutes | Unit::Hours => micros(to.duration_since(from)),
        Unit::CalendarDays => days(&|_| true),
        Unit::WorkingDays => days(&|day| calendar.is_working_day(day)),
        Unit::WorkingHours => open_between(from, to, worktime),
    }
}

/// The whole budget, in the unit of [`used`].
#[must_use]
pub fn total(rule: ClockRule) -> i64 {
    const MINUTE: i64 = 60_000_000;
    let value = i64::from(rule.value);
    match rule.unit {
        Unit::Minutes => value.saturating_mul(MINUTE),
        Unit::Hours | Unit::WorkingHours => value.saturating_mul(60 * MINUTE),
        Unit::CalendarDays | Unit::WorkingDays => value,
    }
}

/// Days after the first instant's day, up to and including the second's.
fn days_between(from: Timestamp, to: Timestamp, calendar: &Calendar, counts: &dyn Fn(Date) -> bool) -> i64 {
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
