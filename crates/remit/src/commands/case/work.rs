//! The changes of the work on a case.

use api::{
    event::{AssistanceAnswer, PauseGround, UrgentMeasure},
    routing::{
        AnswerAssistanceRequest, AskReporterRequest, AssignCaseRequest, BatchAssignCasesRequest, PauseClockRequest,
        RecordProgressRequest, RecordUrgentMeasureRequest, RequestAssistanceRequest, ResumeClockRequest,
        ShareNarrativeRequest, SplitReportRequest, assign_case_request::Assignee,
        case_service_client::CaseServiceClient,
    },
};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use journal::Time;

use super::{
    batch::{self, Cases, Which},
    change::{Of, Remark, Shown, TellReporter, agency_name, choice, each, request},
};
use crate::{
    client::Target,
    output::{id, tr},
};

/// The changes of the work on a case.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Work {
    /// Assign cases to an officer of your agency, take them from the pool, or give them back
    ///
    /// Only your agency sees it. Who takes it from another officer says from whom, with --from.
    /// `remit case move` moves all cases of somebody who leaves.
    #[command(after_help = "\
Examples:
  remit case assign cases/0d9f… --take --officer o-1 --as police-450100
  remit case assign cases/0d9f… --to o-2 --officer o-1 --as police-450100
  remit case assign cases/0d9f… --to o-3 --from o-2 --officer o-1 --as police-450100
  remit case assign cases/0d9f… --pool --officer o-1 --as police-450100")]
    Assign {
        #[command(flatten)]
        cases: Cases,
        /// The officer who is to have them, by name or pseudonym
        #[arg(long, value_name = "OFFICER", required_unless_present_any = ["take", "pool"])]
        to: Option<String>,
        /// You take them, unless another officer has them
        #[arg(long, conflicts_with_all = ["to", "pool"])]
        take: bool,
        /// Nobody has them any more: they go back into the pool
        #[arg(long, conflicts_with = "to")]
        pool: bool,
        /// Only those that this officer has now
        #[arg(long, value_name = "OFFICER", default_value = "", hide_default_value = true)]
        from: String,
    },
    /// Ask another agency to assist; only the lead may
    #[command(after_help = "Example:\n  remit case request-assistance cases/0d9f… police-450200 --as police-450100")]
    RequestAssistance {
        #[command(flatten)]
        of: Of,
        /// The agency to ask
        agency: String,
        #[command(flatten)]
        remark: Remark,
    },
    /// Answer a request to assist; only the agency that was asked may
    #[command(after_help = "Example:\n  remit case answer-assistance cases/0d9f… provided --as police-450200")]
    AnswerAssistance {
        #[command(flatten)]
        of: Of,
        /// The answer
        answer: Answer,
        #[command(flatten)]
        remark: Remark,
    },
    /// Record what was done so far, as the lead
    #[command(after_help = "\
Example:
  remit case progress cases/0d9f… --note 'asked the bank' --tell-reporter 'Your bank was asked.' --as police-450100")]
    Progress {
        #[command(flatten)]
        of: Of,
        /// What was done
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        told: TellReporter,
    },
    /// Ask the reporter something, as the lead: the receipt shows the question
    ///
    /// The answer is added to the report: `remit report show` has it, and `remit case watch` tells
    /// of it. The time for the result stands still meanwhile, as far as the rule set allows it.
    #[command(after_help = "\
Example:
  remit case ask cases/0d9f… --question 'When was it paid?' --days 7 --as police-450100")]
    Ask {
        #[command(flatten)]
        of: Of,
        /// The question, as the reporter is shown it
        #[arg(long, value_name = "TEXT")]
        question: String,
        /// Days that the reporter has to answer, 1 to 30 [default: 7]
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        days: i32,
        #[command(flatten)]
        remark: Remark,
    },
    /// Record a measure that could not wait, also before taking the case over
    #[command(
        after_help = "Example:\n  remit case urgent-measure cases/0d9f… evidence-secured --note 'pages saved' --as police-450100"
    )]
    UrgentMeasure {
        #[command(flatten)]
        of: Of,
        /// The measure
        #[arg(value_parser = choice(UrgentMeasure::as_str_name))]
        measure: UrgentMeasure,
        /// What was done, by whom
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Pause the time for the result, as the lead, on a ground that the rule set allows
    #[command(after_help = "\
Examples:
  remit case pause cases/0d9f… expert-opinion --note 'asked the laboratory' --as police-450100
  remit case pause cases/0d9f… hearing --until 2026-12-24T18:00:00+08:00 --note 'on the 24th' --as police-450100")]
    Pause {
        #[command(flatten)]
        of: Of,
        /// The ground
        #[arg(value_parser = choice(PauseGround::as_str_name))]
        ground: PauseGround,
        /// The latest end of the pause, in RFC 3339; without it, as long as the rule set allows
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// What it waits for
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Let a paused time for the result run again, as the lead
    #[command(after_help = "Example:\n  remit case resume cases/0d9f… --note 'the opinion came' --as police-450100")]
    Resume {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        remark: Remark,
    },
    /// Let a supporting agency read what the reports say, as the lead
    #[command(after_help = "\
Examples:
  remit case share cases/0d9f… police-440000 --note 'for the search of the server' --as police-450100
  remit case share cases/0d9f… police-440000 --end --note 'done' --as police-450100")]
    Share {
        #[command(flatten)]
        of: Of,
        /// The supporting agency
        agency: String,
        /// It may no longer read them, instead
        #[arg(long = "end")]
        withheld: bool,
        /// What it needs them for
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// End the link of a joined case to its main case, as the lead, before that is decided
    #[command(after_help = "\
Its report goes on in its own case, with its own dates, owner and clocks. `remit case show` has the joined cases.

Example:
  remit case split cases/0d9f… reports/7c1e… --note 'another seller' --as police-450100")]
    Split {
        #[command(flatten)]
        of: Of,
        /// The report of the joined case
        report: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

impl Work {
    /// Makes the change and shows the case, or shows what it would be.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let shown = Shown { routing, json };
        match self {
            Self::Assign {
                cases,
                to,
                take,
                pool,
                from: former_officer,
            } => {
                let (word, assignee) = match to {
                    Some(officer) => (tr("assigned to the officer"), Assignee::Officer(officer)),
                    None if take => (tr("taken from the pool"), Assignee::ActingOfficer(take)),
                    None => (tr("back in the pool"), Assignee::Pool(pool)),
                };
                let assignee = Some(assignee);
                let request = |of: Of| {
                    let (assignee, former_officer) = (assignee.clone(), former_officer.clone());
                    request!(of => AssignCaseRequest { assignee, former_officer })
                };
                each!(
                    shown,
                    client,
                    word,
                    cases,
                    request,
                    assign_case,
                    batch_assign_cases(BatchAssignCasesRequest)
                )
            }
            Self::RequestAssistance {
                of,
                agency,
                remark: Remark { note },
            } => {
                let request = request!(of => RequestAssistanceRequest { agency: agency_name(&agency), note });
                shown
                    .done(tr("asked to assist"), client.request_assistance(request).await)
                    .await
            }
            Self::AnswerAssistance {
                of,
                answer,
                remark: Remark { note },
            } => {
                let request = request!(of => AnswerAssistanceRequest { answer: answer.wire(), note });
                shown
                    .done(tr("answered"), client.answer_assistance(request).await)
                    .await
            }
            Self::Progress {
                of,
                note,
                told: TellReporter { reporter_text },
            } => {
                let request = request!(of => RecordProgressRequest { note, reporter_text });
                shown
                    .done(tr("put on record"), client.record_progress(request).await)
                    .await
            }
            Self::Ask {
                of,
                question,
                days: answer_day_count,
                remark: Remark { note },
            } => {
                let request = request!(of => AskReporterRequest { question, answer_day_count, note });
                shown.done(tr("asked"), client.ask_reporter(request).await).await
            }
            Self::UrgentMeasure { of, measure, note } => {
                let request = request!(of => RecordUrgentMeasureRequest { measure: measure.into(), note });
                shown
                    .done(tr("put on record"), client.record_urgent_measure(request).await)
                    .await
            }
            Self::Pause {
                of,
                ground,
                until,
                note,
            } => {
                let until_time = until.map(|until| Time(until.as_microsecond()).to_proto());
                let request = request!(of => PauseClockRequest { ground: ground.into(), until_time, note });
                shown.done(tr("paused"), client.pause_clock(request).await).await
            }
            Self::Resume {
                of,
                remark: Remark { note },
            } => {
                let request = request!(of => ResumeClockRequest { note });
                shown
                    .done(tr("it runs again"), client.resume_clock(request).await)
                    .await
            }
            Self::Share {
                of,
                agency,
                withheld,
                note,
            } => {
                let agency = agency_name(&agency);
                let request = request!(of => ShareNarrativeRequest { agency, withheld, note });
                let word = if withheld { tr("shared no longer") } else { tr("shared") };
                shown.done(word, client.share_narrative(request).await).await
            }
            Self::Split { of, report, note } => {
                let report = format!("reports/{}", id(&report));
                let request = request!(of => SplitReportRequest { report, note });
                shown
                    .done(tr("joined no longer"), client.split_report(request).await)
                    .await
            }
        }
    }
}

/// An answer to a request to assist.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum Answer {
    /// It assisted
    Provided,
    /// It cannot
    Unable,
}

impl Answer {
    fn wire(self) -> i32 {
        let answer = match self {
            Self::Provided => AssistanceAnswer::Provided,
            Self::Unable => AssistanceAnswer::Unable,
        };
        answer.into()
    }
}
