//! The tree of categories, which their ids express: `fraud.loan` is below `fraud`.

/// Whether a category is the root of a subtree or below it: `fraud.loan` is within `fraud`,
/// `fraudulent` is not.
#[must_use]
pub fn is_within(category: &str, subtree: &str) -> bool {
    category
        .strip_prefix(subtree)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_ends_at_a_dot() {
        for (category, subtree, expected) in [
            ("fraud", "fraud", true),
            ("fraud.loan", "fraud", true),
            ("fraud.loan.app", "fraud.loan", true),
            ("fraudulent", "fraud", false),
            ("fraud", "fraud.loan", false),
        ] {
            assert_eq!(is_within(category, subtree), expected, "{category} in {subtree}");
        }
    }
}
