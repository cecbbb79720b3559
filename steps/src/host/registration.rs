//! How a kernel runs programs of another processor: the entries of binfmt_misc, and those that this host's packages ship.
//!
//! It does not know which of them are wanted, and registers nothing.

use super::binfmt::REGISTRATIONS;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Which programs are run by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The emulator.
    pub(crate) interpreter: PathBuf,
    /// The kernel's letters: `F` opens the emulator at registration, so that it is found from within a container too; `O`
    /// gives it the program as an open file; `C`, which implies `O`, the program's rights, setuid bits among them; `P` the
    /// name that the program was called by.
    pub(crate) flags: String,
    /// What the programs begin with: where, which bytes, and which bits of them, in hexadecimal digits.
    offset: String,
    magic: String,
    mask: String,
}

/// An entry that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Whether it counts.
    pub(super) enabled: bool,
    /// What it says.
    pub(crate) rule: Rule,
}

impl Rule {
    /// The rule in the words that the kernel takes, by that name.
    pub(super) fn line(&self, name: &str) -> String {
        let bytes = |digits: &str| -> String {
            digits.as_bytes().chunks(2).map(|pair| format!("\\x{}", String::from_utf8_lossy(pair))).collect()
        };
        let Self { interpreter, flags, offset, .. } = self;
        let (magic, mask) = (bytes(&self.magic), bytes(&self.mask));
        format!(":{name}:M:{offset}:{magic}:{mask}:{}:{flags}", interpreter.display())
    }

    /// The same programs, to be run by another interpreter, in the words that the kernel takes: opened at once, told the
    /// program's path and own name, and with the program's rights where the emulator has them.
    pub(crate) fn with(&self, interpreter: &Path) -> String {
        let rights = if self.flags.contains('C') { "C" } else { "" };
        Self { interpreter: interpreter.to_owned(), flags: format!("PF{rights}"), ..self.clone() }
            .line("assist")
    }

    /// The same with all these flags as well.
    pub(super) fn flagged(mut self, flags: &str) -> Self {
        self.flags.extend(flags.chars().filter(|flag| !self.flags.contains(*flag)).collect::<Vec<_>>());
        self
    }

    /// Which of these flags it lacks; `C` stands for `O` as well.
    pub(super) fn lacks(&self, flags: &str) -> String {
        let has = |flag| self.flags.contains(flag) || (flag == 'O' && self.flags.contains('C'));
        flags.chars().filter(|flag| !has(*flag)).collect()
    }

    /// Whether it starts the emulator of `other` for the same programs, with all of these flags.
    pub(super) fn serves_as(&self, other: &Self, flags: &str) -> bool {
        self.is_same_but_for_flags(other) && self.lacks(flags).is_empty()
    }

    fn is_same_but_for_flags(&self, other: &Self) -> bool {
        let without = |rule: &Self| Self { flags: String::new(), ..rule.clone() };
        without(self) == without(other)
    }

    /// Whether the kernel does the same by both, whatever the order of their flags.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let sorted = |rule: &Self| {
            // The kernel shows O where C was asked for.
            let mut flags: Vec<_> =
                rule.clone().flagged(if rule.flags.contains('C') { "O" } else { "" }).flags.into_bytes();
            flags.sort_unstable();
            flags
        };
        sorted(self) == sorted(other) && self.is_same_but_for_flags(other)
    }
}

/// The entry of that name, if the kernel has one.
///
/// # Errors
/// When it cannot be read.
pub(super) fn find(name: &str) -> Result<Option<Registration>> {
    let file = Path::new(REGISTRATIONS).join(name);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            Ok(Some(of_kernel(&text).with_context(|| format!("`{}` says `{text}`", file.display()))?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

/// Registers the rule by that name, in place of what the kernel has by it.
///
/// # Errors
/// When the kernel does not take it.
pub(super) fn register(name: &str, rule: &Rule) -> Result<()> {
    if find(name)?.is_some() {
        forget(name)?;
    }
    let (line, file) = (rule.line(name), Path::new(REGISTRATIONS).join("register"));
    std::fs::write(&file, &line).with_context(|| format!("the kernel does not take `{line}`"))
}

/// Has the kernel forget the entry of that name.
///
/// # Errors
/// When it does not.
pub(super) fn forget(name: &str) -> Result<()> {
    let file = Path::new(REGISTRATIONS).join(name);
    std::fs::write(&file, "-1").with_context(|| format!("cannot write to `{}`", file.display()))
}

/// Where systemd-binfmt looks for rules; of files with the same name, the first counts.
pub(super) const BINFMT_D: [&str; 4] =
    ["/etc/binfmt.d", "/run/binfmt.d", "/usr/local/lib/binfmt.d", "/usr/lib/binfmt.d"];

/// The rule by that name which systemd-binfmt registers at boot, and the file that it stands in.
///
/// # Errors
/// When a file cannot be read, or makes no sense.
pub(super) fn of_binfmt_d(root: &Path, name: &str) -> Result<Option<(PathBuf, Rule)>> {
    for directory in BINFMT_D {
        let file = root.join(&directory[1..]).join(format!("{name}.conf"));
        let Some(text) = read(&file)? else { continue };
        // An empty one, or a link to /dev/null, hides those after it.
        let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        let Some(line) =
            lines.find(|line| line.split(line.chars().next().unwrap_or(':')).nth(1) == Some(name))
        else {
            return Ok(None);
        };
        let rule = of_line(line).with_context(|| format!("`{}` says `{line}`", file.display()))?;
        return Ok(Some((file, rule)));
    }
    Ok(None)
}

/// The rule by that name which packages ship for binfmt-support, and the file that it stands in.
///
/// # Errors
/// When the file cannot be read, or makes no sense.
pub(super) fn of_binfmt_support(root: &Path, name: &str) -> Result<Option<(PathBuf, Rule)>> {
    let file = root.join("usr/share/binfmts").join(name);
    let Some(text) = read(&file)? else { return Ok(None) };
    let rule = of_format(&text).with_context(|| format!("`{}` is no binary format", file.display()))?;
    Ok(Some((file, rule)))
}

/// The rule by that name that this host's packages ship.
///
/// # Errors
/// When a file cannot be read, or makes no sense.
pub(super) fn shipped(root: &Path, name: &str) -> Result<Option<Rule>> {
    let found = match of_binfmt_d(root, name)? {
        None => of_binfmt_support(root, name)?,
        found => found,
    };
    Ok(found.map(|(_, rule)| rule))
}

fn read(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

/// What a file below [`REGISTRATIONS`] says.
fn of_kernel(text: &str) -> Option<Registration> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let rule = Rule {
        interpreter: field("interpreter ")?.into(),
        flags: field("flags: ")?.trim().to_owned(),
        offset: field("offset ")?.to_owned(),
        magic: field("magic ")?.to_owned(),
        mask: field("mask ").unwrap_or_default().to_owned(),
    };
    Some(Registration { enabled: text.lines().next()? == "enabled", rule })
}

/// `:NAME:M:OFFSET:MAGIC:MASK:INTERPRETER:FLAGS`, where the first character is the one between the fields.
pub(super) fn of_line(line: &str) -> Option<Rule> {
    let between = line.chars().next()?;
    let fields: Vec<_> = line.split(between).collect();
    let ["", _, "M", offset, magic, mask, interpreter, flags] = fields[..] else { return None };
    let offset = if offset.is_empty() { "0" } else { offset };
    Some(Rule {
        interpreter: interpreter.into(),
        flags: flags.to_owned(),
        offset: offset.to_owned(),
        magic: digits(magic)?,
        mask: digits(mask)?,
    })
}

/// A binary format of update-binfmts(8).
fn of_format(text: &str) -> Option<Rule> {
    let field =
        |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.trim()));
    let flag = |name: &str, flag: &'static str| if field(name) == Some("yes") { flag } else { "" };
    let flags = [flag("preserve", "P"), flag("credentials", "OC"), flag("fix_binary", "F")].concat();
    Some(Rule {
        interpreter: field("interpreter")?.into(),
        flags,
        offset: field("offset").unwrap_or("0").to_owned(),
        magic: digits(field("magic")?)?,
        mask: digits(field("mask").unwrap_or_default())?,
    })
}

/// Bytes, some of them written as `\x7f`, in hexadecimal digits.
fn digits(mut text: &str) -> Option<String> {
    let mut digits = String::new();
    while let Some(first) = text.chars().next() {
        if let Some(escaped) = text.strip_prefix("\\x") {
            let pair = escaped.get(..2).filter(|pair| pair.chars().all(|c| c.is_ascii_hexdigit()))?;
            digits += &pair.to_ascii_lowercase();
            text = &escaped[2..];
        } else {
            digits += &format!("{:02x}", u8::try_from(first).ok()?);
            text = &text[first.len_utf8()..];
        }
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;

    /// As qemu-user-binfmt 10.0.13 ships it.
    const LINE: &str = r":qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:OPF";
    /// As qemu-user-static 7.2 ships it.
    const FORMAT: &str = r"package qemu-user-static
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
magic \x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00
offset 0
mask \xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff
credentials no
fix_binary yes
preserve yes
";

    #[test]
    fn the_kernels_words_are_understood() {
        let text = "enabled\ninterpreter /usr/libexec/qemu-binfmt/arm-binfmt-P\nflags: PF\noffset 0\n\
                    magic 7f454c46\nmask ffffff00\n";
        let found = of_kernel(text).expect("the kernel's words");
        assert!(
            found.enabled && found.rule.interpreter == Path::new("/usr/libexec/qemu-binfmt/arm-binfmt-P")
        );
        let ours = r":assist:M:0:\x7f\x45\x4c\x46:\xff\xff\xff\x00:/run/switch:PF";
        assert_eq!(found.rule.with(Path::new("/run/switch")), ours);
        assert_eq!(of_kernel("what"), None);
    }

    #[test]
    fn what_either_package_ships_is_the_same_but_for_its_flags() {
        let (line, format) = (of_line(LINE).expect("a line"), of_format(FORMAT).expect("a format"));
        assert_eq!((line.flags.as_str(), format.flags.as_str()), ("OPF", "PF"));
        assert_eq!(format.lacks("OCF"), "OC");
        let flagged = format.flagged("OCF");
        assert!(flagged.lacks("OCF").is_empty() && !flagged.is_same(&line));
        assert!(line.clone().flagged("C").is_same(&flagged));
        assert!(line.line("qemu-aarch64").ends_with(":/usr/libexec/qemu-binfmt/aarch64-binfmt-P:OPF"));
        assert_eq!(of_line(&line.line("x")), Some(line));
    }

    #[test]
    fn the_first_of_the_files_of_that_name_counts() -> Result<()> {
        let root = tempfile::tempdir()?;
        let write = |path: &str, text: &str| -> Result<()> {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().expect("below the root"))?;
            Ok(std::fs::write(file, text)?)
        };
        let found = || shipped(root.path(), "qemu-aarch64");
        assert_eq!(found()?, None);
        write("usr/share/binfmts/qemu-aarch64", FORMAT)?;
        assert_eq!(found()?.expect("a format").flags, "PF");
        write("usr/lib/binfmt.d/qemu-aarch64.conf", &format!("# emulator\n{LINE}\n"))?;
        assert_eq!(found()?.expect("a line").flags, "OPF");
        write("etc/binfmt.d/qemu-aarch64.conf", &LINE.replace("OPF", "PF"))?;
        assert_eq!(found()?.expect("a line").flags, "PF");
        write("etc/binfmt.d/qemu-aarch64.conf", ":qemu-aarch64:what")?;
        assert!(format!("{:#}", found().expect_err("no rule")).contains("etc/binfmt.d"));
        Ok(())
    }
}
