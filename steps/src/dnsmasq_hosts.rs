//! The file of names and addresses that dnsmasq reads, `NAME,ADDRESS` a line: the memory of who has which address.
//!
//! Lines of others, in any of dnsmasq's forms, are understood as far as names and addresses go, and never changed. It
//! does not know the network.

use anyhow::{Result, bail};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// The text of the file, and what its lines say.
#[derive(Clone, Debug, Default)]
pub struct DnsmasqHosts {
    text: String,
    lines: Vec<Line>,
    /// The lines that have a name, or an address, by their places.
    by_name: HashMap<String, Vec<usize>>,
    by_address: HashMap<Ipv4Addr, Vec<usize>>,
}

/// A line that says something about a host.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    names: Vec<String>,
    addresses: Vec<Ipv4Addr>,
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        if text.trim_start().starts_with('#') {
            return None;
        }
        let mut line = Self { text: text.trim().to_owned(), names: Vec::new(), addresses: Vec::new() };
        for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            match field.parse() {
                Ok(address) => line.addresses.push(address),
                // Hardware addresses, `id:`, `set:` and IPv6 hold a colon; what is left are names and lease times.
                Err(_) if field.contains(':') => {}
                Err(_) => line.names.push(field.to_owned()),
            }
        }
        Some(line)
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Whether it has the form that we write.
    fn is_plain(&self, name: &str) -> bool {
        matches!(self.addresses[..], [address] if self.text == format!("{name},{address}"))
    }
}

impl DnsmasqHosts {
    /// The file that reads `text`.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let lines: Vec<_> = text.lines().filter_map(Line::read).collect();
        let mut hosts = Self { text, lines, ..Self::default() };
        for (place, line) in hosts.lines.iter().enumerate() {
            for name in &line.names {
                hosts.by_name.entry(name.clone()).or_default().push(place);
            }
            for address in &line.addresses {
                hosts.by_address.entry(*address).or_default().push(place);
            }
        }
        hosts
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines that have `name`, each once.
    fn named(&self, name: &str) -> impl Iterator<Item = &Line> {
        let mut places = self.by_name.get(name).cloned().unwrap_or_default();
        places.dedup();
        places.into_iter().map(|place| &self.lines[place])
    }

    /// The address of `name`, if it has one.
    ///
    /// # Errors
    /// When several lines name it.
    pub fn address(&self, name: &str) -> Result<Option<Ipv4Addr>> {
        let lines: Vec<_> = self.named(name).collect();
        match &lines[..] {
            [] => Ok(None),
            [line] => Ok(line.addresses.first().copied()),
            [first, second, ..] => bail!(
                "`{name}` stands in two lines, `{}` and `{}`: remove one of them",
                first.text,
                second.text
            ),
        }
    }

    /// The line of somebody else than `name` that has this address.
    pub fn holder(&self, address: Ipv4Addr, name: &str) -> Option<&str> {
        let mut lines = self.by_address.get(&address)?.iter().map(|place| &self.lines[*place]);
        lines.find(|line| !line.has_name(name)).map(|line| line.text.as_str())
    }

    /// The text without the line of `name` that has the form that we write; `None` if there is no such line.
    pub fn without(&self, name: &str) -> Option<String> {
        let is_ours = |text: &str| Line::read(text).is_some_and(|line| line.is_plain(name));
        let lines = self.text.split_inclusive('\n');
        self.text.lines().any(is_ours).then(|| lines.filter(|line| !is_ours(line)).collect())
    }

    /// The file with `name` at `address`: its own line replaced, or one added at the end.
    ///
    /// # Errors
    /// When the line that names it is not of the form that we write, and so is not ours to change.
    pub fn with(&self, name: &str, address: Ipv4Addr) -> Result<Self> {
        if let Some(line) = self.named(name).find(|line| !line.is_plain(name)) {
            bail!(
                "the line `{}` names `{name}` and is not ours: remove it, or give it the address {address}",
                line.text
            );
        }
        let ours = format!("{name},{address}");
        let keep = |text: &str| Line::read(text).is_none_or(|line| !line.has_name(name));
        if self.named(name).next().is_none() {
            let gap = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
            return Ok(Self::new(format!("{}{gap}{ours}\n", self.text)));
        }
        let lines = self.text.split_inclusive('\n');
        let replaced = lines.map(|line| if keep(line) { line.to_owned() } else { format!("{ours}\n") });
        Ok(Self::new(replaced.collect::<String>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str =
        "# ours and others', by hand\n\n52:54:00:00:00:01,printer,10.0.3.9,12h\n  scanner , 10.0.3.8\n";

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 3, last)
    }

    #[test]
    fn adds_replaces_and_leaves_the_rest_alone() {
        let file = DnsmasqHosts::new(FOREIGN).with("a", address(5)).expect("added");
        assert_eq!(file.text(), format!("{FOREIGN}a,10.0.3.5\n"));
        let file = file.with("b", address(6)).expect("added").with("a", address(7)).expect("replaced");
        assert_eq!(file.text(), format!("{FOREIGN}a,10.0.3.7\nb,10.0.3.6\n"));
        assert_eq!(file.with("a", address(7)).expect("the same").text(), file.text());
        assert_eq!(
            DnsmasqHosts::new("x,10.0.3.2").with("a", address(5)).expect("added").text(),
            "x,10.0.3.2\na,10.0.3.5\n"
        );
    }

    #[test]
    fn only_a_line_of_our_form_is_taken_out() {
        let file = DnsmasqHosts::new(FOREIGN).with("a", address(5)).expect("added");
        assert_eq!(file.without("a").as_deref(), Some(FOREIGN));
        assert_eq!(file.without("printer"), None);
        assert_eq!(file.without("scanner"), None);
    }

    #[test]
    fn understands_lines_of_others() {
        let file = DnsmasqHosts::new(FOREIGN);
        assert_eq!(file.address("printer").expect("one"), Some(address(9)));
        assert_eq!(file.holder(address(8), "a"), Some("scanner , 10.0.3.8"));
        assert_eq!(file.holder(address(8), "scanner"), None);
        assert!(file.with("printer", address(5)).is_err(), "not ours to change");
        assert!(DnsmasqHosts::new("a,10.0.3.2\na,10.0.3.3\n").address("a").is_err(), "which of them?");
    }
}
