//! Google's common types, made from ours and read back.

use jiff::civil;

use crate::google::r#type::{Date, LocalizedText};

/// A text in Chinese and in English.
pub fn bilingual(zh: impl Into<String>, en: impl Into<String>) -> Vec<LocalizedText> {
    [("zh", zh.into()), ("en", en.into())]
        .into_iter()
        .map(|(language, text)| LocalizedText {
            text,
            language_code: language.to_owned(),
        })
        .collect()
}

/// The text in a language, such as `zh`, whatever region it is written for; empty when there is
/// none.
pub fn text_in<'t>(texts: &'t [LocalizedText], language: &str) -> &'t str {
    let speaks = |code: &str| {
        code.split('-')
            .next()
            .is_some_and(|primary| primary.eq_ignore_ascii_case(language))
    };
    texts
        .iter()
        .find(|text| speaks(&text.language_code))
        .map_or("", |text| &text.text)
}

/// A day.
pub fn date(day: civil::Date) -> Date {
    Date {
        year: day.year().into(),
        month: day.month().into(),
        day: day.day().into(),
    }
}

/// The day that a date names; `None` for one that is not in the calendar, or lacks year, month or
/// day.
pub fn day(date: &Date) -> Option<civil::Date> {
    let year = i16::try_from(date.year).ok().filter(|year| *year > 0)?;
    let (month, day) = (i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?);
    civil::Date::new(year, month, day).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_the_calendar_or_nothing() {
        let of = |year, month, day| Date { year, month, day };
        let leap = civil::Date::constant(2028, 2, 29);
        assert_eq!(day(&date(leap)), Some(leap));
        for wrong in [
            of(2027, 2, 29),
            of(0, 1, 1),
            of(2026, 0, 1),
            of(2026, 1, 0),
            of(40_000, 1, 1),
            of(2026, 300, 1),
        ] {
            assert_eq!(day(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn texts_are_found_by_their_language() {
        let mut texts = bilingual("南宁", "Nanning");
        assert_eq!(
            (text_in(&texts, "zh"), text_in(&texts, "en"), text_in(&texts, "fr")),
            ("南宁", "Nanning", "")
        );
        texts[0].language_code = "ZH-Hans-CN".to_owned();
        assert_eq!(text_in(&texts, "zh"), "南宁");
    }
}
