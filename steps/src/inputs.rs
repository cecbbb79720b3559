//! The named inputs of steps: their own parameters, and the facts of the place where they act.
//!
//! Parameters are all that the plan can say of a step: what its type reads, it also writes. Facts a step declares one by one
//! ([`FarmStep::facts`](crate::step::FarmStep::facts)). It does not know what is made of them.

use crate::base::Base;
use crate::container::Container;
use crate::farm::Farm;
use drover_engine::Inputs;
use serde::Serialize;
use serde_json::Value;

/// What can tell its parameters: every step that can be written.
pub trait Parameters {
    /// Its parameters by their names in the plan, those of inner ones joined by dots: `Btrfs.path`. A lone value is called
    /// `value`. What the plan leaves out, and has no value for, is none.
    fn parameters(&self) -> Inputs;
}

impl<T: Serialize> Parameters for T {
    fn parameters(&self) -> Inputs {
        match serde_json::to_value(self) {
            Ok(value) => flat(Inputs::default(), "", &value),
            // A step that cannot be written has no inputs that could be compared; the tests of all kinds find it.
            Err(error) => Inputs::default().with("unreadable", error),
        }
    }
}

fn flat(inputs: Inputs, name: &str, value: &Value) -> Inputs {
    let named = if name.is_empty() { "value" } else { name };
    match value {
        Value::Null => inputs,
        Value::Object(fields) => fields.iter().fold(inputs, |inputs, (field, value)| {
            let inner = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
            flat(inputs, &inner, value)
        }),
        Value::String(text) => inputs.with(named, text),
        other => inputs.with(named, other),
    }
}

/// The container's name.
pub(crate) fn name(at: &Container) -> Inputs {
    Inputs::default().with("container.name", &at.name)
}

/// Where the container's root file system is; its name is in that.
pub(crate) fn rootfs(at: &Container) -> Inputs {
    name(at).with("container.rootfs", at.rootfs().display())
}

/// The processor architecture.
pub(crate) fn arch(base: &Base) -> Inputs {
    Inputs::default().with("base.arch", base.arch.debian())
}

/// The distribution and its release.
pub(crate) fn release(base: &Base) -> Inputs {
    Inputs::default().with("base.release", base.release)
}

/// The base system: release, architecture, mirror and its keys, and where it is kept.
pub(crate) fn base(base: &Base) -> Inputs {
    let named = release(base).and(arch(base)).and(cache(&base.farm));
    let named = match base.mirrors.as_slice() {
        [] => named,
        mirrors => named.with("base.mirror", mirrors.join(", ")),
    };
    base.keyring.iter().fold(named, |named, keys| named.with("base.keyring", keys.display()))
}

/// The account that builds: all of it.
pub(crate) fn account(farm: &Farm) -> Inputs {
    user(farm).and(ids(farm)).and(home(farm))
}

/// The user and the group id of the account that builds.
pub(crate) fn ids(farm: &Farm) -> Inputs {
    Inputs::default().with("farm.uid", farm.account.uid).with("farm.gid", farm.account.gid)
}

/// The home of the account that builds.
pub(crate) fn home(farm: &Farm) -> Inputs {
    Inputs::default().with("farm.home", farm.account.home.display())
}

/// The name of the account that builds.
pub(crate) fn user(farm: &Farm) -> Inputs {
    Inputs::default().with("farm.user", &farm.account.user)
}

/// The bridge.
pub(crate) fn bridge(farm: &Farm) -> Inputs {
    Inputs::default().with("farm.bridge", &farm.bridge)
}

/// The network of the bridge.
pub(crate) fn network(farm: &Farm) -> Inputs {
    Inputs::default().with("farm.network", farm.network)
}

/// The workspace that is not kept on the disk, if there is one.
pub(crate) fn workspace(farm: &Farm) -> Inputs {
    farm.workspace
        .iter()
        .fold(Inputs::default(), |inputs, path| inputs.with("farm.workspace", path.display()))
}

/// Where base systems are kept.
pub(crate) fn cache(farm: &Farm) -> Inputs {
    Inputs::default().with("farm.lxc_cache", farm.lxc_cache.display())
}
