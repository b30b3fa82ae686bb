//! Stopping.

use crate::Bench;
use eg_sandbox::Fault;
use std::{net::TcpStream, time::Duration};

#[test]
fn stopping_lets_requests_under_way_end() {
    let bench = Bench::new();
    let address = bench.handle.address();
    assert!(address.ip().is_loopback());
    bench.handle.script([Fault::Slow(Duration::from_millis(200))]);
    let client = bench.client.clone();
    let asking = std::thread::spawn(move || client.code("DescribeSecurityGroups", &[]));
    while bench.handle.log().is_empty() {
        std::thread::yield_now();
    }
    bench.handle.stop();
    assert_eq!(asking.join().unwrap(), "OK");
    assert!(TcpStream::connect(address).is_err());
}
