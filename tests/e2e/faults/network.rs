//! The way to the provider: certificates, proxies, and the process that makes credentials.

use super::{one_group, says, says_not, sessions, status, stop_and_settle};
use crate::harness::{IPV4, Moto, Outcome, REGION, Tls, World, eg::EgCommand};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Where systems keep their CA certificates.
const STORES: &str = "/etc/ssl /etc/pki /usr/local/share/certs /usr/share/ca-certificates";

/// Runs `eg` where every place for CA certificates is empty: in a mount namespace of its own. `None` where this machine
/// does not let its users make one.
fn without_certificates(command: EgCommand, args: &[&str]) -> Option<Outcome> {
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let inside = format!(
        "for dir in {STORES}; do [ ! -d \"$dir\" ] || mount -t tmpfs none \"$dir\" || exit 99; done; exec {} {}",
        env!("CARGO_BIN_EXE_eg"),
        quoted.join(" ")
    );
    let line = format!("unshare -rm true || exit 99; exec unshare -rm sh -c {}", shell_word(&inside));
    let outcome = command.without("SSL_CERT_FILE").without("SSL_CERT_DIR").in_bash(&line).run();
    (outcome.code() != Some(99)).then_some(outcome)
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What leads to AWS itself, or to what stands for it.
fn towards(world: &World, endpoint: Option<&str>) -> EgCommand {
    let command = world.here.command(&[]);
    match endpoint {
        None => command,
        Some(endpoint) => command.env("AWS_ENDPOINT_URL", endpoint),
    }
}

/// Nothing answers there, and nothing has to: the certificates come first.
const NOBODY: &str = "https://127.0.0.1:9";

#[test]
fn loopback_takes_no_certificates() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let eg = |args: &[&str]| without_certificates(towards(&world, None), args);
    let Some(started) = eg(&["session", "start", "--duration", "1h"]) else { return };
    started.expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    world.advance(3601);
    eg(&["reconcile"]).unwrap().expect_code(0);
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRED", before));
    let doctor = eg(&["doctor"]).unwrap();
    says_not(&doctor, "certificates");
}

#[test]
fn without_certificates_https_is_an_error_that_says_what_to_do() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let eg = |args: &[&str]| without_certificates(towards(&world, Some(NOBODY)), args);
    let Some(started) = eg(&["session", "start", "--no-wait", "--ipv4", IPV4]) else { return };
    let id =
        started.expect_code(0).stdout.split_whitespace().skip_while(|word| *word != "ID:").nth(1).unwrap().to_owned();
    let pass = eg(&["reconcile"]).unwrap();
    assert!(matches!(pass.code(), Some(1 | 3)), "{pass}");
    says(&pass, "no usable CA certificates for https");
    says(&pass, "SSL_CERT_FILE");
    says_not(&pass, "panicked");
    let stopped = eg(&["session", "stop", &id]).unwrap();
    assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
    says_not(&stopped, "panicked");
    let doctor = eg(&["doctor"]).unwrap().expect_code(1);
    says(&doctor, "✗ certificates: no usable CA certificates for https");
    let listed = eg(&["sweep", "--region", REGION]).unwrap();
    assert_eq!(listed.code(), Some(1), "{listed}");
    says(&listed, "SSL_CERT_FILE");
    assert_eq!(world.cloud.snapshot(), before);
}

/// What was opened while there were certificates is reported as not closed, and closed when they are back.
#[test]
fn closing_without_certificates_is_reported_and_goes_on_later() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    let open = world.cloud.snapshot();
    // Another group behind https is in the way of nothing.
    let config = fs::read_to_string(world.here.config_path()).unwrap();
    world.write_config(&config.replace("prod-api-sg", "other-sg"));
    let far = without_certificates(towards(&world, Some(NOBODY)), &["session", "start", "--no-wait", "--ipv4", IPV4]);
    let Some(far) = far else { return };
    far.expect_code(0);
    world.advance(3601);
    let pass = without_certificates(towards(&world, None), &["reconcile"]).unwrap();
    assert!(matches!(pass.code(), Some(1 | 3)), "{pass}");
    says(&pass, "SSL_CERT_FILE");
    assert_ne!(world.cloud.snapshot(), open);
    assert_eq!(world.cloud.snapshot(), before, "the rule behind plain http is closed in the same pass");
}

/// An echo service on loopback needs none; one on the Internet does.
#[test]
fn detection_without_certificates() {
    let world = World::new();
    let eg = |args: &[&str]| without_certificates(towards(&world, None), args);
    let Some(found) = eg(&["ip"]) else { return };
    says(&found.expect_code(0), IPV4);
    world.write_config("[detect]\nipv4 = [\"https://one.invalid/\", \"https://two.invalid/\"]\nipv6 = []\n");
    let none = eg(&["ip"]).unwrap().expect_code(1);
    says(&none, "no usable CA certificates for https");
    says(&none, "SSL_CERT_FILE");
}

/// A proxy would read the request, and the session token with it.
#[test]
fn plain_http_goes_past_every_proxy() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://alice:secret@{}", proxy.local_addr().unwrap());
    let eg = |args: &[&str]| {
        let command = world.here.command(args).env("AWS_SESSION_TOKEN", "token");
        let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];
        names.into_iter().fold(command, |command, name| command.env(name, &url)).run()
    };
    eg(&["session", "start"]).expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    assert!(proxy.accept().is_err(), "the proxy was asked");
}

/// The certificates of SSL_CERT_FILE are those that count, also for the scheduled job; and https goes through the proxy of
/// the environment, with its password.
#[test]
fn https_by_certificates_that_the_environment_names_and_through_its_proxy() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let tls = Tls::start(world.dir());
    let eg = |args: &[&str]| world.here.command(args).env("AWS_ENDPOINT_URL", tls.endpoint());
    let trusting = |args: &[&str]| eg(args).env("SSL_CERT_FILE", tls.authority());
    let refused = eg(&["session", "start"]).run().expect_code(1);
    says_not(&refused, "SSL_CERT_FILE");
    assert_eq!(world.cloud.snapshot(), before, "nobody knows that authority");
    eg(&["session", "stop", "--all"]).run();

    trusting(&["session", "start"]).run().expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!(tls.tunnel(), None);
    says(&trusting(&["doctor"]).run(), "CA certificates are trusted");
    let proxy = format!("http://alice:s%40cret@{}", tls.proxy());
    trusting(&["session", "stop"]).env("HTTPS_PROXY", &proxy).run().expect_code(0);
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("CANCELLED", before));
    let host = tls.endpoint().replace("https://", "");
    assert_eq!(tls.tunnel(), Some(format!("CONNECT {host} HTTP/1.1 alice:s@cret")));
}

/// A process that makes credentials: the first time at once, afterwards never.
fn slow_process(world: &World) -> (String, std::path::PathBuf) {
    let (script, pids) = (world.dir().join("credentials.sh"), world.dir().join("pids"));
    let key = Moto::access_key(world.account(), "PROC");
    let answer = format!(r#"{{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "s"}}"#);
    let text = format!(
        "[ -e '{0}/hang' ] || {{ echo '{answer}'; exit; }}\n\
         echo $$ >> '{1}'\n(sleep 1000; true) &\necho $! >> '{1}'\nsetsid sleep 1000 &\necho $! >> '{1}'\nwait\n",
        world.dir().display(),
        pids.display()
    );
    fs::write(&script, text).unwrap();
    (format!("sh {}", script.display()), pids)
}

/// One that is not there, or only waits to be buried.
fn has_ended(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[track_caller]
fn all_end(pids: &Path, at_least: usize) {
    let pids: Vec<String> = fs::read_to_string(pids).unwrap().split_whitespace().map(str::to_owned).collect();
    assert!(pids.len() >= at_least && pids.len() % 3 == 0, "{pids:?}");
    let begin = Instant::now();
    while !pids.iter().all(|pid| has_ended(pid)) {
        assert!(begin.elapsed() < Duration::from_secs(10), "left running: {pids:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// B15: by a profile, by one that takes a role with it, and by AWS_PROFILE.
#[test]
fn a_credential_process_that_hangs_is_ended_with_all_that_it_has_started() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let (process, pids) = slow_process(&world);
    let role = format!("arn:aws:iam::{}:role/opener", world.account());
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    fs::write(
        world.here.home().join(".aws/config"),
        format!(
            "[profile work]\ncredential_process = {process}\n[profile chained]\nrole_arn = {role}\n\
             source_profile = work\nregion = {REGION}\n"
        ),
    )
    .unwrap();
    let eg = |profile: &str, args: &[&str]| {
        let command = world.here.command(args).env("AWS_PROFILE", profile);
        command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").run()
    };
    for profile in ["work", "chained"] {
        eg(profile, &["session", "start", "--duration", "1h"]).expect_code(0);
        assert_eq!(status(&world), "ACTIVE", "{profile}");
        fs::write(world.dir().join("hang"), "").unwrap();
        let hung = eg(profile, &["reconcile"]);
        assert!(matches!(hung.code(), Some(1 | 3)), "{hung}");
        all_end(&pids, 3);
        fs::remove_file(world.dir().join("hang")).unwrap();
        fs::remove_file(&pids).unwrap();
        eg(profile, &["session", "stop"]).expect_code(0);
        assert_eq!(world.cloud.snapshot(), before, "{profile}");
    }
    assert_eq!(sessions(&world).len(), 2);
    let keys: Vec<String> = world.calls().into_iter().map(|call| call.access_key).collect();
    assert!(keys.contains(&Moto::access_key(world.account(), "PROC")), "{keys:?}");
    stop_and_settle(&world, &before);
}

/// What a process says of itself is what the user is told.
#[test]
fn a_credential_process_that_fails_is_quoted() {
    let world = one_group(&["tcp/22"]);
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    let config = "[profile work]\ncredential_process = echo 'the vault is locked' >&2; exit 7\n";
    fs::write(world.here.home().join(".aws/config"), config).unwrap();
    let eg = world.here.command(&["doctor"]).env("AWS_PROFILE", "work").without("AWS_ACCESS_KEY_ID");
    let told = eg.without("AWS_SECRET_ACCESS_KEY").run().expect_code(1);
    says(&told, "credential_process: ended with status 7: the vault is locked");
}
