//! The reference data of the services: built in, or from configured files.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::Context as _;
use decision::{
    calendar::Calendars,
    directory::{Directory, LIMIT},
    rules::{RuleSet, Taxonomy},
};
use intake::category::Categories;
use places::Territories;

use crate::{config::Files, input};

/// The reference data of the services.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The tree of territories.
    pub territories: &'static Territories,
    /// The directory of agencies.
    pub directory: Arc<Directory>,
    /// The taxonomy.
    pub categories: Arc<Categories>,
    /// The parts of the taxonomy that rule sets refer to.
    pub taxonomy: Arc<Taxonomy>,
    /// The rule set.
    pub rules: Arc<RuleSet>,
    /// The calendars of working days.
    pub calendars: Arc<Calendars>,
}

impl Reference {
    /// Loads the data. The error names the key, the file and the problem.
    pub fn load(files: &Files) -> anyhow::Result<Self> {
        let territories = match &files.territories {
            None => Territories::shipped(),
            // Once per process, and needed until its end.
            Some(path) => Box::leak(Box::new(read("files.territories", path, Territories::parse)?)),
        };
        let directory = match &files.agencies {
            None if files.territories.is_none() => Directory::shipped().clone(),
            None => Directory::parse(SHIPPED_AGENCIES, territories)
                .context("the built-in directory does not fit `files.territories`; set a matching `files.agencies`")?,
            Some(path) => read("files.agencies", path, |text| Directory::parse(text, territories))?,
        };
        let (categories, taxonomy) = match &files.categories {
            None => (Categories::shipped()?, Taxonomy::shipped()),
            Some(path) => (
                read("files.categories", path, Categories::parse)?,
                read("files.categories", path, Taxonomy::parse)?,
            ),
        };
        let rules = match shipped_rules(files.rules.as_deref()) {
            Ok((id, yaml)) => RuleSet::parse(yaml, &directory).with_context(|| {
                format!("the built-in rule set `{id}` does not fit `files.agencies`; set a matching `files.rules`")
            })?,
            Err(path) => read("files.rules", path, |text| RuleSet::parse(text, &directory))?,
        };
        let calendars = match &files.calendar {
            None => Calendars::shipped().clone(),
            Some(path) => read("files.calendar", path, Calendars::parse)?,
        };
        calendars.check(&directory)?;
        Ok(Self {
            territories,
            directory: Arc::new(directory),
            categories: Arc::new(categories),
            taxonomy: Arc::new(taxonomy),
            rules: Arc::new(rules),
            calendars: Arc::new(calendars),
        })
    }

    /// Ids of all agencies.
    pub fn agencies(&self) -> BTreeSet<String> {
        self.directory
            .agencies()
            .map(|agency| agency.id.as_str().to_owned())
            .collect()
    }
}

const SHIPPED_AGENCIES: &str = include_str!("../../../deploy/config/agencies.yaml");

/// The built-in rule set with that id, *ranked* by default; otherwise the path.
pub fn shipped_rules(named: Option<&Path>) -> Result<(&'static str, &'static str), &Path> {
    let Some(named) = named else {
        return Ok(decision::rules::SHIPPED[0]);
    };
    decision::rules::SHIPPED
        .into_iter()
        .find(|(id, _)| named.as_os_str() == *id)
        .ok_or(named)
}

fn read<T, E: std::error::Error + Send + Sync + 'static>(
    key: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> anyhow::Result<T> {
    input::text(path, LIMIT)
        .and_then(|text| Ok(parse(&text)?))
        .with_context(|| format!("`{key}`, {}", path.display()))
}
