//! Tables: nothing is cut off, and no line ends in spaces. On a terminal that is too narrow for a row, its last columns go
//! to lines of their own below, so that no word is broken.

pub use crate::ui::cell::Cell;

use crate::ui::cell::{self, GAP};
use std::ops::Range;

/// The indent of a row's further lines.
const INDENT: usize = 4;

/// A header, rows, and lines that belong under a row without being part of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    lines: Vec<Line>,
    /// The least width of each column.
    least: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Row(Vec<Cell>),
    Note(Cell),
}

impl Table {
    /// A table with a header row.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { lines: vec![Line::Row(header.into_iter().map(Cell::new).collect())], least: Vec::new() }
    }

    /// An empty table without a header, with at least the column widths of this one.
    pub fn below(&self) -> Self {
        Self { lines: Vec::new(), least: self.widths() }
    }

    /// Adds a row. A row shorter than the header leaves the rest empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        self.lines.push(Line::Row(cells.into_iter().collect()));
        self
    }

    /// Adds an indented line under the last row; it widens no column.
    pub fn note(&mut self, note: impl Into<Cell>) -> &mut Self {
        self.lines.push(Line::Note(note.into()));
        self
    }

    /// The table as text, each line ended by a newline; styles are written as ANSI sequences for the printer to keep
    /// or strip.
    pub fn render(&self) -> String {
        self.render_in(None)
    }

    /// The same for a terminal of so many columns. A single column that is wider stays as it is.
    pub fn render_in(&self, columns: Option<usize>) -> String {
        let widths = self.widths();
        let folds = folds(&widths, columns.unwrap_or(usize::MAX));
        let line = |line: &Line| match line {
            Line::Row(cells) => render_folded(cells, &widths, &folds),
            Line::Note(note) => format!("{}{}\n", " ".repeat(GAP), note.render()),
        };
        self.lines.iter().map(line).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let rows = self.lines.iter().filter_map(|line| match line {
            Line::Row(cells) => Some(cells),
            Line::Note(_) => None,
        });
        cell::widths(self.least.clone(), rows)
    }
}

/// The columns that share a line.
fn folds(widths: &[usize], columns: usize) -> Vec<Range<usize>> {
    let (mut folds, mut from, mut used) = (Vec::new(), 0, 0);
    for (at, width) in widths.iter().enumerate() {
        if at > from && used + GAP + width > columns {
            folds.push(from..at);
            (from, used) = (at, INDENT + width);
        } else {
            used += if at == from { *width } else { GAP + width };
        }
    }
    folds.push(from..widths.len());
    folds
}

/// A line for each fold that holds something, and at least one.
fn render_folded(cells: &[Cell], widths: &[usize], folds: &[Range<usize>]) -> String {
    let mut text = String::new();
    for (number, fold) in folds.iter().enumerate() {
        let cells = cells.get(fold.start..fold.end.min(cells.len())).unwrap_or_default();
        // A further line with nothing but dashes is left out, too.
        if cells.iter().all(|cell| cell.text.is_empty() || (number > 0 && cell.text == "-")) {
            continue;
        }
        text.push_str(&" ".repeat(if number == 0 { 0 } else { INDENT }));
        for (spaces, cell) in cell::spaced(cells, widths.get(fold.clone()).unwrap_or_default()) {
            text.push_str(&" ".repeat(spaces));
            text.push_str(&cell.render());
        }
        text.push('\n');
    }
    if text.is_empty() { "\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::style;

    #[test]
    fn columns_fit_their_content() {
        let mut table = Table::new(["ID", "STATUS", "IP", "STARTED", "REMAINING"]);
        table.row(["a1b2c3d4", "ACTIVE", "203.0.113.42", "2026-02-27 10:00:00", "6h 30m"].map(Cell::from));
        table.row(["b2c3d4e5", "EXPIRED", "203.0.113.42", "2026-02-26 14:00:00", "expired"].map(Cell::from));
        let expected = "\
ID        STATUS   IP            STARTED              REMAINING
a1b2c3d4  ACTIVE   203.0.113.42  2026-02-27 10:00:00  6h 30m
b2c3d4e5  EXPIRED  203.0.113.42  2026-02-26 14:00:00  expired
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn a_style_has_no_width() {
        let mut table = Table::new(["STATUS", "IP"]);
        table.row([Cell::styled("ACTIVE", style::GOOD), Cell::from("1.2.3.4")]);
        table.row([Cell::styled("EXPIRED", style::ENDED), Cell::from("1.2.3.4")]);
        let expected = "STATUS   IP\n\u{1b}[32mACTIVE\u{1b}[0m   1.2.3.4\n\u{1b}[2mEXPIRED\u{1b}[0m  1.2.3.4\n";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn no_trailing_spaces_and_no_holes() {
        let mut table = Table::new(["A", "B", "C"]);
        table.row(["", "long", ""].map(Cell::from));
        table.row(["x", "", "z"].map(Cell::from));
        table.row([Cell::from("only")]);
        assert_eq!(table.render(), "A     B     C\n      long\nx           z\nonly\n");
    }

    #[test]
    fn wide_characters_count_twice() {
        let mut table = Table::new(["NAME", "X"]);
        table.row(["漢字漢", "1"].map(Cell::from));
        table.row(["é", "2"].map(Cell::from));
        table.row(["e\u{301}", "3"].map(Cell::from));
        assert_eq!(table.render(), "NAME    X\n漢字漢  1\né       2\ne\u{301}       3\n");
    }

    #[test]
    fn foreign_text_cannot_break_a_row() {
        let mut table = Table::new(["NAME", "X"]);
        table.row(["a\n\u{1b}[2J", "1"].map(Cell::from));
        assert_eq!(table.render(), "NAME             X\na\\u{a}\\u{1b}[2J  1\n");
    }

    #[test]
    fn a_row_that_does_not_fit_goes_on_below() {
        let mut table = Table::new(["RESOURCE", "PERMISSION", "RULE", "UNTIL"]);
        table.row(["api", "tcp/22 from 1.2.3.4/32", "sgr-1", "18:00"].map(Cell::from));
        table.row(["", "", "", "12:00"].map(Cell::from));
        table.row(["database", "-", "-", "-"].map(Cell::from));
        table.note("a note");
        let narrow = "\
RESOURCE  PERMISSION
    RULE   UNTIL
api       tcp/22 from 1.2.3.4/32
    sgr-1  18:00
           12:00
database  -
  a note
";
        assert_eq!(table.render_in(Some(32)), narrow);
        assert_eq!(table.render_in(Some(46)), table.render());
        assert_eq!(table.render_in(Some(45)).lines().next(), Some("RESOURCE  PERMISSION              RULE"));
        let one = "RESOURCE\n    PERMISSION\n    RULE\n    UNTIL\napi\n    tcp/22 from 1.2.3.4/32\n    sgr-1\n    18:00\n    12:00\ndatabase\n  a note\n";
        assert_eq!(table.render_in(Some(1)), one);
        assert_eq!(Table::default().render_in(Some(1)), "");
    }

    #[test]
    fn rows_that_come_later_stand_below() {
        let mut table = Table::new(["ID", "STATUS"]);
        table.row(["longer", "ACTIVE"].map(Cell::from));
        let mut more = table.below();
        assert_eq!(more.render(), "");
        more.row(["x", "PENDING"].map(Cell::from));
        assert_eq!(more.render(), "x       PENDING\n");
    }

    #[test]
    fn a_note_widens_nothing() {
        let mut table = Table::new(["RESOURCE", "STATUS"]);
        table.row(["api", "FAILED"].map(Cell::from));
        table.note("tcp/22: quota reached, and much more than fits");
        table.row(["db", "APPLIED"].map(Cell::from));
        let expected =
            "RESOURCE  STATUS\napi       FAILED\n  tcp/22: quota reached, and much more than fits\ndb        APPLIED\n";
        assert_eq!(table.render(), expected);
    }
}
