//! What the host's part of a plan says about the farm: where things are, who builds.
//!
//! Steps of the host set it (`FarmStep::shape`), steps of containers read it. It does not look at the host.

use crate::architecture::Architecture;
use crate::host::Choice;
use crate::release::Release;
use crate::resource::PACKAGES;
use anyhow::Error;
use drover_engine::{Resource, until};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The farm as its plan describes it.
#[derive(Clone, Debug)]
pub struct Farm {
    /// Where containers are kept, `/srv/libvirt`; their root file systems are below `rootfs` in it.
    pub storage: PathBuf,
    /// Where `lxc-create` looks for bootstrapped systems.
    pub lxc_cache: PathBuf,
    /// The bridge that containers are on.
    pub bridge: String,
    /// Its network. The bridge itself has the first address.
    pub network: Ipv4Net,
    /// The account that builds, on the host and in every container.
    pub account: Account,
    /// A workspace that is not kept on the disk, if there is one; containers see it at the same path.
    pub workspace: Option<PathBuf>,
    /// The names that programs of the host are given: see the step `ToolAlias`.
    pub aliases: Vec<String>,
    /// Packages that the plan has installed on the host beyond what the farm needs.
    pub extra_packages: Vec<String>,
    /// Packages that a step of the host needs beyond what every farm does.
    pub tool_packages: Vec<&'static str>,
    /// The paths that commands of the plan make on the host: see the step `Command`.
    pub created: Vec<PathBuf>,
    /// Whether emulated systems are offered native programs.
    pub assist: bool,
    /// Whose emulators it has, if its plan registers any.
    pub emulator: Option<Choice>,
    /// All its containers.
    pub members: Members,
    /// The directory of the plan, from which it names files.
    pub plan_directory: PlanDirectory,
}

/// The containers of a farm.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Their architectures, each once, sorted.
    pub architectures: Vec<Architecture>,
    /// What each of them is.
    pub systems: Vec<System>,
    /// Their names.
    pub names: Vec<String>,
}

/// A container's name, and what its system is.
#[derive(Clone, Debug)]
pub struct System {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: Architecture,
    /// Its release.
    pub release: &'static Release,
}

impl Members {
    /// Whether this host runs any of them under an emulator.
    pub fn are_emulated(&self) -> bool {
        self.architectures.iter().any(|arch| !arch.runs_on(Architecture::host()))
    }
}

/// Where a plan is.
#[derive(Clone, Debug, Default)]
pub struct PlanDirectory(pub PathBuf);

/// The account that builds.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name; its group is called the same.
    pub user: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Its home directory, shared by host and containers.
    pub home: PathBuf,
}

/// The document's own values.
impl Default for Farm {
    fn default() -> Self {
        Self {
            storage: "/srv/libvirt".into(),
            lxc_cache: "/var/cache/lxc".into(),
            bridge: "lxcbr0".to_owned(),
            network: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 3, 0), 24),
            account: Account { user: "abuild".to_owned(), uid: 399, gid: 399, home: "/home/abuild".into() },
            workspace: None,
            aliases: Vec::new(),
            extra_packages: Vec::new(),
            tool_packages: Vec::new(),
            created: Vec::new(),
            assist: true,
            emulator: None,
            members: Members::default(),
            plan_directory: PlanDirectory::default(),
        }
    }
}

impl Farm {
    /// Where `lxc-create -P` puts containers.
    pub fn containers(&self) -> PathBuf {
        self.storage.join("rootfs")
    }

    /// Marks a complaint as one that the plan's `HostPackages` may mend, if it installs one of these packages.
    pub(crate) fn until_installed(&self, packages: &[&str]) -> impl FnOnce(Error) -> Error {
        let installs = self.extra_packages.iter().any(|extra| packages.contains(&extra.as_str()));
        move |error| if installs { until(Resource::new(PACKAGES, "host"))(error) } else { error }
    }

    /// The account's ssh key.
    pub fn key(&self) -> PathBuf {
        self.account.home.join(".ssh/id_rsa")
    }

    /// The file of names and addresses that dnsmasq reads.
    pub fn dnsmasq_hosts(&self) -> &'static Path {
        Path::new("/etc/lxc/dnsmasq-hosts.conf")
    }

    /// The addresses that dnsmasq has lent on the bridge.
    pub fn leases(&self) -> PathBuf {
        format!("/var/lib/misc/dnsmasq.{}.leases", self.bridge).into()
    }
}
