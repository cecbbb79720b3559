//! Which nodes of a plan are meant: `--only`, `--until`, `--exclude`.
//!
//! It does no I/O and does not know what has been done already.

use crate::{Edge, Graph};
use anyhow::{Context, Result};
use drover_state::NodeId;
use globset::{GlobBuilder, GlobMatcher};
use std::fmt;

/// A pattern for nodes: a glob, of which `*` also matches slashes.
///
/// It matches a node's id; one without a slash also matches the place or the step's name alone, so that
/// `jenkins-debian12-arm64` is a container with all its steps, and `define-domain` is that step of every container.
#[derive(Clone, Debug)]
pub struct Pattern {
    glob: GlobMatcher,
    /// Whether it has no slash.
    short: bool,
}

impl Pattern {
    /// The pattern of this text.
    ///
    /// # Errors
    /// When it is no glob.
    pub fn new(text: &str) -> Result<Self> {
        let glob = GlobBuilder::new(text).literal_separator(false).build();
        let glob = glob.with_context(|| format!("`{text}` is no pattern for nodes"))?.compile_matcher();
        Ok(Self { glob, short: !text.contains('/') })
    }

    /// Whether a node is meant.
    pub fn matches(&self, id: &NodeId) -> bool {
        let is = |name: &str| self.glob.is_match(name);
        is(id.as_str()) || self.short && (is(id.place()) || is(id.step()))
    }
}

/// What the user asked for, as patterns; nothing at all is the whole plan. See [`Pattern`].
///
/// Order is kept through nodes that are left out: what waited for them waits for what they would have waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The nodes that match, and no others. What they need is not done first; should it be missing, they say so.
    pub only: Vec<String>,
    /// The nodes that match, with all that they need or that helps them, directly or not.
    pub until: Vec<String>,
    /// Without the nodes that match, and without those that cannot do without them.
    pub exclude: Vec<String>,
}

/// No node was selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NothingSelected {
    /// A pattern matches no node.
    NoMatch {
        /// The pattern.
        pattern: String,
        /// What may have been meant: the nearest places, steps and ids, best first.
        nearest: Vec<String>,
    },
    /// All that was selected was excluded again.
    AllExcluded,
}

impl fmt::Display for NothingSelected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatch { pattern, nearest } if nearest.is_empty() => {
                write!(f, "`{pattern}` matches no node of the plan; `drover graph` lists them")
            }
            Self::NoMatch { pattern, nearest } => {
                write!(f, "`{pattern}` matches no node of the plan; did you mean `{}`?", nearest.join("`, `"))
            }
            Self::AllExcluded => write!(f, "nothing is left of the plan; exclude less"),
        }
    }
}

impl std::error::Error for NothingSelected {}

impl Selection {
    /// The selected nodes: true for those of [`Graph::nodes`] that are meant.
    ///
    /// # Errors
    /// [`NothingSelected`] when a pattern matches no node or nothing is left; another error when a pattern is no glob.
    pub fn of(&self, graph: &Graph) -> Result<Vec<bool>> {
        let mut selected = vec![self.only.is_empty() && self.until.is_empty(); graph.nodes().len()];
        unite(&mut selected, &matching(graph, &self.only)?);
        let mut until = matching(graph, &self.until)?;
        graph.add_upstream(&mut until, |edge| edge != Edge::After);
        unite(&mut selected, &until);
        let mut exclude = matching(graph, &self.exclude)?;
        graph.add_downstream(&mut exclude, |edge| edge == Edge::Must);
        selected.iter_mut().zip(exclude).for_each(|(selected, excluded)| *selected &= !excluded);
        if selected.contains(&true) { Ok(selected) } else { Err(NothingSelected::AllExcluded.into()) }
    }
}

fn unite(set: &mut [bool], other: &[bool]) {
    set.iter_mut().zip(other).for_each(|(one, other)| *one |= other);
}

fn matching(graph: &Graph, patterns: &[String]) -> Result<Vec<bool>> {
    let mut set = vec![false; graph.nodes().len()];
    for pattern in patterns {
        let meant = Pattern::new(pattern)?;
        let matched: Vec<_> = graph.nodes().iter().map(|node| meant.matches(&node.id)).collect();
        if !matched.contains(&true) {
            let nearest = nearest(graph, pattern);
            return Err(NothingSelected::NoMatch { pattern: pattern.clone(), nearest }.into());
        }
        unite(&mut set, &matched);
    }
    Ok(set)
}

/// The names most like `pattern`, three at the most: a third of it may be misspelt.
fn nearest(graph: &Graph, pattern: &str) -> Vec<String> {
    let ids = graph.nodes().iter().map(|node| &node.id);
    let mut names: Vec<_> = match pattern.contains('/') {
        true => ids.map(|id| id.as_str()).collect(),
        false => ids.flat_map(|id| [id.place(), id.step()]).collect(),
    };
    names.sort_unstable();
    names.dedup();
    let distance = |name: &str| strsim::osa_distance(name, pattern);
    names.retain(|name| distance(name) <= pattern.chars().count().div_ceil(3));
    names.sort_by_key(|name| distance(name));
    names.into_iter().take(3).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;

    const PLAN: &str = "host/dns host/key arm/create:host/dns arm/start:arm/create arm/hosts:host/key? s390/create:host/dns \
         s390/hosts:arm/create+,arm/hosts~";

    fn select(only: &str, until: &str, exclude: &str) -> Result<String> {
        let graph = toy::graph(PLAN).expect("sound");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let selection = Selection { only: words(only), until: words(until), exclude: words(exclude) };
        let selected = selection.of(&graph)?;
        let nodes = graph.nodes().iter().zip(selected).filter(|(_, selected)| *selected);
        Ok(nodes.map(|(node, _)| node.id.as_str()).collect::<Vec<_>>().join(" "))
    }

    fn check(only: &str, until: &str, exclude: &str, expected: &str) {
        let found = select(only, until, exclude).unwrap_or_else(|error| format!("{error:#}"));
        assert_eq!(found, expected, "only {only:?} until {until:?} exclude {exclude:?}");
    }

    #[test]
    fn only_is_the_matching_ones_alone() {
        check("arm/start", "", "", "arm/start");
        check("arm", "", "", "arm/create arm/start arm/hosts");
        check("create", "", "", "arm/create s390/create");
        check("*/create host/k*", "", "", "host/key arm/create s390/create");
    }

    #[test]
    fn until_brings_what_is_needed() {
        check("", "arm/start", "", "host/dns arm/create arm/start");
        check("", "s390/hosts", "", "host/dns arm/create s390/hosts");
        check("host/key", "s390/create", "", "host/dns host/key s390/create");
    }

    #[test]
    fn exclude_takes_away_what_cannot_do_without() {
        check("", "", "arm/create", "host/dns host/key arm/hosts s390/create s390/hosts");
        check("", "", "host/key", "host/dns arm/create arm/start arm/hosts s390/create s390/hosts");
    }

    #[test]
    fn a_pattern_without_a_match_is_told_what_is_near() {
        check("arm/strat", "", "", "`arm/strat` matches no node of the plan; did you mean `arm/start`?");
        check("", "zzz", "", "`zzz` matches no node of the plan; `drover graph` lists them");
        check("arm", "", "arm", "nothing is left of the plan; exclude less");
        check(
            "[",
            "",
            "",
            "`[` is no pattern for nodes: error parsing glob '[': unclosed character class; missing ']'",
        );
    }
}
