//! Tests of all edits of a domain's definition: each finds something to do once, does it, and leaves the rest alone.

use super::{DefineDomain, attach_interface, bind_home, console, unique_mac};
use crate::architecture::Architecture;
use crate::base::Base;
use crate::container::Container;
use crate::domain;
use crate::farm::Farm;
use crate::release::{self, Distribution};
use crate::size::Size;
use anyhow::Result;
use std::sync::Arc;
use xmltree::Element;

/// As `domxml-from-native` has it, but with the traps that were met: 64 MiB, LXC's scheme, an address that pops up
/// often, no console; and with what others added.
const DEFINITION: &str = "<domain type='lxc'><name>a</name><uuid>a53dd180-b5b2-4a96-bef9-6972a31eef0c</uuid>\
    <memory unit='KiB'>65536</memory><currentMemory unit='KiB'>65536</currentMemory>\
    <os><type arch='s390x'>exe</type><init>/sbin/init</init></os><!-- by hand --><devices>\
    <filesystem type='mount'><source dir='dir:/srv/libvirt/rootfs/a/rootfs'/><target dir='/'/></filesystem>\
    <filesystem type='mount'><source dir='/data'/><target dir='/data'/></filesystem>\
    <interface type='bridge'><mac address='00:16:3E:00:00:01'/><source bridge='br0'/></interface>\
    </devices></domain>";

fn container(arch: Architecture) -> Container {
    let farm = Arc::new(Farm::default());
    let release = release::find(Distribution::Debian, "bookworm").expect("bookworm is known");
    let base = Base { release, arch, mirrors: Vec::new(), keyring: None, farm: farm.clone() };
    Container {
        name: "a".to_owned(),
        base: Arc::new(base),
        farm,
        address: None,
        ssh_port: None,
        memory: None,
        joins_controllers: true,
    }
}

/// Makes an edit twice: the first time it gives a reason, the second time there is nothing to do.
fn twice(definition: &mut Element, edit: impl Fn(&mut Element) -> Result<Option<String>>) -> String {
    let reason = edit(definition).expect("edited").expect("there is something to do");
    let once = definition.clone();
    assert_eq!(edit(definition).expect("edited"), None, "after: {reason}");
    assert_eq!(*definition, once, "and nothing changes");
    reason
}

#[test]
fn every_edit_is_made_once_and_others_work_stays() {
    let at = container(Architecture::host());
    let mut definition = domain::parse(DEFINITION).expect("XML");
    let size = Size { kib: 1 << 20 };
    let define = DefineDomain { memory: size };
    assert!(twice(&mut definition, |it| define.edit(&at, it)).contains("memory 65536 KiB, not 1 GiB"));
    assert!(twice(&mut definition, |it| bind_home::edit(&at, it)).contains("does not see `/home/abuild`"));
    assert!(
        twice(&mut definition, |it| attach_interface::edit(&at, it)).contains("no interface on `lxcbr0`")
    );
    assert!(twice(&mut definition, |it| unique_mac::edit(&at, &|_| false, it)).contains("not `52:54:00:"));
    assert!(twice(&mut definition, |it| console::edit(&at, it)).contains("no console"));
    let text = domain::text(&definition).expect("text");
    for kept in ["a53dd180", "by hand", "/data", "00:16:3E:00:00:01", "/sbin/init"] {
        assert!(text.contains(kept), "{kept} is gone: {text}");
    }
    assert!(text.contains(r#"dir="/srv/libvirt/rootfs/a/rootfs""#), "{text}");
    assert!(!text.contains("s390x") && !text.contains("65536"), "{text}");
}

#[test]
fn libvirt_is_told_an_architecture_that_it_knows() {
    let host = Architecture::host();
    for arch in Architecture::all() {
        let mut definition = domain::parse(DEFINITION).expect("XML");
        let define = DefineDomain { memory: Size { kib: 1024 } };
        define.edit(&container(arch), &mut definition).expect("edited");
        let expected = if arch.runs_on(host) { arch.libvirt() } else { host.libvirt() };
        let os = definition.get_child("os").expect("an os");
        assert_eq!(domain::attribute(os, "type", "arch"), Some(expected), "{arch}");
    }
}

#[test]
fn an_address_that_another_domain_has_is_given_up_and_a_good_one_kept() {
    let at = container(Architecture::host());
    let mut definition = domain::parse(DEFINITION).expect("XML");
    attach_interface::edit(&at, &mut definition).expect("edited");
    let address = |definition: &Element| {
        let interfaces: Vec<_> = domain::devices(definition, "interface").collect();
        domain::attribute(interfaces[1], "mac", "address").expect("an address").to_owned()
    };
    let edit = |definition: &mut Element, taken: &str| unique_mac::edit(&at, &|it| it == taken, definition);
    edit(&mut definition, "").expect("edited");
    let first = address(&definition);
    let reason = edit(&mut definition, &first).expect("edited");
    assert!(reason.expect("taken").contains("another domain has"));
    let second = address(&definition);
    assert_ne!(first, second);
    assert_eq!(edit(&mut definition, "").expect("edited"), None, "a good one stays");
}

#[test]
fn a_home_bound_from_elsewhere_is_bound_anew() {
    let at = container(Architecture::host());
    let mut definition = domain::parse(&DEFINITION.replace("/data", "/home/abuild")).expect("XML");
    assert_eq!(bind_home::edit(&at, &mut definition).expect("edited"), None);
    let wrong =
        DEFINITION.replace("dir='/data'/><target dir='/data'", "dir='/x'/><target dir='/home/abuild'");
    let mut definition = domain::parse(&wrong).expect("XML");
    assert!(twice(&mut definition, |it| bind_home::edit(&at, it)).contains("has `/x` at `/home/abuild`"));
    assert!(!domain::text(&definition).expect("text").contains("/x"));
}
