//! Colours or none: `--color`, then the variables that other programs heed, then the terminal.

use crate::host::env::Env;
use clap::ValueEnum;

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// True if a stream gets colours. The first row that applies decides:
///
/// | condition | colours |
/// |---|---|
/// | `--color always`, `--color never` | as it says |
/// | `NO_COLOR` is set | no |
/// | `CLICOLOR_FORCE` or `FORCE_COLOR` is set to something else than `0` or `false` | yes, also without a terminal |
/// | `CLICOLOR` or `FORCE_COLOR` is `0` or `false` | no |
/// | `TERM` is `dumb` | no |
/// | otherwise | if the stream is a terminal |
pub fn colored(env: &Env, color: Color, terminal: bool) -> bool {
    let says = |name: &str| env.var(name).map(|value| !matches!(value, "0" | "false"));
    let forced = ["CLICOLOR_FORCE", "FORCE_COLOR"].map(says);
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if env.var("NO_COLOR").is_some() => false,
        Color::Auto if forced.contains(&Some(true)) => true,
        Color::Auto if says("FORCE_COLOR") == Some(false) || says("CLICOLOR") == Some(false) => false,
        Color::Auto => terminal && env.var("TERM") != Some("dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_model::Timestamp;
    use std::sync::Arc;

    #[test]
    fn the_first_that_says_something_decides() {
        let auto = Color::Auto;
        for (variables, color, terminal, expected) in [
            (&[][..], auto, true, true),
            (&[], auto, false, false),
            (&[], Color::Always, false, true),
            (&[], Color::Never, true, false),
            (&[("TERM", "dumb")], auto, true, false),
            (&[("NO_COLOR", "1")], auto, true, false),
            (&[("NO_COLOR", "")], auto, true, true),
            (&[("NO_COLOR", "1")], Color::Always, false, true),
            (&[("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("CLICOLOR_FORCE", "1")], auto, true, false),
            (&[("CLICOLOR_FORCE", "1")], auto, false, true),
            (&[("CLICOLOR_FORCE", "1"), ("TERM", "dumb"), ("CLICOLOR", "0")], auto, false, true),
            (&[("CLICOLOR_FORCE", "0")], auto, false, false),
            (&[("CLICOLOR_FORCE", "0")], auto, true, true),
            (&[("CLICOLOR_FORCE", "1")], Color::Never, true, false),
            (&[("FORCE_COLOR", "3")], auto, false, true),
            (&[("FORCE_COLOR", "0")], auto, true, false),
            (&[("FORCE_COLOR", "false")], auto, true, false),
            (&[("FORCE_COLOR", "0")], Color::Always, true, true),
            (&[("CLICOLOR", "0")], auto, true, false),
            (&[("CLICOLOR", "1")], auto, true, true),
            (&[("CLICOLOR", "1")], auto, false, false),
        ] {
            let vars = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let env = Env::apart(vars, Arc::new(Timestamp::default));
            assert_eq!(colored(&env, color, terminal), expected, "{variables:?} {color:?} {terminal}");
        }
    }
}
