//! Text as people see it: characters that nobody sees are decided on here, for every crate.
//!
//! Two texts that look alike are one in names that are compared or looked up ([`visible`]), and
//! such a character is refused where a text is a person's own name.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{
    CodePointSetData, CodePointSetDataBorrowed,
    props::{Dash, DefaultIgnorableCodePoint},
};

const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();

const DASHES: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Dash>();

/// Whether a character takes no place on a screen: Unicode's default ignorable code points (zero
/// width, byte order mark, soft hyphen, variation selectors, direction marks), annotations, and the
/// Braille pattern without dots. White space and control characters are not among them.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    !c.is_ascii() && (IGNORABLE.contains(c) || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{2800}'))
}

/// A text without invisible characters.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    match text.contains(is_invisible) {
        true => text.chars().filter(|c| !is_invisible(*c)).collect::<String>().into(),
        false => text.into(),
    }
}

/// The letters of a code that people copy and type: compatibility forms (such as full-width
/// letters) unified, without white space, dashes of all kinds, and invisible characters.
#[must_use]
pub fn code(text: &str) -> String {
    let normal = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let is_separator = |c: char| c.is_whitespace() || DASHES.contains(c) || is_invisible(c);
    normal.chars().filter(|c| !is_separator(*c)).collect()
}

/// A reference of somebody else's books, such as a file number, as it is compared: composed,
/// without what nobody sees, and with one space where there is white space within. A form has
/// itself.
#[must_use]
pub fn reference(text: &str) -> String {
    // What nobody sees can stand between a letter and its accent: it goes first.
    let visible = visible(text);
    let normal = ComposingNormalizerBorrowed::new_nfc().normalize(&visible);
    let words: Vec<_> = normal.split_whitespace().collect();
    words.join(" ")
}

/// A person's name as it is compared: letter case, width, spaces, kinds of dashes and what nobody
/// sees tell no two people apart.
#[must_use]
pub fn person(name: &str) -> String {
    let normal = ComposingNormalizerBorrowed::new_nfkc().normalize(name);
    let letters = normal.chars().filter(|c| !c.is_whitespace() && !is_invisible(*c));
    let letters = letters.map(|c| if DASHES.contains(c) { '-' } else { c });
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_dropped_and_no_others() {
        for (text, expected) in [
            ("zero\u{200b}width\u{200d}", "zerowidth"),
            ("\u{feff}mark", "mark"),
            ("soft\u{ad}hyphen", "softhyphen"),
            ("\u{2764}\u{fe0f}", "\u{2764}"),
            ("葛\u{e0100}", "葛"),
            ("\u{202e}evil\u{2066}", "evil"),
            ("\u{3164}\u{115f}\u{2800}", ""),
            ("tag\u{e0041}", "tag"),
            ("white \u{3000}\u{a0}\tspace\n", "white \u{3000}\u{a0}\tspace\n"),
            ("王警官 é-ß", "王警官 é-ß"),
        ] {
            assert_eq!(visible(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_reference_has_one_form_however_it_is_written() {
        for text in [
            "A 12/é",
            " A\u{a0}12/e\u{301}",
            "A\u{3000} \u{200b} 12/\u{200d}é\t",
            "\u{feff}A 12/é",
        ] {
            assert_eq!(reference(text), "A 12/é", "{text:?}");
        }
        assert_ne!(reference("a 12/é"), "A 12/é", "letter case counts");
        assert_eq!(reference(" \u{200b} "), "");
        assert_eq!(reference("e\u{200b}\u{301}"), "é");
        for text in ["举报-2026", "x", "\u{200b}a \u{feff} b"] {
            assert_eq!(reference(&reference(text)), reference(text));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_reference_is_its_own_form(text in "([aeé1 ]|[\u{300}-\u{36f}]|[\u{1100}-\u{11ff}]|[\u{200b}-\u{200f}\u{34f}\u{ad}\u{3000}]|\\PC){0,24}") {
            let form = reference(&text);
            proptest::prop_assert_eq!(reference(&form), form.clone(), "{:?}", text);
            // Nor does what nobody sees make another of it, wherever it stands.
            let spread: String = text.chars().flat_map(|c| [c, '\u{200b}']).collect();
            proptest::prop_assert_eq!(reference(&spread), form);
        }
    }

    #[test]
    fn a_code_is_read_whatever_separates_its_groups() {
        for text in [
            "7Q2M-0K4T",
            "7Q2M 0K4T",
            "7Q2M\u{2013}0K4T\n",
            "7Q2M\u{2014}0K4T\r\n",
            "\u{feff}7Q2M\u{2011}0K4T",
            "7Q2M\u{2212}0K4T\t",
            "7Q2M\u{a0}0K4T",
            "7Q2M\u{3000}0K4T",
            "7Q2M\u{200b}0K4T",
            "７Ｑ２Ｍ－０Ｋ４Ｔ",
        ] {
            assert_eq!(code(text), "7Q2M0K4T", "{text:?}");
        }
        assert_eq!(code("7Q2M+0K4T"), "7Q2M+0K4T");
    }

    #[test]
    fn a_person_is_one_however_the_name_is_written() {
        for (one, other) in [
            ("o-1", "O-1"),
            ("o-1", "ｏ－１"),
            ("o-1", "o\u{2013}1"),
            ("王 警官", "王警官"),
            ("Łukasz", "łukasz"),
        ] {
            assert_eq!(person(one), person(other), "{one} {other}");
        }
        for (one, other) in [("1-12", "11-2"), ("o-1", "o-10"), ("o1", "o-1")] {
            assert_ne!(person(one), person(other), "{one} {other}");
        }
    }
}
