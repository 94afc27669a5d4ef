//! No name in the contract is a word that a language of our users reserves: generators either break
//! or rename it.

use std::collections::BTreeSet;

use crate::rules::{Faults, enums, messages, services};

/// Reserved in Python, Go, Java, C#, Rust, TypeScript, Swift or Kotlin, contextual words left out
/// where they may name a member.
const RESERVED: &str = "
    False None True and as assert async await break class continue def del elif else except finally for from global if import in is
    lambda nonlocal not or pass raise return try while with yield match case type
    chan const default defer fallthrough func go goto interface map package range select struct switch var
    abstract boolean byte catch char double enum extends final float implements instanceof int long native new null private protected
    public short static strictfp super synchronized this throw throws transient void volatile true false
    base bool checked decimal delegate event explicit extern fixed foreach implicit internal lock namespace object operator out
    override params readonly ref sbyte sealed sizeof stackalloc string struct uint ulong unchecked unsafe ushort using virtual
    crate dyn fn impl let loop mod move mut pub self trait unsized use where become box do macro priv typeof abstract gen union
    any arguments constructor debugger declare delete eval export function module never number require symbol undefined unknown
    associatedtype deinit extension fileprivate guard init inout open protocol repeat rethrows subscript typealias
    fun object val when
";

#[test]
fn no_name_is_reserved_in_a_language_of_our_users() {
    let reserved: BTreeSet<&str> = RESERVED.split_whitespace().collect();
    let mut faults = Faults::of("word");
    let mut hold = |place: &str, name: &str| {
        if reserved.contains(name) {
            faults.add(place, format!("`{name}` is reserved"));
        }
    };
    for message in messages() {
        for field in message.fields() {
            hold(field.full_name(), field.name());
            hold(field.full_name(), field.json_name());
        }
        for oneof in message.oneofs() {
            hold(oneof.full_name(), oneof.name());
        }
    }
    for service in services() {
        for method in service.methods() {
            hold(method.full_name(), &lower_first(method.name()));
            hold(method.full_name(), method.name());
        }
    }
    for kind in enums() {
        hold(kind.full_name(), kind.name());
        for value in kind.values() {
            hold(value.full_name(), value.name());
        }
    }
    faults.none();
}

fn lower_first(name: &str) -> String {
    let mut rest = name.chars();
    rest.next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(rest)
        .collect()
}
