//! A finding about a rule set.

use std::fmt;

use api::routing::RuleFinding;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rule set is usable but may contain a mistake.
    Warning,
    /// The rule set is unusable.
    Error,
}

/// A finding about a rule set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// The row's line in the file.
    pub line: Option<u64>,
    /// The row; empty for the whole table.
    pub row: String,
    /// The column or part of the row; empty for the whole row.
    pub column: String,
    /// The problem and how to fix it.
    pub message: String,
}

impl Finding {
    /// Converts to a contract message.
    #[must_use]
    pub fn to_proto(&self) -> RuleFinding {
        let severity = match self.severity {
            Severity::Warning => api::routing::Severity::Warning,
            Severity::Error => api::routing::Severity::Error,
        };
        RuleFinding {
            severity: severity.into(),
            row: self.row.clone(),
            column: self.column.clone(),
            message: self.message.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        match (self.row.as_str(), self.column.as_str()) {
            ("", column) => write!(f, "{column}: {}", self.message),
            (row, "") => write!(f, "row `{row}`: {}", self.message),
            (row, column) => write!(f, "row `{row}`, {column}: {}", self.message),
        }
    }
}
