//! Connecting factors.

use std::fmt;

use api::event::ConnectingFactor;

/// A place that ties a report to a territory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// Where the operator of the service is.
    Operator,
    /// Where the server is.
    Server,
    /// Where the money was paid or the contract performed.
    Transaction,
    /// Where the victim was harmed.
    Victim,
    /// Where the person or business complained of is.
    Suspect,
    /// Where the agency that received the report first is.
    Received,
    /// Where the agency complained of is.
    ComplainedOf,
}

impl Factor {
    /// Number of factors.
    pub const COUNT: usize = 7;

    /// All factors.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Operator,
        Self::Server,
        Self::Transaction,
        Self::Victim,
        Self::Suspect,
        Self::Received,
        Self::ComplainedOf,
    ];

    /// The name in rule sets, contract and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Server => "server",
            Self::Transaction => "transaction",
            Self::Victim => "victim",
            Self::Suspect => "suspect",
            Self::Received => "received",
            Self::ComplainedOf => "complained-of",
        }
    }

    /// Parses a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.as_str() == name)
    }

    /// The factor of a report's place; `None` if this version does not know it.
    #[must_use]
    pub const fn from_proto(factor: ConnectingFactor) -> Option<Self> {
        match factor {
            // Where those places are, routing finds itself: no report names them.
            ConnectingFactor::Unspecified | ConnectingFactor::Received | ConnectingFactor::ComplainedOf => None,
            ConnectingFactor::Operator => Some(Self::Operator),
            ConnectingFactor::Server => Some(Self::Server),
            ConnectingFactor::Transaction => Some(Self::Transaction),
            ConnectingFactor::Victim => Some(Self::Victim),
            ConnectingFactor::Suspect => Some(Self::Suspect),
        }
    }

    /// The factor in the contract.
    #[must_use]
    pub const fn to_wire(self) -> ConnectingFactor {
        match self {
            Self::Operator => ConnectingFactor::Operator,
            Self::Server => ConnectingFactor::Server,
            Self::Transaction => ConnectingFactor::Transaction,
            Self::Victim => ConnectingFactor::Victim,
            Self::Suspect => ConnectingFactor::Suspect,
            Self::Received => ConnectingFactor::Received,
            Self::ComplainedOf => ConnectingFactor::ComplainedOf,
        }
    }

    /// Parses a factor of the contract; `None` if it is not set, or this version does not know it.
    #[must_use]
    pub fn from_wire(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.to_wire() as i32 == number)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
