//! The list of all steps that a plan may name. One entry owns a step's name, its manual and its parsing.
//!
//! A new step is a new file and a new line here; help, manuals, suggestions and tests follow from the list.

use crate::container::Container;
use crate::farm::Farm;
use crate::step::FarmStep;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// An entry of the list.
pub struct Kind {
    /// The name in plans: `DefineDomain`.
    pub name: &'static str,
    /// The name in node ids: `define-domain`.
    pub slug: &'static str,
    /// The source file that opens with its manual.
    source: &'static str,
    /// Where it acts, and how its RON text becomes a step.
    pub parse: Parse,
}

/// A step that acts at a `P`, or what `ron` has against its text.
pub type Parsed<P> = Result<Arc<dyn FarmStep<P>>, ron::error::SpannedError>;

/// How the RON text of a step becomes a step, by where it acts.
pub enum Parse {
    /// On the host.
    Host(fn(&str) -> Parsed<Farm>),
    /// On a container.
    Container(fn(&str) -> Parsed<Container>),
    /// On the base system of a container: the chain of bootstrap steps, which have no options of their own.
    Bootstrap,
}

/// RON as plans are written in it.
pub fn ron() -> ron::Options {
    ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
}

fn host<S: FarmStep<Farm> + DeserializeOwned + 'static>(text: &str) -> Parsed<Farm> {
    Ok(Arc::new(ron().from_str::<S>(text)?))
}

fn container<S: FarmStep<Container> + DeserializeOwned + 'static>(text: &str) -> Parsed<Container> {
    Ok(Arc::new(ron().from_str::<S>(text)?))
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    /// Its manual: the `//!` lines that its source file opens with, in Markdown.
    pub fn manual(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        let text = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        format!("{}\n\n{}", text.trim_end(), self.id())
    }

    /// How the id of such a step is made, for its manual.
    fn id(&self) -> String {
        let (slug, use_of) = (self.slug, "for `after`, `--only`, `--until` and `drover logs`");
        let place = match self.parse {
            Parse::Host(_) => "host",
            Parse::Container(_) => "CONTAINER",
            Parse::Bootstrap => {
                let steps: Vec<_> =
                    crate::bootstrap::chain().iter().map(|(slug, _)| format!("`{slug}`")).collect();
                return format!(
                    "**Its ids**, {use_of}: `bootstrap/DISTRIBUTION-RELEASE-ARCH/STEP`, such as \
                     `bootstrap/debian-bookworm-arm64/configure`; the steps are {}. `after: [\"{}\"]` means the last one of each.",
                    steps.join(", "),
                    self.name
                );
            }
        };
        match self.name {
            "HostFile" | "GuestFile" => {
                format!(
                    "**Its id**, {use_of}: `{place}/{slug}-PATH`, with `-` for each `/`: `{place}/{slug}-etc-motd`."
                )
            }
            _ if self.is_many() => format!("**Its id**, {use_of}: `{place}/{slug}-NAME`, with its `name`."),
            _ => format!("**Its id**, {use_of}: `{place}/{slug}`."),
        }
    }

    /// Whether one place can have many of it, each with a name of its own: [`FarmStep::name`].
    pub fn is_many(&self) -> bool {
        ["Command", "EditDomains", "HostFile", "ToolAlias", "GuestCommand", "GuestFile"].contains(&self.name)
    }

    /// Whether a step that node ids call `slug` is of this kind.
    pub fn is_called(&self, slug: &str) -> bool {
        let rest = slug.strip_prefix(self.slug);
        rest.is_some_and(|rest| rest.is_empty() || (self.is_many() && rest.starts_with('-')))
    }

    /// The entry called `name` in plans.
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

/// All steps.
pub static KINDS: &[Kind] = &[
    Kind {
        name: "HostPackages",
        slug: "packages",
        source: include_str!("host/host_packages.rs"),
        parse: Parse::Host(host::<crate::host::HostPackages>),
    },
    Kind {
        name: "Storage",
        slug: "storage",
        source: include_str!("host/storage.rs"),
        parse: Parse::Host(host::<crate::host::Storage>),
    },
    Kind {
        name: "RelocateCache",
        slug: "relocate-cache",
        source: include_str!("host/relocate_cache.rs"),
        parse: Parse::Host(host::<crate::host::RelocateCache>),
    },
    Kind {
        name: "BuildHome",
        slug: "build-home",
        source: include_str!("host/build_home.rs"),
        parse: Parse::Host(host::<crate::host::BuildHome>),
    },
    Kind {
        name: "RelocateHome",
        slug: "relocate-home",
        source: include_str!("host/relocate_home.rs"),
        parse: Parse::Host(host::<crate::host::RelocateHome>),
    },
    Kind {
        name: "BuildKey",
        slug: "build-key",
        source: include_str!("host/build_key.rs"),
        parse: Parse::Host(host::<crate::host::BuildKey>),
    },
    Kind {
        name: "Bridge",
        slug: "bridge",
        source: include_str!("host/bridge.rs"),
        parse: Parse::Host(host::<crate::host::Bridge>),
    },
    Kind {
        name: "BridgeDns",
        slug: "bridge-dns",
        source: include_str!("host/bridge_dns.rs"),
        parse: Parse::Host(host::<crate::host::BridgeDns>),
    },
    Kind {
        name: "Binfmt",
        slug: "binfmt",
        source: include_str!("host/binfmt.rs"),
        parse: Parse::Host(host::<crate::host::Binfmt>),
    },
    Kind {
        name: "LibvirtLxc",
        slug: "libvirt-lxc",
        source: include_str!("host/libvirt_lxc.rs"),
        parse: Parse::Host(host::<crate::host::LibvirtLxc>),
    },
    Kind {
        name: "VirshDefaultUri",
        slug: "virsh-default-uri",
        source: include_str!("host/virsh_default_uri.rs"),
        parse: Parse::Host(host::<crate::host::VirshDefaultUri>),
    },
    Kind {
        name: "TmpfsWorkspace",
        slug: "tmpfs-workspace",
        source: include_str!("host/tmpfs_workspace.rs"),
        parse: Parse::Host(host::<crate::host::TmpfsWorkspace>),
    },
    Kind {
        name: "ZfsTxgTimeout",
        slug: "zfs-txg-timeout",
        source: include_str!("host/zfs_txg_timeout.rs"),
        parse: Parse::Host(host::<crate::host::ZfsTxgTimeout>),
    },
    Kind {
        name: "ToolAlias",
        slug: "tool-alias",
        source: include_str!("host/tool_alias.rs"),
        parse: Parse::Host(host::<crate::host::ToolAlias>),
    },
    Kind {
        name: "EditDomains",
        slug: "edit-domains",
        source: include_str!("host/edit_domains.rs"),
        parse: Parse::Host(host::<crate::host::EditDomains>),
    },
    Kind {
        name: "HostFile",
        slug: "host-file",
        source: include_str!("host/host_file.rs"),
        parse: Parse::Host(host::<crate::host::HostFile>),
    },
    Kind {
        name: "Command",
        slug: "command",
        source: include_str!("host/command.rs"),
        parse: Parse::Host(host::<crate::host::Command>),
    },
    Kind {
        name: "Bootstrap",
        slug: "bootstrap",
        source: include_str!("bootstrap/mod.rs"),
        parse: Parse::Bootstrap,
    },
    Kind {
        name: "LxcCreate",
        slug: "lxc-create",
        source: include_str!("guest/lxc_create.rs"),
        parse: Parse::Container(container::<crate::guest::LxcCreate>),
    },
    Kind {
        name: "LxcConfig",
        slug: "lxc-config",
        source: include_str!("guest/lxc_config.rs"),
        parse: Parse::Container(container::<crate::guest::LxcConfig>),
    },
    Kind {
        name: "ReserveAddress",
        slug: "reserve-address",
        source: include_str!("guest/reserve_address.rs"),
        parse: Parse::Container(container::<crate::guest::ReserveAddress>),
    },
    Kind {
        name: "DefineDomain",
        slug: "define-domain",
        source: include_str!("guest/define_domain.rs"),
        parse: Parse::Container(container::<crate::guest::DefineDomain>),
    },
    Kind {
        name: "BindHome",
        slug: "bind-home",
        source: include_str!("guest/bind_home.rs"),
        parse: Parse::Container(container::<crate::guest::BindHome>),
    },
    Kind {
        name: "AttachInterface",
        slug: "attach-interface",
        source: include_str!("guest/attach_interface.rs"),
        parse: Parse::Container(container::<crate::guest::AttachInterface>),
    },
    Kind {
        name: "UniqueMac",
        slug: "unique-mac",
        source: include_str!("guest/unique_mac.rs"),
        parse: Parse::Container(container::<crate::guest::UniqueMac>),
    },
    Kind {
        name: "Console",
        slug: "console",
        source: include_str!("guest/console.rs"),
        parse: Parse::Container(container::<crate::guest::Console>),
    },
    Kind {
        name: "BuildAccount",
        slug: "build-account",
        source: include_str!("guest/build_account.rs"),
        parse: Parse::Container(container::<crate::guest::BuildAccount>),
    },
    Kind {
        name: "Issue",
        slug: "issue",
        source: include_str!("guest/issue.rs"),
        parse: Parse::Container(container::<crate::guest::Issue>),
    },
    Kind {
        name: "SshdAcceptEnv",
        slug: "sshd-accept-env",
        source: include_str!("guest/sshd_accept_env.rs"),
        parse: Parse::Container(container::<crate::guest::SshdAcceptEnv>),
    },
    Kind {
        name: "HostsFile",
        slug: "hosts-file",
        source: include_str!("guest/hosts_file.rs"),
        parse: Parse::Container(container::<crate::guest::HostsFile>),
    },
    Kind {
        name: "GuestPackages",
        slug: "guest-packages",
        source: include_str!("guest/guest_packages.rs"),
        parse: Parse::Container(container::<crate::guest::GuestPackages>),
    },
    Kind {
        name: "JoinControllers",
        slug: "join-controllers",
        source: include_str!("guest/join_controllers.rs"),
        parse: Parse::Container(container::<crate::guest::JoinControllers>),
    },
    Kind {
        name: "GuestFile",
        slug: "guest-file",
        source: include_str!("guest/guest_file.rs"),
        parse: Parse::Container(container::<crate::guest::GuestFile>),
    },
    Kind {
        name: "GuestCommand",
        slug: "guest-command",
        source: include_str!("guest/guest_command.rs"),
        parse: Parse::Container(container::<crate::guest::GuestCommand>),
    },
    Kind {
        name: "StartDomain",
        slug: "start-domain",
        source: include_str!("guest/start_domain.rs"),
        parse: Parse::Container(container::<crate::guest::StartDomain>),
    },
    Kind {
        name: "AwaitSsh",
        slug: "await-ssh",
        source: include_str!("guest/await_ssh.rs"),
        parse: Parse::Container(container::<crate::guest::AwaitSsh>),
    },
    Kind {
        name: "ExposeSsh",
        slug: "expose-ssh",
        source: include_str!("guest/expose_ssh.rs"),
        parse: Parse::Container(container::<crate::guest::ExposeSsh>),
    },
    Kind {
        name: "Build",
        slug: "build",
        source: include_str!("guest/build.rs"),
        parse: Parse::Container(container::<crate::guest::Build>),
    },
];
