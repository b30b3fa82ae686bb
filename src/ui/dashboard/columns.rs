//! Columns that fit into a width: first whole columns go, the least needed before the others; then a text that is still
//! too long is cut, and the cut shows.

use crate::ui::{
    cell::{Cell, GAP, cut, spaced, widths},
    style,
};
use ratatui::{
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

/// Columns that go from this number on go before the last column is cut.
const WORTH_NO_CUT: u8 = 3;

/// A column's title and its rank: the columns with the highest rank go first, those with rank 0 never.
pub(super) type Column = (&'static str, u8);

/// The header, then a line for each row. `paint` turns the style of a cell into that of the drawing.
pub(super) fn lines(
    columns: &[Column],
    rows: &[Vec<Cell>],
    width: usize,
    paint: impl Fn(anstyle::Style) -> Style,
) -> (Line<'static>, Vec<Line<'static>>) {
    let titles: Vec<Cell> = columns.iter().map(|(title, _)| Cell::styled(title, style::ENDED)).collect();
    let content = widths(vec![0; columns.len()], rows);
    let mut widths = widths(content.clone(), [&titles]);
    if !rows.is_empty() {
        // A column without content is not shown.
        widths.iter_mut().zip(&content).filter(|(_, content)| **content == 0).for_each(|(width, _)| *width = 0);
    }
    let shown = shown(columns, &widths, width);
    let line = |row: &Vec<Cell>| line(row, &shown, &widths, width, &paint);
    (line(&titles), rows.iter().map(line).collect())
}

/// The columns that stay. The last one may be cut, but first those go that are not worth a cut.
fn shown(columns: &[Column], widths: &[usize], width: usize) -> Vec<usize> {
    let width_of = |at: &usize| widths.get(*at).copied().unwrap_or(0);
    let rank = |at: &usize| columns.get(*at).map_or(0, |(_, rank)| *rank);
    let title = |at: &usize| columns.get(*at).map_or(0, |(title, _)| title.width());
    let mut shown: Vec<usize> = (0..columns.len()).filter(|at| width_of(at) > 0).collect();
    while let Some(least) = shown.iter().copied().max_by_key(|at| (rank(at), *at)).filter(|at| rank(at) > 0) {
        let cut = shown.last().map_or(0, |last| width_of(last).saturating_sub(title(last)));
        let whole = shown.iter().map(|at| width_of(at) + GAP).sum::<usize>().saturating_sub(GAP);
        if whole <= width || (rank(&least) < WORTH_NO_CUT && whole - cut <= width) {
            break;
        }
        shown.retain(|at| *at != least);
    }
    shown
}

fn line(
    row: &[Cell],
    shown: &[usize],
    widths: &[usize],
    width: usize,
    paint: impl Fn(anstyle::Style) -> Style,
) -> Line<'static> {
    let widths: Vec<usize> = shown.iter().filter_map(|at| widths.get(*at).copied()).collect();
    let mut used = 0;
    let fitted = |(cell, column): (&Cell, &usize)| {
        let cell = Cell { text: cut(&cell.text, width.saturating_sub(used)), style: cell.style };
        used += column + GAP;
        cell
    };
    let cells: Vec<Cell> = shown.iter().filter_map(|at| row.get(*at)).zip(&widths).map(fitted).collect();
    let span = |(spaces, cell): (usize, &Cell)| {
        let style = cell.style.map_or_else(Style::new, &paint);
        [Span::raw(" ".repeat(spaces)), Span::styled(cell.text.clone(), style)]
    };
    spaced(&cells, &widths).into_iter().flat_map(span).collect()
}

/// A text in lines of at most this width, broken between words where there are any.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let fits = |line: &String| line.width() + word.trim_end().width() <= width;
        match lines.last_mut().filter(|line| line.is_empty() || fits(line)) {
            Some(line) => line.push_str(word),
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line.trim_end(), width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_at(width: usize) -> String {
        let columns = [("ID", 0), ("IP", 2), ("STARTED", 1), ("LEFT", 0), ("NONE", 0)];
        let row = |cells: [&str; 5]| cells.map(Cell::from).to_vec();
        let rows =
            [row(["a1b2", "203.0.113.42", "10:00", "6h 30m", ""]), row(["b2c3", "::1", "09:00", "漢字 closing", ""])];
        let (head, lines) = lines(&columns, &rows, width, |_| Style::new());
        let text = |line: &Line<'_>| line.to_string().trim_end().to_owned();
        [&head].into_iter().chain(&lines).map(|line| text(line) + "\n").collect()
    }

    #[test]
    fn columns_go_before_anything_is_cut() {
        let whole = "\
ID    IP            STARTED  LEFT
a1b2  203.0.113.42  10:00    6h 30m
b2c3  ::1           09:00    漢字 closing
";
        assert_eq!(shown_at(80), whole);
        assert_eq!(
            shown_at(20),
            "ID    STARTED  LEFT\na1b2  10:00    6h …\nb2c3  09:00    漢…\n"
                .replace("6h …", "6h 3…")
                .replace("漢…", "漢字…")
        );
        assert_eq!(shown_at(10), "ID    LEFT\na1b2  6h …\nb2c3  漢…\n");
        assert_eq!(shown_at(3), "ID\na1…\nb2…\n");
        assert_eq!(shown_at(0), "\n\n\n");
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrapped("error: not permitted: no", 12), ["error: not", "permitted:", "no"]);
        assert_eq!(wrapped("unbreakable", 5), ["unbr…"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
