//! Bytes that can be told from damaged ones: the schema and a checksum stand before them.
//!
//! It does not know what they mean.

use anyhow::{Context, Result, ensure};

/// The version of what stands in the journal. What an older Drover wrote is made anew from the events of the runs, what
/// a newer one wrote is refused.
pub(crate) const SCHEMA: u16 = 4;
/// The oldest version of which the journal reads alike: since then, events and what steps remember can say more.
pub(crate) const ALIKE: u16 = 3;

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
    let (schema, payload) = unseal_any(sealed)?;
    ensure!(schema <= SCHEMA, "value has schema {schema}; this program knows {SCHEMA}");
    Ok(payload)
}

/// The value that was sealed, if it is whole, and by which schema.
pub(crate) fn unseal_any(sealed: &[u8]) -> Result<(u16, &[u8])> {
    let (schema, rest) = sealed.split_first_chunk().context("value is too short")?;
    let (crc, payload) = rest.split_first_chunk().context("value is too short")?;
    ensure!(crc32fast::hash(payload) == u32::from_le_bytes(*crc), "value does not match its checksum");
    Ok((u16::from_le_bytes(*schema), payload))
}

/// What stands before a text's checksum. No text begins so.
const MARK: &str = "\0crc32 ";

/// A text, with its checksum before it.
pub fn seal_text(text: &str) -> String {
    format!("{MARK}{:08x}\n{text}", crc32fast::hash(text.as_bytes()))
}

/// The text that was sealed. One without a checksum, as an older Drover wrote it, is taken as it is.
///
/// # Errors
/// When it is damaged.
pub fn unseal_text(sealed: &str) -> Result<&str> {
    if !sealed.starts_with('\0') && sealed.get(1..MARK.len()) != Some(&MARK[1..]) {
        return Ok(sealed);
    }
    let (sum, text) = sealed.split_once('\n').context("it is damaged: it is cut off")?;
    let is_whole = sum.strip_prefix(MARK) == Some(&format!("{:08x}", crc32fast::hash(text.as_bytes())));
    ensure!(is_whole, "it is damaged: it does not match its checksum");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_and_damage_is_seen() -> Result<()> {
        for text in ["", "a = 1\nb = 2\n", "naïve"] {
            let sealed = seal_text(text);
            assert_eq!(unseal_text(&sealed)?, text);
            assert_eq!(unseal_text(text)?, text, "of an older drover");
            for (index, _) in sealed.char_indices().filter(|(_, c)| c.is_ascii()) {
                let mut damaged = sealed.clone().into_bytes();
                damaged[index] ^= 1;
                let damaged = String::from_utf8(damaged)?;
                assert!(unseal_text(&damaged).is_err(), "byte {index}: {damaged:?}");
                // Nothing at all is what older drovers remembered as a mere mark.
                assert!(unseal_text(&sealed[..index]).is_err() || index == 0, "length {index}");
            }
        }
        Ok(())
    }

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
