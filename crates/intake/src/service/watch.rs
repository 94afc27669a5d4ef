//! What senders are told of what became of their reports, as a feed, and what they confirm of it.
//!
//! A sender that is excluded from a report learns nothing of what followed: what its feed has of
//! that report is read and passed over. Whether anything was, nothing tells. Tokens are sealed, and
//! no two are alike; they come every half minute, whatever happens. While routing cannot be asked,
//! feeds wait, and do not fail. A confirmation is answered and stored alike whether it brings
//! anything new. A token is refused for its own age, and not for that of what was
//! deleted.

use std::{sync::Arc, time::Duration};

use api::intake::{
    ConfirmReportsRequest, ConfirmReportsResponse, ListUnconfirmedSendersRequest, ListUnconfirmedSendersResponse,
    ReportNews, UnconfirmedSender, WatchReportsResponse,
};
use api::routing::routing_inbound_service_client::RoutingInboundServiceClient;
use futures::Stream;
use journal::{Clock, Entropy, Kind, Time};
use rpc::{
    Failure, Identity, Violations,
    client::Caller,
    feed::{Feed, Interrupted, Read, Source},
    page::{self, Seal},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{Service, sender};
use crate::{
    outcome, sight,
    store::{self, Sender, Store, Unconfirmed},
};

const DAY: i64 = 24 * 60 * 60;
/// Seconds for which a token is good.
const WINDOW: i64 = 30 * DAY;
/// Seconds after which feeds forget: later, for replicas' clocks differ, and whoever begins with
/// the oldest has time to go on.
pub(crate) const KEPT: i64 = WINDOW + 2 * DAY;
/// Interval of messages that only say how far the feed is.
const MARK: Duration = Duration::from_secs(30);
/// Pause after routing could not be asked.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Where a token goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    position: u64,
    /// What was recorded before this moment is at or before the position.
    as_of: Time,
}

impl Cursor {
    /// As it is sealed: no two alike, or two that are would tell that nothing was read in between.
    fn text(self, now: Time, entropy: &dyn Entropy) -> String {
        let nonce = journal::ordered_id(now, entropy);
        format!("{}/{}/{nonce}", self.position, self.as_of.0)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (position, as_of) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let as_of = Time(as_of);
        parts.next().map(|_| Self { position, as_of })
    }
}

/// What tokens are bound to: the sender, whichever of its systems has them.
fn bound_to(by: &Sender) -> String {
    format!("WatchReports owner={:?}", by.owner())
}

/// One change in a feed.
struct Heard {
    record_time: Time,
    /// `None` if the sender must not know of it.
    news: Option<ReportNews>,
}

/// Where a sender's feed is read from.
struct Sent {
    store: Arc<dyn Store>,
    routing: RoutingInboundServiceClient<Caller>,
    clock: Arc<dyn Clock>,
    by: Sender,
    /// The last that was found when everything was, and when.
    read: Cursor,
}

impl Source for Sent {
    type Item = Heard;
    type Error = sql::Error;

    async fn read(&mut self, after: u64, limit: u32) -> Read<Self> {
        let as_of = self.clock.now();
        let found = self.store.feed(&self.by, after, limit).await?;
        let reports: Vec<_> = found.iter().map(|told| (told.report, told.case.as_ref())).collect();
        let Ok(hidden) = sight::hidden_of(&self.routing, self.by.agency.as_ref(), &reports).await else {
            tokio::time::sleep(UNANSWERED).await;
            return Ok(Some(Vec::new()));
        };
        if found.len() < limit as usize {
            let position = found.last().map_or(after, |last| last.position);
            self.read = Cursor { position, as_of };
        }
        let heard = found.into_iter().map(|told| {
            let is_hidden = hidden.contains(&store::name(told.report));
            let news = (!is_hidden).then_some(told.news);
            let record_time = told.record_time;
            (told.position, Heard { record_time, news })
        });
        Ok(Some(heard.collect()))
    }
}

/// An open feed of a sender.
struct Watched {
    feed: Feed<Sent>,
    marks: Interval,
    reached: Cursor,
    seal: Seal,
    bound_to: String,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Watched {
    /// The next message. `None` at the end.
    async fn next(&mut self) -> Option<Result<WatchReportsResponse, Failure>> {
        loop {
            let heard = tokio::select! {
                biased;
                _ = self.marks.tick() => {
                    let read = self.feed.source().read;
                    if self.reached.position >= read.position {
                        self.reached.as_of = self.reached.as_of.max(read.as_of);
                    }
                    return Some(Ok(self.message(None)));
                }
                heard = self.feed.next() => heard?,
            };
            let (position, heard) = match heard {
                Ok(heard) => heard,
                Err(Interrupted::Forgotten) => return Some(Err(forgotten())),
                Err(Interrupted::Source(error)) => return Some(Err(error.into())),
            };
            let as_of = heard.record_time;
            self.reached = Cursor { position, as_of };
            if let Some(news) = heard.news {
                return Some(Ok(self.message(Some(in_words(news)))));
            }
        }
    }

    fn message(&self, news: Option<ReportNews>) -> WatchReportsResponse {
        let cursor = self.reached.text(self.clock.now(), &*self.entropy);
        WatchReportsResponse {
            news,
            resume_token: self.seal.encode(&self.bound_to, &cursor),
        }
    }
}

/// News as stored, with the words of today.
fn in_words(news: ReportNews) -> ReportNews {
    let kind = Kind::from_name(&news.kind);
    ReportNews {
        titles: kind
            .map(|kind| api::bilingual(kind.zh(), kind.en()))
            .unwrap_or_default(),
        outcome: news.outcome.map(outcome::in_words),
        ..news
    }
}

impl Service {
    /// What becomes of the caller's reports, after a token.
    pub(crate) async fn watch(
        &self,
        caller: &Identity,
        resume_token: &str,
    ) -> Result<impl Stream<Item = Result<WatchReportsResponse, Failure>> + Send + use<>, Failure> {
        let by = sender(caller);
        let seal = self.tokens.seal().await?;
        let bound_to = bound_to(&by);
        let since = self.clock.now().plus_seconds(-WINDOW);
        let reached = match self.resumed(&seal, &by, resume_token).await? {
            Some(cursor) if cursor.as_of < since => return Err(forgotten()),
            Some(cursor) => cursor,
            None => Cursor {
                position: self.store.feed_begins(&by, since).await?,
                as_of: since.plus_seconds(DAY),
            },
        };
        let admission = self.open_feeds.admit(&by.owner()).ok_or(Failure::Overloaded)?;
        let sent = Sent {
            store: Arc::clone(&self.store),
            routing: self.routing.clone(),
            clock: Arc::clone(&self.clock),
            by,
            read: reached,
        };
        let commits = self.writer.commits();
        let feed = Feed::new(sent, admission, reached.position, commits, self.shutdown.clone());
        let mut marks = interval_at(Instant::now() + MARK, MARK);
        marks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watched = Watched {
            feed,
            marks,
            reached,
            seal,
            bound_to,
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        };
        // After an error there is nothing more.
        let watched = futures::stream::unfold(Some(watched), |watched| async {
            let mut watched = watched?;
            let next = watched.next().await?;
            let rest = next.is_ok().then_some(watched);
            Some((next, rest))
        });
        Ok(watched)
    }

    /// Confirms that the caller has its feed up to a token.
    pub(crate) async fn confirm(
        &self,
        caller: &Identity,
        request: &ConfirmReportsRequest,
    ) -> Result<ConfirmReportsResponse, Failure> {
        let by = sender(caller);
        let seal = self.tokens.seal().await?;
        let Some(cursor) = self.resumed(&seal, &by, &request.resume_token).await? else {
            return Err(Failure::invalid("resume_token", "is required"));
        };
        let now = self.clock.now();
        self.store.confirm(&by, cursor.position, now).await?;
        Ok(ConfirmReportsResponse {
            confirm_time: Some(now.to_proto()),
        })
    }

    /// The cursor of a token of this sender and database; `None` without a token.
    async fn resumed(&self, seal: &Seal, by: &Sender, token: &str) -> Result<Option<Cursor>, Failure> {
        let cursor = seal.position(&bound_to(by), token, Cursor::parse).map_err(|_| {
            let description = "is not one that this server gave to this sender; start again with an empty one";
            Failure::invalid("resume_token", description)
        })?;
        match cursor {
            Some(cursor) if cursor.position > self.store.feed_head(by).await? => Err(forgotten()),
            cursor => Ok(cursor),
        }
    }

    /// A page of the senders that have not confirmed everything.
    pub(crate) async fn unconfirmed(
        &self,
        request: &ListUnconfirmedSendersRequest,
    ) -> Result<ListUnconfirmedSendersResponse, Failure> {
        const FILTER: &str = "ListUnconfirmedSenders";
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let after = violations.note(seal.decode(FILTER, &request.page_token))?;
        let (size, after) = violations.finish(|| Some((size?, after?)))?;
        let mut found = self.store.unconfirmed(after.as_deref(), size + 1).await?;
        let next_page_token = seal.cut(&mut found, size, FILTER, |last| last.owner.clone());
        Ok(ListUnconfirmedSendersResponse {
            senders: found.iter().map(shown).collect(),
            next_page_token,
        })
    }
}

fn shown(unconfirmed: &Unconfirmed) -> UnconfirmedSender {
    let (agency, system) = match unconfirmed.owner.split_once('\n') {
        Some(("agency", id)) => (names::Collection::AGENCIES.of(id), String::new()),
        Some((_, system)) => (String::new(), system.to_owned()),
        None => (String::new(), unconfirmed.owner.clone()),
    };
    UnconfirmedSender {
        agency,
        system,
        unconfirmed_count: i32::try_from(unconfirmed.count).unwrap_or(i32::MAX),
        unconfirmed_since_time: unconfirmed.since.map(Time::to_proto),
        confirm_time: unconfirmed.confirm_time.map(Time::to_proto),
    }
}

/// The error for a feed that cannot continue: the token is too old, or the database was restored to
/// an earlier time.
fn forgotten() -> Failure {
    let days = WINDOW / DAY;
    Failure::invalid(
        "resume_token",
        format!("is older than the {days} days that are kept, or not of this database; start again with an empty one"),
    )
}

#[cfg(test)]
mod tests {
    use journal::SeededEntropy;

    use super::*;

    #[test]
    fn p7_tokens_of_one_place_differ_and_have_one_length() {
        let (seal, entropy) = (Seal::new(&[7; 32]), SeededEntropy::new(1));
        let by = Sender {
            system: "platform".to_owned(),
            agency: None,
        };
        let mut told = Vec::new();
        for (position, as_of) in [
            (0, 1_795_262_400_000_000),
            (0, 1_795_262_400_000_000),
            (9_999_999_999, 0),
        ] {
            let cursor = Cursor {
                position,
                as_of: Time(as_of),
            };
            let token = seal.encode(&bound_to(&by), &cursor.text(Time(5), &entropy));
            let read = seal.position(&bound_to(&by), &token, Cursor::parse).unwrap();
            assert_eq!(read, Some(cursor));
            assert!(!told.contains(&token), "nothing shows that nothing was read");
            assert!(told.iter().all(|earlier: &String| earlier.len() == token.len()));
            told.push(token);
        }
        let others = Sender {
            system: "bank".to_owned(),
            agency: None,
        };
        assert!(seal.position(&bound_to(&others), &told[0], Cursor::parse).is_err());
    }
}
