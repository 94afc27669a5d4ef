//! Canonical bytes: big-endian numbers, texts behind one byte of length.

/// Why bytes are not canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first byte is not 1.
    #[error("version {0} is unknown")]
    Version(u8),
    /// The second byte is neither 1 nor 2.
    #[error("type {0} is unknown")]
    Type(u8),
    /// The entry's id is not a UUID (version 7) of the entry's second.
    #[error("its id is not a UUID (version 7) of its second")]
    Id,
    /// The entry's time is past what a UUID can say.
    #[error("its time is out of range")]
    Time,
    /// The bytes end inside a field.
    #[error("it ends inside {0}")]
    Truncated(&'static str),
    /// A text is empty or has a character that it may not have.
    #[error("{0} is empty or has a character that it may not have")]
    Text(&'static str),
    /// The sequence is 0, or does not match the link.
    #[error("the first change has a link, or a later one has none")]
    Link,
    /// Bytes follow the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
}

/// Bytes of a text at most.
pub(crate) const TEXT_BYTES: usize = 255;

/// Remit itself makes the texts; one that is too long is cut here, and its change is refused before
/// it is written ([`append`](crate::append)).
pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(TEXT_BYTES)];
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(text);
}

/// Bytes not yet read.
pub(crate) struct Rest<'a>(pub &'a [u8]);

impl Rest<'_> {
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated(field))?;
        self.0 = rest;
        Ok(*array)
    }

    pub fn text(&mut self, field: &'static str, allowed: fn(u8) -> bool) -> Result<String, Malformed> {
        let [length] = self.array(field)?;
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(length))
            .ok_or(Malformed::Truncated(field))?;
        if text.is_empty() || !text.iter().copied().all(allowed) {
            return Err(Malformed::Text(field));
        }
        self.0 = rest;
        Ok(text.iter().map(|&c| char::from(c)).collect())
    }

    pub fn end(&self) -> Result<(), Malformed> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(Malformed::Trailing(more)),
        }
    }
}
