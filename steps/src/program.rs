//! Programs of the host, looked up where whatever Drover starts is looked up. It does not run them.

use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Finds the program `name` in [`drover_engine::search_path`].
pub fn find(name: &str) -> Option<PathBuf> {
    let path = drover_engine::search_path();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| is_executable(file))
}

/// A file that cannot be looked at cannot be executed either.
fn is_executable(file: &std::path::Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Makes sure of programs, each given with the Debian package that holds it, for `whom`.
///
/// # Errors
/// When some are missing: names them all, and the command that installs them.
pub fn require(whom: &str, programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = programs.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|(program, _)| format!("`{program}`")).collect::<Vec<_>>().join(", ");
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    bail!("{whom} needs {names}, not found on this host: apt-get install {}", packages.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_every_host_has_and_names_what_it_has_not() {
        assert!(find("sh").is_some());
        assert!(require("this test", &[("sh", "dash")]).is_ok());
        let message =
            require("this test", &[("sh", "dash"), ("no-such-program", "nowhere")]).expect_err("missing");
        assert_eq!(
            message.to_string(),
            "this test needs `no-such-program`, not found on this host: apt-get install nowhere"
        );
    }
}
