//! The body of `add-checkpoint`: the size last seen by the witness, the consistency proof from
//! there, and the new checkpoint (C2SP tlog-witness).

use data_encoding::BASE64;
use tlog_tiles::Hash;

/// Content type of a conflict response, which contains the witness's last size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// Maximum length of a proof between any two trees.
const MOST_HASHES: usize = 63;

/// Why a body is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The first line is not the old size.
    #[error("the first line must be `old`, a space and the size of the previous checkpoint, without leading zeros")]
    OldSize,
    /// A line of the proof is not a hash, or there are too many.
    #[error("the proof must be at most 63 lines, each the base64 of 32 bytes")]
    Proof,
    /// The empty line before the checkpoint is missing.
    #[error("an empty line must separate proof and checkpoint")]
    Separator,
    /// The body is not UTF-8.
    #[error("the body is not UTF-8")]
    Text,
}

/// A checkpoint submitted to a witness.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Size of the checkpoint last seen by the witness; 0 if none.
    pub old: u64,
    /// RFC 6962 consistency proof from that size.
    pub proof: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

impl Submission {
    /// Encodes the body of the request.
    pub fn encode(&self) -> String {
        let proof: String = self.proof.iter().map(|hash| BASE64.encode(&hash.0) + "\n").collect();
        format!("old {}\n{proof}\n{}", self.old, self.checkpoint)
    }

    /// Decodes the body of a request.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let body = std::str::from_utf8(body).map_err(|_| BodyError::Text)?;
        let (first, mut rest) = body.split_once('\n').ok_or(BodyError::OldSize)?;
        let old = first.strip_prefix("old ").and_then(size).ok_or(BodyError::OldSize)?;
        let mut proof = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(BodyError::Separator)?;
            rest = after;
            if line.is_empty() {
                let checkpoint = rest.to_owned();
                return Ok(Self { old, proof, checkpoint });
            }
            let hash = BASE64.decode(line.as_bytes()).map_err(|_| BodyError::Proof)?;
            proof.push(Hash(hash.try_into().map_err(|_| BodyError::Proof)?));
            if proof.len() > MOST_HASHES {
                return Err(BodyError::Proof);
            }
        }
    }
}

/// Parses a size in its only allowed spelling.
fn size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_round_trips() {
        for (old, proof) in [
            (0, vec![]),
            (7, vec![Hash([1; 32]), Hash([255; 32])]),
            (u64::MAX, vec![]),
        ] {
            let submission = Submission {
                old,
                proof,
                checkpoint: "o\n8\nr=\n\n— o c2ln\n".to_owned(),
            };
            assert_eq!(Submission::decode(submission.encode().as_bytes()), Ok(submission));
        }
    }

    #[test]
    fn malformed_bodies_are_refused() {
        let hash = BASE64.encode(&[0; 32]);
        let many = format!("old 1\n{}\nnote", format!("{hash}\n").repeat(64));
        for (body, why) in [
            ("", BodyError::OldSize),
            ("old 1", BodyError::OldSize),
            ("old 01\n\nnote", BodyError::OldSize),
            ("old +1\n\nnote", BodyError::OldSize),
            ("old -1\n\nnote", BodyError::OldSize),
            ("old 18446744073709551616\n\nnote", BodyError::OldSize),
            ("old  1\n\nnote", BodyError::OldSize),
            ("new 1\n\nnote", BodyError::OldSize),
            ("old 1\nnote\n\n", BodyError::Proof),
            ("old 1\nAAAA\n\nnote", BodyError::Proof),
            ("old 1\n", BodyError::Separator),
            (&format!("old 1\n{hash}\n"), BodyError::Separator),
            (&many, BodyError::Proof),
        ] {
            assert_eq!(Submission::decode(body.as_bytes()), Err(why), "{body:?}");
        }
        assert_eq!(Submission::decode(b"old 1\n\n\xff"), Err(BodyError::Text));
    }
}
