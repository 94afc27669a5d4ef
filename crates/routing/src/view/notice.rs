//! What the affected side sees by its receipt: what it was told and what it said, how the matter
//! stands for it, and its rights. Nothing else of the case.

use api::{
    event::StatementKind,
    google::r#type::LocalizedText,
    routing::{CaseStep, Notice, NoticeStanding, NoticeStep},
};
use decision::directory::Directory;
use journal::{RoutingKind, Time};

use crate::{
    case::{self, Case, State},
    store::Noticed,
};

/// What the affected side may know of its matter.
pub fn notice(noticed: &Noticed, directory: &Directory, now: Time) -> Notice {
    let Noticed {
        stored,
        notice,
        reviewable,
    } = noticed;
    let Some(notice) = stored.case.notice(*notice) else {
        return Notice::default();
    };
    let standing = standing(&stored.case, notice, now);
    let respond_by = match standing {
        NoticeStanding::Intended | NoticeStanding::Considered => Some(notice.respond_by),
        NoticeStanding::Decided => stored.case.duty().map(|duty| duty.clock.due),
        _ => None,
    };
    let agency = directory.agency(&notice.agency);
    Notice {
        standing: standing.into(),
        agency: notice.agency.resource_name(),
        agency_titles: agency
            .map(|agency| api::bilingual(&agency.title_zh, &agency.title_en))
            .unwrap_or_default(),
        respond_by_time: respond_by.map(Time::to_proto),
        steps: steps(&stored.history, notice.number),
        rights: rights(standing, *reviewable),
    }
}

/// How the matter stands for the side of a notice.
pub fn standing(case: &Case, notice: &case::Notice, now: Time) -> NoticeStanding {
    let is_current = case.is_current(notice);
    let knows = is_current && notice.of_decision;
    match case.state() {
        State::IN_REVIEW if is_current => {
            let waives = notice.said.is_some_and(|said| said.kind == StatementKind::Waived);
            match (notice.unanswered(), notice.respond_by > now && !waives) {
                (Some(_), _) => NoticeStanding::Considered,
                (None, true) => NoticeStanding::Intended,
                (None, false) => NoticeStanding::Pending,
            }
        }
        State::RESOLVED if knows => match case.duty().is_some_and(|duty| duty.clock.due > now) {
            true => NoticeStanding::Decided,
            false => NoticeStanding::Final,
        },
        State::Ended(_) if knows => NoticeStanding::Final,
        State::Ended(_) => NoticeStanding::Ended,
        State::Open(_) => NoticeStanding::Pending,
    }
}

/// The steps that bear the number of the notice.
fn steps(history: &[CaseStep], number: u64) -> Vec<NoticeStep> {
    let mut is_decided = false;
    let mut steps = Vec::new();
    for step in history {
        let is = |kind: RoutingKind| kind.name() == step.kind;
        if is(RoutingKind::CaseResolved) {
            is_decided = true;
        }
        if step.notice_number == number.cast_signed() {
            let note = step.note.clone().unwrap_or_default();
            let is_of_agency = is(RoutingKind::SubjectNotified) || is(RoutingKind::StatementAnswered);
            steps.push(NoticeStep {
                time: step.time,
                kind: step.kind.clone(),
                disposition: step.disposition.clone(),
                of_decision: is_decided && step.disposition.is_some(),
                means: step.notice_means,
                statement: step.statement,
                answer: step.statement_answer,
                text: match is_of_agency {
                    true => note.subject_text,
                    false => note.text,
                },
            });
        }
        let reopens = [
            RoutingKind::ReviewRequested,
            RoutingKind::CaseReopened,
            RoutingKind::CrimeRefused,
        ];
        if reopens.into_iter().any(is) {
            is_decided = false;
        }
    }
    steps
}

/// What it may do, and what the law gives (行政处罚法 44, 45, 63, 行政复议法 20, 行政诉讼法 46).
fn rights(standing: NoticeStanding, reviewable: bool) -> Vec<LocalizedText> {
    let (zh, en) = match standing {
        NoticeStanding::Unspecified => return Vec::new(),
        NoticeStanding::Intended => (
            "尚未作出决定。在期限届满前，可以凭此码陈述意见、进行申辩；依法应当听证的，可以要求听证。不因陈述、申辩而加重处罚。",
            "Nothing is decided. Until the time has passed you can state your view by this receipt and, where the law \
             gives it, ask for a hearing. Nobody is penalised more heavily for defending itself.",
        ),
        NoticeStanding::Considered => (
            "你的陈述已收到，答复之前不会作出决定。",
            "Your statement was received. Nothing is decided before it is answered.",
        ),
        NoticeStanding::Pending => (
            "目前没有需要你办理的事项。作出决定后将另行告知。",
            "There is nothing for you to do now. You will have notice of a decision.",
        ),
        NoticeStanding::Decided if reviewable => (
            "在期限届满前，可以凭此码申请复核，由作出决定单位的上级重新处理。依法可以申请行政复议（六十日内）或者提起行政诉讼（六个月内）的，不受影响。",
            "Until the time has passed you can ask for a review by this receipt: the superior of the agency that decided \
             then decides anew. This does not affect your right, where the law gives it, to administrative reconsideration \
             (within 60 days) or to go to court (within six months).",
        ),
        NoticeStanding::Decided => (
            "没有可以复核的上级单位。依法可以申请行政复议（六十日内）或者提起行政诉讼（六个月内）。",
            "No superior can decide anew. Where the law gives it, you can apply for administrative reconsideration (within \
             60 days) or go to court (within six months).",
        ),
        NoticeStanding::Final => (
            "申请复核的期限已过。依法可以提起行政诉讼的，期限为知道决定之日起六个月内。",
            "The time for a review has passed. Where the law gives it, you can go to court within six months of the day \
             on which you knew of the decision.",
        ),
        NoticeStanding::Ended => (
            "案件已经办结，没有告知你的决定。如有疑问，可以询问承办单位。",
            "The case has ended without a decision that you have notice of. Ask the agency if you want to know more.",
        ),
    };
    api::bilingual(zh, en)
}

/// Why the affected side cannot do what it asks for, as the matter stands for it. What the notice does
/// not tell, a refusal does not tell either.
pub fn refused(standing: NoticeStanding) -> &'static str {
    match standing {
        NoticeStanding::Unspecified | NoticeStanding::Pending | NoticeStanding::Considered => {
            "there is no decision that you have notice of: wait for it"
        }
        NoticeStanding::Intended => "nothing is decided: state your view until the time has passed",
        NoticeStanding::Decided => {
            "it is decided: you can ask for a review, unless the notice says that no superior can decide anew"
        }
        NoticeStanding::Final => "the time for a review has ended; the notice says what the law gives",
        NoticeStanding::Ended => "the case has ended; ask the agency that gave the notice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_while_it_is_open_again_is_of_no_decision() {
        let step = |kind: RoutingKind, notice_number: i64| CaseStep {
            kind: kind.name().to_owned(),
            notice_number,
            disposition: Some(api::event::Disposition::default()),
            ..CaseStep::default()
        };
        for reopens in [
            RoutingKind::ReviewRequested,
            RoutingKind::CaseReopened,
            RoutingKind::CrimeRefused,
        ] {
            let history = [
                step(RoutingKind::CaseResolved, 0),
                step(RoutingKind::SubjectNotified, 1),
                step(reopens, 0),
                step(RoutingKind::SubjectNotified, 1),
            ];
            let told: Vec<bool> = steps(&history, 1).iter().map(|step| step.of_decision).collect();
            assert_eq!(told, [true, false], "{reopens:?}");
        }
    }
}
