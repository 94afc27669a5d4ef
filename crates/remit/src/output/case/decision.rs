//! How a case is disposed of, and what officers write, in words.

use api::{
    event::{DispositionEffect, DispositionKind, ReopenReason, ReviewRequester, UrgentMeasure},
    routing::{CaseDisposition, CaseNote},
};

use super::super::{Paint as _, dim, field, id, line, strong, tell, time, tr};

/// A disposition, proposed or decided.
pub(super) fn print(disposition: &CaseDisposition) -> std::io::Result<()> {
    let what = disposition.disposition.clone().unwrap_or_default();
    match disposition.decide_time {
        Some(_) => field("outcome", kind(what.kind()).style(strong()))?,
        None => field("proposal", kind(what.kind()).style(strong()))?,
    }
    let effects: Vec<_> = what.effects().map(effect).collect();
    field("effect", effects.join("; "))?;
    field("legal basis", &what.legal_basis)?;
    let by = id(&disposition.agency);
    match &disposition.decide_time {
        Some(decided) => field("decided", tell("{0} by {1}", &[&time(Some(decided)), &by]))?,
        None => {
            let proposed = time(disposition.propose_time.as_ref());
            field(
                "proposed",
                tell("{0} by {1}; it waits for a second officer", &[&proposed, &by]),
            )?;
        }
    }
    match disposition.reviewer.is_empty() {
        true => Ok(()),
        false => field("reviewer", &disposition.reviewer),
    }
}

/// What an officer wrote.
pub(super) fn note(note: &CaseNote) -> std::io::Result<()> {
    for (head, text) in [
        (&*note.officer, &note.text),
        (tr("the reporter may be told"), &note.reporter_text),
        (tr("the affected side may be told"), &note.subject_text),
    ] {
        if text.is_empty() {
            continue;
        }
        if !head.is_empty() {
            line(format_args!("    {}", format!("{head}:").as_str().style(dim())))?;
        }
        for text in text.lines() {
            line(format_args!("      {text}"))?;
        }
    }
    Ok(())
}

/// The kind of a disposition.
pub(in crate::output) fn kind(kind: DispositionKind) -> &'static str {
    match kind {
        DispositionKind::Unspecified => tr("one that this version does not know"),
        DispositionKind::Guidance => tr("warning or guidance"),
        DispositionKind::Correction => tr("order to correct"),
        DispositionKind::Interview => tr("interview of the operator"),
        DispositionKind::Penalty => tr("administrative penalty"),
        DispositionKind::SuspectedCrime => tr("handed over as a suspected crime"),
        DispositionKind::HandedBack => tr("no crime: handed back for an administrative decision"),
        DispositionKind::ReferredAbroad => tr("referred to a partner hotline abroad"),
        DispositionKind::Mediated => tr("mediated"),
        DispositionKind::NoOffence => tr("no offence found"),
        DispositionKind::InsufficientInformation => tr("insufficient information"),
        DispositionKind::Fabricated => tr("fabricated report"),
        DispositionKind::OutsideAnyRemit => tr("within the remit of no agency"),
        DispositionKind::CourtAdvised => tr("reporter told to seek a court"),
        DispositionKind::Withdrawn => tr("report withdrawn by its reporter"),
    }
}

pub(in crate::output) fn effect(effect: DispositionEffect) -> &'static str {
    match effect {
        DispositionEffect::Unspecified => tr("one that this version does not know"),
        DispositionEffect::None => tr("nothing changes"),
        DispositionEffect::Removed => tr("removed"),
        DispositionEffect::Unavailable => tr("no longer reachable"),
        DispositionEffect::Corrected => tr("corrected"),
        DispositionEffect::MoneyReturned => tr("money returned"),
        DispositionEffect::MoneyStopped => tr("money stopped"),
        DispositionEffect::Sanctioned => tr("somebody sanctioned"),
        DispositionEffect::HandedOver => tr("another body decides"),
    }
}

/// Who asks for a review.
pub(in crate::output) fn requester(requester: ReviewRequester) -> &'static str {
    match requester {
        ReviewRequester::Unspecified => tr("one that this version does not know"),
        ReviewRequester::Reporter => tr("for the reporter"),
        ReviewRequester::Subject => tr("for the affected side"),
    }
}

/// Why a case is open again.
pub(in crate::output) fn reopened(reason: ReopenReason) -> &'static str {
    match reason {
        ReopenReason::Unspecified => tr("one that this version does not know"),
        ReopenReason::NewInformation => tr("new information"),
        ReopenReason::Error => tr("an error in the disposition"),
        ReopenReason::WithoutEffect => tr("it had no lasting effect"),
        ReopenReason::Ordered => tr("ordered by a court or an authority"),
    }
}

/// A measure that could not wait.
pub(in crate::output) fn measure(measure: UrgentMeasure) -> &'static str {
    match measure {
        UrgentMeasure::Unspecified => tr("one that this version does not know"),
        UrgentMeasure::PaymentStopped => tr("payment stopped"),
        UrgentMeasure::EvidenceSecured => tr("evidence secured"),
        UrgentMeasure::PersonProtected => tr("person protected"),
        UrgentMeasure::ServiceSuspended => tr("account, page or service suspended"),
        UrgentMeasure::WarningGiven => tr("those at risk warned"),
    }
}
