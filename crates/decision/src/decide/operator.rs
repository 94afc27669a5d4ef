//! What an explanation says of the operator register. Without the names that matched: those are told to the case's owner only.

use api::routing::{Explanation, OperatorAnswer, OperatorMatch};

/// How the operator's place was found, when the register gave it.
pub fn gave_place(answer: &OperatorAnswer) -> Option<String> {
    (!answer.matches.is_empty()).then(|| format!("by the operator register, version {}", answer.version))
}

/// Whether there is something to say of what it did not give.
pub fn leaves_out(answer: &OperatorAnswer) -> bool {
    answer.matches.is_empty() || !elsewhere(answer).is_empty()
}

/// Matches that are not where the one is that counts.
fn elsewhere(answer: &OperatorAnswer) -> Vec<&OperatorMatch> {
    let first = answer.matches.first().map(|first| &first.location);
    let others = answer.matches.iter();
    others.filter(|other| Some(&other.location) != first).collect()
}

/// What a reader of the route might expect of the register and did not get.
pub fn left_out(answer: Option<&OperatorAnswer>) -> String {
    let Some(answer) = answer else {
        return "the operator was not looked up: no subject has a name that the register could have".to_owned();
    };
    let OperatorAnswer { version, asked, .. } = answer;
    match (version, answer.matches.len(), elsewhere(answer).len()) {
        (0, ..) => "the operator is not known: the operator register is empty".to_owned(),
        (_, 0, _) => {
            let subjects = if *asked == 1 {
                "the subject"
            } else {
                "any of the subjects"
            };
            format!("the operator is not known: the operator register, version {version}, does not have {subjects}")
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

/// For those who do not own the case: which version was asked, but not what matched.
pub fn without_matches(explanation: &mut Explanation) {
    if let Some(answer) = &mut explanation.operator {
        answer.matches.clear();
        answer.asked = 0;
    }
}
