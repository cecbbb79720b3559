//! The file of names and addresses that dnsmasq reads, `NAME,ADDRESS` a line: the memory of who has which address. With it,
//! what dnsmasq is told of hosts elsewhere.
//!
//! Lines of others, in any of dnsmasq's forms, are understood as dnsmasq does as far as names and addresses go, and never
//! changed. It does not know the network, nor where else dnsmasq reads.

use anyhow::{Result, bail};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// The text of the file, and what its lines say.
#[derive(Clone, Debug, Default)]
pub struct DnsmasqHosts {
    text: String,
    lines: Vec<Line>,
    /// The lines that have a name, in small letters, or an address, by their places.
    by_name: HashMap<String, Vec<usize>>,
    by_address: HashMap<Ipv4Addr, Vec<usize>>,
}

/// What is said of a host outside of our file, as `dhcp-host=` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where: a file, or how dnsmasq was called.
    pub place: String,
    /// What.
    pub says: String,
}

/// A line that says something about a host.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    /// The last name in it, in small letters: the others are nothing to dnsmasq (2.90), be it meant as an address.
    name: Option<String>,
    /// The last address in it.
    address: Option<Ipv4Addr>,
    /// Whether dnsmasq is not to answer that host at all.
    is_ignored: bool,
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        let content = without_comment(text).trim();
        if content.is_empty() {
            return None;
        }
        let mut line = Self { text: text.trim().to_owned(), name: None, address: None, is_ignored: false };
        for field in content.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            match field.parse() {
                Ok(address) => line.address = Some(address),
                Err(_) if field == "ignore" => line.is_ignored = true,
                // Hardware addresses, `id:`, `set:` and IPv6 hold a colon; what is left are names and lease times.
                Err(_) if field.contains(':') || is_time(field) => {}
                Err(_) => line.name = Some(field.to_ascii_lowercase()),
            }
        }
        Some(line)
    }

    /// Whether it is about `name`: dnsmasq minds no capitals, and knows a name with its domain as the same host.
    fn has_name(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.name.as_ref().is_some_and(|known| *known == name || host(known) == name)
    }

    /// Whether it has the form that we write.
    fn is_plain(&self, name: &str) -> bool {
        self.address.is_some_and(|address| self.text == format!("{name},{address}"))
    }
}

/// A line as far as dnsmasq reads it: a `#` behind white space begins a comment, unless it is quoted.
pub(crate) fn without_comment(line: &str) -> &str {
    let (mut is_white, mut is_quoted) = (true, false);
    for (place, char) in line.char_indices() {
        match char {
            '"' => is_quoted = !is_quoted,
            '#' if is_white && !is_quoted => return &line[..place],
            _ => {}
        }
        is_white = char.is_whitespace();
    }
    line
}

/// A name without its domain.
fn host(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Whether it is how long an address is lent: `12h`, `45m`, `3600`, `infinite`.
fn is_time(field: &str) -> bool {
    let number = field.strip_suffix(['s', 'm', 'h', 'd', 'w', 'S', 'M', 'H', 'D', 'W']).unwrap_or(field);
    field == "infinite" || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl DnsmasqHosts {
    /// The file that reads `text`.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let lines: Vec<_> = text.lines().filter_map(Line::read).collect();
        Self { text, ..Self::default() }.adding(lines)
    }

    /// With what is said elsewhere.
    #[must_use]
    pub fn and_elsewhere(self, others: &[Elsewhere]) -> Self {
        let line = |Elsewhere { place, says }: &Elsewhere| {
            let line = Line::read(says)?;
            Some(Line { text: format!("{} ({place})", line.text), ..line })
        };
        self.adding(others.iter().filter_map(line).collect())
    }

    fn adding(mut self, lines: Vec<Line>) -> Self {
        for line in lines {
            let place = self.lines.len();
            if let Some(name) = &line.name {
                self.by_name.entry(name.clone()).or_default().push(place);
                if host(name) != name {
                    self.by_name.entry(host(name).to_owned()).or_default().push(place);
                }
            }
            if let Some(address) = &line.address {
                self.by_address.entry(*address).or_default().push(place);
            }
            self.lines.push(line);
        }
        self
    }

    /// This, with another text of our file.
    fn reading(&self, text: String) -> Self {
        let ours = self.text.lines().filter_map(Line::read).count();
        Self::new(text).adding(self.lines[ours..].to_vec())
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines that have `name`, each once.
    fn named(&self, name: &str) -> impl Iterator<Item = &Line> {
        let mut places = self.by_name.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default();
        places.dedup();
        places.into_iter().map(|place| &self.lines[place])
    }

    /// The address of `name`, if it has one.
    ///
    /// # Errors
    /// When several lines name it, or one that has dnsmasq ignore it.
    pub fn address(&self, name: &str) -> Result<Option<Ipv4Addr>> {
        let lines: Vec<_> = self.named(name).collect();
        match &lines[..] {
            [] => Ok(None),
            [line] if line.is_ignored => {
                bail!("the line `{}` has dnsmasq give `{name}` no address: remove it", line.text)
            }
            [line] => Ok(line.address),
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
            return Ok(self.reading(format!("{}{gap}{ours}\n", self.text)));
        }
        let lines = self.text.split_inclusive('\n');
        let replaced = lines.map(|line| if keep(line) { line.to_owned() } else { format!("{ours}\n") });
        Ok(self.reading(replaced.collect()))
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

    #[test]
    fn lines_are_understood_as_dnsmasq_does() {
        // A line, the name that is looked for, the address that it has.
        for (text, name, found) in [
            ("a,10.0.3.7 # the first one", "a", Some(7)),
            ("a,10.0.3.7\t# the first one, b", "a", Some(7)),
            ("A,10.0.3.7", "a", Some(7)),
            ("a,10.0.3.7", "A", Some(7)),
            ("a.lxc,10.0.3.7", "a", Some(7)),
            ("52:54:00:00:00:01,a,10.0.3.7,infinite", "a", Some(7)),
            ("52:54:00:*:*:*,set:farm,10.0.3.7,a,12h", "a", Some(7)),
            ("id:01:02,a,[fd00::7],10.0.3.7", "a", Some(7)),
            ("10.0.3.7,a,3600", "a", Some(7)),
            ("52:54:00:00:00:01,10.0.3.7", "a", None),
            ("  # a,10.0.3.7", "a", None),
            ("b,10.0.3.7 # a", "a", None),
            ("a#b,10.0.3.7", "a", None),
            ("ab,10.0.3.7", "a", None),
            ("12h,10.0.3.7", "12h", None),
            ("a,10.0.3.7,b", "a", None),
            ("a,10.0.3.7,b", "b", Some(7)),
            ("a,10.0.3.300", "a", None),
            ("a,10.0.3.8,10.0.3.7", "a", Some(7)),
        ] {
            assert_eq!(DnsmasqHosts::new(text).address(name).expect(text), found.map(address), "{text}");
        }
        assert!(DnsmasqHosts::new("a,ignore").address("a").is_err());
        for taken in ["52:54:00:00:00:01,10.0.3.7", "b,10.0.3.7 # a", "B,10.0.3.7", "10.0.3.7"] {
            assert!(DnsmasqHosts::new(taken).holder(address(7), "a").is_some(), "{taken}");
        }
        assert_eq!(DnsmasqHosts::new("A,10.0.3.7").holder(address(7), "a"), None);
    }

    #[test]
    fn what_is_said_elsewhere_counts_and_is_not_written_into_our_file() {
        let says =
            |says: &str| Elsewhere { place: "/etc/lxc/dnsmasq.conf".to_owned(), says: says.to_owned() };
        let file = DnsmasqHosts::new("x,10.0.3.2\n")
            .and_elsewhere(&[says("a,10.0.3.9"), says("52:54:00:00:00:01,10.0.3.8")]);
        assert_eq!(file.address("a").expect("one"), Some(address(9)));
        assert_eq!(file.holder(address(8), "b"), Some("52:54:00:00:00:01,10.0.3.8 (/etc/lxc/dnsmasq.conf)"));
        let more = file.with("b", address(3)).expect("added");
        assert_eq!(more.text(), "x,10.0.3.2\nb,10.0.3.3\n");
        assert_eq!(more.address("a").expect("still known"), Some(address(9)));
        let error = more.with("a", address(4)).expect_err("not ours to change").to_string();
        assert!(error.contains("`a,10.0.3.9 (/etc/lxc/dnsmasq.conf)`"), "{error}");
        let twice = DnsmasqHosts::new("a,10.0.3.2\n").and_elsewhere(&[says("a,10.0.3.9")]);
        assert!(twice.address("a").is_err(), "which of them?");
    }
}
