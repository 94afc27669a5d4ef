//! The same change of many cases: each is answered for itself, one a line.

use std::path::PathBuf;

use api::routing::{BatchedCase, batched_case::Result as Became, case_sight::Sight};
use clap::Args;
use host::input;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use uuid::Uuid;

use super::change::Of;
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, bad, dim, line, tell, tr},
};

/// Cases in one call, at most.
const LARGEST: usize = 500;

/// Bytes of a file with names.
const FILE: u64 = 4_000_000;

/// The cases to change.
#[derive(Args, Clone, Debug)]
pub(super) struct Cases {
    /// The cases' names, `cases/{id}`; of several, each is answered for itself, one a line
    #[arg(value_name = "NAME", required_unless_present = "file", conflicts_with = "file")]
    pub(super) names: Vec<String>,
    /// Read the names from this file, the first word of each line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Only if the case is still as it was shown with this etag; for a single case
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Request id, a UUID: repeated within 24 hours it has the first answer; several cases get ids
    /// made of it and their names
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// One case, or several.
pub(super) enum Which {
    /// One, whose answer is shown whole.
    One(Of),
    /// Several, each with a request id or an empty one.
    Many(Vec<Of>),
}

impl Cases {
    /// The cases that are meant.
    pub(super) fn which(self) -> anyhow::Result<Which> {
        let Self {
            mut names,
            file,
            etag,
            request_id,
        } = self;
        if let Some(file) = &file {
            names = words(&input::text(file, FILE)?);
            if names.is_empty() {
                return Err(Failed::Usage(format!("{} names no case", input::name(file))).into());
            }
        } else if names.len() == 1 {
            let name = names.remove(0);
            return Ok(Which::One(Of { name, etag, request_id }));
        }
        if !etag.is_empty() {
            return Err(Failed::Usage("--etag is of one case: name one".to_owned()).into());
        }
        let root = match request_id.as_str() {
            "" => None,
            id => Some(Uuid::try_parse(id).map_err(|_| Failed::Usage("--request-id must be a UUID".to_owned()))?),
        };
        let of = |name: String| Of {
            request_id: root.map(|root| derived(root, &name).to_string()).unwrap_or_default(),
            etag: String::new(),
            name,
        };
        Ok(Which::Many(names.into_iter().map(of).collect()))
    }
}

/// The first word of each line.
fn words(text: &str) -> Vec<String> {
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    words.map(str::to_owned).collect()
}

/// The request id of a case in a batch: the same for the same batch, and one of its own.
fn derived(root: Uuid, name: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update("remit-batch-request-v1");
    hash.update(root.as_bytes());
    hash.update(name);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Changes cases by as many calls as it takes, and shows what became of each after the word for what
/// was done.
///
/// # Errors
/// Also if one of them was refused, once all are shown.
pub(super) async fn run(
    routing: &Target,
    json: bool,
    word: &str,
    cases: Vec<Of>,
    mut call: impl AsyncFnMut(Vec<Of>) -> Result<Vec<BatchedCase>, Status>,
) -> anyhow::Result<()> {
    let (all, mut done) = (cases.len(), 0);
    let mut cases = cases.into_iter().peekable();
    while cases.peek().is_some() {
        let some = cases.by_ref().take(LARGEST).collect();
        for case in call(some).await.map_err(Failed::call(&routing.address))? {
            done += usize::from(show(&case, word, json, &routing.address)?);
        }
    }
    if done == all {
        return Ok(());
    }
    output::aside(tell("{0} of {1} cases done", &[&done, &all]));
    Err(Failed::Told.into())
}

/// Shows what became of a case. Returns whether it was done.
pub(super) fn show(case: &BatchedCase, word: &str, json: bool, address: &str) -> anyhow::Result<bool> {
    match json {
        true => output::json_line(case)?,
        false => line(told(case, word, address))?,
    }
    Ok(!matches!(case.result, Some(Became::Error(_)) | None))
}

/// What became of a case, in a line.
fn told(case: &BatchedCase, word: &str, address: &str) -> String {
    let became = match &case.result {
        Some(Became::Sight(sight)) => match &sight.sight {
            Some(Sight::LostCase(_)) => format!("{word}, {}", tr("no longer yours to see")),
            _ => word.to_owned(),
        },
        Some(Became::Preview(preview)) => tell("would go to {0}", &[&output::id(&preview.lead)])
            .style(dim())
            .to_string(),
        Some(Became::Error(error)) => {
            let details = error.encode_to_vec().into();
            let status = Status::with_details(Code::from_i32(error.code), error.message.clone(), details);
            Failed::call(address)(status).style(bad()).to_string()
        }
        None => tr("unknown").style(bad()).to_string(),
    };
    format!("{}  {became}", case.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(names: &[&str], etag: &str, request_id: &str) -> Cases {
        Cases {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            file: None,
            etag: etag.to_owned(),
            request_id: request_id.to_owned(),
        }
    }

    #[test]
    fn each_case_of_a_batch_has_a_request_id_of_its_own_that_a_repeat_has_too() {
        let root = "00000000-0000-0000-0000-000000000007";
        let ids = |names: &[&str], root: &str| match cases(names, "", root).which().unwrap() {
            Which::Many(cases) => cases.into_iter().map(|of| of.request_id).collect::<Vec<_>>(),
            Which::One(of) => vec![of.request_id],
        };
        let both = ids(&["cases/1", "cases/2"], root);
        assert_ne!(both[0], both[1]);
        assert_eq!(ids(&["cases/2", "cases/1"], root), [both[1].clone(), both[0].clone()]);
        assert!(
            both.iter()
                .all(|id| Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() == 8))
        );
        assert_ne!(
            ids(&["cases/1", "cases/2"], "00000000-0000-0000-0000-000000000008"),
            both
        );
        assert_eq!(ids(&["cases/1"], root), [root], "of a single call it is the caller's");
        assert_eq!(ids(&["cases/1", "cases/2"], ""), ["", ""]);
        assert!(cases(&["cases/1", "cases/2"], "", "seven").which().is_err());
        assert!(cases(&["cases/1", "cases/2"], "1-00", "").which().is_err());
    }

    #[test]
    fn names_are_the_first_words_of_lines() {
        assert_eq!(words("cases/1  assigned\r\n\n  cases/2\n"), ["cases/1", "cases/2"]);
        assert_eq!(words(" \n"), [""; 0]);
    }
}
