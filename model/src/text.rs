//! Makes text that `eg` did not write safe to print, and quotes words for a shell.

use unicode_width::UnicodeWidthChar;

/// Writes as an escape (`\u{1b}`) every character that could steer a terminal, reorder a line, or hide in it, so that two
/// texts that differ look different:
///
/// | characters | why |
/// |---|---|
/// | C0 and C1 controls with ESC, DEL and line ends; the Unicode line and paragraph separators | they steer a terminal |
/// | the bidirectional marks, embeddings, overrides and isolates (Unicode Standard Annex 9) | they reorder a line |
/// | everything else that Unicode calls default ignorable (zero-width spaces and joiners, variation selectors, tags, …), and interlinear annotations | they do not show |
/// | combining marks, but for up to four that follow a letter | they change how a digit or a sign looks, or pile up |
///
/// Every other character stays, so doing it twice changes nothing.
pub fn escape_controls(text: &str) -> String {
    escaped(text, |character, safe| safe.extend(character.escape_unicode()))
}

/// Writes the characters of [`escape_controls`] as JSON's own escapes, including DEL and C1, which JSON would allow. The
/// document means the same: outside of strings only line ends are such characters, and they stay.
pub fn escape_in_json(json: &str) -> String {
    escaped(json, |character, safe| match character {
        '\n' => safe.push('\n'),
        other => {
            let mut units = [0; 2];
            for unit in other.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    })
}

/// The most combining marks of one letter: Vietnamese and Hebrew take two or three.
const MARKS: usize = 4;

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut marks_left = 0;
    for character in text.chars() {
        let is_mark = character.width() == Some(0);
        if steers_or_hides(character) || (is_mark && marks_left == 0) {
            escape(character, &mut safe);
            marks_left = 0;
            continue;
        }
        marks_left = match is_mark {
            true => marks_left - 1,
            false if character.is_alphabetic() => MARKS,
            false => 0,
        };
        safe.push(character);
    }
    safe
}

/// True for controls, separators, interlinear annotations, and characters that Unicode calls default ignorable
/// (`DerivedCoreProperties.txt`, Unicode 17).
fn steers_or_hides(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A word for a shell, quoted if it has to be.
pub fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@,+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_become_visible() {
        for (text, expected) in [
            ("plain, naïve, 漢字, 👍", "plain, naïve, 漢字, 👍"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb\r\tc\0", "a\\u{a}b\\u{d}\\u{9}c\\u{0}"),
            ("\u{7f}\u{80}\u{9b}\u{9f}\u{a0}", "\\u{7f}\\u{80}\\u{9b}\\u{9f}\u{a0}"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", "\\u{202a}\\u{202e}\\u{2066}\\u{2069}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("\u{2027}\u{202f}\u{2065}\u{206a}", "\u{2027}\u{202f}\\u{2065}\\u{206a}"),
            ("a\u{200b}b\u{200d}\u{feff}\u{ad}", "a\\u{200b}b\\u{200d}\\u{feff}\\u{ad}"),
            ("\u{200e}\u{200f}\u{61c}", "\\u{200e}\\u{200f}\\u{61c}"),
            ("x\u{fe0f}\u{e0041}\u{3164}", "x\\u{fe0f}\\u{e0041}\\u{3164}"),
            // A letter may have a few marks; other characters none.
            ("e\u{301} Viê\u{323}t हिन्दी", "e\u{301} Viê\u{323}t हिन्दी"),
            ("1\u{338}.\u{301}/ \u{20dd}", "1\\u{338}.\\u{301}/ \\u{20dd}"),
            ("a\u{301}\u{301}\u{301}\u{301}\u{301}", "a\u{301}\u{301}\u{301}\u{301}\\u{301}"),
            ("\u{301}a", "\\u{301}a"),
            ("\\u{1b}", "\\u{1b}"),
        ] {
            let safe = escape_controls(text);
            assert_eq!(safe, expected);
            assert_eq!(escape_controls(&safe), safe);
        }
    }

    #[test]
    fn json_means_the_same() {
        let text = "plain 漢字 \u{1b}[31m \0\n\r\t\u{7f}\u{80}\u{9b}\u{9f}\u{202e}\u{2028}\u{2069}\u{200b}\u{e0041}1\u{338} \\u007f \"";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let safe = escape_in_json(&json);
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), [text]);
        assert_eq!(safe.replace('\n', "").chars().find(|c| steers_or_hides(*c)), None, "{safe:?}");
        assert_eq!(safe.lines().count(), 3, "{safe}");
    }

    #[test]
    fn quoting_for_the_shell() {
        assert_eq!(shell_quoted("/usr/bin/eg"), "/usr/bin/eg");
        assert_eq!(shell_quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }
}
