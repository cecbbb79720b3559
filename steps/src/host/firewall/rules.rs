//! The host's rules, as text that loads them elsewhere: nft's tables, and those that iptables keeps in its own way. It does
//! not know what they do.

use super::super::program;
use super::trace::Culprit;
use anyhow::Result;
use drover_engine::{Cmd, Cx};
use std::fs;

/// The host's rules.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Each table of nft that is not iptables', with its name.
    tables: Vec<(String, String)>,
    /// Those of iptables that are kept by nft, and those that are kept as before.
    iptables: String,
    legacy: String,
}

impl Rules {
    pub(super) fn read(cx: &Cx) -> Result<Self> {
        let ask = |name: &str, words: &[&str]| match program::find(name) {
            Some(path) => {
                Ok(Some(cx.probe(&Cmd::new(path).args(words))?).filter(|said| said.status.success()))
            }
            None => anyhow::Ok(None),
        };
        let said = |name: &str, words: &[&str]| {
            Ok::<_, anyhow::Error>(ask(name, words)?.map_or(String::new(), |it| it.stdout))
        };
        let mut rules = Self { iptables: said("iptables-nft-save", &[])?, ..Self::default() };
        // To ask would load the modules that it needs.
        let is_used =
            fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| !names.trim().is_empty());
        if is_used {
            rules.legacy = said("iptables-legacy-save", &[])?;
        }
        for line in said("nft", &["list", "tables"])?.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let ["table", family, name] = words[..] else { continue };
            if family == "ip" && rules.iptables.lines().any(|line| line.strip_prefix('*') == Some(name)) {
                continue;
            }
            let text = said("nft", &["list", "table", family, name])?;
            rules.tables.push((format!("{family} {name}"), text));
        }
        Ok(rules)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let tables = self.tables.iter().map(|(_, text)| text.as_str());
        tables.chain([self.iptables.as_str(), self.legacy.as_str()])
    }

    /// Whether there is a rule or a policy at all that drops, refuses or hands on packets.
    pub(super) fn may_stop_anything(&self) -> bool {
        let stops = |word: &str| {
            ["drop", "reject", "queue", "nfqueue", "tarpit"].contains(&word.to_lowercase().as_str())
        };
        let words = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(stops);
        self.texts().any(words)
    }

    /// Whether the rules have this word anywhere.
    pub(super) fn mention(&self, word: &str) -> bool {
        self.texts().any(|text| text.contains(word))
    }

    /// Writes them to files that the probe loads.
    pub(super) fn write(&self, write: &dyn Fn(&str, &str) -> Result<()>) -> Result<()> {
        for (name, text) in &self.tables {
            write(&format!("nft.{}", name.replace('/', "_")), text)?;
        }
        write("iptables-nft", &self.iptables)?;
        write("iptables-legacy", &self.legacy)
    }

    /// The chain of iptables' old kind, which tells nobody what it drops, that may have stopped this.
    pub(super) fn legacy_culprit(&self, what: &str) -> Option<Culprit> {
        let chain = if what.contains("world") {
            "FORWARD"
        } else if what.contains("to port 68") {
            "OUTPUT"
        } else {
            "INPUT"
        };
        let drops = |line: &str| {
            let is_chain =
                line.starts_with(&format!(":{chain} DROP")) || line.starts_with(&format!("-A {chain} "));
            is_chain && (line.contains("DROP") || line.contains("REJECT"))
        };
        let direction = if chain == "OUTPUT" { "oif" } else { "iif" };
        self.legacy.lines().any(drops).then(|| Culprit {
            family: "ip".to_owned(),
            table: "filter".to_owned(),
            chain: chain.to_owned(),
            is_legacy: true,
            direction: direction.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_nothing_is_known_by_its_words() {
        let rules =
            |text: &str| Rules { tables: vec![("inet x".to_owned(), text.to_owned())], ..Rules::default() };
        assert!(
            !rules(
                "table inet lxc {\n chain input { type filter hook input priority filter; policy accept; } }"
            )
            .may_stop_anything()
        );
        assert!(!rules("iifname \"dropbox0\" accept").may_stop_anything());
        for stops in ["policy drop;", "counter reject with icmp", "queue to 0"] {
            assert!(rules(stops).may_stop_anything(), "{stops}");
        }
        let old = Rules {
            legacy: "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n".to_owned(),
            ..Rules::default()
        };
        assert!(old.may_stop_anything());
        assert_eq!(old.legacy_culprit("ssh"), None);
        assert_eq!(old.legacy_culprit("the world").map(|it| it.chain).as_deref(), Some("FORWARD"));
    }
}
