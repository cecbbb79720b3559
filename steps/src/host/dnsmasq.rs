//! lxc-net's dnsmasq: whether it runs, and how it was called. It does not know what it serves.

use super::process::Process;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const PID_FILE: &str = "/run/lxc/dnsmasq.pid";

/// lxc-net's dnsmasq, if it runs.
pub(super) fn dnsmasq() -> Result<Option<Process>> {
    Process::of_pid_file(Path::new(PID_FILE), "dnsmasq")
}

/// The options with which lxc-net's dnsmasq was called, by their names without dashes, each with its value; none if it does
/// not run.
///
/// # Errors
/// When it runs and that cannot be read.
pub(crate) fn options() -> Result<Vec<(String, String)>> {
    let Some(process) = dnsmasq()? else { return Ok(Vec::new()) };
    let path = format!("/proc/{}/cmdline", process.id);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("read `{path}`"))?,
    };
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// The words of a command line, each of which ends with a NUL.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut words = text.split_terminator('\0').skip(1).peekable();
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        let name = word.trim_start_matches('-');
        let (name, value) = match word.split_once('=') {
            Some((_, value)) if word.starts_with("--") => (name.split('=').next().unwrap_or(name), value),
            _ => (name, words.next_if(|next| !next.starts_with('-')).unwrap_or_default()),
        };
        options.push((name.to_owned(), value.to_owned()));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_their_values_beside_or_behind_them() {
        let text = "dnsmasq\0--conf-file=/etc/lxc/dnsmasq.conf\0-u\0dnsmasq\0--strict-order\0--listen-address\x0010.0.3.1\0\
            --dhcp-option=6,a=b\0--conf-file=\0";
        let known: Vec<_> = parse(text).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(
            known,
            [
                "conf-file /etc/lxc/dnsmasq.conf",
                "u dnsmasq",
                "strict-order ",
                "listen-address 10.0.3.1",
                "dhcp-option 6,a=b",
                "conf-file "
            ]
        );
    }
}
