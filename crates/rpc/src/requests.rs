//! Request ids: read from a request, and what an earlier request with the same id leads to.

use journal::{Earlier, RequestId};
use prost::Message;

use crate::{Failure, Identity, Violations};

/// The request id of a call of a method: its field `request_id`, which may be empty. `content` is
/// what tells a repeat from another request.
///
/// # Errors
/// When it is not a UUID.
pub fn request_id(caller: &Identity, method: &str, text: &str, content: &[u8]) -> Result<Option<RequestId>, Failure> {
    let mut violations = Violations::new();
    let id = violations.request_id("request_id", text);
    violations.finish(|| Some(()))?;
    Ok(id.map(|id| RequestId::new(&caller.system, id, method, content)))
}

/// The first answer to a request.
///
/// # Errors
/// When the id was used for other content, or the answer cannot be read.
pub fn first_answer<R: Message + Default>(earlier: &Earlier) -> Result<R, Failure> {
    match earlier {
        Earlier::OtherContent => Err(Failure::RequestIdReused),
        Earlier::Answered(answer) => R::decode(answer.as_slice()).map_err(|error| Failure::Internal(Box::new(error))),
    }
}
