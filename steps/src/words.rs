//! What the texts of a plan may be: addresses of mirrors, paths, names of accounts and packages. One rule for each, used by the
//! plan reader and by the steps, so that what cannot be right is told before anything runs.
//!
//! It does not look at the world: whether a mirror answers, or a package exists, it does not know.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::PathBuf;

/// A text that cannot be right: what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// What is wrong, with the text itself in backticks.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) help: String,
}

impl Mistake {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

type Judged = Result<(), Mistake>;

/// The ways to a mirror that apt and the templates of LXC know.
const SCHEMES: &[&str] = &["http", "https", "ftp", "file"];

/// What an address looks like.
const AN_ADDRESS: &str = "write it as `http://mirror.example.org/debian`";

/// The address of a mirror: `http://mirror.example.org/debian`, `file:/srv/mirror`.
pub(crate) fn mirror(text: &str) -> Judged {
    let wrong = |why: String| Mistake::new(format!("`{text}` is no address of a mirror: {why}"), AN_ADDRESS);
    let legal = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c);
    if let Some(c) = text.chars().find(|c| !legal(*c)) {
        return Err(wrong(format!("it holds {}", shown(c))));
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(wrong("it does not say how to get there".to_owned()));
    };
    if !SCHEMES.contains(&scheme) {
        let near = crate::plan::nearest(scheme, SCHEMES.iter().copied());
        let help = near.map_or(AN_ADDRESS.to_owned(), |near| format!("did you mean `{near}:{rest}`?"));
        return Err(Mistake::new(
            format!("`{text}` is no address of a mirror: there is no `{scheme}:`"),
            help,
        ));
    }
    let Some(rest) = rest.strip_prefix("//") else {
        return match rest.starts_with('/') && scheme == "file" {
            true => Ok(()),
            false => Err(wrong(format!("`//` is missing behind `{scheme}:`"))),
        };
    };
    if rest.contains(['?', '#']) {
        return Err(wrong("nothing may be asked of a mirror".to_owned()));
    }
    let (place, _) = rest.split_once('/').unwrap_or((rest, ""));
    if scheme == "file" {
        return if place.is_empty() && rest.len() > 1 {
            Ok(())
        } else {
            Err(wrong("a path is missing".to_owned()))
        };
    }
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    if host.starts_with('[') {
        let literal =
            host.split_once(']').and_then(|(literal, _)| literal[1..].parse::<std::net::Ipv6Addr>().ok());
        return if literal.is_some() { Ok(()) } else { Err(wrong(format!("`{host}` is no host"))) };
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let legal = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    if !name.strip_suffix('.').unwrap_or(name).split('.').all(legal) {
        return Err(wrong(if name.is_empty() {
            "it names no host".to_owned()
        } else {
            format!("`{name}` is no host")
        }));
    }
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(number)) if number > 0 => Ok(()),
        Some(_) => Err(wrong(format!("`{}` is no port", port.unwrap_or_default()))),
    }
}

/// A path from the root that every tool can be given: nothing in it that a table of mounts or of accounts, or a line of a
/// configuration, could not hold.
pub(crate) fn path(text: &str, what: &str) -> Judged {
    let help = "write a path from the root, such as `/srv/farm`";
    if !text.starts_with('/') {
        let help = if text.is_empty() || text.starts_with('~') {
            help.to_owned()
        } else {
            format!("did you mean `/{text}`?")
        };
        return Err(Mistake::new(format!("{what} `{text}` is no path from the root"), help));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(Mistake::new(format!("{what} {text:?} cannot be: it holds {}", shown(c)), help));
    }
    if text.split('/').any(|name| name == ".." || name == ".") {
        return Err(Mistake::new(format!("{what} `{text}` goes by `.` or `..`"), "write where it leads"));
    }
    if text.split('/').any(|name| name.len() > 255) || text.len() > 4095 {
        return Err(Mistake::new(format!("{what} `{text}` is longer than a path can be"), help));
    }
    Ok(())
}

/// A path as all tools write it: one slash between two names, and none at the end.
pub(crate) fn plain_path(text: &str) -> String {
    let names: Vec<_> = text.split('/').filter(|name| !name.is_empty()).collect();
    let root = if text.starts_with('/') { "/" } else { "" };
    format!("{root}{}", names.join("/"))
}

/// A path of a plan, which is the same with and without a slash at its end.
pub(crate) fn de_path<'de, D: Deserializer<'de>>(text: D) -> Result<PathBuf, D::Error> {
    String::deserialize(text).map(|text| plain_path(&text).into())
}

/// As [`de_path`], for one that may be left out.
pub(crate) fn de_optional_path<'de, D: Deserializer<'de>>(text: D) -> Result<Option<PathBuf>, D::Error> {
    Option::<String>::deserialize(text).map(|text| text.map(|text| plain_path(&text).into()))
}

/// The name of an account.
pub(crate) fn account(name: &str) -> Judged {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts_well && name.len() <= 32 && name.chars().all(legal) {
        return Ok(());
    }
    let help = "up to 32 small letters, digits, `-` and `_`, a letter first";
    Err(Mistake::new(format!("`{name}` cannot be the name of an account"), help))
}

/// The number of a user or group that is not root.
pub(crate) fn id(number: u32, what: &str) -> Judged {
    match number {
        0 => Err(Mistake::new(format!("{what} 0 is root's"), "the account needs its own")),
        // It stands for "none" in the kernel.
        u32::MAX => {
            Err(Mistake::new(format!("{what} {number} stands for none"), "the account needs its own"))
        }
        _ => Ok(()),
    }
}

/// The user or the group in `USER:GROUP`: a name, or a number.
pub(crate) fn owner(text: &str) -> Judged {
    let is_one =
        |name: &str| account(name).is_ok() || name.parse::<u32>().is_ok_and(|number| number < u32::MAX);
    match text.split_once(':') {
        Some((user, group)) if is_one(user) && is_one(group) => Ok(()),
        _ => Err(Mistake::new(format!("`{text}` is no owner"), "write `root:root` or `399:399`")),
    }
}

/// The name of a package of Debian's or one of its kin, perhaps with an architecture: `libc6:i386`.
pub(crate) fn package(name: &str) -> Judged {
    let (plain, arch) = name.split_once(':').unwrap_or((name, "all"));
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let legal = |c: char| small(c) || "+-.".contains(c);
    let is_name = plain.len() >= 2 && plain.starts_with(small) && plain.chars().all(legal);
    if is_name && !arch.is_empty() && arch.chars().all(small) {
        return Ok(());
    }
    let small = name.trim().to_lowercase().replace('_', "-");
    let help = match small != name && package(&small).is_ok() {
        true => format!("did you mean `{small}`?"),
        false => "small letters, digits, `+`, `-` and `.`".to_owned(),
    };
    Err(Mistake::new(format!("`{name}` cannot be the name of a package"), help))
}

/// The name of a package of RPM's.
pub(crate) fn rpm(name: &str) -> Judged {
    let legal = |c: char| c.is_ascii_alphanumeric() || "+-._:()/".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(legal) {
        return Ok(());
    }
    Err(Mistake::new(
        format!("`{name}` cannot be the name of a package"),
        "letters, digits, `+`, `-`, `.` and `_`",
    ))
}

/// A package that is meant, and not a set of them that is misspelt. The few real packages that are called almost like a set
/// are known.
pub(crate) fn no_misspelt_set<'a>(name: &str, mut sets: impl Iterator<Item = &'a str>) -> Judged {
    const REAL: &[&str] = &["nut-doc"];
    let is_near = |set: &&str| strsim::damerau_levenshtein(&name.to_lowercase(), set) <= 2;
    match sets.find(is_near) {
        Some(set) if set != name && !REAL.contains(&name) => {
            let message = format!("`{name}` is no set of packages");
            let help = format!(
                "did you mean `{set}`? A package that is really called so is installed by `GuestCommand`"
            );
            Err(Mistake::new(message, help))
        }
        _ => Ok(()),
    }
}

/// A character, as a message can show it.
fn shown(c: char) -> String {
    if c == ' ' {
        "a blank".to_owned()
    } else if c.is_control() {
        format!("`{}`", c.escape_default())
    } else {
        format!("`{c}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_a_slash_at_the_end_are_one() {
        for (written, plain) in
            [("/srv/a/", "/srv/a"), ("//srv//a", "/srv/a"), ("/", "/"), ("a/b/", "a/b"), ("", "")]
        {
            assert_eq!(plain_path(written), plain);
        }
    }

    #[test]
    fn mirrors_are_addresses() {
        for good in [
            "http://mirror.example.org/debian",
            "https://user:pass@mirror.example.org:8443/debian/",
            "http://10.0.3.1:8080/a",
            "http://[::1]:80/debian",
            "http://localhost",
            "file:/srv/mirror",
            "file:///srv/mirror",
            "ftp://ftp.example.org/x",
        ] {
            assert_eq!(mirror(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "htp://x",
            "not a url",
            "mirror.example.org",
            "http:/x/y",
            "http://",
            "http:///debian",
            "http://a b/",
            "http://a..b/",
            "http://a:0/",
            "http://a:99999/",
            "http://a:b/",
            "http://[::g]/",
            "http://a/\u{0}",
            "http://a/\"",
            "http://a/?x",
            "file://host/x",
            "file:x",
            "cdrom:/x",
            "http://\u{e4}.example/",
        ] {
            assert!(mirror(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_accounts_owners_and_packages() {
        for bad in ["", "a", "~/x", "/a/../b", "/a/./b", "/a\nb", "/\u{7f}"] {
            assert!(path(bad, "it").is_err(), "{bad}");
        }
        assert!(path(&format!("/{}", "x".repeat(256)), "it").is_err());
        assert!(["/", "/srv/my farm", "/srv/\u{e4}"].iter().all(|good| path(good, "it").is_ok()));
        assert!(["abuild", "_apt", "a-1"].iter().all(|good| account(good).is_ok()));
        assert!(["", "1a", "A", "a b", "a:b", "a\n", "root "].iter().all(|bad| account(bad).is_err()));
        assert!(["root:root", "399:399", "abuild:0"].iter().all(|good| owner(good).is_ok()));
        assert!(["root", ":", "a:", "A:a", "4294967295:0", "a:b:c"].iter().all(|bad| owner(bad).is_err()));
        assert!(["lxc", "libstdc++6", "g++", "libc6:i386", "0ad"].iter().all(|good| package(good).is_ok()));
        assert!(["", "x", "-y", "a b", "Wget", "lxc=1.0", "libc6:"].iter().all(|bad| package(bad).is_err()));
        assert!(id(0, "uid").is_err() && id(u32::MAX, "uid").is_err() && id(1, "uid").is_ok());
        let sets = || ["comfort", "nut-build", "nut-docs"].into_iter();
        assert!(
            ["confort", "comfrot", "nutbuild", "nut_docs", "Comfort"].iter().all(|bad| no_misspelt_set(
                bad,
                sets()
            )
            .is_err())
        );
        assert!(
            ["comfort", "nut-doc", "nut-cgi", "bash"]
                .iter()
                .all(|good| no_misspelt_set(good, sets()).is_ok())
        );
    }
}
