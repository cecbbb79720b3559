//! Domains of libvirt-LXC: asked for and defined by virsh, edited as XML.
//!
//! Every edit reads the definition that the next start will use (`--inactive`), changes what it is about, leaves what
//! others added, and defines it again. It does not know what the edits are.
//!
//! What is looked up while nothing is being changed comes from one `listing` of all domains, which all checks share.

mod listing;
mod names;
mod undo;

pub(crate) use listing::{Listing, all};
pub use undo::{define_ours, names_to_undo, state_to_undo, undo_edit};

use crate::container::Container;
use crate::program;
use crate::words::plain_path;
use anyhow::{Context, Error, Result, bail};
use drover_engine::{Check, Claim, Cmd, Cx, HostFile};
use std::collections::BTreeSet;
use std::io::Write;
use xmltree::{Element, EmitterConfig, XMLNode};

/// Where libvirt-LXC answers.
pub const URI: &str = "lxc:///system";

/// What was asked of libvirt, or why it is not there: an earlier step's product may be absent while steps check.
#[derive(Clone, Debug)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// It is not, for this reason.
    Missing(String),
}

impl<T> Lookup<T> {
    /// What was found.
    ///
    /// # Errors
    /// Says why it is missing.
    pub fn required(self) -> Result<T> {
        match self {
            Self::Found(found) => Ok(found),
            Self::Missing(reason) => bail!("{reason}"),
        }
    }

    /// What was found, if it was: for those who do not need to know why it was not.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing(_) => None,
        }
    }

    /// What `change` makes of what was found.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(found) => Lookup::Found(change(found)),
            Self::Missing(reason) => Lookup::Missing(reason),
        }
    }
}

/// Whether a definition must conform to libvirt's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// It must.
    Required,
    /// It is tried first; a definition that does not is taken all the same, and that is said.
    Waived,
    /// It is not tried.
    Skipped,
}

/// A change of a definition: makes it, and says why it was needed; `None` if there is nothing to change.
pub type Edit<'a> = &'a dyn Fn(&mut Element) -> Result<Option<String>>;

/// Virsh at our URI.
pub fn virsh() -> Cmd {
    // Its messages are read here, so they must not be translated.
    Cmd::new("virsh").env("LC_ALL", "C").args(["-q", "-c", URI])
}

/// The lock on everything that is about one domain.
pub fn lock(at: &Container) -> Claim {
    Claim::lock(format!("domain {}", at.name))
}

/// The names of all domains, ours and others'.
///
/// # Errors
/// When virsh cannot be run.
pub fn names(cx: &Cx) -> Result<Lookup<Vec<String>>> {
    if cx.is_settled() {
        return Ok(match &*all(cx)? {
            Lookup::Found(listing) => Lookup::Found(listing.names().cloned().collect()),
            Lookup::Missing(reason) => Lookup::Missing(reason.clone()),
        });
    }
    listing::names(cx)
}

/// The definition of the domain `name`, as the next start will use it.
///
/// # Errors
/// When virsh cannot be run, or what it prints is no XML.
pub fn find(cx: &Cx, name: &str) -> Result<Lookup<Element>> {
    if cx.is_settled() {
        return listed(cx, name, |domain| domain.definition.clone());
    }
    Ok(match ask(cx, &["dumpxml", "--inactive", name])? {
        Lookup::Found(text) => Lookup::Found(parse(&text)?),
        Lookup::Missing(reason) => Lookup::Missing(reason),
    })
}

/// What is listed of the domain `name`.
fn listed<T>(cx: &Cx, name: &str, what: impl FnOnce(&listing::Listed) -> T) -> Result<Lookup<T>> {
    Ok(match &*all(cx)? {
        Lookup::Found(listing) => listing.find(name).map(what),
        Lookup::Missing(reason) => Lookup::Missing(reason.clone()),
    })
}

/// The process that runs the domain `name` and lives as long as it does, if it runs.
///
/// # Errors
/// When virsh cannot be run, or what it prints makes no sense.
pub fn process(cx: &Cx, name: &str) -> Result<Option<u32>> {
    if cx.is_settled() {
        return Ok(listed(cx, name, |domain| domain.process)?.found().flatten());
    }
    Ok(ask(cx, &["domid", name])?.found().and_then(|id| id.trim().parse().ok()))
}

/// What libvirt says about the domain `name`: `running`, `shut off`, `paused`.
///
/// # Errors
/// When virsh cannot be run.
pub fn state(cx: &Cx, name: &str) -> Result<Lookup<String>> {
    if cx.is_settled() {
        return listed(cx, name, |domain| domain.state.clone());
    }
    Ok(match ask(cx, &["domstate", name])? {
        Lookup::Found(text) => Lookup::Found(text.trim().to_owned()),
        Lookup::Missing(reason) => Lookup::Missing(reason),
    })
}

/// Where libvirt keeps the id of the process that controls the domain `name`, for as long as it runs.
pub fn controller(name: &str) -> HostFile {
    HostFile::new(format!("/run/libvirt/lxc/{name}.pid"))
}

/// What a domain that runs has, or lacks, because its definition has changed since it was started; `None` if it runs as it is
/// defined.
///
/// # Errors
/// When virsh cannot be run, or what it prints is no XML.
pub fn outdated(cx: &Cx, name: &str) -> Result<Option<String>> {
    let live = match cx.is_settled() {
        true => listing::live(cx)?.get(name).cloned(),
        false => ask(cx, &["dumpxml", name])?.found().map(|text| parse(&text)).transpose()?,
    };
    let (Some(live), Lookup::Found(defined)) = (live, find(cx, name)?) else { return Ok(None) };
    let (has, should) = (traits(&live), traits(&defined));
    let list = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    Ok(match (list(&should, &has), list(&has, &should)) {
        (lacks, more) if lacks.is_empty() && more.is_empty() => None,
        (lacks, more) if more.is_empty() => Some(format!("without {lacks}")),
        (lacks, more) if lacks.is_empty() => Some(format!("with {more}")),
        (lacks, more) => Some(format!("with {more} instead of {lacks}")),
    })
}

/// What a definition gives to those who live in the domain, in words. One in use has more in it than was written.
fn traits(definition: &Element) -> BTreeSet<String> {
    fn of<'a>(device: &'a Element, child: &str, key: &str) -> &'a str {
        attribute(device, child, key).unwrap_or("none")
    }
    let number = |name: &str| definition.get_child(name).and_then(Element::get_text).unwrap_or_default();
    let mut traits: BTreeSet<_> = devices(definition, "filesystem")
        .map(|device| {
            let [source, target] = ["source", "target"].map(|end| plain_path(of(device, end, "dir")));
            format!("filesystem {source} at {target}")
        })
        .collect();
    traits.extend(devices(definition, "interface").map(|device| {
        // Of another type, libvirt finds out the bridge when it starts the domain.
        let is_bridge = device.attributes.get("type").is_some_and(|kind| kind == "bridge");
        let bridge = if is_bridge { of(device, "source", "bridge") } else { "a network" };
        format!("interface {} at {bridge}", of(device, "mac", "address"))
    }));
    traits.insert(format!("{} KiB of memory", number("memory").trim()));
    traits.insert(format!("{} processors", number("vcpu").trim()));
    traits
}

/// What virsh answers to `question`, or why it cannot.
fn ask(cx: &Cx, question: &[&str]) -> Result<Lookup<String>> {
    if program::find("virsh").is_none() {
        return Ok(Lookup::Missing("`virsh` is not installed".to_owned()));
    }
    let output = cx.probe(&virsh().args(question))?;
    if output.status.success() {
        return Ok(Lookup::Found(output.stdout));
    }
    refusal(&output.stderr).map(Lookup::Missing)
}

/// Why virsh has no answer.
///
/// # Errors
/// When libvirt does not answer to whoever asks, but would to root: nothing is known then.
fn refusal(stderr: &str) -> Result<String> {
    let first = stderr.trim().lines().next().unwrap_or("no message");
    let why = first.strip_prefix("error: ").unwrap_or(first);
    let is_denied = ["permission denied", "authentication", "access denied", "not authorized"];
    let all = stderr.to_lowercase();
    if is_denied.iter().any(|sign| all.contains(sign)) {
        return Err(denied());
    }
    Ok(match why.strip_prefix("failed to get domain ") {
        Some(name) => not_defined(name.trim_matches('\'')),
        None => format!("libvirt does not answer at `{URI}`: {why}"),
    })
}

/// That libvirt does not answer to whoever asks.
fn denied() -> Error {
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    Error::new(denied).context(format!("libvirt does not answer at `{URI}`"))
}

fn not_defined(name: &str) -> String {
    format!("the domain `{name}` is not defined")
}

/// Whether `edit` has something to change in the definition of this container's domain.
///
/// # Errors
/// When libvirt's answer makes no sense, or the edit does not.
pub fn check_edit(cx: &Cx, at: &Container, edit: Edit<'_>) -> Result<Check> {
    let before = match find(cx, &at.name)? {
        Lookup::Found(definition) => definition,
        Lookup::Missing(reason) => return Ok(Check::needed(reason)),
    };
    let mut after = before.clone();
    match edit(&mut after)? {
        None => Ok(Check::Satisfied),
        Some(reason) => Ok(difference(&at.name, reason, &text(&before)?, &text(&after)?)),
    }
}

/// Makes `edit` in the definition of this container's domain, if it has something to change.
///
/// # Errors
/// When the domain is not defined, or libvirt refuses the new definition.
pub fn apply_edit(cx: &Cx, at: &Container, validation: Validation, edit: Edit<'_>) -> Result<()> {
    let mut definition = find(cx, &at.name)?.required()?;
    let before = text(&definition)?;
    if edit(&mut definition)?.is_none() {
        return Ok(());
    }
    define_ours(cx, &at.name, before, &definition, validation)?;
    remark_if_running(cx, &at.name)
}

/// Says of an edited domain that runs when it has what was edited.
///
/// # Errors
/// When virsh cannot be run.
pub fn remark_if_running(cx: &Cx, name: &str) -> Result<()> {
    if matches!(state(cx, name)?, Lookup::Found(state) if state == "running") {
        cx.remark(&format!("`{name}` runs, and has this from its next start on"));
    }
    Ok(())
}

/// Gives a definition to libvirt, new or instead of the one of the same name.
///
/// # Errors
/// When libvirt refuses it.
pub fn define(cx: &Cx, definition: &Element, validation: Validation) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    file.write_all(text(definition)?.as_bytes())
        .context("cannot write the definition to a temporary file")?;
    file.flush()?;
    let validated = virsh().args(["define", "--validate"]).arg(file.path());
    let plain = virsh().arg("define").arg(file.path());
    match validation {
        Validation::Required => cx.run(&validated).context("libvirt refused the definition"),
        Validation::Skipped => cx.run(&plain).context("libvirt refused the definition"),
        Validation::Waived => {
            let output = cx.probe(&validated)?;
            if output.status.success() {
                return Ok(());
            }
            cx.note(&format!(
                "not valid by libvirt's schema, and defined all the same: {}",
                output.stderr.trim()
            ));
            cx.run(&plain).context("libvirt refused the definition, validation aside")
        }
    }
}

/// Definitions are shown as `virsh dumpxml` shows them: without what libvirt keeps secret.
pub(crate) const SHOWN: u32 = 0o644;

/// Needed for `reason`, with the difference between two definitions of the domain `name`.
fn difference(name: &str, reason: String, before: &str, after: &str) -> Check {
    let diff = match Check::text(&format!("domain {name}"), SHOWN, Some(before), after) {
        Check::Satisfied => None,
        Check::Needed { diff, .. } => diff,
    };
    Check::Needed { reason, diff }
}

/// Reads a definition. Names with prefixes of others' namespaces are no names of libvirt's.
///
/// # Errors
/// When it is no XML.
pub fn parse(text: &str) -> Result<Element> {
    Element::parse(names::plain(text).as_bytes()).context("virsh printed a definition that is no XML")
}

/// Writes a definition, always in the same way, so that two can be compared.
///
/// # Errors
/// When it holds what XML cannot.
pub fn text(definition: &Element) -> Result<String> {
    let mut bytes = Vec::new();
    let config = EmitterConfig::new().perform_indent(true).write_document_declaration(false);
    definition.write_with_config(&mut bytes, config).context("cannot write the definition as XML")?;
    let text = String::from_utf8(bytes).context("the definition is no UTF-8")?;
    Ok(names::restored(&text) + "\n")
}

/// An element with these attributes.
pub fn element(name: &str, attributes: &[(&str, &str)]) -> Element {
    let mut element = Element::new(name);
    for (key, value) in attributes {
        element.attributes.insert((*key).to_owned(), (*value).to_owned());
    }
    element
}

/// An element with these children.
pub fn parent(name: &str, attributes: &[(&str, &str)], children: Vec<Element>) -> Element {
    let mut element = element(name, attributes);
    element.children = children.into_iter().map(XMLNode::Element).collect();
    element
}

/// The child called `name`, made if it is not there.
pub fn child<'a>(of: &'a mut Element, name: &str) -> &'a mut Element {
    let known = of.children.iter().position(|node| node.as_element().is_some_and(|child| child.name == name));
    let index = known.unwrap_or_else(|| {
        of.children.push(XMLNode::Element(Element::new(name)));
        of.children.len() - 1
    });
    of.children[index].as_mut_element().expect("it was found as an element, or just made as one")
}

/// The children of `of` that are called `name`.
pub fn children<'a>(of: &'a mut Element, name: &'a str) -> impl Iterator<Item = &'a mut Element> {
    of.children.iter_mut().filter_map(XMLNode::as_mut_element).filter(move |child| child.name == name)
}

/// The attribute `key` of the child `name`.
pub fn attribute<'a>(of: &'a Element, name: &str, key: &str) -> Option<&'a str> {
    of.get_child(name)?.attributes.get(key).map(String::as_str)
}

/// Whether the attribute `dir` of the child `name` is this path, with or without a slash at its end.
pub fn is_dir(of: &Element, name: &str, path: &str) -> bool {
    attribute(of, name, "dir").is_some_and(|dir| plain_path(dir) == plain_path(path))
}

/// Adds a device, after the last one of its kind.
pub fn add_device(definition: &mut Element, device: Element) {
    let devices = child(definition, "devices");
    let last =
        devices.children.iter().rposition(|node| node.as_element().is_some_and(|it| it.name == device.name));
    let place = last.map_or(devices.children.len(), |index| index + 1);
    devices.children.insert(place, XMLNode::Element(device));
}

/// The devices called `name`.
pub fn devices<'a>(definition: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    let devices =
        definition.get_child("devices").map(|devices| devices.children.as_slice()).unwrap_or_default();
    devices.iter().filter_map(XMLNode::as_element).filter(move |device| device.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libvirt_does_not_tell_everybody_is_not_taken_for_missing() -> Result<()> {
        assert_eq!(refusal("error: failed to get domain 'ci'\n")?, "the domain `ci` is not defined");
        let socket = "error: failed to connect to the hypervisor\nerror: Failed to connect socket to \
             '/var/run/libvirt/libvirt-sock': ";
        assert!(refusal(&format!("{socket}No such file or directory"))?.contains("does not answer"));
        let polkit = "error: authentication unavailable: no polkit agent available";
        for denied in [format!("{socket}Permission denied"), polkit.to_owned()] {
            let error = refusal(&denied).expect_err("nothing is known");
            let io = error.downcast_ref::<std::io::Error>().context("it is one of the system")?;
            assert_eq!(io.kind(), std::io::ErrorKind::PermissionDenied);
        }
        Ok(())
    }

    #[test]
    fn what_a_definition_in_use_has_beyond_what_was_written_is_no_difference() {
        let written = "<domain><memory unit='KiB'>1048576</memory><vcpu placement='static'>1</vcpu><devices>\
            <filesystem type='mount' accessmode='passthrough'><source dir='/r'/><target dir='/'/></filesystem>\
            <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>\
            <interface type='network'><mac address='52:54:00:00:01:09'/><source network='default'/></interface>\
            <console type='pty'><target type='lxc' port='0'/></console></devices></domain>";
        let live = written.replace("<domain>", "<domain type='lxc' id='17'>").replace(
            "<source bridge='br0'/>",
            "<source bridge='br0'/><target dev='vnet3'/><guest dev='eth0'/>",
        );
        let live = live.replace("network='default'", "network='default' bridge='virbr0'");
        let of = |text: &str| traits(&parse(text).expect("XML"));
        assert_eq!(of(&live), of(written));
        assert!(of(written).contains("filesystem /r at /"), "{:?}", of(written));
        for (one, other) in [("1048576", "65536"), (">1<", ">2<"), ("00:01", "00:02"), ("'/r'", "'/q'")] {
            assert_ne!(of(&live.replace(one, other)), of(written), "{one}");
        }
    }

    #[test]
    fn namespaces_of_others_keep_every_prefix() {
        let source = "<domain type=\"lxc\" xmlns:lxc=\"http://libvirt.org/schemas/domain/lxc/1.0\"><metadata>\
             <my:app xmlns:my=\"http://my.example/\" my:level=\"1\" level=\"2\" xml:lang=\"de\"><devices my:a=\"b\"/></my:app>\
             <other xmlns=\"http://o.example/\"/></metadata><devices><emulator>/usr/lib/libvirt/libvirt_lxc</emulator></devices>\
             <lxc:namespace><lxc:sharenet type=\"netns\" value=\"red\"/></lxc:namespace></domain>";
        let mut definition = parse(source).expect("XML");
        add_device(&mut definition, element("filesystem", &[("type", "mount")]));
        let text = text(&definition).expect("text");
        for part in [
            "xmlns:lxc=\"http://libvirt.org/schemas/domain/lxc/1.0\"",
            "<my:app xmlns:my=\"http://my.example/\" my:level=\"1\" level=\"2\" xml:lang=\"de\">",
            "<devices my:a=\"b\" />",
            "<other xmlns=\"http://o.example/\" />",
            "<lxc:sharenet type=\"netns\" value=\"red\" />",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(parse(&text).expect("XML"), definition, "reads what it writes");
    }

    #[test]
    fn what_an_edit_is_not_about_stays_as_it_is() {
        let source = "<domain type='lxc' id='3'><name>a</name><!-- by hand --><memory unit='KiB'>1</memory><devices>\
             <interface type='bridge'><mac address='x'/></interface><console type='pty'/></devices></domain>";
        let mut definition = parse(source).expect("XML");
        add_device(&mut definition, element("filesystem", &[("type", "mount")]));
        add_device(&mut definition, element("interface", &[("type", "user")]));
        let text = text(&definition).expect("text");
        assert_eq!(parse(&text).expect("XML"), definition, "reads what it writes");
        let order =
            ["by hand", "bridge", "user", "console", "filesystem"].map(|word| text.find(word).expect(word));
        assert!(order.is_sorted(), "{text}");
        assert!(text.contains(r#"<domain type="lxc" id="3">"#), "{text}");
    }
}
