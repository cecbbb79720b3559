//! A throw-away host: made, used, and gone when dropped.
//!
//! It does not know what is tested in it.

use crate::cleanup::remove_tree;
use crate::layout::{Bind, Layout};
use crate::mirror::Mirror;
use crate::{Finished, Ground, Layer, Root, Running, inside, registered};
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a host's network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Its own, with nothing but a loopback device.
    #[default]
    Own,
    /// This machine's: only for fetching packages.
    Shared,
}

/// What is at the bottom of a host.
#[derive(Clone, Debug, Default)]
pub(crate) enum Bottom {
    /// This machine's own `/`, with all that is installed here.
    #[default]
    Machine,
    /// A fresh Debian.
    Root(Root),
}

impl Bottom {
    /// Its name on the ground.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Machine => "machine",
            Self::Root(root) => &root.name,
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Machine => "/".into(),
            Self::Root(root) => root.path.clone(),
        }
    }
}

/// What a host is made of.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    bottom: Bottom,
    layer: Option<Layer>,
    network: Network,
    binds: Vec<Bind>,
    mirror: Option<Mirror>,
}

impl HostOptions {
    /// A host like this machine, with a network of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it a fresh Debian: it has nothing of this machine's `/`.
    #[must_use]
    pub fn on(mut self, root: &Root) -> Self {
        self.bottom = Bottom::Root(root.clone());
        self
    }

    /// Lays it over this machine's own `/`, with all that is installed here.
    pub(crate) fn on_machine(mut self) -> Self {
        self.bottom = Bottom::Machine;
        self
    }

    pub(crate) fn bottom(&self) -> &Bottom {
        &self.bottom
    }

    /// Lays it over `layer`, and what that was made on.
    #[must_use]
    pub fn over(mut self, layer: &Layer) -> Self {
        self.bottom = layer.bottom.clone();
        self.layer = Some(layer.clone());
        self
    }

    /// Gives it this network.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Makes it install from `mirror`, served on its own loopback device.
    #[must_use]
    pub fn installing_from(mut self, mirror: &Mirror) -> Self {
        self.mirror = Some(mirror.clone());
        self.show(mirror.tree(), "/run/mirror")
    }

    /// Shows it `source`, a file or directory of this machine, at `target` below `/run`, read-only.
    #[must_use]
    pub fn show(mut self, source: impl AsRef<Path>, target: &str) -> Self {
        self.binds.push(Bind { source: source.as_ref().into(), target: target.into(), writable: false });
        self
    }

    /// Shares `source`, a directory of this machine, with it at `target` below `/run`.
    #[must_use]
    pub fn share(mut self, source: impl AsRef<Path>, target: &str) -> Self {
        self.binds.push(Bind { source: source.as_ref().into(), target: target.into(), writable: true });
        self
    }
}

/// A throw-away host. Dropping it ends every process in it and forgets every change.
#[derive(Debug)]
pub struct Host {
    name: String,
    /// Its control group.
    group: String,
    bottom: Bottom,
    is_over_layer: bool,
    /// What made it, and sweeps behind it.
    program: PathBuf,
    dir: PathBuf,
    /// Holds the standard input that process 1 lives as long as.
    outer: Child,
    /// Process 1, as this machine numbers it.
    init: u32,
}

/// What a real farm on this machine would leave in the way: data, never packages.
const HIDDEN: &[&str] = &["/var/lib/drover", "/srv/libvirt", "/var/cache/lxc", "/home/abuild"];

impl Host {
    /// Makes the host `name` on `ground`; names are unique at any one time.
    ///
    /// # Errors
    /// When the kernel refuses; the message says what.
    pub fn boot(ground: &Ground, name: &str, options: HostOptions) -> Result<Self> {
        let dir = ground.join("hosts").join(name);
        remove_tree(&dir)?;
        Self::boot_on(ground, dir, options)
    }

    /// The same, where `dir/upper` may hold changes already.
    fn boot_on(ground: &Ground, dir: PathBuf, options: HostOptions) -> Result<Self> {
        let name = dir.file_name().context("a host without a name")?.to_string_lossy().into_owned();
        let program = ground.program();
        let options = options.show(&program, "/run/bin/throwaway");
        let is_machine = matches!(options.bottom, Bottom::Machine);
        let is_bare = is_machine && options.layer.is_none() && !dir.join("upper").exists();
        let is_over_layer = options.layer.is_some();
        let layer = options.layer.clone();
        for part in ["root", "upper", "work"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let layout = Layout {
            name: format!("drover-{name}"),
            group: ground.group(&name),
            root: dir.join("root"),
            bottom: options.bottom.path(),
            layer: options.layer.map(|layer| layer.path),
            between: dir.join("between"),
            upper: dir.join("upper"),
            work: dir.join("work"),
            own_network: options.network == Network::Own,
            binds: options.binds,
        };
        let (outer, init) =
            start(&program, &layout).with_context(|| format!("throw-away host `{name}` cannot be made"))?;
        let bottom = options.bottom;
        let host =
            Self { name: layout.name, group: layout.group, bottom, is_over_layer, program, dir, outer, init };
        if is_bare {
            host.hide_farm()?;
        }
        if let Some(mirror) = options.mirror {
            mirror.attach(&host)?;
        }
        if let Some(layer) = layer {
            registered::again(&host, &layer)?;
        }
        Ok(host)
    }

    /// A path in the host, as this machine sees it. Absolute links on the way would lead out: mind them.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        Path::new("/proc")
            .join(self.init.to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The text of a file in the host.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.path(inside))
            .with_context(|| format!("`{inside}` of the host cannot be read"))
    }

    /// Writes a file in the host, and the directories above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, inside: &str, text: &str) -> Result<()> {
        let path = self.path(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text).with_context(|| format!("`{inside}` of the host cannot be written"))
    }

    /// Starts a command in the host, as root, with a clean environment, in `/root`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Running> {
        let name: Vec<_> = command.iter().map(|part| part.as_ref().to_string_lossy()).collect();
        Running::start(self.command(command), name.join(" "))
    }

    /// Runs a command in the host to its end, as root, with a clean environment, in `/root`.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is for the caller to judge.
    pub fn run<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<Finished> {
        self.spawn(command)?.wait()
    }

    /// Runs a shell script in the host, which has to end with success. Returns its standard output.
    ///
    /// In it, `no COMMAND` says that a command has to end with 1, as `grep` and `test` do: the shell's own `!` ends no
    /// script, and any failure would do.
    ///
    /// # Errors
    /// When it does not.
    pub fn shell(&self, script: &str) -> Result<String> {
        const NO: &str = "no() { s=0; \"$@\" || s=$?; test $s = 1 || { echo \"ended with $s, not 1: $*\" >&2; return 1; }; }";
        Ok(self.run(&["sh", "-euc", &format!("{NO}\n{script}")])?.ok()?.stdout)
    }

    /// The code name of its release.
    ///
    /// # Errors
    /// When it says none.
    pub fn release(&self) -> Result<String> {
        Ok(self.shell(". /etc/os-release; echo $VERSION_CODENAME")?.trim().to_owned())
    }

    /// The command as this machine has to start it for it to run in the host.
    ///
    /// It enters the host's namespaces, and then its control groups.
    pub fn command<S: AsRef<OsStr>>(&self, command: &[S]) -> Command {
        const ENTER: &str = "for p in /sys/fs/cgroup/*/cgroup.procs; do case $p in */unified/*) ;; \
             *) echo $$ >$p;; esac; done; cd /root; exec \"$@\"";
        let mut entered = Command::new("nsenter");
        entered.args([
            "--target",
            &self.init.to_string(),
            "--all",
            "--root",
            "--wd",
            "--",
            "sh",
            "-c",
            ENTER,
            "enter",
        ]);
        entered.args(command).env_clear().envs([
            ("PATH", "/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ]);
        entered
    }

    /// A host that starts with a copy of the changes in the layer it is to be laid over, so that what it becomes is a
    /// layer that needs no other.
    pub(crate) fn boot_on_copy(ground: &Ground, name: &str, mut options: HostOptions) -> Result<Self> {
        let dir = ground.join("hosts").join(name);
        remove_tree(&dir)?;
        let layer = options.layer.take();
        if let Some(layer) = &layer {
            fs::create_dir_all(&dir)?;
            let copied =
                Command::new("cp").args(["-a", "--"]).arg(&layer.path).arg(dir.join("upper")).status()?;
            ensure!(copied.success(), "layer `{}` cannot be copied", layer.path.display());
        }
        let host = Self::boot_on(ground, dir, options)?;
        if let Some(layer) = &layer {
            registered::again(&host, layer)?;
        }
        Ok(host)
    }

    /// Ends the host, and keeps its changes as the layer `name`, in place of one that is there.
    ///
    /// # Errors
    /// When it started from another layer, or its changes cannot be kept.
    pub fn into_layer(self, ground: &Ground, name: &str) -> Result<Layer> {
        let bottom = self.bottom.clone();
        let path = ground.layer_path(name, &bottom);
        ensure!(!self.is_over_layer, "a host over a layer cannot become one");
        remove_tree(&path)?;
        self.seal(&path)?;
        Ok(Layer { bottom, path })
    }

    /// Ends the host, and keeps its changes at `layer`.
    pub(crate) fn seal(mut self, layer: &Path) -> Result<()> {
        fs::create_dir_all(layer.parent().context("a layer has no parent directory")?)?;
        registered::keep(&self, layer)?;
        self.stop()?;
        fs::rename(self.dir.join("upper"), layer).context("the host's changes cannot be kept")
    }

    fn hide_farm(&self) -> Result<()> {
        self.run(&[&["rm", "-rf", "--"], HIDDEN].concat())?.ok()?;
        Ok(())
    }

    /// Ends every process in it, and removes its control groups.
    fn stop(&mut self) -> Result<()> {
        drop(self.outer.stdin.take());
        self.outer.wait()?;
        let swept = Command::new("unshare")
            .arg("--mount")
            .arg(&self.program)
            .args([inside::SWEEP, &self.group])
            .arg(self.dir.join("root"))
            .status()?;
        ensure!(swept.success(), "control groups of `{}` are left", self.name);
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.stop().and_then(|()| remove_tree(&self.dir)) {
            eprintln!("throw-away host `{}` was not removed: {error:#}", self.name);
        }
    }
}

fn start(program: &Path, layout: &Layout) -> Result<(Child, u32)> {
    let mut outer = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(program)
        .args([inside::OUTER, &layout.encode()?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("`unshare` cannot be started")?;
    let mut line = String::new();
    BufReader::new(outer.stdout.take().context("no standard output")?).read_line(&mut line)?;
    if let Ok(init) = line.trim().parse() {
        return Ok((outer, init));
    }
    let mut error = String::new();
    outer.stderr.take().context("no standard error")?.read_to_string(&mut error)?;
    outer.wait()?;
    anyhow::bail!("{}", error.trim())
}
