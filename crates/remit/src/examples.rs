//! The example stories: `deploy/examples`, built in.

use std::{borrow::Cow, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

/// Bytes of a file of examples.
const LIMIT: u64 = 1 << 20;

/// One submission of the list.
#[derive(Clone, Debug, Deserialize)]
pub struct Example {
    /// Its file.
    pub file: String,
    /// Number of the story.
    pub story: u32,
    /// Its title.
    pub title: Title,
    /// Id of the sending agency.
    pub sender: String,
    /// The expected decision of the rule set *ranked*.
    pub ranked: Ranked,
}

/// The title of an example, in both languages.
#[derive(Clone, Debug, Deserialize)]
pub struct Title {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// The expected decision of the rule set *ranked*.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ranked {
    /// Id of the lead agency; `None` if none leads.
    pub lead: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    examples: Vec<Example>,
}

macro_rules! built_in {
    ($($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../deploy/examples/", $file)))),+]
    };
}

/// The operator register that the examples need.
pub const OPERATORS: &str = "operators.csv";

const FILES: &[(&str, &str)] = built_in![
    "index.yaml",
    "operators.csv",
    "01-investment-fraud.json",
    "02-paid-removal.json",
    "03-news-extortion.json",
    "04-gambling.json",
    "05-fake-loan.json",
    "06-phishing-domain.json",
    "07-threats.json",
    "08-personal-data-market.json",
    "09-official.json",
    "10-nowhere.json",
    "11-seller.json",
    "12-insult-bystander.json",
    "12b-insult-victim.json",
    "13-csam.json",
    "13b-csam-abroad.json",
    "14-abolished-code.json",
    "15-drug-sale.json",
    "15b-drug-sale-second.json",
    "15c-drug-sale-third.json",
    "16-platform-ignores.json",
];

/// The list, from a folder or built in.
pub fn list(folder: Option<&Path>) -> anyhow::Result<Vec<Example>> {
    let index: Index =
        serde_saphyr::from_str(&text(folder, "index.yaml")?).context("the list of examples, index.yaml")?;
    Ok(index.examples)
}

/// The text of one file, from a folder or built in.
pub fn text(folder: Option<&Path>, file: &str) -> anyhow::Result<Cow<'static, str>> {
    match folder {
        Some(folder) => {
            let path = folder.join(file);
            Ok(Cow::Owned(host::input::text(&path, LIMIT)?))
        }
        None => FILES
            .iter()
            .find(|(name, _)| *name == file)
            .map(|(_, text)| Cow::Borrowed(*text))
            .with_context(|| format!("the example {file} is not built in")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_the_list_is_built_in_and_reads() {
        let examples = list(None).unwrap();
        assert_eq!(examples.len(), 21);
        for example in examples {
            let request = text(None, &example.file).unwrap();
            crate::commands::report::parse_request(&example.file, &request).unwrap();
        }
    }
}
