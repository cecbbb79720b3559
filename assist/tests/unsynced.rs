//! What runs through `unsynced` does not wait for the disk: told by a pipe, which the kernel refuses to flush.

use drover_assist::UNSYNCED;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs a program of coreutils that flushes its standard output, by each of the calls that there are for that.
fn flushed(name: &str, through: &[PathBuf]) -> Vec<Output> {
    let script = |option| {
        let mut words = through.iter().map(|path| format!("'{}' ", path.display())).collect::<String>();
        words.push_str(&format!("sync {option} /proc/self/fd/1 | cat; exit ${{PIPESTATUS[0]}}"));
        Command::new("bash").args(["-c", &words, name]).output().expect("bash")
    };
    ["", "--data"].map(script).into()
}

#[test]
fn nothing_waits_for_the_disk() {
    if UNSYNCED.is_empty() {
        println!("not tried: there is no such program for this processor");
        return;
    }
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("unsynced");
    fs::write(&program, UNSYNCED).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("a mode");
    for ended in flushed("as it is", &[]) {
        assert!(String::from_utf8_lossy(&ended.stderr).contains("Invalid argument"), "{ended:?}");
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    }
    let env = PathBuf::from("/usr/bin/env");
    for ended in flushed("through it", &[program.clone(), env]) {
        assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    }
    let missing = Command::new(&program).arg("/nowhere").output().expect("it runs");
    assert_eq!(missing.status.code(), Some(127), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere"), "{missing:?}");
}
