//! One test per rule. Each names every place that breaks it, not the first one.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor, Value,
};

/// Names of services that only Remit's own services call.
const INBOUND: &str = "InboundService";

/// What was found to break a rule, to be shown whole.
pub(crate) struct Faults {
    rule: &'static str,
    found: Vec<(String, String)>,
}

impl Faults {
    pub(crate) fn of(rule: &'static str) -> Self {
        let found = Vec::new();
        Self { rule, found }
    }

    pub(crate) fn add(&mut self, place: &str, fault: impl Into<String>) {
        self.found.push((place.to_owned(), fault.into()));
    }

    pub(crate) fn none(self) {
        let found: Vec<_> = self
            .found
            .iter()
            .map(|(place, fault)| format!("{} {place}: {fault}", self.rule))
            .collect();
        assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
    }
}

pub(crate) fn files() -> impl Iterator<Item = FileDescriptor> {
    api::POOL
        .files()
        .filter(|file| file.package_name().starts_with("remit."))
}

pub(crate) fn messages() -> impl Iterator<Item = MessageDescriptor> {
    let ours = |message: &MessageDescriptor| message.package_name().starts_with("remit.") && !message.is_map_entry();
    api::POOL.all_messages().filter(ours)
}

pub(crate) fn enums() -> impl Iterator<Item = EnumDescriptor> {
    api::POOL
        .all_enums()
        .filter(|kind| kind.package_name().starts_with("remit."))
}

pub(crate) fn services() -> impl Iterator<Item = ServiceDescriptor> {
    api::POOL
        .services()
        .filter(|service| service.package_name().starts_with("remit."))
}

fn methods() -> impl Iterator<Item = MethodDescriptor> {
    services().flat_map(|service| service.methods().collect::<Vec<_>>())
}

/// An option of one of Google's annotations.
fn annotation(options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = api::POOL.get_extension_by_name(name)?;
    options
        .has_extension(&extension)
        .then(|| options.get_extension(&extension).into_owned())
}

fn behaviours(field: &FieldDescriptor) -> BTreeSet<String> {
    let Some(Value::List(values)) = annotation(&field.options(), "google.api.field_behavior") else {
        return BTreeSet::new();
    };
    let kinds = api::POOL
        .get_enum_by_name("google.api.FieldBehavior")
        .expect("vendored");
    values
        .iter()
        .filter_map(|value| kinds.get_value(value.as_enum_number()?))
        .map(|value| value.name().to_owned())
        .collect()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn reference(field: &FieldDescriptor) -> Option<String> {
    let value = annotation(&field.options(), "google.api.resource_reference")?;
    Some(text(value.as_message()?, "type"))
}

/// Resource types, each with its patterns: those of messages and those that stand in a file alone.
fn resources() -> BTreeMap<String, Vec<String>> {
    let read = |value: &Value| {
        let resource = value.as_message()?;
        let patterns = resource.get_field_by_name("pattern")?;
        let patterns = patterns.as_list()?.iter().filter_map(Value::as_str).map(str::to_owned);
        Some((text(resource, "type"), patterns.collect()))
    };
    let of_messages = messages().filter_map(|message| read(&annotation(&message.options(), "google.api.resource")?));
    let of_files = files().flat_map(
        |file| match annotation(&file.options(), "google.api.resource_definition") {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        },
    );
    of_messages.chain(of_files.filter_map(|value| read(&value))).collect()
}

fn is_resource(message: &MessageDescriptor) -> bool {
    annotation(&message.options(), "google.api.resource").is_some()
}

/// Everything that a caller may send, and every resource.
fn requests_and_resources() -> Vec<MessageDescriptor> {
    let mut seen = BTreeMap::new();
    let mut next: Vec<_> = methods()
        .map(|method| method.input())
        .chain(messages().filter(is_resource))
        .collect();
    while let Some(message) = next.pop() {
        if !message.package_name().starts_with("remit.") || seen.contains_key(message.full_name()) {
            continue;
        }
        for field in message.fields() {
            if let (Kind::Message(part), false) = (field.kind(), behaviours(&field).contains("OUTPUT_ONLY")) {
                next.push(part);
            }
        }
        seen.insert(message.full_name().to_owned(), message);
    }
    seen.into_values().filter(|message| !message.is_map_entry()).collect()
}

/// The comment that stands above an element.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let source = file
        .file_descriptor_proto()
        .source_code_info
        .as_ref()
        .expect("comments are kept");
    source
        .location
        .iter()
        .find(|location| location.path == path)
        .map(|location| location.leading_comments().trim().to_owned())
        .unwrap_or_default()
}

#[test]
fn every_field_of_requests_and_resources_says_how_it_behaves() {
    let mut faults = Faults::of("behaviour");
    for field in requests_and_resources().iter().flat_map(MessageDescriptor::fields) {
        if behaviours(&field).is_empty() {
            faults.add(field.full_name(), "has no `google.api.field_behavior`");
        }
    }
    faults.none();
}

#[test]
fn a_resource_is_known_by_its_name() {
    let mut faults = Faults::of("identifier");
    for message in messages().filter(is_resource) {
        match message.get_field_by_name("name") {
            Some(name) if behaviours(&name).contains("IDENTIFIER") && name.number() == 1 => {}
            _ => faults.add(message.full_name(), "has no first field `name` that is its IDENTIFIER"),
        }
    }
    faults.none();
}

#[test]
fn patterns_alternate_between_collections_and_ids() {
    let mut faults = Faults::of("pattern");
    let domain = "remit.internal/";
    for (kind, patterns) in resources() {
        if !kind.starts_with(domain) || patterns.is_empty() {
            faults.add(&kind, format!("is not under `{domain}`, or has no pattern"));
        }
        for pattern in patterns {
            let segments: Vec<_> = pattern.split('/').collect();
            let is_id = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
            let alternates = segments
                .iter()
                .enumerate()
                .all(|(i, segment)| is_id(segment) == (i % 2 == 1));
            if !alternates || segments.len() % 2 == 1 {
                faults.add(
                    &kind,
                    format!("`{pattern}` does not alternate between collection and id"),
                );
            }
        }
    }
    faults.none();
}

#[test]
fn every_reference_says_to_what() {
    let mut faults = Faults::of("reference");
    let known = resources();
    for message in messages() {
        for field in message
            .fields()
            .filter(|field| field.kind() == Kind::String && !field.is_map())
        {
            let says = comment(&message.parent_file(), field.path()).to_lowercase();
            let is_identifier = behaviours(&field).contains("IDENTIFIER");
            match reference(&field) {
                None if says.starts_with("resource name") && !is_identifier => {
                    faults.add(
                        field.full_name(),
                        "is a resource name without `google.api.resource_reference`",
                    );
                }
                Some(kind) if kind != "*" && !known.contains_key(&kind) => {
                    faults.add(
                        field.full_name(),
                        format!("refers to `{kind}`, which is nowhere defined"),
                    );
                }
                Some(_) if !says.starts_with("resource name") => {
                    faults.add(
                        field.full_name(),
                        "refers to a resource; its comment must begin with `Resource name`",
                    );
                }
                _ => {}
            }
        }
    }
    faults.none();
}

/// How comments begin of fields that hold an id, which is no name of a resource: events are not
/// resources, and a table or a row names itself.
const OTHER_IDS: &[&str] = &["id of the event", "id of the calendar"];

#[test]
fn references_are_names_and_never_ids() {
    let mut faults = Faults::of("id");
    for field in messages().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        let says = comment(&field.parent_message().parent_file(), field.path()).to_lowercase();
        let is_id = says.starts_with("id of") || says.starts_with("ids of");
        if is_id && !OTHER_IDS.iter().any(|other| says.starts_with(other)) {
            faults.add(field.full_name(), "holds ids; a reference is a resource name");
        }
    }
    faults.none();
}

#[test]
fn unspecified_means_nothing() {
    let mut faults = Faults::of("unspecified");
    for kind in enums() {
        let zero = kind.get_value(0).expect("proto3");
        if !zero.name().ends_with("_UNSPECIFIED") {
            faults.add(kind.full_name(), "has a zero that is not UNSPECIFIED");
        }
        if comment(&kind.parent_file(), zero.path()) != "Not set." {
            faults.add(zero.full_name(), "must say `Not set.`: it has no meaning of its own");
        }
    }
    faults.none();
}

/// Integers that count nothing, by the last word of their name.
const NOT_COUNTS: &[&str] = &[
    "bytes",
    "size",
    "index",
    "sequence",
    "version",
    "generation",
    "priority",
    "port",
    "line",
    "units",
    "seconds",
    "value",
    "number",
];

#[test]
fn names_of_fields_tell_their_kind() {
    let mut faults = Faults::of("name");
    for field in messages().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        let name = field.name();
        let last = name.rsplit('_').next().unwrap_or_default();
        match field.kind() {
            Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" && last != "time" => {
                faults.add(field.full_name(), "is a time; end its name with `_time`");
            }
            Kind::Message(of) if of.full_name() == "google.type.Date" && last != "date" => {
                faults.add(field.full_name(), "is a day; end its name with `_date`");
            }
            Kind::Int32 | Kind::Int64 if last != "count" && !NOT_COUNTS.contains(&last) => {
                faults.add(
                    field.full_name(),
                    "is a number; end its name with `_count` or with what it measures",
                );
            }
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 | Kind::Sint32 | Kind::Sint64 => {
                faults.add(
                    field.full_name(),
                    "is of a kind that some languages lack; use int32 or int64",
                );
            }
            Kind::String if ["currency", "country", "region", "language"].contains(&last) => {
                faults.add(field.full_name(), "is a code; end its name with `_code`");
            }
            Kind::String if ["zh", "en"].contains(&last) => {
                faults.add(
                    field.full_name(),
                    "is a text in one language; use `google.type.LocalizedText`",
                );
            }
            Kind::String if ["day", "date"].contains(&last) || name == "valid_from" || name == "valid_to" => {
                faults.add(field.full_name(), "is a day; use `google.type.Date`");
            }
            Kind::Bool if name.starts_with("is_") => faults.add(field.full_name(), "begins with `is_`"),
            _ => {}
        }
    }
    faults.none();
}

#[test]
fn everything_has_a_comment() {
    let mut faults = Faults::of("comment");
    let mut hold = |file: &FileDescriptor, place: &str, path: &[i32]| {
        if comment(file, path).is_empty() {
            faults.add(place, "has no comment");
        }
    };
    for message in messages() {
        let file = message.parent_file();
        hold(&file, message.full_name(), message.path());
        message
            .fields()
            .for_each(|field| hold(&file, field.full_name(), field.path()));
    }
    for kind in enums() {
        let file = kind.parent_file();
        hold(&file, kind.full_name(), kind.path());
        kind.values()
            .for_each(|value| hold(&file, value.full_name(), value.path()));
    }
    for service in services() {
        let file = service.parent_file();
        hold(&file, service.full_name(), service.path());
        service
            .methods()
            .for_each(|method| hold(&file, method.full_name(), method.path()));
    }
    faults.none();
}

#[test]
fn every_file_has_its_options_for_other_languages() {
    let mut faults = Faults::of("option");
    for file in files() {
        let options = file.file_descriptor_proto().options.clone().unwrap_or_default();
        let missing = [
            ("go_package", options.go_package.is_none()),
            ("java_package", options.java_package.is_none()),
            ("java_multiple_files", options.java_multiple_files != Some(true)),
            ("java_outer_classname", options.java_outer_classname.is_none()),
            ("csharp_namespace", options.csharp_namespace.is_none()),
        ];
        for (option, _) in missing.iter().filter(|(_, missing)| *missing) {
            faults.add(file.name(), format!("has no option `{option}`"));
        }
    }
    faults.none();
}

/// How the names of calls begin that change nothing.
const READS: &[&str] = &[
    "Get", "List", "Count", "Watch", "Check", "Explain", "Lookup", "Locate", "Replay", "Download",
];

/// Calls that change something and need no request id, each with the reason.
const WITHOUT_REQUEST_ID: &[&str] = &[
    // Changes no record, and a repeat confirms the same.
    "remit.intake.v1.IntakeService.ConfirmReports",
    // A repeat does what is left, and nothing twice.
    "remit.routing.v1.CaseService.MoveCases",
    // Ended twice, it is told when it was.
    "remit.routing.v1.CaseService.EndDeputy",
    // Changes no record: that a simulation was finished is kept under what it was of.
    "remit.routing.v1.RuleSetService.SimulateRuleSet",
];

/// Every name of a field that the message or a part of it has.
fn field_names(message: &MessageDescriptor) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for field in message.fields() {
        names.insert(field.name().to_owned());
        if let Kind::Message(part) = field.kind()
            && field.containing_oneof().is_some()
        {
            names.extend(part.fields().map(|field| field.name().to_owned()));
        }
    }
    names
}

#[test]
fn every_call_that_changes_something_takes_a_request_id() {
    let mut faults = Faults::of("request_id");
    for method in methods() {
        let reads = READS.iter().any(|begin| method.name().starts_with(begin));
        let exempt =
            method.parent_service().name().ends_with(INBOUND) || WITHOUT_REQUEST_ID.contains(&method.full_name());
        // Each request of a batch or of a stream has its own.
        let batched = method.input().get_field_by_name("requests").map(|field| field.kind());
        let asked = match (method.name().starts_with("Batch"), batched) {
            (true, Some(Kind::Message(request))) => request,
            _ => streamed(&method).unwrap_or_else(|| method.input()),
        };
        if !reads && !exempt && !field_names(&asked).contains("request_id") {
            faults.add(method.full_name(), "changes something and takes no `request_id`");
        }
    }
    faults.none();
}

/// The request of which a method takes a stream: its messages have it as `request`, and nothing
/// else.
fn streamed(method: &MethodDescriptor) -> Option<MessageDescriptor> {
    let fields: Vec<_> = method.input().fields().collect();
    match (method.is_client_streaming(), fields.as_slice()) {
        (true, [field]) if field.name() == "request" => match field.kind() {
            Kind::Message(request) if request.name().ends_with("Request") => Some(request),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn all_uploads_have_one_shape() {
    let mut faults = Faults::of("upload");
    let of_callers = |method: &MethodDescriptor| !method.parent_service().name().ends_with(INBOUND);
    for method in methods()
        .filter(MethodDescriptor::is_client_streaming)
        .filter(of_callers)
        .filter(|method| streamed(method).is_none())
    {
        let request = method.input();
        let fields: Vec<_> = request.fields().collect();
        let [spec, data] = &fields[..] else {
            faults.add(request.full_name(), "has other fields than `spec` and `data`");
            continue;
        };
        let in_part = |field: &FieldDescriptor| field.containing_oneof().is_some_and(|oneof| oneof.name() == "part");
        if !(spec.name() == "spec" && data.name() == "data" && data.kind() == Kind::Bytes && fields.iter().all(in_part))
        {
            faults.add(request.full_name(), "is not a oneof `part` of `spec` and bytes `data`");
        }
        let Kind::Message(spec) = spec.kind() else { continue };
        let has_size = spec.fields().any(|field| field.name().ends_with("size_bytes"));
        if !has_size || spec.get_field_by_name("request_id").is_none() {
            faults.add(spec.full_name(), "does not announce a size and a request id");
        }
    }
    faults.none();
}

#[test]
fn every_list_has_pages() {
    let mut faults = Faults::of("pages");
    for method in methods().filter(|method| method.name().starts_with("List")) {
        let asked = field_names(&method.input());
        if !asked.contains("page_size") || !asked.contains("page_token") {
            faults.add(method.input().full_name(), "has no `page_size` and `page_token`");
        }
        if !field_names(&method.output()).contains("next_page_token") {
            faults.add(method.output().full_name(), "has no `next_page_token`");
        }
    }
    faults.none();
}

#[test]
fn what_only_remits_own_services_call_stands_apart() {
    let mut faults = Faults::of("inbound");
    for method in methods() {
        let says = comment(&method.parent_service().parent_file(), method.path());
        let inbound = method.parent_service().name().ends_with(INBOUND);
        let internal = ["For intake only", "For routing only", "For intake and routing only"];
        if !inbound && internal.iter().any(|words| says.contains(words)) {
            faults.add(
                method.full_name(),
                format!("is not for partners; it belongs to an `{INBOUND}`"),
            );
        }
    }
    faults.none();
}
