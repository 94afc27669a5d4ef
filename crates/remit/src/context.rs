//! Contexts: the clusters that somebody works with, each by a name.
//!
//! A context says where a cluster's services are, which file has the token to call them with, and
//! in which zone the cluster counts its days. Contexts stand in `remit/contexts.json` of the user's
//! configuration, `$XDG_CONFIG_HOME` or `~/.config`. They hold names of files, never secrets.
//!
//! What goes before what, `precedence.rs` says. A data directory that is named is an instance of its
//! own: then no context counts.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use host::{
    config::{Service, nearest},
    input,
};
use serde::{Deserialize, Serialize};

use crate::client::Failed;

/// Maximum size of the file: far more than anybody's clusters need.
const LIMIT: u64 = 1 << 20;

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Context {
    /// Address of intake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intake: Option<String>,
    /// Address of routing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<String>,
    /// Address of audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// File with the token to call with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities that are believed beside the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Name in the servers' certificates, where that is not the host of their addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// PEM file of the certificate that is shown to servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// Whether something else encrypts what goes to the cluster, so that plain HTTP does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encrypted_elsewhere: bool,
    /// File with the log's verifier keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_key_file: Option<PathBuf>,
    /// Data directory of an instance on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The zone in which times are printed, as an offset from UTC, such as `+08:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<String>,
}

impl Context {
    /// Address of a service, if the context has it.
    pub fn address(&self, service: Service) -> Option<&str> {
        match service {
            Service::Intake => self.intake.as_deref(),
            Service::Routing => self.routing.as_deref(),
            Service::Audit => self.audit.as_deref(),
        }
    }
}

/// All contexts, and which one is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contexts {
    /// Name of the one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Contexts by name.
    pub contexts: BTreeMap<String, Context>,
}

/// Where the user's contexts are; `None` without a home.
fn file() -> Option<PathBuf> {
    let folder = |variable: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    // A relative path there is to be ignored, by the XDG specification.
    let configured = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let folder = configured.or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(folder.join("remit/contexts.json"))
}

impl Contexts {
    /// The user's contexts; none where there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or is no list of contexts.
    pub fn read() -> anyhow::Result<Self> {
        match file() {
            Some(file) => Self::read_from(&file),
            None => Ok(Self::default()),
        }
    }

    fn read_from(file: &Path) -> anyhow::Result<Self> {
        if let Err(error) = std::fs::symlink_metadata(file)
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(Self::default());
        }
        let text = input::text(file, LIMIT).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            let help = "mend it, or remove it and set the contexts anew with `remit context set`";
            Failed::Usage(format!("{}: {error}\n  {help}", file.display())).into()
        })
    }

    /// Replaces the user's contexts.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self) -> anyhow::Result<()> {
        let file =
            file().ok_or_else(|| Failed::Usage("set HOME or XDG_CONFIG_HOME: contexts are kept there".to_owned()))?;
        self.write_to(&file)
    }

    fn write_to(&self, file: &Path) -> anyhow::Result<()> {
        let writing = || format!("cannot write {}", file.display());
        let folder = file.parent().with_context(writing)?;
        std::fs::create_dir_all(folder).with_context(writing)?;
        let text = serde_json::to_vec_pretty(self)?;
        witness::file::replace_now(file, &text, 0o600).with_context(writing)
    }

    /// The context of this name, or the one in use.
    ///
    /// # Errors
    /// If there is none of the name.
    pub fn find(&self, named: Option<&str>) -> anyhow::Result<Option<(&str, &Context)>> {
        match named.or(self.current.as_deref()) {
            None => Ok(None),
            Some(name) => self.named(name).map(Some),
        }
    }

    /// The context of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(&self, name: &str) -> anyhow::Result<(&str, &Context)> {
        if let Some((name, context)) = self.contexts.get_key_value(name) {
            return Ok((name, context));
        }
        let meant = nearest(name, self.contexts.keys().map(String::as_str));
        let meant = meant
            .map(|meant| format!("; did you mean `{meant}`?"))
            .unwrap_or_default();
        let help = "`remit context list` shows them, `remit context set NAME` makes one";
        Err(Failed::Usage(format!("there is no context `{name}`{meant}\n  {help}")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("remit/contexts.json");
        assert_eq!(Contexts::read_from(&file).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        let context = Context {
            routing: Some("http://routing.example:7302".to_owned()),
            utc_offset: Some("+08:00".to_owned()),
            ..Context::default()
        };
        contexts.contexts.insert("prod".to_owned(), context);
        contexts.write_to(&file).unwrap();
        let read = Contexts::read_from(&file).unwrap();
        assert_eq!(read, contexts);
        assert_eq!(read.find(None).unwrap(), None);
        assert_eq!(
            read.find(Some("prod")).unwrap().unwrap().1.address(Service::Intake),
            None
        );
        let error = read.find(Some("prd")).unwrap_err().to_string();
        assert!(error.contains("did you mean `prod`?"), "{error}");
        // What cannot be read is not taken for nothing.
        for wrong in ["", "{", "{\"contexts\": {\"a\": {\"rooting\": \"x\"}}}"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(Contexts::read_from(&file).is_err(), "{wrong}");
        }
    }
}
