//! Text that `eg` did not write, made safe to print.

/// Writes every character that could steer a terminal or reorder a line as an escape (`\u{1b}`): C0 and C1 controls
/// with ESC, DEL and line ends, the Unicode line and paragraph separators, and the bidirectional embeddings,
/// overrides and isolates (U+202A to U+202E, U+2066 to U+2069; Unicode Standard Annex 9). All else stays as it is,
/// so doing it twice changes nothing.
#[must_use]
pub fn escape_controls(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) { safe.extend(character.escape_unicode()) } else { safe.push(character) }
    }
    safe
}

/// A JSON document in which the characters of [`escape_controls`] stand as JSON's own escapes, those too that JSON lets
/// stand as they are (DEL, C1). It means the same: outside of strings there is nothing of the kind but line ends, which
/// stay.
#[must_use]
pub fn escape_in_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' => safe.push('\n'),
            steering if steers(steering) => safe.push_str(&format!("\\u{:04x}", u32::from(steering))),
            other => safe.push(other),
        }
    }
    safe
}

fn steers(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// For a shell: quoted where it has to be.
#[must_use]
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
            ("\u{2027}\u{202f}\u{2065}\u{206a}", "\u{2027}\u{202f}\u{2065}\u{206a}"),
            ("\\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(escape_controls(text), expected);
        }
    }

    #[test]
    fn json_means_the_same() {
        let text = "plain 漢字 \u{1b}[31m \0\n\r\t\u{7f}\u{80}\u{9b}\u{9f}\u{202e}\u{2028}\u{2069} \\u007f \"";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let safe = escape_in_json(&json);
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), [text]);
        assert_eq!(safe.replace('\n', "").chars().find(|c| steers(*c)), None, "{safe:?}");
        assert_eq!(safe.lines().count(), 3, "{safe}");
    }

    #[test]
    fn quoting_for_the_shell() {
        assert_eq!(shell_quoted("/usr/bin/eg"), "/usr/bin/eg");
        assert_eq!(shell_quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }
}
