//! Archived releases, by an archive on this disk that looks like one: signed in its time by a key that has expired since,
//! its Release file past its Valid-Until. It needs `gpg`, and says so where there is none.

mod silent;

use anyhow::{Context, Result, ensure};
use drover_engine::{CommandError, Cx};
use drover_steps::apt::{Apt, Setup};
use drover_steps::architecture::Architecture;
use drover_steps::keys::Keys;
use drover_steps::mirror::Archive;
use drover_steps::trust;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// An archive of a suite `old`, and keyrings beside it.
struct Old {
    place: TempDir,
}

impl Old {
    /// Nothing where there is no gpg.
    fn new() -> Result<Option<Self>> {
        if drover_steps::program::find("gpg").is_none() {
            println!("there is no gpg: what an archived release is signed with was not exercised");
            return Ok(None);
        }
        let old = Self { place: tempfile::tempdir()? };
        // apt reads as another account.
        old.shell("chmod 755 . && mkdir -p -m 755 m/dists/old/main/binary-amd64 && mkdir -m 700 g")?;
        old.shell("printf 'Package: a\\nVersion: 1\\nArchitecture: amd64\\nFilename: pool/a.deb\\nSize: 1\\nSHA256: 00\\n\\n' >m/dists/old/main/binary-amd64/Packages")?;
        old.shell(
            "cd m/dists/old
            set -- $(sha256sum main/binary-amd64/Packages) $(stat -c %s main/binary-amd64/Packages)
            printf 'Origin: Debian\\nSuite: old\\nCodename: old\\nArchitectures: amd64\\nComponents: main\\n' >Release
            printf 'Date: Mon, 02 Jun 2014 00:00:00 UTC\\nValid-Until: Mon, 09 Jun 2014 00:00:00 UTC\\n' >>Release
            printf 'SHA256:\\n %s %s main/binary-amd64/Packages\\n' $1 $3 >>Release",
        )?;
        for name in ["old", "other"] {
            old.shell(&format!(
                "gpg --homedir g --batch --quiet --faked-system-time 20140101T000000 --passphrase '' --quick-gen-key {name}@x rsa2048 sign 1y
                gpg --homedir g --batch --export {name}@x >{name}.gpg; chmod 644 {name}.gpg"
            ))?;
        }
        old.shell(
            "gpg --homedir g --batch --quiet --faked-system-time 20140602T000000 --local-user old@x \
             --clearsign -o m/dists/old/InRelease m/dists/old/Release; rm m/dists/old/Release; \
             gpgconf --homedir g --kill gpg-agent",
        )?;
        Ok(Some(old))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn shell(&self, script: &str) -> Result<()> {
        let ended = Command::new("sh").args(["-euc", script]).current_dir(self.place.path()).output()?;
        ensure!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }

    /// What an apt of ours makes of it.
    fn update(&self, keyring: &str, archived: bool) -> Result<()> {
        let uri = format!("file:{}", self.path("m").display());
        let keys = Keys::file(self.path(keyring));
        let archive = Archive { archived, ..Archive::of_plan(&uri, "old", keys) };
        // As in a run, it is in the cache, which apt's own account may not be able to reach by its path.
        let cx = silent::cx(self.place.path());
        fs::create_dir_all(cx.cache(""))?;
        let dir = tempfile::tempdir_in(cx.cache(""))?;
        Command::new("chmod").arg("755").arg(dir.path()).status()?;
        let setup = Setup {
            dir: dir.path().to_owned(),
            archives: vec![archive.clone()],
            arch: Architecture::Amd64,
            status: "",
            extended_states: "",
        };
        let apt = Apt::set_up(&cx, setup)?;
        apt.update(&cx)?;
        let index = fs::read_to_string(apt.indexes()?.first().expect("one"))?;
        ensure!(index.contains("Package: a"), "the index is not that of the archive: {index}");
        Ok(())
    }

    /// What a look at the signed file makes of it.
    fn look(&self, keyring: &str, archived: bool) -> Result<String> {
        let keys = Keys::file(self.path(keyring));
        let signed = self.path("seen");
        fs::copy(self.path("m/dists/old/InRelease"), &signed)?;
        trust::verified(&Cx::to_look(), &signed, &keys, archived)
    }
}

/// All that apt said.
fn said(error: &anyhow::Error) -> String {
    let tail = error.downcast_ref::<CommandError>().map(|error| error.tail.join("\n"));
    tail.unwrap_or_else(|| format!("{error:#}"))
}

#[test]
fn what_has_expired_counts_for_an_archived_release_and_for_no_other() -> Result<()> {
    let Some(old) = Old::new()? else { return Ok(()) };
    old.update("old.gpg", true).context("as an archived release")?;
    let current = said(&old.update("old.gpg", false).expect_err("as a current release"));
    assert!(current.contains("EXPKEYSIG"), "{current}");
    assert!(old.look("old.gpg", true)?.contains("Codename: old"));
    let current = old.look("old.gpg", false).expect_err("as a current release").to_string();
    assert!(current.contains("the key has expired"), "{current}");
    Ok(())
}

#[test]
fn nothing_is_ever_used_unsigned() -> Result<()> {
    let Some(old) = Old::new()? else { return Ok(()) };
    let stranger = said(&old.update("other.gpg", true).expect_err("signed by a stranger"));
    assert!(stranger.contains("NO_PUBKEY"), "{stranger}");
    assert!(old.look("other.gpg", true).is_err());
    old.shell("sed -i 's/Origin: Debian/Origin: debian/' m/dists/old/InRelease")?;
    assert!(old.update("old.gpg", true).is_err(), "changed since it was signed");
    assert!(old.look("old.gpg", true).is_err());
    old.shell("cd m/dists/old; sed '/^-----BEGIN PGP SIGNATURE/,$d; 1,3d' InRelease >Release; rm InRelease")?;
    assert!(old.update("old.gpg", true).is_err(), "not signed at all");
    Ok(())
}
