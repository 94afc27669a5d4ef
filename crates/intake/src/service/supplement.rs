//! Adding to a report, and answering a question about it.

use api::{
    google::r#type::LocalizedText,
    intake::{
        AddInformationRequest, AddInformationResponse, AnswerQuestionRequest, AnswerQuestionResponse, Report,
        RequestReviewRequest, RequestReviewResponse, add_information_request::Target,
    },
};
use journal::{Time, keyed_hash};
use prost::Message as _;
use rpc::{Failure, Identity, Violation, Violations};
use uuid::Uuid;

use super::{Service, sender};
use crate::{
    category::{Category, Evidence},
    state::State,
    store::{self, Added, Addition, StoredReport},
    submission,
    supplement::{check_text, notices, review_notices},
};

/// What is added, and to what it is an answer.
struct Said<'r> {
    text: &'r str,
    evidence: &'r [String],
    question: Option<i64>,
    asks_review: bool,
    request_id: Option<Uuid>,
}

impl<'r> Said<'r> {
    /// Checks all but what the report decides.
    fn check(
        text: &'r str,
        evidence: &'r [String],
        question: Option<i64>,
        request_id: &str,
        violations: &mut Violations,
    ) -> Self {
        check_text(text, evidence.len(), violations);
        submission::evidence("evidence", evidence, None, violations);
        Self {
            text,
            evidence,
            question,
            asks_review: false,
            request_id: violations.request_id("request_id", request_id),
        }
    }
}

impl Service {
    /// Adds information to a report.
    pub(crate) async fn add_information(
        &self,
        caller: &Identity,
        request: AddInformationRequest,
    ) -> Result<AddInformationResponse, Failure> {
        let AddInformationRequest {
            target,
            text,
            evidence,
            request_id,
        } = &request;
        let mut violations = Violations::new();
        let said = Said::check(text, evidence, None, request_id, &mut violations);
        let named = match target {
            Some(Target::Name(name)) => violations.name("name", names::REPORT, name),
            Some(Target::Receipt(_)) => None,
            None => {
                violations.add(
                    "receipt",
                    "is missing; give the receipt, or the name of a report that you sent",
                );
                None
            }
        };
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        let (stored, by_receipt) = match (target, named) {
            (Some(Target::Receipt(receipt)), _) => (self.by_receipt(receipt).await?, true),
            (_, Some(report)) => (self.sent_by_caller(caller, report).await?, false),
            _ => return Err(Failure::NotFound { what: "report" }),
        };
        let (time, notices) = self.add(caller, stored, by_receipt, &said).await?;
        Ok(AddInformationResponse {
            add_time: Some(time.to_proto()),
            notices,
        })
    }

    /// Answers the question that is open.
    pub(crate) async fn answer_question(
        &self,
        caller: &Identity,
        request: AnswerQuestionRequest,
    ) -> Result<AnswerQuestionResponse, Failure> {
        let AnswerQuestionRequest {
            receipt,
            question_number,
            text,
            evidence,
            request_id,
        } = &request;
        let mut violations = Violations::new();
        let said = Said::check(text, evidence, Some(*question_number), request_id, &mut violations);
        if *question_number < 1 {
            violations.add(
                "question_number",
                "must be the number of a question, as `CheckReceipt` shows it",
            );
        }
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        let stored = self.by_receipt(receipt).await?;
        let (time, notices) = self.add(caller, stored, true, &said).await?;
        Ok(AnswerQuestionResponse {
            add_time: Some(time.to_proto()),
            notices,
        })
    }

    /// Asks for a review of what was decided.
    pub(crate) async fn request_review(
        &self,
        caller: &Identity,
        request: &RequestReviewRequest,
    ) -> Result<RequestReviewResponse, Failure> {
        let mut violations = Violations::new();
        let said = Said {
            asks_review: true,
            ..Said::check(&request.text, &[], None, &request.request_id, &mut violations)
        };
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        let stored = self.by_receipt(&request.receipt).await?;
        let (time, _) = self.add(caller, stored, true, &said).await?;
        Ok(RequestReviewResponse {
            request_time: Some(time.to_proto()),
            notices: review_notices(),
        })
    }

    /// A report that the caller sent.
    async fn sent_by_caller(&self, caller: &Identity, report: Uuid) -> Result<StoredReport, Failure> {
        let stored = self.store.report(report).await?;
        let sent = stored.filter(|stored| sender(caller).owns(&stored.sender));
        sent.ok_or(Failure::NotFound { what: "report" })
    }

    async fn add(
        &self,
        caller: &Identity,
        stored: StoredReport,
        by_receipt: bool,
        said: &Said<'_>,
    ) -> Result<(Time, Vec<LocalizedText>), Failure> {
        let is_hidden = self.is_hidden_from_bearer(caller, &stored).await?;
        let mut violations = Violations::new();
        let category = self.category_of(&stored, is_hidden)?;
        self.forbid.named(caller, category, said.evidence).await?;
        let files = evidence(said.evidence, category, by_receipt, &mut violations);
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        let question = said.question.unwrap_or_default();
        let asked = [said.text, &said.evidence.join("\n"), &question.to_string()].join("\0");
        let mut content = stored.report.as_bytes().to_vec();
        content.push(said.asks_review.into());
        content.extend(asked.into_bytes());
        let fingerprint = keyed_hash(&self.fingerprint_key, "supplement-fingerprint-v1", &content);
        let mut commitment_key = [0; 32];
        self.entropy.fill(&mut commitment_key);
        let addition = Addition {
            report: stored.report,
            sender: sender(caller),
            actor: caller.actor(stored.report.as_bytes()),
            text: said.text.to_owned(),
            files: files.into_iter().map(|id| (id, caller.actor(id.as_bytes()))).collect(),
            question: said.question,
            asks_review: said.asks_review,
            by_receipt,
            is_hidden,
            commitment_key,
            traceparent: telemetry::traceparent(),
            request: said.request_id.map(|id| (id, fingerprint)),
        };
        let now = self.clock.now();
        let added = self
            .writer
            .write(&self.store, |store| async move { store.add(&addition, now).await })
            .await?;
        match added {
            Added::Recorded { time, was_decided } => Ok((time, notices(was_decided && !is_hidden))),
            refused => Err(refusal(refused, stored.report)),
        }
    }

    /// The category that a report's case is filed under, else that of the report, if this version
    /// has it. Whom the case is hidden from learns nothing of how it is filed.
    fn category_of(&self, stored: &StoredReport, is_hidden: bool) -> Result<Option<&Category>, Failure> {
        let filed = stored
            .case
            .as_ref()
            .filter(|_| !is_hidden)
            .map(|case| case.category.clone());
        let category = match filed.filter(|filed| !filed.is_empty()) {
            Some(filed) => filed,
            None => {
                let report = Report::decode(stored.content.as_slice());
                report.map_err(|error| Failure::Internal(Box::new(error)))?.category
            }
        };
        let id = names::Collection::CATEGORIES.id(&category);
        Ok(id.and_then(|id| self.categories.get(id)))
    }
}

/// The files, if the category takes any. To the bearer of a receipt, the law's words would tell the
/// category; and one that this version does not have may be one that takes none.
fn evidence(
    wanted: &[String],
    category: Option<&Category>,
    by_receipt: bool,
    violations: &mut Violations,
) -> Vec<Uuid> {
    let takes = category.is_some_and(|category| category.evidence != Evidence::Refused);
    let shown = category.filter(|_| !by_receipt);
    if !takes && shown.is_none() && !wanted.is_empty() {
        violations.add("evidence", "is not accepted for this report");
    }
    submission::evidence("evidence", wanted, shown, violations)
}

/// Why nothing was added.
fn refusal(refused: Added, report: Uuid) -> Failure {
    match refused {
        Added::RequestIdReused => Failure::RequestIdReused,
        Added::Ended(state) => Failure::WrongState {
            record: store::name(report),
            state: state.name(),
            description: match state {
                State::Advised => {
                    "no agency can act on the report; its receipt tells who can. If there is more to report, submit another"
                }
                _ => "the report is withdrawn; submit another",
            }
            .to_owned(),
        },
        Added::NotAsked => Failure::invalid(
            "question_number",
            "is not the question that is open; `CheckReceipt` shows that, and `AddInformation` takes what answers none",
        ),
        Added::Answered => Failure::invalid(
            "question_number",
            "is answered already; `AddInformation` takes what is to be added",
        ),
        Added::NotReviewable { is_decided } => Failure::WrongState {
            record: store::name(report),
            state: "ROUTED",
            description: match is_decided {
                false => "there is no decision to review; `AddInformation` takes what is to be added",
                true => {
                    "no review can be asked for any more, or nobody is above the agency that decided: the receipt shows \
                     the remedies of the law"
                }
            }
            .to_owned(),
        },
        Added::Full => Failure::invalid(
            "text",
            format!(
                "is more than the report takes: {} additions, {} KiB of text and {} files from one sender, by receipts {} times \
                 that; send the rest to its agency",
                store::supplement::MOST,
                store::supplement::MOST_BYTES >> 10,
                store::supplement::MOST_FILES,
                store::supplement::TIMES_IN_ALL
            ),
        ),
        Added::Unattachable(files) => {
            let violation = |(i, why): (usize, crate::evidence::Unattachable)| {
                Violation::new(format!("evidence[{i}]"), why.words())
            };
            Failure::InvalidInput(files.into_iter().map(violation).collect())
        }
        Added::NotFound | Added::Recorded { .. } => Failure::NotFound { what: "report" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_category_takes_no_files() {
        let file = ["evidence/01900000-0000-7000-8000-000000000000".to_owned()];
        for by_receipt in [true, false] {
            let mut violations = Violations::new();
            evidence(&file, None, by_receipt, &mut violations);
            assert!(!violations.is_empty(), "{by_receipt}");
            let mut violations = Violations::new();
            evidence(&[], None, by_receipt, &mut violations);
            assert!(violations.is_empty(), "{by_receipt}");
        }
    }
}
