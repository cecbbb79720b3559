//! What keeps the account from getting into its containers, or leads it elsewhere, though all of them run.

use super::{Finding, Patient};
use crate::guest::ssh_trust::{distrusted, led_astray};
use anyhow::Result;
use drover_engine::Cx;

pub(super) fn look(cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let mut found: Vec<Finding> = Vec::new();
    for container in patient.containers {
        let about = format!("container {}", container.name);
        // The same home is every container's: once is enough.
        if let Some(why) = distrusted(container)?
            && !found.iter().any(|it| it.found == why)
        {
            found.push(amber("ssh", why));
        }
        // Only root can ask as somebody else.
        if rustix::process::geteuid().is_root()
            && let Some(how) = led_astray(cx, container)?
        {
            found.push(amber(&about, how));
        }
    }
    Ok(found)
}

/// What is found says how to mend it.
fn amber(about: &str, found: String) -> Finding {
    Finding { level: super::Level::Amber, about: about.to_owned(), found, mend: None }
}
