//! What is an agency's own affair: deputies of its officers, the cases of one who leaves, and the
//! note for who comes next.

use api::routing::{
    AppointDeputyRequest, CountWorklistsRequest, EndDeputyRequest, ListCasesRequest, ListCasesResponse,
    ListDeputiesRequest, ListDeputiesResponse, MoveCasesRequest, Worklist, case_service_client::CaseServiceClient,
    move_cases_request::Assignee,
};
use clap::Subcommand;
use jiff::Timestamp;
use journal::{Clock as _, SystemClock, Time};

use super::batch;
use crate::{
    client::{Failed, Target, pages},
    output::{self, handover, id, line, tell, tr},
};

/// Cases moved by one call.
const MOVED: i32 = 500;

/// Changes inside an agency, and its note.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Officers {
    /// Move all cases of an officer to another, or into the pool
    ///
    /// Each is assigned like by `remit case assign`, and only if the officer still has it.
    /// Interrupted, the same command moves what is left.
    #[command(after_help = "\
Examples:
  remit case move --from o-2 --to o-3 --preview --officer o-1 --as police-450100
  remit case move --from o-2 --pool --officer o-1 --as police-450100")]
    Move {
        /// The officer who has them, by name or pseudonym
        #[arg(long, value_name = "OFFICER")]
        from: String,
        /// The officer who is to have them
        #[arg(long, value_name = "OFFICER", required_unless_present = "pool")]
        to: Option<String>,
        /// They go back into the pool
        #[arg(long, conflicts_with = "to")]
        pool: bool,
        /// Only show which cases those are
        #[arg(long = "preview")]
        validate_only: bool,
    },
    /// List who acts in whose stead at your agency, and until when
    #[command(after_help = "Example:\n  remit case deputies --as police-450100")]
    Deputies {
        /// Maximum number of lines
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Let an officer act in another's stead for a time
    ///
    /// Meanwhile the lists of the deputy have the other's cases, too. Neither reviews what the
    /// other proposed.
    #[command(after_help = "\
Example:
  remit case appoint-deputy o-2 o-3 --until 2026-12-24T18:00:00+08:00 --officer o-1 --as police-450100")]
    AppointDeputy {
        /// The officer in whose stead, by name or pseudonym
        of: String,
        /// The officer who acts
        deputy: String,
        /// From when on, in RFC 3339; without it from now on
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Until when, in RFC 3339; a year at most
        #[arg(long, value_name = "TIME")]
        until: Timestamp,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// End the time of a deputy before it ends by itself
    #[command(after_help = "Example:\n  remit case end-deputy deputies/0d9f… --officer o-1 --as police-450100")]
    EndDeputy {
        /// Its name, `deputies/{id}`; `remit case deputies` has it
        name: String,
    },
    /// Print a note for the next shift: what is open, next dates, what is waited for
    #[command(after_help = "\
Of one officer, the officer's cases, and of those in whose stead the officer acts; otherwise all of your agency.

Examples:
  remit case handover --of o-1 --as police-450100
  remit case handover --as police-450100 --language zh > handover.txt")]
    Handover {
        /// Only cases that this officer of the agency has
        #[arg(long = "of", value_name = "OFFICER", default_value = "", hide_default_value = true)]
        of: String,
        /// Maximum number of cases that are read
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
    },
}

impl Officers {
    /// Does what is asked, and shows it.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let failed = Failed::call(&routing.address);
        match self {
            Self::Move {
                from,
                to,
                pool,
                validate_only,
            } => {
                let word = match (validate_only, pool) {
                    (true, _) => tr("would be moved"),
                    (false, true) => tr("back in the pool"),
                    (false, false) => tr("assigned to the officer"),
                };
                let request = MoveCasesRequest {
                    former_officer: from,
                    assignee: Some(match to {
                        Some(officer) => Assignee::Officer(officer),
                        None => Assignee::Pool(pool),
                    }),
                    page_size: MOVED,
                    validate_only,
                    ..MoveCasesRequest::default()
                };
                let (mut all, mut done, mut page_token) = (0, 0, String::new());
                loop {
                    let request = MoveCasesRequest {
                        page_token,
                        ..request.clone()
                    };
                    let moved = client.move_cases(request).await.map_err(&failed)?.into_inner();
                    all += moved.results.len();
                    for result in &moved.results {
                        done += usize::from(batch::show(result, word, json, &routing.address)?);
                    }
                    page_token = moved.next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
                if !json {
                    output::aside(tell("{0} of {1} cases done", &[&done, &all]));
                }
                match done == all {
                    true => Ok(()),
                    false => Err(Failed::Told.into()),
                }
            }
            Self::Deputies { limit } => {
                let (deputies, next_page_token) = pages(limit, async |page_size, page_token| {
                    let request = ListDeputiesRequest { page_size, page_token };
                    let page = CaseServiceClient::new(routing.channel.clone())
                        .list_deputies(request)
                        .await
                        .map_err(Failed::call(&routing.address))?
                        .into_inner();
                    Ok((page.deputies, page.next_page_token))
                })
                .await?;
                let all = ListDeputiesResponse {
                    deputies,
                    next_page_token,
                };
                match json {
                    true => output::json(&all),
                    false => handover::deputies(&all),
                }
            }
            Self::AppointDeputy {
                of: officer,
                deputy,
                from,
                until,
                request_id,
            } => {
                let wire = |time: Timestamp| Time(time.as_microsecond()).to_proto();
                let request = AppointDeputyRequest {
                    officer,
                    deputy,
                    begin_time: from.map(wire),
                    end_time: Some(wire(until)),
                    request_id,
                };
                let answer = client.appoint_deputy(request).await.map_err(&failed)?.into_inner();
                if json {
                    return output::json(&answer);
                }
                let deputy = answer.appointed_deputy.unwrap_or_default();
                Ok(line(handover::deputy(&deputy))?)
            }
            Self::EndDeputy { name } => {
                let name = format!("deputies/{}", id(&name));
                let answer = client.end_deputy(EndDeputyRequest { name }).await;
                let answer = answer.map_err(&failed)?.into_inner();
                if json {
                    return output::json(&answer);
                }
                Ok(line(tr("it has ended"))?)
            }
            Self::Handover { of, limit } => {
                // Who asks, and so whose clocks count.
                let counts = client.count_worklists(CountWorklistsRequest::default()).await;
                let agency = counts.map_err(&failed)?.into_inner().agency;
                let (cases, next_page_token) = open(routing, &of, limit).await?;
                let note = handover::Note {
                    agency: &agency,
                    officer: &of,
                    now: SystemClock.now(),
                    is_cut: !next_page_token.is_empty(),
                };
                match json {
                    true => output::json(&ListCasesResponse { cases, next_page_token }),
                    false => note.print(&cases),
                }
            }
        }
    }
}

/// The open cases of an agency, or of one of its officers, as far as they are read.
async fn open(routing: &Target, officer: &str, limit: usize) -> anyhow::Result<(Vec<api::routing::Case>, String)> {
    use api::event::CaseState;
    let lists: &[(CaseState, Worklist)] = match officer {
        "" => &[
            (CaseState::Assigned, Worklist::Unspecified),
            (CaseState::InProgress, Worklist::Unspecified),
            (CaseState::InReview, Worklist::Unspecified),
            (CaseState::AwaitingDesignation, Worklist::Unspecified),
            // A suspected crime to be handed over, and what else its agency still owes.
            (CaseState::Unspecified, Worklist::Referrals),
            (CaseState::Unspecified, Worklist::ToNotify),
        ],
        _ => &[(CaseState::Unspecified, Worklist::Assigned)],
    };
    let (mut all, mut left) = (Vec::new(), String::new());
    for (state, worklist) in lists {
        let (cases, next_page_token) = pages(limit, async |page_size, page_token| {
            let request = ListCasesRequest {
                page_size,
                page_token,
                state: (*state).into(),
                worklist: (*worklist).into(),
                officer: officer.to_owned(),
                ..ListCasesRequest::default()
            };
            let page = CaseServiceClient::new(routing.channel.clone())
                .list_cases(request)
                .await
                .map_err(Failed::call(&routing.address))?
                .into_inner();
            Ok((page.cases, page.next_page_token))
        })
        .await?;
        all.extend(cases);
        if !next_page_token.is_empty() {
            left = next_page_token;
        }
    }
    Ok((all, left))
}
