//! The plan language: from RON text to nodes, with every mistake shown at its place.
//!
//! # The plan language
//! A plan says what the farm is, not how it is made: the host, the containers, and what each container gets. It is
//! written in [RON](https://github.com/ron-rs/ron): names, `(...)` with fields, `[...]` with items, text in quotes,
//! comments as in Rust.
//!
//! ```ron
//! Plan(
//!     name: "pair",
//!     host: [
//!         HostPackages,
//!         Storage(Directory("/srv/libvirt")),
//!         BuildHome(path: "/home/abuild", user: "abuild", uid: 399, gid: 399),
//!         BuildKey,
//!         Bridge(name: "lxcbr0", network: "10.0.3.0/24"),
//!         BridgeDns,
//!         Binfmt,
//!         LibvirtLxc,
//!     ],
//!     containers: [
//!         (name: "debian12-{arch}", distribution: Debian, release: "bookworm", arch: [amd64, arm64]),
//!     ],
//!     each: [
//!         Bootstrap, LxcCreate, ReserveAddress(Auto), DefineDomain(memory: "1 GiB"), BindHome, AttachInterface,
//!         BuildAccount, SshdAcceptEnv, HostsFile, StartDomain, AwaitSsh,
//!     ],
//! )
//! ```
//!
//! | field | what it holds |
//! | --- | --- |
//! | `name` | what the plan is called |
//! | `host` | steps that act on the host |
//! | `containers` | the containers |
//! | `each` | steps that act on each container |
//! | `mirror` | where packages come from; if left out, where the host's own apt sources say. A list, `mirror: ["…", "…"]`, is tried in order, file by file |
//! | `keyring` | the file of the keys that the mirror signs with, `"/usr/share/keyrings/company.gpg"`; if left out, what the host's apt believes of its own mirror, and the distribution's keys |
//! | `assist` | `Off` keeps emulated systems from using native programs; `On` if left out |
//! | `env` | names of variables that programs get as they are where Drover is started: see below |
//! | `include` | other plans to take in first |
//!
//! **The order of steps means nothing.** What must come first follows from what steps need and provide: `BindHome` needs
//! the container's domain, which `DefineDomain` provides. Two steps that do not need each other run at the same time. A
//! need that nothing provides is an error, and so are steps that wait for each other.
//!
//! Where an order matters all the same, any step can say `after`: the steps of those names, of the same container or of
//! the host, must have ended well first. A node's id, as `drover plan` shows it, names one of them.
//! ```ron
//! Plan(
//!     name: "order",
//!     host: [
//!         Storage(Directory("/srv/libvirt")),
//!         Command(name: "quota", run: "quotaon /srv", unless: "quotaon -p /srv", after: ["Storage"]),
//!         HostFile(path: "/etc/motd", content: "a farm\n", after: ["host/command-quota"]),
//!     ],
//! )
//! ```
//!
//! `drover steps` lists the steps, `drover steps NAME` shows the manual of one.
//!
//! ## Containers: lists multiply
//! `distribution`, `release` and `arch` take one value or a list; a container is made for every combination. The name
//! tells them apart, with `{arch}`, `{release}`, `{version}` and `{distribution}`: this makes four, `ci-11-amd64` to
//! `ci-12-arm64`.
//! ```ron
//! Plan(
//!     name: "four",
//!     containers: [
//!         (
//!             name: "ci-{version}-{arch}",
//!             distribution: Debian,
//!             release: ["bullseye", "bookworm"],
//!             arch: [amd64, arm64],
//!         ),
//!     ],
//! )
//! ```
//! A name must be one that a host can have: letters, digits and hyphens. Containers of the same release and architecture
//! share their bootstrap, and so must share its `mirror` and `keyring`, should they name any.
//!
//! ## Containers that differ
//! `steps` gives a container steps of its own: in place of the step of that name in `each`, or beside those. `without`
//! leaves steps of `each` out.
//! ```ron
//! Plan(
//!     name: "different",
//!     host: [HostPackages, Bridge(name: "lxcbr0", network: "10.0.3.0/24"), BridgeDns],
//!     containers: [
//!         (name: "plain", distribution: Debian, release: "bookworm", arch: amd64),
//!         (
//!             name: "known",
//!             distribution: Debian,
//!             release: "bookworm",
//!             arch: amd64,
//!             steps: [ReserveAddress(Fixed("10.0.3.77"))],
//!             without: ["HostsFile"],
//!         ),
//!     ],
//!     each: [ReserveAddress(Auto), HostsFile],
//! )
//! ```
//!
//! ## Variables of the environment
//! What a farm becomes does not depend on the environment in which Drover is started: programs get one that Drover makes
//! (`drover steps environment`). What they are to have of the caller's all the same, a plan names. The names only: the values
//! are those of the day, and one that is not set is left out.
//! ```ron
//! Plan(
//!     name: "cached",
//!     env: ["CCACHE_DIR", "SOURCE_DATE_EPOCH"],
//!     host: [Command(name: "cache", run: "mkdir -p \"$CCACHE_DIR\"", unless: "test -d \"$CCACHE_DIR\"")],
//! )
//! ```
//!
//! ## Plans made of plans
//! `include` takes in other plans, named from the directory of the plan that includes them. What is on top wins: a step
//! replaces one of the same name, `name`, `mirror` and `keyring` are replaced, containers and names in `env`
//! are added. A plan that is included
//! twice is taken in once; one that includes itself is an error.
//! ```ron
//! Plan(
//!     name: "large",
//!     include: ["debian-pair.ron"],
//!     each: [DefineDomain(memory: "4 GiB")],
//! )
//! ```
//!
//! ## Changing a plan from the command line
//! `--set PATH=VALUE` changes one thing, after all includes; the last of several wins.
//!
//! | path | what it changes |
//! | --- | --- |
//! | `assist`, `env`, `keyring`, `mirror`, `name` | that of the plan |
//! | `host.STEP.FIELD`, `each.STEP.FIELD` | a field of a step |
//! | `host.STEP`, `each.STEP` | all that is in the step's parentheses |
//! | `containers.WHICH.FIELD` | a field of an entry of `containers` |
//! | `containers.WHICH.STEP`, `containers.WHICH.STEP.FIELD` | a step, for the containers of that entry only |
//!
//! `WHICH` is the name as the plan writes it, or its number, from 0, or `*` for all. The value is RON; text may go without
//! its quotes.
//! ```text
//! --set mirror=http://deb.example.org/debian
//! --set each.DefineDomain.memory="2 GiB"
//! --set 'containers.0.arch=[amd64, s390x]'
//! --set 'containers.debian12-{arch}.GuestPackages=["nut-build"]'
//! ```
//!
//! ## Mistakes
//! All mistakes are told at once, each where it is, an argument of `--set` like a file:
//! ```text
//! error: a container has no field `relase`
//!  --> farm.ron:5:43
//!   |
//! 5 |         (name: "a", distribution: Debian, relase: "bookworm", arch: amd64),
//!   |                                           ^^^^^^
//!   = help: did you mean `release`?
//! ```
//! Unknown fields and steps, values of the wrong type, releases that were never made for an architecture, names that are no
//! host names or are used twice, addresses that are used twice or outside of the network, needs that nothing
//! provides, circles: nothing is touched before all of it is right.
//!
//! # How it works
//! `lexer` and `scan` outline the text, `read` takes in what is included, `outline` knows the fields, `setting` applies
//! `--set`; `typed` lets each step's own type read the step, with `ron`; `matrix` multiplies, `expand` places the steps,
//! `unique` and `graph` look at the whole. Each appends what is wrong to one list and goes on with the rest. This
//! room does not know what steps do, nor when they run.

mod diagnostic;
mod expand;
mod fields;
mod graph;
mod guest;
mod lexer;
mod matrix;
mod nodes;
mod ordered;
mod outline;
mod provider;
mod read;
mod ron_error;
mod scan;
mod setting;
mod source;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
mod typed;
mod unique;

pub use diagnostic::{Diagnostic, Place};
pub use suggest::nearest;

use crate::container::Container;
use crate::farm::Farm;
use drover_engine::{Graph, not_to_be_passed};
use scan::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the command line changes in a plan.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Arguments of `--set`, each `PATH=VALUE`.
    pub set: Vec<String>,
}

/// A plan, expanded.
#[derive(Debug)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// All its steps at their places.
    pub graph: Graph,
    /// The farm that it describes.
    pub farm: Arc<Farm>,
    /// The names of the caller's variables that programs get, each once.
    pub env: Vec<String>,
    /// Its containers, in the order in which they are written.
    pub containers: Vec<Arc<Container>>,
}

/// The text of a plan that is in no file of its own, such as one from a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it is called in messages.
    pub name: String,
    /// Where relative paths in it count from.
    pub directory: PathBuf,
    /// The text, in UTF-8.
    pub text: Vec<u8>,
}

/// Reads the plan at `path` with all that it includes, and expands it into nodes.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn load(path: &Path, settings: &Settings) -> Result<Loaded, Vec<Diagnostic>> {
    let mut wrong = Vec::new();
    let outline = read::read(path, &mut wrong);
    // Whatever is started does not start where we were.
    let absolute = std::path::absolute(path);
    let directory = absolute.ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    expanded(outline, directory, settings, wrong)
}

/// As [`load`], for a plan that has been read already.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn load_text(text: &Text, settings: &Settings) -> Result<Loaded, Vec<Diagnostic>> {
    let mut wrong = Vec::new();
    let outline = read::read_text(text, &mut wrong);
    expanded(outline, text.directory.clone(), settings, wrong)
}

/// What the outline of a plan, read without and with mistakes, expands to.
fn expanded(
    mut outline: outline::Outline,
    directory: PathBuf,
    settings: &Settings,
    mut wrong: Vec<Diagnostic>,
) -> Result<Loaded, Vec<Diagnostic>> {
    for argument in &settings.set {
        setting::set(&mut outline, argument, &mut wrong);
    }
    let mut expanded = expand::expand(&outline, directory, &mut wrong);
    if diagnostic::has_all_steps(&wrong) {
        ordered::order(&mut expanded.nodes, &mut wrong);
    }
    let graph = if diagnostic::has_all_steps(&wrong) { graph::graph(&expanded, &mut wrong) } else { None };
    unique::names(&expanded.containers, &mut wrong);
    unique::addresses(&expanded.containers, &mut wrong);
    unique::ports(&expanded.containers, &mut wrong);
    let env = env(&outline.env, &mut wrong);
    let name = outline.name.and_then(|name| name.string(&mut wrong)).unwrap_or_default();
    let Some(graph) = graph.filter(|_| wrong.is_empty()) else { return Err(diagnostic::in_order(wrong)) };
    Ok(Loaded {
        name,
        graph,
        farm: expanded.farm,
        env,
        containers: expanded.containers.into_iter().map(|written| written.container).collect(),
    })
}

/// The names of variables that are passed on.
fn env(values: &[Value], wrong: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut names = Vec::new();
    for value in values {
        let Some(name) = value.string(wrong) else { continue };
        if let Some(why) = not_to_be_passed(&name) {
            let mut diagnostics = [Diagnostic::new(why, &value.span)];
            diagnostic::leave_steps(&mut diagnostics);
            wrong.extend(diagnostics);
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
