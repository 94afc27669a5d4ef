//! What the kinds of changes mean, in words.

const KINDS: &[(&str, &str, &str)] = &[
    ("report.accepted", "report accepted", "举报已受理"),
    ("report.routed", "report routed to an agency", "已分派承办单位"),
    (
        "report.advised",
        "reporter advised: no agency can act",
        "已告知：无单位可受理",
    ),
    ("report.closed", "report closed", "举报已办结"),
    ("report.withdrawn", "report withdrawn", "举报人撤回"),
    (
        "report.revealed",
        "reporter shown, for a purpose",
        "已为特定目的查看举报人",
    ),
    ("evidence.uploaded", "evidence uploaded", "证据已上传"),
    ("evidence.attached", "evidence attached to a report", "证据已附于举报"),
    (
        "evidence.downloaded",
        "evidence given out, for a purpose",
        "已为特定目的调取证据",
    ),
    (
        "evidence.expired",
        "evidence expired: no report named it",
        "证据逾期未用，已失效",
    ),
    ("report.supplemented", "information added", "补充材料"),
    ("case.opened", "case opened", "线索已建立"),
    ("case.advised", "case ended with advice", "已告知处理途径"),
    ("case.acknowledged", "taken over by the lead agency", "已签收"),
    ("case.declined", "declined by the lead agency", "已退回"),
    ("case.transferred", "transferred to another agency", "已移交"),
    ("case.escalated", "handed up to the superior", "已上报"),
    ("case.designated", "lead designated by the superior", "已指定管辖"),
    ("case.succeeded", "taken over by the successor agency", "由承继单位承办"),
    ("case.clock-missed", "deadline missed", "逾期未办"),
    ("case.resolved", "disposition decided", "已作出处理结果"),
    ("case.closed", "case closed", "已办结"),
    ("directory.created", "directory of agencies stored", "单位目录已入库"),
    (
        "directory.activated",
        "directory of agencies in force",
        "单位目录已启用",
    ),
    ("operators.loaded", "register of operators loaded", "运营者名录已载入"),
    ("rule-set.created", "rule set stored", "分派规则已入库"),
    ("rule-set.activated", "rule set in force", "分派规则已启用"),
    ("report.read", "report read, for a purpose", "已为特定目的查阅举报"),
    (
        "details.read",
        "details of the log read, for a purpose",
        "已为特定目的查阅日志详情",
    ),
    (
        "producer.frozen",
        "a service's past has changed: frozen",
        "服务记录冲突，已冻结",
    ),
    (
        "producer.fork-refused",
        "another version of a change refused",
        "冲突变更被拒",
    ),
    (
        "producer.event-id-reused",
        "an event id used again: refused",
        "事件编号重复，被拒",
    ),
    (
        "producer.unfrozen",
        "examined by an operator, appends again",
        "经核查恢复写入",
    ),
    (
        "producer.mark-missed",
        "a service's changes are not as it says",
        "服务进度与日志不符",
    ),
    (
        "producer.mark-reached",
        "a service's changes are complete again",
        "服务进度与日志一致",
    ),
];

/// A kind in words, English and Chinese; the kind itself when there are none.
pub(super) fn in_words(kind: &str) -> String {
    match KINDS.iter().find(|(known, ..)| *known == kind) {
        Some((_, english, chinese)) => format!("{english} · {chinese}"),
        None => kind.to_owned(),
    }
}
