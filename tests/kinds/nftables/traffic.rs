//! What packets make of it: a server in one network namespace, a client in another, and `eg` on the server's host.

use crate::{
    harness::{Installation, Namespace, Outcome, Shared},
    kinds::peers::{CLIENT, CLIENT6, Connection, Peers, SERVER, SERVER6},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// The line of the user's ruleset that lets in what `eg` opens. It may stand anywhere before what refuses.
pub const ACCEPT: &str = "meta mark & 0x65670000 == 0x65670000 accept";
pub const ESTABLISHED: &str = "ct state established,related accept";
/// The same for one port, so that open connections end as well. It stands before what accepts established connections.
pub const DROP: &str = "tcp dport 22 meta mark & 0x65670000 != 0x65670000 drop";

/// A server's host whose ruleset refuses everything but neighbour discovery and what `lines` accept.
pub struct Net {
    pub peers: Peers,
    pub here: Installation,
    shared: Arc<Shared>,
}

impl Net {
    /// `None`, with the reason on stderr, on a machine without namespaces.
    pub fn new(lines: &[&str]) -> Option<Self> {
        if let Some(why) = Namespace::missing() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let shared = Shared::alone();
        let peers = Peers::new(shared.dir.path());
        peers.serve();
        let shared = Arc::new(Shared { inside: peers.host.inside(), ..shared });
        let here = Installation::new(Arc::clone(&shared), "here");
        here.write_config("[[resource]]\nname = \"this-host\"\nprovider = \"nftables\"\nports = [\"tcp/22\"]\n");
        let net = Self { peers, here, shared };
        net.load_ruleset(lines);
        Some(net)
    }

    /// What a user has: a chain that refuses what it does not know.
    pub fn load_ruleset(&self, lines: &[&str]) {
        let lines = lines.join("; ");
        self.peers.host.nft(&format!(
            "add table inet filter; delete table inet filter; table inet filter {{ chain input {{ \
             type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; {lines}; \
             meta l4proto tcp reject with tcp reset; }}; }}"
        ));
    }

    pub fn eg(&self, args: &[&str]) -> Outcome {
        self.here.eg(args)
    }

    #[track_caller]
    fn start(&self, duration: &str) {
        let args = ["session", "start", "--ipv4", CLIENT, "--ipv6", CLIENT6, "--duration", duration];
        self.eg(&args).expect_code(0);
    }

    fn advance(&self, seconds: i64) {
        self.shared.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    fn connect(&self, source: &str, server: &str) -> (String, Connection) {
        self.peers.connect(source, server)
    }

    /// How a connection goes by IPv4 and by IPv6.
    pub fn connects(&self) -> [String; 2] {
        [self.connect(CLIENT, SERVER).0, self.connect(CLIENT6, SERVER6).0]
    }
}

const CONNECTED: [&str; 2] = ["connected", "connected"];
pub const REFUSED: [&str; 2] = ["refused", "refused"];

#[test]
fn a_session_lets_its_address_in_by_ipv4_and_ipv6_and_nobody_else() {
    let Some(net) = Net::new(&[ESTABLISHED, ACCEPT]) else { return };
    net.peers.client.run("ip", &["addr", "add", "203.0.113.43/24", "dev", "link0"]);
    assert_eq!(net.connects(), REFUSED);
    net.start("1h");
    assert_eq!(net.connects(), CONNECTED);
    assert_eq!(net.connect("203.0.113.43", SERVER).0, "refused", "a neighbour");
    net.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(net.connects(), REFUSED);
}

/// The time of an element, in seconds, as the kernel has it.
fn time_left(net: &Net) -> u64 {
    let listed = net.peers.host.nft_json("list set inet eg v4_tcp_22").expect("the set");
    let objects = listed["nftables"].as_array().expect("a list").clone();
    let set = objects.iter().find_map(|object| object.get("set")).expect("the set");
    set["elem"][0]["elem"]["expires"].as_u64().expect("a time")
}

#[test]
fn an_extension_moves_the_time_at_which_the_kernel_closes() {
    let Some(net) = Net::new(&[ESTABLISHED, ACCEPT]) else { return };
    net.start("1h");
    let before = time_left(&net);
    assert!((3000..=3600).contains(&before), "{before}");
    net.eg(&["session", "extend", "--hours", "2"]).expect_code(0);
    let after = time_left(&net);
    assert!((before + 7200 - 600..=before + 7200).contains(&after), "{before}, then {after}");
    assert_eq!(net.connects(), CONNECTED);
}

/// `eg` opens for the rest of a session and never runs again. Only time passes.
#[test]
fn the_kernel_closes_although_eg_never_runs_again() {
    let Some(net) = Net::new(&[ESTABLISHED, ACCEPT]) else { return };
    net.start("1m");
    net.peers.host.nft("flush table inet eg");
    assert_eq!(net.connects(), REFUSED);
    // The shortest session lasts a minute: its last quarter has to do.
    net.advance(45);
    net.eg(&["reconcile"]).expect_code(0);
    let left = time_left(&net);
    assert!(left <= 15, "{left}");
    let begun = Instant::now();
    while net.connects() != REFUSED {
        assert!(begun.elapsed() < Duration::from_secs(120), "it is still open");
    }
}

/// Others flush the whole ruleset, or load theirs anew. The next pass opens again, and touches nothing of theirs.
#[test]
fn what_others_flush_or_reload_is_repaired() {
    let Some(net) = Net::new(&[ESTABLISHED, ACCEPT]) else { return };
    net.start("1h");
    for flush in ["flush ruleset", "flush table inet eg", "delete table inet eg"] {
        net.peers.host.nft(flush);
        net.load_ruleset(&[ESTABLISHED, ACCEPT]);
        let theirs = net.peers.host.nft("list table inet filter");
        assert_eq!(net.connects(), REFUSED, "{flush}");
        net.advance(330);
        net.eg(&["reconcile"]).expect_code(0);
        assert_eq!(net.connects(), CONNECTED, "{flush}");
        assert_eq!(net.peers.host.nft("list table inet filter"), theirs, "{flush}");
    }
    // A reload that leaves the table of `eg` alone is none of its business.
    net.load_ruleset(&[ESTABLISHED, ACCEPT]);
    assert_eq!(net.connects(), CONNECTED);
    net.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(net.connects(), REFUSED);
}

/// The kernel shows what it has, so no settle window has to pass before what is gone counts as closed.
#[test]
fn what_is_gone_counts_as_closed_at_once() {
    let Some(net) = Net::new(&[ESTABLISHED, ACCEPT]) else { return };
    net.start("1h");
    net.peers.host.nft("delete table inet eg");
    net.advance(2);
    net.eg(&["session", "stop"]).expect_code(0);
    let sessions = net.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
    assert_eq!(sessions[0]["status"], "CANCELLED");
}

/// With the line that accepts, in either order, an open connection lives on: what accepts established connections also
/// accepts its packets. `conntrack -D` ends it, since the server is not about to send anything.
#[test]
fn an_open_connection_lives_on_where_established_ones_are_accepted() {
    for lines in [[ACCEPT, ESTABLISHED], [ESTABLISHED, ACCEPT]] {
        let Some(net) = Net::new(&lines) else { return };
        net.start("1h");
        let (how, mut connection) = net.connect(CLIENT, SERVER);
        assert_eq!((how.as_str(), connection.sends(20).as_str()), ("connected", "alive"));
        net.eg(&["session", "stop"]).expect_code(0);
        assert_eq!(net.connect(CLIENT, SERVER).0, "refused");
        assert_eq!(connection.sends(20), "alive", "{lines:?}");
        // A server with something to send would make the connection known again: only its own end is believed then.
        net.peers.host.run("sysctl", &["-q", "net.netfilter.nf_conntrack_tcp_loose=0"]);
        net.peers.host.run("conntrack", &["-D", "-s", CLIENT, "-p", "tcp", "--dport", "22"]);
        assert_eq!(connection.sends(3), "dead", "{lines:?}");
    }
}

/// With a line that drops, before what accepts established connections, an open connection ends with the session.
#[test]
fn an_open_connection_ends_where_unmarked_packets_are_dropped_first() {
    let Some(net) = Net::new(&[DROP, ESTABLISHED, "tcp dport 22 accept"]) else { return };
    net.start("1h");
    let (how, mut connection) = net.connect(CLIENT, SERVER);
    assert_eq!((how.as_str(), connection.sends(20).as_str()), ("connected", "alive"));
    net.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(connection.sends(3), "dead");
}
