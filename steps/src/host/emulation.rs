//! One architecture whose programs can be executed: what comes with the step `Binfmt`, once for each.

use super::binfmt::REGISTRATIONS;
use super::elf;
use super::emulator::{self, Emulator, Needs, Others};
use super::keep;
use super::probe::Probe;
use super::registration::{self, Registration, Rule};
use crate::architecture::Architecture;
use crate::domain;
use crate::farm::Farm;
use crate::resource::{BINFMT, EMULATION, EMULATOR, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// Programs of an architecture can be executed.
#[derive(Debug, Serialize)]
pub(super) struct Emulation {
    pub(super) arch: Architecture,
    /// Whose emulator the plan asks for.
    pub(super) emulator: Emulator,
    pub(super) others: Others,
}

/// What Drover registered, and what was registered before.
const REGISTERED: &str = "registration";

/// The kernel's own lines.
#[derive(Debug, Deserialize, Serialize)]
struct Registered {
    before: Option<String>,
    after: String,
}

/// How the host's kernel runs the programs of an architecture, if it does.
///
/// # Errors
/// When that cannot be found out.
pub(crate) fn registration(arch: Architecture) -> Result<Option<Rule>> {
    let found = registration::find(&emulator::name(arch))?;
    Ok(found.filter(|found| found.enabled).map(|found| found.rule))
}

impl FarmStep<Farm> for Emulation {
    fn title(&self, _at: &Farm) -> String {
        format!("run programs of {}", self.arch)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![
            Need::Must(Resource::new(PACKAGES, "host")),
            Need::Must(Resource::new(BINFMT, REGISTRATIONS)),
            Need::IfAny(Resource::new(EMULATOR, "host")),
        ]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(EMULATION, self.arch.debian())]
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        // Two architectures share an emulator: armel and armhf.
        vec![Claim::lock("binfmt registrations")]
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        // An entry may be the last that holds a file system which is mounted nowhere any more. Whoever takes it away waits until
        // all of that is freed: more than a minute was seen.
        Duration::from_secs(600)
    }

    fn check(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        self.check_registered(cx, at)?.and_then(|| self.check_runs(cx))?.and_then(|| self.check_kept(at))
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        if self.is_native() {
            // Nothing to register; the proof says what is wrong with this kernel.
            return Ok(());
        }
        if let Check::Needed { reason, .. } = self.check_registered(cx, at)? {
            self.register(cx, at, &reason)?;
        }
        let name = emulator::name(self.arch);
        let found = registration::find(&name)?.with_context(|| format!("the kernel has no `{name}`"))?;
        if let Check::Needed { .. } = self.check_kept(at)? {
            keep::keep(cx, &name, &found.rule)?;
        }
        if !found.rule.flags.contains('C') {
            cx.note(&format!(
                "`{name}` has no flag C: setuid programs, sudo among them, do not become root under it"
            ));
        }
        if Probe::of(self.arch)?.is_none() {
            cx.remark(&format!("not proved: arch-test has no program of {}", self.arch));
        }
        let interpreter = &found.rule.interpreter;
        ensure!(
            !elf::is_dynamic(interpreter)?,
            "the emulator `{}` is not static, it cannot run inside of a container: install qemu-user-static",
            interpreter.display()
        );
        Ok(())
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let name = emulator::name(self.arch);
        let kept = keep::undo(cx, &name)?;
        let Some(Registered { before, after }) = remembered(cx)? else { return Ok(kept) };
        let ours = rule_of(&after)?;
        // What somebody registered since is theirs.
        if !registration::find(&name)?.is_some_and(|found| found.rule.is_same(&ours)) {
            return Ok(kept);
        }
        let before = before.map(|line| rule_of(&line)).transpose()?.filter(|rule| rule.interpreter.exists());
        let undo = match before {
            Some(rule) => Undo::default().act(
                format!("let the kernel run `{name}` with {} again", rule.interpreter.display()),
                move |_| registration::register(&name, &rule),
            ),
            None => Undo::default()
                .act(format!("let the kernel forget `{name}`"), move |_| registration::forget(&name)),
        };
        Ok(undo.and(kept))
    }

    fn disproved(&self, cx: &Cx, _at: &Farm, reason: String) -> Error {
        match self.emulator(cx) {
            Ok(emulator) => anyhow!("{reason} ({emulator})"),
            Err(error) => error.context(reason),
        }
    }
}

impl Emulation {
    fn is_native(&self) -> bool {
        self.arch.runs_on(Architecture::host())
    }

    fn check_registered(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        if self.is_native() {
            return Ok(Check::Satisfied);
        }
        let name = emulator::name(self.arch);
        let Some(Registration { enabled, rule }) = registration::find(&name)? else {
            return Ok(Check::needed(format!("the kernel has no `{name}` for programs of {}", self.arch)));
        };
        let interpreter = rule.interpreter.display();
        let lacks = rule.lacks(Needs::of_all(at, self.arch).flags());
        Ok(if !enabled {
            Check::needed(format!("`{name}` is disabled"))
        } else if lacks.contains('F') {
            Check::needed(format!("`{name}` has no flag F: {interpreter} is not found inside of containers"))
        } else if !lacks.is_empty() {
            Check::needed(format!(
                "`{name}` has no flag {lacks}: the systemd of containers of the plan executes open files, which the emulator \
                 cannot find by their names"
            ))
        } else if !rule.interpreter.exists() {
            Check::needed(format!("the emulator {interpreter} of `{name}` does not exist any more"))
        } else if elf::is_dynamic(&rule.interpreter)? {
            Check::needed(format!("the emulator {interpreter} of `{name}` is not static"))
        } else if let Some(wanted) =
            self.emulator.fetched(self.arch)?.filter(|wanted| *wanted != rule.interpreter)
        {
            Check::needed(format!(
                "`{name}` is run by {interpreter}, and the plan asks for {}",
                wanted.display()
            ))
        } else {
            self.check_version(cx, &rule)?
        })
    }

    /// Whether the emulator that the kernel holds open is the one that is installed.
    fn check_version(&self, cx: &Cx, rule: &Rule) -> Result<Check> {
        let registered = emulator::registered_version(cx, self.arch)?;
        let installed = emulator::version_of(cx, &rule.interpreter)?;
        Ok(match (registered, installed) {
            (Some(registered), Some(installed)) if registered != installed => Check::needed(format!(
                "the kernel still runs programs of {} with qemu {registered}, though {} is {installed} by now",
                self.arch,
                rule.interpreter.display()
            )),
            _ => Check::Satisfied,
        })
    }

    /// Executes a real program of the architecture; where there is none, that is no reason to change anything.
    fn check_runs(&self, cx: &Cx) -> Result<Check> {
        let Some(probe) = Probe::of(self.arch)? else { return Ok(Check::Satisfied) };
        Ok(match probe.run(cx) {
            Ok(()) => Check::Satisfied,
            Err(error) => Check::needed(format!("programs of {} do not run: {error:#}", self.arch)),
        })
    }

    /// Whether the next start of the machine brings the same.
    fn check_kept(&self, at: &Farm) -> Result<Check> {
        let name = emulator::name(self.arch);
        match registration::find(&name)? {
            Some(found) if !self.is_native() => {
                keep::check(&name, &found.rule, Needs::of_all(at, self.arch).flags())
            }
            _ => Ok(Check::Satisfied),
        }
    }

    /// Registers what the plan asks for, for that reason. What somebody else registered is replaced only if the plan says so.
    fn register(&self, cx: &Cx, at: &Farm, reason: &str) -> Result<()> {
        let name = emulator::name(self.arch);
        let shipped = registration::shipped(Path::new("/"), &name)?;
        let before = registration::find(&name)?;
        if let Some(found) =
            before.as_ref().filter(|found| !emulator::is_ours_or_the_hosts(&found.rule, shipped.as_ref()))
        {
            ensure!(
                self.others == Others::Renew,
                "{reason}; somebody else has registered it, with {}: `Binfmt(others: Renew)` in the plan's host registers it anew",
                found.rule.interpreter.display()
            );
        }
        let Some(mut rule) = shipped.or_else(|| before.as_ref().map(|found| found.rule.clone())) else {
            bail!(
                "this host has no emulator for {}: neither {} nor /usr/share/binfmts has `{name}`, `apt-get install \
                 qemu-user-static`",
                self.arch,
                registration::BINFMT_D.join(", ")
            );
        };
        if let Some(fetched) = self.emulator.fetched(self.arch)? {
            rule.interpreter = fetched;
        }
        let rule = rule.flagged("OCF");
        // What was so before Drover's first registration, not before its last one.
        let is_last = |after: &str| {
            let ours = registration::of_line(after);
            before.as_ref().is_some_and(|found| ours.is_some_and(|ours| ours.is_same(&found.rule)))
        };
        let first = match remembered(cx)? {
            Some(last) if is_last(&last.after) => last.before,
            _ => before.as_ref().map(|found| found.rule.line(&name)),
        };
        let memory = Registered { before: first, after: rule.line(&name) };
        cx.remember(REGISTERED, &serde_json::to_string(&memory)?)?;
        if let Err(error) = registration::register(&name, &rule) {
            // Nothing of ours is registered, whatever comes to be there.
            cx.remember(REGISTERED, "")?;
            return Err(error);
        }
        if before.is_some() {
            self.tell_running(cx, at)?;
        }
        Ok(())
    }

    /// Says which containers run under the registration that was just replaced. libvirt itself is not asked: it may not be there
    /// yet.
    fn tell_running(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let mut names = Vec::new();
        for system in at.members.systems.iter().filter(|system| system.arch.qemu() == self.arch.qemu()) {
            if domain::controller(&system.name).read()?.is_some() {
                names.push(system.name.as_str());
            }
        }
        if !names.is_empty() {
            cx.remark(&format!(
                "containers that run ({}) start programs under the new registration from now on; what runs in them already \
                 goes on under the old one until they are started again",
                names.join(", ")
            ));
        }
        Ok(())
    }

    /// Which emulator it is, and of which version, for messages.
    fn emulator(&self, cx: &Cx) -> Result<String> {
        let Some(rule) = registration(self.arch)? else {
            return Ok(format!("{} without an emulator", self.arch));
        };
        let version = emulator::version_of(cx, &rule.interpreter)?;
        let version = version.map_or("of no version".to_owned(), |version| format!("qemu {version}"));
        Ok(format!("{}, {version}", rule.interpreter.display()))
    }
}

fn remembered(cx: &Cx) -> Result<Option<Registered>> {
    let text = cx.remembered(REGISTERED)?.filter(|text| !text.is_empty());
    text.map(|text| serde_json::from_str(&text).context("what is remembered of the registration")).transpose()
}

fn rule_of(line: &str) -> Result<Rule> {
    registration::of_line(line).with_context(|| format!("what is remembered of the registration: `{line}`"))
}
