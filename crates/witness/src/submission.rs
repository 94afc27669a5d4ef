//! The body of `add-checkpoint`: the size that the witness saw last, the proof from there, and the new checkpoint
//! (C2SP tlog-witness).

use data_encoding::BASE64;
use tlog_tiles::Hash;

/// The content type of the size that a witness answers a conflict with.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// More hashes than a proof between any two trees can have.
const MOST_HASHES: usize = 63;

/// Why a body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first line is not the old size.
    #[error("the first line must be `old`, a space and the size of the checkpoint before, without leading zeroes")]
    OldSize,
    /// A line of the proof is not a hash, or there are too many.
    #[error("the proof must be at most 63 lines, each the base64 of 32 bytes")]
    Proof,
    /// No empty line, and so no checkpoint.
    #[error("an empty line must stand between proof and checkpoint")]
    Separator,
    /// It is not text.
    #[error("the body is not UTF-8")]
    Text,
}

/// A checkpoint on its way to a witness.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Size of the checkpoint that the witness saw last; 0 when none.
    pub old: u64,
    /// RFC 6962 consistency proof from there.
    pub proof: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

impl Submission {
    /// As it is sent.
    pub fn encode(&self) -> String {
        let proof: String = self.proof.iter().map(|hash| BASE64.encode(&hash.0) + "\n").collect();
        format!("old {}\n{proof}\n{}", self.old, self.checkpoint)
    }

    /// As it was received.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let body = std::str::from_utf8(body).map_err(|_| Malformed::Text)?;
        let (first, mut rest) = body.split_once('\n').ok_or(Malformed::OldSize)?;
        let old = first.strip_prefix("old ").and_then(size).ok_or(Malformed::OldSize)?;
        let mut proof = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(Malformed::Separator)?;
            rest = after;
            if line.is_empty() {
                let checkpoint = rest.to_owned();
                return Ok(Self { old, proof, checkpoint });
            }
            let hash = BASE64.decode(line.as_bytes()).map_err(|_| Malformed::Proof)?;
            proof.push(Hash(hash.try_into().map_err(|_| Malformed::Proof)?));
            if proof.len() > MOST_HASHES {
                return Err(Malformed::Proof);
            }
        }
    }
}

/// A size in the one way that it may be written.
fn size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
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
    fn other_bodies_are_refused() {
        let hash = BASE64.encode(&[0; 32]);
        let many = format!("old 1\n{}\nnote", format!("{hash}\n").repeat(64));
        for (body, why) in [
            ("", Malformed::OldSize),
            ("old 1", Malformed::OldSize),
            ("old 01\n\nnote", Malformed::OldSize),
            ("old +1\n\nnote", Malformed::OldSize),
            ("old -1\n\nnote", Malformed::OldSize),
            ("old 18446744073709551616\n\nnote", Malformed::OldSize),
            ("old  1\n\nnote", Malformed::OldSize),
            ("new 1\n\nnote", Malformed::OldSize),
            ("old 1\nnote\n\n", Malformed::Proof),
            ("old 1\nAAAA\n\nnote", Malformed::Proof),
            ("old 1\n", Malformed::Separator),
            (&format!("old 1\n{hash}\n"), Malformed::Separator),
            (&many, Malformed::Proof),
        ] {
            assert_eq!(Submission::decode(body.as_bytes()), Err(why), "{body:?}");
        }
        assert_eq!(Submission::decode(b"old 1\n\n\xff"), Err(Malformed::Text));
    }
}
