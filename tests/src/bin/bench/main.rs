//! Measures what Remit promises about speed, each figure beside a reference from the same run.

mod echo;
mod load;
mod submit;

use std::time::Duration;

use testkit::Backend;
use tokio_util::sync::CancellationToken;

const CALLERS: usize = 64;
const DURATION: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = echo::serve().await?;
    let bare = load::submit(&address, "none-is-looked-at", CALLERS, DURATION).await?;
    println!("bare echo          {}", bare.line());
    for (name, backend) in [("SQLite", Some(Backend::sqlite())), ("PostgreSQL", Backend::postgres())] {
        let Some(backend) = backend else { continue };
        let shutdown = CancellationToken::new();
        let (address, token) = submit::serve(&backend, &shutdown).await?;
        let measured = load::submit(&address, token, CALLERS, DURATION).await?;
        println!(
            "submit {name:<11} {}   {:.2} of the echo",
            measured.line(),
            measured.rate / bare.rate
        );
        shutdown.cancel();
    }
    Ok(())
}
