//! A hostile rootfs: whatever links, FIFOs and devices it holds, edits stay inside, and nothing waits.

use anyhow::{Context, Result};
use drover_engine::{Access, Kind, Rootfs};
use rustix::fs::{FileType, Mode, XattrFlags, getxattr, mknodat, setxattr};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Mode, modification time and content of every file.
type Snapshot = BTreeMap<PathBuf, (u32, i64, Vec<u8>)>;

/// A directory that stands for the host, with a secret outside of the rootfs in it.
struct Host {
    dir: tempfile::TempDir,
    before: Snapshot,
}

impl Host {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("outside/deep"))?;
        fs::write(dir.path().join("outside/shadow"), "root:secret\n")?;
        fs::write(dir.path().join("outside/issue"), "the host's issue\n")?;
        fs::create_dir_all(dir.path().join("rootfs/etc"))?;
        let before = snapshot(&dir.path().join("outside"))?;
        Ok(Self { dir, before })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn rootfs(&self) -> Result<Rootfs> {
        Rootfs::open(self.path("rootfs"))
    }

    /// What is outside of the rootfs is as it was, to the byte.
    fn is_untouched(&self) -> Result<()> {
        assert_eq!(snapshot(&self.path("outside"))?, self.before);
        let names: Vec<_> =
            fs::read_dir(self.dir.path())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        assert_eq!(names.len(), 2, "only outside and rootfs: {names:?}");
        Ok(())
    }
}

fn snapshot(dir: &Path) -> Result<Snapshot> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let meta = path.symlink_metadata()?;
        let content = if meta.is_file() { fs::read(&path)? } else { Vec::new() };
        if meta.is_dir() {
            all.extend(snapshot(&path)?);
        }
        all.insert(path, (meta.mode(), meta.mtime_nsec(), content));
    }
    Ok(all)
}

/// Mode and owner for new files: our own, so that the tests need no root.
fn access(mode: u32) -> Access {
    Access { mode, uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    format!("{:#}", result.expect_err("an error"))
}

#[test]
fn a_link_in_the_place_of_a_file_is_refused_wherever_it_leads() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    let absolute = host.path("outside/shadow").display().to_string();
    for target in
        [absolute.as_str(), "/etc/shadow", "../../outside/shadow", "../../../../../../etc/shadow", "gone"]
    {
        symlink(target, host.path("rootfs/etc/issue"))?;
        let refused = message(rootfs.write("/etc/issue", "ours\n", access(0o644)));
        assert!(refused.contains(&format!("it is a link to `{target}`")), "{refused}");
        assert!(refused.contains(&format!("rm {}", host.path("rootfs/etc/issue").display())), "{refused}");
        assert!(message(rootfs.read_to_edit("/etc/issue")).contains("it is a link to"));
        assert_eq!(rootfs.read("/etc/issue")?, None, "nothing of that name in the rootfs");
        assert_eq!(rootfs.entry("/etc/issue")?.context("a link")?.kind, Kind::Link);
        assert_eq!(fs::read_link(host.path("rootfs/etc/issue"))?, Path::new(target));
        rootfs.remove("/etc/issue")?;
        assert_eq!(rootfs.entry("/etc/issue")?, None);
    }
    host.is_untouched()
}

#[test]
fn a_link_in_a_parent_directory_leads_nowhere_but_into_the_rootfs() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    let outside = host.path("outside").display().to_string();
    for target in
        [outside.as_str(), "../outside", "../../../../../../../../..", "/proc/self/root", "/proc/self/cwd"]
    {
        fs::remove_dir_all(host.path("rootfs"))?;
        fs::create_dir(host.path("rootfs"))?;
        symlink(target, host.path("rootfs/etc"))?;
        let _ = rootfs.write("/etc/issue", "ours\n", access(0o644));
        let rootfs = host.rootfs()?;
        let written = rootfs.write("/etc/issue", "ours\n", access(0o644));
        // `..` of a root is the root, as it is for a system that runs there.
        assert_eq!(written.is_ok(), target.ends_with("/.."), "{target}: {written:?}");
        assert_eq!(host.path("rootfs/issue").exists(), written.is_ok());
        let _ = rootfs.mkdir_all("/etc/a/b", access(0o755));
        let _ = rootfs.symlink("/etc/link", "/x");
        let _ = rootfs.remove("/etc/shadow");
        let _ = rootfs.list("/etc");
        host.is_untouched()?;
    }
    Ok(())
}

#[test]
fn links_are_followed_as_a_system_that_runs_there_would() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    fs::create_dir_all(host.path("rootfs/run/systemd"))?;
    fs::write(host.path("rootfs/run/systemd/resolv.conf"), "nameserver\n")?;
    symlink("../run/systemd/resolv.conf", host.path("rootfs/etc/resolv.conf"))?;
    symlink("/run/systemd", host.path("rootfs/etc/dir"))?;
    assert_eq!(rootfs.read("/etc/resolv.conf")?.as_deref(), Some("nameserver\n"));
    rootfs.write("/etc/dir/new", "x\n", access(0o600))?;
    assert_eq!(fs::read_to_string(host.path("rootfs/run/systemd/new"))?, "x\n");
    assert_eq!(rootfs.list("/etc/dir")?.context("a list")?, ["new", "resolv.conf"]);
    rootfs.mkdir_all("etc/dir/more", access(0o750))?;
    assert_eq!(host.path("rootfs/run/systemd/more").metadata()?.mode() & 0o7777, 0o750);
    host.is_untouched()
}

#[test]
fn what_is_no_file_is_refused_and_never_waited_for() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    let at = |name: &str| host.path("rootfs/etc").join(name);
    mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    fs::create_dir(at("directory"))?;
    std::os::unix::net::UnixListener::bind(at("socket"))?;
    let mut kinds = vec![("fifo", "a FIFO"), ("directory", "a directory"), ("socket", "a socket")];
    let null = rustix::fs::makedev(1, 3);
    match mknodat(rustix::fs::CWD, at("device"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), null)
    {
        Ok(()) => kinds.push(("device", "a device")),
        Err(errno) => println!("not tested: a device node cannot be made here: {errno}"),
    }
    for (name, kind) in kinds {
        let path = format!("/etc/{name}");
        let errors = [
            message(rootfs.read(&path)),
            message(rootfs.read_to_edit(&path)),
            message(rootfs.write(&path, "ours\n", access(0o644))),
        ];
        for error in errors {
            assert!(error.contains(&format!("it is {kind}")), "{error}");
        }
        assert!(at(name).symlink_metadata().is_ok(), "{name} is still there");
    }
    assert!(rootfs.symlink("/etc/fifo", "x").is_err());
    assert!(rootfs.remove("/etc/directory").is_err());
    assert!(rootfs.mkdir_all("/etc/fifo/a", access(0o755)).is_err());
    symlink("nowhere", at("dangling"))?;
    assert!(rootfs.mkdir_all("/etc/dangling", access(0o755)).is_err());
    assert!(rootfs.list("/etc/fifo").is_err());
    assert!(rootfs.write("/etc/..", "x", access(0o644)).is_err());
    host.is_untouched()
}

#[test]
fn links_exchanged_while_we_write_lead_nobody_out() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    let (etc, aside) = (host.path("rootfs/etc"), host.path("rootfs/aside"));
    let (outside, done) = (host.path("outside"), AtomicBool::new(false));
    let (mut refused, mut written) = (0, 0);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            // The directory becomes a link to the outside and a directory again; each half may fail while the other
            // side is at work in it, which is the point.
            while !done.load(Ordering::Relaxed) {
                let _ = fs::rename(&etc, &aside);
                let _ = symlink(&outside, &etc);
                let _ = fs::remove_file(&etc);
                let _ = fs::rename(&aside, &etc);
                let _ = symlink("../../outside/issue", etc.join("issue"));
                let _ = fs::remove_file(etc.join("issue"));
            }
        });
        for turn in 0..3000 {
            match rootfs.write("/etc/issue", &format!("turn {turn}\n"), access(0o644)) {
                Ok(()) => written += 1,
                Err(_) => refused += 1,
            }
            if turn % 100 == 0 {
                host.is_untouched()?;
            }
        }
        done.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    println!("{written} written, {refused} refused");
    assert!(written > 0 && refused > 0);
    host.is_untouched()
}

#[test]
fn a_file_keeps_what_it_is_and_is_not_written_again_for_nothing() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    let passwd = host.path("rootfs/etc/passwd");
    fs::write(&passwd, "root\n")?;
    fs::set_permissions(&passwd, fs::Permissions::from_mode(0o604))?;
    setxattr(&passwd, "user.drover", b"kept", XattrFlags::empty())?;
    let before = passwd.metadata()?;
    rootfs.write("/etc/passwd", "root\n", access(0o644))?;
    assert_eq!(
        (passwd.metadata()?.ino(), passwd.metadata()?.ctime_nsec()),
        (before.ino(), before.ctime_nsec())
    );
    rootfs.write("/etc/passwd", "root\nabuild\n", access(0o644))?;
    assert_eq!(passwd.metadata()?.mode(), before.mode());
    assert_eq!(getxattr(&passwd, "user.drover", [0; 16].as_mut_slice())?, 4);
    rootfs.write("/etc/sudoers", "x\n", access(0o440))?;
    let entry = rootfs.entry("/etc/sudoers")?.context("a file")?;
    assert_eq!((entry.kind, entry.mode, entry.size), (Kind::File, 0o440, 2));
    assert_eq!(rootfs.list("/etc")?.context("a list")?, ["passwd", "sudoers"]);
    assert!(message(rootfs.write("/srv/x", "x", access(0o644))).contains("there is no directory `/srv`"));
    assert_eq!(rootfs.read("/srv/x")?, None);
    assert_eq!(rootfs.read_to_edit("/srv/x")?, None);
    Ok(())
}

#[test]
fn links_are_made_and_changed_but_replace_nothing_else() -> Result<()> {
    let host = Host::new()?;
    let rootfs = host.rootfs()?;
    for target in ["/lib/systemd/system/ssh.service", "/dev/null", "/dev/null"] {
        rootfs.symlink("/etc/unit", target)?;
        assert_eq!(fs::read_link(host.path("rootfs/etc/unit"))?, Path::new(target));
    }
    fs::write(host.path("rootfs/etc/file"), "x")?;
    assert!(message(rootfs.symlink("/etc/file", "x")).contains("in the way"));
    assert_eq!(rootfs.list("/etc")?.context("a list")?, ["file", "unit"]);
    Ok(())
}

#[test]
fn the_hosts_own_root_is_no_rootfs() -> Result<()> {
    for path in ["/", "/etc/..", "/proc/self/root"] {
        assert!(message(Rootfs::open(path).map(drop)).contains("the host's own root"), "{path}");
    }
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("file"), "")?;
    assert!(Rootfs::find(dir.path().join("file")).is_err());
    assert!(Rootfs::find(dir.path().join("absent"))?.is_none());
    assert!(message(Rootfs::open(dir.path().join("absent")).map(drop)).contains("does not exist"));
    Ok(())
}
