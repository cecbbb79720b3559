//! # EditDomains
//! Makes one change in the definitions of all domains of libvirt-LXC whose names match, ours and others'.
//!
//! The document: "Mass-edit/review libvirt configurations with `virsh list --all | awk '{print $2}' | grep jenkins | while
//! read X ; do virsh edit --skip-validate $X ; done`".
//!
//! ```ron
//! EditDomains(name: "cpus", matching: "jenkins-*", change: Cpus(2))
//! EditDomains(name: "cache", matching: "old-*", change: Bind(source: "/srv/ccache", target: "/home/abuild/.ccache"))
//! EditDomains(name: "no-cache", matching: "old-*", change: Unbind(target: "/home/abuild/.ccache"))
//! EditDomains(name: "memory", matching: "old-*", change: Memory("2 GiB"), validate: false)
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `name` | what it is called: the node is `host/edit-domains-NAME`; a plan can have many |
//! | `matching` | which domains, with `*` and `?` |
//! | `change` | `Memory(SIZE)`, `Cpus(NUMBER)`, `Bind(source, target)` or `Unbind(target)` |
//! | `validate` | whether the definition must conform to libvirt's schema; `true` if not given |
//!
//! The dry run shows the difference of each definition. What the change is not about stays as it is. A domain that runs
//! sees it when it is started the next time. It comes after all domains of the plan are defined.
//!
//! The memory of the plan's own containers is for `DefineDomain`: two steps that disagree would undo each other for ever,
//! so that is an error.
//!
//! **To take it back** `drover destroy`, or say the opposite.

use crate::domain::{self, Lookup, Validation};
use crate::farm::Farm;
use crate::resource::{DOMAIN, DOMAIN_EDIT, LIBVIRT, MASS_EDIT};
use crate::script::ensure_name;
use crate::size::Size;
use crate::step::FarmStep;
use crate::words::{self, plain_path};
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cx, Inputs, Need, Resource, Undo};
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use xmltree::{Element, XMLNode};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditDomains {
    /// What it is called.
    pub name: String,
    /// Which domains.
    pub matching: String,
    /// What is changed.
    pub change: Change,
    /// Whether the definition must conform to libvirt's schema.
    #[serde(default = "validated")]
    pub validate: bool,
}

/// A change of a definition.
#[derive(Debug, Serialize, Deserialize)]
pub enum Change {
    /// How much memory its programs may have together.
    Memory(Size),
    /// How many processors it has.
    Cpus(u32),
    /// A directory of the host that it sees.
    Bind {
        /// On the host.
        source: String,
        /// In the container.
        target: String,
    },
    /// A directory of the host that it does not see any more.
    Unbind {
        /// In the container.
        target: String,
    },
}

fn validated() -> bool {
    true
}

/// Sets the text of the child `name`; says whether that was needed.
fn set(definition: &mut Element, name: &str, unit: Option<&str>, text: &str) -> bool {
    let child = domain::child(definition, name);
    let is = child.get_text().is_some_and(|found| found.trim() == text);
    let same_unit = unit.is_none_or(|unit| child.attributes.get("unit").is_none_or(|found| found == unit));
    if is && same_unit {
        return false;
    }
    if let Some(unit) = unit {
        child.attributes.insert("unit".to_owned(), unit.to_owned());
    }
    child.children = vec![XMLNode::Text(text.to_owned())];
    true
}

fn is_at(device: &Element, target: &str) -> bool {
    device.name == "filesystem" && domain::is_dir(device, "target", target)
}

impl Change {
    /// Makes the change; says what was otherwise, if anything was.
    fn edit(&self, definition: &mut Element) -> Option<String> {
        match self {
            Self::Memory(size) => {
                let kib = size.kib.to_string();
                let changed =
                    ["memory", "currentMemory"].map(|name| set(definition, name, Some("KiB"), &kib));
                changed.contains(&true).then(|| format!("has not {size} of memory"))
            }
            Self::Cpus(number) => set(definition, "vcpu", None, &number.to_string())
                .then(|| format!("has not {number} processors")),
            Self::Bind { source, target } => {
                let bound = domain::devices(definition, "filesystem").filter(|device| is_at(device, target));
                let sources: Vec<_> =
                    bound.map(|it| domain::attribute(it, "source", "dir").map(plain_path)).collect();
                if sources == [Some(plain_path(source))] {
                    return None;
                }
                remove(definition, target);
                let ends = [("source", source), ("target", target)]
                    .map(|(name, dir)| domain::element(name, &[("dir", dir)]));
                let attributes = [("type", "mount"), ("accessmode", "passthrough")];
                domain::add_device(definition, domain::parent("filesystem", &attributes, ends.into()));
                Some(format!("does not see `{source}` at `{target}`"))
            }
            Self::Unbind { target } => {
                remove(definition, target).then(|| format!("sees something at `{target}`"))
            }
        }
    }
}

fn remove(definition: &mut Element, target: &str) -> bool {
    let devices = domain::child(definition, "devices");
    let before = devices.children.len();
    devices.children.retain(|node| node.as_element().is_none_or(|device| !is_at(device, target)));
    devices.children.len() < before
}

impl EditDomains {
    fn glob(&self) -> Result<GlobMatcher> {
        let glob = Glob::new(&self.matching).with_context(|| format!("`{}` is no pattern", self.matching))?;
        Ok(glob.compile_matcher())
    }

    /// The names of the domains that match, or why that cannot be asked.
    fn names(&self, cx: &Cx) -> Result<Lookup<Vec<String>>> {
        let glob = self.glob()?;
        Ok(match domain::names(cx)? {
            Lookup::Found(names) => {
                Lookup::Found(names.into_iter().filter(|name| glob.is_match(name)).collect())
            }
            missing @ Lookup::Missing(_) => missing,
        })
    }
}

impl FarmStep<Farm> for EditDomains {
    fn title(&self, _at: &Farm) -> String {
        format!("edit the domains {} ({})", self.matching, self.name)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        ensure_name(&self.name)?;
        let glob = self.glob()?;
        let ours = at.members.names.iter().find(|name| glob.is_match(name));
        ensure!(
            !matches!(self.change, Change::Memory(_)) || ours.is_none(),
            "`{}` matches `{}` of this plan, whose memory is for `DefineDomain`: write `DefineDomain(memory: \"...\")`",
            self.matching,
            ours.map_or("", |name| name)
        );
        match &self.change {
            Change::Bind { source, target } => {
                words::path(source, "the directory")?;
                words::path(target, "the place")?;
            }
            Change::Unbind { target } => words::path(target, "the place")?,
            Change::Memory(_) | Change::Cpus(_) => {}
        }
        ensure!(!matches!(self.change, Change::Cpus(0)), "a domain has one processor at the least");
        Ok(())
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![Need::IfAny(Resource::new(LIBVIRT, domain::URI)), Need::After(DOMAIN), Need::After(DOMAIN_EDIT)]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(MASS_EDIT, &self.name)]
    }

    fn check(&self, cx: &Cx, _at: &Farm) -> Result<Check> {
        let names = match self.names(cx)? {
            Lookup::Found(names) => names,
            Lookup::Missing(reason) => return Ok(Check::needed(reason)),
        };
        let (mut reasons, mut diffs) = (Vec::new(), String::new());
        for name in &names {
            let before = domain::find(cx, name)?.required()?;
            let mut after = before.clone();
            if let Some(reason) = self.change.edit(&mut after) {
                let (before, after) = (domain::text(&before)?, domain::text(&after)?);
                if let Check::Needed { diff: Some(diff), .. } =
                    Check::text(&format!("domain {name}"), domain::SHOWN, Some(&before), &after)
                {
                    diffs += &diff;
                }
                reasons.push(format!("the domain `{name}` {reason}"));
            }
        }
        Ok(match reasons.as_slice() {
            [] => Check::Satisfied,
            [one] => Check::Needed { reason: one.clone(), diff: Some(diffs) },
            [one, others @ ..] => {
                Check::Needed { reason: format!("{one}; and {} more", others.len()), diff: Some(diffs) }
            }
        })
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let validation = if self.validate { Validation::Required } else { Validation::Waived };
        let names = self.names(cx)?.required()?;
        for (done, name) in names.iter().enumerate() {
            let mut definition = domain::find(cx, name)?.required()?;
            let before = domain::text(&definition)?;
            if self.change.edit(&mut definition).is_some() {
                domain::define_ours(cx, name, before, &definition, validation)
                    .with_context(|| format!("edit the domain `{name}`"))?;
                domain::remark_if_running(cx, name)?;
            }
            cx.progress(done as u64 + 1, names.len() as u64);
        }
        Ok(())
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let names = domain::names_to_undo()?;
        names.iter().try_fold(Undo::default(), |undo, name| Ok(undo.and(domain::undo_edit(cx, name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::Members;

    const DEFINITION: &str = "<domain type='lxc'><name>a</name><!-- by hand --><memory unit='KiB'>65536</memory>\
        <currentMemory unit='KiB'>65536</currentMemory><vcpu>1</vcpu><devices><filesystem type='mount'>\
        <source dir='/data'/><target dir='/data'/></filesystem><console type='pty'/></devices></domain>";

    #[test]
    fn each_change_is_made_once_and_the_rest_stays() {
        let path = |path: &str| path.to_owned();
        let changes = [
            Change::Memory(Size { kib: 1 << 20 }),
            Change::Cpus(2),
            Change::Bind { source: path("/srv/c"), target: path("/c") },
            Change::Bind { source: path("/other"), target: path("/data") },
            Change::Unbind { target: path("/c") },
        ];
        let mut definition = domain::parse(DEFINITION).expect("XML");
        for change in &changes {
            assert!(change.edit(&mut definition).is_some(), "{change:?}");
            let once = definition.clone();
            assert_eq!(change.edit(&mut definition), None, "{change:?}");
            assert_eq!(definition, once);
        }
        let text = domain::text(&definition).expect("text");
        assert!(text.contains("by hand") && text.contains("console") && text.contains("1048576"), "{text}");
        assert!(text.contains("/other") && !text.contains("/srv/c"), "{text}");
    }

    #[test]
    fn the_plans_own_memory_is_not_its_business() {
        let step = |matching: &str, change| EditDomains {
            name: "x".to_owned(),
            matching: matching.to_owned(),
            change,
            validate: true,
        };
        let mut farm = Farm {
            members: Members { names: vec!["jenkins-a".to_owned()], ..Members::default() },
            ..Farm::default()
        };
        let memory = || Change::Memory(Size { kib: 1 });
        assert!(step("jenkins-*", memory()).shape(&mut farm).is_err());
        assert!(step("old-*", memory()).shape(&mut farm).is_ok());
        assert!(step("jenkins-*", Change::Cpus(2)).shape(&mut farm).is_ok());
        assert!(step("[", Change::Cpus(2)).shape(&mut farm).is_err());
    }
}
