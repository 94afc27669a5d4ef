//! What people read, in their language.
//!
//! The words stand in the code in English; `ZH` has each of them in Chinese. What is not in it, such
//! as names and the texts of servers, is shown as it is. A test finds every word in the code that
//! the table lacks.

use std::{collections::HashMap, fmt::Display, sync::LazyLock, sync::OnceLock};

use clap::ValueEnum;

/// Languages of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Chinese
    Zh,
    /// English
    En,
}

static LANGUAGE: OnceLock<Language> = OnceLock::new();

/// Sets the language; once, before the first word. Otherwise it is English.
pub fn set_language(language: Language) {
    let _ = LANGUAGE.set(language);
}

/// The language of the output.
pub fn language() -> Language {
    *LANGUAGE.get().unwrap_or(&Language::En)
}

impl Language {
    /// The language of a locale: of the first of these variables that has a value, as POSIX orders
    /// them.
    pub fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set);
        let is_chinese = |locale: &String| {
            let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
            language.eq_ignore_ascii_case("zh")
        };
        match locale.as_ref().is_some_and(is_chinese) {
            true => Self::Zh,
            false => Self::En,
        }
    }

    /// The tag by which the contract's texts say theirs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }
}

/// A word or sentence in the language of the output.
pub fn tr(english: &str) -> &str {
    in_language(language(), english)
}

fn in_language(language: Language, english: &str) -> &str {
    static TABLE: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| ZH.iter().copied().collect());
    match language {
        Language::En => english,
        Language::Zh => TABLE.get(english).copied().unwrap_or(english),
    }
}

/// A sentence in the language of the output, with its parts for `{0}`, `{1}` and so on.
pub fn tell(english: &str, parts: &[&dyn Display]) -> String {
    fill(tr(english), parts)
}

/// In one pass: what a part says is not filled again.
fn fill(sentence: &str, parts: &[&dyn Display]) -> String {
    let mut filled = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((number, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            break;
        };
        if let Some(part) = number.parse::<usize>().ok().and_then(|number| parts.get(number)) {
            filled.push_str(&part.to_string());
        }
        rest = after;
    }
    filled + rest
}

/// The English words and their Chinese ones.
const ZH: &[(&str, &str)] = &[
    // Of changes in the log, the register and the directory.
    ("assistant", "协助单位"),
    ("reason", "原因"),
    ("backed up", "已备份"),
    ("whole", "完整"),
    ("restored", "已恢复"),
    (
        "now start it; if the log refuses, `remit log recover` says what to do",
        "现在可以启动；若日志拒绝启动，`remit log recover` 会说明办法",
    ),
    (
        "before you start it, put the newest checkpoint that you or a verifier have kept at log.checkpoint",
        "启动之前，请将您或验证者保存的最新检查点放到 log.checkpoint",
    ),
    ("of", "时刻"),
    ("files", "文件"),
    ("{0}, {1} bytes", "{0} 个，共 {1} 字节"),
    ("copies evidence", "正在复制证据"),
    ("copies the databases", "正在复制数据库"),
    ("compares the copies", "正在比对副本"),
    ("digest", "摘要"),
    ("supervises", "督办单位（被督办）"),
    ("correct by", "整改期限"),
    ("for officer", "代理的经办人"),
    ("deputy", "代理人"),
    ("differences", "差异数"),
    ("claimant", "主张单位"),
    ("steps aside", "回避单位"),
    ("supervisor", "督办单位"),
    ("shared with", "共享单位"),
    ("receiver", "接收单位"),
    ("filed under", "原类别"),
    ("now under", "现类别"),
    ("missed", "逾期"),
    ("reminded", "提醒"),
    ("told by", "告知者"),
    ("case", "案件"),
    ("read", "调阅"),
    ("version", "版本"),
    ("link", "关联"),
    ("assignee", "承办人"),
    ("caused by", "起因"),
    ("by", "经办"),
    ("officer", "经办人"),
    ("because", "理由"),
    ("register", "名册"),
    ("difference", "差异"),
    ("entries", "条目"),
    ("record", "记录"),
    ("kind", "种类"),
    ("system", "系统"),
    ("from", "自"),
    ("producer", "来源服务"),
    ("event", "事件"),
    ("entry", "条目编号"),
    ("sequence", "序号"),
    ("held", "应有数"),
    ("committed", "已记数"),
    ("asked by", "申请人"),
    ("measure", "措施"),
    ("paused for", "中止事由"),
    ("means", "方式"),
    ("statement", "陈述"),
    ("answer", "答复"),
    ("purpose", "用途"),
    ("event {0}", "事件 {0}"),
    ("row {0} of the rule set", "规则集第 {0} 行"),
    ("row {0} of the rule set, by the {1}", "规则集第 {0} 行，依据{1}"),
    ("{0} had to {1} by {2}", "{0} 应于 {2} 前{1}"),
    ("{0} has to {1} by {2}", "{0} 须在 {2} 之前{1}"),
    ("{0} must {1} by {2}", "{0} 须于 {2} 前{1}"),
    ("assisted", "已协助"),
    ("cannot assist", "无法协助"),
    ("took the crime", "受理涉嫌犯罪案件"),
    ("refused the crime", "不予受理涉嫌犯罪案件"),
    ("version {0}, {1} entries", "第 {0} 版，共 {1} 条"),
    ("{0} added, {1} changed, {2} removed", "新增 {0}，变更 {1}，移除 {2}"),
    ("the file was the whole register", "文件为整个名册"),
    ("{0} to {1}", "{0} 至 {1}"),
    ("from {0} on, as they arrived", "自 {0} 起，随到随读"),
    ("{0}, event {1}", "{0}，事件 {1}"),
    (
        "its only change is proven by the checkpoint of {0} entries",
        "其唯一变更已由 {0} 条的检查点证明",
    ),
    (
        "each of the {0} changes is proven by the checkpoint of {1} entries and linked to the previous one",
        "{0} 次变更均由 {1} 条的检查点证明，且前后相连",
    ),
    ("not named", "未具名"),
    ("; more entries exist: raise --limit", "；还有更多，请调高 --limit"),
    ("app", "应用"),
    ("domain", "域名"),
    ("platform", "平台"),
    (" from {0}", " 自 {0}"),
    (" to {0}", " 至 {0}"),
    (" from {0} to {1}", " 自 {0} 至 {1}"),
    (
        "version {0}, {1} entries, loaded {2}",
        "第 {0} 版，共 {1} 条，载入时间 {2}",
    ),
    (
        "the register is empty: load it with `remit operator load`",
        "名册为空：请用 `remit operator load` 载入",
    ),
    ("nobody", "无"),
    ("none", "没有单位"),
    ("superior", "上级单位"),
    ("hours", "办公时间"),
    ("ends", "终止日"),
    ("climbed", "逐级上溯"),
    // Labels.
    ("accepted", "受理时间"),
    ("advice", "告知"),
    ("agency", "承办单位"),
    ("as of", "截至"),
    ("ask", "查询"),
    ("came by", "由来"),
    ("category", "类别"),
    ("change", "变更"),
    ("changed", "更新时间"),
    ("clock", "时限"),
    ("complains of", "被举报单位"),
    ("contact", "联系方式"),
    ("designates", "指定管辖"),
    ("detail", "事项"),
    ("directory", "名录"),
    ("etag", "版本标记"),
    ("evidence", "证据"),
    ("exclusion", "回避"),
    ("external id", "外部编号"),
    ("facts", "事实"),
    ("has a part", "参与"),
    ("in short", "概要"),
    ("keep from", "回避单位"),
    ("kept", "保存"),
    ("kept out", "须回避"),
    ("law", "法律依据"),
    ("lead", "主办单位"),
    ("leads", "主办"),
    ("loss", "损失"),
    ("name", "姓名"),
    ("narrative", "情况说明"),
    ("needs", "协办职能"),
    ("note", "说明"),
    ("opened", "建立时间"),
    ("operator", "运营者"),
    ("other rows", "其他规则"),
    ("place", "地点"),
    ("protects", "保护法益"),
    ("receipt", "查询码"),
    ("recorded", "留痕"),
    ("relation", "与案关系"),
    ("report", "举报"),
    ("reporter", "举报人"),
    ("result", "办结"),
    ("review", "复核"),
    ("rule", "规则"),
    ("rules", "规则版本"),
    ("source", "依据"),
    ("state", "状态"),
    ("stop payment", "紧急止付"),
    ("subject", "举报对象"),
    ("subjects", "举报对象"),
    ("support", "协办"),
    ("supporting", "协办单位"),
    ("supports", "协办"),
    ("takes over", "签收"),
    ("title", "名称"),
    ("tried", "管辖连接点"),
    ("urgency", "紧急程度"),
    // States.
    ("unknown", "未知"),
    (
        "accepted: recorded, not assigned to an agency yet",
        "已受理：已登记，尚未分派承办单位",
    ),
    ("routed: assigned to an agency", "已分派：已有承办单位"),
    ("closed: the case has ended", "已办结"),
    (
        "advised: no agency can act, see the advice",
        "已告知：无单位可办，见告知内容",
    ),
    ("withdrawn by the reporter", "举报人已撤回"),
    ("awaiting designation", "待指定管辖"),
    ("assigned", "已分派"),
    ("in progress", "办理中"),
    ("in review", "复核中"),
    // Batches.
    ("no longer yours to see", "不再可见"),
    ("would go to {0}", "将移交 {0}"),
    ("{0} of {1} cases done", "{1} 件中办成 {0} 件"),
    // The queue.
    ("{0} taken over", "{0} 已签收"),
    ("{0} handed on to {1}", "{0} 已移交 {1}"),
    ("not refreshed: {0}", "未能刷新：{0}"),
    ("{0}; not refreshed: {1}", "{0}；未能刷新：{1}"),
    ("any key: back to the queue", "按任意键返回队列"),
    ("hand on to which agency? {0}_", "移交给哪个单位？{0}_"),
    ("Enter: go on   Esc: leave it", "Enter：继续   Esc：放弃"),
    ("to {0}, why?", "移交 {0}，理由？"),
    ("1 to 6: choose   Esc: leave it", "1 至 6：选择   Esc：放弃"),
    ("{0} would go to {1} {2}", "{0} 将移交 {1} {2}"),
    ("{0} loses sight", "{0} 将不再可见"),
    ("y: hand it on   n: leave it", "y：移交   n：放弃"),
    (
        "the list is longer: it goes on as these are done",
        "列表未完：办完这些后继续显示",
    ),
    (
        "o: open   t: take over   h: hand on   n: next list   r: refresh   q: quit",
        "o：打开   t：签收   h：移交   n：下一列表   r：刷新   q：退出",
    ),
    (
        "o: open   n: next list   r: refresh   q: quit",
        "o：打开   n：下一列表   r：刷新   q：退出",
    ),
    (
        "these are led by others: `remit case supervise` puts one under your supervision",
        "这些案件由其他单位主办：用 `remit case supervise` 可挂牌督办",
    ),
    // Hand-over.
    ("Hand-over of {0}", "{0} 交接单"),
    ("Hand-over of {0} at {1}", "{1} 经办人 {0} 交接单"),
    ("made {0}", "制作时间：{0}"),
    ("{0} open cases, {1} of them late", "未办结 {0} 件，其中逾期 {1} 件"),
    (
        "There are more cases than were read: name a larger --limit.",
        "案件多于读取数量：请增大 --limit。",
    ),
    ("with {0}", "经办人：{0}"),
    ("led by {0}", "主办单位：{0}"),
    ("supervised by {0}", "督办单位：{0}"),
    ("has to {0} by {1} ({2})", "须于 {1} 前{0}（{2}）"),
    (
        "the time to {0} stands still for {1}, until {2} at the latest",
        "{0}的期限因{1}中止计算，最迟至 {2}",
    ),
    ("waits for {0}", "等待：{0}"),
    ("the reporter's answer, until {0}", "举报人答复，截止 {0}"),
    ("the help of {0}, until {1}", "{0} 协助，截止 {1}"),
    (
        "the answer of {0} to the crime, until {1}",
        "{0} 对移送案件的答复，截止 {1}",
    ),
    ("{0} to designate a lead, until {1}", "{0} 指定管辖，截止 {1}"),
    ("{0} to {1}, until {2}", "{0} {1}，截止 {2}"),
    ("a second officer's review of the disposition", "另一经办人审核处理意见"),
    (
        "the affected side's statement (notice {0}), until {1}",
        "当事人陈述（告知书 {0}），截止 {1}",
    ),
    ("would be moved", "将移交"),
    ("it has ended", "已终止"),
    ("nobody acts in another's stead", "目前无代理"),
    ("{0} acts for {1}, from {2} until {3}", "{0} 代理 {1}，自 {2} 至 {3}"),
    // Who held a case.
    ("{0}  {1}, from {2} until {3}", "{0}  {1}，自 {2} 至 {3}"),
    ("taken over {0}, after {1}", "{0} 签收，历时 {1}"),
    ("never taken over", "未签收"),
    ("now", "现在"),
    ("reminded {0} times", "已提醒 {0} 次"),
    ("missed: had to {0} by {1}", "逾期：应于 {1} 前{0}"),
    (
        "by {0} changes, each proven by the log and linked to the one before",
        "依据 {0} 条变更，每条均经日志证明并与前一条相连",
    ),
    (
        "not verified: no log key; set it with --key or REMIT_LOG_KEY",
        "未验证：没有日志公钥；请用 --key 或 REMIT_LOG_KEY 指定",
    ),
    // Supervision of agencies.
    ("to correct", "整改要求"),
    ("ended", "终止"),
    ("not corrected", "未整改"),
    ("none is under supervision", "没有督办"),
    ("{0}: not answered in time", "{0}：逾期未答复"),
    // Worklists.
    ("due next", "待办（按到期）"),
    ("overdue", "已逾期"),
    ("not taken over", "移交未签收"),
    ("to designate", "待指定管辖"),
    ("claims to answer", "待答复的主办请求"),
    ("assistance to answer", "待答复的协助"),
    ("supervised", "挂牌督办"),
    ("reporter asked", "待举报人答复"),
    ("one moment", "请稍候"),
    ("{0} is not on this list any more", "{0}已不在此列表中"),
    ("not read", "未读"),
    ("resolved", "已处理"),
    ("closed", "已办结"),
    ("advised", "已告知"),
    ("urgent", "紧急"),
    // Times and duties.
    ("{0} ago", "{0}前"),
    ("in {0}", "{0}后"),
    ("less than a minute", "不到一分钟"),
    ("{0} min", "{0} 分钟"),
    ("{0} h", "{0} 小时"),
    ("{0} h {1} min", "{0} 小时 {1} 分钟"),
    ("{0} d {1} h", "{0} 天 {1} 小时"),
    ("{0} minutes", "{0} 分钟"),
    ("{0} hours", "{0} 小时"),
    ("{0} calendar days", "{0} 日"),
    ("{0} working days", "{0} 个工作日"),
    ("{0} working hours", "{0} 个工作小时"),
    ("within {0}", "{0}内"),
    ("acknowledge it", "签收"),
    ("designate a lead", "指定主办单位"),
    ("report a result", "反馈结果"),
    ("answer the request to assist", "答复协查请求"),
    ("take requests for a review", "受理复核申请"),
    ("answer the claim", "答复管辖主张"),
    ("act", "办理"),
    ("{0} must {1} by {2} ({3}{4})", "{0} 须于 {2} 前{1}（{3}{4}）"),
    (
        "; provisional, until that year's holidays are published",
        "；暂定，待该年节假日安排公布",
    ),
    // Cases.
    ("no cases", "没有线索"),
    ("more cases exist: raise --limit", "还有更多线索：请增大 --limit"),
    ("the route", "按规则分派"),
    ("being handed up: {0} missed its deadline", "上报：{0} 逾期"),
    ("succession: {0} ended", "承继：{0} 已撤销"),
    ("a way that this version does not know", "本版本未知的方式"),
    ("transfer from {0}", "由 {0} 移交"),
    (
        "being declined by {0}: it must designate a lead",
        "{0} 退回：须指定主办单位",
    ),
    ("designation by {0}", "由 {0} 指定管辖"),
    ("being handed up by {0}", "由 {0} 上报"),
    ("being handed down by {0}", "由 {0} 交办"),
    ("another category, under which {0} filed it", "{0} 更改类别后分派"),
    (
        "{0} refusing the crime that it handed over",
        "{0} 不予受理其移送的涉嫌犯罪案件",
    ),
    ("a claim that {0} agreed to", "主张管辖，{0} 同意"),
    (
        "a claim that {0} disputed: it must designate a lead",
        "{0} 对管辖主张有异议：须指定主办单位",
    ),
    ("a review of what {0} decided", "复核 {0} 的处理决定"),
    ("being opened again", "重新办理"),
    (
        "{0} stepping aside: it must designate a lead",
        "{0} 回避：须指定主办单位",
    ),
    ("claimed by", "主张管辖"),
    ("claimed", "已主张管辖"),
    ("asked", "已提问"),
    ("asked to withdraw the report", "申请撤回举报"),
    ("question {0}, to be answered by {1}", "第 {0} 问，请于 {1} 前答复"),
    ("no. {0}, to be answered by {1}", "第 {0} 号，请于 {1} 前答复"),
    ("question", "提问"),
    ("Added {0}", "{0} 补充"),
    ("sent by", "发送方"),
    ("{0}, by the receipt", "{0}，凭查询码"),
    ("who sent this is excluded from the case", "发送方须回避本案"),
    ("Answer to question {0}, {1}", "答复第 {0} 问，{1}"),
    ("{0} (question {1})", "{0}（第 {1} 问）"),
    ("put on record", "已记录"),
    ("proposed", "已提出"),
    ("reviewed", "已审核"),
    ("passed on to the superior", "已报上级复核"),
    ("open again", "已重新办理"),
    ("stepped aside", "已回避"),
    ("paused", "已中止计算"),
    ("shared", "已提供举报内容"),
    ("shared no longer", "已停止提供举报内容"),
    ("joined no longer", "已取消并案"),
    ("{0}: {1} is joined no longer", "{0}：{1}已取消并案"),
    ("joined to", "并入案件"),
    ("joined by", "并入本案"),
    ("follows", "原案件"),
    ("it runs again", "已恢复计算"),
    ("under supervision", "已挂牌督办"),
    ("supervised by", "督办单位"),
    ("may pause", "可中止"),
    ("for {0}, at most {1} in all", "因{0}，累计最多{1}"),
    ("if late", "逾期后"),
    ("{0} more under the superior's supervision", "由上级督办，再给{0}"),
    ("{0}: {1} has to {2} by {3}", "{0}：{1}须在{3}前{2}"),
    (
        "paused for {0} until {1} at the latest: {2}",
        "{0}的期限中止计算，最迟至{1}：{2}",
    ),
    ("waiting for the reporter", "等待举报人答复"),
    ("a hearing", "听证"),
    ("an expert opinion or a test", "鉴定、检验或者检测"),
    ("service by public announcement", "公告送达"),
    ("another proceeding that has not ended", "以另案结果为依据"),
    ("a ground that this version does not know", "本版本不认识的事由"),
    // Dispositions.
    ("outcome", "处理结果"),
    ("proposal", "处理意见"),
    ("step", "经过"),
    ("remedies", "救济途径"),
    ("review until", "可申请复核至"),
    ("next by", "下一步期限"),
    ("closes", "办结时间"),
    ("effect", "效果"),
    ("legal basis", "法律依据"),
    ("decided", "决定"),
    ("reviewer", "审核人"),
    ("{0} by {1}", "{0}，{1}"),
    ("{0} by {1}; it waits for a second officer", "{0}，{1}；待另一人审核"),
    ("the reporter may be told", "可告知举报人"),
    ("the affected side may be told", "可告知相对方"),
    ("one that this version does not know", "本版本未知"),
    ("warning or guidance", "告诫或指导"),
    ("order to correct", "责令改正"),
    ("interview of the operator", "约谈运营者"),
    ("administrative penalty", "行政处罚"),
    ("A review is asked for, {0}", "{0}申请复核"),
    ("statements to answer", "待答复的陈述申辩"),
    ("notice to give", "待告知当事人"),
    (
        "{0}: {1} does not take it since {2}: {3}",
        "{0}：{1} 自 {2} 起拒收：{3}",
    ),
    ("{0}  not read by {1}, changed {2}", "{0}  {1} 尚未查阅，变更于 {2}"),
    ("more exist: raise --limit", "还有更多：请调大 --limit"),
    ("everybody has read everything", "各单位均已查阅"),
    ("in the pool", "待认领"),
    ("assigned to officers", "已分派经办人"),
    ("assigned to", "经办人"),
    ("{0}, who took it {1}", "{0}（{1}自行认领）"),
    ("{0}, by {1} {2}", "{0}（{1} 于 {2} 分派）"),
    ("assigned to the officer", "已分派给经办人"),
    ("taken from the pool", "已认领"),
    ("back in the pool", "已退回待认领"),
    ("{0} is yours", "{0} 已由您经办"),
    ("{0} is back in the pool", "{0} 已退回待认领"),
    (
        "name yourself first: begin with --officer",
        "请先用 --officer 注明经办人",
    ),
    (
        "a: assign to me   b: back to the pool   m: mine or all",
        "a：由我经办   b：退回待认领   m：我的或全部",
    ),
    ("notice {0} is given", "告知 {0} 已作出"),
    ("its receipt: {0}", "查询码：{0}"),
    (
        "Hand it over with the notice; it is not shown again.",
        "请随告知书一并交付；此后不再显示。",
    ),
    ("standing", "状态"),
    ("until", "期限"),
    ("intended", "拟作出"),
    ("nothing said", "未陈述"),
    ("waived", "已放弃陈述"),
    ("its statement is answered", "陈述申辩已答复"),
    ("its statement waits for an answer", "陈述申辩待答复"),
    ("of the decision", "处理决定"),
    ("of the proposal", "拟处理意见"),
    ("notice", "告知"),
    (
        "{0} to {1}, {2}, until {3}: {4} (statements: {5})",
        "{0}，对象 {1}，{2}，期限 {3}：{4}（陈述 {5} 次）",
    ),
    (
        "a disposition is intended; you can state your view",
        "拟作出处理决定；可以陈述、申辩",
    ),
    ("your statement waits for an answer", "你的陈述申辩待答复"),
    (
        "nothing to do; no decision that you have notice of",
        "目前无需办理；尚无告知你的决定",
    ),
    ("decided; you can ask for a review", "已作出决定；可以申请复核"),
    (
        "decided; the time for a review has ended",
        "已作出决定；申请复核的期限已过",
    ),
    (
        "the case has ended, without a decision that you have notice of",
        "案件已办结，没有告知你的决定",
    ),
    ("handed over", "直接送达"),
    ("by post", "邮寄送达"),
    ("electronically", "电子送达"),
    ("by public announcement", "公告送达"),
    ("a statement", "陈述、申辩"),
    ("it asks to be heard", "要求听证"),
    ("it has nothing to say", "放弃陈述、申辩"),
    ("accepted, in whole or in part", "全部或者部分采纳"),
    ("considered; it changes nothing", "已复核，不予采纳"),
    ("it was heard", "已举行听证"),
    ("the law gives no hearing; considered", "依法不适用听证，已复核"),
    ("{0} (notice {1})", "{0}（告知 {1}）"),
    ("handed over as a suspected crime", "涉嫌犯罪移送"),
    (
        "no crime: handed back for an administrative decision",
        "不构成犯罪，移送行政处理",
    ),
    ("referred to a partner hotline abroad", "转介境外热线"),
    ("mediated", "已调解"),
    ("no offence found", "未发现违法"),
    ("insufficient information", "信息不足"),
    ("fabricated report", "举报系编造"),
    ("within the remit of no agency", "不属任何单位职责"),
    ("reporter told to seek a court", "已告知向法院起诉"),
    ("report withdrawn by its reporter", "举报人撤回"),
    ("nothing changes", "无变化"),
    ("removed", "已删除"),
    ("no longer reachable", "已无法访问"),
    ("corrected", "已改正"),
    ("money returned", "款项已返还"),
    ("money stopped", "款项已止付"),
    ("somebody sanctioned", "有关责任人已受处理"),
    ("another body decides", "由其他机关处理"),
    ("for the reporter", "举报人申请"),
    ("for the affected side", "相对方申请"),
    ("new information", "有新材料"),
    ("an error in the disposition", "原决定有误"),
    ("it had no lasting effect", "未能持续见效"),
    ("ordered by a court or an authority", "法院或有关机关要求"),
    ("payment stopped", "已止付"),
    ("evidence secured", "已固定证据"),
    ("person protected", "已保护人身安全"),
    ("account, page or service suspended", "已暂停账号、页面或服务"),
    ("those at risk warned", "已提醒有关人员"),
    ("given by", "移交单位"),
    ("{0}, who answers until it is taken over", "{0}，签收前仍由其负责"),
    ("declined", "已退回"),
    ("transferred", "已移交"),
    ("handed up", "已上报"),
    ("handed down", "已交办"),
    ("filed under another category", "已更改类别"),
    ("hand the suspected crime over", "移送涉嫌犯罪案件"),
    ("answer to the suspected crime", "答复移送的涉嫌犯罪案件"),
    (
        "suspected crimes to hand over or to answer",
        "涉嫌犯罪案件待移送或待答复",
    ),
    ("designated", "已指定"),
    ("the place is another agency's", "属他处管辖"),
    ("the matter is another function's", "属其他职能"),
    ("the matter is for another level", "属其他层级"),
    ("another agency handles it already", "已由其他单位办理"),
    ("a conflict of interest", "存在利益冲突"),
    ("the other agency can act better", "对方更便于办理"),
    ("a reason that this version does not know", "本版本未知的理由"),
    ("{0} ({1})", "{0}（{1}）"),
    ("{0}; it proposed {1}", "{0}；建议由 {1} 主办"),
    ("nothing is changed: it would become", "未作变更：变更后将为"),
    ("content", "举报内容"),
    ("{0} sees what its reports say", "{0} 可见举报内容"),
    ("loses sight", "不再可见"),
    ("What happened since", "此后经过"),
    ("{0}: {1} had to {2} by {3}", "{0}：{1} 应于 {3} 前{2}"),
    ("{0}; from {1} to {2}", "{0}；由 {1} 转至 {2}"),
    ("{0} is no longer yours to see", "{0} 已不在您的查看范围"),
    ("taken over", "已签收"),
    ("asked to assist", "已请求协查"),
    ("answered", "已答复"),
    // Routes.
    ("How it was routed", "分派经过"),
    ("row {0} of the rule set {1}", "规则集 {1} 第 {0} 行"),
    ("{0} and all units under it", "{0} 及其下属单位"),
    ("no agency", "无单位"),
    ("{0} is asked, within {1} ({2})", "请求 {0}，{1}内办理（{2}）"),
    ("a second person must review the result", "结果须由第二人复核"),
    (" ← this gave the lead", " ← 据此确定主办单位"),
    (" (passed over: {0})", "（跳过：{0}）"),
    ("operator register, version {0}", "运营者名册第 {0} 版"),
    ("not for {0}: {1}", "不适用于{0}：{1}"),
    ("the detail `{0}`", "事项“{0}”"),
    ("the operator's place", "运营者所在地"),
    ("the server's place", "服务器所在地"),
    ("the suspect's place", "嫌疑人所在地"),
    ("the victim's place", "被害人所在地"),
    ("the place of the transaction", "交易地"),
    ("the place of the agency that received it", "受理单位所在地"),
    ("the place of the agency complained of", "被举报单位所在地"),
    ("this category", "此类别"),
    ("this loss", "此损失"),
    ("the age of the loss, or its age is unknown", "损失发生已久或时间不明"),
    ("this urgency", "此紧急程度"),
    ("a report that is, or is not, about a publication", "是否涉及信息发布"),
    ("these kinds of subject", "此类举报对象"),
    ("what the reporter is to the act", "举报人与案件的关系"),
    ("this kind of victim", "此类被害人"),
    ("No agency can act; the reporter is told:", "无单位可办，告知举报人："),
    // Reports.
    ("no reports", "没有举报"),
    ("confirmed", "已确认"),
    ("never", "从未"),
    ("all senders have confirmed everything", "所有转报单位均已确认"),
    (
        "{0}  {1} not confirmed since {2}; last confirmed: {3}",
        "{0}  自 {2} 起有 {1} 条未确认；最近一次确认：{3}",
    ),
    ("valid", "有效"),
    ("taken in", "已登记"),
    ("known before", "此前已有"),
    ("in all", "合计"),
    ("would go to", "将分派至"),
    ("imported before: {0} says so", "此前已导入：见 {0}"),
    ("going on behind the first {0} reports", "前 {0} 件已处理，由此继续"),
    ("what was refused, and why: {0}", "未受理的举报及原因：{0}"),
    ("{0} reports in {1} s, {2} a second", "{0} 件，用时 {1} 秒，每秒 {2} 件"),
    ("all of it is valid; nothing was recorded", "全部有效；未作登记"),
    ("all of it is recorded", "全部已登记"),
    ("{0} reports were refused", "{0} 件未受理"),
    (
        "{0} reports: {1} recorded, {2} known before, {3} refused; {4} a second …",
        "{0} 件：登记 {1}，此前已有 {2}，未受理 {3}；每秒 {4} 件……",
    ),
    ("more reports exist: raise --limit", "还有更多举报：请增大 --limit"),
    ("the report is valid; nothing was recorded", "举报有效；未作登记"),
    ("follow it with:", "查询进展："),
    (
        "where it would go cannot be told now: routing does not answer",
        "暂时无法告知去向：分派服务未应答",
    ),
    (
        "where it would go is not told: it is to be kept from the sender itself",
        "去向不予告知：转报单位本身须回避",
    ),
    ("If it were submitted now", "如现在提交"),
    (
        "no agency could act; the reporter would be told:",
        "无单位可办，将告知举报人：",
    ),
    (
        "may read what the report says, for a purpose that is recorded",
        "可查阅举报内容，查阅目的留痕",
    ),
    (
        "sees that there is a case, and not what the report says",
        "只知有此线索，不见举报内容",
    ),
    ("this reading, as {0}", "本次查阅，编号 {0}"),
    ("not given", "未提供"),
    ("{0} as event {1}", "{0}，事件 {1}"),
    ("has acknowledged it", "已签收"),
    ("has not acknowledged it yet", "尚未签收"),
    (
        "not current: more may have happened since, which has not arrived here",
        "并非最新：此后可能另有进展，尚未到达此处",
    ),
    (
        "in the log at index {0}, proof verified (checkpoint of {1} entries)",
        "已入日志第 {0} 条，证明核验通过（检查点共 {1} 条）",
    ),
    ("not yet in the log", "尚未入日志"),
    ("PROOF FAILED: {0}", "证明核验失败：{0}"),
    ("not checked", "未核验"),
    // Categories.
    ("more categories exist: raise --limit", "还有更多类别：请增大 --limit"),
    ("urgent: handled before others", "紧急：优先办理"),
    ("(version read: {0}{1})", "（所据版本：{0}{1}）"),
    ("A report of it", "举报须知"),
    ("optional", "选填"),
    ("required", "必填"),
    ("at least {0}", "至少 {0} 个"),
    ("refused", "不接收"),
    ("{0} days after the case has ended", "办结后 {0} 日"),
    (
        "a publication about somebody: the place of a victim that is an organisation or a public body does not decide who \
         handles it",
        "涉及他人的信息发布：被害人为单位或公共机构的，其所在地不决定承办单位",
    ),
    ("any text", "文本"),
    (
        "a web address, such as https://example.cn/",
        "网址，如 https://example.cn/",
    ),
    (
        "a telephone number, such as +8613800000000",
        "电话号码，如 +8613800000000",
    ),
    (
        "an account number, 8 to 34 letters and digits",
        "账号，8 至 34 位字母和数字",
    ),
    (
        "a time with its zone, such as 2026-11-01T10:00:00+08:00; it may lie in the future",
        "带时区的时间，如 2026-11-01T10:00:00+08:00；可为将来时间",
    ),
    (
        "a time with its zone, such as 2026-11-01T10:00:00+08:00; not in the future",
        "带时区的时间，如 2026-11-01T10:00:00+08:00；不得为将来时间",
    ),
    ("an integer", "整数"),
    ("one of:", "选项："),
    ("of a form that this version does not know", "本版本未知的形式"),
    ("property", "财产"),
    ("safety of a person", "人身安全"),
    ("minors and consent", "未成年人与性自主"),
    ("dignity", "人格尊严"),
    ("personal data", "个人信息"),
    ("computer systems", "信息系统"),
    ("consumers", "消费者"),
    ("public safety", "公共安全"),
    ("integrity of officials", "公职廉洁"),
    ("an interest that this version does not know", "本版本未知的法益"),
    // A command line that cannot be read.
    ("unexpected argument '{0}' found", "不认识参数“{0}”"),
    ("unknown subcommand '{0}'", "不认识子命令“{0}”"),
    (
        "'{0}' requires a subcommand but one was not provided",
        "“{0}”须带子命令，但未给出",
    ),
    ("these required arguments were not given: {0}", "缺少必需的参数：{0}"),
    (
        "a value is required for '{0}' but none was supplied",
        "“{0}”须有值，但未给出",
    ),
    ("invalid value '{0}' for '{1}'", "“{1}”的值“{0}”无效"),
    (
        "unexpected value '{0}' for '{1}' found; no more were expected",
        "“{1}”不再接受更多的值：“{0}”",
    ),
    (
        "equal sign is needed when assigning values to '{0}'",
        "给“{0}”赋值须用等号",
    ),
    (
        "the argument '{0}' cannot be used multiple times",
        "参数“{0}”不能重复使用",
    ),
    (
        "the argument '{0}' cannot be used with others",
        "参数“{0}”不能与其他参数同用",
    ),
    (
        "the argument '{0}' cannot be used with '{1}'",
        "参数“{0}”不能与“{1}”同用",
    ),
    ("  [possible values: {0}]", "  [可用的值：{0}]"),
    ("  [subcommands: {0}]", "  [子命令：{0}]"),
    ("a similar subcommand exists: '{0}'", "有相近的子命令：“{0}”"),
    ("a similar argument exists: '{0}'", "有相近的参数：“{0}”"),
    ("a similar value exists: '{0}'", "有相近的值：“{0}”"),
    ("  tip: {0}", "  提示：{0}"),
    ("Usage: {0}", "用法：{0}"),
    ("For more information, try '--help'.", "详情见 --help（英文）。"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_that_of_the_locale() {
        for (set, expected) in [
            (&[][..], Language::En),
            (&[("LANG", "zh_CN.UTF-8")], Language::Zh),
            (&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")], Language::En),
            (&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "")], Language::Zh),
            (&[("LANG", "en_GB.UTF-8"), ("LC_MESSAGES", "zh")], Language::Zh),
            (&[("LANG", "zha_CN")], Language::En),
            (&[("LANG", "zh-Hans@x")], Language::Zh),
        ] {
            let variable = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Language::of_locale(variable), expected, "{set:?}");
        }
    }

    #[test]
    fn parts_are_filled_in_once_and_in_the_order_of_the_language() {
        assert_eq!(fill("{1} {0}{0}", &[&"a", &"{0}"]), "{0} aa");
        assert_eq!(fill("{2} {", &[&"a"]), " {");
        assert_eq!(in_language(Language::Zh, "urgent"), "紧急");
        assert_eq!(in_language(Language::Zh, "police-450100"), "police-450100");
    }

    /// The words that the code asks for, in what is called with them.
    fn asked(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for begin in ["tr(", "tell(", "field("] {
            for (at, _) in text.match_indices(begin) {
                let called = text[..at]
                    .chars()
                    .next_back()
                    .is_none_or(|c| !c.is_alphanumeric() && c != '_');
                let Some(literal) = text[at + begin.len()..].trim_start().strip_prefix('"') else {
                    continue;
                };
                let Some((word, _)) = literal.split_once('"') else {
                    continue;
                };
                // A line that goes on.
                let mut lines = word.split("\\\n");
                let first = lines.next().unwrap_or_default().to_owned();
                let word = first + &lines.map(str::trim_start).collect::<String>();
                if called && !word.is_empty() {
                    found.push(word);
                }
            }
        }
        found
    }

    #[test]
    fn every_word_of_the_everyday_commands_is_in_both_languages() {
        let source = |file: &str| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
            let text = std::fs::read_to_string(path).unwrap();
            text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
        };
        let files = [
            "output.rs",
            "commands/report.rs",
            "commands/report/feed.rs",
            "commands/report/import.rs",
            "commands/report/import/run.rs",
            "commands/report/print.rs",
            "output/case.rs",
            "output/case/decision.rs",
            "output/change.rs",
            "commands/log/show.rs",
            "commands/operator.rs",
            "commands/directory.rs",
            "commands/backup.rs",
            "output/notice.rs",
            "commands/case/subject.rs",
            "output/explanation.rs",
            "commands/case.rs",
            "commands/case/change.rs",
            "commands/case/hand_on.rs",
            "commands/case/work.rs",
            "commands/case/outcome.rs",
            "commands/case/officers.rs",
            "commands/case/oversight.rs",
            "commands/log/trace.rs",
            "output/handover.rs",
            "commands/case/batch.rs",
            "commands/case/queue.rs",
            "commands/case/queue/screen.rs",
            "commands/category.rs",
            "usage.rs",
            "commands/route/print.rs",
        ];
        let asked: Vec<_> = files.iter().flat_map(|file| asked(&source(file))).collect();
        assert!(asked.len() > 100, "{asked:?}");
        let has = |word: &str| ZH.iter().any(|(english, _)| *english == word);
        // And what the decision says of columns and places.
        let columns = [
            "category",
            "operator",
            "server",
            "transaction",
            "victim",
            "suspect",
            "received",
            "complained-of",
            "loss",
            "loss_age",
            "urgent",
            "publication",
            "subject_kind",
            "reporter_relation",
            "victim_kind",
        ];
        let decided = columns.map(|column| decision::decide::column_words(column).into_owned());
        let asked: Vec<_> = asked.into_iter().chain(decided).collect();
        let missing: Vec<_> = asked.iter().filter(|word| !has(word)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        // And nothing is in the table that nobody asks for.
        let labels = [
            "leads",
            "designates",
            "supports",
            "has a part",
            "takes over",
            "result",
            "facts",
            "rules",
            "directory",
        ];
        let more = ["tried", "note", "other rows"];
        let is_asked = |word: &str| {
            let words = asked.iter().map(String::as_str).chain(labels).chain(more);
            words.into_iter().any(|asked| asked == word)
        };
        let idle: Vec<_> = ZH.iter().filter(|(english, _)| !is_asked(english)).collect();
        assert!(idle.is_empty(), "{idle:?}");
    }

    #[test]
    fn both_languages_have_the_same_parts_and_no_word_twice() {
        let parts = |text: &str| {
            let mut parts: Vec<_> = text
                .match_indices('{')
                .map(|(at, _)| text[at..at + 3].to_owned())
                .collect();
            parts.sort();
            parts
        };
        let mut seen = std::collections::BTreeSet::new();
        for (english, chinese) in ZH {
            assert_eq!(parts(english), parts(chinese), "{english}");
            assert!(!chinese.trim().is_empty() && seen.insert(english), "{english}");
        }
    }
}
