//! Registrations of emulators: what a release needs of them, what is somebody else's, and what comes back when a farm is taken
//! back.
//!
//! They are made in a user namespace of its own, in which the kernel's registrations are nobody else's.

use crate::Test;
use crate::farm::drover;
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::Host;

pub(crate) const TESTS: &[Test] =
    &[("emulators_are_registered_as_the_releases_of_a_plan_need_them", registered)];
/// Not for every day yet.
pub(crate) const OF_DEBIAN_13: &[Test] = &[("a_debian_13_host_registers_its_own_emulators", of_debian_13)];

/// A plan for a container of that release, with these options of `Binfmt`.
fn plan(release: &str, options: &str) -> String {
    format!(
        "Plan(name: \"emulated\", host: [HostPackages, Binfmt{options}],
        containers: [(name: \"one\", distribution: Debian, release: \"{release}\", arch: arm64)], each: [])"
    )
}

const SCRIPT: &str = r#"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
entry=/proc/sys/fs/binfmt_misc/qemu-aarch64 record=/var/lib/binfmts/qemu-aarch64
probe=/usr/lib/arch-test/arm64
test -e $probe || probe=/usr/libexec/arch-test/arm64
drover() { /run/bin/drover --state /root/emulated "$@"; }
fails() { ! "$@" >/root/said 2>&1 || { cat /root/said; exit 1; }; }
flags() { sed -n 's/^flags: //p' $entry; }
is() { test "$1" = "$2" || { echo "$1, not $2" >&2; exit 1; }; }
rm -f $record
update-binfmts --import qemu-aarch64
before=$(flags) recorded=$(cat $record)

# A release that needs no more is satisfied with what the packages registered.
drover run --only 'host/binfmt*' bookworm.ron
is "$(flags)" "$before"

# One whose systemd executes open files is not.
drover plan --only 'host/binfmt*' trixie.ron >/root/said
grep -q 'has no flag O' /root/said
drover run --only 'host/binfmt*' trixie.ron
is "$(flags)" POCF
is "$($probe)" ok
sed -n 8p $record | grep -qx yes
drover plan --detailed-exitcode --only 'host/binfmt*' trixie.ron
drover destroy trixie.ron --yes
is "$(flags)" "$before"
is "$(cat $record)" "$recorded"

# An entry that is right stays as it is, though nothing proves it; without one, it is made.
mkdir -p /root/empty
mount --bind /root/empty ${probe%/*}
drover run --only 'host/binfmt*' bookworm.ron
is "$(flags)" "$before"
update-binfmts --disable qemu-aarch64
test ! -e $entry
drover run --only 'host/binfmt*' bookworm.ron 2>/root/said
umount ${probe%/*}
is "$(flags)" POCF
drover destroy bookworm.ron --yes
test ! -e $entry

# Somebody else's is replaced only if the plan says so, and comes back.
other=/root/somebody-elses-binfmt-P
cp -L /usr/libexec/qemu-binfmt/aarch64-binfmt-P $other
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
echo ":qemu-aarch64:M:0:$magic:$mask:$other:PF" >/proc/sys/fs/binfmt_misc/register
fails drover run --only 'host/binfmt*' trixie.ron
grep -q 'somebody else has registered it' /root/said
grep -qx "interpreter $other" $entry
drover run --only 'host/binfmt*' renew.ron
is "$(flags)" POCF
no grep -qx "interpreter $other" $entry
drover destroy renew.ron --yes
grep -qx "interpreter $other" $entry
is "$(flags)" PF
"#;

/// Debian 13 has its rules in `binfmt.d` alone, which nothing reads where systemd is not process 1.
const SCRIPT_OF_DEBIAN_13: &str = r#"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
entry=/proc/sys/fs/binfmt_misc/qemu-aarch64
drover() { /run/bin/drover --state /root/emulated "$@"; }
test ! -e $entry
for plan in bookworm.ron trixie.ron; do
    drover run --only 'host/binfmt*' $plan
    sed -n 's/^flags: //p' $entry | grep F
    test "$(/usr/libexec/arch-test/arm64)" = ok
    drover plan --detailed-exitcode --only 'host/binfmt*' $plan
    drover destroy $plan --yes
    test ! -e $entry
done
"#;

fn of_debian_13(site: &Site) -> Result<()> {
    let host = Host::boot(&site.ground, "emulators-13", site.options_on("trixie")?)?;
    run(&host, &[("bookworm", "bookworm", ""), ("trixie", "trixie", "")], SCRIPT_OF_DEBIAN_13)
}

/// Runs a script where registrations are its own, in a host with the packages of plans.
fn run(host: &Host, plans: &[(&str, &str, &str)], script: &str) -> Result<()> {
    for (name, release, options) in plans {
        host.write(&format!("/root/{name}.ron"), &plan(release, options))?;
    }
    drover(host, &["run", "--only", "host/packages", "bookworm.ron"])?.ok()?;
    host.write("/root/script", script)?;
    host.shell(
        "unshare --user --map-root-user --mount --propagation private sh -euc '
        no() { s=0; \"$@\" || s=$?; test $s = 1; }; . /root/script'",
    )?;
    Ok(())
}

fn registered(site: &Site) -> Result<()> {
    let host = site.fresh_host("emulators")?;
    let plans =
        [("bookworm", "bookworm", ""), ("trixie", "trixie", ""), ("renew", "trixie", "(others: Renew)")];
    run(&host, &plans, SCRIPT)?;

    // What would not boot is told before anything is fetched, with the reason and what helps.
    let pair = include_str!("../../plans/debian-pair.ron").replace("bookworm", "trixie");
    host.write("/root/boots.ron", &pair)?;
    let told = drover(&host, &["plan", "boots.ron"])?;
    let told = format!("{}{}", told.stdout, told.stderr);
    for part in ["would not boot", "CLONE_PIDFD", "Binfmt(emulator: Release("] {
        ensure!(told.contains(part), "`{part}` is not in\n{told}");
    }
    Ok(())
}
