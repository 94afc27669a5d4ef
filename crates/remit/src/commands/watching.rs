//! What `watch` commands share: a stream's messages one by one, and where to go on.

use tonic::{Response, Status, Streaming};

use crate::{
    client::{Failed, Target},
    output,
};

/// A message of a feed.
pub(super) trait Resumable {
    /// The token to continue after it.
    fn resume_token(&self) -> &str;

    /// Whether it has news, and does not only say how far the feed is.
    fn has_news(&self) -> bool;
}

/// Shows the messages of a feed until its end, an interruption, or so many with news. However it
/// ends, it tells how to go on. `command` is the one to go on with.
pub(super) async fn watch<M: Resumable>(
    target: &Target,
    opened: Result<Response<Streaming<M>>, Status>,
    resume_token: String,
    limit: Option<u64>,
    command: &str,
    mut show: impl AsyncFnMut(&M) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let failed = Failed::call(&target.address);
    let mut messages = opened.map_err(&failed)?.into_inner();
    let (mut last, mut seen, mut ended) = (resume_token, 0, false);
    while limit.is_none_or(|limit| seen < limit) {
        let message = tokio::select! {
            message = messages.message() => match message {
                Ok(message) => message,
                Err(status) => {
                    say_resume(command, &last);
                    return Err(failed(status).into());
                }
            },
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(message) = message else {
            ended = true;
            break;
        };
        seen += u64::from(message.has_news());
        show(&message).await?;
        message.resume_token().clone_into(&mut last);
    }
    say_resume(command, &last);
    if ended {
        let message = format!("the server at {} ended the stream; it is stopping", target.address);
        let help = "resume after the last message with --resume".to_owned();
        return Err(Failed::Unreachable { message, help }.into());
    }
    Ok(())
}

/// In JSON every message has its token; so this is no part of the output.
fn say_resume(command: &str, last: &str) {
    if !last.is_empty() {
        output::aside(format_args!("resume with: remit {command} --resume {last}"));
    }
}
