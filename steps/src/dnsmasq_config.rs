//! Where lxc-net's dnsmasq reads what it knows of hosts beside our file: its configuration with all that this includes, its
//! directories of hosts, `/etc/ethers`, and how it was called.
//!
//! It does not know what a line says of a host, nor who has dnsmasq read all that.

use crate::dnsmasq_hosts::{DnsmasqHosts, Elsewhere, without_comment};
use crate::farm::Farm;
use crate::host::{DNSMASQ, dnsmasq_options};
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How deep files may include others.
const DEPTH: usize = 8;
const ETHERS: &str = "/etc/ethers";

/// All reservations: those of our file, and those that dnsmasq has from elsewhere.
///
/// # Errors
/// When something that is there cannot be read.
pub(crate) fn reservations(farm: &Farm) -> Result<DnsmasqHosts> {
    let text = drover_engine::HostFile::new(farm.dnsmasq_hosts()).read()?.unwrap_or_default();
    let mut reader = Reader::apart_from(farm.dnsmasq_hosts());
    reader.configuration(Path::new(DNSMASQ), 0)?;
    for (option, value) in dnsmasq_options()? {
        reader.option(&option, &value, "how dnsmasq was called", 0)?;
    }
    Ok(DnsmasqHosts::new(text).and_elsewhere(&reader.found))
}

/// What was found, and which files were read by then.
struct Reader<'a> {
    ours: &'a Path,
    seen: Vec<PathBuf>,
    found: Vec<Elsewhere>,
}

impl<'a> Reader<'a> {
    /// One that leaves out our own file.
    fn apart_from(ours: &'a Path) -> Self {
        Self { ours, seen: Vec::new(), found: Vec::new() }
    }

    /// A file of options, `NAME=VALUE` a line.
    fn configuration(&mut self, file: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Ok(());
        }
        for line in self.lines(file)? {
            let (option, value) = line.split_once('=').unwrap_or((&line, ""));
            self.option(option.trim(), value.trim(), &file.display().to_string(), depth)?;
        }
        Ok(())
    }

    fn option(&mut self, option: &str, value: &str, place: &str, depth: usize) -> Result<()> {
        let path = Path::new(value.trim_matches('"'));
        match option {
            "dhcp-host" | "G" => self.add(place, value),
            "conf-file" | "C" => self.configuration(path, depth + 1)?,
            "conf-dir" | "7" => {
                let mut fields = value.split(',').map(str::trim);
                let directory = PathBuf::from(fields.next().unwrap_or_default());
                let ends: Vec<_> = fields.filter(|end| !end.is_empty()).collect();
                for file in members(&directory)?.into_iter().filter(|file| is_wanted(file, &ends)) {
                    self.configuration(&file, depth + 1)?;
                }
            }
            "dhcp-hostsfile" | "dhcp-hostsdir" if path.is_dir() => {
                for file in members(path)? {
                    self.hosts(&file)?;
                }
            }
            "dhcp-hostsfile" => self.hosts(path)?,
            "read-ethers" | "Z" => self.ethers()?,
            _ => {}
        }
        Ok(())
    }

    /// A file of hosts, each as `dhcp-host=` has it.
    fn hosts(&mut self, file: &Path) -> Result<()> {
        if file == self.ours {
            return Ok(());
        }
        for line in self.lines(file)? {
            self.add(&file.display().to_string(), &line);
        }
        Ok(())
    }

    /// `/etc/ethers`: a hardware address, and an address or a name.
    fn ethers(&mut self) -> Result<()> {
        for line in self.lines(Path::new(ETHERS))? {
            self.add(ETHERS, &line.split_whitespace().collect::<Vec<_>>().join(","));
        }
        Ok(())
    }

    fn add(&mut self, place: &str, says: &str) {
        self.found.push(Elsewhere { place: place.to_owned(), says: says.to_owned() });
    }

    /// What a file says, without comments; nothing if it is not there, or was read already.
    fn lines(&mut self, file: &Path) -> Result<Vec<String>> {
        let text = match fs::read(file) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            text => text.with_context(|| format!("read `{}`", file.display()))?,
        };
        if self.seen.iter().any(|seen| seen == file) {
            return Ok(Vec::new());
        }
        self.seen.push(file.to_owned());
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().map(|line| without_comment(line).trim());
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

/// The files of a directory that dnsmasq reads: all but hidden ones and what editors leave.
fn members(directory: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("read `{}`", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(doing)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(doing)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_left =
            name.ends_with('~') || name.starts_with('.') || (name.starts_with('#') && name.ends_with('#'));
        if path.is_file() && !is_left {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether a file of a `conf-dir` is read: one of the ends with a star, if there are any, and none of those without.
fn is_wanted(file: &Path, ends: &[&str]) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (with_star, without): (Vec<&str>, Vec<&str>) = ends.iter().partition(|end| end.starts_with('*'));
    let is_asked = with_star.is_empty() || with_star.iter().any(|end| name.ends_with(&end[1..]));
    is_asked && !without.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_wherever_dnsmasq_reads_it() -> Result<()> {
        let place = tempfile::tempdir()?;
        let path = |name: &str| place.path().join(name).display().to_string();
        fs::create_dir_all(path("conf.d"))?;
        fs::create_dir_all(path("only.d"))?;
        fs::create_dir_all(path("hosts.d"))?;
        let main = format!(
            "# dhcp-host=no,10.0.3.2\ndhcp-host = a,10.0.3.3 # here\nconf-file={}\nconf-dir={},.bak\nconf-dir={},*.conf\n\
             dhcp-hostsdir={}\ndhcp-hostsfile={}\ndhcp-hostsfile={}\nconf-file={}\n",
            path("more"),
            path("conf.d"),
            path("only.d"),
            path("hosts.d"),
            path("hosts"),
            path("ours"),
            path("absent")
        );
        for (name, text) in [
            ("main", main.as_str()),
            ("more", &format!("dhcp-host=b,10.0.3.4\nconf-file={}\n", path("main"))),
            ("conf.d/1", "dhcp-host=c,10.0.3.5\n"),
            ("conf.d/2.bak", "dhcp-host=no,10.0.3.2\n"),
            ("conf.d/3~", "dhcp-host=no,10.0.3.2\n"),
            ("only.d/1", "dhcp-host=no,10.0.3.2\n"),
            ("only.d/2.conf", "dhcp-host=d,10.0.3.6\n"),
            ("hosts.d/e", "52:54:00:00:00:05,e,10.0.3.7\n"),
            ("hosts", "52:54:00:00:00:06,10.0.3.8,12h\n"),
            ("ours", "no,10.0.3.2\n"),
        ] {
            fs::write(path(name), text)?;
        }
        let ours = PathBuf::from(path("ours"));
        let mut reader = Reader::apart_from(&ours);
        reader.configuration(Path::new(&path("main")), 0)?;
        let hosts = DnsmasqHosts::default().and_elsewhere(&reader.found);
        for (name, last) in [("a", 3), ("b", 4), ("c", 5), ("d", 6), ("e", 7)] {
            assert_eq!(hosts.address(name)?, Some([10, 0, 3, last].into()), "{name}");
        }
        assert!(hosts.holder([10, 0, 3, 8].into(), "x").is_some());
        assert_eq!(hosts.address("no")?, None);
        assert_eq!(reader.found.len(), 6, "each once: {:?}", reader.found);
        Ok(())
    }
}
