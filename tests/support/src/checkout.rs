//! A checkout of the project in a throw-away host, in which commands are run as its reader types them.
//!
//! The host sees the tree of this machine, what is built there included, at the same path: Cargo would build all of it anew
//! at another. So it sees the tool chain. What the host changes in them is gone with the host. This file does not know what
//! the commands do.

use crate::{Host, HostOptions, Running};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// A checkout in a host.
#[derive(Clone, Debug)]
pub struct Checkout {
    tree: PathBuf,
    tools: ToolChain,
}

/// Where a host sees the tree, and the directories of the tool chain, as they are on this machine.
const SEEN: &str = "/run/checkout";

impl Checkout {
    /// The checkout at `tree` on this machine, which holds its `target/`, with the tool chain that PATH leads to.
    ///
    /// # Errors
    /// When PATH leads to none.
    pub fn of(tree: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self { tree: tree.into(), tools: ToolChain::find()? })
    }

    /// Lets a host see it. Where the tool chain is part of this machine's system, the host has to be laid over that.
    #[must_use]
    pub fn show(&self, options: HostOptions) -> HostOptions {
        let options = if self.tools.directories.is_empty() { options.on_machine() } else { options };
        let each = self.directories().enumerate();
        each.fold(options, |options, (place, directory)| options.show(directory, &format!("{SEEN}/{place}")))
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.tree).chain(self.tools.directories.values())
    }

    /// Lays all of it, writable, at its paths in `host`, which was given it by [`Checkout::show`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lay(&self, host: &Host) -> Result<()> {
        for (place, directory) in self.directories().enumerate() {
            let (directory, changes) = (directory.display(), format!("/tmp/checkout/{place}"));
            host.shell(&format!(
                "mkdir -p '{directory}' {changes}/upper {changes}/work
                mount -t overlay -o lowerdir={SEEN}/{place},upperdir={changes}/upper,workdir={changes}/work \
                    overlay '{directory}'"
            ))?;
        }
        Ok(())
    }

    /// Changes a file of it in `host`, but for its time: what has the file built in is not built anew for that, and a fresh
    /// host has no linker.
    ///
    /// # Errors
    /// When it does not hold what `edit` expects, or cannot be written.
    pub fn edit(&self, host: &Host, file: &str, edit: impl FnOnce(&str) -> Option<String>) -> Result<()> {
        let path = self.tree.join(file);
        let path = path.to_str().context("a path that is not UTF-8")?;
        let modified = fs::metadata(host.path(path))?.modified()?;
        let text = edit(&host.read(path)?).with_context(|| format!("`{file}` is not as expected"))?;
        host.write(path, &text)?;
        Ok(fs::File::options().write(true).open(host.path(path))?.set_modified(modified)?)
    }

    /// The command that the README gives at `place`, counted from 0, among those in its blocks of shell.
    ///
    /// # Errors
    /// When there is none.
    pub fn readme(&self, place: usize) -> Result<String> {
        let path = self.tree.join("README.md");
        let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        commands(&text).nth(place).with_context(|| format!("the README has no command {place}"))
    }

    /// Starts `line` in `host` as somebody does who logs in as root and types it in the tree: a shell's environment, with
    /// the tool chain of this machine.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn type_in(&self, host: &Host, line: &str) -> Result<Running> {
        let mut command = host.command(&["sh", "-c", "cd \"$0\" && exec sh -c \"$1\""]);
        command.arg(&self.tree).arg(line).env("PATH", self.tools.path()?);
        command.env("USER", "root").env("SHELL", "/bin/bash").envs(&self.tools.directories);
        Running::start(command, line.to_owned())
    }
}

/// This machine's tool chain.
#[derive(Clone, Debug)]
struct ToolChain {
    /// Where its `cargo` is.
    cargo: PathBuf,
    /// The directories that it consists of, by the variables that name them; none if it is part of the system.
    directories: BTreeMap<&'static str, PathBuf>,
}

impl ToolChain {
    fn find() -> Result<Self> {
        let path = std::env::var_os("PATH").context("this process has no PATH")?;
        let cargo = std::env::split_paths(&path).find(|directory| directory.join("cargo").is_file());
        let cargo = cargo.context("there is no `cargo` in PATH")?;
        ensure!(cargo.is_absolute(), "`cargo` is found by a relative path");
        let mut directories = BTreeMap::new();
        if !cargo.starts_with("/usr/bin") {
            directories.extend(directory("CARGO_HOME", ".cargo"));
            directories.extend(directory("RUSTUP_HOME", ".rustup"));
        }
        Ok(Self { cargo, directories })
    }

    /// PATH with its `cargo` in it.
    fn path(&self) -> Result<OsString> {
        const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let system = std::env::split_paths(SYSTEM);
        Ok(std::env::join_paths(std::iter::once(self.cargo.clone()).chain(system))?)
    }
}

/// A directory of the tool chain: the one that a variable names, or where it is in a home.
fn directory(variable: &'static str, in_home: &str) -> Option<(&'static str, PathBuf)> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let directory = named.or_else(|| Some(std::env::home_dir()?.join(in_home)))?;
    directory.is_dir().then_some((variable, directory))
}

/// The commands in the blocks of shell of a text in Markdown, without the remarks behind them.
fn commands(text: &str) -> impl Iterator<Item = String> {
    let mut is_shell = false;
    text.lines().filter_map(move |line| {
        if line.starts_with("```") {
            is_shell = line == "```sh";
            return None;
        }
        let command = line.split(" #").next().unwrap_or(line).trim();
        (is_shell && !command.is_empty()).then(|| command.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn commands_are_those_of_shell_without_remarks() {
        let text = "# A\n\n```sh\nmake farm    # builds\nmake test\n```\n```text\nnone\n```\n```sh\n\ndrover status\n```\n";
        assert_eq!(commands(text).collect::<Vec<_>>(), ["make farm", "make test", "drover status"]);
    }
}
