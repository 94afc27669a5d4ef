//! Keys: their names, their environment variables, and one of them set or found wrong.

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::{Config, Override};

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("REMIT_{}", key.replace('.', "_").to_uppercase())
}

/// All keys, in the order of their names.
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

/// The environment of this process, as far as it is text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Variables that client commands read.
const CLIENTS: [&str; 7] = [
    "REMIT_CONFIG",
    "REMIT_INTAKE",
    "REMIT_ROUTING",
    "REMIT_AUDIT",
    "REMIT_TOKEN",
    "REMIT_TOKEN_FILE",
    "REMIT_LOG_KEY",
];

/// Variables that look like ours and set nothing: probably misspelt. Not an error, as orchestrators add some
/// of the same prefix for each service of a cluster.
pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let keys = keys();
    let is_orchestrators = |name: &str| {
        ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
            .iter()
            .any(|part| name.contains(part))
    };
    names
        .into_iter()
        .filter(|name| name.starts_with("REMIT_") && !is_orchestrators(name) && !CLIENTS.contains(&name.as_str()))
        .filter(|name| !keys.iter().any(|key| variable(key) == *name))
        .collect()
}

/// The variables that set a key. Others are not ours to judge: orchestrators add some of the same prefix, and the
/// client commands have their own.
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

/// A value as a person writes it: a number or a truth value where it reads as one.
pub(super) fn scalar(text: &str) -> [Value; 2] {
    let read = serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| !value.is_object() && !value.is_array());
    [read.unwrap_or(Value::Null), Value::String(text.to_owned())]
}

/// Sets one key to the last of the values that fits. The error names the key.
pub(super) fn put<const N: usize>(config: &Config, key: &str, values: [Value; N]) -> anyhow::Result<Config> {
    let whole = serde_json::to_value(config)?;
    let pointer = format!("/{}", key.replace('.', "/"));
    if !keys().iter().any(|known| known == key) {
        bail!("there is no key `{key}`; `remit config show` lists them");
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
            // Nothing was read: the text itself comes next.
            Ok(_) if empty => {}
            Ok(config) => fitting = Ok(config),
            Err(error) if fitting.is_err() => fitting = Err(anyhow!("`{key}`: {error}")),
            Err(_) => {}
        }
    }
    fitting
}

/// A key of a file that cannot be used, and why; the key is empty where the file is no list of keys at all.
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) problem: String,
}

/// All keys of a file that cannot be used. None where the fault is not one of keys or values.
pub(super) fn faults(yaml: &str) -> Vec<Fault> {
    fn visit(value: &Value, path: &str, known: &[String], faults: &mut Vec<Fault>) {
        let mut fault = |problem: &str| {
            faults.push(Fault {
                key: path.to_owned(),
                problem: problem.to_owned(),
            });
        };
        let is_section = path.is_empty() || known.iter().any(|key| key.starts_with(&format!("{path}.")));
        match value {
            Value::Object(fields) if is_section => {
                for (name, value) in fields {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    visit(value, &path, known, faults);
                }
            }
            _ if is_section => fault("it must have keys of its own"),
            _ if !known.iter().any(|key| key == path) => fault("there is no such key; `remit config show` lists them"),
            value => {
                if let Err(error) = put(&Config::default(), path, [value.clone()]) {
                    let problem = error.to_string();
                    fault(problem.strip_prefix(&format!("`{path}`: ")).unwrap_or(&problem));
                }
            }
        }
    }
    let mut faults = Vec::new();
    if let Ok(value) = serde_saphyr::from_str::<Value>(yaml) {
        visit(&value, "", &keys(), &mut faults);
    }
    faults
}
