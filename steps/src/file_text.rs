//! What a plan says of a file: its text, mode and owner. It does not know whose file it is.

use crate::words;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Access, Check, HostFile};
use std::path::{Path, PathBuf};

/// What a plan says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileText<'a> {
    /// Where it is.
    pub(crate) path: &'a str,
    /// What stands in it.
    pub(crate) content: Option<&'a str>,
    /// The file of the host whose text it gets.
    pub(crate) source: Option<&'a Path>,
    /// Its mode, in octal.
    pub(crate) mode: &'a str,
    /// Its owner.
    pub(crate) owner: &'a str,
}

impl FileText<'_> {
    /// Whether the plan says enough of it, and nothing that cannot be.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(crate) fn ensure_sound(&self) -> Result<()> {
        let Self { path, .. } = self;
        ensure!(
            words::path(path, "the file").is_ok() && !path.ends_with('/'),
            "`{path}` is no file's path from the root"
        );
        match (self.content, self.source) {
            (None, None) => bail!(
                "nothing is said of what stands in `{path}`: add `content: \"...\"` or `source: \"...\"`"
            ),
            (Some(_), Some(_)) => bail!("`{path}` gets both `content` and `source`: leave one of them"),
            _ => {}
        }
        self.mode()?;
        ensure!(
            self.source.is_none_or(|it| !it.as_os_str().is_empty()),
            "the `source` of `{path}` has no name"
        );
        Ok(words::owner(self.owner)?)
    }

    /// The text that it gets. A relative `source` is looked up from `directory`.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub(crate) fn text(&self, directory: &Path) -> Result<String> {
        if let Some(content) = self.content {
            return Ok(content.to_owned());
        }
        let source = directory.join(self.source.unwrap_or(Path::new("")));
        let text = HostFile::new(&source).read()?;
        text.with_context(|| {
            format!("there is no `{}`, which `{}` is to read as", source.display(), self.path)
        })
    }

    /// Its mode.
    ///
    /// # Errors
    /// When it is no mode.
    pub(crate) fn mode(&self) -> Result<u32> {
        let mode = u32::from_str_radix(self.mode, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.with_context(|| format!("`{}` is no mode: write it in octal, as in `0644`", self.mode))
    }

    /// Its owner: `find` looks up a name, first of a user, then of a group.
    ///
    /// # Errors
    /// When there is no such user or group.
    pub(crate) fn owner(&self, find: impl Fn(Database, &str) -> Result<Option<u32>>) -> Result<(u32, u32)> {
        let (user, group) = self.owner.split_once(':').unwrap_or((self.owner, self.owner));
        let id = |database: Database, name: &str| match name.parse() {
            Ok(id) => Ok(id),
            Err(_) => find(database, name)?.with_context(|| {
                format!("`{}` should belong to {database} `{name}`, which is not there", self.path)
            }),
        };
        Ok((id(Database::User, user)?, id(Database::Group, group)?))
    }

    /// Whether a file that reads as it should and has the access `has` is as the plan says.
    pub(crate) fn compare(&self, shown: &str, has: Option<Access>, wanted: Access) -> Check {
        if has == Some(wanted) {
            return Check::Satisfied;
        }
        let words =
            |access: Access| format!("mode {:04o} and owner {}:{}", access.mode, access.uid, access.gid);
        let has = has.map_or("nothing".to_owned(), words);
        Check::needed(format!("{shown} has {has}, not {}", words(wanted)))
    }

    /// Whether a file reads as the plan says. If its mode, or the one that it is to get, hides it from others, that it changes
    /// is told, but not what.
    ///
    /// # Errors
    /// When its mode is none.
    pub(crate) fn compare_text(
        &self,
        shown: &str,
        is: Option<&str>,
        should: &str,
        has: Option<Access>,
    ) -> Result<Check> {
        let mode = has.map_or(0o777, |has| has.mode) & self.mode()?;
        Ok(Check::text(shown, mode, is, should))
    }

    /// What tells it from other files, for node ids: `etc-motd`.
    pub(crate) fn slug(&self) -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        self.path.trim_start_matches('/').chars().map(legal).collect()
    }
}

/// Where a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    /// Accounts.
    User,
    /// Groups.
    Group,
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "the account",
            Self::Group => "the group",
        })
    }
}

/// The mode of a file of which the plan says none.
pub(crate) fn default_mode() -> String {
    "0644".to_owned()
}

/// The owner of a file of which the plan says none.
pub(crate) fn default_owner() -> String {
    "root:root".to_owned()
}

/// A source as the plan has it.
pub(crate) type Source = Option<PathBuf>;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileText<'_> =
        FileText { path: "/etc/motd", content: Some("hi\n"), source: None, mode: "0644", owner: "root:root" };

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(FILE.ensure_sound().is_ok());
        for (bad, says) in [
            (FileText { path: "etc/motd", ..FILE }, "from the root"),
            (FileText { path: "/etc/../x", ..FILE }, "from the root"),
            (FileText { content: None, ..FILE }, "content:"),
            (FileText { source: Some(Path::new("x")), ..FILE }, "leave one"),
            (FileText { mode: "rw", ..FILE }, "octal"),
            (FileText { mode: "77777", ..FILE }, "octal"),
            (FileText { owner: "root", ..FILE }, "no owner"),
        ] {
            let error = bad.ensure_sound().expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn owners_are_names_or_numbers() -> Result<()> {
        let find = |database, name: &str| {
            Ok((name == "abuild").then_some(if database == Database::User { 399 } else { 400 }))
        };
        assert_eq!(FileText { owner: "abuild:abuild", ..FILE }.owner(find)?, (399, 400));
        assert_eq!(FileText { owner: "1:2", ..FILE }.owner(find)?, (1, 2));
        let error = FileText { owner: "abuild:staff", ..FILE }.owner(find).expect_err("nobody").to_string();
        assert!(error.contains("the group `staff`"), "{error}");
        assert_eq!(FileText { path: "/etc/x y/z.conf", ..FILE }.slug(), "etc-x-y-z.conf");
        Ok(())
    }
}
