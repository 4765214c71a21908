//! The 32 bytes in front of every blob; `schemas/README.md` has the table and the rules of evolution.

use std::borrow::Cow;

/// First bytes of every blob.
pub const MAGIC: [u8; 4] = *b"TNDM";
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 32;
/// Raised when an old reader would misread a new blob.
pub const MAJOR: u16 = 1;
/// Raised when something is appended that an old reader may need to refuse.
pub const MINOR: u16 = 0;

/// What a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// `subgraph.fbs`
    Subgraph = 1,
    /// `program.fbs`
    Program = 2,
}

/// Why a blob was refused.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The blob ends before its header or payload does.
    #[error("blob: {have} bytes where {need} are needed")]
    Truncated {
        /// bytes present
        have: usize,
        /// bytes promised
        need: usize,
    },
    /// The first four bytes are not the magic.
    #[error("blob: magic {0:02x?} is not Tandem's")]
    Magic([u8; 4]),
    /// A subgraph where a program was expected, or the other way round.
    #[error("blob: kind {found}, expected {expected:?}")]
    Kind {
        /// kind byte read
        found: u8,
        /// kind asked for
        expected: BlobKind,
    },
    /// Written by a newer Tandem.
    #[error("blob: format {major}.{minor} is newer than this library's {MAJOR}.{MINOR}")]
    Newer {
        /// major version read
        major: u16,
        /// minor version read
        minor: u16,
    },
    /// Payload bytes differ from those written.
    #[error("blob: checksum {found:016x}, expected {expected:016x}")]
    Checksum {
        /// computed
        found: u64,
        /// stored
        expected: u64,
    },
    /// The flatbuffer inside is malformed.
    #[error("blob: {0}")]
    Malformed(#[from] flatbuffers::InvalidFlatbuffer),
}

/// Puts a header in front of a payload.
pub fn wrap(kind: BlobKind, payload: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(HEADER_LEN + payload.len());
    blob.extend_from_slice(&MAGIC);
    blob.extend_from_slice(&(HEADER_LEN as u16).to_le_bytes());
    blob.extend_from_slice(&[kind as u8, 0]);
    blob.extend_from_slice(&MAJOR.to_le_bytes());
    blob.extend_from_slice(&MINOR.to_le_bytes());
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    blob.extend_from_slice(&checksum(payload).to_le_bytes());
    blob.extend_from_slice(payload);
    blob
}

/// Checks the header and returns the payload, copied only where `blob` is not 8-byte aligned.
pub fn payload(blob: &[u8], expected: BlobKind) -> Result<Cow<'_, [u8]>, BlobError> {
    let truncated = |need| BlobError::Truncated { have: blob.len(), need };
    let head: &[u8; HEADER_LEN] = blob.first_chunk().ok_or(truncated(HEADER_LEN))?;
    let u16_at = |i: usize| u16::from_le_bytes([head[i], head[i + 1]]);
    let u64_at = |i: usize| u64::from_le_bytes(head[i..i + 8].try_into().expect("eight bytes"));
    let magic = [head[0], head[1], head[2], head[3]];
    if magic != MAGIC {
        return Err(BlobError::Magic(magic));
    }
    if head[6] != expected as u8 {
        return Err(BlobError::Kind { found: head[6], expected });
    }
    let (major, minor) = (u16_at(8), u16_at(10));
    if (major, minor) > (MAJOR, MINOR) {
        return Err(BlobError::Newer { major, minor });
    }
    let start = usize::from(u16_at(4)).max(HEADER_LEN);
    let len = usize::try_from(u64_at(16)).unwrap_or(usize::MAX);
    let end = start.checked_add(len).ok_or(truncated(usize::MAX))?;
    let payload = blob.get(start..end).ok_or(truncated(end))?;
    let found = checksum(payload);
    if found != u64_at(24) {
        return Err(BlobError::Checksum { found, expected: u64_at(24) });
    }
    if payload.as_ptr().align_offset(8) == 0 { Ok(Cow::Borrowed(payload)) } else { Ok(realigned(payload)) }
}

/// A flatbuffer needs 8-byte alignment; a `Vec<u8>` of this size class comes 16-byte aligned from the allocator.
fn realigned(payload: &[u8]) -> Cow<'static, [u8]> {
    Cow::Owned(payload.to_vec())
}

/// FNV-1a over 64-bit words (the tail zero-padded): guards against damage, not against forgery.
pub fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut words = bytes.chunks_exact(8);
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    for word in words.by_ref() {
        hash = step(hash, u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    let mut tail = [0u8; 8];
    tail[..words.remainder().len()].copy_from_slice(words.remainder());
    step(hash, u64::from_le_bytes(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for len in [0usize, 1, 7, 8, 9, 100] {
            let bytes: Vec<u8> = (0..len as u8).collect();
            let blob = wrap(BlobKind::Program, &bytes);
            assert_eq!(&payload(&blob, BlobKind::Program).unwrap()[..], &bytes[..]);
        }
    }

    #[test]
    fn refusals_name_the_cause() {
        let blob = wrap(BlobKind::Program, b"payload!");
        assert!(matches!(payload(&blob[..20], BlobKind::Program), Err(BlobError::Truncated { .. })));
        assert!(matches!(payload(&blob[..35], BlobKind::Program), Err(BlobError::Truncated { .. })));
        assert!(matches!(payload(&blob, BlobKind::Subgraph), Err(BlobError::Kind { .. })));
        let changed = |i: usize, by: u8| {
            let mut b = blob.clone();
            b[i] = b[i].wrapping_add(by);
            b
        };
        assert!(matches!(payload(&changed(0, 1), BlobKind::Program), Err(BlobError::Magic(_))));
        assert!(matches!(payload(&changed(8, 1), BlobKind::Program), Err(BlobError::Newer { .. })));
        assert!(matches!(payload(&changed(34, 1), BlobKind::Program), Err(BlobError::Checksum { .. })));
    }
}
