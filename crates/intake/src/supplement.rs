//! Validation of what is added to a report, and what is said of it. No I/O.

use api::google::r#type::LocalizedText;
use rpc::Violations;

/// Maximum characters of an addition.
const TEXT: usize = 5_000;

/// Checks the text of an addition, which may be empty beside files.
pub(crate) fn check_text(text: &str, files: usize, violations: &mut Violations) {
    let length = text.chars().count();
    if length > TEXT {
        violations.add("text", format!("has {length} characters, more than {TEXT}"));
    }
    if files == 0 && names::text::visible(text).trim().is_empty() {
        violations.add("text", "is missing; say something, or name evidence");
    }
}

/// What follows from an addition, for the reporter.
pub(crate) fn notices(was_decided: bool) -> Vec<LocalizedText> {
    match was_decided {
        true => api::bilingual(
            "补充材料已记录，并告知作出处理决定的单位。是否重新办理，由该单位决定，本次补充不会自动重新办理。",
            "It was recorded, and the agency that decided is told. The agency decides whether to open the case again; this \
             alone does not.",
        ),
        false => api::bilingual(
            "补充材料已记录，并告知承办单位。",
            "It was recorded, and the agency that has the case is told.",
        ),
    }
}

/// What follows from a request for a review, for the reporter.
pub(crate) fn review_notices() -> Vec<LocalizedText> {
    api::bilingual(
        "复核申请已记录。由作出决定单位的上级重新处理，原单位不再决定。凭查询码可查看结果。",
        "Your request was recorded. The superior of the agency that decided decides anew, and that agency does not decide \
         again. The receipt shows what comes of it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_says_something_within_bounds() {
        for (text, files, fits) in [
            ("more", 0, true),
            ("", 1, true),
            ("", 0, false),
            (" \n\u{200b}", 0, false),
            (&"查".repeat(5_000), 0, true),
            (&"查".repeat(5_001), 0, false),
            (&"x".repeat(5_001), 1, false),
        ] {
            let mut violations = Violations::new();
            check_text(text, files, &mut violations);
            assert_eq!(violations.is_empty(), fits, "{} characters", text.chars().count());
        }
    }
}
