//! What Go needs of the contract, and no other generator notices: its names are made of several of
//! ours, and all of a package share one scope. The rules are those of `protoc-gen-go` and
//! `protoc-gen-go-grpc`.

use std::collections::BTreeMap;

use prost_reflect::{FileDescriptor, MessageDescriptor};

use crate::rules::{Faults, enums, files, messages, services};

/// Methods that every generated message has.
const METHODS: &[&str] = &[
    "Reset",
    "String",
    "ProtoMessage",
    "ProtoReflect",
    "Marshal",
    "Unmarshal",
    "Descriptor",
    "ExtensionRangeArray",
    "ExtensionMap",
];

/// `first_seen_time` as Go spells it: an underscore goes where a lower-case letter follows, which
/// becomes a capital.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut capital = true;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '_' if out.is_empty() => out.push('X'),
            '_' if letters.peek().is_some_and(char::is_ascii_lowercase) => capital = true,
            _ if capital => {
                out.push(letter.to_ascii_uppercase());
                capital = false;
            }
            _ => out.push(letter),
        }
    }
    out
}

/// A message's name in its package: those that it stands in come first.
fn type_name(message: &MessageDescriptor) -> String {
    match message.parent_message() {
        Some(outer) => format!("{}_{}", type_name(&outer), camel(message.name())),
        None => camel(message.name()),
    }
}

fn go_package(file: &FileDescriptor) -> String {
    let options = file.file_descriptor_proto().options.clone().unwrap_or_default();
    options.go_package.unwrap_or_default()
}

#[test]
fn names_are_spelt_as_go_spells_them() {
    for (name, expected) in [
        ("first_seen_time", "FirstSeenTime"),
        ("sha256", "Sha256"),
        ("_a", "XA"),
        ("a_1", "A_1"),
        ("evidence", "Evidence"),
    ] {
        assert_eq!(camel(name), expected);
    }
}

#[test]
fn a_package_has_one_path_and_one_name_everywhere() {
    let mut faults = Faults::of("go package");
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for file in files() {
        let go = go_package(&file);
        if !go.contains(';') {
            faults.add(file.name(), "has no `go_package` of a path and a name");
        }
        let first = known
            .entry(file.package_name().to_owned())
            .or_insert_with(|| go.clone());
        if *first != go {
            faults.add(
                file.name(),
                format!("is in `{go}`, others of its package are in `{first}`"),
            );
        }
    }
    faults.none();
}

#[test]
fn no_message_has_two_members_of_one_name() {
    let mut faults = Faults::of("go member");
    for message in messages() {
        let mut members: BTreeMap<String, String> = BTreeMap::new();
        let reserved = METHODS
            .iter()
            .map(|method| ((*method).to_owned(), "a method of every message".to_owned()));
        members.extend(reserved);
        let fields = message.fields().map(|field| field.name().to_owned());
        let oneofs = message.oneofs().map(|oneof| oneof.name().to_owned());
        for name in fields.chain(oneofs) {
            let go = camel(&name);
            for member in [format!("Get{go}"), go] {
                if let Some(other) = members.insert(member.clone(), name.clone()) {
                    faults.add(
                        message.full_name(),
                        format!("`{name}` and `{other}` are both `{member}`"),
                    );
                }
            }
        }
    }
    faults.none();
}

#[test]
fn no_package_has_two_things_of_one_name() {
    let mut faults = Faults::of("go name");
    let mut known: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut hold = |file: &FileDescriptor, go: String, what: &str| {
        let key = (go_package(file), go.clone());
        if let Some(other) = known.insert(key, what.to_owned()) {
            faults.add(what, format!("and `{other}` are both `{go}`"));
        }
    };
    for message in messages() {
        let (file, name) = (message.parent_file(), type_name(&message));
        hold(&file, name.clone(), message.full_name());
        for oneof in message.oneofs() {
            for field in oneof.fields() {
                let wrapper = format!("{name}_{}", camel(field.name()));
                hold(&file, wrapper, field.full_name());
            }
        }
    }
    for kind in enums() {
        let file = kind.parent_file();
        let outer = kind.parent_message().map(|outer| type_name(&outer));
        let name = match &outer {
            Some(outer) => format!("{outer}_{}", camel(kind.name())),
            None => camel(kind.name()),
        };
        for made in ["", "_name", "_value"] {
            hold(&file, format!("{name}{made}"), kind.full_name());
        }
        for value in kind.values() {
            let prefix = outer.as_ref().unwrap_or(&name);
            hold(&file, format!("{prefix}_{}", value.name()), value.full_name());
        }
    }
    for service in services() {
        let (file, name) = (service.parent_file(), camel(service.name()));
        let made = [
            format!("{name}Client"),
            format!("{name}Server"),
            format!("New{name}Client"),
            format!("Register{name}Server"),
            format!("Unimplemented{name}Server"),
            format!("Unsafe{name}Server"),
            format!("{name}_ServiceDesc"),
        ];
        let methods = service.methods();
        let methods = methods.map(|method| format!("{name}_{}_FullMethodName", camel(method.name())));
        for go in made.into_iter().chain(methods) {
            hold(&file, go, service.full_name());
        }
    }
    faults.none();
}
