//! # HostFile
//! A text file of the host, with the text, mode and owner that the plan gives it.
//!
//! ```ron
//! HostFile(path: "/etc/sysctl.d/90-farm.conf", content: "fs.inotify.max_user_instances = 1024\n")
//! HostFile(path: "/usr/local/bin/herd-report", source: "files/herd-report", mode: "0755", owner: "root:root")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `path` | where it is; a plan can have many |
//! | `content` | what stands in it |
//! | `source` | or the file whose text it gets; a relative one is looked up from the plan's directory |
//! | `mode` | in octal; `0644` if not given |
//! | `owner` | user and group, names or numbers; `root:root` if not given |
//!
//! The dry run shows the difference; of a file that others may not read, only that there is one. What is written is whole at every moment: the new file is made beside the old one and
//! renamed. A link is followed to the file that it names. Missing directories are made.
//!
//! **To take it back** `drover destroy`, which puts back what was there; or remove the file. Directories stay.

use super::accounts;
use crate::farm::Farm;
use crate::file_text::{Database, FileText, Source, default_mode, default_owner};
use crate::ours;
use crate::resource::{ACCOUNT, PACKAGES};
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Access, Check, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// Where it is.
    pub path: String,
    /// What stands in it.
    pub content: Option<String>,
    /// The file whose text it gets.
    pub source: Source,
    /// Its mode.
    #[serde(default = "default_mode")]
    pub mode: String,
    /// Its owner.
    #[serde(default = "default_owner")]
    pub owner: String,
}

impl HostFile {
    fn says(&self) -> FileText<'_> {
        let Self { path, content, source, mode, owner } = self;
        FileText { path, content: content.as_deref(), source: source.as_deref(), mode, owner }
    }

    fn file(&self) -> drover_engine::HostFile {
        drover_engine::HostFile::new(&self.path)
    }

    fn access(&self, cx: &Cx) -> Result<Access> {
        let (uid, gid) = self.says().owner(|database, name| {
            Ok(match database {
                Database::User => accounts::account(cx, name)?.map(|account| account.uid),
                Database::Group => accounts::group(cx, name)?.map(|group| group.gid),
            })
        })?;
        Ok(Access { mode: self.says().mode()?, uid, gid })
    }
}

impl FarmStep<Farm> for HostFile {
    fn title(&self, _at: &Farm) -> String {
        format!("write {}", self.path)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn name(&self) -> Option<String> {
        Some(self.says().slug())
    }

    fn shape(&self, _at: &mut Farm) -> Result<()> {
        self.says().ensure_sound()
    }

    fn needs(&self, at: &Farm) -> Vec<Need> {
        // Its owner may be the account that builds; and dpkg asks about files that differ from its own.
        vec![
            Need::IfAny(Resource::new(ACCOUNT, &at.account.user)),
            Need::IfAny(Resource::new(PACKAGES, "host")),
        ]
    }

    fn precondition(&self, _cx: &Cx, at: &Farm) -> Result<()> {
        self.says().text(&at.plan_directory.0).map(drop)
    }

    fn check(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        let (file, text) = (self.file(), self.says().text(&at.plan_directory.0)?);
        let before = file.read()?;
        let has = file.access()?;
        let text = self.says().compare_text(&self.path, before.as_deref(), &text, has)?;
        text.and_then(|| Ok(self.says().compare(&self.path, has, self.access(cx)?)))
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let access = self.access(cx)?;
        let file = self.file().mode(access.mode).owner(access.uid, access.gid);
        let has = file.access()?;
        ours::remember_access(cx, has)?;
        // What only some may read is not written where all may, not even for a moment.
        if let Some(has) = has.filter(|has| has.mode & !access.mode & 0o077 != 0) {
            file.set_access(Access { mode: has.mode & access.mode, ..has })?;
        }
        ours::write(cx, &file, &self.says().text(&at.plan_directory.0)?)?;
        file.set_access(access)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let has = self.file().access()?;
        let access = ours::undo_access(cx, has, &self.path, |access| self.file().set_access(access))?;
        let text = self.says().text(&at.plan_directory.0)?;
        Ok(access.and(ours::undo_whole(cx, self.file(), &text)?))
    }
}
