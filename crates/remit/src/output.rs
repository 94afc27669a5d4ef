//! Output of commands: text for people, colours only on a terminal, JSON for machines.
//!
//! Nothing else in this crate writes to standard output or standard error, so that no text of
//! others reaches a terminal but through `harmless.rs`.

pub mod case;
pub mod change;
pub mod explanation;
pub mod handover;
mod harmless;
pub mod notice;
mod words;

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _},
    sync::{LazyLock, OnceLock},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use api::{
    event::{CaseState, ClockKind, ClockUnit, ConnectingFactor, HandOverReason},
    google::r#type::LocalizedText,
    intake::ReportState,
    routing::{ClockNeed, FactorTried, factor_tried::Place},
};
use decision::{factor::Factor, phrases};
use intake::category::Categories;
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use places::Territories;
use prost::{Message, Name};

pub use harmless::{Paint, Painted, Style, one_line, quoted};
use harmless::{escaped_json, harmless};
pub use words::{Language, language, set_language, tell, tr};

/// Width of field names.
const LABEL: usize = 12;

/// Indentation of the further lines of a text.
const FURTHER: usize = 4;

/// Writes one line to standard output, without colours unless it is a terminal. Further lines of
/// the text are indented.
pub fn line(text: impl Display) -> std::io::Result<()> {
    put(&harmless(&text.to_string(), FURTHER))
}

/// Writes what is harmless already.
fn put(text: &str) -> std::io::Result<()> {
    writeln!(AutoStream::auto(std::io::stdout().lock()), "{text}")
}

/// Columns and lines of the terminal; `None` for other outputs.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Takes a screen of its own from a terminal, without a cursor, or gives it back: then what was
/// there before is there again.
pub fn own_screen(take: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(match take {
        true => b"\x1b[?1049h\x1b[?25l",
        false => b"\x1b[?25h\x1b[?1049l",
    })?;
    out.flush()
}

/// Draws lines over a terminal in raw mode that has a screen of its own, and clears the rest.
pub fn draw(lines: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let has_colours = AutoStream::choice(&out) != ColorChoice::Never;
    let mut drawn = String::from("\x1b[H");
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            drawn.push_str("\r\n");
        }
        let text = harmless(line, 0).replace('\n', " ");
        match has_colours {
            true => drawn.push_str(&text),
            false => drawn.push_str(&strip_str(&text).to_string()),
        }
        drawn.push_str("\x1b[K");
    }
    drawn.push_str("\x1b[J");
    out.write_all(drawn.as_bytes())?;
    out.flush()
}

/// Writes a file's content byte for byte; to a terminal, so that nothing in it acts.
pub fn document(content: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        out.write_all(harmless(&String::from_utf8_lossy(content), 0).as_bytes())?;
        if !content.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
    } else {
        out.write_all(content)?;
    }
    out.flush()
}

/// Writes a field and its value, the name in the language of the output. On a terminal, long values
/// wrap with a hanging indent.
pub fn field(name: &str, value: impl Display) -> std::io::Result<()> {
    indented_field(0, LABEL, name, value)
}

/// Like [`field`], with `indent` spaces before it and `label` columns for the name.
pub fn indented_field(indent: usize, label: usize, name: &str, value: impl Display) -> std::io::Result<()> {
    let column = indent + label + 1;
    let value = wrap(&harmless(&value.to_string(), column), column, terminal_width());
    let name = padded(tr(name), label);
    let name = name.style(dim()).to_string();
    put(&format!("{:indent$}{} {value}", "", harmless(&name, column)))
}

/// Width of the terminal; `None` for other outputs, where lines are not wrapped.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Wraps a text at spaces into the columns from `indent` to `width`.
fn wrap(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| *width > indent + 20) else {
        return text.to_owned();
    };
    let mut wrapped = String::with_capacity(text.len());
    let mut column = indent;
    for (i, word) in text.split(' ').enumerate() {
        let columns = columns(word);
        if i > 0 && column + 1 + columns > width {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if i > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += columns;
        if let Some((_, last)) = word.rsplit_once('\n') {
            column = self::columns(last);
        }
    }
    wrapped
}

/// Pads a text with spaces to `width` terminal columns.
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Width of a text on a terminal: Chinese characters take two columns, styles none.
pub fn columns(word: &str) -> usize {
    let mut columns = 0;
    let mut in_style = false;
    for c in word.chars() {
        match c {
            '\x1b' => in_style = true,
            'm' if in_style => in_style = false,
            _ if in_style => {}
            '\u{1100}'..='\u{115f}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff00}'..='\u{ff60}' => columns += 2,
            _ => columns += 1,
        }
    }
    columns
}

/// Writes an error to standard error.
pub fn error(error: &anyhow::Error) {
    warn(format_args!("{} {error:#}", "error:".style(bad())));
}

/// Writes a line to standard error.
pub fn warn(text: impl Display) {
    let text = harmless(&text.to_string(), 2);
    // If stderr is closed, there is nowhere to report it.
    let _ = writeln!(AutoStream::auto(std::io::stderr().lock()), "{text}");
}

/// Writes JSON to standard error, in one line.
pub fn warn_json(value: &serde_json::Value) {
    // If stderr is closed, there is nowhere to report it.
    let _ = writeln!(std::io::stderr().lock(), "{}", escaped_json(&value.to_string()));
}

/// Writes a help text or the version, which have no words but ours, where clap would.
pub fn help(text: &clap::Error) {
    // If it is closed, there is nowhere to report it.
    let _ = text.print();
}

/// Writes remarks to standard error, because the output may be a file.
pub fn aside(text: impl Display) {
    warn(text.style(dim()));
}

/// Writes a message as protobuf JSON.
pub fn json<M: Message + Name>(message: &M) -> anyhow::Result<()> {
    value(&rpc::json::value(message)?)
}

/// Writes a message as protobuf JSON in one line.
pub fn json_line<M: Message + Name>(message: &M) -> anyhow::Result<()> {
    value_line(&rpc::json::value(message)?)
}

/// Writes JSON.
pub fn value(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(put(&escaped_json(&serde_json::to_string_pretty(value)?))?)
}

/// Writes JSON in one line.
pub fn value_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(put(&escaped_json(&serde_json::to_string(value)?))?)
}

/// Many lines on standard output, written together: for answers by the million.
#[derive(Debug)]
pub struct Lines(std::io::BufWriter<std::io::StdoutLock<'static>>);

impl Lines {
    /// Until it is dropped, nothing else writes to standard output.
    pub fn lock() -> Self {
        Self(std::io::BufWriter::new(std::io::stdout().lock()))
    }

    /// Writes a line.
    pub fn line(&mut self, text: impl Display) -> std::io::Result<()> {
        writeln!(self.0, "{}", harmless(&text.to_string(), FURTHER))
    }

    /// Writes JSON in one line.
    pub fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        Ok(writeln!(self.0, "{}", escaped_json(&serde_json::to_string(value)?))?)
    }

    /// Writes what is held back.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Style of secondary text.
pub fn dim() -> Style {
    Style::Dim
}

/// Style of the most important text.
pub fn strong() -> Style {
    Style::Strong
}

/// Style of good news.
pub fn good() -> Style {
    Style::Good
}

/// Style of bad news.
pub fn bad() -> Style {
    Style::Bad
}

/// A progress line on standard error, only on a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Progress is shown unless `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self {
            shown: !quiet && std::io::stderr().is_terminal(),
        }
    }

    /// Replaces the line.
    pub fn show(&self, text: impl Display) {
        if self.shown {
            let text = harmless(&text.to_string(), 0).replace('\n', " ");
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.show("");
        if self.shown {
            let _ = write!(std::io::stderr(), "\r");
        }
    }
}

/// The zone in which people read times.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Sets the zone in which times are written; once, before the first. Otherwise it is this
/// machine's.
pub fn set_zone(zone: TimeZone) {
    let _ = ZONE.set(zone);
}

/// An offset from UTC, such as `+08:00`.
pub fn offset(text: &str) -> Option<Offset> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two = |text: &str, limit: i32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| digits && *number < limit)
    };
    let seconds = (two(hours, 24)? * 60 + two(minutes, 60)?) * 60;
    match text.get(..1)? {
        "+" => Offset::from_seconds(seconds).ok(),
        "-" => Offset::from_seconds(-seconds).ok(),
        _ => None,
    }
}

/// Formats a time in the zone that was set, to the second and with its offset.
pub fn time(time: Option<&prost_types::Timestamp>) -> String {
    time_in(ZONE.get_or_init(TimeZone::system), time)
}

fn time_in(zone: &TimeZone, time: Option<&prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            let time = time.to_zoned(zone.clone());
            time.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
        },
    )
}

/// Formats the distance of a time from now: `in 23 h 59 min`, `2 d 3 h ago`.
pub fn distance(time: Option<&prost_types::Timestamp>, now: journal::Time) -> String {
    let Some(time) = time.and_then(journal::Time::from_proto) else {
        return String::new();
    };
    let seconds = (time.0 - now.0) / 1_000_000;
    let minutes = (seconds.abs() + 30) / 60;
    let span = match (minutes / 60, minutes % 60) {
        (0, 0) => tr("less than a minute").to_owned(),
        (0, minutes) => tell("{0} min", &[&minutes]),
        (hours, _) if hours >= 48 => tell("{0} d {1} h", &[&(hours / 24), &(hours % 24)]),
        (hours, 0) => tell("{0} h", &[&hours]),
        (hours, minutes) => tell("{0} h {1} min", &[&hours, &minutes]),
    };
    match seconds < 0 {
        true => tell("{0} ago", &[&span]),
        false => tell("in {0}", &[&span]),
    }
}

/// The id in a resource name: `police-CN` of `agencies/police-CN`.
pub fn id(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, id)| id)
}

/// Formats a date as 2026-07-01; empty for none.
pub fn date(date: Option<&api::google::r#type::Date>) -> String {
    date.and_then(api::day).map(|day| day.to_string()).unwrap_or_default()
}

/// A territory code with its name, if known: `320300 Xuzhou`.
pub fn territory(code: &str) -> String {
    let name = code.parse().ok().and_then(|code| Territories::shipped().name(code));
    let name = name.map(|(zh, en)| match language() {
        Language::Zh => zh.to_owned(),
        Language::En => en.into_owned(),
    });
    name.map_or_else(|| code.to_owned(), |name| format!("{code} {name}"))
}

/// A category with its title, if known: `gambling Online gambling`.
pub fn category(name: &str) -> String {
    static SHIPPED: LazyLock<Option<Categories>> = LazyLock::new(|| Categories::shipped().ok());
    let id = id(name);
    match SHIPPED.as_ref().and_then(|categories| categories.get(id)) {
        Some(category) => match language() {
            Language::Zh => format!("{id} {}", category.title.zh),
            Language::En => format!("{id} {}", category.title.en),
        },
        None => id.to_owned(),
    }
}

/// The text in the language of the output; in another if there is no such.
pub fn text(texts: &[LocalizedText]) -> &str {
    match api::text_in(texts, language().code()) {
        "" => texts.first().map_or("", |text| &text.text),
        text => text,
    }
}

/// The path from a place up to where an agency was found.
pub fn climb(place: &str, climb: &[String]) -> String {
    let mut way: Vec<&str> = climb.iter().map(|name| id(name)).collect();
    if way.first() != Some(&place) {
        way.insert(0, place);
    }
    let way: Vec<_> = way.into_iter().map(territory).collect();
    way.join(" → ")
}

/// The name of a connecting factor in rule sets, such as `complained-of`.
pub fn factor(factor: ConnectingFactor) -> &'static str {
    Factor::from_wire(factor.into()).map_or("", Factor::as_str)
}

/// A connecting factor in words: `victim's place`.
pub fn factor_in_words(factor: ConnectingFactor) -> &'static str {
    let factor = Factor::from_wire(factor.into()).and_then(|factor| phrases::find(&phrases::FACTORS, factor.as_str()));
    factor.map_or("", named)
}

/// What an agency does: `content regulator`. A function of somebody's own has its id only.
pub fn function(id: &str) -> &str {
    match phrases::find(&phrases::FUNCTIONS, id) {
        Some(name) => named(name),
        None => id,
    }
}

fn named(name: phrases::Name) -> &'static str {
    match language() {
        Language::Zh => name.zh,
        Language::En => name.en,
    }
}

/// A sentence of an explanation, which is English in the contract.
pub fn said(english: &str) -> String {
    let said = match language() {
        Language::Zh => phrases::in_chinese(english, &column),
        Language::En => None,
    };
    said.unwrap_or_else(|| english.to_owned())
}

/// What a report has in a column of a rule set, in the words of `decision::decide::column_words`.
pub fn column(words: &str) -> String {
    let detail = words
        .strip_prefix("the detail `")
        .and_then(|path| path.strip_suffix('`'));
    match detail {
        Some(path) => tell("the detail `{0}`", &[&path]),
        None => tr(words).to_owned(),
    }
}

/// The place of a factor that was tried: a code, a country, or what was given instead.
pub fn place(tried: &FactorTried) -> &str {
    match &tried.place {
        Some(Place::Territory(name)) => id(name),
        Some(Place::RegionCode(text) | Place::Unreadable(text)) => text,
        None => "",
    }
}

/// A length of time, such as `30 minutes`.
pub fn clock(clock: &ClockNeed) -> String {
    let value: &[&dyn Display] = &[&clock.value];
    match clock.unit() {
        ClockUnit::Minutes => tell("{0} minutes", value),
        ClockUnit::Hours => tell("{0} hours", value),
        ClockUnit::CalendarDays => tell("{0} calendar days", value),
        ClockUnit::WorkingDays => tell("{0} working days", value),
        ClockUnit::WorkingHours => tell("{0} working hours", value),
        ClockUnit::Unspecified => clock.value.to_string(),
    }
}

/// Why a case is handed on.
pub fn reason(reason: HandOverReason) -> &'static str {
    match reason {
        HandOverReason::Place => tr("the place is another agency's"),
        HandOverReason::Matter => tr("the matter is another function's"),
        HandOverReason::Level => tr("the matter is for another level"),
        HandOverReason::HandledElsewhere => tr("another agency handles it already"),
        HandOverReason::ConflictOfInterest => tr("a conflict of interest"),
        HandOverReason::BetterPlaced => tr("the other agency can act better"),
        HandOverReason::Unspecified => tr("a reason that this version does not know"),
    }
}

/// The owner's duty before a clock ends.
pub fn duty(kind: ClockKind) -> &'static str {
    match kind {
        ClockKind::Acknowledge => tr("acknowledge it"),
        ClockKind::Designate => tr("designate a lead"),
        ClockKind::Result => tr("report a result"),
        ClockKind::Assist => tr("answer the request to assist"),
        ClockKind::Review => tr("take requests for a review"),
        ClockKind::Claim => tr("answer the claim"),
        ClockKind::Refer => tr("hand the suspected crime over"),
        ClockKind::Receive => tr("answer to the suspected crime"),
        ClockKind::Unspecified => tr("act"),
    }
}

/// The state of a report, in words.
pub fn report_state(state: ReportState) -> &'static str {
    match state {
        ReportState::Unspecified => tr("unknown"),
        ReportState::Accepted => tr("accepted: recorded, not assigned to an agency yet"),
        ReportState::Routed => tr("routed: assigned to an agency"),
        ReportState::Closed => tr("closed: the case has ended"),
        ReportState::Advised => tr("advised: no agency can act, see the advice"),
        ReportState::Withdrawn => tr("withdrawn by the reporter"),
    }
}

/// The state of a case, in words.
pub fn case_state(state: CaseState) -> &'static str {
    match state {
        CaseState::Unspecified => tr("unknown"),
        CaseState::AwaitingDesignation => tr("awaiting designation"),
        CaseState::Assigned => tr("assigned"),
        CaseState::InProgress => tr("in progress"),
        CaseState::InReview => tr("in review"),
        CaseState::Resolved => tr("resolved"),
        CaseState::Closed => tr("closed"),
        CaseState::Advised => tr("advised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_wrap_with_a_hanging_indent() {
        let text = "one two 南京 three four five";
        for (indent, width, expected) in [
            (4, None, text),
            (4, Some(80), text),
            (4, Some(26), "one two 南京 three\n    four five"),
            (4, Some(25), "one two 南京 three\n    four five"),
            (4, Some(20), text),
        ] {
            assert_eq!(wrap(text, indent, width), expected, "{width:?}");
        }
        assert_eq!(columns("\x1b[1m南京\x1b[0m!"), 5);
        assert_eq!(
            (padded("南京", 6), padded("long", 2)),
            ("南京  ".to_owned(), "long".to_owned())
        );
    }

    #[test]
    fn lines_of_a_value_wrap_under_its_first() {
        assert_eq!(
            wrap(&harmless("one two three\nfour five six seven", 4), 4, Some(25)),
            "one two three\n    four five six seven"
        );
    }

    /// The files below a folder.
    fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => sources(&path),
                false => vec![path],
            })
            .collect()
    }

    /// Whatever else could write would write raw.
    #[test]
    fn nothing_else_writes_to_the_terminal() {
        let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let found = sources(&own);
        assert!(found.len() > 30, "{found:?}");
        for path in found.iter().filter(|path| !path.ends_with("src/output.rs")) {
            let text = std::fs::read_to_string(path).unwrap();
            for way in [
                "stdout()",
                "stderr()",
                "print!(",
                "println!(",
                "dbg!(",
                ".print()",
                "anstream",
                "owo_colors",
                "/dev/tty",
            ] {
                assert!(!text.contains(way), "{}: {way}: write through `output`", path.display());
            }
        }
        assert!(
            !std::fs::read_to_string(own.join("../Cargo.toml"))
                .unwrap()
                .contains("owo-colors")
        );
    }

    #[test]
    fn times_have_their_offset_in_every_zone() {
        let time = journal::Time(1_795_305_600_000_000).to_proto();
        for (seconds, expected) in [
            (0, "2026-11-22 00:00:00 +00:00"),
            (8 * 3_600, "2026-11-22 08:00:00 +08:00"),
            (-(3 * 3_600 + 30 * 60), "2026-11-21 20:30:00 -03:30"),
        ] {
            let zone = TimeZone::fixed(Offset::from_seconds(seconds).unwrap());
            assert_eq!(time_in(&zone, Some(&time)), expected);
        }
        assert_eq!(time_in(&TimeZone::UTC, None), "-");
        for text in [
            "", "8", "+8:00", "08:00", "+08:60", "+24:00", "+-8:00", "＋08:00", "+08:00 ",
        ] {
            assert_eq!(offset(text), None, "{text}");
        }
        assert_eq!(offset("-03:30").map(Offset::seconds), Some(-12_600));
    }

    /// Whatever else formatted a time would choose another zone, or leave the offset out.
    #[test]
    fn nothing_else_formats_times_for_people() {
        let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for path in sources(&own).iter().filter(|path| !path.ends_with("src/output.rs")) {
            let text = std::fs::read_to_string(path).unwrap();
            // Days of the log's statistics, which are counted in UTC, have no time.
            let text = text.replace("strftime(\"%Y-%m-%d\")", "");
            for way in ["strftime(", "to_zoned(", "TimeZone::system()"] {
                assert!(!text.contains(way), "{}: {way}: use `output::time`", path.display());
            }
        }
    }

    #[test]
    fn distances_have_two_units() {
        let now = journal::Time(1_795_305_600_000_000);
        for (seconds, expected) in [
            (29, "in less than a minute"),
            (3_540, "in 59 min"),
            (86_399, "in 24 h"),
            (-90_060, "25 h 1 min ago"),
            (200_000, "in 2 d 7 h"),
        ] {
            assert_eq!(distance(Some(&now.plus_seconds(seconds).to_proto()), now), expected);
        }
    }

    #[test]
    fn territories_have_their_names() {
        assert_eq!(
            climb("440600", &["440600".to_owned(), "440000".to_owned()]),
            "440600 Foshan → 440000 Guangdong"
        );
        assert_eq!(territory("US"), "US");
    }
}
