use crate::address::{ask::collect, *};
use eg_config::settings::Detect;
use eg_model::net::agree::{EchoAnswer, FamilyOutcome, describe};
use reqwest::Url;
use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const A: &str = "203.0.113.42";
const B: &str = "198.51.100.7";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lines(answers: &[EchoAnswer]) -> Vec<String> {
    answers.iter().map(describe).collect()
}

/// A server that gives one answer to one connection, and the number of connections it had.
struct Server {
    url: Url,
    hits: Arc<AtomicUsize>,
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    http("200 OK", "", body)
}

fn serve(listener: TcpListener, reply: String, delay: Duration) -> Server {
    listener.set_nonblocking(true).unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hits);
    thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Ok((mut stream, _)) = listener.accept() {
                counter.fetch_add(1, Ordering::SeqCst);
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                // The client may be gone; that is its right.
                let _read = stream.read(&mut [0; 2048]);
                thread::sleep(delay);
                let _written = stream.write_all(reply.as_bytes());
            }
            thread::sleep(Duration::from_millis(2));
        }
    });
    Server { url, hits }
}

fn answering(reply: String) -> Server {
    slowly(reply, Duration::ZERO)
}

fn slowly(reply: String, delay: Duration) -> Server {
    serve(TcpListener::bind("127.0.0.1:0").unwrap(), reply, delay)
}

/// A port on which nobody listens: tcpmux, which no system starts any more. A free port could be taken by the server
/// of another test meanwhile.
fn refusing() -> Url {
    Url::parse("http://127.0.0.1:1/").unwrap()
}

fn settings(ipv4: Vec<Url>, ipv6: Vec<Url>) -> Detect {
    Detect { ipv4, ipv6, timeout: Duration::from_secs(5), ..Detect::default() }
}

fn run(settings: &Detect, acceptable: fn(IpAddr) -> bool) -> Detected {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(detect(Families { v4: true, v6: true }, settings, Arc::new(acceptable)));
    runtime.shutdown_background();
    found
}

fn run_v4(services: Vec<Url>) -> FamilyOutcome {
    let found = run(&settings(services, vec![]), |_| true);
    assert_eq!(found.v6, FamilyOutcome::NotAsked);
    found.v4
}

fn only_reason(reply: String) -> String {
    let server = answering(reply);
    match run_v4(vec![server.url.clone()]) {
        FamilyOutcome::NotAgreed { answers } => lines(&answers).concat().replace(server.url.as_str(), "URL"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_that_agree() {
    let servers = [answering(ok("203.0.113.42\n")), answering(ok(A))];
    let FamilyOutcome::Agreed { address, mut by } = run_v4(servers.iter().map(|s| s.url.clone()).collect()) else {
        panic!()
    };
    let mut expected: Vec<_> = servers.iter().map(|s| s.url.to_string()).collect();
    by.sort();
    expected.sort();
    assert_eq!((address, by), (ip(A), expected));
}

#[test]
fn two_that_do_not() {
    let outcome = run_v4(vec![answering(ok(A)).url, answering(ok(B)).url, refusing()]);
    let FamilyOutcome::Disagree { answers } = outcome else { panic!("{outcome:?}") };
    assert_eq!(answers.len(), 3);
    assert_eq!(answers.iter().filter(|(_, answer)| answer.is_ok()).count(), 2);
}

#[test]
fn one_answer_and_none() {
    let (alone, dead) = (answering(ok(A)), refusing());
    let FamilyOutcome::NotAgreed { answers } = run_v4(vec![alone.url.clone(), dead.clone()]) else { panic!() };
    let mut reasons = lines(&answers);
    reasons.sort();
    let mut expected =
        vec![format!("{}: {A}", alone.url), format!("{dead}: cannot connect: Connection refused (os error 111)")];
    expected.sort();
    if cfg!(target_os = "linux") {
        assert_eq!(reasons, expected);
    }
    let FamilyOutcome::NotAgreed { answers } = run_v4(vec![refusing(), refusing()]) else { panic!() };
    assert_eq!(answers.len(), 2);
}

#[test]
fn answers_that_are_not_addresses() {
    assert_eq!(
        only_reason(ok("<html>hi</html>")),
        "URL: answered something that is not an IPv4 address: \"<html>hi</html>\""
    );
    assert_eq!(only_reason(http("503 Service Unavailable", "", A)), "URL: answered 503 Service Unavailable");
    assert_eq!(only_reason(ok(&format!("{A}{}", " ".repeat(1024)))), "URL: answered more than 1024 bytes");
    let endless = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "1".repeat(100_000));
    assert_eq!(only_reason(endless), "URL: answered more than 1024 bytes");
    assert_eq!(only_reason("rubbish\r\n\r\n".to_owned()), "URL: invalid HTTP version parsed");
}

#[test]
fn a_redirect_is_not_followed() {
    let portal = answering(ok(A));
    let away = http("302 Found", &format!("Location: {}\r\n", portal.url), A);
    assert_eq!(only_reason(away), "URL: answered 302 Found: does this network ask you to sign in?");
    assert_eq!(portal.hits.load(Ordering::SeqCst), 0);
}

#[test]
fn a_slow_one_is_not_waited_for() {
    let services =
        ["https://a.example", "https://slow.example", "https://b.example"].map(|url| Url::parse(url).unwrap());
    let ask = |url: &Url| {
        let slow = url.host_str() == Some("slow.example");
        async move { if slow { std::future::pending().await } else { Ok(ip(A)) } }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let answers = runtime.unwrap().block_on(collect(&services, Some(2), ask));
    // Whoever waits has to say that the slow one gave no answer.
    let said = |url: &str| (url.to_owned(), Ok(ip(A)));
    assert_eq!(answers, [said("https://a.example/"), said("https://b.example/")]);
}

#[test]
fn a_silent_one_has_its_time() {
    let silent = slowly(ok(A), Duration::from_secs(8));
    let mut settings = settings(vec![silent.url.clone(), answering(ok(A)).url], vec![]);
    settings.timeout = Duration::from_secs(1);
    let FamilyOutcome::NotAgreed { answers } = run(&settings, |_| true).v4 else { panic!() };
    let reasons = lines(&answers);
    assert!(reasons.contains(&format!("{}: no answer within 1 s", silent.url)), "{reasons:?}");
}

#[test]
fn everything_together_ends_in_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let services = [Url::parse("https://a.example").unwrap(), Url::parse("https://b.example").unwrap()];
    let answers = runtime.unwrap().block_on(collect(&services, Some(2), |_| std::future::pending()));
    let late = |url: &str| (url.to_owned(), Err("no answer within 5 s".to_owned()));
    assert_eq!(answers, [late("https://a.example/"), late("https://b.example/")]);
}

#[test]
fn an_address_that_is_not_on_the_internet() {
    let settings = settings(vec![answering(ok("10.0.0.1")).url, answering(ok("10.0.0.1")).url], vec![]);
    let found = run(&settings, eg_model::net::address::is_globally_routable);
    let FamilyOutcome::NotRoutable { address, by, message } = found.v4 else { panic!("{found:?}") };
    assert_eq!((address, by.len()), (ip("10.0.0.1"), 2));
    assert_eq!(message, "10.0.0.1 is not an address on the Internet: it is in 10.0.0.0/8 (Private-Use, RFC 1918)");
}

#[test]
fn a_family_that_is_not_wanted_is_not_asked() {
    let server = answering(ok(A));
    let settings = settings(vec![server.url.clone(), server.url.clone()], vec![]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(detect(Families { v4: false, v6: true }, &settings, Arc::new(|_| true)));
    assert_eq!(found, Detected { v4: FamilyOutcome::NotAsked, v6: FamilyOutcome::NotAsked });
    assert_eq!(server.hits.load(Ordering::SeqCst), 0);
}

#[test]
fn the_family_is_forced_at_connect() {
    let server = answering(ok("2001:db8::1"));
    let found = run(&settings(vec![], vec![server.url.clone(), server.url]), |_| true);
    assert!(matches!(found.v6, FamilyOutcome::NotAgreed { .. }), "{found:?}");
    assert_eq!(server.hits.load(Ordering::SeqCst), 0);
}

/// Tells nothing, and says so, on a machine without IPv6 on loopback.
#[test]
fn ipv6_over_loopback() {
    let bind = || TcpListener::bind("[::1]:0").ok();
    let (Some(one), Some(two)) = (bind(), bind()) else {
        writeln!(std::io::stderr(), "ipv6_over_loopback: skipped, this machine has no IPv6 on loopback").unwrap();
        return;
    };
    let servers = [one, two].map(|listener| serve(listener, ok("2001:db8::1\n"), Duration::ZERO).url);
    let found = run(&settings(vec![], servers.to_vec()), |_| true);
    assert!(matches!(found.v6, FamilyOutcome::Agreed { address, .. } if address == ip("2001:db8::1")), "{found:?}");
}

const PROXY_VARIABLES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The other half of [`proxy_variables_have_no_effect`], which runs it again under such an environment.
#[test]
#[expect(clippy::disallowed_methods, reason = "this test is about the environment itself")]
fn proxies_are_used_only_when_asked_for() {
    let ask = |use_proxy| {
        let services = vec![answering(ok(A)).url, answering(ok(A)).url];
        run(&Detect { use_proxy, ..settings(services, vec![]) }, |_| true).v4
    };
    assert!(matches!(ask(false), FamilyOutcome::Agreed { .. }));
    if std::env::var_os("EG_TEST_PROXY").is_some() {
        let through = ask(true);
        assert!(matches!(through, FamilyOutcome::NotAgreed { .. }), "the proxy was not used: {through:?}");
    }
}

/// In a process of its own: the environment of this one is shared by all tests.
#[test]
fn proxy_variables_have_no_effect() {
    let (_, module) = module_path!().split_once("::").unwrap();
    let name = format!("{module}::proxies_are_used_only_when_asked_for");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &name]).env("EG_TEST_PROXY", "1").env_remove("NO_PROXY").env_remove("no_proxy");
    for variable in PROXY_VARIABLES {
        child.env(variable, refusing().as_str());
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
