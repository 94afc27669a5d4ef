//! Configuration keys: names, environment variables, setting one, and finding invalid ones.

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::{Config, Override};

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

/// The environment variables of this process that are UTF-8.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Variables read by client commands.
const CLIENTS: [&str; 7] = [
    "REMIT_CONFIG",
    "REMIT_INTAKE",
    "REMIT_ROUTING",
    "REMIT_AUDIT",
    "REMIT_TOKEN",
    "REMIT_TOKEN_FILE",
    "REMIT_LOG_KEY",
];

/// Unknown variables with our prefix: probably misspelt. Not an error, because orchestrators add
/// some with the same prefix for each service of a cluster.
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

/// The overrides from the environment. Ignores unknown variables: orchestrators add some with our
/// prefix, and client commands have their own.
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
    if !keys().iter().any(|known| known == key) {
        bail!("the key `{key}` does not exist; `remit config show` lists all keys");
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

/// An invalid key of a file and the problem; the key is empty if the file is not a mapping at all.
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) problem: String,
}

/// All invalid keys of a file. Empty if the fault is not in keys or values.
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
            _ if is_section => fault("it must be a section with keys"),
            _ if !known.iter().any(|key| key == path) => {
                fault("this key does not exist; `remit config show` lists all keys");
            }
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
