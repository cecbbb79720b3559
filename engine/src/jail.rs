//! A private world for a command: its own mounts and its own processes, both gone when it ends.
//!
//! Nothing that is mounted here is seen by the host, and no process started here outlives the command, not even
//! when Drover is killed: `unshare --mount --pid --fork --kill-child`. It does not know what runs inside.

use crate::Rootfs;
use crate::command::quoted;
use crate::environment::SYSTEM_PATH;
use anyhow::{Context, Result, ensure};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the jail's first process does. It stays, and runs the program as a child of its own: the first process of a
/// namespace ignores SIGTERM and is to collect orphans, and few programs are made for that.
///
/// Where the processes are the host's, it becomes the program instead.
///
/// Parameters: root, directory, PATH (each empty for the host's), `exec` or nothing; `KIND SOURCE TARGET` of each mount; `--`;
/// the program.
/// The kinds `enter` and `register` say through what the program is run: see [`Foreign`]; so does `unsynced`.
const SCRIPT: &str = r#"
root=$1 dir=$2 path=$3 become=$4 enter= unsynced=
shift 4
while [ "$1" != -- ]; do
    case $1 in
        bind) mount --rbind -- "$2" "$3" ;;
        bind-read-only) mount --bind -o ro -- "$2" "$3" ;;
        enter) enter=$2 registrations=$3 ;;
        register) registration=$2 ;;
        unsynced) unsynced=$2 ;;
        *) mount -t "$1" -- "$2" "$3" ;;
    esac
    shift 3
done
shift
[ -z "$path" ] || PATH=$path
[ -z "$root" ] || unset TMPDIR
[ -z "$become" ] || { cd "${dir:-.}"; exec "$@"; }
set -- "$(command -v unshare)" ${root:+--root="$root"} ${dir:+--wd="$dir"} -- "$@"
${unsynced:+"$unsynced"} ${enter:+"$enter" "$registrations" "$registration" --} "$@"
exit $?
"#;

/// Where a command runs, and what it finds mounted there.
#[derive(Clone, Debug, Default)]
pub struct Jail {
    /// The directory that becomes `/`; `None` keeps the host's.
    pub root: Option<PathBuf>,
    /// Host paths bound to paths in it, in order. A target must exist, in the jail's root or in what is bound before.
    pub binds: Vec<Bind>,
    /// Whether `/proc` (of the jail's own processes) and `/sys` are mounted in it.
    pub kernel: bool,
    /// Whether its processes are its own, which end with it. Where systemd is process 1, what is to call it has to be among
    /// the host's: it does not talk to those who cannot see it.
    pub own_processes: bool,
    /// How programs of another processor are started in it; `None` leaves that to the host's kernel.
    pub foreign: Option<Foreign>,
    /// The program through which its programs are run so that they do not wait for the disk, if one is: whoever runs them
    /// sees to it that all is written in the end.
    pub unsynced: Option<PathBuf>,
}

/// How programs of another processor are started in a jail, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The program that makes the user namespace for that: `ENTER BINFMT_MISC REGISTRATION -- PROGRAM ARGUMENT...`.
    pub enter: PathBuf,
    /// What it registers, in the kernel's words.
    pub registration: String,
}

/// A host path that is seen somewhere else in a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The path on the host.
    pub source: PathBuf,
    /// The path in the jail.
    pub target: PathBuf,
    /// Whether nothing can be changed there.
    pub read_only: bool,
}

impl Jail {
    /// A chroot into `root`, with proc and sys.
    pub fn chroot(root: impl AsRef<Path>) -> Self {
        let root = Some(root.as_ref().to_owned());
        Self { root, binds: Vec::new(), kernel: true, own_processes: true, foreign: None, unsynced: None }
    }

    /// The host itself, but with private mounts and processes.
    pub fn host() -> Self {
        Self {
            root: None,
            binds: Vec::new(),
            kernel: true,
            own_processes: true,
            foreign: None,
            unsynced: None,
        }
    }

    /// The host itself, with its processes, but with private mounts. What a killed run leaves of it ends by its mark alone.
    pub fn mounts_of_host() -> Self {
        Self { kernel: false, own_processes: false, ..Self::host() }
    }

    /// Binds the host's `source` over `target` in the jail.
    #[must_use]
    pub fn bind(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        self.bound(source.as_ref(), target.as_ref(), false)
    }

    /// Binds the host's `source` over `target` in the jail, where nothing can be changed; without what is mounted in it.
    #[must_use]
    pub fn bind_read_only(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        self.bound(source.as_ref(), target.as_ref(), true)
    }

    /// Starts programs of another processor in this way. The user namespace that it takes has all ids as they are, but not
    /// the right to make devices.
    #[must_use]
    pub fn foreign(mut self, foreign: Foreign) -> Self {
        self.foreign = Some(foreign);
        self
    }

    /// Runs programs through this one, which lets nothing wait for the disk.
    #[must_use]
    pub fn unsynced(mut self, program: impl AsRef<Path>) -> Self {
        self.unsynced = Some(program.as_ref().to_owned());
        self
    }

    fn bound(mut self, source: &Path, target: &Path, read_only: bool) -> Self {
        self.binds.push(Bind { source: source.to_owned(), target: target.to_owned(), read_only });
        self
    }

    /// A line of shell that runs its arguments in a jail like this one, but in `root`, which may come to be only later, and
    /// has the same directories.
    ///
    /// # Errors
    /// When something that is to be bound does not exist, or this jail has no root of its own.
    pub fn line(&self, root: &Path) -> Result<String> {
        let here = self.root.as_deref().context("a jail without a root of its own")?;
        let here = here.canonicalize().with_context(|| format!("find `{}`", here.display()))?;
        let there = |path: &OsStr| match Path::new(path).strip_prefix(&here) {
            Ok(rest) => root.join(rest).into_os_string(),
            Err(_) => path.to_owned(),
        };
        let command = Self { root: Some(here.clone()), ..self.clone() }.command(OsStr::new(""), &[], None)?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let mut words: Vec<_> = words.map(|word| quoted(&there(word))).collect();
        // The empty program's place is that of the arguments.
        words.pop();
        Ok(format!("{} \"$@\"", words.join(" ")))
    }

    /// The process that makes this jail and runs `program` with `args` in it.
    pub(crate) fn command(&self, program: &OsStr, args: &[OsString], dir: Option<&Path>) -> Result<Command> {
        let mut command = Command::new("unshare");
        command.current_dir("/");
        command.args(["--mount", "--propagation", "private"]);
        if self.own_processes {
            command.args(["--pid", "--fork", "--kill-child"]);
        }
        command.args(["--", "sh", "-euc", SCRIPT, "jail"]);
        command.arg(self.root.as_deref().unwrap_or(Path::new("")));
        command.arg(dir.unwrap_or(Path::new("")));
        // Another system's programs are where they are in every system, whatever PATH is here.
        command.arg(if self.root.is_some() { SYSTEM_PATH } else { "" });
        command.arg(if self.own_processes { "" } else { "exec" });
        for (kind, source, target) in self.mounts()? {
            command.arg(kind).arg(source).arg(target);
        }
        command.arg("--").arg(program).args(args);
        Ok(command)
    }

    /// Kind, source and target, as the host sees it, of each mount.
    fn mounts(&self) -> Result<Vec<(&'static str, PathBuf, PathBuf)>> {
        let mut mounts = Vec::new();
        if self.kernel {
            mounts.push(("proc", "proc".into(), self.target(Path::new("/proc"))?));
        }
        if self.kernel && self.root.is_some() {
            mounts.push(("sysfs", "sysfs".into(), self.target(Path::new("/sys"))?));
        }
        for (place, Bind { source, target, read_only }) in self.binds.iter().enumerate() {
            ensure!(source.exists(), "bind `{}`: it does not exist", source.display());
            let kind = if *read_only { "bind-read-only" } else { "bind" };
            mounts.push((kind, source.clone(), self.bind_target(place, target)?));
        }
        if let Some(program) = &self.unsynced {
            mounts.push(("unsynced", program.clone(), PathBuf::new()));
        }
        if let Some(Foreign { enter, registration }) = &self.foreign {
            let place = self.target(Path::new("/proc/sys/fs/binfmt_misc"))?;
            mounts
                .extend([("enter", enter.clone(), place), ("register", registration.into(), PathBuf::new())]);
        }
        Ok(mounts)
    }

    /// Where the target of the bind at `place` is on the host: perhaps in something that is bound before it.
    fn bind_target(&self, place: usize, target: &Path) -> Result<PathBuf> {
        let before = self.binds[..place].iter().enumerate().rev();
        for (earlier, bind) in before {
            if let Ok(rest) = target.strip_prefix(&bind.target)
                && rest != Path::new("")
            {
                let source = bind.source.join(rest);
                ensure!(
                    source.exists(),
                    "mount over `{}`: it does not exist; make it first",
                    source.display()
                );
                return Ok(self.bind_target(earlier, &bind.target)?.join(rest));
            }
        }
        self.target(target)
    }

    /// Where a path in the jail is on the host; links cannot lead out of its root.
    fn target(&self, path: &Path) -> Result<PathBuf> {
        let Some(root) = &self.root else {
            ensure!(path.exists(), "mount over `{}`: it does not exist", path.display());
            return Ok(path.to_owned());
        };
        // What the kernel shows there is seen only once it is mounted, and no link leads out of it.
        let kernel = ["/proc", "/sys"]
            .iter()
            .find(|top| self.kernel && path != Path::new(top) && path.starts_with(top));
        if let Some(top) = kernel
            && let Ok(rest) = path.strip_prefix(top)
        {
            return Ok(self.target(Path::new(top))?.join(rest));
        }
        let name = path.to_str().context("a path that is not UTF-8")?;
        Rootfs::open(root)?.locate(name)?.with_context(|| {
            format!("mount over `{name}` in `{}`: it does not exist there; make it first", root.display())
        })
    }
}
