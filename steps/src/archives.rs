//! The directory of downloaded packages that the whole farm shares, and the proof that a file in it is what it should be.
//!
//! `Architecture: all` packages are in it once, whoever fetched them. It does not know how they are fetched: see `apt`.

use anyhow::{Context, Result, bail};
use drover_engine::Cx;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of the lock that whoever fetches holds: apt allows one at a time in a directory.
pub const LOCK: &str = "archives";

/// A package in the directory, by what its archive's signed index says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The file's name.
    pub file: String,
    /// The file's size in bytes.
    pub size: u64,
    /// The SHA-256 of its contents, in hexadecimal digits.
    pub sha256: String,
}

impl Deb {
    /// Whether it brings modules of perl that are compiled for a processor.
    pub fn has_perl_modules(&self) -> bool {
        crate::assist::has_modules(&self.name, self.file.ends_with("_all.deb"))
    }
}

/// A line of a manifest.
impl fmt::Display for Deb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, file, size, sha256 } = self;
        write!(f, "{name} {version} {file} {size} {sha256}")
    }
}

impl FromStr for Deb {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [name, version, file, size, sha256] = words[..] else {
            bail!("`{line}` is no line of a manifest")
        };
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            file: file.to_owned(),
            size: size.parse().with_context(|| format!("the size in `{line}`"))?,
            sha256: sha256.to_owned(),
        })
    }
}

/// Where it is.
pub fn directory(cx: &Cx) -> PathBuf {
    cx.cache("archives")
}

/// The first of `debs` that is not there in full length, if any: quick, for checks.
///
/// # Errors
/// When that cannot be found out.
pub fn missing<'a>(cx: &Cx, debs: impl IntoIterator<Item = &'a Deb>) -> Result<Option<&'a Deb>> {
    for deb in debs {
        if !has_size(&directory(cx).join(&deb.file), deb.size)? {
            return Ok(Some(deb));
        }
    }
    Ok(None)
}

fn has_size(path: &Path, size: u64) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file() && metadata.len() == size),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("look at `{}`", path.display())),
    }
}

/// Removes those of `debs` that are there but are not what their archive's index says. Returns how many are right.
///
/// # Errors
/// When one cannot be read or removed.
pub fn sift<'a>(cx: &Cx, debs: impl IntoIterator<Item = &'a Deb>) -> Result<u64> {
    let mut right = 0;
    for deb in debs {
        let path = directory(cx).join(&deb.file);
        match sha256(&path)? {
            None => {}
            Some(sum) if sum == deb.sha256 => right += 1,
            Some(_) => {
                cx.note(&format!(
                    "{} is not what the archive's index says: removed, to be fetched again",
                    deb.file
                ));
                fs::remove_file(&path).with_context(|| format!("remove `{}`", path.display()))?;
            }
        }
    }
    Ok(right)
}

/// Proves that each of `debs` is what its archive's index says, right before it is used. One that is not is removed.
///
/// # Errors
/// When one is not.
pub fn prove<'a>(cx: &Cx, debs: impl IntoIterator<Item = &'a Deb> + Clone) -> Result<()> {
    sift(cx, debs.clone())?;
    match missing(cx, debs)? {
        None => Ok(()),
        Some(deb) => {
            bail!("the package file `{}` is missing or was damaged: run again to fetch it again", deb.file)
        }
    }
}

/// The SHA-256 of a file; `None` if there is none.
fn sha256(path: &Path) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("open `{}`", path.display())),
    };
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 128 * 1024]);
    loop {
        match file.read(&mut buffer).with_context(|| format!("read `{}`", path.display()))? {
            0 => return Ok(Some(hex(&sum.finalize()))),
            count => sum.update(&buffer[..count]),
        }
    }
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_manifest_reads_as_it_was_written() {
        let line = "a 1:2 a_1%3a2_all.deb 33 00ff";
        assert_eq!(line.parse::<Deb>().expect("a line").to_string(), line);
        assert!("a 1 a.deb x 00".parse::<Deb>().is_err());
        assert!("a 1 a.deb 3".parse::<Deb>().is_err());
    }
}
