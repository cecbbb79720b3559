//! # UniqueMac
//! Gives the container's interface on the farm's bridge a hardware address that no other domain has, and that stays.
//!
//! The document: "Verify that unique MAC addresses were defined (e.g. 00:16:3e:00:00:01 tends to pop up often)".
//!
//! ```ron
//! UniqueMac
//! ```
//! The address follows from the container's name: libvirt's `52:54:00` and three bytes of the name's digest, so that a
//! container that is made again gets the same one. Should another domain have that, also one that is not ours, the next
//! three bytes are taken, and so on; an address that was taken in this way stays.
//!
//! **Changes** the `<mac>` in the domain's definition. It is seen when the domain starts the next time.
//!
//! **To take it back**: `drover destroy`, which gives a domain that was there before the address that it had.

use crate::container::Container;
use crate::domain::{self, Listing, Lookup, Validation};
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use xmltree::Element;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniqueMac {}

/// The addresses that follow from a name, the best first.
fn candidates(name: &str) -> Vec<String> {
    let digest = Sha256::digest(name.as_bytes());
    let triples = digest.chunks_exact(3);
    triples.map(|bytes| format!("52:54:00:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2])).collect()
}

/// The edit, with the addresses of all other domains in mind. `is_taken` is asked in lower case.
pub(super) fn edit(
    at: &Container,
    is_taken: &dyn Fn(&str) -> bool,
    definition: &mut Element,
) -> Result<Option<String>> {
    let bridge = at.farm.bridge.as_str();
    let devices = domain::child(definition, "devices");
    let mut interfaces = domain::children(devices, "interface");
    let ours = interfaces.find(|it| domain::attribute(it, "source", "bridge") == Some(bridge));
    let Some(interface) = ours else {
        return Ok(Some(format!("the domain `{}` has no interface on `{bridge}`", at.name)));
    };
    let mac = domain::child(interface, "mac");
    let was = mac.attributes.get("address").map(|address| address.to_lowercase()).unwrap_or_default();
    let mut good = candidates(&at.name);
    good.retain(|address| !is_taken(address));
    if good.contains(&was) {
        return Ok(None);
    }
    let wanted = good.first().with_context(|| format!("every address of `{}` is taken", at.name))?;
    mac.attributes.insert("address".to_owned(), wanted.clone());
    let shared = if is_taken(&was) { ", which another domain has too" } else { "" };
    Ok(Some(format!("the interface of `{}` has the address `{was}`{shared}, not `{wanted}`", at.name)))
}

/// Whether another domain has an address. Where there is no libvirt, there are no others.
fn is_taken<'a>(others: &'a Lookup<Listing>, at: &'a Container) -> impl Fn(&str) -> bool + 'a {
    move |address| matches!(others, Lookup::Found(others) if others.is_taken(address, &at.name))
}

impl FarmStep<Container> for UniqueMac {
    fn title(&self, at: &Container) -> String {
        format!("give {} a hardware address of its own", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at).and(inputs::bridge(&at.farm))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::INTERFACE))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::DOMAIN_EDIT, "mac").into()
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        // The second lock is on all addresses: two domains must not choose at the same time.
        vec![domain::lock(at), Claim::lock("hardware addresses")]
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::DOMAIN))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        domain::undo_edit(cx, &at.name)
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let others = domain::all(cx)?;
        domain::check_edit(cx, at, &|definition| edit(at, &is_taken(&others, at), definition))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let others = domain::all(cx)?;
        let edit = |definition: &mut Element| edit(at, &is_taken(&others, at), definition);
        domain::apply_edit(cx, at, Validation::Skipped, &edit)
    }
}
