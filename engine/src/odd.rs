//! Bytes that are no text, in texts that are edited all the same: they come through as they are.
//!
//! Each such byte stands in the text as a character that nobody uses, the last 256 of all, and is written as the byte again. It
//! does not know what encoding the bytes are from.

/// The first of the characters that stand for bytes.
const FIRST: u32 = 0x10_FF00;

/// The text in these bytes. A character that would stand for a byte is itself taken apart.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for known in chunk.valid().chars() {
            match stands_for(known) {
                None => text.push(known),
                Some(_) => text.extend(known.encode_utf8(&mut [0; 4]).bytes().filter_map(stand_in)),
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(stand_in));
    }
    text
}

/// The bytes of such a text.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match stands_for(character) {
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            Some(byte) => bytes.push(byte),
        }
    }
    bytes
}

/// The text as it can be shown: each byte that is none as `\xe9`.
pub(crate) fn shown(text: &str) -> String {
    let part = |character: char| match stands_for(character) {
        None => character.to_string(),
        Some(byte) => format!("\\x{byte:02x}"),
    };
    text.chars().map(part).collect()
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte))
}

fn stands_for(character: char) -> Option<u8> {
    u32::from(character).checked_sub(FIRST).and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_through() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&all[..], b"# caf\xe9\nx\n", "\u{10FFE9} \u{10FF00}é".as_bytes(), b"\xf4\x8f\xbf", b""]
        {
            assert_eq!(encode(&decode(bytes)), bytes);
        }
        assert_eq!(decode("café\n".as_bytes()), "café\n");
        assert_eq!(shown(&decode(b"caf\xe9\n")), "caf\\xe9\n");
    }
}
