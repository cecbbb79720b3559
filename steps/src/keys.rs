//! The keys that an archive is to be signed with, as apt's option `Signed-By` has them: files, fingerprints, or the key itself.
//!
//! It does not check signatures: see `trust`.

use crate::release::Release;
use anyhow::{Context, Result};
use drover_engine::HostFile;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Keys. A signature by any key of the files counts; where there are fingerprints, by one of those alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Files of keys, binary or armoured (`.asc`).
    pub files: Vec<PathBuf>,
    /// Fingerprints; one that ends with `!` is that of a subkey, and stands for no other.
    pub fingerprints: Vec<String>,
    /// A key itself, armoured.
    pub embedded: Option<String>,
}

/// How an armoured key begins.
const ARMOUR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const ARMOUR_ENDS: &str = "-----END PGP PUBLIC KEY BLOCK-----";

impl Keys {
    /// The keys in one file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { files: vec![path.into()], ..Self::default() }
    }

    /// Those of a release.
    pub fn of_release(release: &Release) -> Self {
        release.keys.map_or_else(Self::default, |keys| Self::file(keys.path))
    }

    /// Those that the value of `Signed-By` names.
    pub fn named(signed_by: &str) -> Self {
        if signed_by.contains(ARMOUR) {
            let lines = signed_by.lines().map(str::trim).map(|line| if line == "." { "" } else { line });
            let text = lines.map(|line| format!("{line}\n")).collect();
            return Self { embedded: Some(text), ..Self::default() };
        }
        let words = signed_by.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
        let (files, fingerprints): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('/'));
        Self {
            files: files.into_iter().map(PathBuf::from).collect(),
            fingerprints: fingerprints.into_iter().map(str::to_owned).collect(),
            embedded: None,
        }
    }

    /// These, and those of a release, unless fingerprints say which alone count.
    #[must_use]
    pub fn or_of_release(mut self, release: &Release) -> Self {
        let more = Self::of_release(release).files;
        if self.fingerprints.is_empty() {
            self.files.extend(more.into_iter().filter(|file| !self.files.contains(file)).collect::<Vec<_>>());
        }
        self
    }

    /// Whether there are any on this host.
    pub fn are_here(&self) -> bool {
        self.embedded.is_some() || self.files.iter().any(|file| file.exists())
    }

    /// What they are, for a message.
    pub fn shown(&self) -> String {
        let files = self.files.iter().map(|file| file.display().to_string());
        let embedded = self.embedded.iter().map(|_| "a key in the sources of the host's apt".to_owned());
        files.chain(self.fingerprints.iter().cloned()).chain(embedded).collect::<Vec<_>>().join(", ")
    }

    /// The value of `Signed-By` for them; a key that is in no file is written to one in `directory`, which apt sees as `seen`.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn signed_by(&self, directory: &Path, seen: &Path) -> Result<String> {
        let mut all = self.fingerprints.clone();
        all.extend(self.files.iter().filter(|file| file.exists()).map(|file| file.display().to_string()));
        if let Some(key) = &self.embedded {
            let name = format!("key-{:016x}.asc", number(key));
            HostFile::new(directory.join(&name)).write(key)?;
            all.push(seen.join(name).display().to_string());
        }
        Ok(all.join(","))
    }

    /// Their files as gpgv reads them: those that are armoured, and the key that is in no file, are written to `directory`.
    ///
    /// # Errors
    /// When one cannot be read or written, or is no key.
    pub fn binary_files(&self, directory: &Path) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        let mut bring = |text: &str, name: &str| {
            let file = directory.join(format!("keys-{}.gpg", all.len()));
            let bytes = dearmoured(text).with_context(|| format!("`{name}` is no key"))?;
            fs::write(&file, bytes).with_context(|| format!("write `{}`", file.display()))?;
            all.push(file);
            Ok::<_, anyhow::Error>(())
        };
        if let Some(key) = &self.embedded {
            bring(key, "Signed-By")?;
        }
        let mut plain = Vec::new();
        for file in self.files.iter().filter(|file| file.exists()) {
            let bytes = fs::read(file).with_context(|| format!("read `{}`", file.display()))?;
            match std::str::from_utf8(&bytes).ok().filter(|text| text.contains(ARMOUR)) {
                Some(text) => bring(text, &file.display().to_string())?,
                None => plain.push(file.clone()),
            }
        }
        all.extend(plain);
        Ok(all)
    }

    /// Whether a signature counts that was made by the key of the first fingerprint, which belongs to that of the second.
    pub fn admit(&self, key: &str, primary: &str) -> bool {
        let is_it = |wanted: &String| match wanted.strip_suffix('!') {
            Some(wanted) => key.eq_ignore_ascii_case(wanted),
            None => key.eq_ignore_ascii_case(wanted) || primary.eq_ignore_ascii_case(wanted),
        };
        self.fingerprints.is_empty() || self.fingerprints.iter().any(is_it)
    }
}

/// What tells the file of one key from that of another.
fn number(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The bytes of armoured keys, one after the other.
fn dearmoured(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for block in text.split(ARMOUR).skip(1) {
        let block = block.split(ARMOUR_ENDS).next()?;
        // Headers end with an empty line; the checksum begins with `=`.
        let lines = block.lines().map(str::trim).skip(1).skip_while(|line| line.contains(": "));
        let body: String = lines.filter(|line| !line.starts_with('=')).collect();
        bytes.extend(from_base64(&body)?);
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        held = held << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_fingerprints_and_keys_are_told_apart() {
        let keys = Keys::named("/a.gpg, 4CB50190207B4758A3F73A796ED0E7B82643E131!\n /b.asc");
        assert_eq!(keys.files, [Path::new("/a.gpg"), Path::new("/b.asc")]);
        assert!(keys.admit("4cb50190207b4758a3f73a796ed0e7b82643e131", "00"));
        assert!(!keys.admit("00", "4CB50190207B4758A3F73A796ED0E7B82643E131"));
        assert!(Keys::file("/a.gpg").admit("00", "00"));
    }

    #[test]
    fn an_armoured_key_becomes_a_binary_one() {
        let text = "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n .\n aGVsbG8g\n d29ybGQ=\n =abcd\n \
                    -----END PGP PUBLIC KEY BLOCK-----";
        let keys = Keys::named(text);
        let place = tempfile::tempdir().expect("a directory");
        let files = keys.binary_files(place.path()).expect("written");
        assert_eq!(fs::read(&files[0]).expect("read"), b"hello world");
        let signed_by = keys.signed_by(place.path(), Path::new("/seen")).expect("written");
        assert!(signed_by.starts_with("/seen/key-") && signed_by.ends_with(".asc"), "{signed_by}");
        assert!(dearmoured("nothing").is_none());
    }
}
