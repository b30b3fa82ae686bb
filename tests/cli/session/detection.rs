//! The user's own address, from services that may lie, fail or be somebody else's page.

use super::{Tale, error_of, start};
use crate::harness::{Echo, Fault, IPV4, IPV6, World, echo::Reply};

const START: &[&str] = &["session", "start", "--only", "dev"];

#[test]
fn two_of_three_agree() {
    let world = World::new();
    world.echo4[0].say("192.0.2.66");
    assert_eq!(start(&world.here, &["--no-wait"])["ipv4Address"], IPV4);
    world.echo4[0].set(Reply::Status(500));
    assert_eq!(start(&world.here, &["--no-wait"])["ipv4Address"], IPV4);
    world.echo4[0].say(&format!("  {IPV4}\r\n"));
    world.echo4[1].set(Reply::Status(404));
    assert_eq!(start(&world.here, &["--no-wait"])["ipv4Address"], IPV4, "white space around it is nothing");
}

#[test]
fn services_that_do_not_make_an_address() {
    let Some(world) = World::new().with_ipv6() else { return };
    let mut tale = Tale::new(&world.here);
    // Three answers, no two alike: an error for the whole start, though IPv6 agrees.
    for (echo, text) in world.echo4.iter().zip(["192.0.2.1", "192.0.2.2", "192.0.2.3"]) {
        echo.say(text);
    }
    tale.eg(START).expect_code(1);
    // Two answers that differ and a failure.
    world.echo4[2].set(Reply::Status(503));
    tale.eg(START).expect_code(1);
    // One answer alone: left out.
    world.echo4[1].say("<html><title>Hotel Wi-Fi</title>");
    tale.eg(&[START, &["--no-wait"]].concat()).expect_code(0);
    let session = world.eg(&["session", "list", "--output", "json"]).json_as("sessions")[0].clone();
    assert!(session["ipv4Address"].is_null() && session["ipv6Address"] == IPV6, "{session:#}");
    // None, and no IPv6 either.
    world.echo4[0].say("\u{1b}[2J not an address, and rather long besides");
    world.echo6.iter().for_each(|echo| echo.set(Reply::Status(302)));
    tale.eg(START).expect_code(1);
    tale.eg(&[START, &["-4"]].concat()).expect_code(1);
    let outcome = world.eg(&[START, &["--output", "json"]].concat()).expect_code(1);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.json_lines().last().unwrap()["error"]["kind"].as_str()),
        ("", Some("detection"))
    );
    tale.end("detection");
    assert_eq!(world.cloud.rules(world.group("dev-web-sg")), []);
}

/// Without a network every service fails alike: the reason is said once, by each command.
#[test]
fn one_reason_for_all_services_is_said_once() {
    let Some(world) = World::new().with_ipv6() else { return };
    world.echo4.iter().chain(&world.echo6).for_each(|echo| echo.set(Reply::Status(503)));
    let mut tale = Tale::new(&world.here);
    tale.eg(START).expect_code(1);
    tale.eg(&["session", "ensure", "--only", "dev"]).expect_code(1);
    tale.eg(&["session", "run", "--only", "dev", "--", "true"]).expect_code(1);
    tale.eg(&["ip"]).expect_code(1);
    tale.eg(&["-v", "ip", "-4"]).expect_code(1);
    tale.end("offline");
    let doctor = world.eg(&["doctor"]).expect_code(1);
    assert_eq!(doctor.stdout.matches("all 3 services: answered 503").count(), 2, "{doctor}");
    let verbose = world.eg(&[&["-v"], START].concat()).expect_code(1);
    assert_eq!(verbose.stderr.matches(": answered 503").count(), 6 + 1, "each service is logged: {verbose}");
    // Services that cannot be reached at all.
    let dead = (1..=3).map(|port| format!("\"http://127.0.0.1:{port}/\"")).collect::<Vec<_>>().join(", ");
    let resource = World::resource("dev", world.group("dev-web-sg"), crate::harness::REGION, &["tcp/22"], "");
    world.write_config(&format!("[detect]\nipv4 = [{dead}]\nipv6 = []\n\n{resource}"));
    let refused = world.eg(START).expect_code(1);
    let error = error_of(&refused);
    let begin = "your public address could not be found (none of 3 services could be reached: Connection refused";
    assert!(error.starts_with(begin) && error.len() < 160, "{refused}");
}

#[test]
fn no_ipv6_is_half_a_line() {
    let Some(world) = World::new().with_ipv6() else { return };
    world.echo6.iter().for_each(|echo| echo.set(Reply::Status(500)));
    let outcome = world.eg(START).expect_code(0);
    let about: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("IPv6")).collect();
    assert_eq!(about, ["IPv6: not available here; opening IPv4 only"], "{outcome}");
    assert!(!world.eg(&[START, &["-q"]].concat()).expect_code(0).stderr.contains("IPv6"));
    let outcome = world.eg(&[START, &["--output", "json"]].concat()).expect_code(0);
    outcome.json_lines();
    assert!(outcome.json_as("session")["ipv6Address"].is_null());
    // Who asked for IPv4 alone hears nothing of IPv6.
    assert!(!world.eg(&[START, &["-4"]].concat()).expect_code(0).stderr.contains("IPv6"));
}

#[test]
fn answers_of_the_wrong_family_do_not_count() {
    let world = World::new();
    world.echo4.iter().for_each(|echo| echo.say(IPV6));
    let outcome = world.eg(START).expect_code(1);
    assert!(outcome.stderr.contains("not an IPv4 address"), "{outcome}");
    world.echo4.iter().for_each(|echo| echo.say("203.0.113.42/0"));
    world.eg(START).expect_code(1);
    world.echo4.iter().for_each(|echo| echo.say(&"9".repeat(5000)));
    world.eg(START).expect_code(1);
}

#[test]
fn an_address_that_nobody_can_reach_is_not_opened() {
    let world = World::new();
    for address in ["10.0.0.7", "100.64.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1"] {
        world.echo4.iter().for_each(|echo| echo.say(address));
        let outcome = world.here.command(START).without("EG_TEST_ADDRESSES").run().expect_code(1);
        assert!(outcome.stderr.contains(address), "{outcome}");
    }
    // Without the tests' exception, documentation addresses are no addresses either.
    world.echo4.iter().for_each(|echo| echo.say(IPV4));
    world.here.command(START).without("EG_TEST_ADDRESSES").run().expect_code(1);
    assert_eq!(world.cloud.rules(world.group("dev-web-sg")), []);
}

#[test]
fn a_service_that_never_answers_is_one_voice_less() {
    let world = World::new();
    world.echo4[1].set(Reply::Silence(std::time::Duration::from_secs(20)));
    assert_eq!(start(&world.here, &["--no-wait"])["ipv4Address"], IPV4);
    world.echo4[2].set(Reply::Status(500));
    let outcome = world.eg(START).expect_code(1);
    assert!(outcome.stderr.contains("no answer within 5 s"), "{outcome}");
}

/// The firewalls are read while the services are asked: neither waits for the other.
#[test]
fn detection_runs_beside_the_first_reading() {
    const DESCRIBE: &str = "DescribeSecurityGroupRules";
    let world = World::new();
    world.echo4.iter().for_each(|echo| echo.set(Reply::Silence(std::time::Duration::from_secs(60))));
    let start = world.here.command(START).spawn();
    // Without an address there is no session: a reading that waited for the services would never come.
    start.wait_for_call(|call| call.action == DESCRIBE);
    drop(start);
    let world = World::new();
    world.faults(&[Fault::hold(DESCRIBE)]);
    let start = world.here.command(START).spawn();
    start.wait_for_delayed(DESCRIBE);
    let begin = std::time::Instant::now();
    // The reading is held: services that waited for it would not be asked.
    while world.echo4.iter().any(|echo| echo.asked() == 0) {
        assert!(begin.elapsed().as_secs() < 100, "they are never asked");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(!world.calls().iter().any(|call| call.action == "AuthorizeSecurityGroupIngress" && !call.dry_run));
    world.faults(&[]);
}

/// B39: the address of a proxy is never opened.
#[test]
fn proxies_are_not_asked() {
    let world = World::new();
    let proxy = Echo::v4("192.0.2.99");
    let mut command = world.here.command(&[START, &["--no-wait", "--output", "json"]].concat());
    for key in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
        command = command.env(key, proxy.url());
    }
    assert_eq!(command.run().expect_code(0).json_as("session")["ipv4Address"], IPV4);
    assert_eq!(proxy.asked(), 0);

    // Unless the configuration says so.
    let config = world.default_config().replace("[detect]", "[detect]\nuse_proxy = true");
    world.write_config(&config);
    let outcome = world
        .here
        .command(&[START, &["--no-wait", "--output", "json"]].concat())
        .env("http_proxy", proxy.url())
        .run()
        .expect_code(0);
    assert_eq!(outcome.json_as("session")["ipv4Address"], "192.0.2.99");
    assert!(proxy.asked() >= 2);
}

/// A family that nobody asks about is no family without an address.
#[test]
fn a_family_that_is_left_out() {
    let world = World::new();
    let refused = |args: &[&str], code: i32| error_of(&world.eg(args).expect_code(code));
    // The configuration lists no service for IPv6.
    let left_out = "there is no address to detect: IPv6 is left out by `[detect] ipv6 = []`";
    for command in ["start", "ensure"] {
        assert_eq!(refused(&["session", command, "-6"], 2), left_out);
    }
    assert_eq!(refused(&["ip", "-6"], 2), left_out);
    let v6_only = world.default_config().replace("groups = [", "families = [\"ipv6\"]\ngroups = [");
    world.write_config(&v6_only);
    let no_v4 = "there is no address to detect: no selected resource takes IPv4";
    assert_eq!(refused(&["session", "start", "-4"], 2), no_v4);
    let neither = format!("{no_v4}; IPv6 is left out by `[detect] ipv6 = []`");
    assert_eq!(refused(START, 1), neither, "here it is the configuration alone");
    assert!(!world.here.state_path().exists(), "nothing was recorded");
}

#[test]
fn where_nothing_is_found_a_proxy_is_thought_of() {
    let world = World::new();
    world.echo4.iter().for_each(|echo| echo.set(Reply::Status(500)));
    let hint = "[detect] use_proxy = true";
    let with_proxy = |args: &[&str]| world.here.command(args).env("HTTPS_PROXY", "http://127.0.0.1:9").run();
    assert!(with_proxy(START).expect_code(1).stderr.contains(hint));
    assert!(with_proxy(&["ip"]).expect_code(1).stderr.contains(hint));
    assert!(!world.eg(START).expect_code(1).stderr.contains(hint), "there is none");
    // Once that is said, it is not hinted at any more.
    world.write_config(&world.default_config().replace("[detect]", "[detect]\nuse_proxy = true"));
    assert!(!with_proxy(START).expect_code(1).stderr.contains(hint));
}
