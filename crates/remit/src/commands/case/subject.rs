//! What the lead does for the side that a disposition affects: notice, and answers to what it says.

use api::event::{NoticeMeans, StatementAnswer};
use api::routing::{
    AnswerStatementRequest, GetCaseRequest, NotifySubjectRequest, case_service_client::CaseServiceClient,
};
use clap::Subcommand;

use super::change::{Of, Remark, choice};
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, line, strong, tell, tr},
};

/// A change for the affected side.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Subject {
    /// Give notice to the side that a disposition affects, as the lead
    ///
    /// Prints the receipt by which that side reads the notice, states its view and asks for a review
    /// (`remit notice`). It is shown once: hand it over with the notice.
    #[command(after_help = "\
Examples:
  remit case notify cases/0d9f… --recipient 'holder of the account' --means post --text '…' --as police-110000
  remit case notify cases/0d9f… --again 1 --of-decision --means electronic --as police-110000")]
    Notify {
        #[command(flatten)]
        of: Of,
        /// Whom it is for, such as `holder of the account`
        #[arg(long, value_name = "TEXT", required_unless_present = "again")]
        recipient: Option<String>,
        /// The number of an earlier notice, to give notice to the same side again
        #[arg(long, value_name = "N")]
        again: Option<i64>,
        /// How it is served
        #[arg(long, value_parser = choice(NoticeMeans::as_str_name))]
        means: NoticeMeans,
        /// Facts, reasons and basis, as the affected side is told them [default: what the proposal has
        /// for it]
        #[arg(long = "text", value_name = "TEXT")]
        subject_text: Option<String>,
        /// It is notice of the decision, and not of the proposal
        #[arg(long)]
        of_decision: bool,
        /// The first receipt was lost: print another, in place of it
        #[arg(long, requires = "again")]
        new_receipt: bool,
        #[command(flatten)]
        remark: Remark,
    },
    /// Answer what the affected side said, as the lead
    #[command(after_help = "\
Example:
  remit case answer-statement cases/0d9f… 1 considered --read 1 --tell-subject 'The bank confirms both payments.' \\
    --as police-110000")]
    AnswerStatement {
        #[command(flatten)]
        of: Of,
        /// The number of the notice
        notice: i64,
        /// How many statements you have read, as the case shows it
        #[arg(long = "read", value_name = "N")]
        statement_count: i64,
        /// What became of them
        #[arg(value_parser = choice(StatementAnswer::as_str_name))]
        answer: StatementAnswer,
        /// What the affected side is told of it
        #[arg(long = "tell-subject", value_name = "TEXT")]
        subject_text: String,
        #[command(flatten)]
        remark: Remark,
    },
}

impl Subject {
    /// Makes the change and shows the case.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        match self {
            Self::Notify {
                of: Of { name, etag, request_id },
                recipient,
                again,
                means,
                subject_text,
                of_decision,
                new_receipt,
                remark: Remark { note },
            } => {
                let subject_text = match subject_text {
                    Some(text) => text,
                    None => proposed_text(routing, &name).await?,
                };
                let request = NotifySubjectRequest {
                    name,
                    etag,
                    request_id,
                    notice_number: again.unwrap_or_default(),
                    recipient: recipient.unwrap_or_default(),
                    means: means.into(),
                    subject_text,
                    of_decision,
                    new_receipt,
                    note,
                };
                let answer = client.notify_subject(request).await;
                let answer = answer.map_err(Failed::call(&routing.address))?.into_inner();
                if json {
                    return output::json(&answer);
                }
                line(tell("notice {0} is given", &[&answer.notice_number]))?;
                if !answer.receipt.is_empty() {
                    line(tell("its receipt: {0}", &[&answer.receipt.as_str().style(strong())]))?;
                    line(tr("Hand it over with the notice; it is not shown again."))?;
                }
                line("")?;
                super::print(routing, &answer.current_case.unwrap_or_default()).await
            }
            Self::AnswerStatement {
                of: Of { name, etag, request_id },
                notice,
                statement_count,
                answer,
                subject_text,
                remark: Remark { note },
            } => {
                let request = AnswerStatementRequest {
                    name,
                    etag,
                    request_id,
                    notice_number: notice,
                    statement_count,
                    answer: answer.into(),
                    subject_text,
                    note,
                };
                let answer = client.answer_statement(request).await;
                let answer = answer.map_err(Failed::call(&routing.address))?.into_inner();
                if json {
                    return output::json(&answer);
                }
                line(tr("answered"))?;
                line("")?;
                super::print(routing, &answer.current_case.unwrap_or_default()).await
            }
        }
    }
}

/// What the proposal has for the affected side.
async fn proposed_text(routing: &Target, name: &str) -> anyhow::Result<String> {
    let request = GetCaseRequest { name: name.to_owned() };
    let case = CaseServiceClient::new(routing.channel.clone()).get_case(request).await;
    let case = case.map_err(Failed::call(&routing.address))?.into_inner().current_case;
    let note = case.and_then(|case| case.disposition?.note).unwrap_or_default();
    match note.subject_text.is_empty() {
        true => Err(Failed::Usage(
            "say what the affected side is told, with `--text`: the proposal has nothing for it".to_owned(),
        )
        .into()),
        false => Ok(note.subject_text),
    }
}
