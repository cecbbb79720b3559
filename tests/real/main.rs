//! The real thing: `drover` in throw-away hosts, from an empty machine to containers that answer ssh.
//!
//! One binary, its tests one after the other: each may use the whole machine, and later ones start from layers that
//! earlier ones made. Without root there are no throw-away hosts, and they are reported as ignored.

mod assist;
mod assist_cases;
mod builds;
mod by_hand;
mod command_line;
mod container_steps;
mod contract;
mod debian_13;
mod doctor;
mod emulated;
mod emulators;
mod farm;
mod faults;
mod firewalls;
mod harness;
mod host_steps;
mod hostile;
mod kill;
mod killed;
mod like_debootstrap;
mod looking;
mod network;
mod nut;
mod nut_farm;
mod outside;
mod package;
mod pair;
mod releases;
mod rpm;
mod running;
mod same;
mod second;
mod shepherding;
mod signatures;
mod site;
mod snapshots;
mod starts;
mod systemd;
mod terminal;
mod undoing;

use libtest_mimic::{Arguments, Trial};
use site::Site;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use throwaway::Turn;

/// A test: its name, and what it does.
type Test = (&'static str, fn(&Site) -> anyhow::Result<()>);

fn main() -> ExitCode {
    throwaway::serve_if_asked();
    let mut arguments = Arguments::from_args();
    // Hosts are heavy, and their timings are looked at.
    arguments.test_threads = Some(1);
    let site = Site::below(env!("CARGO_TARGET_TMPDIR"));
    let ignored = match &site {
        Err(error) => {
            println!("all of these are skipped: {error:#}");
            true
        }
        Ok(_) => false,
    };
    let site = Arc::new(site);
    let trials = [
        harness::TESTS,
        host_steps::TESTS,
        network::TESTS,
        firewalls::TESTS,
        emulators::TESTS,
        command_line::TESTS,
        terminal::TESTS,
        pair::TESTS,
        hostile::TESTS,
        like_debootstrap::TESTS,
        releases::TESTS,
        container_steps::TESTS,
        shepherding::TESTS,
        outside::TESTS,
        builds::TESTS,
        snapshots::TESTS,
        nut_farm::TESTS,
        rpm::TESTS,
        running::TESTS,
        looking::TESTS,
        faults::TESTS,
        killed::TESTS,
        undoing::TESTS,
        doctor::TESTS,
        by_hand::TESTS,
        systemd::TESTS,
        signatures::TESTS,
        assist::TESTS,
        debian_13::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|test| trial(&test, &site, Turn::beside).with_ignored_flag(ignored));
    let on_fresh_hosts = [second::TESTS, systemd::OF_DEBIAN_13, emulators::OF_DEBIAN_13].concat();
    let seldom = assist::IDENTITY.iter().chain(nut::TESTS).chain(&on_fresh_hosts);
    let seldom = seldom.map(|test| trial(test, &site, Turn::beside).with_ignored_flag(true));
    // They change what the kernel has registered for all hosts.
    let changing =
        emulated::TESTS.iter().map(|test| trial(test, &site, Turn::alone).with_ignored_flag(ignored));
    let others = emulated::SELDOM.iter().map(|test| trial(test, &site, Turn::alone).with_ignored_flag(true));
    let trials = trials.chain(changing).chain(seldom).chain(others).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that waits for its turn at what all hosts share.
fn trial(
    &(name, test): &Test,
    site: &Arc<anyhow::Result<Site>>,
    turn: fn() -> anyhow::Result<Turn>,
) -> Trial {
    let site = Arc::clone(site);
    Trial::test(name, move || match &*site {
        Ok(site) => {
            println!("\n--- {name}");
            let _turn = turn().map_err(|error| format!("{error:#}"))?;
            let begun = Instant::now();
            let result = test(site).map_err(|error| format!("{error:#}").into());
            println!("    in {:.0} s", begun.elapsed().as_secs_f64());
            result
        }
        Err(error) => Err(format!("{error:#}").into()),
    })
}
