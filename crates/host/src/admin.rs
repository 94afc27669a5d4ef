//! The process's admin listener: one, however many services run in it.

use anyhow::Context as _;
use rpc::admin::{self, Serving};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, running::address};

/// The listener, bound but not served yet, so that a bad address ends the start at once.
#[derive(Debug)]
pub(crate) struct Bound(Option<TcpListener>);

impl Bound {
    /// Binds the configured address, if there is one.
    pub(crate) async fn new(config: &Config) -> anyhow::Result<Self> {
        let Some(listen) = config.admin.listen else {
            return Ok(Self(None));
        };
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| {
            format!("the admin listener cannot listen on {listen}; set another address with `admin.listen`")
        })?;
        Ok(Self(Some(listener)))
    }

    /// Serves metrics, and the health of these services.
    pub(crate) fn serve(self, services: Vec<Serving>) -> anyhow::Result<Admin> {
        let Some(listener) = self.0 else {
            return Ok(Admin::default());
        };
        let (address, shutdown) = (address(&listener, false)?, CancellationToken::new());
        tracing::info!(address, "serving metrics and health");
        let serving = admin::serve(listener, services, shutdown.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "metrics and health are no longer served");
            }
        });
        Ok(Admin {
            address: Some(address),
            running: Some((shutdown, serving)),
        })
    }
}

/// The listener at work; or none.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    /// Its address.
    pub(crate) address: Option<String>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Admin {
    /// Stops it.
    pub(crate) async fn stop(self) {
        if let Some((shutdown, serving)) = self.running {
            shutdown.cancel();
            if let Err(error) = serving.await {
                tracing::error!(%error, "the admin listener panicked");
            }
        }
    }
}
