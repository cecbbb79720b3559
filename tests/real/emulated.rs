//! Debian 13 for other processors, from nothing to ssh, with the plan of this project: its systemd boots under the emulator of
//! backports, and why not under the one of a host of Debian 12.
//!
//! The kernel's registrations change, which are those of all hosts; afterwards they are as they were.

use crate::Test;
use crate::assist::natively;
use crate::farm::{answers, drover, left_nothing, start};
use crate::site::Site;
use crate::starts::Starts;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;
use throwaway::{Finished, Host};

pub(crate) const TESTS: &[Test] = &[("an_emulated_debian_13_boots", arm64)];
/// Not for every day: `make identity`.
pub(crate) const SELDOM: &[Test] = &[("identity_of_other_emulated_debian_13_that_boots", others)];

/// The part of the programs that runs natively while a system is made, at the least.
const SHARE: f64 = 0.9;
const PLAN: &str = "/root/current.ron";
/// The same plan for a host whose own emulator is all that there is.
const OWN: &str = "/root/own.ron";

const ARM64: Guest = Guest { arch: "arm64", machine: "aarch64", qemu: "aarch64" };
const OTHERS: [Guest; 2] = [
    Guest { arch: "armhf", machine: "armv7l", qemu: "arm" },
    Guest { arch: "riscv64", machine: "riscv64", qemu: "riscv64" },
];

fn arm64(site: &Site) -> Result<()> {
    let host = site.fresh_host("emulated")?;
    let found = Found::of(&host)?;
    host.write(OWN, &plan(&[ARM64])?.replace("Binfmt(emulator: Backports)", "Binfmt"))?;
    is_told_beforehand(&host)?;
    host.write(PLAN, &plan(&[ARM64])?)?;
    is_mostly_native(&host, &ARM64)?;
    ARM64.is_whole(&host)?;
    drover(&host, &["plan", "--detailed-exitcode", PLAN])?.exits(0)?;
    ARM64.is_stuck_with_an_old_emulator(&host)?;
    found.restore()
}

fn others(site: &Site) -> Result<()> {
    let host = site.fresh_host("emulated")?;
    let found = Found::of(&host)?;
    host.write(PLAN, &plan(&OTHERS)?)?;
    println!("    from nothing to ssh: {:.0} s", drover(&host, &["run", PLAN])?.ok()?.elapsed.as_secs_f64());
    for guest in &OTHERS {
        guest.is_assisted(&host)?;
        guest.is_whole(&host)?;
    }
    found.restore()
}

/// The project's plan, for these.
fn plan(guests: &[Guest]) -> Result<String> {
    let plan = include_str!("../../plans/debian-current.ron");
    let (before, rest) = plan.split_once("arch: [").context("the plan names no architectures")?;
    let (_, after) = rest.split_once(']').context("the plan names no architectures")?;
    let names: Vec<_> = guests.iter().map(|guest| guest.arch).collect();
    Ok(format!("{before}arch: [{}]{after}", names.join(", ")))
}

/// Builds a container. Meanwhile the kernel counts what is started, until it boots: then all is emulated.
fn is_mostly_native(host: &Host, guest: &Guest) -> Result<()> {
    let emulator = format!("/usr/lib/drover/qemu/bookworm-backports/{}-binfmt-P", guest.qemu);
    let starts = Starts::of(host, &emulator)?;
    let mut run = start(host, &["run", PLAN])?;
    let boots = format!("{}/start-domain", guest.name());
    while run.is_running()? && !run.stderr()?.contains(&boots) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let share = starts.end()?;
    let ended = run.wait_aloud()?;
    println!("    from nothing to ssh: {:.0} s", ended.elapsed.as_secs_f64());
    ended.ok()?;
    ensure!(share >= SHARE, "only {:.1} % were native", share * 100.0);
    guest.is_assisted(host)?;
    left_nothing(host)
}

/// On a host that would have nothing but its own emulator, it is said why that does not do and what does, and nothing is fetched.
fn is_told_beforehand(host: &Host) -> Result<()> {
    let planned = drover(host, &["plan", OWN])?;
    let examined = drover(host, &["doctor", OWN])?.exits(7)?;
    for said in [planned, examined] {
        let text = format!("{}{}", said.stdout, said.stderr);
        for part in [
            "would not boot",
            "the host's emulator is qemu 7.2",
            "CLONE_PIDFD",
            "Binfmt(emulator: Backports)",
        ] {
            ensure!(text.contains(part), "`{part}` is not in what `{}` says: {text}", said.command);
        }
    }
    let ran = drover(host, &["run", OWN, "--only", "*/start-domain"])?;
    ensure!(ran.code() != Some(0), "a run was not refused: {ran:?}");
    let log = host.mirror_log()?;
    // What it is only asked whether it has takes no bytes.
    let is_package = |line: &&String| line.contains("/pool/") && !line.starts_with("200 0 ");
    let fetched: Vec<_> = log.iter().filter(is_package).collect();
    ensure!(fetched.is_empty(), "packages were fetched: {fetched:#?}");
    Ok(())
}

/// A container of Debian 13, what its processor calls itself, and what qemu calls that.
struct Guest {
    arch: &'static str,
    machine: &'static str,
    qemu: &'static str,
}

impl Guest {
    fn name(&self) -> String {
        format!("jenkins-debian13-{}", self.arch)
    }

    /// Its steps have counted as many native programs as they should.
    fn is_assisted(&self, host: &Host) -> Result<()> {
        let base = format!("bootstrap/debian-trixie-{}/configure", self.arch);
        for step in [base, format!("{}/lxc-create", self.name()), format!("{}/guest-packages", self.name())] {
            println!("    {step}: {}", natively(host, &step, SHARE)?);
        }
        Ok(())
    }

    /// Nothing is wrong in it: all units run, there is a journal, and /tmp is not larger than its memory.
    fn is_whole(&self, host: &Host) -> Result<()> {
        answers(host, &self.name(), self.machine)?;
        let state = self.inside(host, &["/usr/bin/systemctl", "is-system-running", "--wait"])?.stdout;
        let failed =
            self.inside(host, &["/usr/bin/systemctl", "status", "--failed", "--full", "--no-pager"])?.stdout;
        ensure!(state == "running\n", "the system is {state}{failed}");
        let journal =
            self.inside(host, &["/usr/bin/journalctl", "--no-pager", "-o", "cat", "-t", "sshd"])?.stdout;
        ensure!(journal.contains("Server listening on "), "the journal says: {journal}");
        let tmp = self.inside(host, &["/usr/bin/df", "--output=size", "-k", "/tmp"])?.stdout;
        let size: u64 = tmp.lines().last().unwrap_or_default().trim().parse().context(tmp.clone())?;
        ensure!(size <= 512 << 10, "/tmp has {size} KiB");
        Ok(())
    }

    /// Started by hand under the emulator of the host's packages, it starts nothing: that is noticed at once, and shown.
    fn is_stuck_with_an_old_emulator(&self, host: &Host) -> Result<()> {
        let entry = format!("qemu-{}", self.qemu);
        let ours = host.read(&format!("/proc/sys/fs/binfmt_misc/{entry}"))?;
        let place = |line: &&str| line.starts_with("interpreter ");
        let interpreter = ours.lines().find(place).context("an entry without an emulator")?;
        let old = format!("interpreter /usr/libexec/qemu-binfmt/{}-binfmt-P", self.qemu);
        register(host, &entry, &ours.replace(interpreter, &old))?;
        let virsh = |verb: &str| host.run(&["virsh", "-c", "lxc:///system", verb, &self.name()])?.ok();
        virsh("destroy")?;
        virsh("start")?;
        let ended = drover(host, &["run", OWN, "--only", "*/await-ssh"])?.exits(1)?;
        println!("    an init that starts nothing: noticed after {:.0} s", ended.elapsed.as_secs_f64());
        let text = format!("{}{}", ended.stdout, ended.stderr);
        for part in [
            "its init has slept for 30 s and has started nothing",
            "console: ",
            "Failed with result 'resources'",
            "process of its init: none",
            "Binfmt(emulator: Backports)",
        ] {
            ensure!(text.contains(part), "`{part}` is not in {text}");
        }
        ensure!(ended.elapsed < Duration::from_secs(120), "it took {:?}", ended.elapsed);
        register(host, &entry, &ours)
    }

    /// Runs a program in it, as root.
    fn inside(&self, host: &Host, command: &[&str]) -> Result<Finished> {
        let enter = ["virsh", "-q", "-c", "lxc:///system", "lxc-enter-namespace", "--noseclabel"];
        host.run(&[&enter[..], &[&self.name(), "--"], command].concat())
    }
}

/// The kernel's entries for emulators as they were found. When this is dropped, they are so again.
struct Found<'a> {
    host: &'a Host,
    entries: BTreeMap<String, String>,
}

impl<'a> Found<'a> {
    fn of(host: &'a Host) -> Result<Self> {
        host.shell("mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc")?;
        Ok(Self { host, entries: entries(host)? })
    }

    fn is_unchanged(&self) -> Result<()> {
        let now = entries(self.host)?;
        ensure!(now == self.entries, "registered was {:?}, and is {now:?}", self.entries);
        Ok(())
    }

    fn restore(&self) -> Result<()> {
        for name in entries(self.host)?.keys().filter(|name| !self.entries.contains_key(*name)) {
            self.host.shell(&format!("echo -1 >/proc/sys/fs/binfmt_misc/{name}"))?;
        }
        for (name, text) in &self.entries {
            if self.host.read(&format!("/proc/sys/fs/binfmt_misc/{name}")).ok().as_ref() != Some(text) {
                register(self.host, name, text)?;
            }
        }
        self.is_unchanged()
    }
}

/// Registers what the kernel has said of an entry. An emulator that is open in the kernel alone cannot be had again: it becomes
/// the host's own by the same name.
fn register(host: &Host, name: &str, text: &str) -> Result<()> {
    const SCRIPT: &str = r#"
        is() { sed -n "s/^$1 //p" /tmp/entry; }
        hex() { is $1 | sed 's/../\\x&/g'; }
        test ! -e /proc/sys/fs/binfmt_misc/NAME || echo -1 >/proc/sys/fs/binfmt_misc/NAME
        echo ":NAME:M:$(is offset):$(hex magic):$(hex mask):$(is interpreter):$(is flags:)" \
            >/proc/sys/fs/binfmt_misc/register"#;
    host.write("/tmp/entry", text)?;
    host.shell(&SCRIPT.replace("NAME", name))?;
    Ok(())
}

fn entries(host: &Host) -> Result<BTreeMap<String, String>> {
    let names = host.shell("cd /proc/sys/fs/binfmt_misc; ls | grep ^qemu- || true")?;
    let entry = |name: &str| Ok((name.to_owned(), host.read(&format!("/proc/sys/fs/binfmt_misc/{name}"))?));
    names.lines().map(entry).collect()
}

impl Drop for Found<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("registrations of emulators are not as they were: {error:#}");
        }
    }
}
