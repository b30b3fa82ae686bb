//! Replaces the marks in our texts (`✓`, `→`, `—`) by ASCII, for terminals that show nothing else.

use crate::host::env::Env;
use std::borrow::Cow;

/// Each mark and its stand-in, as wide as the mark, so that columns stay in line.
const STAND_INS: [(char, char); 8] =
    [('✓', '+'), ('✗', 'x'), ('→', '>'), ('—', '-'), ('·', '-'), ('─', '-'), ('↑', '^'), ('↓', 'v')];
/// In text there is room for three dots; in a drawing there is one column.
const ELLIPSIS: char = '…';
const CUT: &str = "~";
const DOTS: &str = "...";

/// True if the locale of this environment is set, and names another encoding than UTF-8.
///
/// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set counts, as in POSIX. If none is set (cron, containers), UTF-8 is
/// assumed.
pub fn wants_ascii(env: &Env) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| env.var(name));
    locale.is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        !(name.contains("utf-8") || name.contains("utf8"))
    })
}

/// A text with every mark replaced. Letters of names and messages stay: they are not ours.
pub fn in_text(text: &str) -> Cow<'_, str> {
    replaced(text, DOTS)
}

/// The same for a drawing, where nothing may get wider.
pub fn in_drawing(text: &str) -> Cow<'_, str> {
    replaced(text, CUT)
}

fn replaced<'t>(text: &'t str, ellipsis: &str) -> Cow<'t, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match STAND_INS.iter().find(|(mark, _)| *mark == letter) {
            Some((_, stand_in)) => plain.push(*stand_in),
            None if letter == ELLIPSIS => plain.push_str(ellipsis),
            None => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_model::Timestamp;
    use std::sync::Arc;

    #[test]
    fn the_locale_decides() {
        for (variables, ascii) in [
            (&[][..], false),
            (&[("LANG", "C")], true),
            (&[("LANG", "POSIX")], true),
            (&[("LANG", "")], false),
            (&[("LANG", "de_DE.ISO-8859-1")], true),
            (&[("LANG", "en_US.UTF-8")], false),
            (&[("LANG", "C.utf8")], false),
            (&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], true),
            (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], false),
            (&[("LC_ALL", ""), ("LANG", "C.UTF-8")], false),
        ] {
            let vars = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let env = Env::apart(vars, Arc::new(Timestamp::default));
            assert_eq!(wants_ascii(&env), ascii, "{variables:?}");
        }
    }

    #[test]
    fn marks_go_and_names_stay() {
        assert_eq!(in_text("✓ Session extended — sg-… → 18:00"), "+ Session extended - sg-... > 18:00");
        assert_eq!(in_drawing("a1b… ✗ ─↑↓"), "a1b~ x -^v");
        assert_eq!(in_text("Zoë"), "Zoë");
        assert!(matches!(in_text("plain"), Cow::Borrowed("plain")));
    }
}
