//! # GuestFile
//! A text file of the container, with the text, mode and owner that the plan gives it.
//!
//! ```ron
//! GuestFile(path: "/etc/profile.d/ci.sh", content: "export MAXPARMAKES=2\n")
//! GuestFile(path: "/usr/local/bin/agent", source: "files/agent", mode: "0755", owner: "abuild:abuild")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `path` | where it is in the container; a container can have many |
//! | `content` | what stands in it |
//! | `source` | or the file of the host whose text it gets; a relative one is looked up from the plan's directory |
//! | `mode` | in octal; `0644` if not given |
//! | `owner` | user and group, names of the container or numbers; `root:root` if not given |
//!
//! The dry run shows the difference; of a file that others may not read, only that there is one. A file that is a link is an error: what it names may belong to somebody else. Missing
//! directories are made, mode 755. It comes after the container's account and packages, and before the container is
//! started, if the plan has those.
//!
//! **To take it back** `drover destroy`, which puts back what was there; or remove the file. Directories stay.

use crate::container::Container;
use crate::file_text::{Database, FileText, Source, default_mode, default_owner};
use crate::inputs;
use crate::ours;
use crate::resource;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Access, Check, Cx, Inputs, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestFile {
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

impl GuestFile {
    fn says(&self) -> FileText<'_> {
        let Self { path, content, source, mode, owner } = self;
        FileText { path, content: content.as_deref(), source: source.as_deref(), mode, owner }
    }

    fn access(&self, rootfs: &Rootfs) -> Result<Access> {
        let (uid, gid) = self.says().owner(|database, name| {
            let file = if database == Database::User { "etc/passwd" } else { "etc/group" };
            let table = rootfs.read(file)?.unwrap_or_default();
            let mut lines = table.lines().map(|line| line.split(':'));
            Ok(lines.find_map(|mut line| (line.next() == Some(name)).then(|| line.nth(1)?.parse().ok())?))
        })?;
        Ok(Access { mode: self.says().mode()?, uid, gid })
    }
}

impl FarmStep<Container> for GuestFile {
    fn title(&self, at: &Container) -> String {
        format!("write {} of {}", self.path, at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at)
    }

    fn name(&self) -> Option<String> {
        Some(self.says().slug())
    }

    fn shape(&self, _at: &mut Container) -> Result<()> {
        self.says().ensure_sound()
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let edits = ["account", "packages"].map(|what| Need::IfAny(at.edit(resource::GUEST_EDIT, what)));
        std::iter::once(Need::Must(at.resource(resource::ROOTFS))).chain(edits).collect()
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "file").into()
    }

    fn precondition(&self, _cx: &Cx, at: &Container) -> Result<()> {
        self.says().text(&at.farm.plan_directory.0).map(drop)
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else { return Ok(Undo::default()) };
        let has = access(&rootfs, &self.path)?;
        let shown = format!("{} of {}", self.path, at.name);
        let access = ours::undo_access(cx, has, &shown, move |access| rootfs.set_access(&self.path, access))?;
        Ok(access.and(ours::undo_inside(cx, &at.rootfs(), &self.path)?))
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        let (before, text) = (rootfs.read_to_edit(&self.path)?, self.says().text(&at.farm.plan_directory.0)?);
        let shown = format!("{} of {}", self.path, at.name);
        let has = access(&rootfs, &self.path)?;
        let text = self.says().compare_text(&shown, before.as_deref(), &text, has)?;
        text.and_then(|| Ok(self.says().compare(&shown, has, self.access(&rootfs)?)))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        let wanted = self.access(&rootfs)?;
        if let Some((directory, _)) = self.path.rsplit_once('/') {
            rootfs.mkdir_all(directory, Access::root(0o755))?;
        }
        let has = access(&rootfs, &self.path)?;
        ours::remember_access(cx, has)?;
        // What only some may read is not written where all may, not even for a moment.
        if let Some(has) = has.filter(|has| has.mode & !wanted.mode & 0o077 != 0) {
            rootfs.set_access(&self.path, Access { mode: has.mode & wanted.mode, ..has })?;
        }
        let text = self.says().text(&at.farm.plan_directory.0)?;
        ours::write_inside(cx, &rootfs, &self.path, &text, wanted)?;
        rootfs.set_access(&self.path, wanted)
    }
}

/// The mode and owner of what is there.
fn access(rootfs: &Rootfs, path: &str) -> Result<Option<Access>> {
    Ok(rootfs.entry(path)?.map(|it| Access { mode: it.mode, uid: it.uid, gid: it.gid }))
}
