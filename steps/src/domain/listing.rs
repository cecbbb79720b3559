//! All domains as they are at one moment, by as few calls of virsh as there can be: it takes far longer to connect than to
//! answer.
//!
//! Checks share a listing for the length of a sweep. It does not know whose the domains are.

use super::{Lookup, ask, attribute, denied, devices, not_defined, parse, virsh};
use anyhow::{Error, Result, bail};
use drover_engine::Cx;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use xmltree::Element;

/// How many domains one call asks about: the kernel takes arguments of up to 128 KiB.
const AT_ONCE: usize = 200;

/// All domains, ours and others'.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// By name.
    domains: BTreeMap<String, Listed>,
    /// By hardware address, in lower case: the domains that have it, each once.
    addresses: HashMap<String, Vec<String>>,
}

/// A domain of the listing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    /// `running`, `shut off`, `paused`.
    pub(crate) state: String,
    /// The process that runs it, if it runs.
    pub(crate) process: Option<u32>,
    /// As the next start will use it.
    pub(crate) definition: Element,
}

/// All domains, as libvirt knows them now, or knew them when they were asked for first in this sweep.
///
/// # Errors
/// When virsh cannot be run, or what it prints makes no sense.
pub(crate) fn all(cx: &Cx) -> Result<Arc<Lookup<Listing>>> {
    let asked = cx.once("the domains of libvirt-LXC", || match read(cx) {
        // Whom libvirt does not answer once, it does not answer at all: nobody has to ask again.
        Err(error) if is_denied(&error) => Ok(None),
        found => found.map(|found| Some(Arc::new(found))),
    })?;
    asked.as_ref().clone().ok_or_else(denied)
}

fn is_denied(error: &Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The definitions by which the domains that run were started, by name, as they were when they were asked for first in this
/// sweep.
///
/// # Errors
/// As those of [`all`].
pub(crate) fn live(cx: &Cx) -> Result<Arc<HashMap<String, Element>>> {
    cx.once("the live definitions of libvirt-LXC", || {
        let Lookup::Found(listing) = &*all(cx)? else { return Ok(HashMap::new()) };
        let running = listing.domains.iter().filter(|(_, domain)| domain.process.is_some());
        let names: Vec<_> = running.map(|(name, _)| name.as_str()).collect();
        let mut live = HashMap::new();
        for (name, [text]) in answers(cx, &names, ["dumpxml"])? {
            // One that has ended meanwhile has no such definition any more.
            if !text.trim().is_empty() {
                live.insert(name.to_owned(), parse(&text)?);
            }
        }
        Ok(live)
    })
}

impl Listing {
    /// The domain `name`, or that it is not defined.
    pub(crate) fn find(&self, name: &str) -> Lookup<&Listed> {
        self.domains.get(name).map_or_else(|| Lookup::Missing(not_defined(name)), Lookup::Found)
    }

    /// The names of all, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.domains.keys()
    }

    /// Whether a domain other than `name` has this hardware address, in lower case.
    pub(crate) fn is_taken(&self, address: &str, name: &str) -> bool {
        self.addresses.get(address).is_some_and(|holders| holders.iter().any(|holder| holder != name))
    }

    /// Whether any domain runs.
    pub(crate) fn runs_any(&self) -> bool {
        self.domains.values().any(|domain| domain.process.is_some())
    }

    fn add(&mut self, name: &str, domain: Listed) {
        for interface in devices(&domain.definition, "interface") {
            let Some(address) = attribute(interface, "mac", "address") else { continue };
            let holders = self.addresses.entry(address.to_lowercase()).or_default();
            if holders.last().is_none_or(|last| last != name) {
                holders.push(name.to_owned());
            }
        }
        self.domains.insert(name.to_owned(), domain);
    }
}

/// The names of all domains, by virsh.
pub(super) fn names(cx: &Cx) -> Result<Lookup<Vec<String>>> {
    Ok(ask(cx, &["list", "--all", "--name"])?.map(|text| {
        let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }))
}

fn read(cx: &Cx) -> Result<Lookup<Listing>> {
    let names = match names(cx)? {
        Lookup::Found(names) => names,
        Lookup::Missing(reason) => return Ok(Lookup::Missing(reason)),
    };
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut listing = Listing::default();
    for (name, [state, process, text]) in answers(cx, &names, ["domstate", "domid", "dumpxml --inactive"])? {
        let state = state.trim().to_owned();
        if state.is_empty() || text.trim().is_empty() {
            // It is gone by now, or libvirt is.
            match ask(cx, &["domstate", name])? {
                Lookup::Missing(reason) if reason == not_defined(name) => continue,
                Lookup::Missing(reason) => return Ok(Lookup::Missing(reason)),
                Lookup::Found(state) => bail!("libvirt says nothing of `{name}` but `{}`", state.trim()),
            }
        }
        // `-` for one that does not run.
        let process = process.trim().parse().ok();
        listing.add(name, Listed { state, process, definition: parse(&text)? });
    }
    Ok(Lookup::Found(listing))
}

/// What virsh answers to each of the questions about each of the domains. Where it has no answer, that is empty.
fn answers<'a, const N: usize>(
    cx: &Cx,
    names: &[&'a str],
    questions: [&str; N],
) -> Result<Vec<(&'a str, [String; N])>> {
    let mut all = Vec::new();
    for names in names.chunks(AT_ONCE) {
        // Between two answers it prints a word that is in none of them.
        let mark = format!("answer-{:016x}", fastrand::u64(..));
        let ask = |name: &str| {
            let name = name.replace('\'', r"'\''");
            questions.map(|question| format!("echo {mark}; {question} '{name}'")).join("; ")
        };
        let script = names.iter().map(|name| ask(name)).collect::<Vec<_>>().join("; ");
        // It ends as its last question does. One without an answer is the caller's to look at.
        let said = cx.probe(&virsh().arg(script))?.stdout;
        let mut answers = said.split(mark.as_str()).skip(1);
        for name in names {
            all.push((*name, std::array::from_fn(|_| answers.next().unwrap_or_default().to_owned())));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(addresses: &[&str]) -> Listed {
        let interface = |address: &&str| format!("<interface><mac address='{address}'/></interface>");
        let interfaces: String = addresses.iter().map(interface).collect();
        let definition = parse(&format!("<domain><devices>{interfaces}</devices></domain>")).expect("XML");
        Listed { state: "running".to_owned(), process: Some(7), definition }
    }

    #[test]
    fn an_address_is_taken_by_others_only() {
        let mut listing = Listing::default();
        listing.add("a", listed(&["52:54:00:00:00:0A", "52:54:00:00:00:0a", "52:54:00:00:00:01"]));
        listing.add("b", listed(&["52:54:00:00:00:01"]));
        assert!(!listing.is_taken("52:54:00:00:00:0a", "a"), "it is its own, twice");
        assert!(listing.is_taken("52:54:00:00:00:0a", "b") && listing.is_taken("52:54:00:00:00:0a", "c"));
        assert!(listing.is_taken("52:54:00:00:00:01", "a") && listing.is_taken("52:54:00:00:00:01", "b"));
        assert!(!listing.is_taken("52:54:00:00:00:02", "a"));
    }

    #[test]
    fn a_domain_that_is_not_listed_is_not_defined() {
        let mut listing = Listing::default();
        listing.add("a", listed(&[]));
        assert!(listing.find("a").required().is_ok_and(|domain| domain.process == Some(7)));
        let error = listing.find("b").required().expect_err("there is none");
        assert_eq!(error.to_string(), "the domain `b` is not defined");
    }
}
