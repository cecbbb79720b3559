//! The kinds of resources that steps need and provide: one name for each, so that edges cannot be misspelt.
//!
//! Farm-wide ones are named after the thing; those of a container after the container.

/// The host's packages are installed; the name is always `host`.
pub const PACKAGES: &str = "host packages";
/// The storage, by its path.
pub const STORAGE: &str = "storage";
/// The account that builds, on the host, by its name.
pub const ACCOUNT: &str = "account";
/// The account's home is where the plan wants it; by the account's name.
pub const HOME: &str = "home";
/// A workspace for builds is mounted; by the account's name.
pub const WORKSPACE: &str = "workspace";
/// LXC's cache is where the plan wants it; by its path.
pub const LXC_CACHE: &str = "LXC cache";
/// A program of the host has the name that others call it by; by that name.
pub const TOOL_ALIAS: &str = "tool alias";
/// What a command of the plan makes on the host is there; by its path.
pub const CREATED: &str = "created path";
/// The ssh key of the account, by the account's name.
pub const KEY: &str = "ssh key";
/// Something that lxc-net reads when it starts has its final content; by whoever wrote it.
pub const LXC_NET_INPUT: &str = "lxc-net input";
/// The bridge is up and serves names and addresses as configured; by its name.
pub const BRIDGE: &str = "bridge";
/// The kernel takes registrations of foreign programs; by where they are made.
pub const BINFMT: &str = "binfmt_misc";
/// Emulators that the host's packages do not have are fetched; the name is always `host`.
pub const EMULATOR: &str = "emulator";
/// Programs of an architecture can be executed; by Debian's name of it.
pub const EMULATION: &str = "emulation";
/// libvirt answers at lxc:///system; the name is always `lxc:///system`.
pub const LIBVIRT: &str = "libvirt";
/// A stage of a bootstrap is complete: `STAGE of BASE`.
pub const STAGE: &str = "bootstrap stage";
/// A base system is where `lxc-create` looks for it; by the base's id.
pub const BASE: &str = "base system";
/// The natives of a release that emulated systems are offered; by the id of the base that they are made from.
pub const TWIN: &str = "twin";
/// The container's root file system and LXC configuration; by the container.
pub const ROOTFS: &str = "rootfs";
/// The container's address stands in the plan, so that those who pick a free one come later; by the container.
pub const FIXED_ADDRESS: &str = "fixed address";
/// The container's address is reserved; by the container.
pub const ADDRESS: &str = "address";
/// The host resolves the container's name; by the container.
pub const NAME: &str = "host name";
/// The container's domain is defined in libvirt; by the container.
pub const DOMAIN: &str = "domain";
/// An edit of the domain is made; `EDIT of CONTAINER`, and all of them together by the container
/// ([`crate::container::Container::edited`]). Whoever starts the domain comes after all of them.
pub const DOMAIN_EDIT: &str = "domain edit";
/// The domains that match a pattern are edited; by the edit's name. Whoever starts a domain comes after all of them.
pub const MASS_EDIT: &str = "edit of domains";
/// The container has an interface on the bridge; by the container.
pub const INTERFACE: &str = "interface";
/// An edit of the container's root file system is made; `EDIT of CONTAINER`, and all of them together by the container.
pub const GUEST_EDIT: &str = "guest edit";
/// The files of the packages that the container is to get are there; by the container.
pub const FETCHED: &str = "fetched packages";
/// The domain runs; by the container.
pub const RUNNING: &str = "running domain";
/// The container answers ssh; by the container.
pub const SSH: &str = "ssh";
/// The port that leads to the container stands in the plan, so that those who pick a free one come later; by the container.
pub const FIXED_PORT: &str = "fixed port";
/// A port of the host leads to the container's ssh; by the container.
pub const PORT: &str = "port";

/// The pool of what runs under an emulator, or otherwise keeps a processor busy: as many shares as processors.
pub const EMULATION_POOL: &str = "emulation";
/// The pool of what downloads from mirrors.
pub const MIRROR_POOL: &str = "mirror";
