//! # Bootstrap
//! Makes the base system of a container's release and architecture, once for all containers that use it, where
//! `lxc-create -t debian` looks for it: `/var/cache/lxc/debian/rootfs-RELEASE-ARCH`.
//!
//! ```ron
//! Bootstrap
//! ```
//!
//! Debian alone is bootstrapped so: for a container of another distribution there is nothing to do here, since the template
//! of `LxcCreate` makes all of it.
//!
//! It has no options: release, architecture, `mirror` and `keyring` are the container's. Without a mirror in the plan, the one
//! that the host's own apt uses for that architecture is taken, be it from a list of mirrors (`mirror+file:`), and believed as
//! apt believes it: `Signed-By`, `Check-Valid-Until` and the like count, as do apt's proxies and timeouts; the keys of the
//! release itself count as well. A source that says `trusted=yes` is believed without a signature, which `plan` and `doctor` say.
//! `keyring` is for a mirror that somebody else signs. The packages are those of `debootstrap --variant=minbase` with the list
//! of the template `lxc-debian`.
//!
//! Before anything is fetched, the mirror is asked for each file of the system that its index names: one that lacks some is
//! told by `plan` and `doctor`. Of several mirrors (`mirror: ["…", "…"]`) the first one that has a file is taken.
//!
//! A chain of five steps, each of which goes on where it was interrupted:
//!
//! - `resolve`: apt reads the mirror's signed indexes and says which packages make the system; it waits for `HostPackages` only
//!   where the host lacks a program that proves signatures, the keys, or what it takes to reach the plan's mirror, which `extra`
//!   packages may bring;
//! - `fetch`: apt downloads and verifies what is not there yet; all architectures share one directory;
//! - `unpack`: the required packages are extracted, by programs of the host; `configure` unpacks them once more, from copies that
//!   are not compressed;
//! - `configure`: the system's own dpkg installs all packages, under an emulator where the architecture is not the host's;
//!   killed at one package it goes on at the next, in the same order;
//! - `seal`: `/bin/true` and `sshd -t` are run in it, and one rename makes it a base system. It alone waits for the disk: of a
//!   machine that went down before, the system is unpacked anew.
//!
//! **Native assist.** A system that is emulated runs, while it is configured, the native twins of those of its programs whose
//! answer does not depend on the processor (dash, perl, coreutils, grep, sed, tar and the like); the result is the same
//! without, several times later. They come from the `twin`: the base system of the same release for the host's own
//! processor, which is made for it unless a container asks for it anyway; then the step `twin` makes natives of it, below
//! `cache/assist` of the state directory. Only those of the same version of package are taken. All of it
//! happens in user namespaces with a binfmt_misc of their own (Linux 6.7): nothing is registered with the host's, nothing is
//! left when Drover is killed, and the system has nothing of it on its disk. In such a namespace scripts
//! can make no devices, and run no programs in a chroot of their own: a step that fails so is done again without assist.
//! `assist: Off` in the plan, or `--no-assist`, turn it off. Each start of a program is counted:
//! after the step a remark says how many were native and what was emulated most often, and the run's report sums that up
//! (`drover report`, `--json`, `--junit`). Where fewer than 80 of 100 were native, or assist cannot be had at all and the
//! programs run under plain qemu, a warning says why.
//!
//! Until then it stands in `rootfs-RELEASE-ARCH.partial`, with what is known of it, and the copies of packages that it is made of, in
//! `rootfs-RELEASE-ARCH.partial.d`. The directory of all of them, if it is Drover that makes it, has the attribute `T` on ext4
//! (chattr(1)), so that they are apart on the disk.
//! A base system that is there already is left as it is, provided that it is complete.
//!
//! **To take it back** `drover destroy`; or `rm -r --one-file-system /var/cache/lxc/debian/rootfs-RELEASE-ARCH`. Downloaded
//! packages stay in Drover's own cache.

mod checkpoint;
mod configure;
mod fetch;
pub(crate) mod hosting;
mod manifest;
mod package_set;
mod place;
mod plain;
mod pool;
mod resolve;
mod seal;
mod second_stage;
mod unpack;

use crate::base::Base;
use crate::step::FarmStep;
use std::sync::Arc;

pub(crate) use hosting::{Hosting, hosting};
pub(crate) use resolve::deb;

/// The chain of steps that makes a base system, each with its name in node ids, in order.
///
/// The last one provides the resource `base` with the name [`Base::id`].
pub fn chain() -> Vec<(&'static str, Arc<dyn FarmStep<Base>>)> {
    vec![
        ("resolve", Arc::new(resolve::Resolve)),
        ("fetch", Arc::new(fetch::Fetch)),
        ("unpack", Arc::new(unpack::Unpack)),
        ("configure", Arc::new(configure::Configure)),
        ("seal", Arc::new(seal::Seal)),
    ]
}
