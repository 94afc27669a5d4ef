//! The log's status: whether it is late, and why.

use std::{sync::Arc, time::Duration};

use api::operations::{GetStatusResponse, LogStatus};
use async_trait::async_trait;
use journal::{Clock, RecordHead, Time};
use rpc::{Failure, operations::Operated};
use tokio::sync::watch;

use crate::{
    producer::Standing,
    publisher::Published,
    store::{Store, StoreError},
    vitals::Vitals,
};

/// Status of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Number of durable entries.
    pub size: u64,
    /// Number of entries covered by the newest published checkpoint.
    pub published: u64,
    /// Time of that checkpoint's signature.
    pub signed: Time,
    /// Why newer entries are not published; empty if they are, or will be in a moment.
    pub unpublished: String,
    /// The witnesses that did not cosign it, and why; empty if all did.
    pub silent: String,
    /// Whether this process writes the log.
    pub writes: bool,
}

pub(crate) async fn status(
    store: &dyn Store,
    published: &watch::Receiver<Published>,
    vitals: &Vitals,
) -> Result<Status, StoreError> {
    let (size, writes) = match store.head().await {
        Ok(head) => (head.size, !vitals.halted.is_cancelled()),
        Err(StoreError::Fenced) => (published.borrow().head.size, false),
        Err(error) => return Err(error),
    };
    let published = published.borrow().clone();
    Ok(Status {
        size,
        published: published.head.size,
        signed: published.time,
        unpublished: vitals.unpublished(),
        silent: vitals.silent(),
        writes,
    })
}

/// Maximum number of gaps to count.
pub(crate) const GAPS: u32 = 1_000;

/// Audit's part of the operations service.
pub(crate) struct Operations {
    pub store: Arc<dyn Store>,
    pub published: watch::Receiver<Published>,
    pub vitals: Arc<Vitals>,
    pub clock: Arc<dyn Clock>,
    /// How often a quiet log is signed again.
    pub refresh: Duration,
}

#[async_trait]
impl Operated for Operations {
    async fn status(&self) -> Result<GetStatusResponse, Failure> {
        let status = status(&*self.store, &self.published, &self.vitals).await;
        let status = status.map_err(|error| match error {
            StoreError::Sql(error) => Failure::from(error),
            StoreError::Fenced => Failure::Internal(Box::new(error)),
        })?;
        let gaps = self.store.gaps(None, GAPS).await?;
        let gaps: Vec<_> = gaps.iter().filter(|gap| gap.examined.is_none()).collect();
        let mut troubled_producers = Vec::new();
        let mut is_lost = false;
        for (name, producer) in self.store.producers().await? {
            let (standing, since) = (producer.standing, producer.standing_since);
            if let Some(since) = producer.frozen {
                troubled_producers.push(format!("{name} is frozen since {since}"));
            }
            if !matches!(standing, Standing::Unknown | Standing::Complete) {
                let standing = format!("{standing:?}").to_lowercase();
                troubled_producers.push(format!("{name} is {standing} since {since}"));
            }
            is_lost |=
                producer.frozen.is_some() || matches!(standing, Standing::Lost | Standing::Different | Standing::Ahead);
        }
        Ok(GetStatusResponse {
            service: "audit".to_owned(),
            time: Some(self.clock.now().to_proto()),
            log: Some(LogStatus {
                size: status.size.cast_signed(),
                published_size: status.published.cast_signed(),
                sign_time: Some(status.signed.to_proto()),
                unpublished: status.unpublished,
                silent_witnesses: status.silent,
                writes: status.writes,
                gap_count: i64::try_from(gaps.len()).unwrap_or(i64::MAX),
                gaps_since_time: gaps.iter().map(|gap| gap.since).min().map(Time::to_proto),
                troubled_producers,
                lost: is_lost,
                refresh_interval: Some(prost_types::Duration {
                    seconds: i64::try_from(self.refresh.as_secs()).unwrap_or(i64::MAX),
                    nanos: i32::try_from(self.refresh.subsec_nanos()).unwrap_or_default(),
                }),
            }),
            ..Default::default()
        })
    }

    async fn heads(&self, cursor: &str, limit: u32) -> Result<(Vec<RecordHead>, Option<String>), Failure> {
        let heads = self.store.record_heads(cursor, limit).await?;
        let next = heads.last().map(|head| head.record.clone());
        Ok((heads, next))
    }

    async fn heads_of(&self, records: Vec<String>) -> Result<Vec<RecordHead>, Failure> {
        Ok(self.store.record_heads_of(records).await?)
    }
}
