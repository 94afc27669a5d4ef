//! The data that the services decide by: what is built in, or the files that the configuration names in its place.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::Context as _;
use intake::category::Categories;
use places::Territories;
use routing::{calendar::Calendar, directory::Directory, rules::RuleSet};

use crate::config::Files;

/// The data that the services decide by.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The tree of territories.
    pub territories: &'static Territories,
    /// The directory of agencies.
    pub directory: Arc<Directory>,
    /// The taxonomy.
    pub categories: Arc<Categories>,
    /// The rule set.
    pub rules: Arc<RuleSet>,
    /// The calendar of working days.
    pub calendar: Arc<Calendar>,
}

impl Reference {
    /// Reads it. The error names the key, the file and what is wrong with it.
    pub fn load(files: &Files) -> anyhow::Result<Self> {
        let territories = match &files.territories {
            None => Territories::shipped(),
            // Once per process, and needed until its end.
            Some(path) => Box::leak(Box::new(read("files.territories", path, Territories::parse)?)),
        };
        let directory = match &files.agencies {
            None if files.territories.is_none() => Directory::shipped().clone(),
            None => Directory::parse(SHIPPED_AGENCIES, territories)
                .context("the built-in directory does not fit to `files.territories`; name one as `files.agencies`")?,
            Some(path) => read("files.agencies", path, |text| Directory::parse(text, territories))?,
        };
        let categories = match &files.categories {
            None => Categories::shipped()?,
            Some(path) => read("files.categories", path, Categories::parse)?,
        };
        let rules = match &files.rules {
            None if files.agencies.is_none() && files.territories.is_none() => RuleSet::shipped().clone(),
            None => RuleSet::parse(SHIPPED_RULES, &directory)
                .context("the built-in rule set does not fit to `files.agencies`; name one as `files.rules`")?,
            Some(path) => read("files.rules", path, |text| RuleSet::parse(text, &directory))?,
        };
        let calendar = match &files.calendar {
            None => Calendar::shipped().clone(),
            Some(path) => read("files.calendar", path, Calendar::parse)?,
        };
        Ok(Self {
            territories,
            directory: Arc::new(directory),
            categories: Arc::new(categories),
            rules: Arc::new(rules),
            calendar: Arc::new(calendar),
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
const SHIPPED_RULES: &str = include_str!("../../../deploy/config/rules/ranked.yaml");

fn read<T, E: std::error::Error + Send + Sync + 'static>(
    key: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> anyhow::Result<T> {
    std::fs::read_to_string(path)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(parse(&text)?))
        .with_context(|| format!("`{key}`, {}", path.display()))
}
