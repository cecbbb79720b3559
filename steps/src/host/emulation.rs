//! One architecture whose programs can be executed: what comes with the step `Binfmt`, once for each.

use super::binfmt::REGISTRATIONS;
use super::elf;
use super::program;
use crate::architecture::Architecture;
use crate::farm::Farm;
use crate::resource::{BINFMT, EMULATION, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Claim, Cmd, Cx, Inputs, Need, Resource, Undo};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs of an architecture can be executed.
#[derive(Debug, Serialize)]
pub(super) struct Emulation(pub(super) Architecture);

/// Remembered if nothing was registered before.
const REGISTERED: &str = "registered";

/// How the kernel is to run the programs of an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    enabled: bool,
    /// The emulator.
    pub(crate) interpreter: PathBuf,
    flags: String,
    /// What its programs begin with: where, which bytes, and which bits of them, in hexadecimal digits.
    offset: String,
    magic: String,
    mask: String,
}

/// How the host's kernel runs the programs of an architecture, if it does.
///
/// # Errors
/// When that cannot be found out.
pub(crate) fn registration(arch: Architecture) -> Result<Option<Registration>> {
    Ok(Emulation(arch).registration()?.filter(|found| found.enabled))
}

impl Registration {
    /// The same programs, to be run by another interpreter, in the words that the kernel takes: opened at once, told the
    /// program's path and own name, and with the program's rights where the emulator has them.
    pub(crate) fn with(&self, interpreter: &Path) -> String {
        let bytes = |digits: &str| -> String {
            digits.as_bytes().chunks(2).map(|pair| format!("\\x{}", String::from_utf8_lossy(pair))).collect()
        };
        let (magic, mask) = (bytes(&self.magic), bytes(&self.mask));
        let rights = if self.flags.contains('C') { "C" } else { "" };
        format!(":assist:M:{}:{magic}:{mask}:{}:PF{rights}", self.offset, interpreter.display())
    }
}

impl FarmStep<Farm> for Emulation {
    fn title(&self, _at: &Farm) -> String {
        format!("run programs of {}", self.0)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![Need::Must(Resource::new(PACKAGES, "host")), Need::Must(Resource::new(BINFMT, REGISTRATIONS))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(EMULATION, self.0.debian())]
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        // Two architectures share an emulator: armel and armhf.
        vec![Claim::lock("binfmt registrations")]
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(60)
    }

    fn check(&self, cx: &Cx, _at: &Farm) -> Result<Check> {
        let check = if self.is_native() { Check::Satisfied } else { self.check_registered()? };
        check.and_then(|| self.check_runs(cx))
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        if self.is_native() {
            // Nothing to register; `verify` says what is wrong with this kernel.
            return Ok(());
        }
        if !self.check(cx, at)?.is_satisfied() {
            if self.registration()?.is_none() {
                cx.remember(REGISTERED, "")?;
            }
            self.register(cx)?;
        }
        let Some(registration) = self.registration()? else {
            bail!("`{}` is not registered, though `update-binfmts` says so", self.entry());
        };
        if !registration.flags.contains('C') {
            cx.note(&format!(
                "`{}` has no flag C: setuid programs, sudo among them, do not become root under it",
                self.entry()
            ));
        }
        let interpreter = registration.interpreter;
        ensure!(
            !elf::is_dynamic(&interpreter)?,
            "the emulator `{}` is not static, it cannot run inside of a container: install qemu-user-static",
            interpreter.display()
        );
        Ok(())
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        if !cx.has_made(REGISTERED)? || self.registration()?.is_none() {
            return Ok(Undo::default());
        }
        let entry = self.entry();
        Ok(Undo::default().act(format!("let the kernel forget `{entry}`"), move |cx| {
            cx.run(&Cmd::new("update-binfmts").args(["--disable", &entry]))
        }))
    }

    fn verify(&self, cx: &Cx, at: &Farm) -> Result<()> {
        match self.check(cx, at)? {
            Check::Satisfied => Ok(()),
            Check::Needed { reason, .. } => bail!("{reason} ({})", self.emulator(cx)?),
        }
    }
}

impl Emulation {
    fn is_native(&self) -> bool {
        self.0.runs_on(Architecture::host())
    }

    /// What the distribution calls the registration.
    fn entry(&self) -> String {
        format!("qemu-{}", self.0.qemu())
    }

    /// arch-test's program of this architecture: it says "ok".
    fn probe(&self) -> PathBuf {
        Path::new("/usr/lib/arch-test").join(self.0.debian())
    }

    fn registration(&self) -> Result<Option<Registration>> {
        let file = Path::new(REGISTRATIONS).join(self.entry());
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                Ok(Some(parse(&text).with_context(|| format!("`{}` says `{text}`", file.display()))?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
        }
    }

    fn check_registered(&self) -> Result<Check> {
        let entry = self.entry();
        let Some(registration) = self.registration()? else {
            return Ok(Check::needed(format!("the kernel has no `{entry}` for programs of {}", self.0)));
        };
        let interpreter = registration.interpreter.display();
        Ok(if !registration.enabled {
            Check::needed(format!("`{entry}` is disabled"))
        } else if !registration.flags.contains('F') {
            Check::needed(format!("`{entry}` has no flag F: {interpreter} is not found inside of containers"))
        } else if !registration.interpreter.exists() {
            Check::needed(format!("the emulator {interpreter} of `{entry}` does not exist any more"))
        } else if elf::is_dynamic(&registration.interpreter)? {
            Check::needed(format!("the emulator {interpreter} of `{entry}` is not static"))
        } else {
            Check::Satisfied
        })
    }

    fn check_runs(&self, cx: &Cx) -> Result<Check> {
        let probe = self.probe();
        if !probe.exists() {
            return Ok(Check::needed(format!("{} (of arch-test) does not exist", probe.display())));
        }
        Ok(match self.run_probe(cx) {
            Ok(()) => Check::Satisfied,
            Err(error) => Check::needed(format!("programs of {} do not run: {error:#}", self.0)),
        })
    }

    /// Executes a real program of the architecture.
    fn run_probe(&self, cx: &Cx) -> Result<()> {
        let probe = self.probe();
        let output = cx.probe(&Cmd::new(&probe))?;
        let said = output.stdout.trim();
        if output.status.success() && said == "ok" {
            return Ok(());
        }
        let said = if said.is_empty() { output.stderr.trim() } else { said };
        bail!("`{}` ended with {} and said `{said}`", probe.display(), output.status)
    }

    /// Registers what the distribution ships; what is registered otherwise is replaced.
    fn register(&self, cx: &Cx) -> Result<()> {
        let entry = self.entry();
        ensure!(
            program::find("update-binfmts").is_some(),
            "`update-binfmts` is missing: `apt-get install binfmt-support`"
        );
        let update = |action: &str| cx.run(&Cmd::new("update-binfmts").args([action, &entry]));
        if !Path::new("/var/lib/binfmts").join(&entry).exists() {
            let shipped = Path::new("/usr/share/binfmts").join(&entry);
            ensure!(
                shipped.exists(),
                "this host has no emulator for {}: {} does not exist, `apt-get install qemu-user-static`",
                self.0,
                shipped.display()
            );
            update("--import")?;
        }
        if self.registration()?.is_some() {
            update("--disable")?;
        }
        update("--enable")
    }

    /// Which emulator it is, and of which version, for messages.
    fn emulator(&self, cx: &Cx) -> Result<String> {
        let Some(registration) = self.registration()? else {
            return Ok(format!("{} without an emulator", self.0));
        };
        // Under the name that it is registered by, it takes its arguments for the kernel's.
        let interpreter = registration.interpreter.canonicalize().context("the emulator is gone")?;
        let version = cx.read(&Cmd::new(&interpreter).arg("--version"))?;
        Ok(format!("{}, {}", interpreter.display(), version.lines().next().unwrap_or("of no version")))
    }
}

/// What a file below [`REGISTRATIONS`] says.
fn parse(text: &str) -> Option<Registration> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    Some(Registration {
        enabled: text.lines().next()? == "enabled",
        interpreter: field("interpreter ")?.into(),
        flags: field("flags: ")?.trim().to_owned(),
        offset: field("offset ")?.to_owned(),
        magic: field("magic ")?.to_owned(),
        mask: field("mask ").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::path::Path;

    #[test]
    fn the_kernels_words_are_understood() {
        let text = "enabled\ninterpreter /usr/libexec/qemu-binfmt/arm-binfmt-P\nflags: PF\noffset 0\n\
                    magic 7f454c46\nmask ffffff00\n";
        let found = parse(text).expect("the kernel's words");
        assert!(found.enabled && found.interpreter == Path::new("/usr/libexec/qemu-binfmt/arm-binfmt-P"));
        let ours = r":assist:M:0:\x7f\x45\x4c\x46:\xff\xff\xff\x00:/run/switch:PF";
        assert_eq!(found.with(Path::new("/run/switch")), ours);
        assert_eq!(parse("what"), None);
    }
}
