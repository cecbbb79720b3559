//! Signing the mirror with a key that is made for it and thrown away.
//!
//! All of it happens in the workshop: a fresh machine has no gpg.

use crate::Host;
use anyhow::Result;

/// Makes a key in the workshop.
pub(crate) fn make_key(workshop: &Host) -> Result<()> {
    workshop.shell(&format!(
        "mkdir -m 700 {HOME}; {GPG} --passphrase '' --quick-gen-key 'throw-away mirror' rsa2048 sign never"
    ))?;
    Ok(())
}

/// Writes the public key to `file` of the workshop.
pub(crate) fn export_key(workshop: &Host, file: &str) -> Result<()> {
    workshop.shell(&format!("{GPG} --export >{file}"))?;
    Ok(())
}

/// Signs the file `Release` of a directory of the workshop, both ways that there are.
pub(crate) fn sign(workshop: &Host, directory: &str) -> Result<()> {
    workshop.shell(&format!(
        "cd {directory}; {GPG} --clearsign --output InRelease Release; {GPG} --armor --detach-sign --output Release.gpg Release"
    ))?;
    Ok(())
}

const HOME: &str = "/root/throwaway-gpg";
const GPG: &str = "gpg --homedir /root/throwaway-gpg --batch --yes --quiet";
