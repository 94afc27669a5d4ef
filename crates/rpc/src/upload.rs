//! Uploads: an announcement, then exactly the bytes that it announced. One shape for all files that
//! callers send.

use std::time::Duration;

use api::{intake, routing};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::Failure;

/// The messages of an upload.
pub trait UploadRequest: Send {
    /// The announcement.
    type Spec;
    /// Where the announcement says how many bytes will come.
    const SIZE: &'static str;

    /// The announcement or bytes; `None` when the message has neither.
    fn part(self) -> Option<Part<Self::Spec>>;
}

/// What one message of an upload has.
#[derive(Debug)]
pub enum Part<S> {
    /// The announcement.
    Spec(S),
    /// The next bytes.
    Data(Bytes),
}

macro_rules! uploads {
    ($($request:ty, $part:path, $spec:ty, $size:literal;)*) => {
        $(impl UploadRequest for $request {
            type Spec = $spec;
            const SIZE: &'static str = $size;

            fn part(self) -> Option<Part<$spec>> {
                use $part as It;
                Some(match self.part? {
                    It::Spec(spec) => Part::Spec(spec),
                    It::Data(data) => Part::Data(data),
                })
            }
        })*
    };
}

uploads! {
    intake::UploadEvidenceRequest, intake::upload_evidence_request::Part, intake::EvidenceSpec, "spec.size_bytes";
    routing::ApplyDirectoryRequest, routing::apply_directory_request::Part, routing::DirectorySpec, "spec.agencies_size_bytes";
    routing::LoadOperatorsRequest, routing::load_operators_request::Part, routing::OperatorsSpec, "spec.size_bytes";
}

/// The bytes of an upload, as they come.
#[derive(Debug)]
pub struct Upload<M> {
    messages: M,
    idle: Duration,
    came: u64,
}

impl<R: UploadRequest, M: Stream<Item = Result<R, Failure>> + Unpin> Upload<M> {
    /// Takes the announcement. No message is waited for longer than `idle`.
    ///
    /// # Errors
    /// When the first message is another.
    pub async fn begin(messages: M, idle: Duration) -> Result<(R::Spec, Self), Failure> {
        let mut upload = Self {
            messages,
            idle,
            came: 0,
        };
        match upload.part().await? {
            Some(Part::Spec(spec)) => Ok((spec, upload)),
            _ => Err(Failure::invalid(
                "spec",
                "is missing; the first message says what will come",
            )),
        }
    }

    /// The next bytes of the `announced` ones; `None` when all of them have come.
    ///
    /// # Errors
    /// When others come: more, fewer, none in a message, or a second announcement.
    pub async fn next(&mut self, announced: u64) -> Result<Option<Bytes>, Failure> {
        let wrong = |came: &str| {
            let description = format!("says that {announced} bytes come, and {came} came; upload all of them again");
            Failure::invalid(R::SIZE, description)
        };
        match self.part().await? {
            Some(Part::Data(data)) if data.is_empty() => Err(Failure::invalid("data", "is empty")),
            Some(Part::Data(data)) => {
                self.came += data.len() as u64;
                match self.came <= announced {
                    true => Ok(Some(data)),
                    false => Err(wrong("more")),
                }
            }
            Some(Part::Spec(_)) => Err(Failure::invalid("spec", "stands in the first message only")),
            None if self.came < announced => Err(wrong("fewer")),
            None => Ok(None),
        }
    }

    async fn part(&mut self) -> Result<Option<Part<R::Spec>>, Failure> {
        let message = tokio::time::timeout(self.idle, self.messages.next())
            .await
            .map_err(|_| Failure::DeadlineExceeded)?
            .transpose()?;
        match message.map(UploadRequest::part) {
            Some(None) => Err(Failure::invalid("part", "is missing; a message has a `spec` or `data`")),
            part => Ok(part.flatten()),
        }
    }
}

#[cfg(test)]
mod tests {
    use api::intake::{EvidenceSpec, UploadEvidenceRequest, upload_evidence_request::Part as Sent};

    use super::*;

    fn message(part: Sent) -> UploadEvidenceRequest {
        UploadEvidenceRequest { part: Some(part) }
    }

    async fn receive(messages: Vec<UploadEvidenceRequest>, announced: u64) -> Result<Vec<u8>, Failure> {
        let messages = futures::stream::iter(messages.into_iter().map(Ok));
        let (_, mut upload) = Upload::begin(messages, Duration::from_secs(1)).await?;
        let mut all = Vec::new();
        while let Some(data) = upload.next(announced).await? {
            all.extend_from_slice(&data);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn an_upload_is_one_announcement_and_the_bytes_that_it_announces() {
        let spec = || message(Sent::Spec(EvidenceSpec::default()));
        let data = |bytes: &'static [u8]| message(Sent::Data(Bytes::from_static(bytes)));
        let all = receive(vec![spec(), data(b"ab"), data(b"c")], 3).await.unwrap();
        assert_eq!(all, b"abc");
        for (messages, field) in [
            (vec![], "spec"),
            (vec![data(b"abc")], "spec"),
            (vec![UploadEvidenceRequest::default()], "part"),
            (vec![spec(), spec()], "spec"),
            (vec![spec(), data(b"")], "data"),
            (vec![spec(), data(b"ab")], "spec.size_bytes"),
            (vec![spec(), data(b"ab"), data(b"cd")], "spec.size_bytes"),
        ] {
            let Err(Failure::InvalidInput(found)) = receive(messages, 3).await else {
                panic!("{field} is accepted");
            };
            assert_eq!(found[0].field, field);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sender_is_not_waited_for() {
        let spec = futures::stream::iter([Ok(message(Sent::Spec(EvidenceSpec::default())))]);
        let silent = spec.chain(futures::stream::pending());
        let (_, mut upload) = Upload::begin(silent, Duration::from_secs(30)).await.unwrap();
        assert!(matches!(upload.next(3).await, Err(Failure::DeadlineExceeded)));
    }
}
