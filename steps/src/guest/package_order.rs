//! Which packages a container is to get, in which order, and what they were found for: kept, so that an installation that
//! was killed goes on as it began.
//!
//! It does not know how packages are fetched or installed.

use crate::archives::{Deb, hex};
use crate::package_index::{PackageIndex, file_name};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// What apt does with one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Unpack it.
    Unpack(Deb),
    /// Configure the package of this name.
    Configure(String),
}

/// What apt would do to install some packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PackageOrder {
    /// What it was found for: see [`cause`].
    pub(super) cause: String,
    /// In apt's order.
    pub(super) actions: Vec<Action>,
    /// The optional packages that the release does not have.
    pub(super) lacking: Vec<String>,
    /// The packages that are wanted by a name that only others provide.
    pub(super) provided: Vec<String>,
}

/// What tells one question to apt from another: the packages that are wanted, and those that are there.
pub(super) fn cause(wanted: &[String], status: &str) -> String {
    hex(&Sha256::digest(format!("{}\n{status}", wanted.join(" "))))
}

impl PackageOrder {
    /// The order in what `apt-get --simulate` says, with what the indexes say of the packages.
    pub(super) fn new(cause: String, simulated: &str, indexes: &[PackageIndex<'_>]) -> Result<Self> {
        let mut actions = Vec::new();
        for line in simulated.lines() {
            if let Some(rest) = line.strip_prefix("Inst ") {
                actions.push(Action::Unpack(find(rest, indexes)?));
            } else if let Some(rest) = line.strip_prefix("Conf ") {
                let name = rest.split([' ', ':']).next().unwrap_or_default();
                actions.push(Action::Configure(name.to_owned()));
            } else if line.starts_with("Remv ") {
                bail!("apt wants to remove a package of the container: `{line}`");
            }
        }
        Ok(Self { cause, actions, ..Self::default() })
    }

    /// The order in a text of [`PackageOrder::text`].
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let cause = lines.next().context("the order of packages is empty")?.to_owned();
        let mut order = Self { cause, ..Self::default() };
        for line in lines {
            match line.split_once(' ') {
                Some(("unpack", deb)) => order.actions.push(Action::Unpack(deb.parse()?)),
                Some(("configure", name)) => order.actions.push(Action::Configure(name.to_owned())),
                Some(("lacking", name)) => order.lacking.push(name.to_owned()),
                Some(("provided", name)) => order.provided.push(name.to_owned()),
                _ => bail!("`{line}` is no line of an order of packages"),
            }
        }
        Ok(order)
    }

    /// As text: the cause, then a line for each action, and for each package that is lacking or merely provided.
    pub(super) fn text(&self) -> String {
        let lines = self.actions.iter().map(|action| match action {
            Action::Unpack(deb) => format!("unpack {deb}\n"),
            Action::Configure(name) => format!("configure {name}\n"),
        });
        let lacking = self.lacking.iter().map(|name| format!("lacking {name}\n"));
        let provided = self.provided.iter().map(|name| format!("provided {name}\n"));
        format!("{}\n{}", self.cause, lines.chain(lacking).chain(provided).collect::<String>())
    }

    /// The packages that are unpacked.
    pub(super) fn debs(&self) -> Vec<Deb> {
        let deb = |action: &Action| match action {
            Action::Unpack(deb) => Some(deb.clone()),
            Action::Configure(_) => None,
        };
        self.actions.iter().filter_map(deb).collect()
    }
}

/// The package in a line such as `vim [OLD] (2:9.0.1378-2 Debian:12.1/stable [arm64])`.
fn find(line: &str, indexes: &[PackageIndex<'_>]) -> Result<Deb> {
    let name = line.split([' ', ':']).next().unwrap_or_default();
    let version = line.split_once('(').and_then(|(_, rest)| rest.split(' ').next());
    let version =
        version.with_context(|| format!("apt names a package in a way we do not know: `{line}`"))?;
    let versions = indexes.iter().flat_map(|index| index.versions(name));
    let mut exact = versions.filter(|package| package.field("Version") == Some(version));
    let package = exact.next().with_context(|| format!("apt wants {name} {version}, which no index has"))?;
    let file = file_name(package).with_context(|| format!("the index says too little of {name}"))?;
    crate::bootstrap::deb(package, file).with_context(|| format!("the index says too little of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: vim
Version: 2:9-1
Architecture: arm64
Size: 7
SHA256: 00

Package: vim-common
Version: 2:9-1
Architecture: all
Size: 8
SHA256: 01
";

    #[test]
    fn apts_order_is_kept() -> Result<()> {
        let simulated = "Inst vim-common [2:8] (2:9-1 Debian:12.1/stable [all])\n\
                         Inst vim (2:9-1 Debian:12.1/stable [arm64])\n\
                         Conf vim-common (2:9-1 Debian:12.1/stable [all])\nConf vim (2:9-1 x [arm64])\n";
        let mut order = PackageOrder::new("why".to_owned(), simulated, &[PackageIndex::new(INDEX)])?;
        order.lacking.push("emacs".to_owned());
        order.provided.push("editor".to_owned());
        assert_eq!(
            order.text(),
            "why\nunpack vim-common 2:9-1 vim-common_2%3a9-1_all.deb 8 01\n\
             unpack vim 2:9-1 vim_2%3a9-1_arm64.deb 7 00\nconfigure vim-common\nconfigure vim\nlacking emacs\n\
             provided editor\n"
        );
        assert_eq!(PackageOrder::parse(&order.text())?, order);
        Ok(())
    }

    #[test]
    fn nothing_is_removed_and_nothing_is_guessed() {
        let order = |simulated| PackageOrder::new(String::new(), simulated, &[PackageIndex::new(INDEX)]);
        assert!(order("Remv bash [5]\n").is_err());
        assert!(order("Inst vim (3:1 x [arm64])\n").is_err());
    }
}
