//! Bytes that can be told from damaged ones: the schema and a checksum stand before them.
//!
//! It does not know what they mean.

use anyhow::{Context, Result, ensure};

/// The version of what stands in the journal. What an older Drover wrote is made anew from the events of the runs, what
/// a newer one wrote is refused.
pub(crate) const SCHEMA: u16 = 3;

/// Puts the schema and a checksum before a value.
pub(crate) fn seal(payload: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(payload.len() + 6);
    sealed.extend_from_slice(&SCHEMA.to_le_bytes());
    sealed.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    sealed.extend_from_slice(payload);
    sealed
}

/// The value that was sealed, if it is whole.
pub(crate) fn unseal(sealed: &[u8]) -> Result<&[u8]> {
    let (schema, rest) = sealed.split_first_chunk().context("value is too short")?;
    let (crc, payload) = rest.split_first_chunk().context("value is too short")?;
    let schema = u16::from_le_bytes(*schema);
    ensure!(schema <= SCHEMA, "value has schema {schema}; this program knows {SCHEMA}");
    ensure!(crc32fast::hash(payload) == u32::from_le_bytes(*crc), "value does not match its checksum");
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_comes_back_and_damage_is_seen() -> Result<()> {
        let sealed = seal(b"a value");
        assert_eq!(unseal(&sealed)?, b"a value");
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            // A lower schema would be an older one: its byte alone may be damaged unseen.
            assert!(unseal(&damaged).is_err() || index == 0, "byte {index}");
            assert!(unseal(&sealed[..index]).is_err(), "length {index}");
        }
        Ok(())
    }
}
