//! From the outline of a plan to the farm, its containers, and the steps at their places.
//!
//! It does not know what steps do; what they say about the farm or a container (`FarmStep::shape`) it passes on.

use super::diagnostic::{Diagnostic, Place, leave_steps};
use super::guest::{GuestSteps, Typed};
use super::matrix::{Instance, assist, multiply};
use super::nodes::Nodes;
use super::outline::{ContainerText, Outline, StepText};
use super::scan::Value;
use super::source::Span;
use super::typed::typed;
use crate::base::Base;
use crate::container::Container;
use crate::farm::{Farm, Members, PlanDirectory, System};
use crate::registry::Parse;
use crate::words::{self, Mistake};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A container, and where it is written.
pub(super) struct Written {
    pub(super) container: Arc<Container>,
    /// Its name.
    pub(super) name: Span,
    /// Its address, if it has one.
    pub(super) address: Option<Span>,
    /// The port that leads to its ssh, if it has one.
    pub(super) port: Option<Span>,
}

/// What a plan expands to.
pub(super) struct Expanded {
    pub(super) farm: Arc<Farm>,
    pub(super) containers: Vec<Written>,
    pub(super) nodes: Nodes,
}

/// Expands a plan; what is wrong goes to `wrong`.
pub(super) fn expand(outline: &Outline, directory: PathBuf, wrong: &mut Vec<Diagnostic>) -> Expanded {
    let host = host_steps(&outline.host, wrong);
    let origin = Origin::default().with(outline.mirror.as_ref(), outline.keyring.as_ref(), wrong);
    let each = GuestSteps::new(&outline.each, wrong);
    let before = wrong.len();
    let entries: Vec<_> = outline.containers.iter().map(|text| (text, multiply(text, wrong))).collect();
    leave_steps(&mut wrong[before..]);
    let instances = entries.iter().flat_map(|(_, instances)| instances);
    let assist = assist(outline.assist.as_ref(), wrong);
    let stated = Farm { assist, plan_directory: PlanDirectory(directory), ..Farm::default() };
    let farm = Arc::new(farm(&host, stated, instances, wrong));
    let mut expansion = Expansion {
        farm,
        origin,
        bases: BTreeMap::new(),
        nodes: Nodes::default(),
        told: HashSet::new(),
        wrong,
    };
    for step in &host {
        expansion.nodes.step("host", step, &expansion.farm);
    }
    let mut containers = Vec::new();
    for (text, instances) in &entries {
        let steps = each.changed_by(text, &outline.each, expansion.wrong);
        containers.extend(expansion.entry(text, instances, &steps));
    }
    expansion.twins();
    Expanded { farm: expansion.farm, containers, nodes: expansion.nodes }
}

fn host_steps(texts: &[StepText], wrong: &mut Vec<Diagnostic>) -> Vec<Typed<Farm>> {
    let mut steps = Vec::new();
    for text in texts {
        if let Parse::Host(parse) = text.kind.parse
            && let Some(step) = typed(text, parse, wrong)
        {
            steps.push(Typed::new(text, step));
        }
    }
    steps
}

/// The address of a mirror, if it is one.
fn mirror(value: &Value, wrong: &mut Vec<Diagnostic>) -> Option<String> {
    let text = value.string(wrong)?;
    if let Err(mistake) = words::mirror(&text) {
        let mut diagnostics = [Diagnostic::new(mistake.message, &value.span).help(mistake.help)];
        leave_steps(&mut diagnostics);
        wrong.extend(diagnostics);
    }
    Some(text)
}

/// Where packages come from, so far as a plan says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origin {
    mirrors: Vec<String>,
    keyring: Option<PathBuf>,
}

impl Origin {
    /// The same, but for what is said here.
    fn with(mut self, mirror: Option<&Value>, keyring: Option<&Value>, wrong: &mut Vec<Diagnostic>) -> Self {
        if let Some(mirror) = mirror {
            self.mirrors = strings(mirror, wrong);
        }
        if let Some(path) = keyring {
            self.keyring = file(path, wrong);
        }
        self
    }
}

/// The path of a keyring, if it is one.
fn file(value: &Value, wrong: &mut Vec<Diagnostic>) -> Option<PathBuf> {
    let text = value.string(wrong)?;
    // It becomes a part of a line of apt's.
    let is_plain = |text: &str| !text.contains([' ', ',', '[', ']', '"', '#', '%']);
    let ends_well = |text: &str| text.ends_with(".gpg") || text.ends_with(".asc") || text.ends_with(".pgp");
    let (message, help) = match words::path(&text, "the keyring") {
        Err(mistake) => (mistake.message, mistake.help),
        Ok(()) if is_plain(&text) && ends_well(&text) => return Some(text.into()),
        Ok(()) => (
            format!("the keyring `{text}` cannot be given to apt"),
            "write the path of a file `*.gpg` or, armoured, `*.asc`, without spaces, commas and brackets"
                .to_owned(),
        ),
    };
    let mut diagnostics = [Diagnostic::new(message, &value.span).help(help)];
    leave_steps(&mut diagnostics);
    wrong.extend(diagnostics);
    None
}

/// The farm, as the plan itself has stated it, as the host's steps shape it, for these containers.
fn farm<'a>(
    host: &[Typed<Farm>],
    stated: Farm,
    instances: impl Iterator<Item = &'a Instance>,
    wrong: &mut Vec<Diagnostic>,
) -> Farm {
    let (mut architectures, mut systems, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for instance in instances {
        architectures.push(instance.arch);
        systems.push(System { name: instance.name.clone(), arch: instance.arch, release: instance.release });
        names.push(instance.name.clone());
    }
    architectures.sort_unstable();
    architectures.dedup();
    let mut farm = Farm { members: Members { architectures, systems, names }, ..stated };
    for step in host {
        if let Err(error) = step.step.shape(&mut farm) {
            wrong.push(contradiction(&error, step));
        }
    }
    farm
}

/// What a step has against the place where it would act; shown at the text that the message names, if it names any.
fn contradiction<P>(error: &anyhow::Error, step: &Typed<P>) -> Diagnostic {
    let message = format!("{error:#}");
    let quoted = message.split('`').skip(1).step_by(2);
    let words = message.split_whitespace().map(|word| word.trim_matches(['`', '"', ',', ':']));
    let named = quoted.chain(words).filter_map(|word| step.find(word)).next();
    let help = error.downcast_ref::<Mistake>().map(|mistake| mistake.help.clone());
    let place = named.unwrap_or_else(|| step.span.clone());
    let mut diagnostics = [Diagnostic::new(&message, &place).maybe_help(help)];
    leave_steps(&mut diagnostics);
    let [diagnostic] = diagnostics;
    diagnostic
}

/// What the expansion of containers shares.
struct Expansion<'a> {
    farm: Arc<Farm>,
    /// Where the plan says that packages come from.
    origin: Origin,
    /// The base systems by id, each with the container that asked for it first, and whether it has nodes.
    bases: BTreeMap<String, SharedBase>,
    nodes: Nodes,
    /// Where steps of containers have been found to be wrong.
    told: HashSet<Vec<Place>>,
    wrong: &'a mut Vec<Diagnostic>,
}

/// A base system that containers share.
struct SharedBase {
    base: Arc<Base>,
    /// Where it was asked for first.
    asked: Span,
    /// Where its bootstrap is asked for, if that is among the nodes.
    placed: Option<Span>,
}

/// The base system of that id, which is the same for all who ask for it.
fn share<'a>(
    bases: &'a mut BTreeMap<String, SharedBase>,
    base: &Arc<Base>,
    asked: &Span,
) -> &'a mut SharedBase {
    let fresh = || SharedBase { base: base.clone(), asked: asked.clone(), placed: None };
    bases.entry(base.id()).or_insert_with(fresh)
}

/// One text, or a list of them.
fn strings(value: &Value, wrong: &mut Vec<Diagnostic>) -> Vec<String> {
    value.one_or_many().iter().filter_map(|item| mirror(item, wrong)).collect()
}

impl Expansion<'_> {
    /// The containers of one entry, and their nodes.
    fn entry(&mut self, text: &ContainerText, instances: &[Instance], steps: &GuestSteps) -> Vec<Written> {
        let origin = self.origin.clone().with(text.mirror.as_ref(), text.keyring.as_ref(), self.wrong);
        let name = text.name.as_ref().map_or(&text.span, |name| &name.span);
        let asked = text.mirror.as_ref().or(text.keyring.as_ref()).map_or(name, |said| &said.span);
        let mut containers = Vec::new();
        for instance in instances {
            let base = self.base(instance, origin.clone(), asked);
            if let Some(span) = steps.bootstrap.as_ref().filter(|_| base.release.is_bootstrapped()) {
                self.bootstrap(&base, span);
            }
            let written = self.container(instance, base, steps, name);
            for step in &steps.steps {
                self.nodes.step(&instance.name, step, &written.container);
            }
            containers.push(written);
        }
        containers
    }

    fn base(&mut self, instance: &Instance, origin: Origin, asked: &Span) -> Arc<Base> {
        let Instance { release, arch, .. } = *instance;
        let Origin { mirrors, keyring } = origin;
        let base = Arc::new(Base { release, arch, mirrors, keyring, farm: self.farm.clone() });
        let shared = share(&mut self.bases, &base, asked);
        if (&shared.base.mirrors, &shared.base.keyring) != (&base.mirrors, &base.keyring) {
            let message = format!("the base system `{}` cannot come from two mirrors", base.id());
            let help = "containers of one release and architecture share it: give them the same `mirror` and `keyring`";
            let diagnostic = Diagnostic::new(message, asked)
                .also(&shared.asked, "from another mirror for this")
                .help(help);
            self.wrong.push(diagnostic);
        }
        shared.base.clone()
    }

    /// Places the bootstrap of a base system, once.
    fn bootstrap(&mut self, base: &Arc<Base>, span: &Span) {
        if let Some(shared) = self.bases.get_mut(&base.id())
            && shared.placed.is_none()
        {
            shared.placed = Some(span.clone());
            self.nodes.bootstrap(base, span);
        }
    }

    /// Places what makes natives for the emulated systems, once for all of a release; and that of which they are made, where
    /// no container asks for it.
    fn twins(&mut self) {
        let assisted = self.bases.values().filter(|shared| shared.base.farm.assist);
        let twin = |shared: &SharedBase| {
            let twin = shared.base.twin()?;
            Some((twin.id(), (twin, shared.placed.clone()?)))
        };
        let twins: BTreeMap<_, _> = assisted.filter_map(twin).collect();
        for (twin, span) in twins.into_values() {
            let twin = share(&mut self.bases, &Arc::new(twin), &span).base.clone();
            self.bootstrap(&twin, &span);
            self.nodes.twin(&twin, &span);
        }
    }

    /// The container as its steps shape it.
    fn container(
        &mut self,
        instance: &Instance,
        base: Arc<Base>,
        steps: &GuestSteps,
        name: &Span,
    ) -> Written {
        let farm = self.farm.clone();
        let mut container = Container {
            name: instance.name.clone(),
            base,
            farm,
            address: None,
            ssh_port: None,
            memory: None,
            joins_controllers: true,
        };
        let (mut address, mut port) = (None, None);
        for step in &steps.steps {
            if let Err(error) = step.step.shape(&mut container) {
                // What is wrong in `each` is wrong for every container: it is told for the first of them.
                let diagnostic = contradiction(&error, step);
                if self.told.insert(diagnostic.places.clone()) {
                    self.wrong.push(diagnostic);
                }
            }
            let place = |set: String| step.find(&set).unwrap_or_else(|| step.span.clone());
            address = address.or_else(|| Some(place(container.address?.to_string())));
            port = port.or_else(|| Some(place(container.ssh_port?.to_string())));
        }
        Written { container: Arc::new(container), name: name.clone(), address, port }
    }
}
