//! Tables without lines, as wide as their words; on a terminal, not wider than that.
//!
//! It does not know what stands in them.

use super::fit::{cut, squeeze};
use crate::output::{self, Stream};
use comfy_table::presets::NOTHING;

/// The columns around each cell.
const PADDING: usize = 2;

/// What a column gives up where the terminal is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    /// Nothing.
    Nothing,
    /// The ends of its texts; all of it, before names become unreadable.
    End,
    /// The middle of its texts, which are names.
    Middle,
    /// All of it, and that is said. Those on the right go first.
    All,
}

/// A table. Each column has a name, and something that it gives up.
pub(crate) struct Table<'a> {
    columns: Vec<(&'a str, Give)>,
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(columns: &[(&'a str, Give)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, a text for each column.
    pub(crate) fn row(&mut self, row: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }

    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The table as text, as it suits standard output.
    pub(crate) fn text(self) -> String {
        let width = output::width(Stream::Out);
        self.within(width)
    }

    fn within(mut self, width: Option<usize>) -> String {
        let left_out = width.map(|width| self.fit(width)).unwrap_or_default();
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_header(self.columns.iter().map(|(name, _)| name.to_uppercase()));
        table.add_rows(self.rows);
        let mut text = table.trim_fmt();
        if !left_out.is_empty() {
            text += &format!("\n(too narrow for: {}; `--json` has them)", left_out.join(", "));
        }
        text
    }

    /// Makes it fit. Returns the columns that had to go.
    fn fit(&mut self, width: usize) -> Vec<&'a str> {
        let mut left_out = Vec::new();
        self.shorten(width, Give::End, 16, cut);
        self.shorten(width, Give::Middle, 32, squeeze);
        while self.excess(width) > 0 {
            let Some(last) = self.columns.iter().rposition(|(_, give)| *give == Give::All) else { break };
            left_out.insert(0, self.columns[last].0);
            self.remove(last);
        }
        if self.excess(width) > 0 {
            while let Some(last) = self.columns.iter().rposition(|(_, give)| *give == Give::End) {
                self.remove(last);
            }
        }
        self.shorten(width, Give::Middle, 3, squeeze);
        left_out
    }

    /// Makes the columns that give this narrower, as far as that is needed, but not narrower than `least`.
    fn shorten(&mut self, width: usize, give: Give, least: usize, shorten: fn(&str, usize) -> String) {
        for column in 0..self.columns.len() {
            let (now, excess) = (self.width(column), self.excess(width));
            if self.columns[column].1 == give && excess > 0 && now > least {
                let new = now.saturating_sub(excess).max(least);
                self.rows.iter_mut().for_each(|row| row[column] = shorten(&row[column], new));
            }
        }
    }

    fn remove(&mut self, column: usize) {
        self.columns.remove(column);
        self.rows.iter_mut().for_each(|row| drop(row.remove(column)));
    }

    /// By how many columns of the terminal it is too wide.
    fn excess(&self, width: usize) -> usize {
        let all: usize = (0..self.columns.len()).map(|column| self.width(column) + PADDING).sum();
        all.saturating_sub(width)
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].as_str());
        cells.chain([self.columns[column].0]).map(console::measure_text_width).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<usize>) -> String {
        let columns =
            [("node", Give::Middle), ("now", Give::Nothing), ("age", Give::All), ("why", Give::End)];
        let mut table = Table::new(&columns);
        table.row([
            "bootstrap/debian-bookworm-arm64/configure",
            "running",
            "7 min 08 s",
            "it is not there yet",
        ]);
        table.row(["host/dns", "waiting", "", ""]);
        table.within(width)
    }

    #[test]
    fn it_is_whole_where_there_is_room() {
        let whole = table(None);
        assert!(whole.contains("bootstrap/debian-bookworm-arm64/configure"), "{whole}");
        assert_eq!(table(Some(200)), whole);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [24, 40, 60, 79, 80, 81, 100, 120] {
            let text = table(Some(width));
            let widest =
                text.lines().filter(|line| !line.starts_with('(')).map(console::measure_text_width).max();
            assert!(widest.is_some_and(|widest| widest <= width), "{width}:\n{text}");
            assert_eq!(text.lines().filter(|line| line.contains("running")).count(), 1, "{text}");
            let are_known = text.contains("configure") && text.contains("host/dns");
            assert!(are_known || width < 40, "{width}:\n{text}");
            assert_eq!(
                text.contains("too narrow for: age"),
                !text.contains("7 min 08 s"),
                "{width}:\n{text}"
            );
        }
    }
}
