//! Lines of passwd, group, shadow and gshadow. It knows no files.

use anyhow::{Result, bail, ensure};

/// One of the tables, and what it has to say about an account.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Where it is in a root file system.
    pub file: &'static str,
    /// The line of an account that is not there yet; the name is its first field.
    pub line: String,
    /// The id, by the place of its field: nobody else may have it, and the account no other.
    pub id: Option<(usize, String)>,
    /// Other fields that must read so, by their places.
    pub set: Vec<(usize, String)>,
    /// Whether a system without this table is broken.
    pub required: bool,
}

impl Table {
    /// The table's text with the account in it, as it has to be.
    ///
    /// # Errors
    /// When somebody else has its id, or it has another one.
    pub(crate) fn edited(&self, before: &str) -> Result<String> {
        let name = self.name();
        if let Some((place, id)) = &self.id {
            check_id(before, name, *place, id)?;
        }
        if !before.lines().any(|line| field(line, 0) == name) {
            let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            return Ok(format!("{before}{gap}{}\n", self.line));
        }
        let lines = before.split_inclusive('\n');
        Ok(lines
            .map(|line| if field(line, 0) == name { self.corrected(line) } else { line.to_owned() })
            .collect())
    }

    fn name(&self) -> &str {
        field(&self.line, 0)
    }

    fn corrected(&self, line: &str) -> String {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let mut fields: Vec<&str> = line.trim_end_matches('\n').split(':').collect();
        for (place, value) in &self.set {
            if let Some(field) = fields.get_mut(*place) {
                *field = value;
            }
        }
        fields.join(":") + end
    }
}

fn field(line: &str, place: usize) -> &str {
    line.trim_end_matches('\n').split(':').nth(place).unwrap_or_default()
}

fn check_id(table: &str, name: &str, place: usize, id: &str) -> Result<()> {
    for line in table.lines() {
        let (who, has) = (field(line, 0), field(line, place));
        if who == name {
            ensure!(
                has == id,
                "`{name}` has the id {has}, and should have {id}: remove it, or change the plan"
            );
        } else if has == id {
            bail!("the id {id} of `{name}` is taken by `{who}`: give that another one, or change the plan");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwd() -> Table {
        Table {
            file: "etc/passwd",
            line: "abuild:x:399:398::/home/abuild:/bin/bash".to_owned(),
            id: Some((2, "399".to_owned())),
            set: vec![(3, "398".to_owned()), (5, "/home/abuild".to_owned())],
            required: true,
        }
    }

    #[test]
    fn adds_once_corrects_and_refuses() {
        let root = "root:x:0:0:root:/root:/bin/bash\n";
        let once = passwd().edited(root).expect("added");
        assert_eq!(once, format!("{root}abuild:x:399:398::/home/abuild:/bin/bash\n"));
        assert_eq!(passwd().edited(&once).expect("the same"), once);
        let moved = format!("abuild:x:399:5:CI:/home/x:/bin/sh\n{root}");
        let corrected = passwd().edited(&moved).expect("corrected");
        assert_eq!(corrected, format!("abuild:x:399:398:CI:/home/abuild:/bin/sh\n{root}"));
        assert!(passwd().edited("abuild:x:1000:398::/:/bin/sh\n").is_err());
        assert!(passwd().edited("obs:x:399:398::/:/bin/sh\n").is_err());
        assert!(
            passwd().edited("abuilder:x:1000:399::/:/bin/sh").expect("added").contains("bin/sh\nabuild:")
        );
    }
}
