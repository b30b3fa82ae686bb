//! The text for launchd, which the user installs by hand. Pure.

use crate::schedule::job::Job;
use eg_model::text::shell_quoted;

fn label(job: &Job) -> String {
    format!("eg.reconcile.{}", job.id())
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A property list for `~/Library/LaunchAgents` (launchd.plist(5)).
pub fn property_list(job: &Job) -> String {
    let string = |text: &str, indent: &str| format!("{indent}<string>{}</string>\n", xml(text));
    let words: String = job.words().iter().map(|word| string(word, "    ")).collect();
    let pair = |(name, value): &(String, String)| format!("    <key>{}</key>\n{}", xml(name), string(value, "    "));
    let env: String = job.env.iter().map(pair).collect();
    let env = if env.is_empty() {
        String::new()
    } else {
        format!("  <key>EnvironmentVariables</key>\n  <dict>\n{env}  </dict>\n")
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n  <key>Label</key>\n{}  \
         <key>ProgramArguments</key>\n  <array>\n{words}  </array>\n{env}  <key>StartInterval</key>\n  \
         <integer>60</integer>\n  <key>RunAtLoad</key>\n  <true/>\n</dict>\n</plist>\n",
        string(&label(job), "  "),
    )
}

/// The user's steps to install the [`property_list`].
pub fn steps(job: &Job) -> Vec<String> {
    let path = launch_agent(job);
    vec![format!("save it as {path}"), format!("then: launchctl bootstrap gui/$(id -u) {path}")]
}

/// The user's steps to remove the [`property_list`].
pub fn removal(job: &Job) -> Vec<String> {
    let mut steps =
        vec![format!("run: launchctl bootout gui/$(id -u)/{}", label(job)), format!("then: rm {}", launch_agent(job))];
    if !job.secrets.is_empty() {
        let file = job.variables_file();
        steps.push(format!("and the file with its password: rm {}", shell_quoted(&file.to_string_lossy())));
    }
    steps
}

fn launch_agent(job: &Job) -> String {
    format!("~/Library/LaunchAgents/{}.plist", label(job))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::job::tests::awkward;

    #[test]
    fn quoted_for_launchd() {
        let text = property_list(&awkward());
        assert!(text.contains("<string>/c%d/it's.toml</string>"), "{text}");
        assert!(text.contains("<string>http://proxy:3128/%40?a&amp;b&lt;c&gt;</string>"), "{text}");
        let bare = Job { env: Vec::new(), ..awkward() };
        assert!(!property_list(&bare).contains("EnvironmentVariables"));
    }

    #[test]
    fn a_password_stays_out_of_the_property_list() {
        let job = Job { secrets: vec![("HTTPS_PROXY".into(), "http://u:secret@p:1".into())], ..awkward() };
        let text = property_list(&job);
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("<string>--env-file</string>\n    <string>/s/$x \"q\".db.env</string>"), "{text}");
        assert_eq!(removal(&job).last().unwrap(), "and the file with its password: rm '/s/$x \"q\".db.env'");
    }
}
