//! Tests if a host behind a firewall can be reached: a TCP connect, a few times, since a new rule takes a moment to work.

use crate::host::clock::Pause;
use async_trait::async_trait;
use eg_model::net::{
    address::IpVersion,
    host_port::{Endpoint, Unreached},
};
use futures_util::future::select_ok;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

const TRIES: u32 = 3;
/// The pause between two tries.
const BETWEEN: Duration = Duration::from_secs(1);
/// The time limit of a look-up, and of a connection.
const TIME_LIMIT: Duration = Duration::from_secs(3);

#[async_trait]
pub trait Network: Send + Sync {
    /// The addresses of a host, best first.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    async fn connect(&self, to: SocketAddr) -> io::Result<()>;

    /// The addresses of this machine's interfaces, by the interface's name.
    fn interfaces(&self) -> io::Result<BTreeMap<String, BTreeSet<IpAddr>>>;
}

/// The real network. A look-up that hangs goes on in tokio's blocking pool: shut the runtime down in the background.
#[derive(Debug, Default)]
pub struct Tcp {
    /// Names whose addresses are known beforehand.
    pub names: BTreeMap<String, Vec<IpAddr>>,
}

#[async_trait]
impl Network for Tcp {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(known) = self.names.get(host) {
            return Ok(known.iter().map(|address| SocketAddr::new(*address, port)).collect());
        }
        Ok(timeout(TIME_LIMIT, lookup_host((host, port))).await??.collect())
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<()> {
        timeout(TIME_LIMIT, TcpStream::connect(to)).await?.map(drop)
    }

    fn interfaces(&self) -> io::Result<BTreeMap<String, BTreeSet<IpAddr>>> {
        let mut found: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for interface in if_addrs::get_if_addrs()? {
            let address = interface.ip();
            found.entry(interface.name).or_default().insert(address);
        }
        Ok(found)
    }
}

/// Tries to reach an endpoint over these families. The error is the last try's.
pub async fn probe(
    network: &dyn Network,
    pause: &Pause,
    endpoint: &Endpoint,
    families: &[IpVersion],
) -> Result<(), Unreached> {
    let mut tries = 1;
    loop {
        match once(network, endpoint, families).await {
            Err(Unreached::OtherFamily(version)) => return Err(Unreached::OtherFamily(version)),
            Err(_) if tries < TRIES => pause(BETWEEN).await,
            ended => return ended,
        }
        tries += 1;
    }
}

async fn once(network: &dyn Network, endpoint: &Endpoint, families: &[IpVersion]) -> Result<(), Unreached> {
    let resolved = network.resolve(endpoint.host(), endpoint.port()).await;
    let all = resolved.map_err(|error| Unreached::NoName(error.to_string()))?;
    let first = all.first().ok_or_else(|| Unreached::NoName("it has no address".to_owned()))?;
    let opened = all.iter().filter(|to| families.contains(&IpVersion::of(to.ip())));
    // Side by side: a name may have many addresses, and each one that does not answer takes the whole time limit.
    let connects: Vec<_> = opened.map(|to| network.connect(*to)).collect();
    if connects.is_empty() {
        return Err(Unreached::OtherFamily(IpVersion::of(first.ip())));
    }
    select_ok(connects).await.map(drop).map_err(|error| unreached(&error))
}

fn unreached(error: &io::Error) -> Unreached {
    match error.kind() {
        ErrorKind::ConnectionRefused => Unreached::Refused,
        ErrorKind::TimedOut => Unreached::Silent,
        _ => Unreached::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };
    use tokio::sync::Barrier;

    /// Answers connects in turn, the last answer for ever.
    struct Scripted {
        addresses: Vec<&'static str>,
        answers: Vec<Option<ErrorKind>>,
        asked: AtomicU32,
    }

    #[async_trait]
    impl Network for Scripted {
        async fn resolve(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), port);
            Ok(self.addresses.iter().map(address).collect())
        }

        async fn connect(&self, _to: SocketAddr) -> io::Result<()> {
            let turn = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
            let answer = self.answers.get(turn).or(self.answers.last()).unwrap();
            answer.map_or(Ok(()), |kind| Err(kind.into()))
        }

        fn interfaces(&self) -> io::Result<BTreeMap<String, BTreeSet<IpAddr>>> {
            Ok(BTreeMap::new())
        }
    }

    /// The result, the number of connects and the number of pauses.
    fn probed(addresses: &[&'static str], answers: &[Option<ErrorKind>]) -> (Result<(), Unreached>, u32, u32) {
        let network =
            Scripted { addresses: addresses.to_vec(), answers: answers.to_vec(), asked: AtomicU32::default() };
        let pauses = Arc::new(AtomicU32::default());
        let counted = Arc::clone(&pauses);
        let pause: Pause = Arc::new(move |wait| {
            assert_eq!(wait, BETWEEN);
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {})
        });
        let endpoint = "db.example.com:5432".parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime.block_on(probe(&network, &pause, &endpoint, &[IpVersion::V4]));
        (ended, network.asked.into_inner(), pauses.load(Ordering::SeqCst))
    }

    /// All are asked before any of them answers.
    struct Together(Barrier);

    #[async_trait]
    impl Network for Together {
        async fn resolve(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            Ok((1..=8).map(|last| SocketAddr::new([192, 0, 2, last].into(), port)).collect())
        }

        async fn connect(&self, _to: SocketAddr) -> io::Result<()> {
            self.0.wait().await;
            Err(ErrorKind::TimedOut.into())
        }

        fn interfaces(&self) -> io::Result<BTreeMap<String, BTreeSet<IpAddr>>> {
            Ok(BTreeMap::new())
        }
    }

    /// A name with many addresses takes no longer than one with one.
    #[test]
    fn addresses_are_tried_side_by_side() {
        let (network, endpoint) = (Together(Barrier::new(8)), "db.example.com:5432".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ended = runtime
            .block_on(async { timeout(Duration::from_secs(60), once(&network, &endpoint, &[IpVersion::V4])).await });
        assert_eq!(ended.ok(), Some(Err(Unreached::Silent)));
    }

    const ONE: &[&str] = &["192.0.2.1"];
    const REFUSED: Option<ErrorKind> = Some(ErrorKind::ConnectionRefused);
    const SILENT: Option<ErrorKind> = Some(ErrorKind::TimedOut);

    #[test]
    fn one_try_or_a_few() {
        assert_eq!(probed(ONE, &[None]), (Ok(()), 1, 0));
        assert_eq!(probed(ONE, &[SILENT, None]), (Ok(()), 2, 1));
        assert_eq!(probed(ONE, &[SILENT, REFUSED, None]), (Ok(()), 3, 2));
        assert_eq!(probed(ONE, &[SILENT]), (Err(Unreached::Silent), 3, 2));
        assert_eq!(probed(ONE, &[SILENT, SILENT, REFUSED]), (Err(Unreached::Refused), 3, 2));
        let unreachable = Unreached::Failed("network unreachable".to_owned());
        assert_eq!(probed(ONE, &[Some(ErrorKind::NetworkUnreachable)]), (Err(unreachable), 3, 2));
    }

    #[test]
    fn every_address_of_an_opened_family() {
        assert_eq!(probed(&["2001:db8::1", "192.0.2.1", "192.0.2.2"], &[SILENT, None]), (Ok(()), 2, 0));
        assert_eq!(probed(&["2001:db8::1"], &[None]), (Err(Unreached::OtherFamily(IpVersion::V6)), 0, 0));
        let nothing = Unreached::NoName("it has no address".to_owned());
        assert_eq!(probed(&[], &[None]), (Err(nothing), 0, 2));
    }
}
