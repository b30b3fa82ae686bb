//! What a host may lack: the right, the program, the kernel's part, the line in the user's ruleset. Each is told in one
//! sentence, by `resource verify`, by `doctor`, and by `session start` before anything is written.

use super::traffic::{ACCEPT, DROP, ESTABLISHED, Net, REFUSED};
use crate::{
    harness::{Installation, Outcome, Shared, namespace::write_program, says, says_not},
    kinds::peers::CLIENT,
};
use std::{fs, path::Path, sync::Arc};

/// Runs `eg` on the host by a line of a shell (`"$@"`), in mounts of its own.
fn by(net: &Net, line: &str) -> Installation {
    let shell = ["unshare", "-m", "sh", "-c", line, "sh"].map(str::to_owned);
    let inside = [net.peers.host.inside(), shell.to_vec()].concat();
    let there = Installation::new(Arc::new(Shared { inside, ..Shared::alone() }), "there");
    there.write_config(&fs::read_to_string(net.here.config_path()).expect("the configuration"));
    there
}

/// An `nft` that ends with these words and this status, as on a kernel without nf_tables.
fn nft_that_says(dir: &Path, words: &str, status: u8) -> String {
    let fake = dir.join(format!("nft-{status}"));
    write_program(&fake, &format!("#!/bin/sh\necho '{words}' >&2\nexit {status}\n"));
    format!("mount --bind {} /usr/sbin/nft && exec \"$@\"", fake.display())
}

#[test]
fn what_is_lacking_is_said_before_anything_is_written() {
    let Some(net) = Net::new(&[ESTABLISHED, ACCEPT]) else { return };
    let ruleset = net.peers.host.nft("list ruleset");
    let dir = net.here.home();
    let kernel = "read table eg: this kernel lacks nf_tables, or a part of it that eg needs; load the module (modprobe \
                  nf_tables), or run a kernel that has it: ";
    let right = "read table eg: nftables takes root, or the capability CAP_NET_ADMIN: Operation not permitted";
    let nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all -- \"$@\"";
    for (line, why) in [
        // Root without the capability, as in a container.
        ("exec setpriv --bounding-set -net_admin -- \"$@\"".to_owned(), right),
        (format!("chmod a+rx $HOME/.. && chown -R 65534:65534 $HOME && {nobody}"), right),
        (
            "mount -t tmpfs tmpfs /usr/sbin && exec \"$@\"".to_owned(),
            "read table eg: nft is not installed: none of /usr/sbin/nft, /sbin/nft, /usr/bin/nft, /bin/nft. Install the \
             package nftables",
        ),
        // As nft 1.0.6 says it, where the kernel has no netlink for netfilter, or does not know the subsystem.
        (nft_that_says(dir, "mnl.c:60: Unable to initialize Netlink socket: Protocol not supported", 3), kernel),
        (nft_that_says(dir, "netlink: Error: cache initialization failed: Invalid argument", 1), kernel),
    ] {
        let there = by(&net, &line);
        let verified = there.eg(&["resource", "verify"]).expect_code(1);
        says(&verified, &format!("✗ firewall: not possible on this host: {why}"));
        says(&verified, "mend that on this host: docs/firewalls.md says what eg needs there");
        says(
            &there.eg(&["doctor"]).expect_code(1),
            &format!("✗ firewall: this-host: not possible on this host: {why}"),
        );
        let started = there.eg(&["session", "start", "--ipv4", CLIENT]).expect_code(1);
        says(&started, &format!("nothing was opened: {why}"));
        says(&started, "hint: mend that on this host");
        assert_eq!(there.eg(&["session", "list", "--output", "json"]).expect_code(0).json(), serde_json::json!([]));
        assert_eq!(net.peers.host.nft("list ruleset"), ruleset, "{why}");
    }
    assert_eq!(net.connects(), REFUSED);
}

/// The ruleset has no line for what `eg` opens: an element is made, and the packets are refused all the same.
#[test]
fn a_ruleset_without_the_line_is_warned_of() {
    let Some(net) = Net::new(&[ESTABLISHED]) else { return };
    let all = |net: &Net| -> Vec<Outcome> {
        let started = net.eg(&["session", "start", "--ipv4", CLIENT, "--duration", "1h"]).expect_code(0);
        let stopped = |net: &Net| net.eg(&["session", "stop", "--all"]).expect_code(0);
        assert_eq!(net.connects(), REFUSED);
        stopped(net);
        let preview = net.eg(&["session", "start", "--ipv4", CLIENT, "--dry-run"]).expect_code(0);
        vec![net.eg(&["resource", "verify"]).expect_code(0), net.eg(&["doctor"]), started, preview]
    };
    for outcome in all(&net) {
        says(&outcome, "no rule outside of table eg asks for the mark 0x65670000");
        says(
            &outcome,
            "add this line to the ruleset, before what refuses: meta mark & 0x65670000 == 0x65670000 accept",
        );
    }
    let started = net.eg(&["session", "start", "--ipv4", CLIENT, "--output", "json"]).expect_code(0);
    assert!(started.json_lines().iter().any(|line| line["warning"]["code"] == "no-effect"), "{started}");
    net.eg(&["session", "stop"]).expect_code(0);

    // Either line is enough, the one that accepts and the one that drops.
    for lines in [[ESTABLISHED, ACCEPT], [DROP, ESTABLISHED]] {
        net.load_ruleset(&lines);
        says_not(&net.eg(&["resource", "verify"]).expect_code(0), "0x65670000");
    }
    net.peers.host.nft("flush ruleset");
    let open = net.eg(&["resource", "verify"]).expect_code(0);
    says(&open, "! effect: nftables refuses nothing on this host, so everybody reaches its ports, with eg or without");
}
