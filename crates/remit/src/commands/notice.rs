//! `remit notice`: what the side that a disposition affects does with its receipt.

use api::event::StatementKind;
use api::routing::{
    CheckNoticeRequest, Notice, RequestDecisionReviewRequest, SubmitStatementRequest,
    notice_service_client::NoticeServiceClient,
};
use clap::{Args, Subcommand};
use host::config::Service;
use prost::{Message, Name};
use tonic::{Response, Status};

use super::case::choice;
use crate::{
    client::{Access, Failed, RoutingServer, Target},
    output,
};

/// Read a notice by its receipt, state a view before a decision, and ask for a review after it
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: RoutingServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Show a notice: what is intended or decided, why, and what can be done until when
    #[command(after_help = "Example:\n  remit notice show 7Q2M-…")]
    Show {
        /// The receipt that came with the notice
        receipt: String,
    },
    /// State a view of what is intended, ask to be heard, or waive both
    #[command(after_help = "\
Examples:
  remit notice state 7Q2M-… statement --text 'The account was stolen.'
  remit notice state 7Q2M-… hearing-requested --text 'We want to show the contracts.'
  remit notice state 7Q2M-… waived")]
    State {
        /// The receipt that came with the notice
        receipt: String,
        /// What it is
        #[arg(value_parser = choice(StatementKind::as_str_name))]
        kind: StatementKind,
        /// The statement
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        text: String,
        /// Request id, a UUID: repeated within 24 hours it changes nothing
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Ask for a review of a decision: the superior of the agency that decided decides anew
    #[command(after_help = "Example:\n  remit notice request-review 7Q2M-… --text 'It was not us.'")]
    RequestReview {
        /// The receipt that came with the notice
        receipt: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// Request id, a UUID: repeated within 24 hours it changes nothing
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let json = self.access.json;
        let routing = self.access.target(Service::Routing, self.server.address())?;
        let mut client = NoticeServiceClient::new(routing.channel.clone());
        match self.action {
            Action::Show { receipt } => {
                let answer = client.check_notice(CheckNoticeRequest { receipt }).await;
                shown(&routing, json, answer, |answer| answer.notice)
            }
            Action::State {
                receipt,
                kind,
                text,
                request_id,
            } => {
                let request = SubmitStatementRequest {
                    receipt,
                    kind: kind.into(),
                    text,
                    request_id,
                };
                let answer = client.submit_statement(request).await;
                shown(&routing, json, answer, |answer| answer.notice)
            }
            Action::RequestReview {
                receipt,
                text,
                request_id,
            } => {
                let request = RequestDecisionReviewRequest {
                    receipt,
                    text,
                    request_id,
                };
                let answer = client.request_decision_review(request).await;
                shown(&routing, json, answer, |answer| answer.notice)
            }
        }
    }
}

/// Shows the notice in an answer.
fn shown<A: Message + Name>(
    routing: &Target,
    json: bool,
    answer: Result<Response<A>, Status>,
    notice: impl FnOnce(A) -> Option<Notice>,
) -> anyhow::Result<()> {
    let answer = answer.map_err(Failed::call(&routing.address))?.into_inner();
    match json {
        true => output::json(&answer),
        false => output::notice::print(&notice(answer).unwrap_or_default()),
    }
}
