//! All that is wrong with a request, collected, so that a caller learns of it at once.

use std::fmt::Display;

use names::{Id, Name};
use uuid::Uuid;

use crate::{Failure, Violation};

/// What is wrong with a request so far.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes what is wrong with a field; its path is that of the proto, such as
    /// `report.subjects[0].value`.
    pub fn add(&mut self, field: impl Display, description: impl Into<String>) {
        self.0.push(Violation::new(field.to_string(), description));
    }

    /// Notes a violation as it is, which [`Violation::new`] would have cut.
    pub fn add_whole(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// A value that was read; that it was not, is noted.
    pub fn check<T>(&mut self, field: impl Display, value: Option<T>, description: impl Into<String>) -> Option<T> {
        if value.is_none() {
            self.add(field, description);
        }
        value
    }

    /// The id in a resource name.
    pub fn name<I: Id>(&mut self, field: impl Display, name: Name<I>, text: &str) -> Option<I> {
        let id = name.id(text);
        if id.is_none() {
            self.add(field, name.collection().fault());
        }
        id
    }

    /// A request id, which may be empty.
    pub fn request_id(&mut self, field: impl Display, text: &str) -> Option<Uuid> {
        match text {
            "" => None,
            text => self.check(field, Uuid::try_parse(text).ok(), "must be a UUID, or empty"),
        }
    }

    /// What another check found: a value, or violations of its own, which are noted.
    ///
    /// # Errors
    /// Those that are no violations.
    pub fn note<T>(&mut self, checked: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match checked {
            Ok(value) => Ok(Some(value)),
            Err(Failure::InvalidInput(more)) => {
                self.0.extend(more);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// What the checked values make, when nothing is wrong.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish<T>(mut self, make: impl FnOnce() -> Option<T>) -> Result<T, Vec<Violation>> {
        if self.0.is_empty() {
            if let Some(made) = make() {
                return Ok(made);
            }
            // A check returned nothing and noted nothing.
            self.add("", "cannot be read");
        }
        Err(self.0)
    }
}

impl From<Vec<Violation>> for Failure {
    fn from(violations: Vec<Violation>) -> Self {
        Self::InvalidInput(violations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_nothing_is_made_of_it() {
        let mut violations = Violations::new();
        let report = violations.name("name", names::REPORT, "reports/1");
        let id = violations.request_id("request_id", "x");
        let page = violations.note(crate::page::size(-1)).unwrap();
        let found = violations.finish(|| Some((report?, id?, page?))).unwrap_err();
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["name", "request_id", "page_size"]);

        let mut sound = Violations::new();
        assert_eq!(sound.request_id("request_id", ""), None);
        assert!(sound.is_empty());
        assert_eq!(sound.finish(|| Some(7)).unwrap(), 7);
    }

    #[test]
    fn other_failures_are_not_violations() {
        let mut violations = Violations::new();
        assert!(violations.note::<()>(Err(Failure::Overloaded)).is_err());
        assert!(violations.is_empty());
        assert!(Violations::new().finish(|| None::<()>).is_err());
    }

    /// The contract lists the same patterns as the table that names are parsed with.
    #[test]
    fn the_collections_are_those_of_the_contract() {
        let mut patterns = Vec::new();
        for file in api::POOL.files() {
            patterns.extend(resources(&file.options(), "google.api.resource_definition"));
        }
        for message in api::POOL.all_messages() {
            patterns.extend(resources(&message.options(), "google.api.resource"));
        }
        patterns.sort();
        patterns.dedup();
        let mut collections: Vec<_> = names::Collection::ALL
            .iter()
            .map(|collection| collection.pattern.to_owned())
            .collect();
        collections.sort();
        assert_eq!(collections, patterns);
    }

    fn resources(options: &prost_reflect::DynamicMessage, extension: &str) -> Vec<String> {
        let Some(extension) = api::POOL.get_extension_by_name(extension) else {
            return Vec::new();
        };
        let value = options.get_extension(&extension).into_owned();
        let descriptors = match value {
            prost_reflect::Value::List(list) => list,
            value => vec![value],
        };
        let patterns = descriptors.iter().filter_map(|descriptor| {
            let message = descriptor.as_message()?;
            Some(message.get_field_by_name("pattern")?.as_list()?.to_vec())
        });
        patterns
            .flatten()
            .filter_map(|pattern| pattern.as_str().map(str::to_owned))
            .collect()
    }
}
