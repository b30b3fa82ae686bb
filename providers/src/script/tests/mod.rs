//! The trait's parts with real programs.

use super::{
    Scripts,
    directory::{Direction, programs},
};
use crate::{Authorize, CallObserver, Connect, Firewall, HostOptions, ReadResult, program::write_program};
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    ids::{InstallationId, SessionId},
    net::permission::Permission,
    observation::Reading,
    tags::{description, tags_for},
    target::{Target, TargetKey},
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use uuid::Uuid;

const HOME: &str = "-1|-1|-1|203.0.113.42/32";
/// Longer than any script of these tests takes, but for those that hang.
const LONG: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    "2026-02-27T12:00:00Z".parse().unwrap()
}

fn permission(text: &str) -> Permission {
    text.parse().unwrap()
}

#[derive(Default)]
struct Answers(AtomicU32);

impl CallObserver for Answers {
    fn answered(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A directory of scripts.
struct Office {
    dir: TempDir,
    answers: Arc<Answers>,
    time: Duration,
}

impl Office {
    fn new() -> Self {
        let office = Self { dir: tempfile::tempdir().unwrap(), answers: Arc::default(), time: LONG };
        for folder in ["apply", "revoke"] {
            fs::create_dir_all(office.path(folder)).unwrap();
            mode(&office.path(folder), 0o755);
        }
        office.script("apply/10-note", "echo \"apply $1|$2\" >> \"$EG_DIRECTORY/done\"");
        office.script("revoke/10-note", "echo \"revoke $1|$2\" >> \"$EG_DIRECTORY/done\"");
        office
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("office")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        write_program(&self.path(name), text);
    }

    fn key(&self) -> TargetKey {
        TargetKey::new("script", "directory", "", self.root().to_str().unwrap())
    }

    async fn firewall(&self) -> Arc<dyn Firewall> {
        let options =
            HostOptions { time: self.time, observer: self.answers.clone(), ..HostOptions::new(Arc::new(now)) };
        Scripts::new(options).connect(&Target::new(self.key())).await.unwrap()
    }

    fn call(&self, opened: &str) -> Authorize {
        let (session, permissions) = (SessionId(Uuid::from_u128(0xa1b2_c3d4 << 96)), vec![permission(opened)]);
        let installation = InstallationId::from_uuid(Uuid::from_u128(7));
        let until = "2026-02-27T18:00:00Z".parse().unwrap();
        Authorize {
            group: self.key().id,
            tags: tags_for(&self.key().id, &permissions, session, &installation, until),
            permissions,
            description: description(Some("alice@laptop"), session, None),
            nonce: "00ff00ff".to_owned(),
        }
    }

    async fn apply(&self) -> Result<(), Failure> {
        self.firewall().await.unread().unwrap().apply(&self.call(HOME)).await.map(|_| ())
    }

    async fn undo(&self) -> Result<(), Failure> {
        self.firewall().await.unread().unwrap().undo(&self.key(), &permission(HOME)).await.map(|_| ())
    }

    async fn observe(&self) -> ReadResult {
        self.firewall().await.observe(&BTreeSet::from([self.key()])).await.remove(&self.key()).unwrap()
    }

    async fn unavailable(&self) -> Failure {
        match self.observe().await {
            ReadResult::Unavailable(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    async fn reading(&self) -> Reading {
        match self.observe().await {
            ReadResult::Complete(reading) => reading,
            other => panic!("{other:?}"),
        }
    }

    /// What the scripts have noted.
    fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("done")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A message without the path of this directory, which differs from run to run.
    fn said(&self, failure: &Failure) -> String {
        failure.message.replace(self.root().to_str().unwrap(), "OFFICE")
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn scripts_run_in_order_with_what_they_need() {
    let office = Office::new();
    office.script(
        "apply/20-second",
        "echo second >> \"$EG_DIRECTORY/done\"; env | sort > \"$EG_DIRECTORY/env\"; pwd >> \"$EG_DIRECTORY/env\"",
    );
    office.script("apply/05-first", "echo first >> \"$EG_DIRECTORY/done\"");
    fs::write(office.path("apply/.10-note.swp"), "an editor's").unwrap();
    office.apply().await.unwrap();
    assert_eq!(office.done(), ["first", "apply 203.0.113.42/32|eg alice@laptop session a1b2c3d4", "second"]);
    let env = fs::read_to_string(office.path("env")).unwrap();
    let ours: Vec<&str> =
        env.lines().filter(|line| !["PWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own))).collect();
    let directory = format!("EG_DIRECTORY={}", office.root().display());
    assert_eq!(
        ours,
        [
            "EG_ACTION=apply",
            "EG_ADDRESS=203.0.113.42",
            "EG_CIDR=203.0.113.42/32",
            "EG_DESCRIPTION=eg alice@laptop session a1b2c3d4",
            &directory,
            "EG_EXPIRES=2026-02-27T18:00:00Z",
            "EG_FAMILY=ipv4",
            "EG_SESSION=a1b2c3d4-0000-0000-0000-000000000000",
            "LC_ALL=C",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "/",
        ]
    );
    assert_eq!(office.answers.0.load(Ordering::Relaxed), 3, "every script that ends is progress");
    office.undo().await.unwrap();
    assert_eq!(office.done()[3..], ["revoke 203.0.113.42/32|"]);
}

#[tokio::test]
async fn every_script_runs_even_if_one_fails_and_then_the_outcome_is_not_known() {
    let office = Office::new();
    office.script("apply/05-fails", "echo 'cannot \u{1b}[31mlock' >&2; echo 'really' >&2; exit 3");
    office.script("apply/20-also", "kill -9 $$");
    let failure = office.apply().await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Unknown);
    assert_eq!(
        office.said(&failure),
        "apply 203.0.113.42/32 by OFFICE: 05-fails ended with status 3: cannot \\u{1b}[31mlock really; \
         20-also was ended by signal 9"
    );
    assert_eq!(office.done().len(), 1, "the one between has run");
    office.script("revoke/10-note", "exit 1");
    let failure = office.undo().await.unwrap_err();
    assert_eq!(
        (failure.class, office.said(&failure).as_str()),
        (FailureClass::Unknown, "revoke 203.0.113.42/32 by OFFICE: 10-note ended with status 1",)
    );
}

#[tokio::test]
async fn a_script_that_fails_once_can_be_run_again() {
    let office = Office::new();
    office.script("apply/20-once", "test -e \"$EG_DIRECTORY/tried\" || { touch \"$EG_DIRECTORY/tried\"; exit 1; }");
    assert_eq!(office.apply().await.unwrap_err().class, FailureClass::Unknown);
    office.apply().await.unwrap();
    assert_eq!(office.done().len(), 2);
}

#[tokio::test]
async fn a_script_that_hangs_is_ended_and_the_others_run() {
    let mut office = Office::new();
    office.time = Duration::from_secs(3);
    office.script("apply/05-hangs", "sleep 600 & echo $! > \"$EG_DIRECTORY/child\"; echo waiting >&2; wait");
    let failure = office.apply().await.unwrap_err();
    assert_eq!(
        (failure.class, office.said(&failure).as_str()),
        (
            FailureClass::Unknown,
            "apply 203.0.113.42/32 by OFFICE: 05-hangs did not end within 3s and was ended: waiting",
        )
    );
    assert_eq!(office.done().len(), 1);
    let child = fs::read_to_string(office.path("child")).unwrap();
    let begun = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        // Gone, or killed and not yet collected by init.
        if stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])) {
            return;
        }
        assert!(begun.elapsed() < LONG, "what it has started is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn megabytes_of_output_are_cut() {
    let office = Office::new();
    office.script(
        "apply/20-talks",
        "head -c 5000000 /dev/zero; yes complaint | head -c 5000000 >&2; echo ' the end' >&2; exit 1",
    );
    let failure = office.apply().await.unwrap_err();
    let said = office.said(&failure);
    assert!(said.len() < 500 && said.contains(": …") && said.ends_with("complaint the end"), "{said}");
    office.script("observe", "yes 203.0.113.42 | head -c 2000000");
    assert_eq!(office.said(&office.unavailable().await), "observe by OFFICE: it prints more than 1 MiB");
}

/// The script ends, and what it has left behind holds its pipe: the script has ended.
#[tokio::test]
async fn a_child_that_keeps_the_pipe_open_does_not_matter() {
    let office = Office::new();
    office.script("apply/20-forks", "sleep 600 & echo $! > \"$EG_DIRECTORY/child\"");
    let begun = Instant::now();
    office.apply().await.unwrap();
    assert!(begun.elapsed() < LONG);
    let child = fs::read_to_string(office.path("child")).unwrap().trim().parse().ok().and_then(Pid::from_raw);
    kill_process(child.unwrap(), Signal::KILL).expect("it goes on: a service that was started on purpose");
}

/// The run that has begun ends with the old script; the next one is checked anew and has the new one.
#[tokio::test]
async fn a_script_that_is_replaced_meanwhile_is_run_whole() {
    let office = Office::new();
    office.script("apply/20-old", "touch \"$EG_DIRECTORY/begun\"; while test -e \"$EG_DIRECTORY/begun\"; do sleep 0.05; done; echo old >> \"$EG_DIRECTORY/done\"");
    let replaced = async {
        while !office.path("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        write_program(&office.root().join("new"), "echo new >> \"$EG_DIRECTORY/done\"");
        fs::rename(office.root().join("new"), office.path("apply/20-old")).unwrap();
        fs::remove_file(office.path("begun")).unwrap();
    };
    let (applied, ()) = tokio::join!(office.apply(), replaced);
    applied.unwrap();
    assert_eq!(office.done()[1..], ["old"]);
    office.apply().await.unwrap();
    assert_eq!(office.done()[3..], ["new"]);
    mode(&office.path("apply/20-old"), 0o777);
    assert_eq!(office.apply().await.unwrap_err().class, FailureClass::Host);
    assert_eq!(office.done().len(), 4, "nothing was run");
}

/// What others could have written is not run, and what cannot be closed is not opened. Nothing has happened then.
#[tokio::test]
async fn what_is_not_to_be_trusted_or_not_whole_is_refused() {
    type Spoil = fn(&Office);
    let cases: [(&str, Spoil, &str); 15] = [
        (
            "world-writable script",
            |o| mode(&o.path("apply/10-note"), 0o757),
            "OFFICE/apply/10-note can be written by everybody (mode 0757); this repairs it: chmod go-w OFFICE/apply/10-note",
        ),
        (
            "world-writable folder",
            |o| mode(&o.path("apply"), 0o777),
            "OFFICE/apply can be written by everybody (mode 0777); this repairs it: chmod go-w OFFICE/apply",
        ),
        ("sticky folder", |o| mode(&o.path("apply"), 0o1777), "OFFICE/apply can be written by others (mode 1777)"),
        ("sticky directory", |o| mode(&o.root(), 0o1777), "OFFICE can be written by others (mode 1777)"),
        (
            "world-writable directory",
            |o| mode(&o.root(), 0o777),
            "OFFICE can be written by everybody (mode 0777); this repairs it: chmod go-w OFFICE",
        ),
        (
            "world-writable parent",
            |o| mode(o.dir.path(), 0o777),
            "PARENT can be written by everybody (mode 0777); this repairs it: chmod go-w PARENT",
        ),
        (
            "link",
            |o| {
                fs::rename(o.path("apply/10-note"), o.path("note")).unwrap();
                symlink("../note", o.path("apply/10-note")).unwrap();
            },
            "OFFICE/apply/10-note is a link: put the script itself there",
        ),
        (
            "folder that is a link",
            |o| {
                fs::rename(o.path("apply"), o.path("other")).unwrap();
                symlink("other", o.path("apply")).unwrap();
            },
            "OFFICE/apply is not a directory",
        ),
        ("not executable", |o| mode(&o.path("apply/10-note"), 0o644), "OFFICE/apply/10-note may not be run (chmod +x)"),
        ("a directory", |o| fs::create_dir(o.path("apply/20-x")).unwrap(), "OFFICE/apply/20-x is not a file"),
        (
            "a copy",
            |o| o.script("apply/10-note~", "true"),
            "OFFICE/apply/10-note~ is not named like a script (10-name: letters, digits, - and _)",
        ),
        ("no scripts", |o| fs::remove_file(o.path("apply/10-note")).unwrap(), "OFFICE/apply has no scripts"),
        ("no way to close", |o| fs::remove_file(o.path("revoke/10-note")).unwrap(), "OFFICE/revoke has no scripts"),
        ("no folder", |o| fs::remove_dir_all(o.path("revoke")).unwrap(), "there is no OFFICE/revoke"),
        (
            "too many",
            |o| (10..30).for_each(|n| o.script(&format!("apply/{n}-x"), "true")),
            "OFFICE/apply has 21 scripts, and 16 are the most",
        ),
    ];
    for (name, spoil, why) in cases {
        let office = Office::new();
        spoil(&office);
        let failure = office.apply().await.unwrap_err();
        let parent = |text: String| text.replace(office.dir.path().to_str().unwrap(), "PARENT");
        let expected = format!("apply 203.0.113.42/32 by OFFICE: {why}");
        assert_eq!((failure.class, parent(office.said(&failure))), (FailureClass::Host, expected), "{name}");
        assert_eq!(office.done(), Vec::<String>::new(), "{name}");
        mode(office.dir.path(), 0o700);
    }
    let office = Office::new();
    fs::remove_dir_all(office.root()).unwrap();
    assert_eq!(office.said(&office.unavailable().await), "observe by OFFICE: there is no OFFICE");
}

/// A link leads to the directory. Who can write where the link is could swap it between the check and the run.
#[test]
fn a_link_is_trusted_as_far_as_its_own_place() {
    let office = Office::new();
    let place = office.dir.path().join("place");
    fs::create_dir(&place).unwrap();
    symlink(office.root(), place.join("office")).unwrap();
    let refusal = |bits| {
        mode(&place, bits);
        programs(&place.join("office"), Direction::Apply).err()
    };
    assert_eq!(refusal(0o755), None);
    assert_eq!(refusal(0o1777), None, "only its owner can take it away from a sticky directory");
    let why = refusal(0o777).unwrap();
    assert!(why.starts_with(&format!("{} can be written by everybody", place.display())), "{why}");
}

#[tokio::test]
async fn what_belongs_to_others_is_refused() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    for name in ["apply/10-note", "apply", "revoke/10-note", ""] {
        let office = Office::new();
        chown(office.path(name), Some(65534), None).unwrap();
        let failure = office.apply().await.unwrap_err();
        assert!(
            failure.message.contains("belongs to user 65534, not to you or root; this repairs it: chown 0 "),
            "{name}: {failure}"
        );
        assert_eq!(office.done(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn scripts_that_cannot_be_started_have_done_nothing() {
    let office = Office::new();
    for name in ["apply/10-note", "revoke/10-note"] {
        fs::write(office.path(name), "#!/nonexistent/interpreter\n").unwrap();
    }
    let failure = office.apply().await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Host);
    assert!(office.said(&failure).starts_with("apply 203.0.113.42/32 by OFFICE: 10-note cannot be run: "), "{failure}");
}

#[tokio::test]
async fn ports_are_refused() {
    let office = Office::new();
    let failure = office.firewall().await.authorize(&office.call("tcp|22|22|203.0.113.42/32")).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Invalid);
    assert!(failure.message.ends_with("scripts open addresses, not ports"), "{failure}");
}

#[tokio::test]
async fn without_observe_nothing_is_read() {
    let office = Office::new();
    assert_eq!(office.observe().await, ReadResult::NoReadBack);
    let failure = office.firewall().await.observe_rules(&office.key(), &BTreeSet::new()).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Invalid);
    mode(office.dir.path(), 0o777);
    assert_eq!(office.unavailable().await.class, FailureClass::Host);
    mode(office.dir.path(), 0o700);
    mode(&office.path("revoke/10-note"), 0o644);
    let failure = office.unavailable().await;
    assert_eq!(
        (failure.class, office.said(&failure).as_str()),
        (FailureClass::Host, "observe by OFFICE: OFFICE/revoke/10-note may not be run (chmod +x)")
    );
}

#[tokio::test]
async fn with_observe_what_is_open_is_read_and_nothing_else_is_concluded() {
    let office = Office::new();
    office.script("observe", "test -z \"$1$EG_CIDR\" && test \"$EG_ACTION\" = observe && cat \"$EG_DIRECTORY/open\"");
    fs::write(office.path("open"), "203.0.113.42/32\n2001:db8::1\n").unwrap();
    let reading = office.reading().await;
    let open: Vec<_> = reading.rules.iter().map(|rule| (rule.id.0.as_str(), rule.permission.to_string())).collect();
    assert_eq!(
        open,
        [("203.0.113.42/32", HOME.to_owned()), ("2001:db8::1/128", "-1|-1|-1|2001:db8::1/128".to_owned()),]
    );
    let asked = BTreeSet::from([reading.rules[1].id.clone()]);
    let seen = office.firewall().await.observe_rules(&office.key(), &asked).await.unwrap();
    assert_eq!(seen.rules, reading.rules[1..]);
    let opened = office.firewall().await.authorize(&office.call(HOME)).await.unwrap().value;
    assert_eq!(opened, reading.rules[..1]);
    for (text, why) in [
        ("echo hello", "it prints a line that is no network: \"hello\""),
        ("echo 203.0.113.42; exit 1", "it ended with status 1"),
        ("echo locked >&2; exit 1", "it ended with status 1: locked"),
        ("kill -9 $$", "it was ended by signal 9"),
    ] {
        office.script("observe", text);
        let failure = office.unavailable().await;
        assert_eq!(
            (failure.class, office.said(&failure)),
            (FailureClass::Unknown, format!("observe by OFFICE: {why}"))
        );
    }
    mode(&office.path("observe"), 0o777);
    assert!(office.unavailable().await.message.contains("can be written by everybody"));
    fs::remove_file(office.path("observe")).unwrap();
    symlink("/bin/true", office.path("observe")).unwrap();
    assert!(office.unavailable().await.message.contains("is a link"));
}
