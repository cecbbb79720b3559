//! Our block of `/etc/hosts`: the containers' names, in lines of ours between two marks. It does not read the file.

use anyhow::{Result, bail};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

const BEGIN: &str = "# drover begin: the names of containers";
const END: &str = "# drover end";

/// The text of `/etc/hosts`, in three parts.
#[derive(Clone, Debug)]
pub(crate) struct HostsBlock<'a> {
    before: &'a str,
    ours: Vec<&'a str>,
    after: &'a str,
}

impl<'a> HostsBlock<'a> {
    /// Takes the text apart.
    ///
    /// # Errors
    /// When one of the two marks is missing, or stands there twice.
    pub(crate) fn read(text: &'a str) -> Result<Self> {
        let places = |mark: &str| -> Vec<usize> {
            let mut offset = 0;
            let mut found = Vec::new();
            for line in text.split_inclusive('\n') {
                if line.trim_end() == mark {
                    found.push(offset);
                }
                offset += line.len();
            }
            found
        };
        match (&places(BEGIN)[..], &places(END)[..]) {
            ([], []) => Ok(Self { before: text, ours: Vec::new(), after: "" }),
            ([begin], [end]) if begin < end => {
                let inner = &text[*begin..*end];
                let after = text[*end..].split_once('\n').map_or("", |(_, after)| after);
                Ok(Self { before: &text[..*begin], ours: inner.lines().skip(1).collect(), after })
            }
            _ => bail!(
                "the marks `{BEGIN}` and `{END}` do not stand there once each, in this order: mend them by hand"
            ),
        }
    }

    /// The lines of others that have `name` for an IPv4 address. One for an IPv6 address says nothing else of it.
    pub(crate) fn foreign(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let lines = self.before.lines().chain(self.after.lines()).filter(|line| !is_ipv6(line));
        lines.filter(move |line| names(line).any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The address that our block has for `name`.
    pub(crate) fn address(&self, name: &str) -> Option<&'a str> {
        let line = self.ours.iter().find(|line| names(line).any(|known| known == name))?;
        line.split_whitespace().next()
    }

    /// The names in our block.
    pub(crate) fn names(&self) -> Vec<&'a str> {
        self.ours.iter().flat_map(|line| names(line)).collect()
    }

    /// The text with `name` at `address`: our lines in the order of their names, whichever came first.
    pub(crate) fn with(&self, name: &str, address: Ipv4Addr) -> String {
        let line = format!("{address} {name}");
        let mut ours: Vec<&str> = self.ours.clone();
        match ours.iter().position(|known| names(known).any(|known| known == name)) {
            Some(index) => ours[index] = &line,
            None => ours.push(&line),
        }
        ours.sort_by_key(|line| names(line).next());
        let gap = if self.before.is_empty() || self.before.ends_with('\n') { "" } else { "\n" };
        format!("{}{gap}{BEGIN}\n{}\n{END}\n{}", self.before, ours.join("\n"), self.after)
    }
}

impl HostsBlock<'_> {
    /// The text without our line of `name`; the marks go with the last one.
    pub(crate) fn without(&self, name: &str) -> String {
        let ours = self.ours.iter().filter(|line| !names(line).any(|known| known == name));
        let lines: String = ours.map(|line| format!("{line}\n")).collect();
        match lines.is_empty() {
            true => format!("{}{}", self.before, self.after),
            false => format!("{}{BEGIN}\n{lines}{END}\n{}", self.before, self.after),
        }
    }
}

/// What `/etc/hosts` says of names, quick to look up.
#[derive(Debug, Default)]
pub(crate) struct HostNames {
    /// The first IPv4 address of each name, in small letters, wherever it stands.
    first: HashMap<String, Ipv4Addr>,
    /// The names that lines of others have for IPv4 addresses, in small letters.
    foreign: HashSet<String>,
}

impl HostNames {
    /// Those of a text.
    ///
    /// # Errors
    /// As those of [`HostsBlock::read`].
    pub(crate) fn read(text: &str) -> Result<Self> {
        let block = HostsBlock::read(text)?;
        let mut all = Self::default();
        let parts = [(block.before, false), (&*block.ours.join("\n"), true), (block.after, false)];
        for (line, is_ours) in
            parts.iter().flat_map(|(part, is_ours)| part.lines().map(move |line| (line, is_ours)))
        {
            let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
            for name in names(line).map(str::to_ascii_lowercase) {
                if !is_ours && !is_ipv6(line) {
                    all.foreign.insert(name.clone());
                }
                if let Some(address) = address {
                    all.first.entry(name).or_insert(address);
                }
            }
        }
        Ok(all)
    }

    /// The address that the file gives to `name` first.
    pub(crate) fn address(&self, name: &str) -> Option<Ipv4Addr> {
        self.first.get(&name.to_ascii_lowercase()).copied()
    }

    /// Whether a line of somebody else has `name`.
    pub(crate) fn is_foreign(&self, name: &str) -> bool {
        self.foreign.contains(&name.to_ascii_lowercase())
    }
}

/// Whether a line is about an IPv6 address, which may have a zone: `fe80::1%eth0`.
fn is_ipv6(line: &str) -> bool {
    let address = line.split_whitespace().next().and_then(|word| word.split('%').next());
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// The names of a line, which follow the address.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let content = line.split_once('#').map_or(line, |(content, _)| content);
    content.split_whitespace().skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 3, last)
    }

    fn with(text: &str, name: &str, last: u8) -> String {
        HostsBlock::read(text).expect("whole").with(name, at(last))
    }

    #[test]
    fn one_block_a_line_each_and_the_rest_untouched() {
        let theirs = "127.0.0.1 localhost # a\n";
        let one = with(theirs, "a", 5);
        assert_eq!(one, format!("{theirs}{BEGIN}\n10.0.3.5 a\n{END}\n"));
        let later = format!("{one}10.9.9.9 later\n");
        let two = with(&later, "b", 6);
        assert_eq!(two, format!("{theirs}{BEGIN}\n10.0.3.5 a\n10.0.3.6 b\n{END}\n10.9.9.9 later\n"));
        assert_eq!(with(&with(theirs, "b", 6), "a", 5), with(&one, "b", 6), "whichever came first");
        assert_eq!(with(&two, "a", 7), two.replace("10.0.3.5", "10.0.3.7"));
        assert_eq!(with(&two, "a", 5), two);
    }

    #[test]
    fn a_line_goes_and_the_marks_with_the_last_one() {
        let theirs = "127.0.0.1 localhost\n";
        let two = format!("{}10.9.9.9 later\n", with(&with(theirs, "a", 5), "b", 6));
        let without = |text: &str, name: &str| HostsBlock::read(text).expect("whole").without(name);
        let one = without(&two, "a");
        assert_eq!(one, format!("{theirs}{BEGIN}\n10.0.3.6 b\n{END}\n10.9.9.9 later\n"));
        assert_eq!(without(&one, "b"), format!("{theirs}10.9.9.9 later\n"));
        assert_eq!(without(theirs, "localhost"), theirs);
    }

    #[test]
    fn names_are_found_as_the_host_finds_them() {
        let text = with("::1 a\n10.0.3.9 x Y # a\n", "a", 5) + "10.0.3.8 a x\n";
        let names = HostNames::read(&text).expect("whole");
        assert_eq!(names.address("A"), Some(at(5)), "the first one counts");
        assert_eq!((names.address("x"), names.address("y")), (Some(at(9)), Some(at(9))));
        assert_eq!(names.address("b"), None);
        assert!(names.is_foreign("a") && names.is_foreign("X") && !names.is_foreign("localhost"));
        assert!(!HostNames::read(&with("", "a", 5)).expect("whole").is_foreign("a"));
    }

    #[test]
    fn an_ipv6_line_of_the_name_is_no_contradiction() {
        let theirs = "fd00::5 a\nfe80::1%eth0 a\n";
        let text = with(theirs, "a", 5);
        assert!(text.starts_with(theirs) && text.contains("\n10.0.3.5 a\n"), "{text}");
        let block = HostsBlock::read(&text).expect("whole");
        assert_eq!(block.foreign("a").count(), 0);
        assert!(!HostNames::read(&text).expect("whole").is_foreign("a"));
    }

    #[test]
    fn knows_its_own_lines_from_others() {
        let text = with("10.0.3.9 x y\n", "a", 5);
        let hosts = HostsBlock::read(&text).expect("whole");
        assert_eq!(hosts.foreign("y").collect::<Vec<_>>(), ["10.0.3.9 x y"]);
        assert_eq!(hosts.foreign("a").count(), 0);
        assert_eq!(hosts.address("a"), Some("10.0.3.5"));
        assert_eq!(hosts.address("y"), None);
        assert!(HostsBlock::read(&format!("{BEGIN}\n10.0.3.5 a\n")).is_err(), "no end");
    }
}
