//! `remit report watch`, `confirm` and `undelivered`: what became of a sender's reports, and who
//! has not got it.

use api::intake::{
    ConfirmReportsRequest, ListUnconfirmedSendersRequest, ListUnconfirmedSendersResponse, ReportNews,
    WatchReportsRequest, WatchReportsResponse, intake_service_client::IntakeServiceClient,
};
use api::text_in;
use clap::Subcommand;
use tokio::time::{Duration, Instant};

use super::super::watching::{self, Resumable};
use crate::{
    client::{Failed, Target, pages},
    output::{self, Paint as _, dim, good, id, line, tell, tr},
};

#[derive(Subcommand, Clone, Debug)]
pub(super) enum Feed {
    /// Watch what becomes of the reports that the caller sent: each outcome once, as it happens
    ///
    /// An agency has the report, none can act, it is decided, that is undone, it is closed or
    /// withdrawn. Every 30 seconds the server says how far the feed is, also where nothing happens.
    #[command(after_help = "\
Examples:
  remit report watch --as hotline
  remit report watch --as hotline --json --confirm
  remit report watch --as hotline --resume TOKEN")]
    Watch {
        /// Resume after the message that came with this token
        #[arg(long, visible_alias = "resume-token", value_name = "TOKEN")]
        resume: Option<String>,
        /// Stop after this many outcomes
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Confirm what was shown, so that operators see that it arrived
        #[arg(long)]
        confirm: bool,
    },
    /// Confirm that the caller has what it was shown, up to a token
    #[command(after_help = "Example:\n  remit report confirm TOKEN --as hotline")]
    Confirm {
        /// The token of the last message that was stored
        token: String,
    },
    /// List the senders that have not confirmed what became of their reports; for operators
    #[command(after_help = "Example:\n  remit report undelivered")]
    Undelivered {
        /// Maximum number of senders
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
}

/// Between two confirmations while there are news.
const CONFIRM: Duration = Duration::from_secs(1);

impl Feed {
    /// Runs the command; `stream` has no deadline.
    pub(super) async fn run(
        self,
        intake: impl FnOnce() -> anyhow::Result<Target>,
        stream: impl FnOnce() -> anyhow::Result<Target>,
        json: bool,
    ) -> anyhow::Result<()> {
        match self {
            Self::Watch { resume, limit, confirm } => {
                let confirming = confirm.then(intake).transpose()?;
                watch(&stream()?, resume.unwrap_or_default(), limit, confirming, json).await
            }
            Self::Confirm { token } => {
                let intake = intake()?;
                let request = ConfirmReportsRequest { resume_token: token };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .confirm_reports(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                match json {
                    true => output::json(&answer),
                    false => Ok(line(tr("confirmed").style(good()))?),
                }
            }
            Self::Undelivered { limit } => undelivered(&intake()?, limit, json).await,
        }
    }
}

impl Resumable for WatchReportsResponse {
    fn resume_token(&self) -> &str {
        &self.resume_token
    }

    fn has_news(&self) -> bool {
        self.news.is_some()
    }
}

async fn confirm(intake: &Target, token: &str) -> anyhow::Result<()> {
    let request = ConfirmReportsRequest {
        resume_token: token.to_owned(),
    };
    IntakeServiceClient::new(intake.channel.clone())
        .confirm_reports(request)
        .await
        .map_err(Failed::call(&intake.address))?;
    Ok(())
}

async fn watch(
    intake: &Target,
    resume_token: String,
    limit: Option<u64>,
    confirming: Option<Target>,
    json: bool,
) -> anyhow::Result<()> {
    let request = WatchReportsRequest {
        resume_token: resume_token.clone(),
    };
    let opened = IntakeServiceClient::new(intake.channel.clone())
        .watch_reports(request)
        .await;
    // What was shown, and not confirmed yet.
    let (mut shown, mut confirmed) = (None, Instant::now());
    let watched = watching::watch(intake, opened, resume_token, limit, "report watch", async |message| {
        if json {
            output::json_line(message)?;
        } else if let Some(news) = &message.news {
            told(news)?;
        }
        shown = Some(message.resume_token.clone());
        // A message without news comes after the last one, and rarely.
        if let Some(target) = &confirming
            && (message.news.is_none() || confirmed.elapsed() >= CONFIRM)
            && let Some(token) = shown.take()
        {
            confirm(target, &token).await?;
            confirmed = Instant::now();
        }
        Ok(())
    })
    .await;
    if let (Some(target), Some(token)) = (&confirming, &shown) {
        confirm(target, token).await?;
    }
    watched
}

/// One outcome in a line or two.
fn told(news: &ReportNews) -> anyhow::Result<()> {
    let own = match news.external_id.as_str() {
        "" => String::new(),
        own => format!("  {own}"),
    };
    let time = output::time(news.change_time.as_ref());
    let led = match news.agency.as_str() {
        "" => String::new(),
        agency => format!("  {}", id(agency)),
    };
    let state = output::report_state(news.state());
    line(format_args!("{time}  {}{own}  {state}{led}", news.report))?;
    let language = output::language().code();
    let outcome = news.outcome.iter().map(|outcome| text_in(&outcome.summaries, language));
    let advice = news.advice.iter().map(|advice| text_in(&advice.texts, language));
    for text in outcome.chain(advice).filter(|text| !text.is_empty()) {
        line(format_args!("  {}", text.style(dim())))?;
    }
    Ok(())
}

async fn undelivered(intake: &Target, limit: usize, json: bool) -> anyhow::Result<()> {
    let (senders, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListUnconfirmedSendersRequest { page_size, page_token };
        let page = IntakeServiceClient::new(intake.channel.clone())
            .list_unconfirmed_senders(request)
            .await
            .map_err(Failed::call(&intake.address))?
            .into_inner();
        Ok((page.senders, page.next_page_token))
    })
    .await?;
    let all = ListUnconfirmedSendersResponse {
        senders,
        next_page_token,
    };
    if json {
        return output::json(&all);
    }
    if all.senders.is_empty() {
        line(tr("all senders have confirmed everything"))?;
    }
    for sender in &all.senders {
        let who = match sender.agency.as_str() {
            "" => sender.system.as_str(),
            agency => id(agency),
        };
        let since = output::time(sender.unconfirmed_since_time.as_ref());
        let before = match &sender.confirm_time {
            Some(_) => output::time(sender.confirm_time.as_ref()),
            None => tr("never").to_owned(),
        };
        line(tell(
            "{0}  {1} not confirmed since {2}; last confirmed: {3}",
            &[&who, &sender.unconfirmed_count, &since, &before],
        ))?;
    }
    if !all.next_page_token.is_empty() {
        line(tr("more exist: raise --limit").style(dim()))?;
    }
    Ok(())
}
