//! Lists of mirrors, as apt's transports `mirror+file:`, `mirror+http:` and the like read them (apt-transport-mirror(1)).
//!
//! apt picks a mirror anew for each file; here those are found that have all of a suite. It does not ask any of them.

use crate::architecture::Architecture;
use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use std::path::PathBuf;

/// apt's own program for such things.
const HELPER: &str = "/usr/lib/apt/apt-helper";

/// The addresses that one of a source stands for, the first one first: itself, unless it is that of a list.
///
/// # Errors
/// When the list cannot be had, or names no mirror with that suite for that architecture.
pub(crate) fn addresses(cx: &Cx, uri: &str, suite: &str, arch: Architecture) -> Result<Vec<String>> {
    let Some(list) = list(uri) else { return Ok(vec![uri.to_owned()]) };
    let text = cx.once(&format!("the list of mirrors {list}"), || {
        read(cx, &list)
            .with_context(|| format!("read the list of mirrors `{list}`, which the host's apt uses"))
    })?;
    let found = mirrors(&text, suite, arch);
    ensure!(
        !found.is_empty(),
        "the list of mirrors `{list}`, which the host's apt uses, names none that has `{suite}` for {arch}: name one in the \
         plan, as in `mirror: \"http://...\"`"
    );
    Ok(found)
}

/// The address of the list, if this is one of a list.
fn list(uri: &str) -> Option<String> {
    let by = uri.strip_prefix("mirror+");
    by.map(str::to_owned).or_else(|| Some(format!("http:{}", uri.strip_prefix("mirror:")?)))
}

/// The text of a list, which may be compressed.
fn read(cx: &Cx, list: &str) -> Result<String> {
    let place = tempfile::tempdir().context("make a temporary directory")?;
    let local = list.strip_prefix("file:").or_else(|| list.strip_prefix("copy:"));
    let file = match local {
        // `file:///etc/...` and `file:/etc/...` are the same.
        Some(path) => PathBuf::from(format!("/{}", path.trim_start_matches('/'))),
        None => {
            let file = place.path().join(list.rsplit('/').next().unwrap_or("list"));
            let options =
                ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=0", "download-file", list];
            cx.read(&Cmd::new(HELPER).args(options).arg(&file))?;
            file
        }
    };
    cx.read(&Cmd::new(HELPER).arg("cat-file").arg(file))
}

/// Those mirrors of a list that have all of the suite, the one with the lowest number first.
fn mirrors(text: &str, suite: &str, arch: Architecture) -> Vec<String> {
    let mut found: Vec<(u64, String)> = text.lines().filter_map(|line| mirror(line, suite, arch)).collect();
    found.sort_by_key(|(priority, _)| *priority);
    found.into_iter().map(|(_, uri)| uri).collect()
}

/// The mirror in a line of a list, and its priority, if it has indexes and packages of the suite.
fn mirror(line: &str, suite: &str, arch: Architecture) -> Option<(u64, String)> {
    let mut words = line.split_whitespace();
    let uri = words.next().filter(|uri| !line.starts_with('#') && uri.contains(':'))?;
    let items: Vec<_> = words.filter_map(|word| word.split_once(':')).collect();
    let said = |name: &str| {
        items.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let fits = |name: &str, value: &str| said(name).is_empty() || said(name).contains(&value);
    let is_whole = fits("type", "index") && fits("type", "deb") && fits("component", "main");
    let is_right = fits("arch", arch.debian()) && (fits("codename", suite) && fits("suite", suite));
    let priority = said("priority").first().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
    (is_whole && is_right).then(|| (priority, uri.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_that_have_the_suite_are_found_in_their_order() {
        let text = "# Debian's cloud images\n\nfile:/srv/partial/\tpriority:1 type:index\n\
                    http://ports.example/debian\tpriority:2 arch:arm64 arch:all\n\
                    http://late.example/debian/\n  http://first.example/debian/\tpriority:1\n#http://off.example/\n";
        let found = |arch| mirrors(text, "bookworm", arch);
        let common = ["http://first.example/debian", "http://late.example/debian"];
        assert_eq!(found(Architecture::Amd64), common);
        assert_eq!(found(Architecture::Arm64), [common[0], "http://ports.example/debian", common[1]]);
    }

    #[test]
    fn a_list_is_read_wherever_it_is() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("m.list");
        std::fs::write(&file, b"# caf\xe9\nhttps://m.example/debian/\n").expect("written");
        let cx = Cx::to_look();
        for uri in [format!("mirror+file:{}", file.display()), format!("mirror+file://{}", file.display())] {
            let found = addresses(&cx, &uri, "bookworm", Architecture::Amd64).expect("read");
            assert_eq!(found, ["https://m.example/debian"], "{uri}");
        }
        let plain =
            addresses(&cx, "http://m.example/debian", "bookworm", Architecture::Amd64).expect("itself");
        assert_eq!(plain, ["http://m.example/debian"]);
        assert_eq!(list("mirror://m.example/l").as_deref(), Some("http://m.example/l"));
        let none =
            addresses(&cx, "mirror+file:/nowhere", "bookworm", Architecture::Amd64).expect_err("no list");
        assert!(format!("{none:#}").contains("`file:/nowhere`"), "{none:#}");
    }
}
