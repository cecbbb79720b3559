//! The state directory: where everything is that outlives a run, and whether it may be there.
//!
//! It knows paths and modes; what stands in the files is known to those who write them.

use crate::{NodeId, RunId};
use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fs::{DirBuilder, Permissions, read_dir};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// File systems on which locks and flushes do not mean what the journal needs them to, by the kernel's magic numbers.
const UNFIT: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0116_1970, "GFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
    (0x7375_7245, "Coda"),
    (0x786f_4256, "a VirtualBox share"),
];

/// What there may be in a state directory, by each of which it is known to be one.
pub(crate) const OURS: [&str; 6] =
    ["drover.lock", "journal", "journal.high", "memory", "runs", "request.json"];

/// The logs of how many runs are kept: runs that change nothing write none, so that is a long time.
pub const KEPT_LOGS: usize = 50;

/// A state directory.
///
/// `drover.lock`, `journal/`, `journal.high`, `runs/NNNN/events.jsonl`, `runs/NNNN/logs/PLACE/STEP.ATTEMPT.log`,
/// `memory/PLACE/STEP/`, `cache/`. Only its owner can go into it, so that nobody else reads anything below it, whatever the
/// mode there: who needs something of the cache has it bound to another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Where the state is unless somebody says otherwise: `/var/lib/drover` for root, else `drover` below
    /// `$XDG_STATE_HOME` or `~/.local/state`.
    ///
    /// # Errors
    /// When neither is known.
    pub fn default_path() -> Result<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/drover"));
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .context(
                "no place for the state: neither `XDG_STATE_HOME` nor `HOME` is set; give `--state DIR`",
            )?;
        Ok(base.join("drover"))
    }

    /// The state directory at `path`, made if it is not there, and closed to others if an older Drover has left it open.
    ///
    /// # Errors
    /// When it cannot be made, is on a file system that cannot hold a journal, belongs to somebody else, or is a directory
    /// that holds something else.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = Self::at(path)?;
        refuse_unfit(&dir.root)?;
        dir.refuse_foreign()?;
        dir.make(&dir.root, 0o700)?;
        dir.make(&dir.root.join("runs"), 0o700)?;
        dir.make(&dir.root.join("memory"), 0o700)?;
        // Below a directory that is closed; what is bound from there is for everybody.
        dir.make(&dir.cache(), 0o755)?;
        Ok(dir)
    }

    /// The state directory at `path`, whether it is there or not, for those who only look: nothing is made.
    ///
    /// # Errors
    /// When `path` is empty.
    pub fn at(path: &Path) -> Result<Self> {
        let root = std::path::absolute(path)
            .with_context(|| format!("state directory `{}` has no absolute name", path.display()))?;
        Ok(Self { root })
    }

    /// The state directory at `path` for reading only; `None` if there is none.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn existing(path: &Path) -> Result<Option<Self>> {
        let dir = Self::at(path)?;
        for name in OURS {
            match dir.root.join(name).symlink_metadata() {
                Ok(_) => return Ok(Some(dir)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("state `{}` cannot be read", path.display()));
                }
            }
        }
        Ok(None)
    }

    /// Refuses a directory that is not ours to close: one of somebody else, or with something else in it.
    fn refuse_foreign(&self) -> Result<()> {
        let shown = self.root.display();
        let other = "give another directory with `--state DIR`";
        let found = match std::fs::metadata(&self.root) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("state directory `{shown}` cannot be read; {other}"));
            }
        };
        if !found.is_dir() {
            bail!("state directory `{shown}` is no directory; move it away, or {other}");
        }
        let (owner, ours) = (found.uid(), rustix::process::geteuid().as_raw());
        if owner != ours {
            bail!(
                "state directory `{shown}` belongs to the user {owner}, who could read and change what is remembered; give \
                 it away with `chown -R {ours} {shown}`, or {other}"
            );
        }
        let failed = || format!("state directory `{shown}` cannot be read");
        let mut names = Vec::new();
        for entry in read_dir(&self.root).with_context(failed)? {
            names.push(entry.with_context(failed)?.file_name());
        }
        let (ours, mut others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| OURS.iter().any(|ours| name == ours));
        // What else we make, and what a file system of its own begins with.
        others.retain(|name| {
            let name = name.as_encoded_bytes();
            let known = [&b"cache"[..], b"lost+found"].contains(&name);
            !known && !name.starts_with(b"journal.corrupt-") && !name.starts_with(b"damaged-")
        });
        if !others.is_empty() && (ours.is_empty() || found.mode() & 0o1000 != 0) {
            bail!(
                "`{shown}` holds other things than the state of Drover, and would be closed to others; {other}"
            );
        }
        Ok(())
    }

    /// Makes a directory of ours, and gives it its mode whatever the umask, or whatever it was.
    fn make(&self, path: &Path, mode: u32) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|error| self.explain(error, path, "cannot be made"))?;
        let found = path.metadata().with_context(|| format!("`{}` cannot be looked at", path.display()))?;
        if found.mode() & 0o7777 == mode || found.uid() != rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        std::fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| self.explain(error, path, "cannot be given its mode"))
    }

    /// What an error with something in the state directory means for the user, and what to do about it.
    pub(crate) fn explain(&self, error: std::io::Error, path: &Path, what: &str) -> anyhow::Error {
        let shown = path.display();
        let text = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => crate::damage::no_space(path),
            ErrorKind::ReadOnlyFilesystem => format!(
                "`{shown}` {what}: its file system can only be read; mount it writable, or give another directory with \
                 `--state DIR`"
            ),
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                format!("`{shown}` {what}: something else is in its place; {}", self.way_out())
            }
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                format!("`{shown}` {what}: it is a link that leads nowhere; {}", self.way_out())
            }
            _ => format!("`{shown}` {what}"),
        };
        anyhow::Error::new(error).context(text)
    }

    /// What helps where something in it is damaged.
    pub(crate) fn way_out(&self) -> String {
        format!("`{}` says what is damaged, `{}` mends it", self.command("check"), self.command("repair"))
    }

    /// A command that looks after this directory, as one would type it.
    pub(crate) fn command(&self, verb: &str) -> String {
        match Self::default_path() {
            Ok(default) if default == self.root => format!("drover state {verb}"),
            _ => format!("drover --state {} state {verb}", self.root.display()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// For downloads and other things that can be made again.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// What a node has to know to be undone one day: what was there before it changed something.
    pub fn memory(&self, node: &NodeId) -> PathBuf {
        let parts = node.as_str().split('/').map(|part| PathBuf::from(&*file_name(part)));
        parts.fold(self.root.join("memory"), |path, part| path.join(part))
    }

    /// Forgets what a node had to know to be undone: it is.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, node: &NodeId) -> Result<()> {
        let memory = self.memory(node);
        match std::fs::remove_dir_all(&memory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("`{}` cannot be removed", memory.display()))
            }
            _ => Ok(()),
        }
    }

    /// What one run left.
    pub fn run(&self, run: RunId) -> PathBuf {
        self.root.join(format!("runs/{:04}", run.0))
    }

    /// The events of a run, one JSON object a line.
    pub fn events(&self, run: RunId) -> PathBuf {
        self.run(run).join("events.jsonl")
    }

    /// The whole output of one attempt at a node. What is kept beside it begins with the same name, but for the ending.
    pub fn log(&self, run: RunId, node: &NodeId, attempt: u32) -> PathBuf {
        let mut path = self.run(run);
        // Asked for with every check: the path grows once.
        path.reserve(node.as_str().len() + 32);
        path.push("logs");
        node.as_str().split('/').for_each(|part| path.push(&*file_name(part)));
        path.as_mut_os_string().push(format!(".{attempt}.log"));
        path
    }

    /// The logs of all attempts at a node in a run, and what was kept beside them. None, if it left none.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn logs(&self, run: RunId, node: &NodeId) -> Result<Vec<PathBuf>> {
        let first = self.log(run, node, 1);
        let (Some(directory), Some(name)) = (first.parent(), first.file_name()) else {
            return Ok(Vec::new());
        };
        let name = name.as_encoded_bytes().strip_suffix(b"1.log").unwrap_or_default();
        let failed = || format!("`{}` cannot be read", directory.display());
        let entries = match read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(failed)?,
        };
        let mut logs = Vec::new();
        for entry in entries {
            let path = entry.with_context(failed)?.path();
            let rest = path.file_name().and_then(|file| file.as_encoded_bytes().strip_prefix(name));
            if rest.is_some_and(is_of_attempt) {
                logs.push(path);
            }
        }
        logs.sort_unstable();
        Ok(logs)
    }

    /// All runs that left something, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn runs(&self) -> Result<Vec<RunId>> {
        let path = self.root.join("runs");
        let failed = |error| self.explain(error, &path, "cannot be read");
        let entries = match read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut runs = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok()).map(RunId);
            runs.extend(number.filter(|run| self.run(*run).file_name() == Some(&name)));
        }
        runs.sort_unstable();
        Ok(runs)
    }

    /// Removes the logs of old runs: those of the last [`KEPT_LOGS`] runs that wrote any stay. What happened in a run, its
    /// events, stays for ever: that is small, and what is left should the journal be lost.
    pub(crate) fn prune_logs(&self) -> Result<()> {
        let logs = self.runs()?.into_iter().map(|run| self.run(run).join("logs"));
        let logs: Vec<_> = logs.filter(|logs| logs.is_dir()).collect();
        let old = logs.len().saturating_sub(KEPT_LOGS);
        for logs in &logs[..old] {
            std::fs::remove_dir_all(logs)
                .with_context(|| format!("`{}` cannot be removed", logs.display()))?;
        }
        Ok(())
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(crate::live::LOCK)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(crate) fn high(&self) -> PathBuf {
        self.root.join("journal.high")
    }
}

/// Whether this is `7.log` or `7-dpkg.log`, and not the rest of another node's name.
fn is_of_attempt(rest: &[u8]) -> bool {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && (rest[digits..] == *b".log" || rest[digits..].starts_with(b"-"))
}

/// A name as one component of a path: no slash, and never `.` or `..`.
fn file_name(name: &str) -> Cow<'_, str> {
    if !name.contains(['/', '%', '\0']) && !name.starts_with('.') && !name.is_empty() {
        return Cow::Borrowed(name);
    }
    let escaped = name.replace('%', "%25").replace('/', "%2F").replace('\0', "%00");
    Cow::Owned(match escaped.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None if escaped.is_empty() => "%".to_owned(),
        None => escaped,
    })
}

/// Makes a directory and those above it, unless it is there already: then it keeps the mode that somebody gave it.
pub(crate) fn make(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("directory `{}` cannot be made", path.display()))
}

fn refuse_unfit(path: &Path) -> Result<()> {
    let magic = magic(path)?;
    let Some((_, name)) = UNFIT.iter().find(|(unfit, _)| *unfit == magic) else { return Ok(()) };
    bail!(
        "state directory `{}` is on {name}, where the journal could be lost or damaged; give a directory on a local \
         disk with `--state DIR`",
        path.display()
    )
}

/// The magic number of the file system that holds `path`, or would, if it were made.
fn magic(path: &Path) -> Result<u32> {
    for ancestor in path.ancestors() {
        match rustix::fs::statfs(ancestor) {
            // The kernel's magic numbers have 32 bits, whatever the width and the sign of the field.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "only 32 bits are used"
            )]
            Ok(found) => return Ok(found.f_type as u32),
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("`{}` cannot be read", ancestor.display()));
            }
        }
    }
    bail!("`{}` has no parent that exists", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (name, expected) in
            [("a-b", "a-b"), ("..", "%2E."), ("a/b", "a%2Fb"), ("", "%"), (".x", "%2Ex"), ("5%", "5%25")]
        {
            assert_eq!(file_name(name), expected);
        }
    }

    #[test]
    fn foreign_file_systems_are_told_apart() -> Result<()> {
        // proc is no disk either, but its number proves that the right field is read.
        assert_eq!(magic(Path::new("/proc/self/nothing/here"))?, 0x9fa0);
        assert!(UNFIT.iter().any(|(number, _)| *number == rustix::fs::NFS_SUPER_MAGIC as u32));
        Ok(())
    }

    #[test]
    fn only_logs_of_old_runs_are_removed() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let node = NodeId::new("host", "bridge");
        for run in 1..=KEPT_LOGS as u32 + 3 {
            std::fs::create_dir_all(dir.run(RunId(run)))?;
            std::fs::write(dir.events(RunId(run)), "")?;
            // The second wrote no logs: it does not count.
            if run != 2 {
                let log = dir.log(RunId(run), &node, 1);
                std::fs::create_dir_all(log.parent().context("no parent")?)?;
                std::fs::write(log, "")?;
            }
        }
        dir.prune_logs()?;
        let has_log = |run| dir.log(RunId(run), &node, 1).exists();
        assert_eq!((1..=6).map(has_log).collect::<Vec<_>>(), [false, false, false, true, true, true]);
        assert!((1..=KEPT_LOGS as u32 + 3).all(|run| dir.events(RunId(run)).exists()));
        Ok(())
    }

    #[test]
    fn logs_are_told_apart_by_node() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let (run, node) = (RunId(1), NodeId::new("host", "command-a"));
        assert!(dir.logs(run, &node)?.is_empty());
        let ours = ["command-a.1-config.log", "command-a.1.log", "command-a.12.log"];
        let others = ["command-a.b.1.log", "command-a.1.1.log", "command-ab.1.log", "command.1.log"];
        let directory = dir.run(run).join("logs/host");
        std::fs::create_dir_all(&directory)?;
        for name in ours.iter().chain(&others) {
            std::fs::write(directory.join(name), "")?;
        }
        assert_eq!(dir.logs(run, &node)?, ours.map(|name| directory.join(name)));
        Ok(())
    }

    #[test]
    fn nobody_else_gets_in_and_an_older_one_is_closed() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("state");
        let mode = |path: &Path| anyhow::Ok(path.metadata()?.mode() & 0o777);
        StateDir::open(&path)?;
        assert_eq!((mode(&path)?, mode(&path.join("runs"))?), (0o700, 0o700));
        for (path, mode) in [(path.clone(), 0o711), (path.join("memory"), 0o755)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        StateDir::open(&path)?;
        assert_eq!((mode(&path)?, mode(&path.join("memory"))?), (0o700, 0o700));
        Ok(())
    }

    #[test]
    fn one_of_somebody_else_is_refused() -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give a directory away");
            return Ok(());
        }
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("state");
        StateDir::open(&path)?;
        std::os::unix::fs::chown(&path, Some(65534), None)?;
        let error = StateDir::open(&path).expect_err("it is somebody's").to_string();
        assert!(error.contains("belongs to the user 65534") && error.contains("chown -R 0 "), "{error}");
        Ok(())
    }

    #[test]
    fn a_directory_that_holds_something_else_is_left_alone() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        std::fs::write(scratch.path().join("letter"), "")?;
        let error = StateDir::open(scratch.path()).expect_err("it is somebody's").to_string();
        assert!(error.contains("holds other things"), "{error}");
        assert_eq!(scratch.path().metadata()?.mode() & 0o777, 0o755);
        assert_eq!(scratch.path().read_dir()?.count(), 1);
        let error = StateDir::open(&scratch.path().join("letter")).expect_err("it is a file").to_string();
        assert!(error.contains("is no directory; move it away"), "{error}");
        Ok(())
    }
}
