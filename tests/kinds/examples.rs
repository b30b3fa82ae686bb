//! The scripts in `deploy/scripts`, with the programs that they are for.

use super::peers::{CLIENT, Peers, SERVER};
use crate::harness::{Installation, Namespace, Outcome, Shared, namespace::write_program, says};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Somebody else who is let in, by a rule that a person made.
const NEIGHBOUR: &str = "203.0.113.43";

/// A host with one example configured, and a client.
struct Example {
    peers: Peers,
    here: Installation,
    shared: Arc<Shared>,
}

impl Example {
    /// `None`, with the reason on stderr, on a machine without namespaces or without the program.
    fn new(name: &str, program: &str) -> Option<Self> {
        let lacking = (!Path::new(program).exists()).then(|| format!("{program} is not installed"));
        if let Some(why) = Namespace::missing().or(lacking) {
            eprintln!("SKIPPED: {name}: {why}");
            return None;
        }
        let shared = Shared::alone();
        let peers = Peers::new(shared.dir.path());
        peers.client.run("ip", &["addr", "add", &format!("{NEIGHBOUR}/24"), "dev", "link0"]);
        // What these programs keep in there is the machine's, and the test's is its own.
        peers.host.run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
        let shared = Arc::new(Shared { inside: peers.host.inside(), ..shared });
        let here = Installation::new(Arc::clone(&shared), "here");
        // The tree may belong to another user. An installed example does not.
        let (tree, scripts) =
            (Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/scripts").join(name), here.home().join(name));
        let copied = Command::new("cp").args(["-r", "--no-preserve=ownership"]).args([&tree, &scripts]).status();
        assert!(copied.is_ok_and(|status| status.success()));
        let directory = scripts.display();
        here.write_config(&format!(
            "[[resource]]\nname = \"it\"\nprovider = \"script\"\ndirectory = \"{directory}\"\n"
        ));
        Some(Self { peers, here, shared })
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.shared.dir.path().join(name);
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// Puts a directory of the test's own in the place of one of the machine.
    fn replace(&self, dir: &Path, place: &str) {
        self.peers.host.run("mount", &["--bind", dir.to_str().expect("a plain path"), place]);
    }

    fn eg(&self, args: &[&str]) -> Outcome {
        self.here.eg(args)
    }

    /// Opens, opens what somebody has taken away, closes; and whatever `rules` shows is in the end as it was.
    fn opens_and_closes(&self, is_in: impl Fn(&str) -> bool, rules: impl Fn() -> String, take_away: impl Fn()) {
        // nginx reloads after it has said so: an old worker may still answer.
        let wait_for = |source: &str, expected: bool| {
            let begun = Instant::now();
            while is_in(source) != expected {
                assert!(begun.elapsed() < Duration::from_secs(60), "{source} in: {}\n{}", !expected, rules());
            }
        };
        let before = rules();
        wait_for(NEIGHBOUR, true);
        wait_for(CLIENT, false);
        self.eg(&["session", "start", "--ipv4", CLIENT, "--ipv6", "2001:db8:42::1", "--duration", "1h"]).expect_code(0);
        wait_for(CLIENT, true);
        let open = rules();
        self.eg(&["reconcile"]).expect_code(0);
        assert_eq!(rules(), open);
        take_away();
        wait_for(CLIENT, false);
        self.eg(&["reconcile"]).expect_code(0);
        wait_for(CLIENT, true);
        let stopped = self.eg(&["session", "stop"]);
        assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
        wait_for(CLIENT, false);
        wait_for(NEIGHBOUR, true);
        assert_eq!(rules(), before);
        // What a person has opened for the same address covers a session, and stays.
        self.eg(&["session", "start", "--ipv4", NEIGHBOUR, "--duration", "1h"]).expect_code(0);
        self.eg(&["session", "stop"]);
        assert_eq!(rules(), before);
    }

    /// The program fails to list, for a while, when a script asks it to close. What is not known is not gone: nothing counts
    /// as closed, and the next pass closes it.
    fn does_not_take_a_failed_list_for_an_empty_one(&self, program: &str, list: &str, rules: impl Fn() -> String) {
        let (before, fails) = (rules(), self.dir("faults").join("fails"));
        self.eg(&["session", "start", "--ipv4", CLIENT, "--duration", "1h"]).expect_code(0);
        let open = rules();
        assert_ne!(open, before);
        // Scripts look here first.
        let (bin, fails_at) = (self.dir("bin"), fails.display());
        write_program(
            &bin.join(program),
            &format!(
                "#!/bin/sh\ncase \"$EG_ACTION $*\" in\n\"revoke {list}\")\n  if test -e {fails_at}; then echo no memory >&2; \
                 exit 4; fi ;;\nesac\nexec /usr/sbin/{program} \"$@\"\n"
            ),
        );
        self.replace(&bin, "/usr/local/sbin");
        fs::write(&fails, "").expect("a file");
        let stopped = self.eg(&["session", "stop"]).expect_code(3);
        says(&stopped, "not confirmed closed yet");
        assert_eq!(rules(), open);
        let listed = self.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
        assert_eq!(listed[0]["status"], "EXPIRING");
        fs::remove_file(&fails).expect("the file");
        self.shared.clock.fetch_add(330, Ordering::SeqCst);
        self.eg(&["reconcile"]).expect_code(0);
        assert_eq!(rules(), before);
        let listed = self.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
        assert_eq!(listed[0]["status"], "CANCELLED");
    }

    fn connects(&self, source: &str) -> bool {
        self.peers.connect(source, SERVER).0 == "connected"
    }
}

#[test]
fn iptables() {
    let Some(example) = Example::new("iptables", "/usr/sbin/iptables") else { return };
    example.peers.serve();
    let host = &example.peers.host;
    for line in [
        "-N eg",
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A INPUT -p tcp --dport 22 -j eg",
        "-A INPUT -p tcp -j REJECT --reject-with tcp-reset",
        "-A eg -s 203.0.113.43/32 -j ACCEPT",
    ] {
        host.run("/usr/sbin/iptables", &[&["-w"], line.split(' ').collect::<Vec<_>>().as_slice()].concat());
    }
    host.run("/usr/sbin/ip6tables", &["-w", "-N", "eg"]);
    let rules = || host.run("/usr/sbin/iptables", &["-S"]) + &host.run("/usr/sbin/ip6tables", &["-S"]);
    let take_away = || drop(host.run("/usr/sbin/iptables", &["-w", "-D", "eg", "-s", CLIENT, "-j", "ACCEPT"]));
    example.opens_and_closes(|source| example.connects(source), rules, take_away);
    example.does_not_take_a_failed_list_for_an_empty_one("iptables", "-w -S", rules);
}

#[test]
fn ufw() {
    let Some(example) = Example::new("ufw", "/usr/sbin/ufw") else { return };
    example.peers.serve();
    let host = &example.peers.host;
    let dir = example.dir("ufw");
    assert!(Command::new("cp").args(["-a", "/etc/ufw/."]).arg(&dir).status().is_ok_and(|status| status.success()));
    example.replace(&dir, "/etc/ufw");
    let ufw = |words: &str| host.run("/usr/sbin/ufw", &words.split(' ').collect::<Vec<_>>());
    ufw("allow from 203.0.113.43 to any port 22 proto tcp comment theirs");
    ufw("default reject incoming");
    ufw("--force enable");
    let take_away = || drop(ufw("delete allow from 203.0.113.42 to any port 22 proto tcp"));
    let rules = || ufw("show added");
    example.opens_and_closes(|source| example.connects(source), rules, take_away);
    example.does_not_take_a_failed_list_for_an_empty_one("ufw", "show added", rules);
}

#[test]
fn nginx() {
    let Some(example) = Example::new("nginx-allow", "/usr/sbin/nginx") else { return };
    let host = &example.peers.host;
    let dir = example.dir("nginx");
    let list = dir.join("eg-allow.conf");
    fs::write(&list, format!("allow {NEIGHBOUR}; # theirs\n")).expect("a list");
    fs::write(dir.join("index.html"), "hello").expect("a page");
    let server = "server { listen 80; location / { root /etc/nginx; include /etc/nginx/eg-allow.conf; deny all; } }";
    let config =
        format!("user root; worker_processes 1; error_log stderr; events {{ }} http {{ access_log off; {server} }}");
    fs::write(dir.join("nginx.conf"), config).expect("a configuration");
    example.replace(&dir, "/etc/nginx");
    let nginx =
        host.command("/usr/sbin/nginx").args(["-g", "daemon off;"]).stderr(Stdio::null()).spawn().expect("nginx");
    example.peers.keep(nginx);
    let begun = Instant::now();
    while !host.run("ss", &["-ltn"]).contains(":80 ") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nginx does not listen");
    }
    let is_in = |source: &str| example.peers.page(source) == "200";
    let rules = || fs::read_to_string(&list).expect("the list");
    let take_away = || {
        fs::write(&list, format!("allow {NEIGHBOUR}; # theirs\n")).expect("a list");
        host.run("/usr/sbin/nginx", &["-s", "reload"]);
    };
    example.opens_and_closes(is_in, rules, take_away);
}
