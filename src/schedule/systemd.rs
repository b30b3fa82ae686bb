//! The texts of a user's systemd service and timer. Pure.

use crate::schedule::job::Job;
use std::path::{Path, PathBuf};

/// The units' name, without what follows the dot.
pub fn name(job: &Job) -> String {
    format!("eg-reconcile-{}", job.id())
}

/// Where a user's units lie (systemd.unit(5)).
pub fn directory(config_home: &Path) -> PathBuf {
    config_home.join("systemd/user")
}

/// Both units: file name and text.
pub fn units(job: &Job) -> [(String, String); 2] {
    let name = name(job);
    [(format!("{name}.service"), service(job)), (format!("{name}.timer"), timer(job))]
}

/// Quoted (systemd.syntax(7)); `%` starts a specifier, hence `%%`.
fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('\n', r"\n").replace('\r', r"\r")
    )
}

/// On a command line `$` starts a variable too, hence `$$` (systemd.service(5)).
fn quoted_word(text: &str) -> String {
    quoted(text).replace('$', "$$")
}

/// The longest time for a pass, including its wait for the lock.
const TIMEOUT: &str = "4min";

fn service(job: &Job) -> String {
    let env: String =
        job.env.iter().map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}")))).collect();
    let command: Vec<String> = job.words().iter().map(|word| quoted_word(word)).collect();
    let state = job.state.replace('%', "%%").replace(['\n', '\r'], " ");
    // Exit statuses 3 and 4 mean that eg keeps trying, so the unit has not failed. The timer starts no second run while
    // a first one runs: the timeout ends a run that hangs, a little after its own watchdog would have.
    format!(
        "[Unit]\nDescription=eg: close firewalls on time ({state})\n\n[Service]\nType=oneshot\nTimeoutStartSec={TIMEOUT}\n\
         {env}ExecStart={}\nSuccessExitStatus=3 4\n",
        command.join(" ")
    )
}

/// Every minute, and at once after the machine was off.
fn timer(job: &Job) -> String {
    let state = job.state.replace('%', "%%").replace(['\n', '\r'], " ");
    format!(
        "[Unit]\nDescription=eg: close firewalls on time ({state})\n\n[Timer]\nOnCalendar=minutely\nAccuracySec=1s\n\
         Persistent=true\n\n[Install]\nWantedBy=timers.target\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::job::tests::awkward;

    #[test]
    fn quoted_for_systemd() {
        let [(service, text), (timer, _)] = units(&awkward());
        assert!(service.starts_with("eg-reconcile-") && service.ends_with(".service"), "{service}");
        assert_eq!(service.trim_end_matches(".service"), timer.trim_end_matches(".timer"));
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        assert_eq!(line("Environment="), r#"Environment="HTTPS_PROXY=http://proxy:3128/%%40?a&b<c>""#);
        assert_eq!(
            line("ExecStart="),
            r#"ExecStart="/opt/my eg/eg" "--config" "/c%%d/it's.toml" "--state" "/s/$$x \"q\".db" "reconcile" "--timer""#
        );
    }
}
