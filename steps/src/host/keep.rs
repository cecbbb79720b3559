//! What registers an emulator again when the machine starts: systemd-binfmt, or binfmt-support's script.
//!
//! It does not know what is registered now.

use super::registration::{self, Rule};
use crate::ours;
use crate::program;
use crate::service;
use anyhow::{Context, Result};
use drover_engine::{Check, Cmd, Cx, HostFile, Undo};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Remembered of a record of binfmt-support that Drover made or changed: whose it was.
const RECORD: &str = "record";
/// The package of a record that an administrator made.
const LOCAL: &str = ":";

/// Whether the next start of the machine registers the emulator of `rule` again, with all of these flags. That it registers
/// other flags, too, or fewer than there are now, does no harm: binfmt-support, for one, cannot record O without C.
///
/// # Errors
/// When that cannot be found out.
pub(super) fn check(name: &str, rule: &Rule, flags: &str) -> Result<Check> {
    let serves = |found: &Rule| found.serves_as(rule, flags);
    Ok(match recorded(Path::new("/"), name)? {
        Keeper::Nobody => Check::Satisfied,
        Keeper::Systemd(Some(found)) | Keeper::Script(Some((_, found))) if serves(&found) => Check::Satisfied,
        keeper => Check::needed(format!("{} does not register `{name}` so at the next start", keeper.who())),
    })
}

/// Has the rule registered again at the next start of the machine.
///
/// # Errors
/// When that cannot be written down.
pub(super) fn keep(cx: &Cx, name: &str, rule: &Rule) -> Result<()> {
    match recorded(Path::new("/"), name)? {
        Keeper::Nobody => Ok(()),
        Keeper::Systemd(_) => {
            let text = format!("# Written by Drover: see `drover steps Binfmt`.\n{}\n", rule.line(name));
            ours::write(cx, &HostFile::new(file(name)), &text)
        }
        Keeper::Script(found) => {
            let package = found.map_or(LOCAL.to_owned(), |(package, _)| package);
            if cx.remembered(RECORD)?.is_none() {
                cx.remember(RECORD, &package)?;
            }
            cx.run(&install(name, rule, &package))?;
            // It registers anew what it records, in its own words.
            registration::register(name, rule)
        }
    }
}

/// How it is undone that the rule is registered at the start of the machine.
///
/// # Errors
/// When that cannot be found out.
pub(super) fn undo<'a>(cx: &Cx, name: &str) -> Result<Undo<'a>> {
    let written = ours::undo(cx, HostFile::new(file(name)))?;
    let (Some(package), Keeper::Script(Some((_, rule)))) =
        (cx.remembered(RECORD)?, recorded(Path::new("/"), name)?)
    else {
        return Ok(written);
    };
    let is_shipped = |(_, shipped): (PathBuf, Rule)| shipped.is_same(&rule);
    if package != LOCAL && registration::of_binfmt_support(Path::new("/"), name)?.is_some_and(is_shipped) {
        return Ok(written);
    }
    let name = name.to_owned();
    let command = if package == LOCAL {
        Cmd::new("update-binfmts").args(["--remove", &name]).arg(&rule.interpreter)
    } else {
        Cmd::new("update-binfmts").args(["--import", &name])
    };
    Ok(written.act(format!("give binfmt-support its record of `{name}` back"), move |cx| {
        let now = registration::find(&name)?;
        cx.run(&command)?;
        // It registers what it records, and forgets what it does not: the kernel is to stay as it is.
        match now {
            Some(found) => registration::register(&name, &found.rule),
            None if registration::find(&name)?.is_some() => registration::forget(&name),
            None => Ok(()),
        }
    }))
}

/// Who registers emulators at the start of the machine, and what that one has for a name.
enum Keeper {
    Systemd(Option<Rule>),
    /// With the package that the record is of.
    Script(Option<(String, Rule)>),
    Nobody,
}

impl Keeper {
    fn who(&self) -> &'static str {
        match self {
            Self::Systemd(_) => "systemd-binfmt",
            Self::Script(_) => "binfmt-support",
            Self::Nobody => "nobody",
        }
    }
}

fn recorded(root: &Path, name: &str) -> Result<Keeper> {
    if service::systemd_runs() {
        return Ok(Keeper::Systemd(registration::of_binfmt_d(root, name)?.map(|(_, rule)| rule)));
    }
    if program::find("update-binfmts").is_none() {
        return Ok(Keeper::Nobody);
    }
    let file = root.join("var/lib/binfmts").join(name);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let record = record(&text)
                .with_context(|| format!("`{}` is no record of binfmt-support", file.display()))?;
            Ok(Keeper::Script(Some(record)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Keeper::Script(None)),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

/// A line each: package, type, offset, magic, mask, interpreter, detector, and whether there are credentials, preserve and
/// fix_binary.
fn record(text: &str) -> Option<(String, Rule)> {
    let lines: Vec<_> = text.lines().collect();
    let [package, "magic", offset, magic, mask, interpreter, _, credentials, preserve, fixed] = lines[..]
    else {
        return None;
    };
    let flag = |is: &str, flag: &'static str| if is == "yes" { flag } else { "" };
    let flags = [flag(preserve, "P"), flag(credentials, "OC"), flag(fixed, "F")].concat();
    let rule =
        registration::of_line(&format!("\nname\nM\n{offset}\n{magic}\n{mask}\n{interpreter}\n{flags}"))?;
    Some((package.to_owned(), rule))
}

fn install(name: &str, rule: &Rule, package: &str) -> Cmd {
    let line = rule.line(name);
    let fields: Vec<_> = line.split(':').collect();
    let (offset, magic, mask) = (fields[3], fields[4], fields[5]);
    let of_package: &[&str] = if package == LOCAL { &[] } else { &["--package", package] };
    // It has no O of its own: credentials imply it.
    let yes = |flag| if rule.lacks(flag).is_empty() { "yes" } else { "no" };
    let credentials = yes("O");
    Cmd::new("update-binfmts")
        .args(of_package)
        .args(["--install", name])
        .arg(&rule.interpreter)
        .args(["--magic", magic, "--mask", mask, "--offset", offset])
        .args(["--credentials", credentials, "--preserve", yes("P"), "--fix-binary", yes("F")])
}

fn file(name: &str) -> PathBuf {
    Path::new(registration::BINFMT_D[0]).join(format!("{name}.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As binfmt-support 2.2.2 wrote it.
    const RECORD: &str = r"qemu-user-static
magic
0
\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00
\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff
/usr/libexec/qemu-binfmt/aarch64-binfmt-P

no
yes
yes
";

    #[test]
    fn a_record_is_read_and_made_again() {
        let (package, rule) = record(RECORD).expect("a record");
        assert_eq!((package.as_str(), rule.flags.as_str()), ("qemu-user-static", "PF"));
        let (_, rights) = record(&RECORD.replace("\nno\n", "\nyes\n")).expect("a record");
        assert!(rights.is_same(&rule.clone().flagged("OC")) && !rights.is_same(&rule));
        // As a host with systemd has it from the packages' own binfmt.d, which binfmt-support cannot record.
        let open = rule.clone().flagged("O");
        assert!(rule.serves_as(&open, "F") && !rule.serves_as(&open, "FO"));
        assert!(rights.serves_as(&open, "FO") && open.serves_as(&rule, "FO"));
        assert!(install("qemu-aarch64", &open, &package).to_string().contains("--credentials yes"));
        let command = install("qemu-aarch64", &rights, &package).to_string();
        for part in
            ["--package qemu-user-static", "--install qemu-aarch64", "--credentials yes", "--offset 0"]
        {
            assert!(command.contains(part), "{command}");
        }
        assert!(!install("qemu-aarch64", &rule, LOCAL).to_string().contains("--package"));
        assert!(record("what").is_none());
    }
}
