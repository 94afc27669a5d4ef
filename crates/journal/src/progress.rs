//! Tells a consumer up to when it has everything, so that it can tell quiet from stale.
//!
//! The consumer returns a time by its own clock. The relay then notes the last undelivered
//! position, and once everything up to it was taken, reports that all events recorded before that
//! time have arrived. The time comes before the look at the outbox, so no commit falls in between;
//! and only the consumer's clock is involved. Any relay may report, whoever holds the lease: an
//! event leaves the outbox only after it was taken.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Relay, Time};

/// Minimum interval between reports; each costs the consumer one commit.
const INTERVAL: Duration = Duration::from_secs(2);
/// After this, the relay asks for a new time: under load, and when the producer's clock was set
/// back, later events may sort before the noted position.
const PATIENCE: Duration = Duration::from_secs(30);

/// A relay's reports of progress.
#[derive(Debug, Default)]
pub struct Progress {
    asked: Option<Asked>,
    reported: Option<Instant>,
    is_failing: bool,
}

/// A time that the consumer returned.
#[derive(Debug)]
struct Asked {
    time: Time,
    since: Instant,
    /// The last undelivered position then.
    last: Option<String>,
}

impl Progress {
    /// Reports progress, if due and if there is any.
    pub async fn report(&mut self, relay: &Relay, now: Instant) {
        match self.try_report(relay, now).await {
            Ok(()) => self.is_failing = false,
            // Once per outage.
            Err(problem) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(consumer = relay.consumer, problem, "cannot report progress");
            }
            Err(_) => {}
        }
    }

    async fn try_report(&mut self, relay: &Relay, now: Instant) -> Result<(), String> {
        if self
            .reported
            .is_some_and(|reported| now.duration_since(reported) < INTERVAL)
        {
            return Ok(());
        }
        let arrived = match &self.asked {
            Some(asked) if now.duration_since(asked.since) > PATIENCE => None,
            Some(asked) => match relay.outbox.is_delivered(relay.consumer, asked.last.as_deref()).await {
                Ok(true) => Some(asked.time),
                Ok(false) => return Ok(()),
                Err(error) => return Err(telemetry::with_causes(&error)),
            },
            None => None,
        };
        self.reported = Some(now);
        self.asked = None;
        let next = relay.way.progress(arrived).await.map_err(|error| error.to_string())?;
        let Some(time) = next else { return Ok(()) };
        let last = relay.outbox.last_position(relay.consumer).await;
        self.asked = Some(Asked {
            time,
            since: now,
            last: last.map_err(|error| telemetry::with_causes(&error))?,
        });
        Ok(())
    }
}
