//! Output of `remit report`.

use api::google::r#type::LocalizedText;
use api::intake::{
    CheckReceiptResponse, GetReportResponse, Loss, PreviewedPart, ReceiptStep, Report, RevealReporterResponse,
    RoutePreview, SubjectKind, SubmitReportResponse, Supplement,
};
use api::text_in;
use iso_currency::Currency;

use crate::output::{self, Paint as _, dim, field, id, line, strong, tell, tr};

pub(super) fn submitted(response: &SubmitReportResponse, validate_only: bool) -> anyhow::Result<()> {
    let Some(report) = response.report.as_ref().filter(|_| !validate_only) else {
        line(tr("the report is valid; nothing was recorded"))?;
        return preview(response.preview.as_ref());
    };
    field("report", &report.name)?;
    field("receipt", response.receipt.style(strong()))?;
    field("accepted", output::time(report.accept_time.as_ref()))?;
    line("")?;
    line(format_args!(
        "{} remit report receipt {}",
        tr("follow it with:").style(dim()),
        response.receipt
    ))?;
    Ok(())
}

/// Prints where a report would go, and who would see what.
fn preview(preview: Option<&RoutePreview>) -> anyhow::Result<()> {
    let Some(preview) = preview else {
        line(tr("where it would go cannot be told now: routing does not answer"))?;
        return Ok(());
    };
    if preview.withheld {
        line(tr(
            "where it would go is not told: it is to be kept from the sender itself",
        ))?;
        return Ok(());
    }
    line("")?;
    line(tr("If it were submitted now").style(strong()))?;
    if let Some(advice) = &preview.advice {
        line(tr("no agency could act; the reporter would be told:"))?;
        line(text_in(&advice.texts, "zh"))?;
        line(text_in(&advice.texts, "en"))?;
    }
    for party in &preview.parties {
        let part = match party.part() {
            PreviewedPart::Lead => "leads",
            PreviewedPart::Designating => "designates",
            PreviewedPart::Supporting => "supports",
            PreviewedPart::Unspecified => "has a part",
        };
        let sees = match party.sees_content {
            true => tr("may read what the report says, for a purpose that is recorded"),
            false => tr("sees that there is a case, and not what the report says"),
        };
        let title = output::text(&party.agency_titles);
        field(part, format_args!("{}  {title}", id(&party.agency).style(strong())))?;
        field("", sees.style(dim()))?;
    }
    Ok(())
}

pub(super) fn report(GetReportResponse { report, reading }: &GetReportResponse) -> anyhow::Result<()> {
    let report: &Report = &report.clone().unwrap_or_default();
    line(report.name.style(strong()))?;
    field("state", output::report_state(report.state()))?;
    field("accepted", output::time(report.accept_time.as_ref()))?;
    if !report.external_id.is_empty() {
        field("external id", &report.external_id)?;
    }
    field("category", output::category(&report.category))?;
    for subject in &report.subjects {
        let kind = lower(SubjectKind::as_str_name(&subject.kind()), "SUBJECT_KIND_");
        let platform = match subject.platform.as_str() {
            "" => String::new(),
            platform => format!(" ({platform})"),
        };
        let port = match subject.port {
            0 => String::new(),
            port => format!(" port {port}"),
        };
        let observed = match subject.observe_time.as_ref() {
            None => String::new(),
            time => format!(", met {}", output::time(time)),
        };
        field(
            "subject",
            format_args!("{kind} {}{port}{platform}{observed}", subject.value),
        )?;
    }
    for place in &report.places {
        use api::intake::place::Location;
        let factor = output::factor_in_words(place.factor());
        let at = match &place.location {
            Some(Location::Territory(name)) => output::territory(id(name)),
            Some(Location::RegionCode(country)) => country.clone(),
            None => "-".to_owned(),
        };
        field("place", format_args!("{factor} {at}"))?;
    }
    if let Some(loss) = &report.loss {
        field(
            "loss",
            format_args!("{}, {}", amount(loss), output::time(loss.occur_time.as_ref())),
        )?;
    }
    for (path, value) in &report.details {
        field("detail", format_args!("{path} = {value}"))?;
    }
    if let Some(reporter) = &report.reporter {
        let relation = lower(reporter.relation().as_str_name(), "REPORTER_RELATION_");
        let parts = [
            reporter.display_name.as_str(),
            reporter.contact.as_str(),
            relation.as_str(),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        field("reporter", parts.join(", "))?;
    }
    if !report.complained_of.is_empty() {
        field("complains of", id(&report.complained_of))?;
    }
    for agency in &report.keep_from {
        field("keep from", id(agency))?;
    }
    for evidence in &report.evidence {
        field("evidence", evidence)?;
    }
    if !report.narrative.is_empty() {
        line("")?;
        line(&report.narrative)?;
    }
    for added in &report.supplements {
        supplement(added)?;
    }
    line("")?;
    field("recorded", tell("this reading, as {0}", &[reading]))?;
    Ok(())
}

/// Prints that something was added, and what follows.
pub(super) fn added(time: Option<&prost_types::Timestamp>, notices: &[LocalizedText]) -> anyhow::Result<()> {
    field("recorded", output::time(time))?;
    line(output::text(notices))?;
    Ok(())
}

/// Prints what was added to a report later.
fn supplement(added: &Supplement) -> std::io::Result<()> {
    line("")?;
    let time = output::time(added.add_time.as_ref());
    let heading = match added.question_number {
        0 if added.review_requested => tell("A review is asked for, {0}", &[&time]),
        0 => tell("Added {0}", &[&time]),
        number => tell("Answer to question {0}, {1}", &[&number, &time]),
    };
    line(heading.style(strong()))?;
    let sender = match added.sender_agency.as_str() {
        "" => added.sender_system.clone(),
        agency => tell("{0} ({1})", &[&id(agency), &added.sender_system]),
    };
    let sender = match added.by_receipt {
        true => tell("{0}, by the receipt", &[&sender]),
        false => sender,
    };
    field("sent by", sender)?;
    if added.sender_excluded {
        field("note", tr("who sent this is excluded from the case"))?;
    }
    for evidence in &added.evidence {
        field("evidence", evidence)?;
    }
    match added.text.is_empty() {
        true => Ok(()),
        false => line(&added.text),
    }
}

pub(super) fn reporter(response: &RevealReporterResponse) -> anyhow::Result<()> {
    let reporter = response.reporter.clone().unwrap_or_default();
    let or_nothing = |text: &str| match text {
        "" => tr("not given").style(dim()).to_string(),
        text => text.to_owned(),
    };
    field("name", or_nothing(&reporter.display_name))?;
    field("contact", or_nothing(&reporter.contact))?;
    field(
        "relation",
        lower(reporter.relation().as_str_name(), "REPORTER_RELATION_"),
    )?;
    if let Some(change) = &response.change {
        field(
            "recorded",
            tell(
                "{0} as event {1}",
                &[&output::time(change.change_time.as_ref()), &change.event_id],
            ),
        )?;
    }
    Ok(())
}

/// Formats `128000.00 CNY`; minor units if the currency is unknown.
fn amount(loss: &Loss) -> String {
    let Loss {
        currency_code: currency,
        minor_units,
        ..
    } = loss;
    match Currency::from_code(currency).map(Currency::exponent) {
        Some(Some(0)) => format!("{minor_units} {currency}"),
        Some(Some(digits)) => {
            let digits = usize::from(digits);
            let text = format!("{minor_units:0>width$}", width = digits + 1);
            let (whole, part) = text.split_at(text.len() - digits);
            format!("{whole}.{part} {currency}")
        }
        Some(None) | None => format!("{minor_units} minor units of {currency}"),
    }
}

fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_lowercase()
        .replace('_', " ")
}

/// One step of the report's case.
fn happened(step: &ReceiptStep) -> String {
    let mut said = format!("{}  {}", output::time(step.time.as_ref()), output::text(&step.titles));
    if !step.agency.is_empty() {
        said = format!("{said}: {}", output::text(&step.agency_titles));
    }
    if !step.category.is_empty() {
        said = format!("{said}: {}", id(&step.category));
    }
    if step.reason != 0 {
        said = tell("{0} ({1})", &[&said, &output::reason(step.reason())]);
    }
    if !step.text.is_empty() {
        said = format!("{said}: {}", step.text);
    }
    said
}

pub(super) fn receipt(response: &CheckReceiptResponse) -> anyhow::Result<()> {
    field("state", output::report_state(response.state()).style(strong()))?;
    if !response.agency.is_empty() {
        field(
            "agency",
            format_args!("{} ({})", output::text(&response.agency_titles), id(&response.agency)),
        )?;
        let taken = if response.acknowledged {
            tr("has acknowledged it")
        } else {
            tr("has not acknowledged it yet")
        };
        field("", taken)?;
    }
    for step in &response.steps {
        field("step", happened(step))?;
    }
    if let Some(question) = &response.question {
        let by = output::time(question.answer_by_time.as_ref());
        let asked = tell("no. {0}, to be answered by {1}", &[&question.question_number, &by]);
        field("question", asked.style(strong()))?;
        field("", &question.text)?;
    }
    if let Some(advice) = &response.advice {
        field("advice", text_in(&advice.texts, "en"))?;
        field("", text_in(&advice.texts, "zh"))?;
    }
    if let Some(outcome) = &response.outcome {
        field("outcome", output::text(&outcome.summaries).style(strong()))?;
        field(
            "",
            tell(
                "{0} by {1}",
                &[&output::time(outcome.decide_time.as_ref()), &id(&outcome.agency)],
            ),
        )?;
        if !outcome.text.is_empty() {
            field("", &outcome.text)?;
        }
        field("remedies", output::text(&outcome.remedies))?;
    }
    if response.due_time.is_some() {
        let due = output::time(response.due_time.as_ref());
        match &response.outcome {
            Some(outcome) if outcome.reviewable => field("review until", due)?,
            Some(_) => field("closes", due)?,
            None => field("next by", due)?,
        }
    }
    if let Some(inquiry) = &response.inquiry {
        field("ask", text_in(&inquiry.texts, "en"))?;
        field("", text_in(&inquiry.texts, "zh"))?;
    }
    field("accepted", output::time(response.accept_time.as_ref()))?;
    field("as of", output::time(response.as_of_time.as_ref()))?;
    if response.outdated {
        field(
            "",
            tr("not current: more may have happened since, which has not arrived here"),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        for (minor_units, currency, expected) in [
            (12_800_000, "CNY", "128000.00 CNY"),
            (5, "CNY", "0.05 CNY"),
            (5, "JPY", "5 JPY"),
            (1_234, "KWD", "1.234 KWD"),
            (7, "???", "7 minor units of ???"),
        ] {
            let loss = Loss {
                currency_code: currency.to_owned(),
                minor_units,
                occur_time: None,
            };
            assert_eq!(amount(&loss), expected);
        }
    }
}
