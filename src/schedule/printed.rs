//! Schedulers for which `eg` prints what to install: launchd and the Task Scheduler. Pure.

use super::Job;

/// The job's name.
#[must_use]
pub fn label(job: &Job) -> String {
    format!("eg.reconcile.{}", job.id())
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A property list for `~/Library/LaunchAgents` (launchd.plist(5)).
#[must_use]
pub fn launchd(job: &Job) -> String {
    let string = |text: &str, indent: &str| format!("{indent}<string>{}</string>\n", xml(text));
    let words: String = job.command.iter().map(|word| string(word, "    ")).collect();
    let pair = |(name, value): &(String, String)| format!("    <key>{}</key>\n{}", xml(name), string(value, "    "));
    let env: String = job.env.iter().chain(&job.secrets).map(pair).collect();
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

/// What to do with [`launchd`]'s text.
#[must_use]
pub fn launchd_steps(job: &Job) -> Vec<String> {
    let path = launch_agent(job);
    vec![format!("save it as {path}"), format!("then: launchctl bootstrap gui/$(id -u) {path}")]
}

/// How to take it away again.
#[must_use]
pub fn launchd_removal(job: &Job) -> Vec<String> {
    vec![format!("run: launchctl bootout gui/$(id -u)/{}", label(job)), format!("then: rm {}", launch_agent(job))]
}

fn launch_agent(job: &Job) -> String {
    format!("~/Library/LaunchAgents/{}.plist", label(job))
}

/// As `cmd.exe` takes a word.
fn windows_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || r"\/._-:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("\\\"{text}\\\"") }
}

/// A `schtasks` command line. A task has no variables of its own, so they are set on the way.
#[must_use]
pub fn task_scheduler(job: &Job) -> String {
    let words: Vec<String> = job.command.iter().map(|word| windows_word(word)).collect();
    let set: String =
        job.env.iter().chain(&job.secrets).map(|(name, value)| format!("set {name}={value}&& ")).collect();
    let run = if set.is_empty() { words.join(" ") } else { format!("cmd /c {set}{}", words.join(" ")) };
    format!("schtasks /Create /F /SC MINUTE /MO 1 /TN \"{}\" /TR \"{run}\"\n", label(job))
}

/// How to take that task away again.
#[must_use]
pub fn task_removal(job: &Job) -> String {
    format!("run: schtasks /Delete /F /TN \"{}\"", label(job))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::awkward, *};

    #[test]
    fn quoted_for_launchd() {
        let text = launchd(&awkward());
        assert!(text.contains("<string>/c%d/it's.toml</string>"), "{text}");
        assert!(text.contains("<string>http://proxy:3128/%40?a&amp;b&lt;c&gt;</string>"), "{text}");
        let bare = Job { env: Vec::new(), ..awkward() };
        assert!(!launchd(&bare).contains("EnvironmentVariables"));
    }

    #[test]
    fn quoted_for_windows() {
        let job = Job { env: Vec::new(), command: vec![r"C:\a b\eg.exe".into(), "reconcile".into()], ..awkward() };
        assert!(task_scheduler(&job).ends_with("/TR \"\\\"C:\\a b\\eg.exe\\\" reconcile\"\n"));
    }
}
