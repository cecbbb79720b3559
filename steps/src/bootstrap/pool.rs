//! Whether a mirror has the files of a base system that its index names: asked for one by one, without fetching any.
//!
//! The indexes that this takes are fetched once: `resolve` takes them over. What cannot be asked now is no reason to give up.

use super::package_set::names;
use super::resolve::apt_directory;
use crate::apt::{Apt, Setup};
use crate::base::Base;
use crate::mirror::{Archive, Mirror};
use crate::package_index::PackageIndex;
use crate::program;
use crate::{apt_entry, apt_proxy};
use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx};
use rustix::fs::{Access, access};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// How long all questions to one mirror may take, in seconds.
const PATIENCE: &str = "60";

/// Ends well if every file of the base system is on one of its mirrors. Says in words what could not be asked.
///
/// # Errors
/// When the mirrors say that they do not have some.
pub(super) fn ensure_whole(cx: &Cx, base: &Base) -> Result<Option<String>> {
    if program::find("wget").is_none() {
        return Ok(Some("`wget`, which asks for the files, is not installed yet".to_owned()));
    }
    let files = match files(cx, base) {
        Ok(files) => files,
        Err(error) => return Ok(Some(format!("{error:#}"))),
    };
    let archives = Mirror::of(cx, base)?.archives();
    let mut lacking = files.clone();
    for archive in &archives {
        let Some(absent) = absent(cx, archive, &lacking)? else {
            return Ok(Some(format!("{} did not answer for all files", archive.uri)));
        };
        lacking = absent;
        if lacking.is_empty() {
            return Ok(None);
        }
    }
    let names: Vec<_> = lacking.iter().filter_map(|file| file.rsplit('/').next()).collect();
    let uris: Vec<_> = archives.iter().map(|archive| format!("`{}`", archive.uri)).collect();
    bail!(
        "{} of the {} files of {} that the index names are not on the mirror {}: {}{}; name another mirror beside it in the \
         plan, as in `mirror: [\"{}\", \"http://...\"]`: what the first does not have is fetched from the next",
        names.len(),
        files.len(),
        base.id(),
        uris.join(", nor on "),
        names[..names.len().min(3)].join(", "),
        if names.len() > 3 { ", ..." } else { "" },
        archives[0].uri
    )
}

/// Where the indexes are until `resolve` takes them.
fn directory(cx: &Cx, base: &Base) -> PathBuf {
    cx.cache(&format!("pool/{}", base.id()))
}

/// Whether indexes may stay: who only looks may have no state, and makes none.
fn may_keep(cx: &Cx) -> bool {
    let state = cx.cache("pool");
    let state = state.ancestors().nth(2).filter(|state| state.is_absolute());
    state.is_some_and(|state| access(state, Access::WRITE_OK).is_ok())
}

/// Lets `resolve` begin with the indexes that are here.
pub(super) fn hand_over(cx: &Cx, base: &Base) -> Result<()> {
    let (here, there) = (directory(cx, base), apt_directory(cx, base));
    if !here.exists() {
        return Ok(());
    }
    if there.exists() {
        return cx.remove_tree(&here);
    }
    let parent = there.parent().context("a directory of apt's has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("make `{}`", parent.display()))?;
    fs::rename(&here, &there).with_context(|| format!("rename `{}`", here.display()))
}

/// The paths of the base system's files below a mirror's address, by the signed index.
fn files(cx: &Cx, base: &Base) -> Result<BTreeSet<String>> {
    if may_keep(cx) {
        return indexed(cx, base);
    }
    let passing = tempfile::tempdir().context("make a temporary directory")?;
    // apt reads as another account, to which the temporary directory itself is closed.
    let cache = passing.path().join("cache");
    fs::create_dir(&cache).with_context(|| format!("make `{}`", cache.display()))?;
    indexed(&cx.with_cache(&cache), base)
}

/// The same, by an apt in the caches of `cx`.
fn indexed(cx: &Cx, base: &Base) -> Result<BTreeSet<String>> {
    let apt = Apt::set_up(
        cx,
        Setup {
            dir: directory(cx, base),
            archives: Mirror::of(cx, base)?.archives(),
            arch: base.arch,
            status: "",
            extended_states: "",
        },
    )?;
    apt.update(cx)?;
    let text = apt.index_text()?;
    let index = PackageIndex::new(&text);
    let (_, all) = names(base.release, &index);
    let files = all.iter().filter_map(|name| index.versions(name).next()?.field("Filename"));
    Ok(files.map(str::to_owned).collect())
}

/// Those of the files that a mirror says it does not have; `None` if it does not say so of each.
fn absent(cx: &Cx, archive: &Archive, files: &BTreeSet<String>) -> Result<Option<BTreeSet<String>>> {
    let uri = |file: &String| format!("{}/{file}", archive.uri);
    let list: String = files.iter().map(|file| format!("{}\n", uri(file))).collect();
    let ask = ["wget", "--spider", "--no-verbose", "--tries=1", "--timeout=10", "--input-file=-"];
    let command = Cmd::new("timeout").arg(PATIENCE).args(ask).env("LC_ALL", "C").stdin(list);
    let command = match apt_proxy::of(cx, &archive.uri)? {
        None => command,
        Some(proxy) if proxy.eq_ignore_ascii_case("DIRECT") => command.arg("--no-proxy"),
        // wget speaks with no other proxies.
        Some(proxy) if !proxy.starts_with("http://") => return Ok(None),
        Some(proxy) => ["use_proxy=yes", &format!("http_proxy={proxy}"), &format!("https_proxy={proxy}")]
            .iter()
            .fold(command, |command, setting| command.args(["-e", setting])),
    };
    let command = if is_ipv4_forced(cx)? { command.arg("--inet4-only") } else { command };
    let said = cx.probe(&command)?;
    let said = said.stderr + &said.stdout;
    let (present, missing) = answers(&said);
    let asked = |file: &&String| missing.contains(uri(file).as_str());
    let is_whole = files.iter().all(|file| {
        let uri = uri(file);
        present.contains(uri.as_str()) || missing.contains(uri.as_str())
    });
    Ok(is_whole.then(|| files.iter().filter(asked).cloned().collect()))
}

/// The addresses that wget found, and those that it did not.
fn answers(said: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let found = said.lines().filter_map(|line| line.split_once("URL: ")?.1.strip_suffix(" 200 OK"));
    let next = said.lines().skip(1);
    let broken = said.lines().zip(next).filter(|(_, next)| next.contains("broken link"));
    (found.map(str::trim).collect(), broken.filter_map(|(line, _)| line.trim().strip_suffix(':')).collect())
}

fn is_ipv4_forced(cx: &Cx) -> Result<bool> {
    Ok(apt_proxy::configured(cx, "Acquire::ForceIPv4")?
        .is_some_and(|word| apt_entry::truth(&word) == Some(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wget_says_is_understood() {
        let said = "2026-11-28 23:16:45 URL: http://m.example/a.deb 200 OK\n\
                    http://m.example/b.deb:\nRemote file does not exist -- broken link!!!\n\
                    http://m.example/c.deb: 2026-11-28 23:16:45 ERROR 503: Service Unavailable.\n\
                    Found no broken links.\n";
        let (present, missing) = answers(said);
        assert_eq!(Vec::from_iter(present), ["http://m.example/a.deb"]);
        assert_eq!(Vec::from_iter(missing), ["http://m.example/b.deb"]);
    }
}
