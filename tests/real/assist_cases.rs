//! What programs of a guest may notice of native assist, which is nothing: a table of cases, each run under the emulator alone
//! and assisted, with the same output and the same exit status.

use anyhow::{Context, Result, ensure};
use drover_assist::counts::{Counts, Starts};
use throwaway::Host;

/// Each a script for the guest's own bash, which is always emulated, in an empty directory.
const CASES: &[(&str, &str)] = &[
    (
        "an emulated shell starts a native program that starts an emulated one",
        "find /etc/passwd -exec uname -m \\;",
    ),
    (
        "natives and emulated programs in a pipe",
        "cat /etc/passwd | sed s/root/uname/ | xargs -n1 echo | bash -c 'cat; uname -m' | sort | uniq -c",
    ),
    (
        "a native shell names the guest's processor",
        "sh -c 'uname -m; exec bash -c \"arch; dpkg --print-architecture\"'",
    ),
    (
        "many arguments",
        "true $(seq 100000); echo $?; echo $(seq 20000) | wc; find $(yes / | head -20000) -maxdepth 0 | wc",
    ),
    ("a long argument", "expr length $(head -c 130000 /dev/zero | tr '\\0' x)"),
    ("too long an argument", "a=$(head -c 140000 /dev/zero | tr '\\0' x); expr length $a; echo $?"),
    (
        "arguments that are empty or look like options",
        "printf '%s,' -- '' -0 '-E x' \"a  b\"; sh -c 'echo \"$#\" \"$@\"' '' -0 '' ' ' -- '*'",
    ),
    (
        "another name than the path",
        "exec -a other sh -c 'echo $0'; (exec -a other grep --version) | head -1; (exec -a -sh sh -c 'echo $0')",
    ),
    ("an empty name", "(exec -a '' sh -c 'echo \"[$0]\"')"),
    (
        "the name in messages",
        "grep; (exec -a wanted grep x /nothing); /usr/bin/grep x /nothing; cat /nothing; sh -c 'nothing'; echo $?",
    ),
    (
        "a script with a native interpreter",
        "printf '#!/bin/sh\\necho $0 \"$@\"; uname -m\\n' >s; chmod +x s; ./s a 'b c'; \"$PWD/s\" d",
    ),
    (
        "a script with an interpreter by env",
        "printf '#!/usr/bin/env sh\\necho $0 $1\\n' >s; chmod +x s; PATH=.:$PATH s a",
    ),
    (
        "a script with an interpreter that has an argument",
        "printf '#!/usr/bin/perl -w\\nprint \"$0 @ARGV\\n\"; my $x; print $x . \"\\n\";\\n' >s; chmod +x s; ./s a",
    ),
    (
        "a script of a script",
        "printf '#!/bin/sh\\necho inner $0 $1\\n' >i; printf '#!%s/i\\n' $PWD >o; chmod +x i o; ./o a",
    ),
    (
        "relative paths",
        "cd /usr/bin; ./expr 1 + 1; cd /; usr/bin/expr 2 + 2; bin/../bin/expr 3 + 3; cd /usr/share; PATH=../bin expr 4 + 4",
    ),
    (
        "links to programs",
        "ln -s /bin/sh x; ./x -c 'echo $0'; ln -s x y; ./y -c 'echo $0'; awk 'BEGIN { print 1/3 }'",
    ),
    (
        "a copy of a program is not that program",
        "cp /bin/sh mine; ./mine -c 'echo $0'; cp /usr/bin/id other; ./other -u",
    ),
    (
        "a program that was replaced",
        "cp /usr/bin/true mine; cp mine kept; printf '#!/bin/sh\\necho new\\n' >new; chmod +x new; mv new mine; ./mine",
    ),
    ("closed standard input", "cat <&-; echo $?; sh -c 'read x; echo $?' <&-; expr 1 + 1 <&-"),
    ("closed standard output", "echo x | cat >&-; echo $?; sh -c 'echo x' >&-; echo $?"),
    ("all closed", "sh -c 'exec 3>f; exec <&- >&- 2>&-; expr 1 + 1 >&3; ls /nothing; echo $? >&3'; cat f"),
    (
        "open files are passed on and no others",
        "sh -c 'exec 7<\"$0\"; head -c 4 <&7; cat <&7' /etc/hostname; sh -c 'for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done' | grep -vx 255",
    ),
    (
        "a setuid program that is otherwise native",
        "cp -p /usr/bin/id /usr/bin/id.kept; chmod 4755 /usr/bin/id; setpriv --reuid=65534 --clear-groups id -u; setpriv --reuid=65534 --clear-groups id -un; mv /usr/bin/id.kept /usr/bin/id",
    ),
    (
        "another user",
        "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'id; touch /x; echo $?; exec expr 1 + 1'",
    ),
    (
        "LD_LIBRARY_PATH",
        "LD_LIBRARY_PATH=/nowhere:/usr/lib grep -c root /etc/passwd; LD_LIBRARY_PATH=/x sh -c 'echo $LD_LIBRARY_PATH; env' | sort | grep ^LD",
    ),
    ("LD_PRELOAD of something missing", "LD_PRELOAD=/nowhere.so grep -c root /etc/passwd"),
    (
        "LD_PRELOAD of a library of the guest",
        "l=$(ls /lib/*/libz.so.1); LD_PRELOAD=$l grep -c root /etc/passwd; LD_PRELOAD=$l sh -c 'grep -c libz /proc/self/maps >/dev/null; echo $?'",
    ),
    (
        "/etc/ld.so.preload",
        "echo /nowhere.so >/etc/ld.so.preload; grep -c root /etc/passwd 2>/dev/null; rm /etc/ld.so.preload",
    ),
    ("the environment is passed on whole", "env -i A=1 'B=x y' =odd sh -c 'env' | grep -v ^PWD= | sort"),
    ("an empty environment", "env -i /usr/bin/env; env -i /bin/sh -c 'echo $PATH'"),
    (
        "locales",
        "for l in C POSIX C.UTF-8 en_US.UTF-8 nonsense; do printf 'b\\nä\\nA\\n' | LC_ALL=$l sort | tr '\\n' ' '; printf ä | LC_ALL=$l wc -m; done",
    ),
    (
        "messages of a locale without one",
        "LANGUAGE=de LC_ALL=C.UTF-8 ls /nothing; LC_ALL= LANG=de_DE.UTF-8 ls /nothing",
    ),
    (
        "perl's modules",
        "perl -MPOSIX -MFcntl -MSocket -MList::Util=sum -MFile::Temp -MCwd -e 'print floor(3.5), O_CREAT, AF_INET, sum(1, 2), getcwd, \"\\n\"'",
    ),
    ("perl's configuration", "perl -MConfig -e 'print \"$Config{archname} $Config{ptrsize}\\n\"'"),
    ("perl's order of bytes", "perl -MConfig -e 'print $Config{byteorder}, unpack(\"H*\", pack(\"L\", 1))'"),
    (
        "perl's own names",
        "perl -e 'print \"$0 @ARGV\\n\"' a; /usr/bin/perl -e 'print \"$^X\\n\"; exec {\"/bin/sh\"} \"mine\", \"-c\", \"echo \\$0\"'",
    ),
    (
        "perl's errors",
        "perl -MNoSuch -e 1 2>/dev/null; echo $?; PERL5LIB=/x perl -e 'print $INC[0], \"\\n\"'; echo 'die \"x\"' | perl; echo $?",
    ),
    (
        "perl with modules that are compiled for the guest",
        "d=/usr/lib/$(dpkg-query -L libc6 | grep libc.so.6$ | cut -d/ -f3)/perl5; mkdir -p $d; perl -e 'print 1 + 1, \"\\n\"'; rmdir $d",
    ),
    (
        "signals and exit statuses",
        "{ sh -c 'kill -9 $$'; } 2>/dev/null; echo $?; sh -c 'trap \"echo got\" TERM; kill $$; exit 7'; echo $?; timeout 1 sleep 9; echo $?; yes | head -1; echo ${PIPESTATUS[*]}",
    ),
    (
        "what is no program",
        "/nothing; echo $?; /etc; echo $?; echo >f; chmod +x f; ./f; echo $?; head -c 100 /bin/true >g; chmod +x g; { ./g; } 2>/dev/null; echo $?",
    ),
    ("a working directory that is gone", "mkdir d; cd d; rmdir ../d; ls; expr 1 + 1; sh -c 'echo x'"),
    (
        "modes, owners and times",
        "umask 027; touch -d @1 f; mkdir d; ln f l; chown 1234:4000000000 f; chmod 2755 d; touch -d @2 d; stat -c '%n %a %u %g %Y %h' f d l; cp -a f g; stat -c '%n %a %u %g %Y' g",
    ),
    (
        "archives",
        "mkdir d; echo x >d/f; chown 7:8 d/f; ln -s f d/l; touch -hd @5 d/f d/l d; tar --sort=name -cf - d | sha256sum; tar -czf a.gz --mtime=@0 d && tar -tvf a.gz",
    ),
    (
        "devices are there and cannot be made as anybody",
        "echo x >/dev/null; head -c 3 /dev/zero | wc -c; setpriv --reuid=65534 --clear-groups mknod n c 1 3; echo $?",
    ),
    (
        "dpkg's database",
        "dpkg -l | sha256sum; dpkg -L dpkg | sha256sum; dpkg-query -W -f '${binary:Package} ${Architecture}\\n' | sha256sum; dpkg -S /bin/sh; dpkg --version | head -1; dpkg --compare-versions 1 lt 2; echo $?",
    ),
    (
        "update-alternatives and diversions",
        "update-alternatives --query awk; dpkg-divert --list; dpkg-statoverride --list; dpkg-trigger --check-supported; echo $?",
    ),
    ("a locale", "localedef -c -i de_DE -f UTF-8 ./l; (cd l; find . -type f | sort | xargs sha256sum)"),
    (
        "locales in an archive",
        "localedef -c -i en_US -f ISO-8859-1 -A /usr/share/locale/locale.alias en_US; sha256sum /usr/lib/locale/locale-archive; locale -a; rm /usr/lib/locale/locale-archive",
    ),
    (
        "keys and digests",
        "echo x | openssl dgst -sha256; ssh-keygen -q -t ed25519 -N '' -f k; ssh-keygen -lf k.pub | wc -w",
    ),
];

/// What is known to differ, under which emulator, and why that is taken: see the reason of perl in the list.
const KNOWN: (&str, &str) = ("perl's order of bytes", "s390x");

/// What differs where the emulator's entry in the kernel has a flag that assist's own has not. With O, the kernel opens the program
/// for the emulator, and where standard input is closed, the program is what is read from it: natives have it closed, as it
/// should be. With C, programs with the setuid bit become root: in a step all are root anyway.
const BY_FLAG: [(char, &str); 2] =
    [('O', "closed standard input"), ('C', "a setuid program that is otherwise native")];

/// Where `guest.sh` has starts counted, before the name of the system's release and architecture.
const COUNTS: &str = "/var/lib/drover/cache/assist/counts/by-hand-";

/// Runs a program in the guest, with assist or without.
const GUEST: &str = include_str!("guest.sh");

/// Runs all cases in the base system of an architecture, `qemu` being its emulator's name.
pub(crate) fn prove(host: &Host, root: &str, qemu: &str) -> Result<()> {
    let native = run(host, "assisted", root, qemu, "readlink /proc/self/exe")?;
    ensure!(native.contains("/proc/tty/ldisc/offer/usr/bin/readlink"), "nothing is native: {native}");
    let entry = host.read(&format!("/proc/sys/fs/binfmt_misc/qemu-{qemu}"))?;
    let flags = entry.lines().find_map(|line| line.strip_prefix("flags: ")).unwrap_or_default();
    let by_flag = |name| BY_FLAG.iter().any(|(flag, case)| flags.contains(*flag) && *case == name);
    let is_known = |name| (name, qemu) == KNOWN || by_flag(name);
    let mut wrong = Vec::new();
    for (name, script) in CASES {
        let (plain, assisted) =
            (run(host, "plain", root, qemu, script)?, run(host, "assisted", root, qemu, script)?);
        if (plain == assisted) == is_known(name) {
            wrong.push(format!("{name}:\n--- plain\n{plain}--- assisted\n{assisted}"));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{root}: {} of {} cases differ:\n{}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n")
    );
    println!("    {root}: {} cases", CASES.len());
    is_counted(host, root, qemu)
}

/// What a script of known programs starts is what is counted.
fn is_counted(host: &Host, root: &str, qemu: &str) -> Result<()> {
    const SCRIPT: &str =
        "for i in {1..50}; do expr $i + 1 >/dev/null; done; for i in {1..7}; do uname >/dev/null; done
        for i in {1..3}; do LD_LIBRARY_PATH=/nowhere expr 1 + 1 >/dev/null; done
        touch /etc/ld.so.preload; expr 1 + 1 >/dev/null; LD_LIBRARY_PATH=/nowhere rm /etc/ld.so.preload";
    let system = root.split_once("/rootfs-").context("a base system")?.1;
    let file = format!("{COUNTS}{system}");
    host.shell(&format!("rm -f {file}"))?;
    run(host, "assisted", root, qemu, SCRIPT)?;
    let counts = Counts::read(&std::fs::read(host.path(&file))?);
    let none = Starts::default();
    for (name, starts) in [
        ("expr", Starts { native: 50, environment: 3, preload: 1, ..none }),
        ("uname", Starts { unlisted: 7, ..none }),
        ("touch", Starts { native: 1, ..none }),
        // Before, within and after the script.
        ("rm", Starts { native: 2, environment: 1, ..none }),
    ] {
        let counted = counts.programs.get(name).copied().unwrap_or_default();
        ensure!(counted == starts, "{root}: {name} was counted as {counted:?}, and was {starts:?}");
    }
    ensure!(counts.variables.get("LD_LIBRARY_PATH") == Some(&4), "{:?}", counts.variables);
    Ok(())
}

fn run(host: &Host, way: &str, root: &str, qemu: &str, script: &str) -> Result<String> {
    let inside = format!(
        "rm -rf /var/tmp/case; mkdir -m 777 /var/tmp/case; cd /var/tmp/case; (\n{script}\n) 2>&1; echo \"= $?\"; cd /; rm -rf /var/tmp/case"
    );
    let unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"];
    let guest = [
        "timeout",
        "300",
        "/usr/bin/env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C",
        "bash",
        "-c",
    ];
    let command =
        [&unshare[..], &["bash", "-euc", GUEST, "guest", root, qemu, way], &guest[..], &[&inside]].concat();
    Ok(host.run(&command).with_context(|| format!("run `{script}`"))?.stdout)
}
