//! `remit log trace`: who held a case, how long, by the log alone.

use api::event::Detail;
use clap::Args;
use journal::Time;
use serde_json::{Value, json};

use super::{Context, kinds, show};
use crate::{
    client::Failed,
    output::{self, Paint as _, bad, good, id, line, strong, tell, tr},
};

/// Trace who held a case, since when and how long, what each took over, and what it missed
///
/// From the log alone: each change of the case, verified like by `remit log show`, tells who has to
/// act from then on. For auditors and agencies that may see the case; the reading is logged with
/// its purpose. Exits with 5 if a verification fails.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log trace cases/0199… --as auditor --purpose 'complaint 2027-3'
  remit log trace cases/0199… --as police-450000 --purpose 'who was late' --json")]
pub struct Command {
    /// Resource name of the case
    #[arg(value_name = "CASE")]
    case: String,
    /// What it is read for; logged
    #[arg(long, value_name = "TEXT")]
    purpose: String,
}

/// A time in which one agency had to act on a case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// Resource name of the agency.
    agency: String,
    /// The kind of change that gave it the case.
    by: String,
    from: Time,
    /// `None` while it still has it.
    until: Option<Time>,
    /// When it took the case over.
    taken: Option<Time>,
    /// What it missed: the duty in words, and by when it was due.
    missed: Vec<(&'static str, Time)>,
    /// How often it was reminded.
    reminded: usize,
}

/// Who held a case, in order, by its changes. The first clock after each is the one under which the
/// owner must act; a case without one has ended.
fn held<'c>(changes: impl Iterator<Item = (Time, &'c str, &'c Detail)>) -> Vec<Held> {
    let mut all: Vec<Held> = Vec::new();
    for (time, kind, detail) in changes {
        if let Some(last) = all.last_mut().filter(|last| last.until.is_none()) {
            // A clock beside the owner's is another's.
            let own = detail.missed_clock.iter().filter(|clock| clock.owner == last.agency);
            last.missed.extend(own.map(|clock| {
                let due = clock.due_time.as_ref().and_then(Time::from_proto);
                (output::duty(clock.kind()), due.unwrap_or(time))
            }));
            let reminded = detail.reminded_clock.iter().filter(|clock| clock.owner == last.agency);
            last.reminded += reminded.count();
            if kind == "case.acknowledged" && last.taken.is_none() {
                last.taken = Some(time);
            }
        }
        let owner = detail.clocks.first().map(|clock| clock.owner.as_str());
        let holds = all.last().filter(|last| last.until.is_none());
        if owner == holds.map(|last| last.agency.as_str()) {
            continue;
        }
        if let Some(last) = all.last_mut() {
            last.until.get_or_insert(time);
        }
        all.extend(owner.map(|owner| Held {
            agency: owner.to_owned(),
            by: kind.to_owned(),
            from: time,
            until: None,
            taken: None,
            missed: Vec::new(),
            reminded: 0,
        }));
    }
    all
}

/// A length of time, in days, hours and minutes.
fn long(seconds: i64) -> String {
    let minutes = seconds.max(0) / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => tell("{0} min", &[&minutes]),
        (0, _) => tell("{0} h {1} min", &[&hours, &minutes]),
        _ => tell("{0} d {1} h", &[&days, &hours]),
    }
}

impl Held {
    fn seconds(&self, now: Time) -> i64 {
        (self.until.unwrap_or(now).0 - self.from.0) / 1_000_000
    }

    fn show(&self, now: Time) -> anyhow::Result<()> {
        let at = |time: Time| output::time(Some(&time.to_proto()));
        let until = match self.until {
            Some(until) => at(until),
            None => tr("now").to_owned(),
        };
        line(tell(
            "{0}  {1}, from {2} until {3}",
            &[
                &id(&self.agency).style(strong()),
                &long(self.seconds(now)),
                &at(self.from),
                &until,
            ],
        ))?;
        line(format_args!("   {}", kinds::in_words(&self.by)))?;
        match self.taken {
            Some(taken) => {
                let after = long((taken.0 - self.from.0) / 1_000_000);
                line(format_args!(
                    "   {}",
                    tell("taken over {0}, after {1}", &[&at(taken), &after])
                ))?;
            }
            None => line(format_args!("   {}", tr("never taken over")))?,
        }
        if self.reminded > 0 {
            line(format_args!("   {}", tell("reminded {0} times", &[&self.reminded])))?;
        }
        for (duty, due) in &self.missed {
            let missed = tell("missed: had to {0} by {1}", &[duty, &at(*due)]);
            line(format_args!("   {}", missed.style(bad())))?;
        }
        Ok(())
    }

    fn json(&self, now: Time) -> Value {
        json!({
            "agency": self.agency, "by": self.by, "from": self.from.to_string(),
            "until": self.until.map(|until| until.to_string()), "seconds": self.seconds(now),
            "taken": self.taken.map(|taken| taken.to_string()), "reminded": self.reminded,
            "missed": self.missed.iter().map(|(duty, due)| json!({"duty": duty, "due": due.to_string()})).collect::<Vec<_>>(),
        })
    }
}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let case = format!("cases/{}", id(&self.case));
        let audit = context.audit()?;
        let key = context.key()?;
        let changes = show::changes(&audit, key.as_deref(), &case, Some(&self.purpose)).await?;
        if changes.is_empty() {
            return Err(Failed::NotFound(format!("the log has no change of {case}")).into());
        }
        show::chained(&changes)?;
        let empty = Detail::default();
        let held = held(changes.iter().map(|change| {
            let detail = change.detail.as_ref().unwrap_or(&empty);
            (change.entry.time, change.entry.kind.as_str(), detail)
        }));
        let now = journal::Clock::now(&journal::SystemClock);
        if context.json() {
            let held: Vec<_> = held.iter().map(|held| held.json(now)).collect();
            let traced = json!({"case": case, "changes": changes.len(), "verified": key.is_some(), "held": held});
            return output::value(&traced);
        }
        line(case.style(strong()))?;
        for held in &held {
            held.show(now)?;
        }
        match &key {
            Some(_) => line(format_args!(
                "{} {}",
                "✓".style(good()),
                tell(
                    "by {0} changes, each proven by the log and linked to the one before",
                    &[&changes.len()]
                )
            ))?,
            None => line(tr("not verified: no log key; set it with --key or REMIT_LOG_KEY").style(bad()))?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use api::event::{Clock, ClockKind};

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn clock(owner: &str) -> Clock {
        Clock {
            kind: ClockKind::Acknowledge.into(),
            owner: format!("agencies/{owner}"),
            due_time: Some(Time(9 * HOUR).to_proto()),
            ..Clock::default()
        }
    }

    fn owned(owner: &str) -> Detail {
        Detail {
            clocks: vec![clock(owner), clock("helper")],
            ..Detail::default()
        }
    }

    #[test]
    fn a_case_is_held_by_whom_the_log_says_and_as_long() {
        let reminded = Detail {
            reminded_clock: Some(clock("one")),
            ..owned("one")
        };
        let missed = |by: &str, then: &str| Detail {
            missed_clock: Some(clock(by)),
            ..owned(then)
        };
        let changes = [
            (Time(0), "case.opened", owned("one")),
            (Time(HOUR), "case.deadline-reminded", reminded),
            (Time(2 * HOUR), "case.assistance-passed-on", missed("helper", "one")),
            (Time(3 * HOUR), "case.escalated", missed("one", "two")),
            (Time(5 * HOUR), "case.acknowledged", owned("two")),
            (Time(6 * HOUR), "case.transferred", owned("one")),
            (Time(30 * HOUR), "case.closed", Detail::default()),
            (Time(40 * HOUR), "case.information-added", Detail::default()),
            (Time(50 * HOUR), "case.reopened", owned("one")),
        ];
        let held = held(changes.iter().map(|(time, kind, detail)| (*time, *kind, detail)));
        let told: Vec<_> = held
            .iter()
            .map(|held| {
                let hours = held.seconds(Time(51 * HOUR)) / 3_600;
                (
                    id(&held.agency),
                    held.by.as_str(),
                    hours,
                    held.missed.len(),
                    held.reminded,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("one", "case.opened", 3, 1, 1),
                ("two", "case.escalated", 3, 0, 0),
                ("one", "case.transferred", 24, 0, 0),
                ("one", "case.reopened", 1, 0, 0),
            ],
            "what a helper missed is not the owner's, and nobody holds what has ended"
        );
        assert_eq!((held[0].taken, held[1].taken), (None, Some(Time(5 * HOUR))));
        assert_eq!((held[2].until, held[3].until), (Some(Time(30 * HOUR)), None));
    }

    #[test]
    fn a_length_of_time_has_its_two_largest_units() {
        assert_eq!([long(59), long(3_660), long(90_000)], ["0 min", "1 h 1 min", "1 d 1 h"]);
    }
}
