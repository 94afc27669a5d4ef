//! A notice to the affected side, in words: as that side reads it, and as the case shows it.

use api::{
    event::{NoticeMeans, StatementAnswer, StatementKind},
    routing::{CaseNotice, Notice, NoticeStanding, NoticeStep},
};
use journal::{Clock as _, Kind, SystemClock};

use super::{
    Language, Paint as _, case::decision, dim, distance, field, id, language, line, strong, tell, text, time, tr,
};

/// A notice as the affected side reads it.
pub fn print(notice: &Notice) -> anyhow::Result<()> {
    field("standing", standing(notice.standing()).style(strong()))?;
    if !notice.agency.is_empty() {
        let title = text(&notice.agency_titles);
        field("agency", format_args!("{} {}", id(&notice.agency), title.style(dim())))?;
    }
    if let Some(by) = &notice.respond_by_time {
        let left = distance(Some(by), SystemClock.now());
        field("until", format_args!("{} ({left})", time(Some(by))))?;
    }
    for step in &notice.steps {
        line("")?;
        happened(step)?;
    }
    let rights = text(&notice.rights);
    if !rights.is_empty() {
        line("")?;
        line(rights)?;
    }
    Ok(())
}

/// A notice as it stands in a case.
pub(super) fn in_case(notice: &CaseNotice) -> std::io::Result<()> {
    let by = time(notice.respond_by_time.as_ref());
    let said = match (notice.statement(), notice.answered) {
        (StatementKind::Unspecified, _) => tr("nothing said"),
        (StatementKind::Waived, _) => tr("waived"),
        (_, true) => tr("its statement is answered"),
        (_, false) => tr("its statement waits for an answer"),
    };
    let told = match notice.of_decision {
        true => tr("of the decision"),
        false => tr("of the proposal"),
    };
    field(
        "notice",
        tell(
            "{0} to {1}, {2}, until {3}: {4} (statements: {5})",
            &[
                &notice.notice_number,
                &notice.recipient,
                &told,
                &by,
                &said,
                &notice.statement_count,
            ],
        ),
    )
}

fn happened(step: &NoticeStep) -> std::io::Result<()> {
    let kind = match Kind::from_name(&step.kind) {
        Some(kind) => match language() {
            Language::Zh => kind.zh().to_owned(),
            Language::En => kind.en().to_owned(),
        },
        None => step.kind.clone(),
    };
    let when = time(step.time.as_ref());
    line(format_args!("{}  {kind}{}", when.style(dim()), detail(step)))?;
    if let Some(disposition) = &step.disposition {
        let what = decision::kind(disposition.kind());
        match step.of_decision {
            true => field("decided", what)?,
            false => field("intended", what)?,
        }
        let effects: Vec<_> = disposition.effects().map(decision::effect).collect();
        field("effect", effects.join("; "))?;
        field("legal basis", &disposition.legal_basis)?;
    }
    for text in step.text.lines() {
        line(format_args!("    {text}"))?;
    }
    Ok(())
}

/// What a step says beyond its kind.
fn detail(step: &NoticeStep) -> String {
    let said = match (step.means(), step.statement(), step.answer()) {
        (NoticeMeans::Unspecified, StatementKind::Unspecified, StatementAnswer::Unspecified) => return String::new(),
        (NoticeMeans::Unspecified, StatementKind::Unspecified, given) => answer(given),
        (NoticeMeans::Unspecified, made, _) => statement(made),
        (served, ..) => means(served),
    };
    format!(" ({said})")
}

fn standing(standing: NoticeStanding) -> &'static str {
    match standing {
        NoticeStanding::Unspecified => tr("one that this version does not know"),
        NoticeStanding::Intended => tr("a disposition is intended; you can state your view"),
        NoticeStanding::Considered => tr("your statement waits for an answer"),
        NoticeStanding::Pending => tr("nothing to do; no decision that you have notice of"),
        NoticeStanding::Decided => tr("decided; you can ask for a review"),
        NoticeStanding::Final => tr("decided; the time for a review has ended"),
        NoticeStanding::Ended => tr("the case has ended, without a decision that you have notice of"),
    }
}

/// How a notice was served.
pub(super) fn means(means: NoticeMeans) -> &'static str {
    match means {
        NoticeMeans::Unspecified => tr("one that this version does not know"),
        NoticeMeans::HandedOver => tr("handed over"),
        NoticeMeans::Post => tr("by post"),
        NoticeMeans::Electronic => tr("electronically"),
        NoticeMeans::Announcement => tr("by public announcement"),
    }
}

/// What the affected side said.
pub(super) fn statement(kind: StatementKind) -> &'static str {
    match kind {
        StatementKind::Unspecified => tr("one that this version does not know"),
        StatementKind::Statement => tr("a statement"),
        StatementKind::HearingRequested => tr("it asks to be heard"),
        StatementKind::Waived => tr("it has nothing to say"),
    }
}

/// What became of it.
pub(super) fn answer(answer: StatementAnswer) -> &'static str {
    match answer {
        StatementAnswer::Unspecified => tr("one that this version does not know"),
        StatementAnswer::Accepted => tr("accepted, in whole or in part"),
        StatementAnswer::Considered => tr("considered; it changes nothing"),
        StatementAnswer::Heard => tr("it was heard"),
        StatementAnswer::HearingRefused => tr("the law gives no hearing; considered"),
    }
}
