//! Desk hours.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// Minutes of a day.
pub(super) const DAY: u16 = 24 * 60;

/// Opening hours of a desk on working days: ascending, non-overlapping spans.
///
/// Keeps its text, such as `08:30-12:00, 14:00-17:30`; `00:00-24:00` never closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    text: String,
    /// Minutes since midnight: from, to.
    spans: Vec<(u16, u16)>,
}

/// A text that is not valid desk hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHours {
    /// The syntax is wrong.
    #[error("`{0}` is not valid; write spans such as 08:30-12:00, 14:00-17:30")]
    Shape(String),
    /// A span begins before the previous one ends.
    #[error("`{0}` has overlapping or unordered spans; write them in order")]
    Order(String),
}

impl Hours {
    /// The whole day.
    pub(super) fn whole_day() -> &'static Self {
        static WHOLE_DAY: LazyLock<Hours> = LazyLock::new(|| Hours {
            text: "00:00-24:00".to_owned(),
            spans: vec![(0, DAY)],
        });
        &WHOLE_DAY
    }

    /// The spans, in minutes since midnight.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.spans.iter().copied()
    }

    /// Closing time, in minutes since midnight.
    pub(super) fn close(&self) -> u16 {
        self.spans.last().map_or(DAY, |(_, to)| *to)
    }
}

impl FromStr for Hours {
    type Err = InvalidHours;

    fn from_str(text: &str) -> Result<Self, InvalidHours> {
        let spans: Option<Vec<_>> = text.split(',').map(|part| span(part.trim())).collect();
        let spans = spans.ok_or_else(|| InvalidHours::Shape(text.to_owned()))?;
        let in_order = spans.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        match in_order {
            true => Ok(Self {
                text: text.to_owned(),
                spans,
            }),
            false => Err(InvalidHours::Order(text.to_owned())),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses a span such as `08:30-12:00`.
fn span(text: &str) -> Option<(u16, u16)> {
    let minutes = |text: &str| -> Option<u16> {
        let (hours, minutes) = text.split_once(':')?;
        let two = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    (from < to).then_some((from, to))
}
