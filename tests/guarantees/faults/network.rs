//! The way to the provider: certificates, proxies, and the process that makes credentials.

use super::{marked, one_group, says, says_not, sessions, status, stop_and_settle};
use crate::harness::{IPV4, Moto, Outcome, REGION, Tls, World, eg::EgCommand};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Runs `eg` on a machine without CA certificates: the only file that it is to look into is empty.
fn without_certificates(command: EgCommand) -> Outcome {
    command.env("SSL_CERT_FILE", "/dev/null").without("SSL_CERT_DIR").run()
}

/// `eg`, towards what stands for AWS.
fn towards(world: &World, endpoint: &str, args: &[&str]) -> EgCommand {
    world.here.command(args).env("AWS_ENDPOINT_URL", endpoint)
}

/// Nothing answers there, and nothing has to: the certificates come first.
const NOBODY: &str = "https://127.0.0.1:9";

#[test]
fn loopback_takes_no_certificates() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let eg = |args: &[&str]| without_certificates(world.here.command(args));
    eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    world.advance(3601);
    eg(&["reconcile"]).expect_code(0);
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRED", before));
    let doctor = eg(&["doctor"]);
    says_not(&doctor, "certificates");
}

#[test]
fn without_certificates_https_is_an_error_that_says_what_to_do() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let eg = |args: &[&str]| without_certificates(towards(&world, NOBODY, args));
    let started = eg(&["session", "start", "--no-wait", "--ipv4", IPV4]);
    let id =
        started.expect_code(0).stdout.split_whitespace().skip_while(|word| *word != "ID:").nth(1).unwrap().to_owned();
    let pass = eg(&["reconcile"]).expect_code(1);
    says(&pass, "no usable CA certificates for https");
    says(&pass, "SSL_CERT_FILE");
    says_not(&pass, "panicked");
    // Nothing was ever sent, so there is nothing to close.
    let stopped = eg(&["session", "stop", &id]).expect_code(0);
    says_not(&stopped, "panicked");
    let doctor = eg(&["doctor"]).expect_code(1);
    says(&doctor, "✗ certificates: no usable CA certificates for https");
    let listed = eg(&["sweep", "--region", REGION]).expect_code(1);
    says(&listed, "SSL_CERT_FILE");
    assert_eq!(world.cloud.snapshot(), before);
}

/// What was opened while there were certificates is reported as not closed, is in the way of nothing else, and is closed
/// when they are back.
#[test]
fn closing_waits_for_certificates_where_it_takes_them() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let tls = Tls::start(world.dir());
    let start = |command: EgCommand| command.run().expect_code(0);
    let args = |name: &'static str| ["session", "start", "--duration", "1h", "--only", name];
    start(towards(&world, &tls.endpoint(), &args("prod-api-sg")).env("SSL_CERT_FILE", tls.authority()));
    start(world.here.command(&args("prod-db-sg")));
    world.advance(3601);
    let pass = without_certificates(world.here.command(&["reconcile"])).expect_code(3);
    says(&pass, "no usable CA certificates for https");
    says(&pass, "SSL_CERT_FILE");
    assert_eq!(marked(&world, "prod-api-sg").len(), 1, "{pass}");
    assert_eq!(marked(&world, "prod-db-sg").len(), 0, "{pass}");
    world.here.command(&["reconcile"]).env("SSL_CERT_FILE", tls.authority()).run().expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// An echo service on loopback needs none; one on the Internet does.
#[test]
fn detection_without_certificates() {
    let world = World::new();
    let eg = |args: &[&str]| without_certificates(world.here.command(args));
    says(&eg(&["ip"]).expect_code(0), IPV4);
    world.write_config("[detect]\nipv4 = [\"https://one.invalid/\", \"https://two.invalid/\"]\nipv6 = []\n");
    let none = eg(&["ip"]).expect_code(1);
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
    says(&refused, "the server's certificate is signed by an authority that this machine does not trust");
    says(&refused, "or set SSL_CERT_FILE to a file of CA certificates");
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(sessions(&world), Vec::<serde_json::Value>::new(), "nothing is recorded");

    trusting(&["session", "start"]).run().expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!(tls.tunnel(), None);
    says(&trusting(&["doctor"]).run(), "✓ certificates: 1 CA certificate is trusted");
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
    assert!(pids.len() >= at_least && pids.len().is_multiple_of(3), "{pids:?}");
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
        fs::remove_file(&pids).unwrap();
        // On a terminal it may ask for something, so it stays in the group that can; and is ended all the same.
        let command = world.here.command(&["resource", "verify"]).env("AWS_PROFILE", profile);
        let command = command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
        assert_ne!(command.on_a_terminal(&[]).code(), Some(0));
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
