//! What lxc-net makes of its settings: it reads `/etc/default/lxc`, and that one is to read `/etc/default/lxc-net`.
//!
//! Both are programs of the shell, so the shell is asked what comes of them, before the second one is written. It does not
//! know what the settings mean.

use super::bridge::DEFAULTS;
use super::lines;
use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What lxc-net reads.
const FIRST: &str = "/etc/default/lxc";

/// The line by which Debian's own file reads the other one.
const READS: &str = "[ ! -f /etc/default/lxc-net ] || . /etc/default/lxc-net";

/// The settings that matter here, which somebody may set after they were read.
pub(super) const SETTINGS: [&str; 8] = [
    "USE_LXC_BRIDGE",
    "LXC_BRIDGE",
    "LXC_ADDR",
    "LXC_NETMASK",
    "LXC_NETWORK",
    "LXC_DHCP_RANGE",
    "LXC_DHCP_MAX",
    "LXC_DHCP_CONFILE",
];

/// Complains if lxc-net will not see what `text`, the text of `/etc/default/lxc-net`, sets. While LXC is not installed there is
/// nothing to complain about.
pub(super) fn ensure_read(cx: &Cx, text: &str) -> Result<()> {
    let first = match fs::read(FIRST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        first => first.with_context(|| format!("read `{FIRST}`"))?,
    };
    ensure_seen(cx, &String::from_utf8_lossy(&first), text)
}

fn ensure_seen(cx: &Cx, first: &str, text: &str) -> Result<()> {
    let seen = self::seen(cx, first, text)?;
    let wanted = SETTINGS.iter().filter_map(|key| Some((*key, lines::assigned(text, key)?)));
    let lost: Vec<_> = wanted
        .filter(|(key, value)| !seen.lines().any(|line| line == format!("{key}={value}")))
        .map(|(key, _)| key)
        .collect();
    let Some(example) = lost.first() else { return Ok(()) };
    // A value that nobody else would set tells whether it was read at all.
    let is_read = self::seen(cx, first, "LXC_NET_WAS_READ=1\n")?.contains("LXC_NET_WAS_READ=1");
    ensure!(
        is_read,
        "`{FIRST}`, which is all that lxc-net reads, does not read `{DEFAULTS}`, so that nothing said there counts: add the line \
         `{READS}` at its end"
    );
    let now = seen.lines().find_map(|line| line.strip_prefix(&format!("{example}=")));
    ensure!(
        lost.is_empty(),
        "`{FIRST}` sets {} (to `{}`) after it has read `{DEFAULTS}`, so that what is said there does not count: remove that line",
        lost.join(", "),
        now.unwrap_or_default()
    );
    Ok(())
}

/// What the shell that lxc-net is has in the settings in the end, `KEY=VALUE` a line.
fn seen(cx: &Cx, first: &str, text: &str) -> Result<String> {
    let place = tempfile::tempdir().context("make a temporary directory")?;
    let directory = place.path().display().to_string();
    let write = |name: &str, text: &str| {
        fs::write(place.path().join(name), text).with_context(|| format!("write a copy of `{name}`"))
    };
    write("lxc", &first.replace("/etc/default", &directory))?;
    write("lxc-net", text)?;
    let tell = SETTINGS
        .iter()
        .chain(["LXC_NET_WAS_READ"].iter())
        .map(|key| format!("echo \"{key}=${{{key}-}}\""))
        .collect::<Vec<_>>()
        .join("; ");
    let script = format!("distrosysconfdir={directory}; . {directory}/lxc; {tell}");
    let said = cx.probe(
        &Cmd::new("env")
            .args(["-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", &script])
            .dir(Path::new("/")),
    )?;
    ensure!(
        said.status.success(),
        "the shell, which is what lxc-net is, cannot read `{FIRST}`: {}",
        said.stderr.trim().lines().last().unwrap_or("no reason is given").replace(&directory, "/etc/default")
    );
    Ok(said.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: &str =
        "USE_LXC_BRIDGE=\"true\"\nLXC_BRIDGE=\"lxcbr0\"\nLXC_DHCP_CONFILE=\"/etc/lxc/dnsmasq.conf\"\n";

    #[track_caller]
    fn check(first: &str, complaint: Option<&str>) {
        let answer = ensure_seen(&Cx::to_look(), first, NET).map_err(|error| error.to_string());
        match (answer, complaint) {
            (Ok(()), None) => {}
            (Err(error), Some(complaint)) if error.contains(complaint) => {}
            (answer, _) => panic!("{first}: {answer:?}"),
        }
    }

    #[test]
    fn what_is_written_counts_only_if_it_is_read_last() {
        let debian =
            format!("LXC_AUTO=\"true\"\nUSE_LXC_BRIDGE=\"false\"  # overridden in lxc-net\n\n{READS}\n");
        check(&debian, None);
        check(". /etc/default/lxc-net", None);
        check("[ ! -f $distrosysconfdir/lxc-net ] || . $distrosysconfdir/lxc-net", None);
        check("if test -e /etc/default/lxc-net; then\n  . /etc/default/lxc-net\nfi\n", None);
        check("", Some("does not read `/etc/default/lxc-net`"));
        check("LXC_AUTO=\"true\"\nUSE_LXC_BRIDGE=\"true\"\n", Some("does not read"));
        check("USE_LXC_BRIDGE=\"false\"\n# . /etc/default/lxc-net\n", Some("does not read"));
        check("false && . /etc/default/lxc-net", Some("does not read"));
        check(
            &format!("{debian}LXC_DHCP_CONFILE=/etc/other.conf\n"),
            Some("sets LXC_DHCP_CONFILE (to `/etc/other.conf`) after"),
        );
        check(&format!("{debian}USE_LXC_BRIDGE=false\n"), Some("sets USE_LXC_BRIDGE (to `false`) after"));
        check(&format!("{debian}unset LXC_BRIDGE\n"), Some("sets LXC_BRIDGE (to ``) after"));
        check("if broken", Some("cannot read `/etc/default/lxc`"));
    }
}
