//! Access to the methods of a running server.

use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service as _, http},
    transport::{Channel, Endpoint},
};

/// A call that a server admits or refuses before it reads the message.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The method, such as `/remit.intake.v1.IntakeService/GetReport`.
    pub path: String,
    /// The caller.
    pub who: String,
    /// The caller's token.
    pub token: Option<String>,
    /// Whether the call should be admitted.
    pub admitted: bool,
}

/// Makes each call with an empty body to the server at an address, and returns the unexpected
/// answers.
pub async fn faults(address: &str, attempts: Vec<Attempt>) -> Vec<String> {
    let channel = Endpoint::from_shared(address.to_owned()).map(|endpoint| endpoint.connect_lazy());
    let Ok(channel) = channel else {
        return vec![format!("{address} is no address")];
    };
    let mut faults = Vec::new();
    for attempt in attempts {
        let refused = refusal(channel.clone(), &attempt).await;
        let is_right = match (&refused, attempt.admitted) {
            (Err(problem), _) => {
                faults.push(format!("{} by {}: {problem}", attempt.path, attempt.who));
                continue;
            }
            (Ok(Some(status)), true) => !matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied),
            (Ok(Some(status)), false) => match attempt.token {
                Some(_) => status.code() == Code::PermissionDenied && status.message().contains(": only "),
                None => status.code() == Code::Unauthenticated,
            },
            (Ok(None), admitted) => admitted,
        };
        if !is_right {
            let expected = if attempt.admitted { "admitted" } else { "refused" };
            faults.push(format!(
                "{} by {} is to be {expected}, and was answered {refused:?}",
                attempt.path, attempt.who
            ));
        }
    }
    faults
}

/// The status of a call that ends before the first message of its response; `None` otherwise.
async fn refusal(mut channel: Channel, attempt: &Attempt) -> Result<Option<Status>, String> {
    let mut request = http::Request::post(&attempt.path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = &attempt.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .map_err(|error| error.to_string())?;
    let response = channel.call(request).await.map_err(|error| error.to_string())?;
    Ok(Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok))
}
