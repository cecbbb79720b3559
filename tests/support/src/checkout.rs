//! A checkout of the project in a throw-away host, in which commands are run as its reader types them.
//!
//! The host sees the tree of this machine, what is built there included, at the same path: Cargo would build all of it anew
//! at another. What the host changes in it is gone with the host. This file does not know what the commands do.

use crate::{Host, HostOptions, Running};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A checkout in a host.
#[derive(Clone, Debug)]
pub struct Checkout {
    tree: PathBuf,
}

/// Where a host sees the tree as it is on this machine.
const TREE: &str = "/run/checkout";

impl Checkout {
    /// The checkout at `tree` on this machine, which holds its `target/`.
    pub fn of(tree: impl Into<PathBuf>) -> Self {
        Self { tree: tree.into() }
    }

    /// Lets a host see it.
    #[must_use]
    pub fn show(&self, options: HostOptions) -> HostOptions {
        options.show(&self.tree, TREE)
    }

    /// Lays the tree, writable, at its path in `host`, which was given it by [`Checkout::show`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lay(&self, host: &Host) -> Result<()> {
        let tree = self.tree.display();
        host.shell(&format!(
            "mkdir -p '{tree}' /tmp/checkout/upper /tmp/checkout/work
            mount -t overlay -o lowerdir={TREE},upperdir=/tmp/checkout/upper,workdir=/tmp/checkout/work overlay '{tree}'"
        ))?;
        Ok(())
    }

    /// Changes a file of it in `host`.
    ///
    /// # Errors
    /// When it does not hold what `edit` expects, or cannot be written.
    pub fn edit(&self, host: &Host, file: &str, edit: impl FnOnce(&str) -> Option<String>) -> Result<()> {
        let path = self.tree.join(file);
        let path = path.to_str().context("a path that is not UTF-8")?;
        let text = edit(&host.read(path)?).with_context(|| format!("`{file}` is not as expected"))?;
        host.write(path, &text)
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
        let cargo = tool_chain()?;
        let mut command = host.command(&["sh", "-c", "cd \"$0\" && exec sh -c \"$1\""]);
        command.arg(&self.tree).arg(line).env("PATH", cargo).env("USER", "root").env("SHELL", "/bin/bash");
        for name in ["CARGO_HOME", "RUSTUP_HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Running::start(command, line.to_owned())
    }
}

/// PATH with the directory of this machine's `cargo` in it.
fn tool_chain() -> Result<OsString> {
    const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let path = std::env::var_os("PATH").context("this process has no PATH")?;
    let cargo = std::env::split_paths(&path).find(|directory| directory.join("cargo").is_file());
    let cargo = cargo.context("there is no `cargo` in PATH")?;
    ensure!(cargo.is_absolute(), "`cargo` is found by a relative path");
    let dirs = std::iter::once(cargo).chain(std::env::split_paths(Path::new(SYSTEM)));
    Ok(std::env::join_paths(dirs)?)
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
