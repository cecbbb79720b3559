//! The natives of a twin: its listed programs, with loader, libraries and perl's modules, made to run in a guest.
//!
//! They are complete or absent: made beside their place, and renamed. It does not know which guest is offered what.

use crate::base::Base;
use crate::dpkg::{Package, Status};
use crate::guest::emulate::Guest;
use anyhow::{Context, Result, ensure};
use drover_assist::list::LIST;
use drover_assist::native::{Kind, LIBRARIES, LOADER, LOCALE, adapt};
use drover_assist::{ENTER, SWITCH};
use drover_engine::{Check, Cmd, Cx, Rootfs};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The modules of perl-base that say what processor perl was made for: the guest's own are taken.
pub(super) const PERL_CONFIG: [&str; 2] = ["Config.pm", "Config_heavy.pl"];
/// The directory of perl's compiled modules that come from packages of their own, below that of libraries.
pub(super) const MODULES: &str = "perl5";
/// Services of names that the C library loads by itself; newer ones have the first built in.
const LOADED_LATER: [&str; 2] = ["libnss_files.so.2", "libnss_compat.so.2"];

/// Where the natives of a twin are.
pub(super) fn directory(cx: &Cx, twin: &Base) -> PathBuf {
    cx.cache("assist").join(twin.id())
}

/// The packages that natives come from, with their versions; `None` while there are no natives.
pub(super) fn packages(cx: &Cx, twin: &Base) -> Result<Option<BTreeMap<String, String>>> {
    let Some(text) = read(&directory(cx, twin).join("packages"))? else { return Ok(None) };
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(Some(pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()))
}

/// Whether packages of that name bring modules of perl that are compiled for a processor. Debian's policy for perl calls all
/// packages of modules so, and those that are text are for all processors.
pub(crate) fn has_modules(name: &str, is_for_all: bool) -> bool {
    name.ends_with("-perl") && !is_for_all
}

/// The files of perl's modules that come from packages of their own, as paths below [`MODULES`].
pub(super) fn modules(natives: &Path) -> Result<Vec<String>> {
    let listed = read(&natives.join("modules.list"))?.unwrap_or_default();
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Whether the natives are those of the twin as it is.
pub(super) fn check(cx: &Cx, twin: &Base) -> Result<Check> {
    let Some(rootfs) = Rootfs::find(twin.rootfs())? else {
        return Ok(Check::needed(format!("`{}` does not exist", twin.rootfs().display())));
    };
    let directory = directory(cx, twin);
    let Some(digest) = read(&directory.join("digest"))? else {
        return Ok(Check::needed(format!("`{}` does not exist", directory.display())));
    };
    Ok(match digest == digest_of(&versions(&rootfs)?) {
        true => Check::Satisfied,
        false => Check::needed(format!(
            "`{}` is made of other packages, or by another Drover",
            directory.display()
        )),
    })
}

/// Makes the natives.
pub(super) fn make(cx: &Cx, twin: &Base) -> Result<()> {
    let place = directory(cx, twin);
    let partial = place.with_extension("partial");
    cx.remove_tree(&partial)?;
    let rootfs = Rootfs::open(twin.rootfs())?;
    let versions = versions(&rootfs)?;
    let maker = Maker {
        cx,
        twin,
        rootfs,
        to: partial.join("natives"),
        programs: partial.join("programs"),
        modules: partial.join("modules"),
    };
    for directory in [&maker.to.join(LIBRARIES), &maker.to.join("offer"), &maker.programs] {
        make_directory(directory)?;
    }
    maker.make()?;
    // The emulator is bound over the one, and what is counted over the other.
    write(&maker.to.join("qemu"), b"", 0o644)?;
    write(&maker.to.join("counts"), b"", 0o644)?;
    for (name, program) in [("enter", ENTER), ("switch", SWITCH)] {
        write(&partial.join(name), program, 0o755)?;
    }
    write(&partial.join("packages"), versions.as_bytes(), 0o644)?;
    write(&partial.join("digest"), digest_of(&versions).as_bytes(), 0o644)?;
    cx.remove_tree(&place)?;
    fs::rename(&partial, &place).with_context(|| format!("rename `{}`", partial.display()))
}

/// `PACKAGE VERSION` of each package of the list, or with modules of perl, that the twin has.
fn versions(rootfs: &Rootfs) -> Result<String> {
    let status = Status::of(rootfs)?;
    let is_wanted = |name: &str, package: &Package| {
        LIST.iter().any(|entry| entry.package == name) || has_modules(name, package.arch == "all")
    };
    let installed =
        status.packages().filter(|(name, package)| package.is_installed() && is_wanted(name, package));
    let lines: BTreeSet<_> =
        installed.map(|(name, package)| format!("{name} {}\n", package.version)).collect();
    Ok(lines.into_iter().collect())
}

/// What the natives depend on, in short.
fn digest_of(versions: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{versions}{LIST:?}"));
    digest.update(ENTER);
    digest.update(SWITCH);
    crate::archives::hex(&digest.finalize())
}

struct Maker<'a> {
    cx: &'a Cx,
    twin: &'a Base,
    rootfs: Rootfs,
    /// What guests see of it.
    to: PathBuf,
    /// The programs, from which each guest's offer is made,
    programs: PathBuf,
    /// and the compiled modules of perl that come from packages of their own.
    modules: PathBuf,
}

impl Maker<'_> {
    fn make(&self) -> Result<()> {
        let triplet = self.twin.arch.triplet();
        let mut needing = Vec::new();
        for entry in LIST {
            for name in entry.programs {
                let path = format!("{}/{name}", entry.directory);
                // Some are scripts or links in some releases; a guest then runs them as such.
                if self.copy(Kind::Program, &path, &self.programs.join(path.trim_start_matches('/')))? {
                    needing.push(path);
                }
            }
        }
        for name in ["perl-base", "perl"] {
            needing.extend(self.copy_modules(&format!("/usr/lib/{triplet}/{name}"), name)?);
        }
        needing.extend(self.copy_packaged_modules(&format!("/usr/lib/{triplet}/{MODULES}"))?);
        self.link_perl_config()?;
        ensure!(!needing.is_empty(), "`{}` has none of the listed programs", self.twin.rootfs().display());
        let later = LOADED_LATER.iter().map(|name| format!("/usr/lib/{triplet}/{name}"));
        for library in self.libraries(&needing)?.into_iter().chain(later) {
            let name = Path::new(&library).file_name().context("a library without a name")?;
            self.copy(Kind::Library, &library, &self.to.join(LIBRARIES).join(name))?;
        }
        let loader = format!("/usr/lib/{triplet}/ld-linux-x86-64.so.2");
        ensure!(self.copy(Kind::Library, &loader, &self.to.join(LOADER))?, "`{loader}` is no loader");
        self.copy_locale()
    }

    /// Copies a program, a library or the loader, adapted. Returns whether there is one at that very path.
    fn copy(&self, kind: Kind, path: &str, to: &Path) -> Result<bool> {
        let Some(from) = self.rootfs.locate(path)? else { return Ok(false) };
        let mut bytes = fs::read(&from).with_context(|| format!("read `{}`", from.display()))?;
        if adapt(&mut bytes, kind, self.twin.arch.triplet()).is_err() {
            return Ok(false);
        }
        make_directory(to.parent().context("a file without a directory")?)?;
        write(to, &bytes, 0o755)?;
        Ok(true)
    }

    /// The libraries that programs need, as the twin's own loader finds them.
    fn libraries(&self, needing: &[String]) -> Result<BTreeSet<String>> {
        let said = self.cx.read(&Guest::new(&self.twin.rootfs()).command("/usr/bin/ldd").args(needing))?;
        let found = said.lines().filter_map(|line| line.split_once(" => ")?.1.split(' ').next());
        Ok(found.filter(|path| path.starts_with('/')).map(str::to_owned).collect())
    }

    /// Copies the modules of perl in a directory. Returns those that are compiled.
    fn copy_modules(&self, directory: &str, name: &str) -> Result<Vec<String>> {
        let Some(from) = self.rootfs.locate(directory)? else { return Ok(Vec::new()) };
        let to = self.to.join(LIBRARIES).join(name);
        self.cx.run(&Cmd::new("cp").args(["-r", "--"]).arg(&from).arg(&to))?;
        let find = Cmd::new("find").arg(&from).args(["-type", "f", "-name", "*.so", "-printf", "%P\\n"]);
        let listed = self.cx.read(&find)?;
        let compiled: Vec<_> = listed.lines().map(|name| format!("{directory}/{name}")).collect();
        for (name, path) in listed.lines().zip(&compiled) {
            ensure!(self.copy(Kind::Library, path, &to.join(name))?, "`{path}` is no library");
        }
        Ok(compiled)
    }

    /// Copies the compiled modules of perl that come from packages of their own, and lists all files of those. What a guest is
    /// offered of them is only what it has: see `offer`. Returns those that are compiled.
    fn copy_packaged_modules(&self, directory: &str) -> Result<Vec<String>> {
        let list = self.modules.with_extension("list");
        let Some(from) = self.rootfs.locate(directory)? else {
            write(&list, b"", 0o644)?;
            return Ok(Vec::new());
        };
        let find = Cmd::new("find").arg(&from).args(["-type", "f", "-printf", "%P\\n"]);
        let listed = self.cx.read(&find)?;
        write(&list, listed.as_bytes(), 0o644)?;
        let place = self.to.join(LIBRARIES).join(MODULES);
        symlink(format!("../offer/{MODULES}"), &place).context("link perl's modules")?;
        let compiled = listed.lines().filter(|name| is_library(name));
        let copied = compiled.map(|name| {
            let path = format!("{directory}/{name}");
            ensure!(self.copy(Kind::Library, &path, &self.modules.join(name))?, "`{path}` is no library");
            Ok(path)
        });
        copied.collect()
    }

    /// Lets perl say of its processor what the guest's own would say.
    fn link_perl_config(&self) -> Result<()> {
        for name in PERL_CONFIG {
            let config = self.to.join(LIBRARIES).join("perl-base").join(name);
            fs::remove_file(&config).with_context(|| format!("remove `{}`", config.display()))?;
            symlink(format!("../../offer/{name}"), &config).context("link perl's configuration")?;
        }
        Ok(())
    }

    /// Copies the locale that every system has, under whichever name this release gives it.
    fn copy_locale(&self) -> Result<()> {
        for name in [LOCALE, "C.UTF-8"] {
            if let Some(from) = self.rootfs.locate(&format!("/usr/lib/locale/{name}"))? {
                self.cx.run(&Cmd::new("cp").args(["-rL", "--"]).arg(&from).arg(self.to.join(name)))?;
            }
        }
        Ok(())
    }
}

/// Whether that is the name of a compiled module.
pub(super) fn is_library(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "so")
}

pub(super) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make `{}`", path.display()))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let written = || -> std::io::Result<()> {
        fs::write(path, bytes)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    written().with_context(|| format!("write `{}`", path.display()))
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}
