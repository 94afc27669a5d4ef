//! Parts in a case, and what each part sees.

use std::collections::BTreeSet;

use decision::{
    calendar::ClockKind,
    directory::{AgencyId, Directory},
};

use super::{Case, Clock, Matter, Standing};

/// A part in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The agency that leads it.
    Lead,
    /// An agency that supports the lead.
    Supporting,
    /// An agency that supports the lead, and that the lead lets read what the reports say. It is also
    /// supporting.
    Informed,
    /// An agency that was asked to assist and has not answered. It is also supporting.
    Assisting,
    /// The body that a suspected crime was handed to, which has not refused it. It is also
    /// supporting.
    Receiving,
    /// A superior of the agency that decided, which has to hand the crime over because that did
    /// not. It is also supporting.
    Referring,
    /// The agency that transferred it to a lead that has not taken it over yet.
    Giving,
    /// The superior that must designate a lead.
    Designating,
    /// The agency that decided it, once it is closed.
    Deciding,
    /// The superior that supervises the lead.
    Supervising,
    /// A superior of the lead, or of the agency that must designate one.
    SuperiorOfLead,
    /// The side that a disposition affects, which had notice of it. What it sees is its notice.
    Subject,
    /// Whoever runs the services.
    Operator,
    /// Remit itself.
    Remit,
}

/// An aspect of a case that a part may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// That it is there: its category, state, owner, and the clock under which that must act.
    Outline,
    /// Its state, clocks, parties, names of reports, and how it was routed.
    Case,
    /// The content of its reports.
    Content,
    /// Who is excluded from it.
    Exclusions,
    /// What officers write with their changes.
    Notes,
}

impl Sight {
    /// All aspects.
    pub const ALL: [Self; 5] = [Self::Outline, Self::Case, Self::Content, Self::Exclusions, Self::Notes];
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 14] = [
        Self::Lead,
        Self::Supporting,
        Self::Informed,
        Self::Assisting,
        Self::Receiving,
        Self::Referring,
        Self::Giving,
        Self::Designating,
        Self::Deciding,
        Self::Supervising,
        Self::SuperiorOfLead,
        Self::Subject,
        Self::Operator,
        Self::Remit,
    ];

    /// The stored parts: one per agency and case.
    pub const STORED: [Self; 7] = [
        Self::Lead,
        Self::Supporting,
        Self::Informed,
        Self::Giving,
        Self::Designating,
        Self::Deciding,
        Self::Supervising,
    ];

    /// The name for people; of a stored part, also the stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Supporting => "supporting",
            Self::Informed => "informed",
            Self::Assisting => "agency asked to assist",
            Self::Receiving => "body that a crime was handed to",
            Self::Referring => "superior that must hand a crime over",
            Self::Giving => "giving",
            Self::Designating => "designating",
            Self::Deciding => "deciding",
            Self::Supervising => "supervising",
            Self::SuperiorOfLead => "superior of the lead",
            Self::Subject => "affected side",
            Self::Operator => "operator",
            Self::Remit => "Remit",
        }
    }

    /// The part in a sentence.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Supporting => "supporting agency",
            Self::Informed => "supporting agency that reads the reports",
            Self::Giving => "agency that gave it",
            Self::Designating => "superior that must designate",
            Self::Deciding => "agency that decided it",
            Self::Supervising => "superior that supervises it",
            _ => self.name(),
        }
    }

    /// Parses a stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::STORED.into_iter().find(|part| part.name() == name)
    }

    /// Whether it owns the case: it leads, or must designate.
    #[must_use]
    pub const fn owns(self) -> bool {
        matches!(self, Self::Lead | Self::Designating)
    }

    /// What the part sees. Every read of a case or of its reports' content uses this table.
    #[must_use]
    pub const fn sees(self) -> &'static [Sight] {
        match self {
            Self::Lead | Self::Deciding => &Sight::ALL,
            // What is handed to it stands in the notes, and why in the reasons.
            Self::Giving | Self::Receiving => &[Sight::Outline, Sight::Case, Sight::Content, Sight::Notes],
            Self::Designating | Self::Supervising | Self::Referring => {
                &[Sight::Outline, Sight::Case, Sight::Exclusions, Sight::Notes]
            }
            Self::Informed => &[Sight::Outline, Sight::Case, Sight::Content],
            Self::Supporting | Self::Assisting | Self::Operator => &[Sight::Outline, Sight::Case],
            Self::SuperiorOfLead => &[Sight::Outline],
            Self::Subject | Self::Remit => &[],
        }
    }

    /// Whether it knows of the case, and may be told why something is refused.
    #[must_use]
    pub fn knows(self) -> bool {
        self == Self::Subject || self.sees().contains(&Sight::Outline)
    }

    /// Stored names of the parts that see an aspect of a case.
    #[must_use]
    pub fn seeing(sight: Sight) -> Vec<String> {
        let seeing = Self::STORED.into_iter().filter(|part| part.sees().contains(&sight));
        seeing.map(|part| part.name().to_owned()).collect()
    }
}

/// A caller who reads a case or acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// An agency.
    Agency(AgencyId),
    /// An operator.
    Operator,
    /// The affected side, by the receipt of the notice with this number.
    Subject(u64),
}

impl Party {
    /// The agency, if it is one.
    #[must_use]
    pub const fn agency(&self) -> Option<&AgencyId> {
        match self {
            Self::Agency(agency) => Some(agency),
            Self::Operator | Self::Subject(_) => None,
        }
    }
}

/// All parts of a caller in a case.
pub(super) fn parts(case: &Case, party: &Party, directory: &Directory) -> Vec<Part> {
    let agency = match party {
        Party::Operator => return vec![Part::Operator],
        Party::Subject(notice) => return case.notice(*notice).map(|_| Part::Subject).into_iter().collect(),
        Party::Agency(agency) => agency,
    };
    let mut parts: Vec<Part> = case
        .parties()
        .filter(|(party, _)| *party == agency)
        .map(|(_, part)| part)
        .collect();
    let watches = case.supervisor.as_ref() == Some(agency) && case.is_supported_by(agency);
    if parts.contains(&Part::Informed) || watches {
        parts.push(Part::Supporting);
    }
    let owes = |kind: ClockKind| {
        let owed = |clock: &Clock| clock.kind() == kind && clock.owner == *agency;
        case.clocks.iter().any(owed)
    };
    parts.extend(owes(ClockKind::Assist).then_some(Part::Assisting));
    let has_taken = case.taker() == Some(agency) && case.is_supported_by(agency);
    parts.extend((owes(ClockKind::Receive) || has_taken).then_some(Part::Receiving));
    let refers = owes(ClockKind::Refer) && case.owner() != Some(agency);
    parts.extend(refers.then_some(Part::Referring));
    if let Standing::Open(_, duty) = &case.standing
        && duty.owner != *agency
        && directory.is_under(&duty.owner, agency)
    {
        parts.push(Part::SuperiorOfLead);
    }
    parts
}

/// The superiors of an open case's owner that may know of the case: those that no exclusion keeps
/// out of it. They see its outline.
#[must_use]
pub fn overseers(case: &Case, matter: &Matter, directory: &Directory) -> BTreeSet<AgencyId> {
    let above = case
        .owner()
        .into_iter()
        .flat_map(|owner| directory.chain(owner).skip(1));
    above
        .map(|superior| superior.id.clone())
        .filter(|superior| !directory.is_excluded(superior, &matter.excluded))
        .collect()
}

/// Whether a caller sees an aspect of a case.
#[must_use]
pub fn sees(case: &Case, party: &Party, directory: &Directory, sight: Sight) -> bool {
    parts(case, party, directory)
        .iter()
        .any(|part| part.sees().contains(&sight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::tests::{assigned, matter};

    #[test]
    fn p7_who_a_reporter_keeps_out_oversees_nothing() {
        let case = assigned("police-450200", &["police-440000"]);
        let overseers = |excluded: &[&str]| {
            let all = overseers(&case, &matter(excluded), Directory::shipped());
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(overseers(&[]), ["police-450000", "police-CN"]);
        assert_eq!(overseers(&["police-450000"]), ["police-CN"]);
        // With all units under it.
        assert_eq!(overseers(&["police-CN"]), [] as [&str; 0]);
        assert_eq!(overseers(&["police-440000"]), ["police-450000", "police-CN"]);
    }
}
