//! What is known of a base system while it is being made: beside its tree, never in it.
//!
//! A mark says that something is complete, and for which manifest: with another one it says nothing. Marks are written last and at
//! once. What they speak of need not be on the disk: they hold while the machine is up, and `seal` alone waits for the disk. To
//! wait at each would write what all other systems are being made of to the disk as well, since that is one for the kernel.

use super::manifest::Manifest;
use super::seal;
use crate::base::Base;
use crate::resource::STAGE;
use anyhow::{Context, Result};
use drover_engine::{Check, HostFile, Resource};
use std::fs;
use std::path::PathBuf;

/// The directory beside the partial tree.
pub(super) fn directory(base: &Base) -> PathBuf {
    let mut name = base.partial().into_os_string();
    name.push(".d");
    name.into()
}

/// The resource of a complete stage.
pub(super) fn stage(base: &Base, stage: &str) -> Resource {
    Resource::new(STAGE, format!("{stage} of {}", base.id()))
}

/// The packages of the system, once they are known.
pub(super) fn manifest(base: &Base) -> Result<Option<Manifest>> {
    let file = HostFile::new(directory(base).join("manifest"));
    file.read()?.map(|text| Manifest::parse(&text)).transpose()
}

/// The packages of the system, which an earlier stage found.
pub(super) fn known_manifest(base: &Base) -> Result<Manifest> {
    manifest(base)?
        .with_context(|| format!("the packages of {} are not known: resolve them first", base.id()))
}

/// Keeps the packages of the system, and `available`, their paragraphs in the index.
pub(super) fn keep(base: &Base, manifest: &Manifest, available: &str) -> Result<()> {
    HostFile::new(directory(base).join("available")).write(available)?;
    HostFile::new(directory(base).join("manifest")).write(&manifest.text())
}

/// The paragraphs of the packages in their index.
pub(super) fn available(base: &Base) -> Result<String> {
    let file = HostFile::new(directory(base).join("available"));
    file.read()?
        .with_context(|| format!("`{}` is missing: resolve the packages again", file.path().display()))
}

/// Whether something is complete, for this manifest.
pub(super) fn is_marked(base: &Base, mark: &str, manifest: &Manifest) -> Result<bool> {
    Ok(file(base, mark).read()?.is_some_and(|text| text.trim_end() == manifest.digest()))
}

/// Says that something is complete.
pub(super) fn mark(base: &Base, mark: &str, manifest: &Manifest) -> Result<()> {
    file(base, mark).write(&format!("{}\n", manifest.digest()))
}

/// Notes that from now on the tree is changed without waiting for the disk: only while the machine stays up is what it holds what
/// was written.
pub(super) fn trust_memory(base: &Base) -> Result<()> {
    boot_file(base).write(&boot_id()?)
}

/// Whether the machine went down before what was written without waiting was on the disk.
fn is_doubtful(base: &Base) -> Result<bool> {
    let Some(then) = boot_file(base).read()? else { return Ok(false) };
    Ok(then != boot_id()?)
}

fn boot_file(base: &Base) -> HostFile {
    HostFile::new(directory(base).join("boot.done"))
}

/// What the kernel calls the time since the machine came up.
fn boot_id() -> Result<String> {
    let file = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(file).with_context(|| format!("read `{file}`"))
}

/// The order in which the packages of a part are configured, if it is known for this manifest.
pub(super) fn order(base: &Base, part: &str, manifest: &Manifest) -> Result<Option<Vec<String>>> {
    let Some(text) = order_file(base, part).read()? else { return Ok(None) };
    let mut lines = text.lines();
    let known = lines.next() == Some(&manifest.digest());
    Ok(known.then(|| lines.map(str::to_owned).collect()))
}

/// Keeps the order in which the packages of a part are configured: a name in each line, below what it holds for.
pub(super) fn keep_order(base: &Base, part: &str, manifest: &Manifest, order: &[String]) -> Result<()> {
    let lines = order.iter().map(|name| format!("{name}\n"));
    order_file(base, part).write(&format!("{}\n{}", manifest.digest(), lines.collect::<String>()))
}

/// It goes with the marks.
fn order_file(base: &Base, part: &str) -> HostFile {
    file(base, &format!("order-{part}"))
}

/// Forgets all marks: the tree is about to be made anew.
pub(super) fn unmark_all(base: &Base) -> Result<()> {
    let directory = directory(base);
    for entry in fs::read_dir(&directory).with_context(|| format!("read `{}`", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "done") {
            fs::remove_file(&path).with_context(|| format!("remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

fn file(base: &Base, mark: &str) -> HostFile {
    HostFile::new(directory(base).join(format!("{mark}.done")))
}

/// Whether a stage that leaves a mark is needed.
pub(super) fn check(base: &Base, stage: &str) -> Result<Check> {
    if seal::is_complete(base)? {
        return Ok(Check::Satisfied);
    }
    let Some(manifest) = manifest(base)? else {
        return Ok(Check::needed(format!("the packages of {} are not known yet", base.id())));
    };
    let partial = base.partial();
    if is_doubtful(base)? {
        let reason = format!("the machine went down while `{}` was made: it starts over", partial.display());
        return Ok(Check::needed(reason));
    }
    Ok(match is_marked(base, stage, &manifest)? {
        true => Check::Satisfied,
        false => Check::needed(format!("`{}` has not been through {stage}", partial.display())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::farm::Farm;
    use crate::release::{Distribution, find};
    use std::sync::Arc;

    fn base(cache: &std::path::Path) -> Result<Base> {
        let release = find(Distribution::Debian, "bookworm").context("it is in the table")?;
        let farm = Arc::new(Farm { lxc_cache: cache.to_owned(), ..Farm::default() });
        let base = Base { release, arch: Architecture::Amd64, mirrors: Vec::new(), keyring: None, farm };
        fs::create_dir_all(directory(&base))?;
        Ok(base)
    }

    fn reason(base: &Base, stage: &str) -> Result<String> {
        Ok(match check(base, stage)? {
            Check::Satisfied => "satisfied".to_owned(),
            Check::Needed { reason, .. } => reason,
        })
    }

    #[test]
    fn marks_hold_while_the_machine_is_up() -> Result<()> {
        let cache = tempfile::tempdir()?;
        let (base, manifest) = (base(cache.path())?, Manifest::default());
        keep(&base, &manifest, "")?;
        trust_memory(&base)?;
        for stage in ["unpack", "configure"] {
            assert!(reason(&base, stage)?.contains("has not been through"), "{stage}");
            mark(&base, stage, &manifest)?;
            assert_eq!(reason(&base, stage)?, "satisfied");
        }
        boot_file(&base).write("another time")?;
        for stage in ["unpack", "configure"] {
            let reason = reason(&base, stage)?;
            assert!(
                reason.contains("the machine went down while") && reason.contains("starts over"),
                "{reason}"
            );
        }
        unmark_all(&base)?;
        assert!(reason(&base, "unpack")?.contains("has not been through"));
        Ok(())
    }

    #[test]
    fn an_order_is_that_of_its_manifest() -> Result<()> {
        let cache = tempfile::tempdir()?;
        let (base, manifest) = (base(cache.path())?, Manifest::default());
        assert_eq!(order(&base, "base", &manifest)?, None);
        let names = ["b".to_owned(), "a".to_owned()];
        keep_order(&base, "base", &manifest, &names)?;
        assert_eq!(order(&base, "base", &manifest)?.as_deref(), Some(&names[..]));
        assert_eq!(order(&base, "required", &manifest)?, None);
        let deb = "x 1 x_1_all.deb 1 00".parse()?;
        let other = Manifest { required: vec![deb], ..Manifest::default() };
        assert_eq!(order(&base, "base", &other)?, None);
        keep_order(&base, "base", &manifest, &[])?;
        assert_eq!(order(&base, "base", &manifest)?, Some(Vec::new()));
        unmark_all(&base)?;
        assert_eq!(order(&base, "base", &manifest)?, None);
        Ok(())
    }
}
