//! A finding of one check, and the summary of all.

use eg_config::settings::Resource;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Good,
    Warning,
    #[serde(rename = "error")]
    Bad,
}

impl Level {
    /// The mark at the start of its line.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Bad => "✗",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check, in a word.
    pub check: &'static str,
    pub level: Level,
    pub message: String,
    /// The steps of the remedy; empty if all is well.
    pub advice: Vec<String>,
    /// The resource that it is about: its name, and its group's id.
    pub resource: Option<(String, String)>,
}

impl Finding {
    pub fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Good, message: message.into(), advice: Vec::new(), resource: None }
    }

    pub fn warning(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, advice: vec![advice.into()], ..Self::good(check, message) }
    }

    pub fn bad(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Bad, advice: vec![advice.into()], ..Self::good(check, message) }
    }

    pub fn about(mut self, resource: &Resource) -> Self {
        self.resource = Some((resource.name.clone(), resource.id.clone()));
        self
    }

    pub fn and(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }
}

/// Names in a sentence: all of up to three, else two and how many more.
pub fn listed(names: &[&str]) -> String {
    match names {
        [first, second, rest @ ..] if rest.len() > 1 => format!("{first}, {second} and {} more", rest.len()),
        all => all.join(", "),
    }
}

/// The closing line of all checks.
pub fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let warnings = match count(Level::Warning) {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        many => format!(", {many} warnings"),
    };
    let all = findings.len();
    match count(Level::Bad) {
        0 => format!("{all} checks passed{warnings}"),
        bad => format!("{bad} of {all} checks failed{warnings}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together() {
        let good = || Finding::good("state", "x");
        let (odd, bad) = (Finding::warning("ipv6", "x", "y"), Finding::bad("group", "x", "y"));
        for (findings, expected) in [
            (vec![good(), good()], "2 checks passed"),
            (vec![good(), odd.clone()], "2 checks passed, 1 warning"),
            (vec![good(), odd.clone(), odd, bad.clone()], "1 of 4 checks failed, 2 warnings"),
            (vec![bad], "1 of 1 checks failed"),
        ] {
            assert_eq!(summary(&findings), expected);
        }
        assert_eq!(listed(&["a", "b", "c"]), "a, b, c");
        assert_eq!(listed(&["a", "b", "c", "d"]), "a, b and 2 more");
    }
}
