//! Texts made to fit into so many columns.

/// `text` in at most `width` columns: an ellipsis stands for what is missing at its end.
pub(super) fn cut(text: &str, width: usize) -> String {
    console::truncate_str(text, width, if width > 0 { "…" } else { "" }).into_owned()
}

/// `text` in at most `width` columns: an ellipsis stands for what is missing in its middle. The end, by which names differ
/// most, keeps more than the beginning.
pub(super) fn squeeze(text: &str, width: usize) -> String {
    let length = console::measure_text_width(text);
    if length <= width || width < 3 {
        return cut(text, width);
    }
    let first = (width - 1) / 3;
    let last = width - 1 - first;
    let beginning: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(text.chars().count().saturating_sub(last)).collect();
    format!("{beginning}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_shortened_to_the_column() {
        assert_eq!(cut("connection timed out", 11), "connection…");
        assert_eq!([cut("abc", 3), cut("abc", 1), cut("abc", 0)], ["abc", "…", ""]);
        assert_eq!(squeeze("bootstrap/debian-bookworm-arm64/configure", 22), "bootstr…rm64/configure");
        assert_eq!([squeeze("abc", 3), squeeze("abcd", 3), squeeze("abc", 2)], ["abc", "…cd", "a…"]);
    }
}
