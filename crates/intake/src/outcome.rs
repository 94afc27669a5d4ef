//! What became of a report, for its reporter and in words.

use api::{
    event::{DispositionEffect, DispositionKind},
    google::r#type::LocalizedText,
    intake::{CaseChange, Outcome, ReceiptStep},
};
use journal::{Kind, Opened, RoutingKind};

/// The changes of a case that its reporters are told. Claims, requests between agencies and
/// proposals are not theirs; what comes of them is.
const TOLD: &[RoutingKind] = &[
    RoutingKind::CaseOpened,
    RoutingKind::CaseAdvised,
    RoutingKind::CaseAcknowledged,
    RoutingKind::CaseEscalated,
    RoutingKind::CaseDeclined,
    RoutingKind::CaseTransferred,
    RoutingKind::CaseHandedUp,
    RoutingKind::CaseDispatched,
    RoutingKind::AgencyDesignated,
    RoutingKind::CaseReclassified,
    RoutingKind::CaseSucceeded,
    RoutingKind::ClaimAgreed,
    RoutingKind::ClockPaused,
    RoutingKind::ClockResumed,
    RoutingKind::CaseSupervised,
    RoutingKind::ClaimDisputed,
    RoutingKind::AgencyRecused,
    RoutingKind::CaseResolved,
    RoutingKind::CrimeReferred,
    RoutingKind::CrimeTaken,
    RoutingKind::CrimeRefused,
    RoutingKind::QuestionAsked,
    RoutingKind::QuestionAnswered,
    RoutingKind::InformationAdded,
    RoutingKind::WithdrawalRequested,
    RoutingKind::CaseWithdrawn,
    RoutingKind::ReviewRequested,
    RoutingKind::CaseReopened,
    RoutingKind::CaseClosed,
];

/// A change as its reporters are told; `None` if they are not. Of progress they are told what an
/// agency wrote for them.
pub(crate) fn told(entry: &Opened, change: &CaseChange) -> Option<ReceiptStep> {
    let is = |kind: RoutingKind| kind.name() == entry.kind;
    let has_news = is(RoutingKind::ProgressRecorded) && !change.reporter_text.is_empty();
    (has_news || TOLD.iter().copied().any(is)).then(|| ReceiptStep {
        time: Some(entry.time.to_proto()),
        kind: entry.kind.clone(),
        agency: change.lead.clone(),
        agency_titles: change.lead_titles.clone(),
        reason: change.reason,
        text: change.reporter_text.clone(),
        category: change.category.clone(),
        // In the words of today.
        titles: Vec::new(),
    })
}

/// A step as stored, with words.
pub(crate) fn step(step: ReceiptStep) -> ReceiptStep {
    let kind = Kind::from_name(&step.kind);
    ReceiptStep {
        titles: kind
            .map(|kind| api::bilingual(kind.zh(), kind.en()))
            .unwrap_or_default(),
        ..step
    }
}

/// An outcome as routing sent it, with words.
pub(crate) fn in_words(outcome: Outcome) -> Outcome {
    Outcome {
        summaries: summaries(&outcome),
        remedies: remedies(outcome.kind(), outcome.reviewable),
        ..outcome
    }
}

/// Kind and effects in a sentence.
fn summaries(outcome: &Outcome) -> Vec<LocalizedText> {
    let (zh, en) = kind(outcome.kind());
    let (mut zh, mut en) = (zh.to_owned(), en.to_owned());
    let effects: Vec<_> = outcome.effects().filter_map(effect).collect();
    if !effects.is_empty() {
        let (effects_zh, effects_en): (Vec<_>, Vec<_>) = effects.into_iter().unzip();
        zh.push_str(&format!("；{}", effects_zh.join("；")));
        en.push_str(&format!("; {}", effects_en.join("; ")));
    }
    api::bilingual(zh + "。", en + ".")
}

const fn kind(kind: DispositionKind) -> (&'static str, &'static str) {
    match kind {
        DispositionKind::Unspecified => ("已作出处理决定", "It was decided"),
        DispositionKind::Guidance => (
            "已对有关方予以告诫或指导",
            "Those responsible were warned or given guidance",
        ),
        DispositionKind::Correction => ("已责令改正", "Those responsible were ordered to correct it"),
        DispositionKind::Interview => ("已约谈有关运营者", "The operator was summoned to an interview"),
        DispositionKind::Penalty => ("已作出行政处罚", "An administrative penalty was imposed"),
        DispositionKind::SuspectedCrime => (
            "涉嫌犯罪，已移送有权机关",
            "It was handed over to the competent body as a suspected crime",
        ),
        DispositionKind::HandedBack => (
            "不构成犯罪，已移送行政机关处理",
            "It is no crime, and was handed back for an administrative decision",
        ),
        DispositionKind::ReferredAbroad => ("已转介境外合作热线", "It was referred to a partner hotline abroad"),
        DispositionKind::Mediated => ("纠纷已调解", "The dispute was settled by mediation"),
        DispositionKind::NoOffence => ("经核查未发现违法", "No offence was found"),
        DispositionKind::InsufficientInformation => {
            ("现有信息不足以继续办理", "The information does not suffice to go on")
        }
        DispositionKind::Fabricated => (
            "经复核认定举报内容系编造",
            "After review, the report was found to be made up",
        ),
        DispositionKind::OutsideAnyRemit => ("不属于任何承办单位的职责", "It is within the remit of no agency"),
        DispositionKind::CourtAdvised => ("建议向人民法院提起诉讼", "The way to go is before a court"),
        DispositionKind::Withdrawn => ("举报人已撤回", "It ended because the reporter withdrew it"),
    }
}

const fn effect(effect: DispositionEffect) -> Option<(&'static str, &'static str)> {
    Some(match effect {
        DispositionEffect::Unspecified | DispositionEffect::None => return None,
        DispositionEffect::Removed => ("被举报内容已删除", "what was reported was removed"),
        DispositionEffect::Unavailable => ("被举报内容已无法访问", "what was reported can no longer be reached"),
        DispositionEffect::Corrected => ("已改正", "it was corrected"),
        DispositionEffect::MoneyReturned => ("款项已返还", "money was returned"),
        DispositionEffect::MoneyStopped => ("款项已止付", "money was stopped on its way"),
        DispositionEffect::Sanctioned => ("有关责任人已受处理", "those responsible were sanctioned"),
        DispositionEffect::HandedOver => ("由其他机关继续处理", "another body decides now"),
    })
}

/// What the reporter can do: a review while its time runs, and the ways that the law leaves open
/// (行政复议法 20, 行政诉讼法 46).
fn remedies(kind: DispositionKind, reviewable: bool) -> Vec<LocalizedText> {
    let (mut zh, mut en) = (String::new(), String::new());
    if reviewable {
        zh.push_str("在期限届满前，可以凭查询码申请复核，由作出决定单位的上级重新处理。");
        en.push_str(
            "Until the time has passed, you can ask for a review by this receipt: the superior of the agency that decided \
             decides anew. ",
        );
    }
    match kind {
        DispositionKind::CourtAdvised => {
            zh.push_str("可以直接向有管辖权的人民法院起诉。");
            en.push_str("You can go to the competent court yourself.");
        }
        _ => {
            zh.push_str("依法可以申请行政复议（六十日内）或者提起行政诉讼（六个月内）的，不受影响。");
            en.push_str(
                "This does not affect your right, where the law gives it, to administrative reconsideration (within 60 days) \
                 or to go to court (within six months).",
            );
        }
    }
    api::bilingual(zh, en)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_outcome_has_words_of_its_own_in_both_languages() {
        let mut told_before = BTreeSet::new();
        for kind in (1..64).map_while(|number| DispositionKind::try_from(number).ok()) {
            let outcome = Outcome {
                kind: kind.into(),
                effects: (1..64)
                    .map_while(|number| DispositionEffect::try_from(number).ok())
                    .map(i32::from)
                    .collect(),
                ..Outcome::default()
            };
            for open in [false, true] {
                let told = in_words(Outcome {
                    reviewable: open,
                    ..outcome.clone()
                });
                for texts in [&told.summaries, &told.remedies] {
                    let languages: Vec<_> = texts.iter().map(|text| text.language_code.as_str()).collect();
                    assert_eq!(languages.len(), 2, "{kind:?} {languages:?}");
                    assert!(texts.iter().all(|text| text.text.ends_with(['.', '。'])), "{texts:?}");
                }
                assert_eq!(told.remedies[1].text.contains("review"), open, "{kind:?}");
            }
            assert!(told_before.insert(summaries(&outcome)[1].text.clone()), "{kind:?}");
            let parts = summaries(&outcome)[1].text.matches(';').count();
            assert_eq!(parts, outcome.effects.len() - 1, "each effect but `NONE`");
        }
    }
}
