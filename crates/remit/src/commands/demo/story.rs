//! Output of one story.

use api::routing::{Explanation, FactorTried};
use api::text_in;
use journal::{Clock as _, SystemClock};

use super::{Sent, StoryResult, Tally};
use crate::{
    commands::proof::Proven,
    output::{self, Paint as _, bad, dim, good, id, line, strong},
};

/// Prints the outcome of a story and counts it.
pub(super) fn print(sent: &Sent, outcome: &StoryResult, tally: &mut Tally) -> anyhow::Result<()> {
    let Sent { example, .. } = sent;
    let StoryResult { answer, proven, case } = outcome;
    line("")?;
    line(format_args!(
        "{:>4}  {}  {}",
        number(&example.file).style(strong()),
        example.title.en.style(strong()),
        example.title.zh.style(dim())
    ))?;
    let field = |name: &str, value: &dyn std::fmt::Display| output::indented_field(6, 9, name, value);
    if sent.repeated {
        tally.repeats += 1;
        field(
            "repeat",
            &"same request id: the first answer was returned, nothing new was recorded",
        )?;
    } else {
        tally.reports += 1;
    }
    field("sent by", &example.sender)?;
    let lead = (!answer.agency.is_empty()).then(|| id(&answer.agency));
    match lead {
        Some(lead) => field(
            "went to",
            &format_args!(
                "{} · {} ({lead})",
                text_in(&answer.agency_titles, "en").style(strong()),
                text_in(&answer.agency_titles, "zh")
            ),
        )?,
        None => field(
            "went to",
            &"no agency: the reporter is told who can act".style(strong()),
        )?,
    }
    if let Some(advice) = &answer.advice {
        field("advice", &text_in(&advice.texts, "en"))?;
    }
    if let Some(case) = case {
        let explanation = case.explanation.clone().unwrap_or_default();
        field("because", &reason(&explanation))?;
        for support in &explanation.supporting {
            field("support", &format_args!("{} ({})", id(&support.agency), support.reason))?;
        }
        for clock in &case.clocks {
            let by = output::distance(clock.due_time.as_ref(), SystemClock.now());
            field(
                "clock",
                &format_args!("{} must {} {by}", id(&clock.owner), output::duty(clock.kind())),
            )?;
        }
    }
    let expected = example.ranked.lead.as_deref();
    if lead != expected {
        tally.faults += 1;
        field(
            "WRONG",
            &format!("expected {}", expected.unwrap_or("advice, and no agency")).style(bad()),
        )?;
    } else if !sent.repeated {
        *(if lead.is_some() {
            &mut tally.led
        } else {
            &mut tally.advised
        }) += 1;
    }
    tally.proofs += proven.len();
    field("log", &format_args!("{}", proofs(proven).style(good())))?;
    Ok(())
}

/// Why the lead leads, in one line: the place that decided, or the default.
fn reason(explanation: &Explanation) -> String {
    let gave_lead = |tried: &&FactorTried| tried.factor == explanation.factor && !tried.agency.is_empty();
    match explanation.factors.iter().find(gave_lead) {
        Some(tried) => format!(
            "the {}'s place counts: {} (rule {})",
            output::factor(tried.factor()),
            output::climb(output::place(tried), &tried.climb),
            explanation.row
        ),
        None => format!("{} (rule {})", explanation.summary, explanation.row),
    }
}

/// Returns `12b` for `12b-insult-victim.json`.
fn number(file: &str) -> &str {
    let number = file.split_once('-').map_or(file, |(number, _)| number);
    number.strip_prefix('0').unwrap_or(number)
}

/// The verified proofs, in one line.
pub(super) fn proofs(proven: &[Proven]) -> String {
    let indexes: Vec<_> = proven.iter().map(|proven| proven.index.to_string()).collect();
    let entries = if indexes.len() == 1 { "entry" } else { "entries" };
    let size = proven.iter().map(|proven| proven.size).max().unwrap_or(0);
    format!(
        "proof verified: {entries} {} of checkpoint size {size}",
        indexes.join(" and ")
    )
}
