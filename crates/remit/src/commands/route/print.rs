//! Output of `remit route`.

use std::{path::Path, time::Duration};

use api::routing::{
    CheckRuleSetResponse, RouteDecision, RouteDifference, RouteEnd, RuleFinding, Severity, SimulationSummary,
};
use api::text_in;
use decision::decide::column_words;

use crate::{
    client::Failed,
    output::{self, Paint as _, bad, dim, explanation, field, id, line, strong, tell, tr},
};

/// Maximum number of agencies in a summary; the others are counted.
const AGENCIES: usize = 30;

/// Format and amount of output.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) json: bool,
    /// Omit the individual differences.
    pub(super) summary: bool,
}

/// Prints a decision for clerks: who, by when, and why.
pub(super) fn decision(decision: &RouteDecision) -> anyhow::Result<()> {
    match (decision.lead.as_str(), decision.designating.as_str(), &decision.advice) {
        ("", "", Some(advice)) => {
            line(tr("No agency can act; the reporter is told:").style(strong()))?;
            line(text_in(&advice.texts, "zh"))?;
            line(text_in(&advice.texts, "en"))?;
        }
        ("", designating, _) => field("designates", id(designating).style(strong()))?,
        (lead, ..) => field(
            "leads",
            format_args!("{}  {}", id(lead).style(strong()), output::text(&decision.lead_titles)),
        )?,
    }
    for (name, clock) in [("takes over", &decision.acknowledge), ("result", &decision.result)] {
        if let Some(clock) = clock {
            field(name, tell("within {0}", &[&output::clock(clock)]))?;
        }
    }
    let Some(explanation) = &decision.explanation else {
        return Ok(());
    };
    explanation::needs(explanation)?;
    explanation::explanation(explanation)?;
    for (column, rows) in by_column(decision) {
        let name = if column == "category" { "other rows" } else { "" };
        let column = column_words(column);
        let why = tell("not for {0}: {1}", &[&output::column(&column), &rows.join(", ")]);
        field(name, why.style(dim()))?;
    }
    Ok(())
}

/// The rows that did not match, grouped by the first column that failed, in order of first
/// appearance.
fn by_column(decision: &RouteDecision) -> Vec<(&str, Vec<&str>)> {
    let mut columns: Vec<(&str, Vec<&str>)> = Vec::new();
    for miss in &decision.misses {
        match columns.iter_mut().find(|(column, _)| *column == miss.column) {
            Some((_, rows)) => rows.push(&miss.row),
            None => columns.push((&miss.column, vec![&miss.row])),
        }
    }
    columns
}

/// Prints all findings; errors make the command fail.
pub(super) fn findings(findings: &[RuleFinding], json: bool) -> anyhow::Result<()> {
    if json {
        output::json(&CheckRuleSetResponse {
            findings: findings.to_vec(),
        })?;
    } else if findings.is_empty() {
        line("no findings")?;
    } else {
        for finding in findings {
            line(words(finding))?;
        }
    }
    match findings.iter().any(|finding| finding.severity() == Severity::Error) {
        true => Err(Failed::Told.into()),
        false => Ok(()),
    }
}

/// Prints a finding on standard error.
pub(super) fn warning(finding: &RuleFinding) {
    output::warn(words(finding));
}

fn words(finding: &RuleFinding) -> String {
    let severity = match finding.severity() {
        Severity::Error => format!("{}", "error".style(bad())),
        _ => "warning".to_owned(),
    };
    let row = match finding.row.as_str() {
        "" => String::new(),
        row => format!("row `{row}`, "),
    };
    format!("{severity}: {row}{}: {}", finding.column, finding.message)
}

/// Prints one difference.
pub(super) fn difference(difference: &RouteDifference, shown: &Shown) -> anyhow::Result<()> {
    if shown.summary {
        return Ok(());
    }
    if shown.json {
        return output::json_line(difference);
    }
    let end = |end: &Option<RouteEnd>| {
        let end = end.clone().unwrap_or_default();
        let who = match (id(&end.agency), end.leads) {
            ("", _) => "advised".to_owned(),
            (agency, true) => agency.to_owned(),
            (agency, false) => format!("{agency} designates"),
        };
        match end.supporting.is_empty() {
            true => who,
            false => {
                let supporting: Vec<_> = end.supporting.iter().map(|name| id(name)).collect();
                format!("{who} (with {})", supporting.join(", "))
            }
        }
    };
    let of = match difference.line {
        0 => difference.case_name.clone(),
        number => format!("line {number}"),
    };
    line(format_args!(
        "{of}: {} → {}  {}",
        end(&difference.current),
        end(&difference.proposed),
        difference.reason.style(dim())
    ))?;
    Ok(())
}

/// Prints a summary: a table of the agencies' gains and losses.
pub(super) fn summary(summary: &SimulationSummary, shown: &Shown) -> anyhow::Result<()> {
    if shown.json {
        return output::json_line(summary);
    }
    line(format_args!(
        "{} decided, {} differ",
        summary.decided_count,
        summary.different_count.style(strong())
    ))?;
    if summary.erased_count > 0 {
        line(format_args!(
            "{} skipped: their facts were erased",
            summary.erased_count
        ))?;
    }
    if !summary.agencies.is_empty() {
        line(format_args!("{:<32} {:>10} {:>10}", "agency", "gained", "lost").style(dim()))?;
    }
    for balance in summary.agencies.iter().take(AGENCIES) {
        line(format_args!(
            "{:<32} {:>10} {:>10}",
            id(&balance.agency),
            balance.gained_count,
            balance.lost_count
        ))?;
    }
    if summary.agencies.len() > AGENCIES {
        line(format_args!("and {} more agencies", summary.agencies.len() - AGENCIES))?;
    }
    Ok(())
}

/// Prints how long it took.
pub(super) fn speed(decided: u64, taken: Duration) -> anyhow::Result<()> {
    #[allow(clippy::cast_precision_loss, reason = "rounded for people")]
    let rate = decided as f64 / taken.as_secs_f64().max(1e-9);
    line(format_args!("{}", format!("{taken:.1?}, {rate:.0}/s").style(dim())))?;
    Ok(())
}

/// Reports a line without valid facts on standard error.
pub(super) fn unread(file: &Path, number: u64, error: &str) {
    output::warn(format_args!(
        "{} {}:{number}: {error}",
        "error:".style(bad()),
        file.display()
    ));
}
