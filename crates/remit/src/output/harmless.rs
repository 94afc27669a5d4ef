//! The one place where text of others becomes text that may reach a terminal.
//!
//! Reporters, servers, files and file names can contain escape sequences that set a window's title
//! or fill a clipboard, characters that turn the direction of writing, and line breaks that begin
//! what looks like a line of ours. Only styles that this process made act on a terminal: they carry
//! a number that it draws at its start. Everything else without a visible form is shown as its code
//! point.

use std::{
    fmt::{self, Display, Write as _},
    sync::LazyLock,
};

use journal::{Entropy as _, SystemEntropy};
use names::text::is_invisible;

/// Begins a style of this process.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let mut number = [0; 8];
    SystemEntropy.fill(&mut number);
    format!("\x1b[{};", u64::from_ne_bytes(number))
});

/// A style of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Secondary text.
    Dim,
    /// The most important text.
    Strong,
    /// Good news.
    Good,
    /// Bad news.
    Bad,
}

impl Style {
    /// The parameters of "select graphic rendition" (ECMA-48).
    fn code(self) -> &'static str {
        match self {
            Self::Dim => "2",
            Self::Strong => "1",
            Self::Good => "32",
            Self::Bad => "31;1",
        }
    }
}

/// Gives values a style.
pub trait Paint: Display {
    /// The value in a style, which takes effect only where this crate's output writes it.
    fn style(&self, style: Style) -> Painted<'_, Self> {
        Painted(self, style)
    }
}

impl<T: Display + ?Sized> Paint for T {}

/// A value in a style.
#[derive(Debug)]
pub struct Painted<'a, T: ?Sized>(&'a T, Style);

impl<T: Display + ?Sized> Display for Painted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}m", *OWN, self.1.code())?;
        self.0.fmt(f)?;
        write!(f, "{}0m", *OWN)
    }
}

/// The text for a terminal: styles of ours act, lines after the first begin with `indent` spaces at
/// least, and what has no visible form is shown as its code point, such as `<U+202E>`.
pub(super) fn harmless(text: &str, indent: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((code, after)) = own_style(rest) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\x1b[{code}m");
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' if rest.starts_with('\n') => {}
            '\n' => {
                shown.push('\n');
                let has = rest.len() - rest.trim_start_matches(' ').len();
                shown.push_str(&" ".repeat(indent.saturating_sub(has)));
            }
            '\t' => shown.push_str("    "),
            c if acts_or_hides(c) => {
                let _ = write!(shown, "<U+{:04X}>", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Whether a character acts on a terminal or cannot be seen: control characters (C0, DEL, C1),
/// separators of lines and paragraphs, marks of direction, characters of no width.
pub(super) fn acts_or_hides(c: char) -> bool {
    c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The parameters of a style of ours that the text begins with, and the rest.
fn own_style(text: &str) -> Option<(&str, &str)> {
    let (code, after) = text.strip_prefix(OWN.as_str())?.split_once('m')?;
    code.chars()
        .all(|c| c.is_ascii_digit() || c == ';')
        .then_some((code, after))
}

/// A text of somebody else within an error: its further lines stand deeper than ours.
pub fn quoted(text: &str) -> String {
    text.trim_end().replace('\n', "\n      ")
}

/// A text of somebody else as part of one line of ours: nothing in it acts, no line break either.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if acts_or_hides(c) => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "<U+{:04X}>", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// JSON whose strings show on a terminal what they contain. It is the same JSON: in what
/// `serde_json` wrote, such characters stand in strings only, and may be escaped there.
pub(super) fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        match c {
            // Between values; in strings they are escaped already.
            '\n' => shown.push(c),
            c if acts_or_hides(c) => {
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What strangers tried: each alone, and where it stood in the text.
    const ATTACKS: [(&str, &str); 16] = [
        ("\x1b[2J\x1b[1;1Hgone", "<U+001B>[2J<U+001B>[1;1Hgone"),
        ("\x1b]0;title\x07", "<U+001B>]0;title<U+0007>"),
        ("\x1b]52;c;Y3VybA==\x1b\\", "<U+001B>]52;c;Y3VybA==<U+001B>\\"),
        ("\x1b[32mproof verified\x1b[0m", "<U+001B>[32mproof verified<U+001B>[0m"),
        ("\u{9b}31m", "<U+009B>31m"),
        ("\u{85}next", "<U+0085>next"),
        ("over\rwritten", "over<U+000D>written"),
        ("back\x08\x08\x7f", "back<U+0008><U+0008><U+007F>"),
        ("nul\0", "nul<U+0000>"),
        ("\u{202e}txt.exe\u{202c}", "<U+202E>txt.exe<U+202C>"),
        ("\u{2066}a\u{2069}\u{200f}", "<U+2066>a<U+2069><U+200F>"),
        ("pay\u{200b}pal\u{feff}", "pay<U+200B>pal<U+FEFF>"),
        ("a\u{ad}b\u{2800}\u{3164}", "a<U+00AD>b<U+2800><U+3164>"),
        ("tag\u{e0041}", "tag<U+E0041>"),
        ("a\u{2028}b\u{2029}c", "a<U+2028>b<U+2029>c"),
        ("form\x0cfeed\x0b", "form<U+000C>feed<U+000B>"),
    ];

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_does_not_act() {
        for (text, expected) in ATTACKS {
            assert_eq!(harmless(text, 4), expected, "{text:?}");
        }
        for text in ["王警官 é-ß 😀 → …", "", "  spaces  "] {
            assert_eq!(harmless(text, 4), text);
        }
    }

    #[test]
    fn what_stands_in_a_line_stays_in_it() {
        for (text, expected) in ATTACKS {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
        assert_eq!(one_line("a\nerror: b\r\n\tc"), "a<U+000A>error: b<U+000D><U+000A> c");
    }

    #[test]
    fn lines_of_others_are_indented() {
        assert_eq!(
            harmless("first\nerror: second\r\n      third\n\tfourth\n", 4),
            "first\n    error: second\n      third\n        fourth\n    "
        );
    }

    #[test]
    fn only_styles_of_this_process_act() {
        let painted = format!("{} {}", "good".style(Style::Good), 7.style(Style::Bad));
        assert_eq!(harmless(&painted, 0), "\x1b[32mgood\x1b[0m \x1b[31;1m7\x1b[0m");
        assert_eq!(
            harmless("\x1b[1;32mgood\x1b[1;0m", 0),
            "<U+001B>[1;32mgood<U+001B>[1;0m"
        );
        // Within a style of ours, too.
        let painted = "\x1b[0m\nx".style(Style::Dim).to_string();
        assert_eq!(harmless(&painted, 2), "\x1b[2m<U+001B>[0m\n  x\x1b[0m");
        assert_eq!(
            harmless(&OWN, 0),
            OWN.replace('\x1b', "<U+001B>"),
            "a style without an end"
        );
        let width = format!("{:6}|", "ab".style(Style::Dim));
        assert_eq!(harmless(&width, 0), "\x1b[2mab    \x1b[0m|");
    }

    #[test]
    fn json_stays_the_same_json_and_shows_what_it_contains() {
        for (text, _) in ATTACKS {
            let value = serde_json::json!({ "text": text, text: [1, "a\nb\t\""] });
            for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let shown = escaped_json(&json);
                assert!(!shown.contains(|c| c != '\n' && acts_or_hides(c)), "{text:?}: {shown}");
                assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
            }
        }
    }

    /// Every character of Unicode, so that no range is forgotten.
    #[test]
    fn no_control_character_remains() {
        for c in '\0'..=char::MAX {
            let shown = harmless(&c.to_string(), 0);
            assert!(
                shown == "\n" || !shown.contains(|c: char| c.is_control() || is_invisible(c)),
                "U+{:04X}",
                u32::from(c)
            );
        }
    }
}
