//! Columns as wide as their content, two spaces apart, that fit into a width: first whole columns go, the least
//! needed before the others; what is still too long is cut, and the cut shows.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

const GAP: usize = 2;
/// Columns that go from this number on go before the last column is cut.
const WORTH_NO_CUT: u8 = 3;
/// Stands where something was cut.
const CUT: char = '…';

/// One cell: text that is safe to print, and its style.
pub(super) type StyledText = (String, Style);

/// A column's title, and when it goes: those with the highest number first, 0 never.
pub(super) type Column = (&'static str, u8);

/// The header, then a line for each row.
pub(super) fn lines(
    columns: &[Column],
    rows: &[Vec<StyledText>],
    width: usize,
    head: Style,
) -> (Line<'static>, Vec<Line<'static>>) {
    let widths = widths(columns, rows);
    let shown = shown(columns, &widths, width);
    let titles: Vec<StyledText> = columns.iter().map(|(title, _)| ((*title).to_owned(), head)).collect();
    let line = |row: &Vec<StyledText>| line(row, &shown, &widths, width);
    (line(&titles), rows.iter().map(line).collect())
}

/// A column without content has no width, and is not shown.
fn widths(columns: &[Column], rows: &[Vec<StyledText>]) -> Vec<usize> {
    let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|(text, _)| text.width()).max().unwrap_or(0);
    let wanted = columns.iter().enumerate().map(|(at, (title, _))| (title.width(), widest(at)));
    wanted.map(|(title, content)| if content == 0 && !rows.is_empty() { 0 } else { title.max(content) }).collect()
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

fn line(row: &[StyledText], shown: &[usize], widths: &[usize], width: usize) -> Line<'static> {
    let (mut spans, mut used) = (Vec::new(), 0);
    for at in shown {
        let Some((text, style)) = row.get(*at) else { continue };
        let text = cut(text, width.saturating_sub(used));
        let pad = (widths.get(*at).copied().unwrap_or(0) + GAP).saturating_sub(text.width());
        used += text.width() + pad;
        spans.push(Span::styled(text, *style));
        spans.push(Span::raw(" ".repeat(pad)));
    }
    Line::from(spans)
}

/// As much of a text as fits, with a mark where the rest is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 0);
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        short.push(letter);
    }
    if width > 0 {
        short.push(CUT);
    }
    short
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
        let row = |cells: [&str; 5]| cells.map(|text| (text.to_owned(), Style::new())).to_vec();
        let rows =
            [row(["a1b2", "203.0.113.42", "10:00", "6h 30m", ""]), row(["b2c3", "::1", "09:00", "漢字 closing", ""])];
        let (head, lines) = lines(&columns, &rows, width, Style::new());
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
    fn text_is_cut_and_the_cut_shows() {
        for (width, expected) in
            [(9, "漢字 open"), (8, "漢字 op…"), (4, "漢…"), (3, "漢…"), (2, "…"), (1, "…"), (0, "")]
        {
            assert_eq!(cut("漢字 open", width), expected, "{width}");
        }
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrapped("error: not permitted: no", 12), ["error: not", "permitted:", "no"]);
        assert_eq!(wrapped("unbreakable", 5), ["unbr…"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
