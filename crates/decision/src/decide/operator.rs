//! What an explanation says about the operator register. Never the matched names: only the case's
//! owner sees those.

use api::routing::{Explanation, OperatorAnswer, OperatorMatch};

/// How the register gave the operator's place, if it did.
pub fn gave_place(answer: &OperatorAnswer) -> Option<String> {
    (!answer.matches.is_empty()).then(|| format!("by the operator register, version {}", answer.version))
}

/// Whether there is something to report that the register did not provide.
pub fn leaves_out(answer: &OperatorAnswer) -> bool {
    answer.matches.is_empty() || !elsewhere(answer).is_empty()
}

/// Matches with a different place than the first, which counts.
fn elsewhere(answer: &OperatorAnswer) -> Vec<&OperatorMatch> {
    let first = answer.matches.first().map(|first| &first.location);
    let others = answer.matches.iter();
    others.filter(|other| Some(&other.location) != first).collect()
}

/// What a reader of the route might expect of the register and did not get.
pub fn left_out(answer: Option<&OperatorAnswer>) -> String {
    let Some(answer) = answer else {
        return "the operator was not looked up: no subject has a name that the register could contain".to_owned();
    };
    let OperatorAnswer {
        version,
        asked_count: asked,
        ..
    } = answer;
    match (version, answer.matches.len(), elsewhere(answer).len()) {
        (0, ..) => "the operator is unknown: the operator register is empty".to_owned(),
        (_, 0, _) => {
            let subjects = if *asked == 1 {
                "the subject"
            } else {
                "any of the subjects"
            };
            format!("the operator is unknown: the operator register, version {version}, does not contain {subjects}")
        }
        (_, _, others) => {
            let are = if others == 1 {
                "another subject is"
            } else {
                "other subjects are"
            };
            format!("by the operator register {are} operated from elsewhere: the first one that it has counts")
        }
    }
}

/// Removes the matches, but not the register's version, for readers who do not own the case.
pub fn without_matches(explanation: &mut Explanation) {
    if let Some(answer) = &mut explanation.register_answer {
        answer.matches.clear();
        answer.asked_count = 0;
    }
}
