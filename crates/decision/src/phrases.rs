//! The sentences of explanations, in both languages.
//!
//! Decisions are explained in English sentences, in the contract and where they are stored. Each is
//! made of one of the forms below and its parts; [`in_chinese`] finds the form and gives the sentence
//! in Chinese, with the parts in theirs. A sentence of a form that this version does not know has
//! none. In builds for tests every sentence that [`decide`](crate::decide) makes is looked up.
//!
//! A part stands as `{0}`: one word, such as an agency's id or a code. In the Chinese form a colon
//! says what else a part is: `factor`, `function`, `text` (any words, as they are), `codes` (several
//! words), `said` (sentences of these forms), `missed` (rows with the column that excluded them).

use crate::factor::Factor;

/// A name in both languages.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// What rule sets call it.
    pub id: &'static str,
    /// In Chinese.
    pub zh: &'static str,
    /// In English.
    pub en: &'static str,
}

const fn name(id: &'static str, zh: &'static str, en: &'static str) -> Name {
    Name { id, zh, en }
}

/// The connecting factors.
pub const FACTORS: [Name; Factor::COUNT] = [
    name("operator", "运营者所在地", "operator's place"),
    name("server", "服务器所在地", "server's place"),
    name("transaction", "交易地", "place of the transaction"),
    name("victim", "被害人所在地", "victim's place"),
    name("suspect", "嫌疑人所在地", "suspect's place"),
    name("received", "受理单位所在地", "place of the agency that received it"),
    name("complained-of", "被举报单位所在地", "place of the agency complained of"),
];

/// The functions of the built-in directory. The list is open: others are called by their ids.
pub const FUNCTIONS: [Name; 9] = [
    name("police", "公安", "police"),
    name("content-regulator", "网信", "content regulator"),
    name("telecom-regulator", "电信主管", "telecom regulator"),
    name("market-regulator", "市场监管", "market regulator"),
    name("press-regulator", "新闻出版主管", "press regulator"),
    name("payment-stop", "紧急止付", "payment stop"),
    name("inspection", "纪检监察", "inspection"),
    name("conference", "联席会议", "conference"),
    name("partner-hotline", "合作热线", "partner hotline"),
];

/// A name of a list; `None` for what is not in it.
#[must_use]
pub fn find(names: &[Name], id: &str) -> Option<Name> {
    names.iter().find(|name| name.id == id).copied()
}

/// The forms of sentences: English, and Chinese.
pub const FORMS: &[(&str, &str)] = &[
    // Of factors.
    ("the report names no such place", "举报未写明此地点"),
    (
        "does not count: an organisation complains about a publication",
        "不予考虑：由单位就出版物提出举报",
    ),
    (
        "does not count: a public body complains about a publication",
        "不予考虑：由公共机构就出版物提出举报",
    ),
    (
        "does not count: the agency that received it works for the whole nation",
        "不予考虑：受理单位面向全国",
    ),
    (
        "left out: neither a territory code nor a country",
        "已略过：既非行政区划代码，也非国家",
    ),
    (
        "{0} is outside the tree of territories: no agency there can lead",
        "{0}不在行政区划之内，当地没有可以主办的单位",
    ),
    ("left out: the tree has no such territory", "已略过：没有此行政区划"),
    ("leads to {0}", "归 {0} 管辖"),
    (
        "no {0} agency there or above, up to the nation",
        "当地及以上直至全国，没有{0:function}单位",
    ),
    (
        "no agency there or above, up to the nation",
        "当地及以上直至全国，没有相应单位",
    ),
    ("by the operator register, version {0}", "依据运营者名册第 {0} 版"),
    ("{0}: {1}", "{0:factor}：{1:said}"),
    ("{0}: {1} was passed over", "{0:factor}：已跳过 {1}"),
    (
        "{0}: `{1}` is malformed and was skipped",
        "{0:factor}：“{1:text}”格式有误，已略过",
    ),
    (
        "{0}: the tree has no territory {1}; it was skipped",
        "{0:factor}：没有行政区划 {1}，已略过",
    ),
    (
        "{0}: given more than once; only the first place was used",
        "{0:factor}：多次给出，只用第一个地点",
    ),
    (
        "a place with an unknown connecting factor was skipped",
        "有一地点的管辖连接点未知，已略过",
    ),
    // Of territories.
    ("{0} is in force", "{0} 现行有效"),
    (
        "{0} is abolished, resolved to its successor {1}",
        "{0} 已撤销，按其承继区划 {1} 处理",
    ),
    (
        "{0} is abolished, resolved to its successor {1}, under another city",
        "{0} 已撤销，按其承继区划 {1} 处理（改属另一市）",
    ),
    (
        "{0} is abolished, resolved to its successor {1}; parts of it went to {2}",
        "{0} 已撤销，按其承继区划 {1} 处理；部分划入 {2:codes}",
    ),
    (
        "{0} is abolished, resolved to its successor {1}, under another city; parts of it went to {2}",
        "{0} 已撤销，按其承继区划 {1} 处理（改属另一市）；部分划入 {2:codes}",
    ),
    (
        "{0} is abolished and was divided, resolved to {1}, which holds the parts",
        "{0} 已撤销并拆分，按各部分所属的 {1} 处理",
    ),
    (
        "{0} is abolished and was divided among {1}, resolved to {2}, which holds them",
        "{0} 已撤销，拆分入 {1:codes}，按其所属的 {2} 处理",
    ),
    (
        "{0} is abolished without a single successor, resolved to {1}, in which it lies",
        "{0} 已撤销，没有单一的承继区划，按其所在的 {1} 处理",
    ),
    (
        "{0} is abolished without a single successor, resolved to {1}, in which it lay",
        "{0} 已撤销，没有单一的承继区划，按其原所在的 {1} 处理",
    ),
    (
        "{0} is not in force yet, resolved to {1}, in which it lies",
        "{0} 尚未生效，按其所在的 {1} 处理",
    ),
    (
        "{0} is read as it stands today; the code was once that of what is {1} now",
        "{0} 按现行含义理解；此代码曾属于现在的 {1}",
    ),
    // Of agencies that ended or are excluded.
    ("{0} ended", "{0} 已撤销"),
    ("{0} ended, and nobody continues it", "{0} 已撤销，无承继单位"),
    (
        "{0} ended on {1}, and nobody continues it",
        "{0} 已于 {1} 撤销，无承继单位",
    ),
    ("{0} ended, and {1} continues it", "{0} 已撤销，由 {1} 承继"),
    (
        "{0} ended on {1}, and {2} continues it",
        "{0} 已于 {1} 撤销，由 {2} 承继",
    ),
    ("complained of: {0}", "被举报单位：{0:said}"),
    (
        "complained of: {0}: decided as if {1} were complained of",
        "被举报单位：{0:said}；视同举报 {1} 处理",
    ),
    (
        "excluded agency `{0}` is not in the directory: it excluded nobody",
        "回避单位“{0:text}”不在名录中，未产生回避",
    ),
    ("{0} is excluded, too: it succeeds {1}", "{0} 承继 {1}，同样回避"),
    (
        "{0} is excluded itself: {1} designates instead",
        "{0} 自身须回避，改由 {1} 指定管辖",
    ),
    (
        "{0} is excluded itself, like all others at the top: it designates anyway",
        "{0} 与其他最高层单位同样须回避，仍由其指定管辖",
    ),
    // Of rows.
    (
        "`{0}` is not the name of a category: no row has it",
        "“{0:text}”不是类别名称，没有相应规则",
    ),
    (
        "no row is for the category `{0}`: the row for all other reports decided",
        "没有针对类别“{0:text}”的规则，适用兜底规则",
    ),
    (
        "no row for the category `{0}` takes this report: {1}; the row for all other reports decided",
        "类别“{0:text}”的规则均不适用：{1:missed}；适用兜底规则",
    ),
    // Of who leads and supports.
    (
        "no place of the report leads to an agency: {0} leads as the national default",
        "举报的地点均未指向任何单位，由 {0} 作为全国默认单位主办",
    ),
    (
        "no {0} agency may lead, the nation's included: {1} designates",
        "没有可以主办的{0:function}单位（含全国），由 {1} 指定管辖",
    ),
    (
        "nobody supports before a lead is designated",
        "指定主办单位之前没有协办单位",
    ),
    (
        "no {0} agency supports: no place gave the lead, so there is none to look for one at",
        "没有{0:function}协办单位：主办单位并非由地点确定，无处查找",
    ),
    (
        "no {0} agency supports: none above that place may",
        "没有{0:function}协办单位：该地以上没有可以协办的",
    ),
    (
        "no {0} agency supports: none above {1} may",
        "没有{0:function}协办单位：{1} 以上没有可以协办的",
    ),
    (
        "the loss is fresh, but this row asks for no hold",
        "损失刚刚发生，但此规则不要求紧急止付",
    ),
    (
        "not compared with other cases: each report of the same subject has its own case",
        "未与其他案件比对：同一对象的每件举报各自成案",
    ),
    // Of who received it first.
    ("received first: {0}", "受理单位：{0:said}"),
    (
        "received first by `{0}`, which is not in the directory: decided without it",
        "受理单位“{0:text}”不在名录中，不予考虑",
    ),
    (
        "received first by {0}, which is excluded: it cannot keep the report, and the ranking decides",
        "受理单位 {0} 须回避，不能留办，按次序确定",
    ),
    (
        "received first by {0}: in this rule set that gives no right to lead",
        "受理单位为 {0}：此规则集不因首接而主办",
    ),
    (
        "received first by {0}, to which {1} leads: it keeps the report, and the lead by the ranking supports",
        "受理单位 {0} 与{1:factor}相符，留办；按次序应主办的单位协办",
    ),
    (
        "received first by {0}, to which no place leads: decided by the ranking",
        "没有地点指向受理单位 {0}，按次序确定",
    ),
    (
        "received first by {0}, to which no place leads as {1}: decided by the ranking",
        "没有作为{1:factors}的地点指向受理单位 {0}，按次序确定",
    ),
    // Of the operator register.
    (
        "the operator was not looked up: no subject has a name that the register could contain",
        "未查询运营者：没有名册可能收录的对象名称",
    ),
    (
        "the operator is unknown: the operator register is empty",
        "运营者未知：运营者名册为空",
    ),
    (
        "the operator is unknown: the operator register, version {0}, does not contain the subject",
        "运营者未知：运营者名册第 {0} 版未收录该对象",
    ),
    (
        "the operator is unknown: the operator register, version {0}, does not contain any of the subjects",
        "运营者未知：运营者名册第 {0} 版未收录任何对象",
    ),
    (
        "by the operator register another subject is operated from elsewhere: the first one that it has counts",
        "依运营者名册，另一对象由别处运营：以最先收录的为准",
    ),
    (
        "by the operator register other subjects are operated from elsewhere: the first one that it has counts",
        "依运营者名册，另有对象由别处运营：以最先收录的为准",
    ),
    // Of a look-up in the operator register.
    ("registered: {0}", "已收录：{0}"),
    ("not registered", "未收录"),
    ("registered from {0}, but not for {1}", "曾收录（{0:text}），但不含 {1}"),
    // Why an agency supports, or is asked to stop a payment.
    ("{0}", "{0:factor}"),
    ("{0} {1}", "{0:factor} {1:codes}"),
    ("would lead by the ranking: {0}", "按次序应主办：{0:said}"),
    ("{0} for {1}", "{0:function}：{1:said}"),
    ("{0} abroad: {1}", "{0:factor}在境外：{1}"),
    ("{0}: asked to stop the payment", "{0:function}：请求止付"),
    (
        "{0} for the nation, because no place gave the lead",
        "全国{0:function}：主办单位并非由地点确定",
    ),
    (
        "no {0} agency for {1} may be asked",
        "{1:factor}没有可以请求的{0:function}单位",
    ),
    (
        "no {0} agency for the nation, because no place gave the lead may be asked",
        "全国没有可以请求的{0:function}单位；主办单位并非由地点确定",
    ),
];

/// A sentence, or several with semicolons between them, in Chinese. `column` has the words for the
/// columns of rule sets ([`column_words`](crate::decide::column_words)).
#[must_use]
pub fn in_chinese(english: &str, column: &dyn Fn(&str) -> String) -> Option<String> {
    if let Some(said) = FORMS.iter().find_map(|form| with_form(*form, english, column)) {
        return Some(said);
    }
    // Forms have semicolons, too: where the first sentence ends, only trying tells.
    english.match_indices("; ").find_map(|(at, between)| {
        let first = FORMS.iter().find_map(|form| with_form(*form, &english[..at], column))?;
        let rest = in_chinese(english[at + between.len()..].trim_start(), column)?;
        Some(format!("{first}；{rest}"))
    })
}

fn with_form((en, zh): (&str, &str), english: &str, column: &dyn Fn(&str) -> String) -> Option<String> {
    let mut parts = Vec::new();
    fits(en, zh, english, &mut parts, column)
}

/// Fills the Chinese form if what is left of the sentence fits what is left of the English one.
fn fits<'a>(
    en: &str,
    zh: &str,
    english: &'a str,
    parts: &mut Vec<&'a str>,
    column: &dyn Fn(&str) -> String,
) -> Option<String> {
    let Some((before, after)) = en.split_once('{') else {
        return (en == english).then(|| filled(zh, parts, column)).flatten();
    };
    let rest = english.strip_prefix(before)?;
    let (_, form) = after.split_once('}')?;
    let literal = form.split('{').next().unwrap_or_default();
    // Where the part ends: at each place where what follows it stands.
    let ends: Vec<_> = match literal {
        "" => vec![rest.len()],
        literal => rest.match_indices(literal).map(|(at, _)| at).collect(),
    };
    for end in ends {
        parts.push(&rest[..end]);
        if let Some(said) = fits(form, zh, &rest[end..], parts, column) {
            return Some(said);
        }
        parts.pop();
    }
    None
}

/// The Chinese form with its parts; `None` if one is not what it should be.
fn filled(zh: &str, parts: &[&str], column: &dyn Fn(&str) -> String) -> Option<String> {
    let mut said = String::new();
    let mut rest = zh;
    while let Some((before, after)) = rest.split_once('{') {
        said.push_str(before);
        let (part, after) = after.split_once('}')?;
        let (number, kind) = part.split_once(':').unwrap_or((part, ""));
        let part = *parts.get(number.parse::<usize>().ok()?)?;
        said.push_str(&in_kind(kind, part, column)?);
        rest = after;
    }
    said.push_str(rest);
    Some(said)
}

fn in_kind(kind: &str, part: &str, column: &dyn Fn(&str) -> String) -> Option<String> {
    let is_word = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    let factor = |part: &str| find(&FACTORS, part).map(|name| name.zh.to_owned());
    match kind {
        "text" => Some(part.to_owned()),
        "codes" => {
            let mut words = part.split(", ").flat_map(|part| part.split(" → "));
            words.all(is_word).then(|| part.replace(", ", "、"))
        }
        "factor" => factor(part),
        "factors" => {
            let factors: Option<Vec<_>> = part.split(" or ").map(factor).collect();
            Some(factors?.join("或"))
        }
        // Any word can be a function; one that is not ours is called by its id.
        "function" => {
            let known = find(&FUNCTIONS, part).map(|name| name.zh.to_owned());
            known.or_else(|| is_word(part).then(|| format!(" {part} ")))
        }
        "said" => in_chinese(part, column),
        "missed" => {
            let mut rows = Vec::new();
            let mut rest = part;
            while let Some((row, after)) = rest.split_once(" (not for ") {
                let (words, after) = after.split_once(')')?;
                rows.push(format!("{row}（不适用于{}）", column(words)));
                rest = after.strip_prefix(", ").unwrap_or(after);
            }
            rest.is_empty().then(|| rows.join("、"))
        }
        _ => is_word(part).then(|| part.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zh(english: &str) -> Option<String> {
        in_chinese(english, &|column| format!("〈{column}〉"))
    }

    #[test]
    fn sentences_are_said_in_chinese_with_their_parts() {
        for (english, expected) in [
            ("the report names no such place", "举报未写明此地点"),
            ("leads to police-510100", "归 police-510100 管辖"),
            (
                "no content-regulator agency there or above, up to the nation",
                "当地及以上直至全国，没有网信单位",
            ),
            (
                "no zoo agency there or above, up to the nation",
                "当地及以上直至全国，没有 zoo 单位",
            ),
            (
                "by the operator register, version 3; leads to police-350200",
                "依据运营者名册第 3 版；归 police-350200 管辖",
            ),
            (
                "371200 is abolished, resolved to its successor 370100, under another city; parts of it went to 1, 2; \
                 370100 is in force;  leads to police-370100",
                "371200 已撤销，按其承继区划 370100 处理（改属另一市）；部分划入 1、2；370100 现行有效；归 police-370100 管辖",
            ),
            (
                "victim: 371200 is abolished, resolved to its successor 370100",
                "被害人所在地：371200 已撤销，按其承继区划 370100 处理",
            ),
            ("victim 440600 → 440000", "被害人所在地 440600 → 440000"),
            (
                "would lead by the ranking: victim 440600 → 440000; police for suspect 1",
                "按次序应主办：被害人所在地 440600 → 440000；公安：嫌疑人所在地 1",
            ),
            (
                "victim: `a; b: leads to {0}` is malformed and was skipped",
                "被害人所在地：“a; b: leads to {0}”格式有误，已略过",
            ),
            (
                "no row for the category `fraud` takes this report: a (not for this loss), b (not for the age of the loss, \
                 or its age is unknown); the row for all other reports decided",
                "类别“fraud”的规则均不适用：a（不适用于〈this loss〉）、b（不适用于〈the age of the loss, or its age is \
                 unknown〉）；适用兜底规则",
            ),
            (
                "complained of: a ended on 2026-01-01, and b continues it: decided as if b were complained of",
                "被举报单位：a 已于 2026-01-01 撤销，由 b 承继；视同举报 b 处理",
            ),
            (
                "received first by a, to which no place leads as victim or suspect: decided by the ranking",
                "没有作为被害人所在地或嫌疑人所在地的地点指向受理单位 a，按次序确定",
            ),
        ] {
            assert_eq!(zh(english).as_deref(), Some(expected), "{english}");
        }
        for strange in [
            "",
            "leads",
            "leads to a b",
            "victims 1",
            "proof verified",
            "leads to a; proof verified",
        ] {
            assert_eq!(zh(strange), None, "{strange}");
        }
    }

    #[test]
    fn forms_have_the_same_parts_and_every_factor_a_name() {
        for (en, zh) in FORMS {
            for number in 0..4 {
                let has = |form: &str| form.contains(&format!("{{{number}"));
                assert_eq!(has(en), has(zh), "{en}");
            }
            assert_eq!(FORMS.iter().filter(|(other, _)| en == other).count(), 1, "{en}");
        }
        for factor in Factor::ALL {
            assert!(find(&FACTORS, factor.as_str()).is_some(), "{factor}");
        }
    }

    /// So that none is added in one language only.
    #[test]
    fn the_functions_of_the_shipped_directory_have_names() {
        let directory = crate::directory::Directory::shipped();
        for agency in directory.agencies() {
            for function in &agency.functions {
                assert!(find(&FUNCTIONS, &function.to_string()).is_some(), "{function}");
            }
        }
    }
}
