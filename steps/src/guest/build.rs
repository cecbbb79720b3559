//! # Build
//! Builds a source tree in the container, as the account that builds, and runs its tests.
//!
//! The document: "(sudo) chroot ... can also be used from the CI worker account on the host system to build in the prepared
//! filesystems without the overhead of running containers"; the other way is ssh, "complete with envvar passing".
//!
//! ```ron
//! Build(source: "/srv/src/nut")
//! Build(source: "nut-2.8.0.tar.gz", via: Ssh, commands: ["./configure --with-all=auto", "make -j2", "make check"])
//! Build(source: "/srv/src/nut", commands: ["./ci_build.sh"], environment: {"BUILD_TYPE": "default-all-errors"})
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `source` | a directory or a tarball of the host; a relative one is looked up from the plan's directory |
//! | `via` | `Chroot` (if not given): in the container's files, whether it runs or not; `Ssh`: in the running container |
//! | `commands` | for `sh -eu`, one after the other, in the copy of the source; the first that fails ends it |
//! | `environment` | variables for them; by ssh they arrive as those of a CI client do. `QEMU_VERSION` is refused: every emulated program would print the emulator's version in place of its work |
//!
//! If `commands` are not given: `./autogen.sh` where there is one (else `autoreconf --install` where there is no
//! `configure`), `./configure`, `make`, `make check`.
//!
//! `drover run PLAN --only '*/build'` builds in the whole farm, as many at a time as there are processors, with a result for
//! each container. One that fails is a failed step: which command, its last lines, the log, with `config.log` and
//! `test-suite.log` beside it; the others go on. **It is built again** when the source has changed (its contents, whatever
//! their dates; not what version control keeps beside them), when commands or variables have, or the container's packages;
//! and each time until it succeeds. Each time it starts from a fresh copy. What it needs is for `GuestPackages`.
//!
//! **Changes** `builds/NAME` in the account's home, or in its `TmpfsWorkspace`: `tree` is where it was built, and stays to be
//! looked at. A source that a `Command` of the plan `creates` (`git clone`) comes first.
//!
//! **To take it back** `drover destroy`, or remove `builds/NAME`.

use super::build_source::{as_account, copy, ensure_usable, fingerprint};
use super::emulate::Guest;
use super::ssh::Ssh;
use crate::archives::hex;
use crate::container::Container;
use crate::dpkg::STATUS;
use crate::inputs;
use crate::step::FarmStep;
use crate::{ours, resource};
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{
    Access, Check, Claim, Cmd, Cx, HostFile, Inputs, Need, Resource, Rootfs, Undo, mount_at_or_below,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// What is built.
    pub source: PathBuf,
    /// How the container's programs are run.
    #[serde(default)]
    pub via: Via,
    /// What builds it.
    #[serde(default = "autotools")]
    pub commands: Vec<String>,
    /// Variables for the commands.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// How the container's programs are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// In its root file system, by the host.
    #[default]
    Chroot,
    /// In the running container, by ssh.
    Ssh,
}

/// What the tools leave about a failure, in the tree.
const LOGS: [&str; 2] = ["config.log", "test-suite.log"];

fn autotools() -> Vec<String> {
    let prepare =
        "if [ -x autogen.sh ]; then ./autogen.sh; elif [ ! -e configure ]; then autoreconf --install; fi";
    [prepare, "./configure", "make", "make check"].map(str::to_owned).into()
}

/// Where it is built, on the host and in the container.
fn place(at: &Container) -> PathBuf {
    let farm = &at.farm;
    farm.workspace.as_ref().unwrap_or(&farm.account.home).join("builds").join(&at.name)
}

/// What was built last, a line for each thing that counts.
fn stamp(cx: &Cx, at: &Container) -> HostFile {
    HostFile::new(cx.cache("built").join(&at.name))
}

/// What has changed between two stamps, as a reason to build again.
fn change(before: &str, after: &str) -> Option<&'static str> {
    let differs = |key: &str| {
        let line = |text: &str| text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        line(before) != line(after)
    };
    let reasons = [
        ("source", "the source has changed"),
        ("commands", "the commands have changed"),
        ("packages", "the container's packages have changed"),
    ];
    reasons.into_iter().find(|(key, _)| differs(key)).map(|(_, reason)| reason)
}

fn is_name(variable: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    variable.chars().all(legal) && variable.starts_with(|c: char| !c.is_ascii_digit())
}

impl Build {
    fn source(&self, at: &Container) -> PathBuf {
        at.farm.plan_directory.0.join(&self.source)
    }

    /// Whether a command of the plan makes the source.
    fn is_promised(&self, at: &Container) -> bool {
        let source = self.source(at);
        at.farm.created.iter().any(|made| source.starts_with(made))
    }

    /// What counts, as it is now.
    fn state(&self, at: &Container, rootfs: &Rootfs) -> Result<String> {
        let commands = format!("{:?} {:?} {:?}", self.via, self.commands, self.environment);
        let packages = rootfs.read(STATUS)?.unwrap_or_default();
        let digest = |text: &str| hex(&Sha256::digest(text));
        let source = fingerprint(&self.source(at))?;
        Ok(format!("source {source}\ncommands {}\npackages {}\n", digest(&commands), digest(&packages)))
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The command line that runs one of the commands in the tree, alone there.
    fn words(place: &Path, command: &str) -> Vec<String> {
        let path = |name: &str| place.join(name).display().to_string();
        let script = format!("cd \"$0\"\n{command}");
        ["flock".to_owned(), path("lock"), "sh".to_owned(), "-euc".to_owned(), script, path("tree")].into()
    }

    fn run(&self, cx: &Cx, at: &Container, command: &str) -> Result<()> {
        let words = Self::words(&place(at), command);
        match self.via {
            Via::Chroot => {
                let variables = self.variables().map(|(name, value)| format!("{name}={value}"));
                let guest = guest(at)?.command("setpriv").args(&as_account(&at.farm.account)[1..]);
                cx.run(&guest.args(variables).args(words))
            }
            Via::Ssh => {
                let ssh = Ssh::to(at)?.with_context(|| format!("`{}` has no ssh host keys", at.name))?;
                let remote = Cmd::new(&words[0]).args(&words[1..]).to_string();
                cx.run(&ssh.command(&[], self.variables(), &remote))
            }
        }
    }
}

/// The container's system, with the account's home, and its workspace where that is elsewhere.
fn guest(at: &Container) -> Result<Guest> {
    let farm = &at.farm;
    let elsewhere = farm.workspace.iter().filter(|workspace| !workspace.starts_with(&farm.account.home));
    let rootfs = Rootfs::open(at.rootfs())?;
    let mut guest = Guest::new(&at.rootfs());
    for path in std::iter::once(&farm.account.home).chain(elsewhere) {
        let target = path.to_str().context("a path that is not UTF-8")?;
        rootfs.mkdir_all(target, Access::root(0o755))?;
        guest = guest.with(path, target);
    }
    Ok(guest)
}

impl FarmStep<Container> for Build {
    fn title(&self, at: &Container) -> String {
        format!("build {} in {}", self.source.display(), at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at)
            .and(inputs::arch(&at.base))
            .and(inputs::account(&at.farm))
            .and(inputs::workspace(&at.farm))
    }

    fn shape(&self, _at: &mut Container) -> Result<()> {
        ensure!(
            !self.commands.is_empty(),
            "a build without `commands` builds nothing: leave them out for autotools' own"
        );
        ensure!(!self.source.as_os_str().is_empty(), "a build needs a `source`");
        ensure!(
            self.commands.iter().all(|it| !it.trim().is_empty()),
            "one of the `commands` of the build is empty"
        );
        let wrong = self.environment.keys().find(|name| !is_name(name));
        ensure!(wrong.is_none(), "`{}` cannot be the name of a variable", wrong.map_or("", |name| name));
        match self.environment.keys().find_map(|name| drover_engine::not_to_be_set(name)) {
            Some(why) => bail!(why),
            None => Ok(()),
        }
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let user = &at.farm.account.user;
        let mut all = vec![
            Need::Must(at.resource(resource::ROOTFS)),
            Need::Must(at.edit(resource::GUEST_EDIT, "account")),
        ];
        match self.via {
            Via::Chroot => all.push(Need::Must(Resource::new(resource::ACCOUNT, user))),
            Via::Ssh => {
                let home = at.edit(resource::DOMAIN_EDIT, "home");
                all.extend([at.resource(resource::SSH), home].map(Need::Must));
            }
        }
        all.push(Need::IfAny(at.edits(resource::GUEST_EDIT)));
        all.extend([resource::HOME, resource::WORKSPACE].map(|kind| Need::IfAny(Resource::new(kind, user))));
        all.extend(
            at.farm
                .created
                .iter()
                .filter(|made| self.source(at).starts_with(made))
                .map(|made| Need::IfAny(Resource::new(resource::CREATED, made.display().to_string()))),
        );
        if at.base.is_emulated() {
            all.push(Need::Must(Resource::new(resource::EMULATION, at.base.arch.debian())));
        }
        all
    }

    fn claims(&self, _at: &Container) -> Vec<Claim> {
        vec![Claim::shares(resource::EMULATION_POOL, 1)]
    }

    fn estimate(&self, at: &Container) -> Duration {
        Duration::from_secs(if at.base.is_emulated() { 1800 } else { 200 })
    }

    fn timeout(&self, _at: &Container) -> Duration {
        Duration::from_secs(12 * 3600)
    }

    fn precondition(&self, _cx: &Cx, at: &Container) -> Result<()> {
        let source = self.source(at);
        if self.is_promised(at) && !source.exists() {
            return Ok(());
        }
        ensure!(
            source.exists(),
            "the source `{}` does not exist: fetch it first, or let the plan do so \
             (`Command(name: \"source\", run: \"git clone ...\", creates: \"{0}\")`)",
            source.display()
        );
        ensure_usable(&source)
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let (source, name) = (self.source(at), &at.name);
        if !source.exists() {
            return Ok(Check::needed(format!("the source `{}` does not exist yet", source.display())));
        }
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{name}` does not exist")));
        };
        let Some(built) = stamp(cx, at).read()? else {
            return Ok(Check::needed(format!("`{}` was not built in `{name}` yet", source.display())));
        };
        if let Some(reason) = change(&built, &self.state(at, &rootfs)?) {
            return Ok(Check::needed(format!("{reason} since `{}` was built in `{name}`", source.display())));
        }
        let tree = place(at).join("tree");
        Ok(match tree.is_dir() {
            true => Check::Satisfied,
            false => Check::needed(format!("what was built is gone: {} does not exist", tree.display())),
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let place = place(at);
        // As it is now: should it change while it is copied, the next run builds it again.
        let state = self.state(at, &Rootfs::open(at.rootfs())?)?;
        // From here on the tree is no longer what was built last, whatever comes of this.
        ours::remove(stamp(cx, at).path())?;
        copy(cx, &self.source(at), &place, &at.farm.account)?;
        for (done, command) in self.commands.iter().enumerate() {
            cx.progress(done as u64, self.commands.len() as u64);
            cx.note(command);
            if let Err(error) = self.run(cx, at, command) {
                for log in LOGS.map(|name| place.join("tree").join(name)) {
                    // What is none, such as a FIFO, is nothing to wait for.
                    if log.symlink_metadata().is_ok_and(|found| found.is_file()) {
                        cx.keep_log(&log);
                    }
                }
                return Err(error.context(format!("`{command}` failed in `{}`", at.name)));
            }
        }
        stamp(cx, at).write(&state)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let (place, stamp) = (place(at), stamp(cx, at));
        if !place.exists() && !stamp.path().exists() {
            return Ok(Undo::default());
        }
        let what = format!("remove {}, with what was built there", place.display());
        Ok(Undo::default().act(what, move |cx| {
            // As the account, which cannot be led to what is not its own.
            const REMOVE: &str = "rm -rf \"$0\"; rmdir --ignore-fail-on-non-empty \"${0%/*}\"";
            let words = as_account(&at.farm.account);
            if place.exists() {
                // The account's `rm` would go on in what somebody has bound there.
                let mount = mount_at_or_below(&place)?.map(|mount| mount.display().to_string());
                ensure!(
                    mount.is_none(),
                    "`{0}` is mounted there; umount it first",
                    mount.unwrap_or_default()
                );
                cx.run(&Cmd::new(&words[0]).args(&words[1..]).args(["sh", "-euc", REMOVE]).arg(&place))?;
            }
            ours::remove(stamp.path())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_the_reason() {
        let stamp = "source 1\ncommands 2\npackages 3\n";
        assert_eq!(change(stamp, stamp), None);
        assert_eq!(
            change(stamp, "source 1\ncommands 2\npackages 4\n"),
            Some("the container's packages have changed")
        );
        assert_eq!(change(stamp, "source 0\ncommands 0\npackages 4\n"), Some("the source has changed"));
        assert_eq!(change("", stamp), Some("the source has changed"));
    }

    #[test]
    fn a_command_line_survives_the_shell_of_the_other_side() {
        let words = Build::words(Path::new("/home/a b/builds/x"), "echo \"it's $HOME\"");
        let line = Cmd::new(&words[0]).args(&words[1..]).to_string();
        let expected = "flock '/home/a b/builds/x/lock' sh -euc 'cd \"$0\"\necho \"it'\\''s $HOME\"' '/home/a b/builds/x/tree'";
        assert_eq!(line, expected);
        assert!(is_name("CFLAGS") && is_name("_a1") && !is_name("1a") && !is_name("A-B") && !is_name(""));
    }
}
