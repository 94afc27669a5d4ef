//! What callers may do: sets of roles, each of which opens methods in the tables of access.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sends reports and evidence in, and sees what it sent.
    Submitter,
    /// Works on the cases of its agency, and proposes how they end.
    Desk,
    /// Decides on what somebody else at its agency proposed.
    Reviewer,
    /// Acts for its agency as a superior: designates and supervises.
    Supervisor,
    /// Reads what its agency sees, and changes nothing.
    Inspector,
    /// Runs the services. Sees that everything moves, but no content.
    Operator,
    /// Inspects what was done. Reads the log with its details for a stated purpose; sees no report
    /// and no case.
    Auditor,
    /// Changes the directory of agencies and the operator register.
    DirectoryEditor,
    /// Makes rule sets, and puts them in force.
    RulesEditor,
    /// One of Remit's own services.
    Service,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 10] = [
        Self::Submitter,
        Self::Desk,
        Self::Reviewer,
        Self::Supervisor,
        Self::Inspector,
        Self::Operator,
        Self::Auditor,
        Self::DirectoryEditor,
        Self::RulesEditor,
        Self::Service,
    ];

    /// Its name in files, on the command line and in refusals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitter => "submitter",
            Self::Desk => "desk",
            Self::Reviewer => "reviewer",
            Self::Supervisor => "supervisor",
            Self::Inspector => "inspector",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::DirectoryEditor => "directory-editor",
            Self::RulesEditor => "rules-editor",
            Self::Service => "service",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u16);

/// Why a set of roles is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolesError {
    /// None at all.
    #[error("has no role")]
    None,
    /// A role on cases, for no agency.
    #[error("has the role {0} and names no agency")]
    NoAgency(Role),
    /// An agency, and a role in the whole installation.
    #[error("names an agency, and has the role {0}, which no agency's system has")]
    Agency(Role),
    /// Roles that are to check each other, in one hand.
    #[error("has the role {0}, which goes with no other")]
    Alone(Role),
}

impl Roles {
    /// Those that act for an agency, on cases.
    pub const CASEWORK: Self = Self::of(&[Role::Desk, Role::Reviewer, Role::Supervisor, Role::Inspector]);
    /// The usual ones of an agency's system: all that officers of an agency may do. Which officer
    /// does what, the system answers for.
    pub const AGENCY: Self = Self::of(&[
        Role::Submitter,
        Role::Desk,
        Role::Reviewer,
        Role::Supervisor,
        Role::Inspector,
    ]);
    /// The usual one of a system that passes reports on: a platform, a bank, a hotline without a
    /// remit of its own.
    pub const PARTNER: Self = Self::of(&[Role::Submitter]);
    /// The usual ones of whoever runs an installation.
    pub const OPERATOR: Self = Self::of(&[
        Role::Submitter,
        Role::Operator,
        Role::DirectoryEditor,
        Role::RulesEditor,
    ]);
    /// An auditor's.
    pub const AUDITOR: Self = Self::of(&[Role::Auditor]);
    /// That of Remit's own services.
    pub const SERVICE: Self = Self::of(&[Role::Service]);

    /// What one word stands for where a caller's usual roles are meant.
    pub const USUAL: [(&str, Self); 5] = [
        ("agency", Self::AGENCY),
        ("partner", Self::PARTNER),
        ("operator", Self::OPERATOR),
        ("auditor", Self::AUDITOR),
        ("service", Self::SERVICE),
    ];

    /// These roles.
    #[must_use]
    pub const fn of(roles: &[Role]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < roles.len() {
            set |= 1 << roles[at] as u16;
            at += 1;
        }
        Self(set)
    }

    /// Whether a role is among them.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u16) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any of others is among them.
    #[must_use]
    pub const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Those that are among others, too.
    #[must_use]
    pub const fn within(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// These and others.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether they are those of one of Remit's own services.
    #[must_use]
    pub const fn is_service(self) -> bool {
        self.has(Role::Service)
    }

    /// One by one, in the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Checks that a system may have them, with an agency or without.
    ///
    /// # Errors
    ///
    /// [`RolesError`].
    pub fn check(self, has_agency: bool) -> Result<(), RolesError> {
        for alone in [Role::Service, Role::Auditor] {
            if self.has(alone) && self != Self::of(&[alone]) {
                return Err(RolesError::Alone(alone));
            }
        }
        let wrong = |roles: Self| roles.iter().find(|role| self.has(*role));
        match has_agency {
            _ if self.is_empty() => Err(RolesError::None),
            true => match self.iter().find(|role| !Self::AGENCY.has(*role)) {
                Some(role) => Err(RolesError::Agency(role)),
                None => Ok(()),
            },
            false => match wrong(Self::CASEWORK) {
                Some(role) => Err(RolesError::NoAgency(role)),
                None => Ok(()),
            },
        }
    }

    /// Reads roles by their names, or one word for the usual ones.
    ///
    /// # Errors
    ///
    /// The name that is none.
    pub fn read<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut roles = Self::default();
        for name in names {
            roles = match Role::named(name) {
                Some(role) => roles.with(Self::of(&[role])),
                None => return Err(name.to_owned()),
            };
        }
        Ok(roles)
    }

    /// The usual roles that a word stands for.
    #[must_use]
    pub fn usual(word: &str) -> Option<Self> {
        Self::USUAL
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, roles)| *roles)
    }
}

/// As in a sentence: `desk, reviewer and submitter`.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Role::name).collect();
        match names.split_last() {
            None => f.write_str("none"),
            Some((last, [])) => f.write_str(last),
            Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
        }
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A list of names, each once.
impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<Role>::deserialize(deserializer)?;
        let roles = Self::of(&all);
        match roles.iter().count() == all.len() {
            true => Ok(roles),
            false => Err(D::Error::custom("a role is there twice")),
        }
    }
}

/// The roles of an entry of a file, which says them one by one (`roles`), or by a word for the
/// usual ones (`role`): one of the two.
///
/// # Errors
///
/// What is wrong with it.
pub fn of_entry(roles: Option<Roles>, usual: Option<&str>) -> Result<Roles, String> {
    match (roles, usual) {
        (Some(roles), None) => Ok(roles),
        (None, Some(word)) => Roles::usual(word).ok_or_else(|| {
            let words: Vec<_> = Roles::USUAL.iter().map(|(word, _)| *word).collect();
            format!(
                "`role: {word}` is none of {}; write single ones in `roles`",
                words.join(", ")
            )
        }),
        (Some(_), Some(_)) => Err("it has both `role` and `roles`".to_owned()),
        (None, None) => Err("it has neither `role` nor `roles`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        for (roles, written, said) in [
            (Roles::AUDITOR, r#"["auditor"]"#, "auditor"),
            (
                Roles::of(&[Role::Reviewer, Role::Desk]),
                r#"["desk","reviewer"]"#,
                "desk and reviewer",
            ),
            (
                Roles::OPERATOR,
                r#"["submitter","operator","directory-editor","rules-editor"]"#,
                "submitter, operator, directory-editor and rules-editor",
            ),
        ] {
            assert_eq!(serde_json::to_string(&roles).unwrap(), written);
            assert_eq!(serde_json::from_str::<Roles>(written).unwrap(), roles);
            assert_eq!(roles.to_string(), said);
        }
        for wrong in [r#"["desk","desk"]"#, r#"["chief"]"#, r#""desk""#, "[1]"] {
            assert!(serde_json::from_str::<Roles>(wrong).is_err(), "{wrong}");
        }
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert_eq!(Roles::read(["desk", "agency"]), Err("agency".to_owned()));
    }

    #[test]
    fn roles_that_check_each_other_are_not_in_one_hand() {
        use RolesError as E;
        for (roles, has_agency, expected) in [
            (Roles::AGENCY, true, Ok(())),
            (Roles::PARTNER, true, Ok(())),
            (Roles::PARTNER, false, Ok(())),
            (Roles::OPERATOR, false, Ok(())),
            (Roles::AUDITOR, false, Ok(())),
            (Roles::SERVICE, false, Ok(())),
            (Roles::default(), true, Err(E::None)),
            (Roles::AGENCY, false, Err(E::NoAgency(Role::Desk))),
            (Roles::of(&[Role::Inspector]), false, Err(E::NoAgency(Role::Inspector))),
            (Roles::OPERATOR, true, Err(E::Agency(Role::Operator))),
            (Roles::AUDITOR, true, Err(E::Agency(Role::Auditor))),
            (
                Roles::AUDITOR.with(Roles::OPERATOR),
                false,
                Err(E::Alone(Role::Auditor)),
            ),
            (Roles::SERVICE.with(Roles::PARTNER), false, Err(E::Alone(Role::Service))),
        ] {
            assert_eq!(roles.check(has_agency), expected, "{roles} {has_agency}");
        }
    }
}
