//! The note for the next shift, made from open clocks, and who acts in whose stead.

use std::collections::BTreeSet;

use api::{
    event::{CaseState, Clock, ClockKind, PauseGround},
    routing::{Case, Deputy, ListDeputiesResponse},
};
use journal::Time;

use super::{case, case_state, category, distance, duty, id, line, one_line, tell, time, tr};

/// Of whom a note is, and of when.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// Resource name of the agency.
    pub agency: &'a str,
    /// The officer; empty for all.
    pub officer: &'a str,
    /// When it is made.
    pub now: Time,
    /// Whether there are more cases than were read.
    pub is_cut: bool,
}

impl Note<'_> {
    /// Prints it.
    pub fn print(&self, cases: &[Case]) -> anyhow::Result<()> {
        for text in self.lines(cases) {
            line(text)?;
        }
        Ok(())
    }

    /// Its lines: plain text, to be printed on paper.
    pub fn lines(&self, cases: &[Case]) -> Vec<String> {
        let mut lines = vec![match self.officer {
            "" => tell("Hand-over of {0}", &[&id(self.agency)]),
            officer => tell("Hand-over of {0} at {1}", &[&one_line(officer), &id(self.agency)]),
        }];
        lines.push(tell("made {0}", &[&time(Some(&self.now.to_proto()))]));
        let mut seen = BTreeSet::new();
        let mut open: Vec<_> = cases
            .iter()
            .filter(|case| self.concerns(case) && seen.insert(&case.name))
            .collect();
        open.sort_by_key(|case| (self.next(case).map_or(i64::MAX, due), &case.name));
        let late = open
            .iter()
            .filter(|case| self.next(case).is_some_and(|clock| due(clock) <= self.now.0));
        lines.push(tell("{0} open cases, {1} of them late", &[&open.len(), &late.count()]));
        for (number, case) in open.into_iter().enumerate() {
            lines.push(String::new());
            lines.extend(self.case(number + 1, case));
        }
        if self.is_cut {
            lines.push(String::new());
            lines.push(tr("There are more cases than were read: name a larger --limit.").to_owned());
        }
        lines
    }

    /// Whether the agency has something to do with it, or waits for something: it leads it, an
    /// officer has it, or a clock runs against it.
    fn concerns(&self, case: &Case) -> bool {
        let owes = case.clocks.iter().any(|clock| clock.owner == self.agency);
        case.lead == self.agency || owes || case.assignment.is_some()
    }

    /// The agency's own clock that ends first, or else the owner's.
    fn next<'c>(&self, case: &'c Case) -> Option<&'c Clock> {
        let own = case.clocks.iter().filter(|clock| clock.owner == self.agency);
        own.min_by_key(|clock| due(clock)).or(case.clocks.first())
    }

    fn case(&self, number: usize, case: &Case) -> Vec<String> {
        let urgent = if case.urgent {
            format!(", {}", tr("urgent"))
        } else {
            String::new()
        };
        let head = format!(
            "{number}. {}  {}, {}{urgent}",
            case.name,
            category(&case.category),
            case_state(case.state())
        );
        let mut lines = vec![head];
        let mut more = |text: String| lines.push(format!("   {}", one_line(&text)));
        if let Some(assigned) = &case.assignment {
            more(tell("with {0}", &[&assigned.officer]));
        }
        if case.lead != self.agency && !case.lead.is_empty() {
            more(tell("led by {0}", &[&id(&case.lead)]));
        }
        if !case.supervisor.is_empty() {
            more(tell("supervised by {0}", &[&id(&case.supervisor)]));
        }
        for clock in case.clocks.iter().filter(|clock| clock.owner == self.agency) {
            let until = time(clock.due_time.as_ref());
            more(match clock.pause_ground() {
                PauseGround::Unspecified => tell(
                    "has to {0} by {1} ({2})",
                    &[
                        &duty(clock.kind()),
                        &until,
                        &distance(clock.due_time.as_ref(), self.now),
                    ],
                ),
                ground => tell(
                    "the time to {0} stands still for {1}, until {2} at the latest",
                    &[&duty(clock.kind()), &case::ground(ground), &until],
                ),
            });
        }
        for awaited in self.awaited(case) {
            more(tell("waits for {0}", &[&awaited]));
        }
        lines
    }

    /// What the case waits for from others.
    fn awaited(&self, case: &Case) -> Vec<String> {
        let mut awaited = Vec::new();
        if let Some(question) = &case.question {
            let by = time(question.answer_by_time.as_ref());
            awaited.push(tell("the reporter's answer, until {0}", &[&by]));
        }
        for clock in case.clocks.iter().filter(|clock| clock.owner != self.agency) {
            let (owner, until) = (id(&clock.owner), time(clock.due_time.as_ref()));
            awaited.push(match clock.kind() {
                ClockKind::Assist => tell("the help of {0}, until {1}", &[&owner, &until]),
                ClockKind::Receive => tell("the answer of {0} to the crime, until {1}", &[&owner, &until]),
                ClockKind::Designate => tell("{0} to designate a lead, until {1}", &[&owner, &until]),
                kind => tell("{0} to {1}, until {2}", &[&owner, &duty(kind), &until]),
            });
        }
        if case.state() == CaseState::InReview {
            awaited.push(tr("a second officer's review of the disposition").to_owned());
        }
        for notice in &case.notices {
            if notice.statement == 0 && !notice.of_decision && case.state() == CaseState::InReview {
                let by = time(notice.respond_by_time.as_ref());
                awaited.push(tell(
                    "the affected side's statement (notice {0}), until {1}",
                    &[&notice.notice_number, &by],
                ));
            }
        }
        awaited
    }
}

fn due(clock: &Clock) -> i64 {
    let due = clock.due_time.as_ref().and_then(Time::from_proto);
    due.map_or(i64::MAX, |due| due.0)
}

/// Who acts in whose stead, one a line.
pub fn deputies(answer: &ListDeputiesResponse) -> anyhow::Result<()> {
    if answer.deputies.is_empty() {
        line(tr("nobody acts in another's stead"))?;
    }
    for deputy in &answer.deputies {
        line(self::deputy(deputy))?;
    }
    Ok(())
}

/// A deputy, in a line.
pub fn deputy(deputy: &Deputy) -> String {
    let (from, until) = (time(deputy.begin_time.as_ref()), time(deputy.end_time.as_ref()));
    let said = tell(
        "{0} acts for {1}, from {2} until {3}",
        &[&one_line(&deputy.deputy), &one_line(&deputy.officer), &from, &until],
    );
    format!("{}  {said}", deputy.name)
}

#[cfg(test)]
mod tests {
    use api::{intake::Question, routing::CaseAssignment};

    use super::*;

    const NOW: Time = Time(1_790_000_000_000_000);
    const US: &str = "agencies/police-450100";

    fn at(minutes: i64) -> Option<prost_types::Timestamp> {
        Some(Time(NOW.0 + minutes * 60_000_000).to_proto())
    }

    fn clock(owner: &str, kind: ClockKind, minutes: i64) -> Clock {
        Clock {
            kind: kind.into(),
            owner: owner.to_owned(),
            due_time: at(minutes),
            ..Clock::default()
        }
    }

    fn case(number: u32, minutes: i64) -> Case {
        Case {
            name: format!("cases/{number}"),
            state: CaseState::InProgress.into(),
            category: "categories/gambling".to_owned(),
            lead: US.to_owned(),
            clocks: vec![clock(US, ClockKind::Result, minutes)],
            ..Case::default()
        }
    }

    fn note(cases: &[Case]) -> Vec<String> {
        let note = Note {
            agency: US,
            officer: "",
            now: NOW,
            is_cut: false,
        };
        note.lines(cases)
    }

    #[test]
    fn a_note_has_what_is_open_by_its_next_date_and_what_it_waits_for() {
        let mut asked = case(1, 90);
        asked.question = Some(Question {
            answer_by_time: at(60),
            ..Question::default()
        });
        asked
            .clocks
            .push(clock("agencies/police-440000", ClockKind::Assist, 30));
        asked.assignment = Some(CaseAssignment {
            officer: "o-1\x1b[2J".to_owned(),
            ..CaseAssignment::default()
        });
        let mut paused = case(2, 300);
        paused.clocks[0].pause_ground = PauseGround::Hearing.into();
        let late = case(3, -61);
        let mut others = case(4, 5);
        others.lead = "agencies/police-440000".to_owned();
        others.clocks[0].owner = "agencies/police-440000".to_owned();
        let mut review = case(5, 400);
        review.state = CaseState::InReview.into();
        let all = [asked.clone(), paused, late, others, review, asked];
        let lines = note(&all);
        assert_eq!(lines[0], "Hand-over of police-450100");
        assert_eq!(lines[2], "4 open cases, 1 of them late");
        let heads: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("  gambling") || line.contains("cases/"))
            .collect();
        let order = ["1. cases/3", "2. cases/1", "3. cases/2", "4. cases/5"];
        assert_eq!(heads.len(), order.len(), "each once, and no other agency's: {lines:?}");
        assert!(
            heads.iter().zip(order).all(|(head, starts)| head.starts_with(starts)),
            "{heads:?}"
        );
        let text = lines.join("\n");
        for said in [
            "has to report a result by",
            "waits for the reporter's answer, until",
            "waits for the help of police-440000, until",
            "stands still for",
            "waits for a second officer's review",
            "with o-1",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.contains('\x1b'), "nothing reaches a terminal or printer raw");
    }

    #[test]
    fn a_note_that_ends_too_early_says_so() {
        let cut = Note {
            agency: US,
            officer: "o-1",
            now: NOW,
            is_cut: true,
        };
        let lines = cut.lines(&[]);
        assert_eq!(lines[0], "Hand-over of o-1 at police-450100");
        assert_eq!(lines[2], "0 open cases, 0 of them late");
        assert!(lines.last().unwrap().contains("--limit"));
    }
}
