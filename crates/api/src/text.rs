//! Which control characters a text may have: one rule for requests and for files that are loaded.
//!
//! They act on terminals, break lines of what is printed from them, and make two names look alike.

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One line.
    Line,
    /// One line; white space around it is dropped.
    Trimmed,
    /// Lines: with line breaks and tabs.
    Lines,
    /// Whoever reads it drops what does not belong to it, as from codes that people type.
    Lenient,
}

/// The first character that a text of this form must not have.
#[must_use]
pub fn control(text: &str, form: Form) -> Option<char> {
    let is_refused = |c: &char| match form {
        Form::Line | Form::Trimmed => c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'),
        Form::Lines => c.is_control() && !matches!(c, '\n' | '\r' | '\t'),
        Form::Lenient => *c == '\0',
    };
    let text = match form {
        Form::Trimmed => text.trim(),
        _ => text,
    };
    text.chars().find(is_refused)
}

/// What a refused character is called in errors.
#[must_use]
pub fn called(c: char) -> String {
    match c {
        '\0' => "a NUL character (U+0000)".to_owned(),
        '\n' | '\r' | '\u{2028}' | '\u{2029}' => format!("a line break (U+{:04X})", u32::from(c)),
        _ => format!("a control character (U+{:04X})", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_control_characters() {
        for (text, refused_by) in [
            ("张三 é \u{200b}", &[][..]),
            ("a\0b", &[Form::Line, Form::Trimmed, Form::Lines, Form::Lenient]),
            ("a\u{1b}[31mb", &[Form::Line, Form::Trimmed, Form::Lines]),
            ("a\u{7f}", &[Form::Line, Form::Trimmed, Form::Lines]),
            ("a\u{9b}31mb", &[Form::Line, Form::Trimmed, Form::Lines]),
            ("a\nb", &[Form::Line, Form::Trimmed]),
            ("a\r\nb\tc", &[Form::Line, Form::Trimmed]),
            ("a\u{2028}b", &[Form::Line, Form::Trimmed]),
            ("a\n", &[Form::Line]),
            ("\ta", &[Form::Line]),
            ("", &[]),
        ] {
            let forms = [Form::Line, Form::Trimmed, Form::Lines, Form::Lenient];
            let found: Vec<_> = forms
                .into_iter()
                .filter(|form| control(text, *form).is_some())
                .collect();
            assert_eq!(found, refused_by, "{text:?}");
        }
        assert_eq!(called('\u{1b}'), "a control character (U+001B)");
        assert_eq!(called('\n'), "a line break (U+000A)");
    }
}
