//! Deputies: an officer who for a time acts in another's stead, at their agency.
//!
//! A deputy of a deputy stands in for both. Names are compared as people write them.

use std::collections::BTreeSet;

use journal::Time;
use names::text::person;
use uuid::Uuid;

/// The longest time for which one is appointed.
pub const LONGEST_DEPUTY_DAYS: i64 = 366;

/// The most that are appointed at an agency, and have not ended.
pub const MOST_DEPUTIES: usize = 1_000;

/// An officer acts in another's stead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deputy {
    /// Its id.
    pub id: Uuid,
    /// The officer in whose stead, by name or pseudonym.
    pub officer: String,
    /// The officer who acts.
    pub deputy: String,
    /// From when on.
    pub begin: Time,
    /// Until when.
    pub end: Time,
    /// The officer who appointed.
    pub appointer: String,
    /// When.
    pub time: Time,
}

impl Deputy {
    fn is_in_force(&self, at: Time) -> bool {
        self.begin <= at && at < self.end
    }

    /// Whether one may be appointed now, at an agency with these; or field and fault.
    pub fn check(&self, others: &[Self], now: Time) -> Result<(), (&'static str, String)> {
        let (officer, deputy) = (person(&self.officer), person(&self.deputy));
        if officer == deputy {
            return Err(("deputy", "is the officer: nobody stands in for himself".to_owned()));
        }
        if self.end <= now || self.end <= self.begin {
            return Err((
                "end_time",
                "is not after the beginning, or has passed; name a later time".to_owned(),
            ));
        }
        let most = now.max(self.begin).plus_seconds(LONGEST_DEPUTY_DAYS * 86_400);
        if self.end > most || self.begin > now.plus_seconds(LONGEST_DEPUTY_DAYS * 86_400) {
            let description = format!("is more than {LONGEST_DEPUTY_DAYS} days off; appoint again when it has come");
            return Err(("end_time", description));
        }
        let same = |other: &&Self| person(&other.officer) == officer && person(&other.deputy) == deputy;
        if let Some(other) = others
            .iter()
            .filter(same)
            .find(|other| other.begin < self.end && self.begin < other.end)
        {
            let description = format!(
                "stands in for that officer already, until {}; end that first",
                other.end
            );
            return Err(("deputy", description));
        }
        match others.len() {
            0..MOST_DEPUTIES => Ok(()),
            _ => Err((
                "deputy",
                format!("is one more than the {MOST_DEPUTIES} that an agency has at once; end some"),
            )),
        }
    }
}

/// Those whose cases an officer has at a moment: the officer, and all in whose stead it acts. In
/// the form in which people are compared.
#[must_use]
pub fn stands_in_for(deputies: &[Deputy], officer: &str, at: Time) -> BTreeSet<String> {
    let mut all = BTreeSet::from([person(officer)]);
    let in_force: Vec<_> = deputies.iter().filter(|deputy| deputy.is_in_force(at)).collect();
    loop {
        let known = all.len();
        let more = in_force.iter().filter(|deputy| all.contains(&person(&deputy.deputy)));
        let more: Vec<_> = more.map(|deputy| person(&deputy.officer)).collect();
        all.extend(more);
        if all.len() == known {
            return all;
        }
    }
}

/// Whether of two officers one acted in the other's stead at any moment of a time.
#[must_use]
pub fn stood_in(deputies: &[Deputy], one: &str, other: &str, from: Time, to: Time) -> bool {
    let acts_for = |deputy: &str, officer: &str, at| stands_in_for(deputies, deputy, at).contains(&person(officer));
    // Who stands in for whom changes where one begins or ends: it is there from its latest
    // beginning.
    let begins = deputies.iter().map(|deputy| deputy.begin);
    let moments = begins.filter(|begin| (from..=to).contains(begin)).chain([from]);
    moments
        .into_iter()
        .any(|at| acts_for(one, other, at) || acts_for(other, one, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deputy(officer: &str, deputy: &str, begin: i64, end: i64) -> Deputy {
        Deputy {
            id: Uuid::nil(),
            officer: officer.to_owned(),
            deputy: deputy.to_owned(),
            begin: Time(begin),
            end: Time(end),
            appointer: "o-9".to_owned(),
            time: Time(0),
        }
    }

    fn of(deputies: &[Deputy], officer: &str, at: i64) -> Vec<String> {
        stands_in_for(deputies, officer, Time(at)).into_iter().collect()
    }

    #[test]
    fn a_deputy_stands_in_from_its_beginning_to_its_end() {
        let all = [deputy("o-1", "o-2", 10, 20)];
        assert_eq!(of(&all, "o-2", 9), ["o-2"]);
        assert_eq!(of(&all, "o-2", 10), ["o-1", "o-2"]);
        assert_eq!(of(&all, "Ｏ-2", 19), ["o-1", "o-2"], "a person in any spelling");
        assert_eq!(of(&all, "o-2", 20), ["o-2"]);
        assert_eq!(of(&all, "o-1", 15), ["o-1"], "not the other way");
    }

    #[test]
    fn a_deputy_of_a_deputy_stands_in_for_both() {
        let all = [
            deputy("o-1", "o-2", 10, 20),
            deputy("o-2", "o-3", 15, 30),
            deputy("o-3", "o-1", 0, 40),
        ];
        assert_eq!(of(&all, "o-3", 16), ["o-1", "o-2", "o-3"]);
        assert_eq!(of(&all, "o-3", 25), ["o-2", "o-3"]);
        assert_eq!(of(&all, "o-1", 25), ["o-1", "o-2", "o-3"], "a circle ends");
        assert_eq!(of(&all, "o-9", 16), ["o-9"]);
    }

    #[test]
    fn who_stood_in_is_found_at_any_moment_of_a_time() {
        let all = [deputy("o-1", "o-2", 10, 20), deputy("o-2", "o-3", 15, 30)];
        let stood = |one: &str, other: &str, from: i64, to: i64| stood_in(&all, one, other, Time(from), Time(to));
        for (one, other) in [("o-1", "o-2"), ("o-2", "o-1"), ("O-2", "o-1")] {
            assert!(!stood(one, other, 0, 9));
            assert!(stood(one, other, 0, 10) && stood(one, other, 19, 19) && stood(one, other, 5, 50));
            assert!(!stood(one, other, 20, 50));
        }
        assert!(stood("o-3", "o-1", 0, 16), "through the other");
        assert!(!stood("o-3", "o-1", 20, 25) && !stood("o-1", "o-9", 0, 99));
    }

    #[test]
    fn one_is_appointed_for_a_bounded_time_and_once() {
        let day = 86_400_000_000;
        let others = [deputy("o-1", "o-2", 10, 20)];
        let fault = |new: &Deputy| new.check(&others, Time(5)).unwrap_err().0;
        assert_eq!(deputy("o-1", "o-3", 10, 20).check(&others, Time(5)), Ok(()));
        assert_eq!(deputy("o-1", "o-2", 20, 30).check(&others, Time(5)), Ok(()));
        assert_eq!(fault(&deputy("o-1", "Ｏ-1", 10, 20)), "deputy");
        assert_eq!(fault(&deputy("o-1", "O-2", 19, 30)), "deputy");
        for (begin, end) in [(10, 10), (10, 9), (0, 5), (6, 367 * day), (400 * day, 401 * day)] {
            assert_eq!(fault(&deputy("o-1", "o-3", begin, end)), "end_time", "{begin} {end}");
        }
        let many: Vec<_> = (0..MOST_DEPUTIES).map(|_| deputy("o-7", "o-8", 1, 9)).collect();
        let refused = deputy("o-1", "o-3", 10, 20).check(&many, Time(5));
        assert_eq!(refused.unwrap_err().0, "deputy");
    }
}
