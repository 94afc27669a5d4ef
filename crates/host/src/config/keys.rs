//! Configuration keys: names, environment variables, setting one, and finding invalid ones.

use std::{ffi::OsString, fmt};

use anyhow::{anyhow, bail};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::Spanned;

pub use handwritten::nearest;

use super::{Config, Override};
use crate::Unusable;

/// The environment variable for a key.
pub fn variable(key: &str) -> String {
    format!("REMIT_{}", key.replace('.', "_").to_uppercase())
}

/// All keys, sorted by name.
pub fn keys() -> Vec<String> {
    fn collect(value: &Value, path: &str, keys: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    collect(value, &path, keys);
                }
            }
            _ => keys.push(path.to_owned()),
        }
    }
    let mut keys = Vec::new();
    collect(
        &serde_json::to_value(Config::default()).unwrap_or_default(),
        "",
        &mut keys,
    );
    keys
}

/// The environment variables of this process that are UTF-8; [`check_environment`] refuses others
/// of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Keys whose empty value has a meaning.
const MAY_BE_EMPTY: [&str; 1] = ["telemetry.endpoint"];

/// Refuses variables with our prefix that nothing reads, or that cannot be read: a misspelt one
/// must not be passed over. `commands` are the variables that command lines read.
///
/// # Errors
///
/// [`Unusable`] with every such variable, and what was probably meant.
pub fn check_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    commands: &[String],
) -> Result<(), Unusable> {
    let keys = keys();
    let known: Vec<String> = keys
        .iter()
        .map(|key| variable(key))
        .chain(commands.iter().cloned())
        .collect();
    let mut faults = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("REMIT_")) else {
            continue;
        };
        if is_orchestrators(name, &value.to_string_lossy()) {
            continue;
        }
        let may_be_empty = || MAY_BE_EMPTY.iter().any(|key| variable(key) == name);
        if !known.iter().any(|known| known == name) {
            let meant = nearest(name, known.iter().map(String::as_str));
            let meant = meant
                .map(|meant| format!("; did you mean {meant}?"))
                .unwrap_or_default();
            faults.push(format!("nothing reads the environment variable {name}{meant}"));
        } else if value.to_str().is_none() {
            faults.push(format!("the environment variable {name} is not UTF-8"));
        } else if value.is_empty() && !may_be_empty() {
            faults.push(format!(
                "the environment variable {name} is empty; unset it, or give it a value"
            ));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Unusable(faults.join("\n  "))),
    }
}

/// Whether Kubernetes made the variable, as it does for each service of a namespace: for a service
/// `remit-intake`, REMIT_INTAKE_SERVICE_HOST, REMIT_INTAKE_PORT_7301_TCP_ADDR and so on.
fn is_orchestrators(name: &str, value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_url = value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://");
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    // `_PORT_7301_TCP`, `_PORT_7301_TCP_PROTO`
    let Some((_, port)) = name.split_once("_PORT_") else {
        return false;
    };
    let mut parts = port.split('_');
    parts.next().is_some_and(is_number)
        && parts
            .next()
            .is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
        && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
        && parts.next().is_none()
}

/// That a key does not exist, and what was probably meant.
fn no_such_key(key: &str, keys: &[String]) -> String {
    match nearest(key, keys.iter().map(String::as_str)) {
        Some(meant) => format!("does not exist; did you mean `{meant}`?"),
        None => "does not exist; `remit config show` lists all keys".to_owned(),
    }
}

/// The overrides from the environment.
pub(super) fn from_environment(environment: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let keys = keys();
    environment
        .into_iter()
        .filter_map(|(name, value)| {
            let key = keys.iter().find(|key| variable(key) == name)?.clone();
            Some(Override {
                key,
                value,
                origin: format!("environment variable {name}"),
            })
        })
        .collect()
}

/// Parses a value: as a number or a boolean if possible, otherwise as text.
pub(super) fn scalar(text: &str) -> [Value; 2] {
    let read = serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| !value.is_object() && !value.is_array());
    [read.unwrap_or(Value::Null), Value::String(text.to_owned())]
}

/// Sets a key to the last of the values that is valid. The error names the key.
pub(super) fn put<const N: usize>(config: &Config, key: &str, values: [Value; N]) -> anyhow::Result<Config> {
    let whole = serde_json::to_value(config)?;
    let pointer = format!("/{}", key.replace('.', "/"));
    let keys = keys();
    if !keys.iter().any(|known| known == key) {
        bail!("the key `{key}` {}", no_such_key(key, &keys));
    }
    let mut fitting = Err(anyhow!("`{key}`: no value"));
    for value in values {
        let mut candidate = whole.clone();
        let Some(slot) = candidate.pointer_mut(&pointer) else {
            continue;
        };
        let empty = value.is_null();
        *slot = value;
        match serde_json::from_value(candidate) {
            // Nothing was parsed: the text itself comes next.
            Ok(_) if empty => {}
            Ok(config) => fitting = Ok(config),
            Err(error) if fitting.is_err() => fitting = Err(anyhow!("`{key}`: {error}")),
            Err(_) => {}
        }
    }
    fitting
}

/// What a file says, with the line of each key.
enum Node {
    Section(Vec<(String, u64, Self)>),
    Value(Value),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not derived: an untagged enum forgets the lines.
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section or a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            fields.push((key.value, key.referenced.line(), map.next_value()?));
        }
        Ok(Node::Section(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Value(Value::Array(Vec::new())))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Value(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
}

/// An invalid key of a file, the problem, and its line; the key is empty if the file is not a
/// mapping at all.
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) problem: String,
}

/// All invalid keys of a file, in its order. Empty if the fault is not in keys or values.
pub(super) fn faults(yaml: &str) -> Vec<Fault> {
    fn visit(node: &Node, path: &str, line: u64, known: &[String], faults: &mut Vec<Fault>) {
        let mut fault = |problem: &str| {
            faults.push(Fault {
                key: path.to_owned(),
                line,
                problem: problem.to_owned(),
            });
        };
        let is_section = path.is_empty() || known.iter().any(|key| key.starts_with(&format!("{path}.")));
        match node {
            Node::Section(fields) if is_section => {
                for (name, line, value) in fields {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    visit(value, &path, *line, known, faults);
                }
            }
            _ if is_section => fault("it must be a section with keys"),
            _ if !known.iter().any(|key| key == path) => {
                fault(&format!("this key {}", no_such_key(path, known)));
            }
            Node::Section(_) => fault("it must be one value"),
            Node::Value(value) => {
                if let Err(error) = put(&Config::default(), path, [value.clone()]) {
                    let problem = error.to_string();
                    fault(problem.strip_prefix(&format!("`{path}`: ")).unwrap_or(&problem));
                }
            }
        }
    }
    let mut faults = Vec::new();
    if let Ok(node) = serde_saphyr::from_str::<Node>(yaml) {
        visit(&node, "", 1, &keys(), &mut faults);
    }
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// Whether a file sets a key.
pub(super) fn sets(yaml: &str, key: &str) -> bool {
    serde_saphyr::from_str::<Value>(yaml).is_ok_and(|value| value.get(key).is_some())
}
