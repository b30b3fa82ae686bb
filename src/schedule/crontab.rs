//! A crontab with and without the job's line. Pure functions on its text; every other line stays as it is.

use crate::schedule::job::Job;
use eg_model::text::escape_controls;

/// The comment above the job's line, by which `eg` finds it again.
fn mark(job: &Job) -> String {
    format!("# eg: closes on time what {} records; see `eg schedule`", escape_controls(&job.state))
}

/// The job as a crontab line. In a crontab `%` is a newline, hence `\%`.
pub fn line(job: &Job) -> String {
    format!("* * * * * {}", job.shell().replace('%', r"\%"))
}

/// The lines to append for a job.
pub fn entry(job: &Job) -> String {
    format!("{}\n{}\n", mark(job), line(job))
}

/// The line that runs this job now: the one under its mark, or an identical one without a mark.
pub fn installed<'a>(crontab: &'a str, job: &Job) -> Option<&'a str> {
    let (mark, line) = (mark(job), line(job));
    let marked = crontab.lines().zip(crontab.lines().skip(1)).find(|(above, below)| *above == mark && is_job(below));
    marked.map(|(_, below)| below).or_else(|| crontab.lines().find(|other| *other == line))
}

fn is_job(line: &str) -> bool {
    line.contains(" reconcile --timer") && !line.trim_start().starts_with('#')
}

/// The crontab with this job in it once. Unchanged if the job is in it already.
pub fn with(crontab: &str, job: &Job) -> String {
    if installed(crontab, job) == Some(line(job).as_str()) {
        return crontab.to_owned();
    }
    let mut text = without(crontab, job);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + &entry(job)
}

/// The crontab without the job's mark and the line under it. A line that the user wrote by hand stays.
pub fn without(crontab: &str, job: &Job) -> String {
    let mark = mark(job);
    let mut under_mark = false;
    let mut kept = String::new();
    for line in crontab.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        let ours = bare == mark || (under_mark && is_job(bare));
        under_mark = bare == mark;
        if !ours {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::job::tests::awkward;

    const OTHERS: &str = "MAILTO=bob\n\n# backups, reconcile --timer\n0 3 * * * /usr/bin/backup 100\\%\n";

    #[test]
    fn quoted_for_cron_and_shell() {
        assert_eq!(
            line(&awkward()),
            r#"* * * * * HTTPS_PROXY='http://proxy:3128/\%40?a&b<c>' '/opt/my eg/eg' --config '/c\%d/it'\''s.toml' --state '/s/$x "q".db' reconcile --timer"#
        );
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let job = awkward();
        for before in [OTHERS, "", "0 3 * * * /usr/bin/backup", "# eg\n"] {
            let there = with(before, &job);
            assert_eq!(installed(&there, &job), Some(line(&job).as_str()), "{before:?}");
            assert_eq!(with(&there, &job), there, "again changes nothing");
            assert_eq!(without(&there, &job).trim_end(), before.trim_end(), "{before:?}");
            assert!(there.starts_with(before));
        }
        assert_eq!(without(OTHERS, &job), OTHERS);
        assert_eq!(installed(OTHERS, &job), None);
    }

    #[test]
    fn an_old_line_is_replaced_and_another_states_stays() {
        let job = awkward();
        let old = format!("{}\n* * * * * /old/eg reconcile --timer\n{OTHERS}", mark(&job));
        assert_eq!(with(&old, &job), format!("{OTHERS}{}", entry(&job)));
        let other = Job { state: "/other.db".into(), ..job.clone() };
        let both = with(&with(OTHERS, &other), &job);
        assert_eq!(without(&both, &job), with(OTHERS, &other));
    }

    #[test]
    fn a_line_by_hand_is_enough_and_is_left() {
        let job = awkward();
        let by_hand = format!("{OTHERS}{}\n", line(&job));
        assert_eq!(with(&by_hand, &job), by_hand);
        assert_eq!(without(&by_hand, &job), by_hand);
        let lonely_mark = format!("{}\n0 3 * * * /usr/bin/backup\n", mark(&job));
        assert_eq!(without(&lonely_mark, &job), "0 3 * * * /usr/bin/backup\n", "what stands there now is not ours");
    }
}
