//! A superior puts an agency under supervision, until a day, with what to correct; the agency
//! answers.

use api::routing::{
    AgencySupervision, AnswerSupervisionRequest, EndSupervisionRequest, ListSupervisionsRequest,
    ListSupervisionsResponse, SuperviseAgencyRequest, case_service_client::CaseServiceClient,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use journal::{Clock as _, SystemClock, Time};

use super::change::agency_name;
use crate::{
    client::{Failed, Target, pages},
    output::{self, Paint as _, bad, field, id, line, strong, tell, time, tr},
};

/// Supervision of agencies.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Oversight {
    /// Put an agency below yours under supervision, with what it has to correct until when
    #[command(after_help = "\
Example:
  remit case supervise-agency police-450100 --until 2026-12-24T18:00:00+08:00 \\
    --demand 'take cases over within a day' --as police-450000")]
    SuperviseAgency {
        /// The agency
        agency: String,
        /// Until when it has to correct it, in RFC 3339; a year at most
        #[arg(long, value_name = "TIME")]
        until: Timestamp,
        /// What it has to correct
        #[arg(long, value_name = "TEXT")]
        demand: String,
        #[command(flatten)]
        repeated: Repeated,
    },
    /// Answer a supervision, as the agency that is under it
    #[command(after_help = "\
Example:
  remit case answer-supervision supervisions/0d9f… --text 'two more officers' --as police-450100")]
    AnswerSupervision {
        /// Its name, `supervisions/{id}`
        name: String,
        /// What was corrected, or why not
        #[arg(long, value_name = "TEXT")]
        text: String,
        #[command(flatten)]
        repeated: Repeated,
    },
    /// End a supervision, as the superior that began it
    #[command(after_help = "\
Example:
  remit case end-supervision supervisions/0d9f… --corrected --note 'seen on site' --as police-450000")]
    EndSupervision {
        /// Its name, `supervisions/{id}`
        name: String,
        /// What was demanded is corrected
        #[arg(long)]
        corrected: bool,
        /// Why it ends
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        repeated: Repeated,
    },
    /// List the supervisions that your agency is under, and those that it began
    #[command(after_help = "Example:\n  remit case supervisions --as police-450100")]
    Supervisions {
        /// Maximum number
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
}

/// What a request is known by.
#[derive(Args, Clone, Debug)]
pub(super) struct Repeated {
    /// Request id, a UUID: repeated within 24 hours it is done once
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

impl Oversight {
    /// Does what is asked, and shows it.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let failed = Failed::call(&routing.address);
        let named = |name: &str| format!("supervisions/{}", id(name));
        match self {
            Self::SuperviseAgency {
                agency,
                until,
                demand,
                repeated: Repeated { request_id },
            } => {
                let request = SuperviseAgencyRequest {
                    agency: agency_name(&agency),
                    demand,
                    correct_by_time: Some(Time(until.as_microsecond()).to_proto()),
                    request_id,
                };
                let answer = client.supervise_agency(request).await.map_err(failed)?.into_inner();
                match json {
                    true => output::json(&answer),
                    false => print(&answer.begun_supervision.unwrap_or_default()),
                }
            }
            Self::AnswerSupervision {
                name,
                text: answer,
                repeated: Repeated { request_id },
            } => {
                let request = AnswerSupervisionRequest {
                    name: named(&name),
                    answer,
                    request_id,
                };
                let answer = client.answer_supervision(request).await.map_err(failed)?.into_inner();
                match json {
                    true => output::json(&answer),
                    false => print(&answer.answered_supervision.unwrap_or_default()),
                }
            }
            Self::EndSupervision {
                name,
                corrected,
                note,
                repeated: Repeated { request_id },
            } => {
                let request = EndSupervisionRequest {
                    name: named(&name),
                    corrected,
                    note,
                    request_id,
                };
                let answer = client.end_supervision(request).await.map_err(failed)?.into_inner();
                match json {
                    true => output::json(&answer),
                    false => print(&answer.ended_supervision.unwrap_or_default()),
                }
            }
            Self::Supervisions { limit } => {
                let (supervisions, next_page_token) = pages(limit, async |page_size, page_token| {
                    let request = ListSupervisionsRequest { page_size, page_token };
                    let page = CaseServiceClient::new(routing.channel.clone())
                        .list_supervisions(request)
                        .await
                        .map_err(Failed::call(&routing.address))?
                        .into_inner();
                    Ok((page.supervisions, page.next_page_token))
                })
                .await?;
                if json {
                    return output::json(&ListSupervisionsResponse {
                        supervisions,
                        next_page_token,
                    });
                }
                if supervisions.is_empty() {
                    line(tr("none is under supervision"))?;
                }
                supervisions.iter().try_for_each(print)
            }
        }
    }
}

/// A supervision in words.
fn print(of: &AgencySupervision) -> anyhow::Result<()> {
    line(of.name.style(strong()))?;
    field("agency", id(&of.agency))?;
    field("supervised by", id(&of.supervisor))?;
    field("to correct", &of.demand)?;
    let due = of.correct_by_time.as_ref().and_then(Time::from_proto);
    let is_late = of.answer_time.is_none() && of.end_time.is_none() && due.is_some_and(|due| due < SystemClock.now());
    let by = time(of.correct_by_time.as_ref());
    match is_late {
        true => field("until", tell("{0}: not answered in time", &[&by]).style(bad()))?,
        false => field("until", by)?,
    }
    if of.answer_time.is_some() {
        field("answered", time(of.answer_time.as_ref()))?;
        field("", &of.answer)?;
    }
    if of.end_time.is_some() {
        let how = match of.corrected {
            true => tr("corrected"),
            false => tr("not corrected"),
        };
        field("ended", format_args!("{} {how}", time(of.end_time.as_ref())))?;
        field("", &of.end_note)?;
    }
    Ok(())
}
