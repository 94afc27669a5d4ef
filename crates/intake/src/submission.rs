//! Validates a submitted message: a report that needs no further checks, or all violations.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use api::{
    event::ConnectingFactor,
    intake::{Place, Report, ReporterRelation, Subject, SubjectKind, SubmitReportRequest, VictimKind, place::Location},
    routing::{Facts, OperatorSubject},
};
use journal::Time;
use names::{
    AgencyId, Collection,
    text::{reference, visible},
};
use places::Country;
use rpc::{Violation, Violations};
use uuid::Uuid;

use crate::{
    category::{Categories, Category, Detail, DetailKind, Need, Urgency},
    directory::Known,
    evidence, subject,
};

const NARRATIVE: usize = 20_000;
const EXTERNAL_ID: usize = 128;
const SUBJECTS: usize = 50;
const KEEP_FROM: usize = 10;
const DETAILS: usize = 50;
/// One per connecting factor.
const PLACES: usize = 5;
const SUBJECT_VALUE: usize = 2_048;
const SHORT_TEXT: usize = 200;
const DETAIL_VALUE: usize = 2_000;
/// A million million major units: more than any loss, and far from overflow.
const LARGEST_LOSS: i64 = 100_000_000_000_000;
/// Tolerance for the clocks of senders.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// A validated report.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The report, without fields that only Remit sets.
    pub report: Report,
    /// The facts to route it by.
    pub facts: Facts,
    /// The subjects to look up in the operator register.
    pub subjects: Vec<OperatorSubject>,
    /// What reports on the same subjects, in the same family of categories, have in common: none if
    /// a subject can be compared with no other.
    pub subject_keys: BTreeSet<String>,
    /// Ids of its evidence, in order.
    pub evidence: Vec<Uuid>,
    /// The caller's id for the request.
    pub request_id: Option<Uuid>,
}

/// Validates a request against the taxonomy and the directory. Reports all violations at once, with
/// field paths.
pub fn check(
    request: SubmitReportRequest,
    categories: &Categories,
    known: &Known,
    received_by: Option<&AgencyId>,
    now: Time,
) -> Result<Submission, Vec<Violation>> {
    let mut faults = Faults {
        violations: Violations::new(),
        now,
    };
    let request_id = faults.violations.request_id("request_id", &request.request_id);
    let Some(mut report) = request.report else {
        faults.add("report", "is missing");
        return faults.violations.finish(|| None);
    };
    // Fields that only Remit sets are ignored.
    report.name.clear();
    report.state = 0;
    report.accept_time = None;
    report.supplements.clear();
    canonical_codes(&mut report);
    report.subjects.iter_mut().for_each(subject::canonicalise);

    let category = faults.category(&report.category, categories);
    if let Some(category) = category {
        canonical_details(&mut report.details, category);
    }
    faults.subjects(&report.subjects, category);
    faults.places(&report.places, known);
    faults.loss(&report);
    faults.reporter(&report);
    faults.narrative(&report.narrative, category);
    faults.external_id("report.external_id", &mut report.external_id);
    if let Some(category) = category {
        faults.details(&report, category);
    }
    let evidence = evidence("report.evidence", &report.evidence, category, &mut faults.violations);
    let mut excluded = BTreeSet::new();
    if !report.complained_of.is_empty() {
        excluded.extend(faults.agency("report.complained_of", &report.complained_of, known));
    }
    if report.keep_from.len() > KEEP_FROM {
        faults.add(
            "report.keep_from",
            format!("names {} agencies, more than {KEEP_FROM}", report.keep_from.len()),
        );
    }
    for (i, agency) in report.keep_from.iter().take(KEEP_FROM).enumerate() {
        excluded.extend(faults.agency(format_args!("report.keep_from[{i}]"), agency, known));
    }

    faults.violations.finish(|| {
        let facts = facts(&report, category?, excluded, received_by, now);
        let subject_keys = subject_keys(&report, category?);
        Some(Submission {
            subjects: operator_subjects(&report),
            subject_keys,
            report,
            facts,
            evidence,
            request_id,
        })
    })
}

/// Codes are taken in any letter case. From here on each has one form: what is compared, looked up
/// and committed to.
fn canonical_codes(report: &mut Report) {
    report.language_code = language(&report.language_code);
    if let Some(loss) = &mut report.loss {
        loss.currency_code.make_ascii_uppercase();
    }
    for place in &mut report.places {
        if let Some(Location::RegionCode(code)) = &mut place.location {
            code.make_ascii_uppercase();
        }
    }
}

/// Details in the form in which rules compare them: `+5` and `05` are 5. What is not of its kind
/// stays as it is, and is refused.
fn canonical_details(details: &mut BTreeMap<String, String>, category: &Category) {
    for (path, value) in details {
        let detail = category.details.iter().find(|detail| detail.path == *path);
        match detail.map(|detail| detail.kind) {
            // A longer value is refused for its length.
            _ if value.len() > 4 * DETAIL_VALUE => {}
            None | Some(DetailKind::Text) => {}
            Some(DetailKind::Url) => *value = value.trim().to_owned(),
            Some(DetailKind::Phone | DetailKind::Account | DetailKind::Timestamp | DetailKind::Choice) => {
                *value = visible(value).trim().to_owned();
            }
            Some(DetailKind::Integer) => {
                let text = visible(value).trim().to_owned();
                *value = text.parse::<i64>().map_or(text, |number| number.to_string());
            }
        }
    }
}

/// A BCP 47 tag in the letter case that it recommends: `zh-Hans-CN`.
fn language(tag: &str) -> String {
    let part = |(i, part): (usize, &str)| match (i, part.len()) {
        (0, _) => part.to_ascii_lowercase(),
        (_, 2) => part.to_ascii_uppercase(),
        (_, 4) if part.is_char_boundary(1) => part[..1].to_ascii_uppercase() + &part[1..].to_ascii_lowercase(),
        _ => part.to_ascii_lowercase(),
    };
    tag.split('-').enumerate().map(part).collect::<Vec<_>>().join("-")
}

/// The facts to route a report by: no personal data, and in canonical order, so that equal facts
/// are equal bytes.
fn facts(
    report: &Report,
    category: &Category,
    excluded: BTreeSet<String>,
    received_by: Option<&AgencyId>,
    now: Time,
) -> Facts {
    let subject_kinds: BTreeSet<i32> = report.subjects.iter().map(|subject| subject.kind).collect();
    let mut places = report.places.clone();
    places.sort_by_key(|place| place.factor);
    let routable = |path: &str| {
        category
            .details
            .iter()
            .any(|detail| detail.path == path && matches!(detail.kind, DetailKind::Choice | DetailKind::Integer))
    };
    let occurred = report
        .loss
        .as_ref()
        .and_then(|loss| loss.occur_time.as_ref())
        .and_then(Time::from_proto);
    Facts {
        category: Collection::CATEGORIES.of(&category.id),
        urgent: category.urgency == Urgency::Urgent,
        subject_kinds: subject_kinds.into_iter().collect(),
        places,
        loss_currency_code: report
            .loss
            .as_ref()
            .map(|loss| loss.currency_code.clone())
            .unwrap_or_default(),
        loss_minor_units: report.loss.as_ref().map_or(0, |loss| loss.minor_units),
        loss_age_seconds: occurred.map(|occurred| (now.0.saturating_sub(occurred.0)).max(0) / 1_000_000),
        victim_kind: report.victim_kind,
        reporter_relation: report.reporter.as_ref().map_or(0, |reporter| reporter.relation),
        publication: category.publication,
        received_by: received_by.map(AgencyId::resource_name).unwrap_or_default(),
        excluded: excluded.into_iter().collect(),
        details: report
            .details
            .iter()
            .filter(|(path, _)| routable(path))
            .map(|(path, value)| (path.clone(), value.clone()))
            .collect(),
        accept_time: Some(now.to_proto()),
        complained_of: match names::AGENCY.id(&report.complained_of) {
            Some(_) => report.complained_of.clone(),
            None => String::new(),
        },
        // Routing asks the register.
        register_answer: None,
    }
}

/// The subjects to look up in the operator register, in order: hosts, apps and platforms, and
/// nothing that identifies a person. No URL path, account or number leaves intake. Empty if the
/// report gives the operator's place.
fn operator_subjects(report: &Report) -> Vec<OperatorSubject> {
    let is_operator = |place: &Place| place.factor() == ConnectingFactor::Operator;
    if report.places.iter().any(is_operator) {
        return Vec::new();
    }
    report.subjects.iter().filter_map(subject::looked_up).collect()
}

/// Families of categories in which each reporter has a dispute of its own, whoever else has one with
/// the same subject.
const DISPUTES: &[&str] = &["consumer-harm"];

/// One key for each subject, with the family of the category.
fn subject_keys(report: &Report, category: &Category) -> BTreeSet<String> {
    let family = category.id.split('.').next().unwrap_or_default();
    if DISPUTES.contains(&family) {
        return BTreeSet::new();
    }
    let keys = report.subjects.iter().map(|subject| {
        let key = subject::key(subject)?;
        Some(format!("{family}\n{key}"))
    });
    keys.collect::<Option<_>>().unwrap_or_default()
}

struct Faults {
    violations: Violations,
    now: Time,
}

impl Faults {
    fn add(&mut self, field: impl Display, description: impl Into<String>) {
        self.violations.add(field, description);
    }

    fn ok<T>(&mut self, field: impl Display + Copy, value: Option<T>, description: &str) -> Option<T> {
        self.violations.check(field, value, description)
    }

    fn at_most(&mut self, field: impl Display + Copy, text: &str, limit: usize) {
        let length = text.chars().count();
        if length > limit {
            self.add(field, format!("has {length} characters, more than {limit}"));
        }
    }

    fn category<'c>(&mut self, name: &str, categories: &'c Categories) -> Option<&'c Category> {
        if name.is_empty() {
            self.add(
                "report.category",
                "is missing; name one, such as `categories/fraud.investment`",
            );
            return None;
        }
        let category = Collection::CATEGORIES.id(name).and_then(|id| categories.get(id));
        self.ok(
            "report.category",
            category,
            "is not a category of this server; they are named like `categories/fraud.investment`",
        )
    }

    fn subjects(&mut self, subjects: &[Subject], category: Option<&Category>) {
        if let Some(category) = category
            && subjects.len() < category.subjects
        {
            self.add(
                "report.subjects",
                format!(
                    "has {}, but `{}` needs {}",
                    subjects.len(),
                    category.id,
                    category.subjects
                ),
            );
        }
        if subjects.len() > SUBJECTS {
            self.add(
                "report.subjects",
                format!("has {}, more than {SUBJECTS}", subjects.len()),
            );
        }
        for (i, subject) in subjects.iter().take(SUBJECTS).enumerate() {
            self.subject(format_args!("report.subjects[{i}]"), subject);
        }
    }

    fn subject(&mut self, path: impl Display + Copy, subject: &Subject) {
        let field = format_args!("{path}.value");
        let value = subject.value.as_str();
        self.at_most(field, value, SUBJECT_VALUE);
        self.at_most(format_args!("{path}.platform"), &subject.platform, SHORT_TEXT);
        if value.trim().is_empty() {
            return self.add(field, "is missing");
        }
        let kind = SubjectKind::try_from(subject.kind).unwrap_or_default();
        if kind == SubjectKind::Unspecified {
            self.add(format_args!("{path}.kind"), "is missing or unknown");
        }
        self.none(
            field,
            subject::fault(kind, value).or_else(|| subject::control_fault(value)),
        );
        self.none(
            format_args!("{path}.platform"),
            subject::control_fault(&subject.platform),
        );
        if subject.port != 0 {
            let field = format_args!("{path}.port");
            if kind != SubjectKind::IpAddress {
                self.add(field, "belongs to an IP address; omit it");
            } else if !(1..=65_535).contains(&subject.port) {
                self.add(field, "must be 1 to 65535");
            }
        }
        self.time(
            format_args!("{path}.observe_time"),
            subject.observe_time.as_ref().map(Time::from_proto),
        );
    }

    /// Notes what a check found wrong, if anything.
    fn none(&mut self, field: impl Display + Copy, fault: Option<&str>) {
        if let Some(fault) = fault {
            self.add(field, fault);
        }
    }

    fn places(&mut self, places: &[Place], known: &Known) {
        let mut factors = BTreeSet::new();
        if places.len() > PLACES {
            self.add("report.places", format!("has {}, more than {PLACES}", places.len()));
        }
        for (i, place) in places.iter().take(PLACES).enumerate() {
            let path = format_args!("report.places[{i}]");
            match ConnectingFactor::try_from(place.factor) {
                Ok(ConnectingFactor::Unspecified | ConnectingFactor::Received | ConnectingFactor::ComplainedOf)
                | Err(_) => {
                    self.add(format_args!("{path}.factor"), "is missing or unknown");
                }
                Ok(_) if !factors.insert(place.factor) => {
                    self.add(format_args!("{path}.factor"), "occurs twice; give one place per factor");
                }
                Ok(_) => {}
            }
            match &place.location {
                None => self.add(path, "needs a `territory` or a `region_code`"),
                Some(Location::Territory(name)) => {
                    self.ok(
                        format_args!("{path}.territory"),
                        known.territory(name).then_some(()),
                        "is not a known territory; they are named like `territories/320200`, and places outside the tree go into `region_code`",
                    );
                }
                Some(Location::RegionCode(code)) => {
                    let country = code.parse::<Country>().ok();
                    self.ok(
                        format_args!("{path}.region_code"),
                        country,
                        "is not an ISO 3166-1 alpha-2 code outside the tree, such as `US`",
                    );
                }
            }
        }
    }

    fn loss(&mut self, report: &Report) {
        let Some(loss) = &report.loss else { return };
        let currency = iso_currency::Currency::from_code(&loss.currency_code);
        self.ok(
            "report.loss.currency_code",
            currency,
            "is not an ISO 4217 code, such as `CNY`",
        );
        if !(1..=LARGEST_LOSS).contains(&loss.minor_units) {
            self.add(
                "report.loss.minor_units",
                format!("must be 1 to {LARGEST_LOSS} minor units, such as 100 for one yuan"),
            );
        }
        self.time("report.loss.occur_time", loss.occur_time.as_ref().map(Time::from_proto));
    }

    fn time(&mut self, field: impl Display + Copy, time: Option<Option<Time>>) {
        match time {
            None => {}
            Some(None) => self.add(field, "is out of range"),
            Some(Some(time)) => self.past(field, time),
        }
    }

    fn past(&mut self, field: impl Display + Copy, time: Time) {
        if time > self.now.plus_seconds(CLOCK_SKEW_SECONDS) {
            self.add(field, format!("is in the future: it is {} now", self.now));
        }
    }

    fn reporter(&mut self, report: &Report) {
        if VictimKind::try_from(report.victim_kind).is_err() {
            self.add("report.victim_kind", "is unknown");
        }
        if report.language_code.len() > 35
            || !report
                .language_code
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-')
        {
            self.add("report.language_code", "must be a BCP 47 tag, such as `zh-CN`");
        }
        let Some(reporter) = &report.reporter else { return };
        if ReporterRelation::try_from(reporter.relation).is_err() {
            self.add("report.reporter.relation", "is unknown");
        }
        self.at_most("report.reporter.display_name", &reporter.display_name, SHORT_TEXT);
        self.at_most("report.reporter.contact", &reporter.contact, SHORT_TEXT);
    }

    fn narrative(&mut self, narrative: &str, category: Option<&Category>) {
        self.at_most("report.narrative", narrative, NARRATIVE);
        if let Some(category) = category
            && category.narrative == Need::Required
            && narrative.trim().is_empty()
        {
            self.add(
                "report.narrative",
                format!("is missing, but `{}` needs one", category.id),
            );
        }
    }

    /// The sender's own id, which is brought into the form in which ids are compared.
    fn external_id(&mut self, field: &str, id: &mut String) {
        // A longer one is refused for its length, and not read.
        if id.len() <= 4 * 4 * EXTERNAL_ID {
            let canonical = reference(id);
            if canonical.is_empty() && !id.is_empty() {
                self.add(field, "is blank; omit it");
            }
            *id = canonical;
        }
        self.at_most(field, id, EXTERNAL_ID);
    }

    fn details(&mut self, report: &Report, category: &Category) {
        for detail in category.details.iter().filter(|detail| detail.required) {
            if report
                .details
                .get(&detail.path)
                .is_none_or(|value| value.trim().is_empty())
            {
                let mut description = format!("is missing, but `{}` needs it: {}", category.id, detail.title.en);
                if detail.kind == DetailKind::Choice {
                    description = format!("{description}; one of: {}", detail.choices.join(", "));
                }
                self.add(format_args!("report.details[{}]", detail.path), description);
            }
        }
        if report.details.len() > DETAILS {
            return self.add(
                "report.details",
                format!("has {}, more than {DETAILS}", report.details.len()),
            );
        }
        for (path, value) in &report.details {
            let field = format_args!("report.details[{path}]");
            match category.details.iter().find(|detail| detail.path == *path) {
                None => self.add(field, format!("is not a detail of `{}`", category.id)),
                Some(detail) if value.trim().is_empty() => {
                    // A missing required detail is already reported.
                    if !detail.required {
                        self.add(field, "is blank; omit it");
                    }
                }
                Some(detail) => self.detail(field, value, detail),
            }
        }
    }

    fn detail(&mut self, field: impl Display + Copy, value: &str, detail: &Detail) {
        self.at_most(field, value, DETAIL_VALUE);
        match detail.kind {
            DetailKind::Text => {}
            DetailKind::Url => self.none(field, subject::url_fault(value)),
            DetailKind::Phone => self.none(field, subject::phone_fault(value)),
            DetailKind::Account => self.none(field, subject::account_fault(value)),
            DetailKind::Timestamp => match value.parse::<jiff::Timestamp>() {
                Ok(_) if detail.future => {}
                Ok(time) => self.past(field, Time(time.as_microsecond())),
                Err(_) => self.add(
                    field,
                    "must be a time with its zone (RFC 3339), such as `2026-11-01T10:00:00+08:00`",
                ),
            },
            DetailKind::Integer => {
                self.ok(field, value.parse::<i64>().ok(), "must be an integer, such as `12`");
            }
            DetailKind::Choice => {
                if !detail.choices.iter().any(|choice| choice == value) {
                    self.add(field, format!("must be one of: {}", detail.choices.join(", ")));
                }
            }
        }
    }

    /// The name of an agency. Unknown agencies are refused: silently, they would exclude nobody.
    fn agency(&mut self, field: impl Display + Copy, name: &str, known: &Known) -> Option<String> {
        self.ok(
            field,
            known.agency(name).map(|id| Collection::AGENCIES.of(id)),
            "is not an agency of the directory; they are named like `agencies/police-130400`",
        )
    }
}

/// The external id that a list is asked for, in the form in which ids are compared; `None` for
/// none.
pub(crate) fn wanted_external_id(field: &str, id: &str, violations: &mut Violations) -> Option<String> {
    let mut faults = Faults {
        violations: std::mem::take(violations),
        now: Time(0),
    };
    let mut id = id.to_owned();
    faults.external_id(field, &mut id);
    *violations = faults.violations;
    (!id.is_empty()).then_some(id)
}

/// The ids of evidence that a request names in a field, in its order. Whether the sender has it is
/// seen when it is attached.
pub(crate) fn evidence(
    field: &str,
    wanted: &[String],
    category: Option<&Category>,
    violations: &mut Violations,
) -> Vec<Uuid> {
    if wanted.len() > evidence::PER_REPORT {
        violations.add(
            field,
            format!("names {} files, more than {}", wanted.len(), evidence::PER_REPORT),
        );
    }
    if let Some(category) = category.filter(|_| !wanted.is_empty())
        && let Some(refusal) = evidence::forbid::refusal(field, category)
    {
        // Said whole, as the law's words are not the caller's.
        violations.add_whole(refusal);
    }
    let mut ids = Vec::with_capacity(wanted.len().min(evidence::PER_REPORT));
    for (i, name) in wanted.iter().take(evidence::PER_REPORT).enumerate() {
        let field = format!("{field}[{i}]");
        match violations.name(&field, names::EVIDENCE, name) {
            Some(id) if ids.contains(&id) => violations.add(&field, "stands twice"),
            Some(id) => ids.push(id),
            None => {}
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_looked_up_if_the_report_gives_the_operators_place() {
        let subject = Subject {
            kind: SubjectKind::Domain.into(),
            value: "shop.example.cn".to_owned(),
            ..Subject::default()
        };
        let mut report = Report {
            subjects: vec![subject],
            places: vec![Place {
                factor: ConnectingFactor::Server.into(),
                location: None,
            }],
            ..Report::default()
        };
        assert_eq!(operator_subjects(&report).len(), 1);
        report.places[0].factor = ConnectingFactor::Operator.into();
        assert_eq!(operator_subjects(&report), vec![]);
    }

    #[test]
    fn reports_have_keys_in_common_by_subject_and_family() {
        let categories = Categories::shipped().unwrap();
        let subject = |kind: SubjectKind, value: &str| Subject {
            kind: kind.into(),
            value: value.to_owned(),
            ..Subject::default()
        };
        let keys = |category: &str, subjects: Vec<Subject>| {
            let report = Report {
                subjects,
                ..Report::default()
            };
            subject_keys(&report, categories.get(category).unwrap())
        };
        let (shop, phone) = (
            || subject(SubjectKind::Domain, "shop.example"),
            || subject(SubjectKind::Phone, "+8613800000000"),
        );
        let both = keys("fraud.investment", vec![shop(), phone(), shop()]);
        assert_eq!(both.len(), 2);
        assert!(keys("fraud.shopping", vec![shop()]).is_subset(&both));
        assert!(keys("gambling", vec![shop()]).is_disjoint(&both));
        // One that can be compared with no other: nobody knows whether all of it is the same.
        let address = subject(SubjectKind::IpAddress, "203.0.113.7");
        assert!(keys("fraud.investment", vec![shop(), address]).is_empty());
    }
}
