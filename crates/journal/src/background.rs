//! Background tasks of a service: its relays and its upkeep.

use std::{sync::Arc, time::Duration};

use sql::Db;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Clock, Deliver, Entropy, Relay, SqlOutbox, Writer};

/// The background tasks of a service, on its database, until the shutdown that was given.
#[derive(Debug)]
pub struct Background {
    service: &'static str,
    db: Db,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    /// No tasks yet.
    pub fn new(service: &'static str, db: Db, shutdown: CancellationToken) -> Self {
        db.measure(service);
        Self {
            service,
            db,
            shutdown,
            tasks: Vec::new(),
        }
    }

    /// Runs a task that ends at the shutdown it is given, and starts it again when it panics.
    pub fn run<F>(&mut self, name: &'static str, start: impl Fn(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        let run = move || start(shutdown.clone());
        self.tasks
            .push(tokio::spawn(supervised(name, self.shutdown.clone(), run)));
    }

    /// Starts a relay to each consumer, in the name of this replica. The writer it returns wakes
    /// them after each write.
    pub fn relays<const N: usize>(
        &mut self,
        ways: [(&'static str, Arc<dyn Deliver>); N],
        replica: &str,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Writer {
        Writer::new(ways.map(|(consumer, way)| {
            let wake = Arc::new(Notify::new());
            let relay = Relay {
                outbox: Arc::new(SqlOutbox(self.db.clone())),
                consumer,
                way,
                clock: Arc::clone(clock),
                entropy: Arc::clone(entropy),
                owner: replica.to_owned(),
                wake: Arc::clone(&wake),
            };
            self.run(consumer, move |shutdown| relay.clone().run(shutdown));
            wake
        }))
        .of(self.service)
    }

    /// Waits until all tasks have ended, and closes the database. Call it after the shutdown, when
    /// the service no longer takes calls.
    pub async fn finish(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(service = self.service, %error, "a background task was stopped");
            }
        }
        self.db.close().await;
    }
}

/// Keeps a task going until `shutdown`: one that panics is started again after a second, with an
/// error in the log.
pub async fn supervised<F>(name: &'static str, shutdown: CancellationToken, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match tokio::spawn(start()).await {
            Ok(()) => return,
            Err(error) => tracing::error!(name, %error, "a task panicked and is started again"),
        }
        if tokio::time::timeout(Duration::from_secs(1), shutdown.cancelled())
            .await
            .is_ok()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use testkit::Backend;

    use super::*;

    #[tokio::test]
    async fn what_panics_is_started_again_and_ends_at_the_shutdown() {
        let backend = Backend::sqlite();
        let db = Db::open(backend.url(), &[crate::SCHEMA]).await.unwrap();
        let shutdown = CancellationToken::new();
        let mut background = Background::new("test", db, shutdown.clone());
        let starts = Arc::new(AtomicU32::new(0));
        let (second, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (count, tell) = (Arc::clone(&starts), Arc::clone(&second));
        background.run("panics once", move |shutdown| {
            let (count, tell) = (Arc::clone(&count), Arc::clone(&tell));
            async move {
                assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "the first one");
                tell.notify_one();
                shutdown.cancelled().await;
            }
        });
        let tell = Arc::clone(&started);
        background.run("goes on", move |shutdown| {
            tell.notify_one();
            shutdown.cancelled_owned()
        });
        started.notified().await;
        second.notified().await;
        shutdown.cancel();
        background.finish().await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
}
