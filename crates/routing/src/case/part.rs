//! Which part an agency has in a case, and what each part sees.

use decision::{
    calendar::ClockKind,
    directory::{AgencyId, Directory},
};

use super::{Case, Clock, Stage, Standing};

/// What somebody is to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Leads it.
    Lead,
    /// Supports the lead.
    Supporting,
    /// Was asked to assist, and has not answered. Supports the lead, too.
    Assisting,
    /// Must designate a lead.
    Designating,
    /// Stands above the lead.
    SuperiorOfLead,
    /// Runs the services.
    Operator,
    /// Remit itself.
    Remit,
}

/// What can be seen of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The case: its state, clocks, parties, reports by name, and how it was decided.
    Case,
    /// The content of its reports.
    Content,
    /// Who is excluded from it.
    Exclusions,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 7] = [
        Self::Lead,
        Self::Supporting,
        Self::Assisting,
        Self::Designating,
        Self::SuperiorOfLead,
        Self::Operator,
        Self::Remit,
    ];

    /// The parts that are stored, one per agency and case.
    pub const STORED: [Self; 3] = [Self::Lead, Self::Supporting, Self::Designating];

    /// In words: the stored name of a part that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Supporting => "supporting",
            Self::Assisting => "agency asked to assist",
            Self::Designating => "designating",
            Self::SuperiorOfLead => "superior of the lead",
            Self::Operator => "operator",
            Self::Remit => "Remit",
        }
    }

    /// From the stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::STORED.into_iter().find(|part| part.name() == name)
    }

    /// Whether it owns the case: leads it, or must designate.
    #[must_use]
    pub const fn owns(self) -> bool {
        matches!(self, Self::Lead | Self::Designating)
    }

    /// What it sees. Every read of a case or of its reports' content asks this table.
    #[must_use]
    pub const fn sees(self) -> &'static [Sight] {
        match self {
            Self::Lead => &[Sight::Case, Sight::Content, Sight::Exclusions],
            Self::Designating => &[Sight::Case, Sight::Exclusions],
            Self::Supporting | Self::Assisting | Self::Operator => &[Sight::Case],
            Self::SuperiorOfLead | Self::Remit => &[],
        }
    }

    /// Stored names of the parts that see something of a case.
    #[must_use]
    pub fn seeing(sight: Sight) -> Vec<String> {
        let seeing = Self::STORED.into_iter().filter(|part| part.sees().contains(&sight));
        seeing.map(|part| part.name().to_owned()).collect()
    }
}

/// Whoever asks for a case, or for something to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// An agency.
    Agency(AgencyId),
    /// An operator.
    Operator,
}

impl Party {
    /// The agency, if one asks.
    #[must_use]
    pub const fn agency(&self) -> Option<&AgencyId> {
        match self {
            Self::Agency(agency) => Some(agency),
            Self::Operator => None,
        }
    }
}

/// Every part that somebody has in a case.
pub(super) fn parts(case: &Case, party: &Party, directory: &Directory) -> Vec<Part> {
    let agency = match party {
        Party::Operator => return vec![Part::Operator],
        Party::Agency(agency) => agency,
    };
    let mut parts: Vec<Part> = case
        .parties()
        .filter(|(party, _)| *party == agency)
        .map(|(_, part)| part)
        .collect();
    let asked = |clock: &Clock| clock.kind() == ClockKind::Assist && clock.owner == *agency;
    if case.clocks.iter().any(asked) {
        parts.push(Part::Assisting);
    }
    if let Standing::Open(stage, duty) = &case.standing
        && *stage != Stage::AwaitingDesignation
        && duty.owner != *agency
        && directory.is_under(&duty.owner, agency)
    {
        parts.push(Part::SuperiorOfLead);
    }
    parts
}

/// Whether somebody sees something of a case.
#[must_use]
pub fn sees(case: &Case, party: &Party, directory: &Directory, sight: Sight) -> bool {
    parts(case, party, directory)
        .iter()
        .any(|part| part.sees().contains(&sight))
}
