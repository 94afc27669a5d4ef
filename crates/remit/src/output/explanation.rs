//! The explanation of a route, in words.

use api::routing::{Explanation, FactorTried, OperatorAnswer, ReviewNeed, operator_match};

use super::{
    Language, Paint as _, climb, dim, factor_in_words, field, id, language, line, place, said, strong, tell, territory,
    tr,
};

/// What the operator register answered, as far as it is told.
fn register(answer: &OperatorAnswer) -> std::io::Result<()> {
    for matched in &answer.matches {
        let name = matched
            .registered_operator
            .strip_prefix("operators/")
            .unwrap_or(&matched.registered_operator);
        let place = match &matched.location {
            Some(operator_match::Location::Territory(name)) => territory(id(name)),
            Some(operator_match::Location::RegionCode(code)) => code.clone(),
            None => "-".to_owned(),
        };
        let version = tell("operator register, version {0}", &[&answer.version]);
        field(
            "operator",
            format_args!("{} → {place} {}", name.replacen('~', " ", 1), version.style(dim())),
        )?;
    }
    Ok(())
}

/// The decision's further needs: payment holds and a review.
pub fn needs(explanation: &Explanation) -> std::io::Result<()> {
    for hold in &explanation.holds {
        let asked = if hold.agency.is_empty() {
            tr("no agency")
        } else {
            id(&hold.agency)
        };
        let within = hold.clock.as_ref().map(super::clock).unwrap_or_default();
        field(
            "stop payment",
            tell(
                "{0} is asked, within {1} ({2})",
                &[&asked, &within, &said(&hold.reason)],
            ),
        )?;
    }
    if explanation.review() == ReviewNeed::SecondPerson {
        field("review", tr("a second person must review the result"))?;
    }
    Ok(())
}

/// Prints a decision for clerks: the result, the rule, the attempts, and all assumptions.
pub fn explanation(explanation: &Explanation) -> anyhow::Result<()> {
    line("")?;
    line(tr("How it was routed").style(strong()))?;
    // In English only, and what it says is said again below.
    if language() == Language::En {
        field("in short", &explanation.summary)?;
    }
    field(
        "rule",
        tell(
            "row {0} of the rule set {1}",
            &[&explanation.row, &explanation.table_id],
        ),
    )?;
    field("source", &explanation.source)?;
    for (i, tried) in explanation.factors.iter().enumerate() {
        let name = if i == 0 { "tried" } else { "" };
        field(name, step(tried, tried.factor == explanation.factor))?;
    }
    if let Some(answer) = &explanation.register_answer {
        register(answer)?;
    }
    for support in &explanation.supporting {
        field(
            "support",
            format_args!("{}: {}", id(&support.agency), said(&support.reason)),
        )?;
    }
    for agency in &explanation.excluded {
        field("kept out", tell("{0} and all units under it", &[&id(agency)]))?;
    }
    for words in &explanation.exclusions {
        field("exclusion", said(words))?;
    }
    for (i, fallback) in explanation.fallbacks.iter().enumerate() {
        field(if i == 0 { "note" } else { "" }, said(fallback))?;
    }
    let hex = |digest: &[u8]| data_encoding::HEXLOWER.encode(digest);
    for (name, digest) in [
        ("facts", &explanation.facts_digest),
        ("rules", &explanation.rule_set_digest),
        ("directory", &explanation.directory_digest),
    ] {
        // Only the case's owner gets the digest of the facts, because they contain the exclusions.
        if !digest.is_empty() {
            field(name, format_args!("{}", format!("sha256:{}", hex(digest)).style(dim())))?;
        }
    }
    Ok(())
}

fn step(tried: &FactorTried, gave_lead: bool) -> String {
    let place = match place(tried) {
        "" => String::new(),
        place => format!(" {}", climb(place, &tried.climb)),
    };
    let mark = if gave_lead { tr(" ← this gave the lead") } else { "" };
    let passed = match tried.passed.as_slice() {
        [] => String::new(),
        passed => {
            let passed: Vec<_> = passed.iter().map(|agency| id(agency)).collect();
            tell(" (passed over: {0})", &[&passed.join(", ")])
        }
    };
    let outcome = said(&tried.outcome);
    format!("{}{place}: {outcome}{passed}{mark}", factor_in_words(tried.factor()))
}
