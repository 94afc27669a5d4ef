//! The screen of the queue: what it shows, and what a key does. Neither reads nor writes anything.

use api::{
    event::HandOverReason,
    routing::{Case, HandOverPreview, WorklistCount},
};
use journal::Time;

use crate::output::{
    self, Paint as _, bad, case as words, case_state, category, columns, dim, distance, duty, id, one_line, reason,
    strong, tell, tr,
};

/// A key, as a terminal sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    /// Ctrl-C or Ctrl-D.
    Interrupt,
}

/// What the terminal has to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Draw what changed on the screen.
    Draw,
    /// End.
    Quit,
    /// Read counts and cases again.
    Reload,
    /// Show a case whole.
    Open(String),
    /// Take a case over, as it was shown.
    Take { name: String, etag: String },
    /// Assign a case to the clerk, or give it back into the pool, as it was shown.
    Assign { name: String, etag: String, to_me: bool },
    /// Ask what handing a case on would do.
    Preview(HandOn),
    /// Hand a case on.
    HandOn(HandOn),
}

/// A case to hand on, as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOn {
    pub name: String,
    pub etag: String,
    /// Id of the receiver.
    pub to: String,
    pub reason: HandOverReason,
}

/// What the clerk is being asked.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    /// To whom, as typed so far.
    Receiver { case: (String, String), typed: String },
    /// Why.
    Reason { case: (String, String), to: String },
    /// Whether to do what was shown.
    Sure {
        hand_on: HandOn,
        preview: Box<HandOverPreview>,
    },
}

/// Reasons to hand a case on, by the keys 1, 2 and so on.
const REASONS: [HandOverReason; 6] = [
    HandOverReason::Place,
    HandOverReason::Matter,
    HandOverReason::Level,
    HandOverReason::HandledElsewhere,
    HandOverReason::ConflictOfInterest,
    HandOverReason::BetterPlaced,
];

/// Characters of an agency's id, at most.
const LONGEST_ID: usize = 64;

/// What is on the screen.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// The clerk, if named.
    officer: Option<String>,
    /// Whether the cases of the agencies below are shown: to look at, and nothing else.
    below: bool,
    /// Whether only the clerk's own cases are shown.
    mine: bool,
    /// Resource name of the clerk's agency.
    agency: String,
    counts: Vec<WorklistCount>,
    /// Which of the worklists is shown.
    shown: usize,
    cases: Vec<Case>,
    /// Whether the list has more cases than were read.
    more: bool,
    /// Where the selected case is; `None` after it went, until a movement: a key must not meet a
    /// neighbour.
    selected: Option<usize>,
    asked: Option<Asked>,
    /// What happened last, and whether it failed.
    message: (String, bool),
}

impl Screen {
    /// The screen of a clerk, if one is named; or of the agencies below.
    pub fn of(officer: Option<String>, below: bool) -> Self {
        Self {
            officer: officer.filter(|_| !below),
            below,
            ..Self::default()
        }
    }

    /// Whether it has the cases of the agencies below.
    pub const fn is_below(&self) -> bool {
        self.below
    }

    /// The officer whose cases are shown; empty for those of all.
    pub fn shown_of(&self) -> &str {
        let officer = self.officer.as_deref().filter(|_| self.mine);
        officer.unwrap_or_default()
    }

    /// The worklist that is shown; as the contract numbers it.
    pub fn worklist(&self) -> i32 {
        let count = self.counts.get(self.shown);
        count.map_or(api::routing::Worklist::Due.into(), |count| count.worklist)
    }

    /// Takes what was read. The same case stays selected; if it is gone, none is, and that is said.
    pub fn load(&mut self, agency: String, counts: Vec<WorklistCount>, cases: Vec<Case>, more: bool) {
        let selected = self.case().map(|case| case.name.clone());
        let still = selected
            .as_ref()
            .and_then(|name| cases.iter().position(|case| case.name == *name));
        if let Some(gone) = selected.filter(|_| still.is_none()) {
            self.say(tell("{0} is not on this list any more", &[&gone]));
            self.asked = None;
        } else if self.message.1 {
            self.say("");
        }
        let is_first = self.cases.is_empty();
        self.selected = still.or(is_first.then_some(0));
        (self.agency, self.counts, self.cases, self.more) = (agency, counts, cases, more);
        self.shown = self.shown.min(self.counts.len().saturating_sub(1));
    }

    /// Says what happened.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = (text.into(), false);
    }

    /// Says what failed.
    pub fn fail(&mut self, text: impl Into<String>) {
        self.message = (text.into(), true);
    }

    /// Asks whether to hand a case on, now that it is known what that does.
    pub fn ask_whether(&mut self, hand_on: HandOn, preview: HandOverPreview) {
        let preview = Box::new(preview);
        self.asked = Some(Asked::Sure { hand_on, preview });
    }

    fn case(&self) -> Option<&Case> {
        self.cases.get(self.selected?)
    }

    /// What a key does.
    pub fn press(&mut self, key: Key) -> Do {
        if key == Key::Interrupt {
            return Do::Quit;
        }
        match self.asked.take() {
            Some(asked) => self.answer(asked, key),
            None => self.command(key),
        }
    }

    fn command(&mut self, key: Key) -> Do {
        self.message = (String::new(), false);
        let of = |case: &Case| (case.name.clone(), case.etag.clone());
        match (key, self.case()) {
            (Key::Char('q'), _) => return Do::Quit,
            (Key::Char('r'), _) => return Do::Reload,
            (Key::Char('n') | Key::Tab, _) => return self.turn(1),
            (Key::Char('p') | Key::BackTab, _) => return self.turn(self.counts.len().saturating_sub(1)),
            (Key::Down | Key::Char('j'), _) => {
                let next = self.selected.map_or(0, |at| at + 1);
                self.selected = Some(next.min(self.cases.len().saturating_sub(1)));
            }
            (Key::Up | Key::Char('k'), _) => self.selected = Some(self.selected.map_or(0, |at| at.saturating_sub(1))),
            (Key::Enter | Key::Char('o'), Some(case)) => return Do::Open(case.name.clone()),
            (Key::Char('t' | 'h' | 'a' | 'b' | 'm'), _) if self.below => {
                self.fail(tr(
                    "these are led by others: `remit case supervise` puts one under your supervision",
                ));
            }
            (Key::Char('t'), Some(case)) => {
                let (name, etag) = of(case);
                return Do::Take { name, etag };
            }
            (Key::Char('m'), _) if self.officer.is_some() => {
                self.mine = !self.mine;
                return self.turn(0);
            }
            (Key::Char(key @ ('a' | 'b')), Some(case)) if self.officer.is_some() => {
                let ((name, etag), to_me) = (of(case), key == 'a');
                return Do::Assign { name, etag, to_me };
            }
            (Key::Char('a' | 'b' | 'm'), _) if self.officer.is_none() => {
                self.fail(tr("name yourself first: begin with --officer"));
            }
            (Key::Char('h'), Some(case)) => {
                let (case, typed) = (of(case), String::new());
                self.asked = Some(Asked::Receiver { case, typed });
            }
            _ => {}
        }
        Do::Draw
    }

    /// Shows another worklist.
    fn turn(&mut self, by: usize) -> Do {
        self.shown = (self.shown + by) % self.counts.len().max(1);
        self.selected = Some(0);
        self.cases.clear();
        Do::Reload
    }

    /// Goes on with a question. Escape ends it with nothing done.
    fn answer(&mut self, asked: Asked, key: Key) -> Do {
        self.asked = match (asked, key) {
            (_, Key::Escape) => None,
            (Asked::Receiver { case, typed }, Key::Enter) => match typed.is_empty() {
                true => None,
                false => Some(Asked::Reason { case, to: typed }),
            },
            (Asked::Receiver { case, mut typed }, key) => {
                match key {
                    // What an id can have: nothing else is worth showing.
                    Key::Char(c) if (c.is_ascii_alphanumeric() || c == '-') && typed.len() < LONGEST_ID => {
                        typed.push(c);
                    }
                    Key::Backspace => drop(typed.pop()),
                    _ => {}
                }
                Some(Asked::Receiver { case, typed })
            }
            (Asked::Reason { case, to }, Key::Char(c)) => {
                let number = c.to_digit(10).and_then(|number| usize::try_from(number).ok());
                match number.and_then(|number| REASONS.get(number.checked_sub(1)?)) {
                    Some(reason) => {
                        let ((name, etag), reason) = (case, *reason);
                        return Do::Preview(HandOn { name, etag, to, reason });
                    }
                    None => Some(Asked::Reason { case, to }),
                }
            }
            (Asked::Sure { hand_on, .. }, Key::Char('y')) => return Do::HandOn(hand_on),
            (Asked::Sure { .. }, Key::Char('n')) => None,
            (asked, _) => Some(asked),
        };
        Do::Draw
    }

    /// The lines, at most `height` of at most `width` columns.
    pub fn draw(&self, width: usize, height: usize, now: Time) -> Vec<String> {
        let mut lines = vec![self.tabs(width), String::new()];
        let below = self.below(width);
        let room = height.saturating_sub(lines.len() + below.len()).max(1);
        // The selected case is always on the screen.
        let from = self.selected.unwrap_or(0).saturating_sub(room.saturating_sub(1));
        let cases = self.cases.iter().enumerate().skip(from).take(room);
        let mut listed: Vec<_> = cases
            .map(|(at, case)| self.row(case, Some(at) == self.selected, width, now))
            .collect();
        if listed.is_empty() {
            listed.push(cut(tr("no cases"), width));
        }
        listed.resize(room, String::new());
        lines.extend(listed);
        lines.extend(below);
        lines.truncate(height);
        lines
    }

    /// The worklists with their counts; those that do not fit are left out, never the shown one.
    fn tabs(&self, width: usize) -> String {
        let mine = match self.shown_of() {
            "" => String::new(),
            officer => format!("{}  ", cut(&one_line(officer), width / 4)),
        };
        let width = width.saturating_sub(columns(&mine));
        let tab = |at: usize, count: &WorklistCount| {
            let more = if count.more { "+" } else { "" };
            let text = format!("{} {}{more}", words::worklist(count.worklist()), count.case_count);
            if at == self.shown {
                format!("[{text}]")
            } else {
                format!(" {text} ")
            }
        };
        let tabs: Vec<_> = self
            .counts
            .iter()
            .enumerate()
            .map(|(at, count)| tab(at, count))
            .collect();
        let wide = |from: usize| {
            tabs[from..=self.shown]
                .iter()
                .map(|tab| columns(tab) + 1)
                .sum::<usize>()
        };
        let from = (0..self.shown).find(|from| wide(*from) <= width).unwrap_or(self.shown);
        let mut line = mine;
        let mut left = width;
        for (at, tab) in tabs.iter().enumerate().skip(from) {
            if columns(tab) + 1 > left {
                break;
            }
            left -= columns(tab) + 1;
            let is_shown = at == self.shown;
            line.push_str(&if is_shown {
                tab.style(strong()).to_string()
            } else {
                tab.style(dim()).to_string()
            });
            line.push(' ');
        }
        line
    }

    /// A case: the remaining time of the agency's own clock, and what it is about.
    fn row(&self, case: &Case, is_selected: bool, width: usize, now: Time) -> String {
        let own = case.clocks.iter().filter(|clock| clock.owner == self.agency);
        let earliest = own.min_by_key(|clock| clock.due_time.as_ref().and_then(Time::from_proto));
        let clock = earliest.or(case.clocks.first());
        let due = clock.and_then(|clock| clock.due_time.as_ref());
        let clock = clock.map(|clock| format!("{} {}", duty(clock.kind()), distance(due, now)));
        let urgent = if case.urgent { tr("urgent") } else { "" };
        let officer = case.assignment.as_ref().map(|assigned| assigned.officer.as_str());
        let text = format!(
            "{} {}  {}  {}  {}  {}  {}  {}",
            if is_selected { ">" } else { " " },
            output::padded(&clock.unwrap_or_default(), 34),
            output::padded(urgent, 6),
            output::padded(case_state(case.state()), 20),
            category(&case.category),
            id(&case.lead),
            case.name,
            officer.unwrap_or_default(),
        );
        let text = cut(&one_line(&text), width);
        let is_late = due.and_then(Time::from_proto).is_some_and(|due| due <= now);
        match (is_selected, is_late) {
            (_, true) => text.style(bad()).to_string(),
            (true, false) => text.style(strong()).to_string(),
            (false, false) => text,
        }
    }

    /// What stands below the list: a question or what happened, and the keys.
    fn below(&self, width: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        let keys = match &self.asked {
            Some(Asked::Receiver { typed, .. }) => {
                lines.push(tell("hand on to which agency? {0}_", &[typed]));
                tr("Enter: go on   Esc: leave it")
            }
            Some(Asked::Reason { to, .. }) => {
                lines.push(tell("to {0}, why?", &[to]));
                let reasons = REASONS.iter().enumerate();
                lines.extend(reasons.map(|(at, why)| format!("  {}  {}", at + 1, reason(*why))));
                tr("1 to 6: choose   Esc: leave it")
            }
            Some(Asked::Sure { hand_on, preview }) => {
                let title = output::text(&preview.lead_titles);
                lines.push(tell(
                    "{0} would go to {1} {2}",
                    &[&hand_on.name, &id(&preview.lead), &title],
                ));
                for clock in &preview.clocks {
                    let due = output::time(clock.due_time.as_ref());
                    lines.push(format!("  {} {}  {due}", duty(clock.kind()), id(&clock.owner)));
                }
                for agency in &preview.losing_sight {
                    lines.push(format!("  {}", tell("{0} loses sight", &[&id(agency)])));
                }
                tr("y: hand it on   n: leave it")
            }
            None => {
                let (message, failed) = &self.message;
                if !message.is_empty() {
                    let message = cut(&one_line(message), width);
                    let painted = message.style(bad()).to_string();
                    lines.push(if *failed { painted } else { message });
                } else if self.more {
                    lines.push(cut(tr("the list is longer: it goes on as these are done"), width));
                }
                if self.officer.is_some() {
                    let keys = tr("a: assign to me   b: back to the pool   m: mine or all");
                    lines.push(cut(keys, width).style(dim()).to_string());
                }
                match self.below {
                    true => tr("o: open   n: next list   r: refresh   q: quit"),
                    false => tr("o: open   t: take over   h: hand on   n: next list   r: refresh   q: quit"),
                }
            }
        };
        let questions = self.asked.is_some();
        let mut lines: Vec<_> = lines
            .into_iter()
            .map(|line| if questions { cut(&one_line(&line), width) } else { line })
            .collect();
        lines.push(cut(keys, width).style(dim()).to_string());
        lines
    }
}

/// A text without style, cut to columns.
fn cut(text: &str, width: usize) -> String {
    let (mut used, mut cut) = (0, String::new());
    for c in text.chars() {
        used += columns(c.encode_utf8(&mut [0; 4]));
        if used > width {
            break;
        }
        cut.push(c);
    }
    cut
}

#[cfg(test)]
mod tests {
    use api::{
        event::{CaseState, Clock, ClockKind},
        routing::{CaseAssignment, Worklist},
    };

    use super::*;

    const NOW: Time = Time(1_790_000_000_000_000);

    fn case(number: u32, owner: &str, minutes: i64) -> Case {
        let clock = |owner: &str, minutes: i64| Clock {
            kind: ClockKind::Result.into(),
            owner: format!("agencies/{owner}"),
            due_time: Some(Time(NOW.0 + minutes * 60_000_000).to_proto()),
            ..Clock::default()
        };
        Case {
            name: format!("cases/{number}"),
            etag: format!("{number}-0"),
            state: CaseState::InProgress.into(),
            category: "categories/gambling".to_owned(),
            lead: "agencies/police-110000".to_owned(),
            clocks: vec![clock("police-440000", 1), clock(owner, minutes)],
            ..Case::default()
        }
    }

    fn screen(cases: Vec<Case>) -> Screen {
        let mut screen = Screen::default();
        screen.reload(cases);
        screen
    }

    impl Screen {
        fn reload(&mut self, cases: Vec<Case>) {
            let count = |worklist: Worklist, case_count: i32| WorklistCount {
                worklist: worklist.into(),
                case_count,
                more: case_count == 10_000,
            };
            let counts = vec![
                count(Worklist::Due, 3),
                count(Worklist::Overdue, 0),
                count(Worklist::Unread, 10_000),
            ];
            self.load("agencies/police-450100".to_owned(), counts, cases, false);
        }
    }

    /// Lines as they are read, without styles.
    fn plain(lines: &[String]) -> Vec<String> {
        let without = |line: &String| {
            let (mut text, mut in_style) = (String::new(), false);
            for c in line.chars() {
                match c {
                    '\x1b' => in_style = true,
                    'm' if in_style => in_style = false,
                    _ if in_style => {}
                    c => text.push(c),
                }
            }
            text.trim_end().to_owned()
        };
        lines.iter().map(without).collect()
    }

    #[test]
    fn a_screen_has_the_lists_the_cases_by_their_own_clock_and_the_keys() {
        let screen = screen(vec![case(1, "police-450100", -61), case(2, "police-450100", 90)]);
        let lines = plain(&screen.draw(140, 8, NOW));
        assert_eq!(lines.len(), 8);
        assert_eq!(lines[0], "[due next 3]  overdue 0   not read 10000+");
        assert!(lines[2].starts_with("> report a result 1 h 1 min ago"), "{lines:?}");
        assert!(
            lines[3].starts_with("  report a result in 1 h 30 min"),
            "the own clock, not the first: {lines:?}"
        );
        assert!(lines[3].ends_with("police-110000  cases/2"), "{lines:?}");
        assert!(lines[7].starts_with("o: open   t: take over"), "{lines:?}");
        let late = screen.draw(140, 8, NOW)[2].clone();
        assert!(late.contains("\x1b["), "what is late stands out");
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_terminal() {
        let mut screen = screen((0..50).map(|number| case(number, "police-450100", 5)).collect());
        screen.say("a message that is longer than such a terminal is wide");
        for width in [1, 20, 47, 80] {
            for height in [3, 5, 24] {
                for _ in 0..10 {
                    screen.press(Key::Down);
                    let lines = screen.draw(width, height, NOW);
                    assert!(lines.len() <= height, "{height}");
                    assert!(
                        lines.iter().all(|line| columns(line) <= width + 1),
                        "{width}: {lines:?}"
                    );
                }
            }
        }
        let lines = plain(&screen.draw(80, 10, NOW));
        assert!(
            lines.iter().any(|line| line.starts_with('>')),
            "the selected case is there: {lines:?}"
        );
        assert_eq!(cut("中文字", 5), "中文", "no half of a character");
    }

    #[test]
    fn what_strangers_wrote_does_nothing_to_the_screen() {
        let mut hostile = case(1, "police-450100", 5);
        hostile.lead = "agencies/a\x1b[2Jb\nc\u{202e}".to_owned();
        let mut screen = screen(vec![hostile]);
        screen.fail("\x1b]0;title\x07");
        for line in screen.draw(200, 8, NOW) {
            assert!(
                !line.contains("\x1b[2J") && !line.contains("\x1b]") && !line.contains('\n'),
                "{line:?}"
            );
            assert!(!line.contains('\u{202e}'), "{line:?}");
        }
    }

    #[test]
    fn each_key_does_its_one_thing() {
        let mut screen = screen(vec![case(1, "police-450100", 1), case(2, "police-450100", 2)]);
        let took = |number: u32| Do::Take {
            name: format!("cases/{number}"),
            etag: format!("{number}-0"),
        };
        for (key, does) in [
            (Key::Char('t'), took(1)),
            (Key::Up, Do::Draw),
            (Key::Down, Do::Draw),
            (Key::Char('o'), Do::Open("cases/2".to_owned())),
            (Key::Down, Do::Draw),
            (Key::Enter, Do::Open("cases/2".to_owned())),
            (Key::Char('k'), Do::Draw),
            (Key::Char('t'), took(1)),
            (Key::Char('x'), Do::Draw),
            (Key::Escape, Do::Draw),
            (Key::Char('r'), Do::Reload),
            (Key::Char('q'), Do::Quit),
        ] {
            assert_eq!(screen.press(key), does, "{key:?}");
        }
        // Another list has nothing selected until it is read.
        assert_eq!(
            (screen.press(Key::Char('n')), screen.worklist()),
            (Do::Reload, Worklist::Overdue.into())
        );
        assert_eq!(screen.press(Key::Char('t')), Do::Draw);
        assert_eq!(
            (screen.press(Key::Tab), screen.worklist()),
            (Do::Reload, Worklist::Unread.into())
        );
        assert_eq!(
            (screen.press(Key::Tab), screen.worklist()),
            (Do::Reload, Worklist::Due.into())
        );
        assert_eq!(
            (screen.press(Key::BackTab), screen.worklist()),
            (Do::Reload, Worklist::Unread.into())
        );
        screen.reload(vec![]);
        assert_eq!(screen.press(Key::Down), Do::Draw);
        assert_eq!(screen.press(Key::Char('h')), Do::Draw);
        assert_eq!(screen.press(Key::Char('q')), Do::Quit);
    }

    #[test]
    fn a_clerk_who_is_named_takes_from_the_pool_and_looks_at_own_cases() {
        let mut assigned = case(1, "police-450100", 1);
        assigned.assignment = Some(CaseAssignment {
            officer: "o-1\x1b[2J".to_owned(),
            ..CaseAssignment::default()
        });
        let mut screen = Screen::of(Some("o-1".to_owned()), false);
        screen.reload(vec![assigned, case(2, "police-450100", 2)]);
        let lines = plain(&screen.draw(140, 9, NOW));
        assert!(
            lines[2].contains("cases/1  o-1") && lines[3].ends_with("cases/2"),
            "{lines:?}"
        );
        assert!(lines[7].starts_with("a: assign to me   b: back"), "{lines:?}");
        let assign = |to_me| Do::Assign {
            name: "cases/1".to_owned(),
            etag: "1-0".to_owned(),
            to_me,
        };
        assert_eq!(screen.press(Key::Char('a')), assign(true));
        assert_eq!(screen.press(Key::Char('b')), assign(false));
        assert_eq!((screen.press(Key::Char('m')), screen.shown_of()), (Do::Reload, "o-1"));
        screen.reload(vec![]);
        assert!(plain(&screen.draw(140, 9, NOW))[0].starts_with("o-1  [due next"));
        assert_eq!((screen.press(Key::Char('m')), screen.shown_of()), (Do::Reload, ""));
        // Nobody assigns without a name.
        let mut unnamed = self::screen(vec![case(1, "police-450100", 1)]);
        for key in ['a', 'b', 'm'] {
            assert_eq!(unnamed.press(Key::Char(key)), Do::Draw);
            let lines = plain(&unnamed.draw(140, 8, NOW)).join("\n");
            assert!(lines.contains("begin with --officer"), "{lines}");
        }
    }

    #[test]
    fn what_others_below_lead_is_looked_at_only() {
        let mut screen = Screen::of(Some("o-1".to_owned()), true);
        screen.reload(vec![case(1, "police-450200", 1)]);
        assert!(screen.is_below() && screen.shown_of().is_empty());
        let lines = plain(&screen.draw(140, 8, NOW));
        assert_eq!(lines[7], "o: open   n: next list   r: refresh   q: quit");
        for key in ['t', 'h', 'a', 'b', 'm'] {
            assert_eq!(screen.press(Key::Char(key)), Do::Draw, "{key}");
            let lines = plain(&screen.draw(140, 8, NOW)).join("\n");
            assert!(lines.contains("remit case supervise"), "{lines}");
        }
        assert_eq!(screen.press(Key::Char('o')), Do::Open("cases/1".to_owned()));
    }

    #[test]
    fn a_case_is_handed_on_after_its_receiver_a_reason_and_what_it_does() {
        let mut screen = screen(vec![case(1, "police-450100", 1)]);
        let typed = |screen: &mut Screen, text: &str| {
            for c in text.chars() {
                assert_eq!(screen.press(Key::Char(c)), Do::Draw);
            }
        };
        typed(&mut screen, "hpolice-5199 \x1b");
        screen.press(Key::Backspace);
        assert!(plain(&screen.draw(80, 10, NOW)).contains(&"hand on to which agency? police-519_".to_owned()));
        assert_eq!(
            screen.press(Key::Char('q')),
            Do::Draw,
            "a letter of the name, and not the end"
        );
        screen.press(Key::Backspace);
        assert_eq!(screen.press(Key::Enter), Do::Draw);
        for other in [Key::Char('0'), Key::Char('7'), Key::Char('q'), Key::Enter] {
            assert_eq!(screen.press(other), Do::Draw, "{other:?}");
        }
        let hand_on = HandOn {
            name: "cases/1".to_owned(),
            etag: "1-0".to_owned(),
            to: "police-519".to_owned(),
            reason: HandOverReason::HandledElsewhere,
        };
        assert_eq!(screen.press(Key::Char('4')), Do::Preview(hand_on.clone()));
        let preview = HandOverPreview {
            lead: "agencies/police-519".to_owned(),
            losing_sight: vec!["agencies/police-440000".to_owned()],
            ..HandOverPreview::default()
        };
        screen.ask_whether(hand_on.clone(), preview.clone());
        let lines = plain(&screen.draw(80, 12, NOW)).join("\n");
        assert!(
            lines.contains("would go to police-519") && lines.contains("police-440000 loses sight"),
            "{lines}"
        );
        assert_eq!(screen.press(Key::Enter), Do::Draw, "only a plain yes");
        assert_eq!(screen.press(Key::Char('y')), Do::HandOn(hand_on.clone()));
        for no in [Key::Char('n'), Key::Escape] {
            screen.ask_whether(hand_on.clone(), preview.clone());
            assert_eq!(screen.press(no), Do::Draw);
            assert_eq!(screen.press(Key::Char('y')), Do::Draw, "nothing is asked any more");
        }
    }

    #[test]
    fn a_refresh_keeps_the_selected_case_and_selects_no_other() {
        let cases = |numbers: &[u32]| numbers.iter().map(|number| case(*number, "police-450100", 5)).collect();
        let mut screen = screen(cases(&[1, 2, 3]));
        screen.press(Key::Down);
        screen.reload(cases(&[7, 8, 2]));
        assert_eq!(screen.press(Key::Enter), Do::Open("cases/2".to_owned()));
        screen.reload(cases(&[7, 8, 9]));
        for key in [Key::Enter, Key::Char('t')] {
            assert_eq!(screen.press(key), Do::Draw, "the neighbour was not meant");
        }
        screen.reload(cases(&[7]));
        assert_eq!(screen.press(Key::Char('t')), Do::Draw);
        screen.press(Key::Down);
        assert_eq!(screen.press(Key::Enter), Do::Open("cases/7".to_owned()));
    }
}
