//! Resource names: read and written in one place.
//!
//! A name is a collection and an id, such as `reports/{uuid}`. [`Collection`] lists them all; a
//! [`Name`] is a collection with the type of its ids. An id that only one crate knows implements
//! [`Id`] there, and its [`Name`] stands beside it.
//!
//! `text.rs` decides which characters nobody sees, for every text that is compared. `subject.rs`
//! has the canonical forms of what is reported, for intake and for the operator register, and
//! `receipt.rs` the form of receipts.
//!
//! Invariants: a name is read in its canonical form only, so that one record has one name: a UUID
//! in capitals or without hyphens, or a digest in capitals, names nothing. What is read is written
//! the same. No dependency on other crates of Remit.

pub mod receipt;
pub mod subject;
pub mod text;

use std::{fmt, marker::PhantomData};

use data_encoding::HEXLOWER;
use uuid::Uuid;

/// A collection of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    /// What its names begin with, such as `reports`.
    pub name: &'static str,
    /// How its names are made, such as `reports/{report}`; the pattern of the contract.
    pub pattern: &'static str,
    /// How a person calls one of them, such as `a report`.
    pub what: &'static str,
    /// A name, or what one looks like.
    pub example: &'static str,
}

macro_rules! collections {
    ($($constant:ident: $name:literal $pattern:literal, $what:literal, $example:literal;)*) => {
        impl Collection {
            $(#[doc = concat!("`", $pattern, "`.")]
            pub const $constant: Self = Self {
                name: $name,
                pattern: $pattern,
                what: $what,
                example: $example,
            };)*

            /// All collections.
            pub const ALL: &[Self] = &[$(Self::$constant),*];
        }
    };
}

collections! {
    REPORTS: "reports" "reports/{report}", "a report", "reports/{uuid}";
    EVIDENCE: "evidence" "evidence/{evidence}", "evidence", "evidence/{uuid}";
    ASSIGNMENTS: "assignments" "assignments/{assignment}", "an assignment", "assignments/{uuid}";
    SUPERVISIONS: "supervisions" "supervisions/{supervision}", "a supervision", "supervisions/{uuid}";
    DEPUTIES: "deputies" "deputies/{deputy}", "a deputy", "deputies/{uuid}";
    READINGS: "readings" "readings/{reading}", "a reading", "readings/{uuid}";
    CASES: "cases" "cases/{case}", "a case", "cases/{uuid}";
    AGENCIES: "agencies" "agencies/{agency}", "an agency", "agencies/police-CN";
    TERRITORIES: "territories" "territories/{territory}", "a territory", "territories/320500";
    CATEGORIES: "categories" "categories/{category}", "a category", "categories/fraud.loan";
    RULE_SETS: "ruleSets" "ruleSets/{rule_set}", "a rule set", "ruleSets/{digest}";
    DIRECTORY_VERSIONS: "directoryVersions" "directoryVersions/{directory_version}", "a version of the directory",
        "directoryVersions/{digest}";
    OPERATORS: "operators" "operators/{operator}", "an operator", "operators/domain~example.cn";
    PRODUCERS: "producers" "producers/{producer}", "a producer", "producers/intake";
}

impl Collection {
    /// The name of an id.
    pub fn of(&self, id: impl fmt::Display) -> String {
        use fmt::Write as _;
        /// Length of a UUID: few ids are longer.
        const ID: usize = 36;
        let mut name = String::with_capacity(self.name.len() + 1 + ID);
        name.push_str(self.name);
        name.push('/');
        // Writing to a string cannot fail.
        let _ = write!(name, "{id}");
        name
    }

    /// What follows the collection in a name; not empty.
    pub fn id<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.name)?
            .strip_prefix('/')
            .filter(|id| !id.is_empty())
    }

    /// What is wrong with a text that is not the name of one.
    pub fn fault(&self) -> String {
        format!("must be the name of {}, such as `{}`", self.what, self.example)
    }
}

/// What stands in names after their collection. It is displayed as it is read.
pub trait Id: fmt::Display + Sized {
    /// Reads an id in its canonical form.
    fn parse(text: &str) -> Option<Self>;
}

/// A collection whose ids are of a type.
#[derive(Debug)]
pub struct Name<I> {
    collection: Collection,
    ids: PhantomData<fn() -> I>,
}

impl<I> Clone for Name<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Name<I> {}

impl<I: Id> Name<I> {
    /// Names of a collection.
    #[must_use]
    pub const fn new(collection: Collection) -> Self {
        Self {
            collection,
            ids: PhantomData,
        }
    }

    /// The name of an id.
    pub fn of(&self, id: impl std::borrow::Borrow<I>) -> String {
        self.collection.of(id.borrow())
    }

    /// The id in a name; `None` when the text is not a name of the collection in its canonical
    /// form.
    pub fn id(&self, name: &str) -> Option<I> {
        let text = self.collection.id(name)?;
        let id = I::parse(text)?;
        // Whatever its parser forgives: one record has one name.
        is_written(&id, text).then_some(id)
    }

    /// Its collection.
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }
}

/// Whether this is how the id is displayed.
fn is_written(id: &impl fmt::Display, text: &str) -> bool {
    use fmt::Write as _;
    struct Rest<'t>(&'t str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(piece).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    write!(rest, "{id}").is_ok() && rest.0.is_empty()
}

/// Names of reports.
pub const REPORT: Name<Uuid> = Name::new(Collection::REPORTS);
/// Names of evidence.
pub const EVIDENCE: Name<Uuid> = Name::new(Collection::EVIDENCE);
/// Names of readings.
pub const READING: Name<Uuid> = Name::new(Collection::READINGS);
/// Names of assignments of cases to officers.
pub const ASSIGNMENT: Name<Uuid> = Name::new(Collection::ASSIGNMENTS);
/// Names of supervisions of agencies.
pub const SUPERVISION: Name<Uuid> = Name::new(Collection::SUPERVISIONS);
/// Names of deputies of officers.
pub const DEPUTY: Name<Uuid> = Name::new(Collection::DEPUTIES);
/// Names of cases.
pub const CASE: Name<Uuid> = Name::new(Collection::CASES);
/// Names of agencies.
pub const AGENCY: Name<AgencyId> = Name::new(Collection::AGENCIES);
/// Names of rule sets.
pub const RULE_SET: Name<Digest> = Name::new(Collection::RULE_SETS);
/// Names of versions of the directory.
pub const DIRECTORY_VERSION: Name<Digest> = Name::new(Collection::DIRECTORY_VERSIONS);

impl Id for Uuid {
    fn parse(text: &str) -> Option<Self> {
        Self::try_parse(text).ok()
    }
}

/// A SHA-256 digest as an id: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Id for Digest {
    fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

/// The id of an agency, such as `police-320000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgencyId(String);

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id; write 1 to 63 letters, digits and hyphens")]
pub struct InvalidId(String);

/// Checks a word as ids of agencies and names of their functions are.
///
/// # Errors
/// When it does not have 1 to 63 letters, digits and hyphens.
pub fn word(text: &str) -> Result<String, InvalidId> {
    let good = (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if good {
        Ok(text.to_owned())
    } else {
        Err(InvalidId(text.to_owned()))
    }
}

impl AgencyId {
    /// Checks an id.
    ///
    /// # Errors
    /// When the text is no id.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        word(text).map(Self)
    }

    /// Reads a resource name, `agencies/{id}`.
    ///
    /// # Errors
    /// When the collection is another or what follows is no id.
    pub fn from_resource_name(name: &str) -> Result<Self, InvalidId> {
        AGENCY.id(name).ok_or_else(|| InvalidId(name.to_owned()))
    }

    /// The resource name, `agencies/{id}`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        AGENCY.of(self)
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AgencyId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl AsRef<str> for AgencyId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Id for AgencyId {
    fn parse(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_one_name() {
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab);
        let name = "reports/01900000-0000-7000-8000-0000000000ab";
        assert_eq!((REPORT.of(id), REPORT.id(name)), (name.to_owned(), Some(id)));
        for other in [
            "reports/01900000-0000-7000-8000-0000000000AB",
            "reports/019000000000700080000000000000ab",
            "reports/{01900000-0000-7000-8000-0000000000ab}",
            "reports/urn:uuid:01900000-0000-7000-8000-0000000000ab",
            "reports/01900000-0000-7000-8000-0000000000ab/",
            "reports//01900000-0000-7000-8000-0000000000ab",
            "/reports/01900000-0000-7000-8000-0000000000ab",
            "Reports/01900000-0000-7000-8000-0000000000ab",
            "cases/01900000-0000-7000-8000-0000000000ab",
            "reports/",
            "reports",
            "",
        ] {
            assert_eq!(REPORT.id(other), None, "{other}");
        }
    }

    #[test]
    fn digests_and_words_are_read_as_they_are_written() {
        let digest = Digest([0xab; 32]);
        let name = format!("ruleSets/{}", "ab".repeat(32));
        assert_eq!((RULE_SET.of(digest), RULE_SET.id(&name)), (name.clone(), Some(digest)));
        assert_eq!(RULE_SET.id(&name.to_uppercase().replace("RULESETS", "ruleSets")), None);
        assert_eq!(RULE_SET.id("ruleSets/abcd"), None);
        assert_eq!(AGENCY.id("agencies/police-CN").unwrap().as_str(), "police-CN");
        for other in ["agencies/", "agencies/a b", "agencies/a/b", "police-CN"] {
            assert_eq!(AGENCY.id(other), None, "{other}");
        }
        assert_eq!(
            REPORT.collection().fault(),
            "must be the name of a report, such as `reports/{uuid}`"
        );
    }

    #[test]
    fn patterns_begin_with_their_collections() {
        for collection in Collection::ALL {
            let rest = collection.pattern.strip_prefix(collection.name).unwrap();
            assert!(rest.starts_with("/{") && rest.ends_with('}'), "{collection:?}");
            assert!(collection.example.starts_with(collection.name), "{collection:?}");
        }
    }
}
