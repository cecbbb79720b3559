//! Making a mirror: packages that apt fetched, laid out and signed as Debian lays out and signs its own.
//!
//! It does not know how it is served.

use super::{KEYRING, TREE};
use crate::mirror::{Contents, Release};
use crate::stanza::Stanza;
use crate::workshop::{Fetched, Order, Suited, Workshop};
use crate::{Ground, Host, signature};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is in the mirror.
#[derive(Default)]
struct Index {
    main: Suite,
    security: Suite,
}

/// The packages of a suite, by the name of the file that apt fetched.
type Suite = BTreeMap<String, Listed>;

/// A package, and the architectures in whose indexes it stands. One for all architectures stands in those that apt
/// fetched it for: elsewhere Debian may have another version.
struct Listed {
    stanza: Stanza,
    architectures: BTreeSet<String>,
}

/// Makes a mirror.
pub(super) struct Maker<'a> {
    pub(super) ground: &'a Ground,
    pub(super) contents: &'a Contents<'a>,
    /// What it is called below the ground's `mirror`, while it is made.
    pub(super) name: String,
    pub(super) dir: PathBuf,
}

impl Maker<'_> {
    pub(super) fn make(&self) -> Result<()> {
        fs::create_dir_all(self.debian().join("pool"))?;
        let workshop = Workshop::open(self.ground)?;
        workshop.equip()?;
        signature::make_key(&workshop.host)?;
        signature::export_key(&workshop.host, &format!("{TREE}/{}/key.gpg", self.name))?;
        for release in self.contents.releases {
            self.make_release(&workshop, release)?;
        }
        Ok(())
    }

    /// Fetches and publishes a release.
    fn make_release(&self, workshop: &Workshop, release: &Release) -> Result<()> {
        let Release { code_name, packages, architectures, hosts, backports } = *release;
        let mut index = Index::default();
        let mut add = |name: &str, arch: &str, packages| {
            let order = Order { name, release: code_name, arch, for_workshop: false, packages };
            self.add(workshop.fetch(&order)?, arch, &mut index)
        };
        for arch in architectures {
            add(&format!("{code_name}-{arch}"), arch, packages)?;
        }
        if !hosts.is_empty() {
            add(&format!("{code_name}-hosts"), &workshop.arch, hosts)?;
        }
        self.trust_key(&workshop.host, &mut index)?;
        self.publish(&workshop.host, release, &index)?;
        if backports.is_empty() { Ok(()) } else { self.make_backports(workshop, code_name, backports) }
    }

    /// Fetches and publishes backports for hosts; what they depend on of the release itself is in its own suite.
    fn make_backports(&self, workshop: &Workshop, code_name: &str, packages: &[&str]) -> Result<()> {
        let (suite, arch) = (format!("{code_name}-backports"), workshop.arch.as_str());
        let chosen: Vec<_> = packages.iter().map(|name| format!("{name}/{suite}")).collect();
        let chosen: Vec<_> = chosen.iter().map(String::as_str).collect();
        let order = Order { name: &suite, release: &suite, arch, for_workshop: false, packages: &[&chosen] };
        let mut fetched = workshop.fetch(&order)?;
        fetched.retain(|package| package.suite == Suited::Backports);
        let mut index = Index::default();
        self.add(fetched, arch, &mut index)?;
        let dir = self.debian().join("dists").join(&suite);
        self.write_suite(&workshop.host, &dir, &[arch], &index.main)
    }

    fn debian(&self) -> PathBuf {
        self.dir.join("tree/debian")
    }

    /// Puts packages into the release itself, each once, so that it is whole without updates; those that Debian has in
    /// its security archive are there as well, as after a point release.
    fn add(&self, packages: Vec<Fetched>, arch: &str, index: &mut Index) -> Result<()> {
        for Fetched { stanza, file, suite } in packages {
            let name =
                file.file_name().context("a package without a file name")?.to_string_lossy().into_owned();
            if suite == Suited::Security {
                self.list("debian-security", &mut index.security, (&name, &stanza, &file), arch)?;
            }
            self.list("debian", &mut index.main, (&name, &stanza, &file), arch)?;
        }
        Ok(())
    }

    fn list(
        &self,
        tree: &str,
        suite: &mut Suite,
        (name, stanza, file): (&str, &Stanza, &Path),
        arch: &str,
    ) -> Result<()> {
        if !suite.contains_key(name) {
            self.pool(tree, stanza, file)?;
        }
        let listed = suite
            .entry(name.to_owned())
            .or_insert_with(|| Listed { stanza: stanza.clone(), architectures: BTreeSet::new() });
        listed.architectures.insert(arch.to_owned());
        Ok(())
    }

    fn pool(&self, tree: &str, stanza: &Stanza, file: &Path) -> Result<()> {
        let target = self.dir.join("tree").join(tree).join(stanza.get("Filename").context("no file name")?);
        fs::create_dir_all(target.parent().context("a file without a directory")?)?;
        if !target.exists() {
            fs::hard_link(file, &target).with_context(|| format!("`{}` cannot be linked", file.display()))?;
        }
        Ok(())
    }

    /// Systems that are installed from here are to trust it, as Debian's trust Debian: by the package of its keys.
    fn trust_key(&self, workshop: &Host, index: &mut Index) -> Result<()> {
        let stanza = index
            .main
            .values_mut()
            .map(|listed| &mut listed.stanza)
            .find(|stanza| stanza.get("Package") == Some("debian-archive-keyring"))
            .context("the mirror has no package of keys")?;
        let name = stanza.get("Filename").context("no file name")?.to_owned();
        let file = self.debian().join(&name);
        let seen = format!("{TREE}/{}", self.name);
        let package = format!("{seen}/tree/debian/{name}");
        // Two releases may have the same version of it: then it is made for the first, and listed in both.
        let is_made = stanza.get("SHA256") != Some(hex(&fs::read(&file)?).as_str());
        let make = || {
            workshop.shell(&format!(
            "d=/root/keyring; rm -rf $d; dpkg-deb -R {package} $d; \
             cat {seen}/key.gpg >>$d{KEYRING}; mkdir -p $d/etc/apt/trusted.gpg.d; cp {seen}/key.gpg $d/etc/apt/trusted.gpg.d/throwaway.gpg; \
             echo /etc/apt/trusted.gpg.d/throwaway.gpg >>$d/DEBIAN/conffiles; rm -f $d/DEBIAN/md5sums; \
             dpkg-deb -b $d /root/keyring.deb; rm {package}; mv /root/keyring.deb {package}"
        ))
        };
        if !is_made {
            make()?;
        }
        let bytes = fs::read(file)?;
        *stanza = stanza.with(&[
            ("Size", bytes.len().to_string()),
            ("SHA256", hex(&bytes)),
            ("MD5sum", md5(workshop, &package)?),
        ]);
        Ok(())
    }

    /// Writes and signs the indexes; that of updates is empty.
    fn publish(&self, workshop: &Host, release: &Release, index: &Index) -> Result<()> {
        let (name, architectures) = (release.code_name, release.architectures);
        let suite = |tree: &Path, name: &str| tree.join("dists").join(name);
        let security = suite(&self.dir.join("tree/debian-security"), &format!("{name}-security"));
        let updates = suite(&self.debian(), &format!("{name}-updates"));
        self.write_suite(workshop, &suite(&self.debian(), name), architectures, &index.main)?;
        self.write_suite(workshop, &updates, architectures, &BTreeMap::new())?;
        self.write_suite(workshop, &security, architectures, &index.security)?;
        // The template of `lxc-create` asks for one of these, to find out whether a mirror has an architecture: bookworm's for
        // that of testing, trixie's for that of the release.
        for (archive, arch) in
            ["testing", name].iter().flat_map(|of| architectures.iter().map(move |arch| (of, arch)))
        {
            let probed = suite(&self.debian(), archive).join(format!("main/binary-{arch}"));
            fs::create_dir_all(&probed)?;
            fs::write(probed.join("Release"), format!("Archive: {archive}\nArchitecture: {arch}\n"))?;
        }
        Ok(())
    }

    fn write_suite(&self, workshop: &Host, dir: &Path, architectures: &[&str], suite: &Suite) -> Result<()> {
        let mut names = Vec::new();
        for arch in architectures {
            let text = suite
                .values()
                .filter(|listed| listed.architectures.contains(*arch))
                .fold(String::new(), |text, listed| text + listed.stanza.text() + "\n\n");
            let below = format!("main/binary-{arch}");
            fs::create_dir_all(dir.join(&below))?;
            fs::write(dir.join(&below).join("Packages"), text)?;
            names.extend(["Packages", "Packages.gz", "Packages.xz"].map(|file| format!("{below}/{file}")));
        }
        let seen = Path::new(TREE).join(&self.name).join(dir.strip_prefix(&self.dir)?);
        let seen = seen.display().to_string();
        workshop.shell(&format!("cd {seen}; for f in main/*/Packages; do gzip -nk $f; xz -k $f; done"))?;
        fs::write(dir.join("Release"), release_file(dir, architectures, &names)?)?;
        signature::sign(workshop, &seen)
    }
}

fn release_file(dir: &Path, architectures: &[&str], names: &[String]) -> Result<String> {
    let suite = dir.file_name().context("a suite without a name")?.to_string_lossy();
    let architectures = architectures.join(" ");
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC");
    let mut text = format!(
        "Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\nDate: {date}\n\
         Architectures: {architectures}\nComponents: main\nSHA256:\n"
    );
    for name in names {
        let bytes = fs::read(dir.join(name))?;
        text += &format!(" {} {} {name}\n", hex(&bytes), bytes.len());
    }
    Ok(text)
}

fn md5(workshop: &Host, file: &str) -> Result<String> {
    let line = workshop.shell(&format!("md5sum {file}"))?;
    let sum = line.split(' ').next().unwrap_or_default().to_owned();
    ensure!(sum.len() == 32, "`md5sum` says `{line}`");
    Ok(sum)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
