//! Manuals of what is no step, but is worth a page: `drover steps` shows them beside those of steps.

/// A page of the manual.
#[derive(Debug)]
pub struct Topic {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// The page, in Markdown.
    pub manual: &'static str,
}

/// All pages.
pub static TOPICS: &[Topic] = &[Topic {
    name: "environment",
    summary: "what programs are given that Drover starts",
    manual: include_str!("topic/environment.md"),
}];
