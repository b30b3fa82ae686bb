//! `eg ip`.

use crate::{
    cli::session::Tale,
    harness::{IPV4, IPV6, World, echo::Reply},
};

#[test]
fn every_service_is_shown() {
    let Some(world) = World::new().with_ipv6() else { return };
    let mut tale = Tale::new(&world.here);
    tale.eg(&["ip"]).expect_code(0);
    world.echo4[1].say("192.0.2.66");
    world.echo4[2].set(Reply::Status(503));
    world.echo6[2].say("<html>sign in");
    tale.eg(&["ip"]).expect_code(1);
    world.echo4[2].say(IPV4);
    tale.eg(&["ip"]).expect_code(0);
    tale.eg(&["ip", "-4"]).expect_code(0);
    world.echo6.iter().for_each(|echo| echo.set(Reply::Status(500)));
    tale.eg(&["ip", "-6"]).expect_code(1);
    tale.end("ip");
    assert_eq!(world.call_counts(), "", "no cloud is asked");
    assert!(!world.here.state_path().exists(), "nothing is recorded");
}

#[test]
fn addresses_in_json() {
    let Some(world) = World::new().with_ipv6() else { return };
    world.echo4[0].say("192.0.2.66");
    let found = world.eg(&["ip", "--output", "json"]).expect_code(0).json_as("ip");
    assert_eq!((&found["ipv4Address"], &found["ipv6Address"]), (&IPV4.into(), &IPV6.into()));
    let answers = &found["families"][0]["answers"];
    let agrees: Vec<_> = (0..3).map(|n| answers[n]["agrees"].as_bool().unwrap()).collect();
    assert_eq!(agrees, [false, true, true], "in the configuration's order, also when the odd one is fastest");
    let one = world.eg(&["ip", "-6", "--output", "json"]).expect_code(0).json_as("ip");
    assert_eq!(one["families"][0]["outcome"], "not-asked");
    assert!(one["ipv4Address"].is_null());
}
