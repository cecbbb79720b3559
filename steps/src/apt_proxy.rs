//! By which proxy the host's apt reaches an address, for programs that do not ask apt: wget, and the templates of LXC.
//!
//! It does not look whether the proxy answers.

use anyhow::Result;
use drover_engine::{Cmd, Cx};

/// What the host's apt uses as a proxy for an address: what a program of the host's finds, or what is written.
pub(crate) fn of(cx: &Cx, uri: &str) -> Result<Option<String>> {
    let said = cx.probe(&Cmd::new("/usr/lib/apt/apt-helper").args(["auto-detect-proxy", uri]))?.stdout;
    if let Some(found) = detected(&said) {
        return Ok(Some(found.to_owned()));
    }
    let (scheme, rest) = uri.split_once("://").unwrap_or(("http", uri));
    let place = rest.split('/').next().unwrap_or_default();
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or_else(|| host.split(':').next().unwrap_or_default(), |(host, _)| host);
    for name in [format!("Acquire::{scheme}::Proxy::{host}"), format!("Acquire::{scheme}::Proxy")] {
        if let Some(value) = configured(cx, &name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The proxy in what apt says when it looks for one: `Using proxy 'http://p.example:3128' for URL '...'`.
fn detected(said: &str) -> Option<&str> {
    let found = said.lines().find_map(|line| line.strip_prefix("Using proxy '")?.split('\'').next())?;
    (!found.is_empty()).then_some(found)
}

/// What the host's apt is told of this name, if anything.
pub(crate) fn configured(cx: &Cx, name: &str) -> Result<Option<String>> {
    let said = cx.read(&Cmd::new("apt-config").args(["dump", "--format", "%v%n", name]))?;
    Ok(said.lines().next().filter(|value| !value.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_apt_finds_is_understood() {
        let said = "Using proxy 'http://p.example:3128' for URL 'http://m.example/debian'\n";
        assert_eq!(detected(said), Some("http://p.example:3128"));
        assert_eq!(detected("Using proxy '' for URL 'http://m.example/debian'\n"), None);
    }
}
