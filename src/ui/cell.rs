//! Cells and rows: columns as wide as their content, two spaces apart. `table` writes them as text, the dashboard draws
//! them.

use anstyle::Style;
use eg_model::text::escape_controls;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The spaces between two columns.
pub const GAP: usize = 2;

/// One cell: text, with controls escaped, and perhaps a style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub style: Option<Style>,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: escape_controls(text.as_ref()), style: None }
    }

    /// Text in a style, which does not count for the column's width.
    pub fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self { style: Some(style), ..Self::new(text) }
    }

    /// The cell alone, for use in a line of text.
    pub fn render(&self) -> String {
        match self.style {
            Some(style) => format!("{style}{}{style:#}", self.text),
            None => self.text.clone(),
        }
    }

    pub fn width(&self) -> usize {
        self.text.width()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// The width of each column, `least` included.
pub fn widths<'c>(least: Vec<usize>, rows: impl IntoIterator<Item = &'c Vec<Cell>>) -> Vec<usize> {
    rows.into_iter().fold(least, |mut widths, cells| {
        widths.resize(widths.len().max(cells.len()), 0);
        widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = cell.width().max(*width));
        widths
    })
}

/// The cells of a row that hold text, each with the number of spaces before it: no line ends in spaces.
pub fn spaced<'c>(cells: impl IntoIterator<Item = &'c Cell>, widths: &[usize]) -> Vec<(usize, &'c Cell)> {
    let (mut row, mut spaces) = (Vec::new(), 0);
    for (cell, width) in cells.into_iter().zip(widths) {
        if !cell.text.is_empty() {
            row.push((spaces, cell));
            spaces = 0;
        }
        spaces += width.saturating_sub(cell.width()) + GAP;
    }
    row
}

/// As much of a text as fits into so many columns, with a mark where the rest is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let fits = |letter: &char| {
        used += letter.width().unwrap_or(0);
        used < width
    };
    let mark = (width > 0).then_some('…');
    text.chars().take_while(fits).chain(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn text_is_cut_and_the_cut_shows() {
        for (width, expected) in
            [(9, "漢字 open"), (8, "漢字 op…"), (4, "漢…"), (3, "漢…"), (2, "…"), (1, "…"), (0, "")]
        {
            assert_eq!(cut("漢字 open", width), expected, "{width}");
        }
        for (text, width, expected) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("", 3, ""),
        ] {
            assert_eq!(cut(text, width), expected, "{text} {width}");
        }
    }
}
