//! The tables of `docs/configuration.md`, which the manual pages repeat. Tests compare them with the program.

const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");

/// The rows of the table under a heading, without its head: the cells as Markdown.
pub(super) fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = CONFIGURATION.split_once(&format!("\n{heading}\n")).map_or("", |(_, rest)| rest);
    let lines = section.lines().take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with('|'));
    lines.skip(2).map(cells).collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The pieces of a Markdown text, each with true for code. Links and emphasis are reduced to their words.
pub(super) fn pieces(markdown: &str) -> Vec<(bool, String)> {
    let text = without_links(markdown);
    let pieces = text.split('`').enumerate().map(|(at, piece)| match at % 2 == 1 {
        true => (true, piece.to_owned()),
        false => (false, piece.replace('*', "")),
    });
    pieces.filter(|(_, piece)| !piece.is_empty()).collect()
}

fn without_links(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        text += before;
        match link.split_once("](").and_then(|(words, target)| Some((words, target.split_once(')')?.1))) {
            Some((words, after)) if !words.contains(']') => {
                text += words;
                rest = after;
            }
            _ => {
                text.push('[');
                rest = link;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_that_pages_repeat_is_there() {
        for (heading, cells, least) in
            [("### Every key", 5, 30), ("### What the environment says", 2, 10), ("## Exit status", 2, 6)]
        {
            let rows = rows(heading);
            assert!(rows.len() >= least, "{heading}: {rows:?}");
            assert!(rows.iter().all(|row| row.len() == cells), "{heading}: {rows:?}");
        }
    }

    #[test]
    fn links_and_code() {
        let piece = |code, text: &str| (code, text.to_owned());
        assert_eq!(
            pieces("a `[detect]` in [cloud expiry](cloud.md), `x`"),
            [piece(false, "a "), piece(true, "[detect]"), piece(false, " in cloud expiry, "), piece(true, "x")]
        );
        assert_eq!(pieces("*required*; `*` and `?`")[..2], [piece(false, "required; "), piece(true, "*")]);
        assert_eq!(pieces("`[]`: never"), [piece(true, "[]"), piece(false, ": never")]);
    }
}
