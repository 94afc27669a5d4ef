//! Kinds of changes: every name in entries, and its words, in one list.

use std::fmt;

/// What happened to a record, such as `case.opened`: the name in the log, and words for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    name: &'static str,
    en: &'static str,
    zh: &'static str,
}

impl Kind {
    /// The name in entries, feeds and filters: `a-z`, `0-9`, `-` and `.`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// In English.
    #[must_use]
    pub const fn en(self) -> &'static str {
        self.en
    }

    /// In Chinese.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        self.zh
    }

    /// Every kind that any service writes.
    pub fn all() -> impl Iterator<Item = Self> {
        let intake = IntakeKind::ALL.iter().copied().map(Self::from);
        let routing = RoutingKind::ALL.iter().copied().map(Self::from);
        let audit = AuditKind::ALL.iter().copied().map(Self::from);
        intake.chain(routing).chain(audit)
    }

    /// Looks a kind up by name; `None` if this version does not write it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name == name)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! kinds {
    ($(#[$doc:meta])* $service:ident { $($variant:ident $name:literal $en:literal $zh:literal)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $service {
            $(#[doc = $en] $variant,)+
        }

        impl $service {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in entries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl From<$service> for Kind {
            fn from(kind: $service) -> Self {
                let (en, zh) = match kind { $($service::$variant => ($en, $zh),)+ };
                Self { name: kind.name(), en, zh }
            }
        }
    };
}

kinds! {
    /// Kinds of changes that intake makes.
    IntakeKind {
        ReportAccepted "report.accepted" "report accepted" "举报已受理"
        ReportRouted "report.routed" "report routed to an agency" "已分派承办单位"
        ReportAdvised "report.advised" "reporter advised: no agency can act" "已告知：无单位可受理"
        ReportClosed "report.closed" "report closed" "举报已办结"
        ReportWithdrawn "report.withdrawn" "report withdrawn" "举报人撤回"
        ReportSupplemented "report.supplemented" "information added" "补充材料"
        ReviewRequested "report.review-requested" "reporter asks for a review" "举报人申请复核"
        WithdrawalRequested "report.withdrawal-requested" "reporter asks to withdraw" "举报人申请撤回"
        ReportAnswered "report.answered" "the agency's question answered" "已答复承办单位的提问"
        ReportRevealed "report.revealed" "reporter shown, for a purpose" "已为特定目的查看举报人"
        ReportRead "report.read" "report read, for a purpose" "已为特定目的查阅举报"
        EvidenceUploaded "evidence.uploaded" "evidence uploaded" "证据已上传"
        EvidenceAttached "evidence.attached" "evidence attached to a report" "证据已附于举报"
        EvidenceDownloaded "evidence.downloaded" "evidence given out, for a purpose" "已为特定目的调取证据"
        EvidenceExpired "evidence.expired" "evidence expired: no report named it" "证据逾期未用，已失效"
        EvidenceRefused "evidence.refused" "evidence refused for its category, and deleted" "证据因所报类别不予接收，已删除"
    }
}

kinds! {
    /// Kinds of changes that routing makes.
    RoutingKind {
        CaseOpened "case.opened" "case opened" "线索已建立"
        CaseAdvised "case.advised" "case ended with advice" "已告知处理途径"
        CaseAcknowledged "case.acknowledged" "taken over by the lead agency" "已签收"
        AssistanceRequested "case.assistance-requested" "another agency asked to assist" "已请求协助"
        AssistanceAnswered "case.assistance-answered" "request for assistance answered" "协助请求已答复"
        AssistancePassedOn "case.assistance-passed-on" "agency asked to assist ended: its superior is asked" "协助单位已撤销，转请其上级协助"
        CaseEscalated "case.escalated" "handed up to the superior" "已上报"
        CaseDeclined "case.declined" "declined by the lead: a superior designates" "已退回，由上级指定管辖"
        CaseTransferred "case.transferred" "transferred to another agency" "已移交"
        CaseHandedUp "case.handed-up" "handed up to the superior by the lead" "承办单位已报请上级"
        CaseReclassified "case.reclassified" "filed under another category, and routed anew" "已更改类别并重新分派"
        CaseDispatched "case.dispatched" "handed down to a unit below" "已交办下级"
        AgencyDesignated "case.agency-designated" "lead designated by the superior" "上级已指定管辖"
        LeadClaimed "case.lead-claimed" "lead claimed by a supporting agency" "协办单位主张管辖"
        ClaimAgreed "case.claim-agreed" "claim agreed to: the claimant leads" "管辖主张获同意，由主张单位承办"
        ClaimDisputed "case.claim-disputed" "claim disputed: a superior designates" "管辖争议，由上级指定管辖"
        AgencyRecused "case.agency-recused" "an agency stepped aside" "有关单位已回避"
        ProgressRecorded "case.progress-recorded" "progress recorded" "已记录办理进展"
        QuestionAsked "case.question-asked" "reporter asked a question" "已向举报人提问"
        QuestionAnswered "case.question-answered" "answered by the reporter" "举报人已答复"
        CaseWithdrawn "case.withdrawn" "ended: withdrawn before an agency took it over" "签收前撤回，线索终止"
        WithdrawalRequested "case.withdrawal-requested" "reporter asks to withdraw: the agency decides" "举报人申请撤回，由承办单位决定"
        InformationAdded "case.information-added" "information added by the reporter" "举报人已补充材料"
        CrimeReferred "case.crime-referred" "suspected crime handed over" "涉嫌犯罪案件已移送"
        CrimeTaken "case.crime-taken" "taken by the body that it was handed to" "受移送单位已接收"
        CrimeRefused "case.crime-refused" "refused by the body that it was handed to: open again" "受移送单位不予受理，线索重新办理"
        ReferralPassedOn "case.referral-passed-on" "body that a crime was handed to ended: its superior is asked" "受移送单位已撤销，转请其上级"
        SubjectNotified "case.subject-notified" "notice given to the affected side" "已告知当事人"
        StatementSubmitted "case.statement-submitted" "the affected side stated its view" "当事人已陈述申辩"
        StatementAnswered "case.statement-answered" "statement of the affected side answered" "已答复当事人的陈述申辩"
        MeasureTaken "case.urgent-measure-taken" "urgent measure taken" "已采取紧急措施"
        DispositionProposed "case.disposition-proposed" "disposition proposed" "已提出处理意见"
        DispositionReturned "case.disposition-returned" "disposition returned by the reviewer" "审核退回处理意见"
        CaseResolved "case.resolved" "disposition decided" "已作出处理决定"
        CaseClosed "case.closed" "case closed" "线索已办结"
        ReviewRequested "case.review-requested" "review requested: the superior decides" "已申请复核，由上级处理"
        CaseReopened "case.reopened" "case opened again" "线索已重新办理"
        CaseSucceeded "case.succeeded" "taken over by the successor agency" "由承继单位承办"
        ClockMissed "case.clock-missed" "deadline missed" "逾期未办"
        NarrativeShared "case.narrative-shared" "reports shown to a supporting agency" "已向协办单位提供举报内容"
        NarrativeWithheld "case.narrative-withheld" "reports no longer shown to a supporting agency" "已停止向协办单位提供举报内容"
        DeadlineReminded "case.deadline-reminded" "reminder of a deadline" "期限提醒"
        CaseSupervised "case.supervised" "under the supervision of a superior" "上级挂牌督办"
        SupervisionEnded "case.supervision-ended" "supervision ended: the lead is under others now" "承办单位改隶，督办终止"
        ClockPaused "case.clock-paused" "time for the result paused" "办理期限已中止计算"
        ClockResumed "case.clock-resumed" "time for the result runs again" "办理期限恢复计算"
        DeadlineSettled "case.deadline-settled" "provisional deadline computed again: holidays published" "节假日安排公布后，期限已重新计算"
        CaseAssigned "case.assigned" "assigned to an officer of an agency" "已在单位内部分派经办人"
        DeputyAppointed "deputy.appointed" "an officer acts in another's stead" "已指定经办人的代理人"
        DeputyEnded "deputy.ended" "an officer acts in another's stead no longer" "经办人的代理已终止"
        AgencySupervised "agency.supervised" "an agency is under a superior's supervision" "上级对承办单位挂牌督办"
        SupervisionAnswered "agency.supervision-answered" "the agency under supervision answered" "被督办单位已答复整改情况"
        AgencySupervisionEnded "agency.supervision-ended" "supervision of an agency ended" "对承办单位的督办已终止"
        DirectoryCreated "directory.created" "directory of agencies stored" "单位目录已入库"
        DirectoryProposed "directory.proposed" "directory of agencies proposed: waits for a second person" "单位目录已提出启用，待另一人核准"
        DirectoryActivated "directory.activated" "directory of agencies in force" "单位目录已启用"
        RuleSetCreated "rule-set.created" "rule set stored" "分派规则已入库"
        RuleSetProposed "rule-set.proposed" "rule set proposed: waits for a second person" "分派规则已提出启用，待另一人核准"
        RuleSetActivated "rule-set.activated" "rule set in force" "分派规则已启用"
        OperatorsLoaded "operators.loaded" "register of operators loaded" "运营者名录已载入"
    }
}

kinds! {
    /// Kinds of changes that audit makes itself.
    AuditKind {
        DetailsRead "details.read" "details of the log read, for a purpose" "已为特定目的查阅日志详情"
        ProducerFrozen "producer.frozen" "a service's past has changed: frozen" "服务记录冲突，已冻结"
        ForkRefused "producer.fork-refused" "another version of a change refused" "冲突变更被拒"
        EventIdReused "producer.event-id-reused" "an event id used again: refused" "事件编号重复，被拒"
        ProducerUnfrozen "producer.unfrozen" "examined by an operator, appends again" "经核查恢复写入"
        MarkMissed "producer.mark-missed" "a service's changes are not as it says" "服务进度与日志不符"
        MarkReached "producer.mark-reached" "a service's changes are complete again" "服务进度与日志一致"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::chain::in_kind;

    #[test]
    fn each_kind_has_a_lawful_name_of_its_own_and_words() {
        let mut names = BTreeSet::new();
        let mut words = BTreeSet::new();
        for kind in Kind::all() {
            assert!(kind.name().bytes().all(in_kind), "{kind}");
            assert!(names.insert(kind.name()), "{kind} stands twice");
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert!(kind.en().is_ascii() && !kind.en().is_empty(), "{kind}");
            assert!(!kind.zh().is_ascii(), "{kind}: `{}` is not Chinese", kind.zh());
            assert!(
                words.insert(kind.en()) && words.insert(kind.zh()),
                "{kind}: another has its words"
            );
        }
        assert_eq!(Kind::from_name("case.opened.twice"), None);
    }
}
