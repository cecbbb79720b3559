//! What one guest is offered of its twin's natives, and how its programs are started then; or why not.
//!
//! Only natives of the same version of package as the guest has, or is about to have, are offered. Everything is found
//! out each time anew, and nothing of it is in the guest.

use super::natives::{self, MODULES, PERL_CONFIG, is_library, make_directory};
use super::tally::Tally;
use crate::architecture::Architecture;
use crate::base::Base;
use crate::host::{Rule, registration};
use anyhow::{Context, Result};
use drover_assist::list::{Entry, LIST, Order};
use drover_assist::native::LIBRARIES;
use drover_assist::place::{COUNTS, EMULATOR, NATIVES, PLACE, UNLESS};
use drover_assist::rename::rename;
use drover_assist::{ENTER, SWITCH};
use drover_engine::{Cmd, Cx, Foreign, Jail};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What came of it.
#[derive(Debug)]
pub(crate) enum Offer {
    /// The system is not emulated: there is nothing to help with.
    Native,
    /// Its programs run under the emulator alone: nobody wants it otherwise.
    Off,
    /// Its programs run under the emulator alone, and why that cannot be helped.
    Plain(String),
    /// Its programs run with natives in place of some.
    Assisted(Box<Help>),
}

/// What helps.
#[derive(Debug)]
pub(crate) struct Help {
    /// Where the programs run then.
    pub(crate) jail: Jail,
    /// So many natives are offered.
    pub(crate) count: usize,
    /// What is counted there.
    pub(crate) tally: Tally,
}

/// Whom an offer is made to.
pub(crate) struct Client<'a> {
    /// What its system is, or was copied from.
    pub(crate) base: &'a Base,
    /// A name that nobody else has at the same time.
    pub(crate) name: &'a str,
    /// Whether only packages of the base system run there, with which assist was compared.
    pub(crate) is_base: bool,
    /// The versions of its packages, as they are or are about to be.
    pub(crate) version: &'a dyn Fn(&str) -> Option<String>,
    /// Its packages with compiled modules of perl, those that are about to be there among them: see [`natives::has_modules`].
    pub(crate) modules: &'a [String],
}

/// Makes an offer to a system that runs in `jail`.
pub(crate) fn offer(cx: &Cx, client: &Client<'_>, jail: &Jail) -> Result<Offer> {
    let base = client.base;
    if !base.is_emulated() {
        return Ok(Offer::Native);
    }
    let plain = |why: &str| Ok(Offer::Plain(why.to_owned()));
    if !base.farm.assist {
        return Ok(Offer::Off);
    }
    let Some(twin) = base.twin() else {
        return Ok(Offer::Plain(format!(
            "{} has no release for this host's processor",
            base.release.code_name
        )));
    };
    if SWITCH.is_empty() || ENTER.is_empty() {
        return plain("the switch is not written for this host's processor");
    }
    let Some(packages) = natives::packages(cx, &twin)? else {
        return Ok(Offer::Plain(format!("there are no natives of {}", twin.id())));
    };
    let Some(registration) = registration(base.arch)? else {
        return plain("the kernel has no emulator for its programs");
    };
    let place = cx.cache("assist").join("offers").join(client.name);
    let tally = Tally::begin(cx.cache("assist").join("counts").join(client.name))?;
    let is_same = |package: &str| {
        let its = packages.get(package).map(|its| upstream(its));
        its.is_some() && (client.version)(package).as_deref().map(upstream) == its
    };
    let natives = natives::directory(cx, &twin);
    // All or none: who loads one module may need another.
    let has_all = client.modules.iter().all(|package| is_same(package));
    let modules = if has_all { natives::modules(&natives)? } else { Vec::new() };
    let maker = Maker { natives, place, arch: base.arch, modules };
    let count = maker.make(cx, |entry| {
        let is_fit = match entry.order {
            Order::None => true,
            Order::Possible => client.is_base || !base.arch.is_big_endian(),
            Order::Certain => !base.arch.is_big_endian(),
        };
        is_fit && is_same(entry.package)
    })?;
    let jail = maker.jail(jail, &registration).bind(tally.file(), counts_place());
    if let Some(why) = refusal(cx, &jail)? {
        tally.end()?;
        return Ok(Offer::Plain(why));
    }
    Ok(Offer::Assisted(Box::new(Help { jail, count, tally: tally.again()? })))
}

fn counts_place() -> String {
    COUNTS.to_string_lossy().into_owned()
}

/// A version without the number of Debian's revision: what differs in that alone, security fixes as a rule, does the same.
/// Not every architecture of a release gets them.
fn upstream(version: &str) -> &str {
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

/// Why the kernel refuses, in its own words, if it does.
fn refusal(cx: &Cx, jail: &Jail) -> Result<Option<String>> {
    let tried = cx.probe(&Cmd::new("/bin/true").inside(jail))?;
    if tried.status.success() {
        return Ok(None);
    }
    let said = tried.stderr.lines().last().unwrap_or("it does not say why").to_owned();
    Ok(Some(format!("the kernel refuses: {said}")))
}

struct Maker {
    natives: PathBuf,
    place: PathBuf,
    arch: Architecture,
    /// The files of perl's modules from packages of their own; none, if the guest has others.
    modules: Vec<String>,
}

/// Offers a program as it is. Returns whether there is one.
fn linked(from: &Path, to: &Path) -> std::io::Result<bool> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        linked => linked.map(|()| true),
    }
}

impl Maker {
    /// Offers the programs of all entries that are `suitable`, and nothing else. Returns how many there are.
    fn make(&self, cx: &Cx, suitable: impl Fn(&Entry) -> bool) -> Result<usize> {
        cx.remove_tree(&self.place)?;
        let mut count = 0;
        for entry in LIST.iter().filter(|entry| suitable(entry)) {
            count += self.add(entry)?;
        }
        self.add_perl_config()?;
        self.add_modules()?;
        Ok(count)
    }

    /// Offers the programs of an entry. Returns how many there are.
    fn add(&self, entry: &Entry) -> Result<usize> {
        let mut count = 0;
        for program in entry.programs {
            let path = format!("{}/{program}", entry.directory.trim_start_matches('/'));
            let (from, to) = (self.natives.join("programs").join(&path), self.place.join(&path));
            make_directory(to.parent().context("a program without a directory")?)?;
            let offered = if entry.named { self.renamed(&from, &to) } else { linked(&from, &to) };
            if !offered.with_context(|| format!("offer `{}`", from.display()))? {
                continue;
            }
            count += 1;
            for (unless, mark) in entry.unless.iter().zip(UNLESS).filter(|(unless, _)| !self.has_twin(unless))
            {
                let link = self.place.join(format!("{path}{mark}"));
                self.link(&unless.replace("{triplet}", self.arch.triplet()), &link)?;
            }
        }
        Ok(count)
    }

    /// Whether the natives have the same of their own as that directory of libraries.
    fn has_twin(&self, unless: &str) -> bool {
        let name = unless.strip_prefix("/usr/lib/{triplet}/");
        name.is_some_and(|name| match name {
            MODULES => !self.modules.is_empty(),
            name => self.natives.join("natives").join(LIBRARIES).join(name).exists(),
        })
    }

    /// Offers a program that answers with the name of the guest's architecture. Returns whether it can.
    fn renamed(&self, from: &Path, to: &Path) -> std::io::Result<bool> {
        let mut program = match fs::read(from) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            read => read?,
        };
        if rename(&mut program, Architecture::host().debian(), self.arch.debian()).is_err() {
            return Ok(false);
        }
        fs::write(to, program)?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
        Ok(true)
    }

    fn add_perl_config(&self) -> Result<()> {
        make_directory(&self.place)?;
        PERL_CONFIG.iter().try_for_each(|name| {
            self.link(&format!("/usr/lib/{}/perl-base/{name}", self.arch.triplet()), &self.place.join(name))
        })
    }

    /// Offers perl's modules from packages of their own, as far as the guest has them when it looks: what is text is the guest's
    /// own, and only that leads to what is compiled.
    fn add_modules(&self) -> Result<()> {
        let triplet = self.arch.triplet();
        for name in &self.modules {
            let to = self.place.join(MODULES).join(name);
            make_directory(to.parent().context("a file without a directory")?)?;
            if is_library(name) {
                let from = self.natives.join("modules").join(name);
                fs::hard_link(&from, &to).with_context(|| format!("offer `{}`", from.display()))?;
            } else {
                self.link(&format!("/usr/lib/{triplet}/{MODULES}/{name}"), &to)?;
            }
        }
        Ok(())
    }

    fn link(&self, target: &str, link: &Path) -> Result<()> {
        symlink(target, link).with_context(|| format!("link `{}`", link.display()))
    }

    /// The jail with all that it takes.
    fn jail(&self, jail: &Jail, registration: &Rule) -> Jail {
        let emulator = EMULATOR.to_string_lossy().into_owned();
        jail.clone()
            .bind_read_only(self.natives.join("natives"), PLACE)
            .bind_read_only(&self.place, NATIVES)
            .bind_read_only(&registration.interpreter, emulator)
            .foreign(Foreign {
                enter: self.natives.join("enter"),
                registration: registration.with(&self.natives.join("switch")),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Natives with one module of perl, of a text and of compiled code, and the maker of an offer of them.
    fn maker(top: &Path, modules: &[&str]) -> Maker {
        let auto = top.join("natives/modules/5.40/auto");
        fs::create_dir_all(&auto).expect("a directory");
        fs::write(auto.join("W.so"), "compiled").expect("a file");
        Maker {
            natives: top.join("natives"),
            place: top.join("offer"),
            arch: Architecture::Riscv64,
            modules: modules.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_module_is_there_where_the_guest_has_its_text() {
        let top = tempfile::tempdir().expect("a directory");
        let maker = maker(top.path(), &["5.40/W.pm", "5.40/auto/W.so"]);
        maker.add_modules().expect("an offer");
        let text = fs::read_link(top.path().join("offer/perl5/5.40/W.pm")).expect("a link");
        assert_eq!(text, Path::new("/usr/lib/riscv64-linux-gnu/perl5/5.40/W.pm"));
        let compiled = |path: &str| fs::symlink_metadata(top.path().join(path)).expect("a file").ino();
        assert_eq!(compiled("offer/perl5/5.40/auto/W.so"), compiled("natives/modules/5.40/auto/W.so"));
        assert!(maker.has_twin("/usr/lib/{triplet}/perl5") && !maker.has_twin("/usr/lib/{triplet}/perl"));
    }

    #[test]
    fn where_the_guest_has_other_modules_none_is_offered() {
        let top = tempfile::tempdir().expect("a directory");
        let maker = maker(top.path(), &[]);
        maker.add_modules().expect("an offer");
        assert!(!top.path().join("offer").exists() && !maker.has_twin("/usr/lib/{triplet}/perl5"));
        assert!(
            natives::has_modules("libtext-charwidth-perl", false)
                && !natives::has_modules("liberror-perl", true)
        );
    }

    #[test]
    fn revisions_of_debian_are_not_told_apart() {
        assert_eq!(upstream("5.36.0-7+deb12u4"), upstream("5.36.0-7+deb12u3"));
        assert_ne!(upstream("3.0.22-1~deb12u2"), upstream("3.0.20-1~deb12u2"));
        assert_ne!(upstream("1.21.22"), upstream("1.21.23"));
        assert_eq!(upstream("1:1.2-rc1-3"), "1:1.2-rc1");
    }
}
