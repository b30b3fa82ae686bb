//! How close `eg` comes to the network's own time: `eg session start`, `eg session ensure` and `eg reconcile` that find
//! everything as it should be, and `eg session stop`, beside a bare `aws-sdk-ec2` client that sends the calls that nobody can
//! leave out, with the same concurrency.
//!
//! Both are whole processes and speak to one endpoint on loopback, which answers after a fixed latency. They run in
//! turn, so that both see the same machine; the table shows medians, the median of the ratios pair by pair, the processor
//! time of both, how many calls reached the endpoint, the flushes and the peak memory of `eg`.
//!
//! `cargo bench --bench floor -- --groups 1,3,20 --latency 0,20,80 --runs 7`
//!
//! With `EG_BENCH_BINARY=target/release/eg` another `eg` is measured than the one that cargo has built for this. With
//! `--wide yes` each group gets three ports for both families, in place of one port for IPv4.
//!
//! With `--bucket 100,50` the endpoint throttles as AWS does, here after 100 writes of a kind and beyond 50 a second, and
//! the table shows how near `eg` comes to that rate. The bare client does not retry, so it has no part in this.
//!
//! With `--floor no` the bare client is left out, and each command runs once: for thousands of groups.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its figures"
)]

use aws_credential_types::Credentials;
use aws_sdk_ec2::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    types::{Filter, IpPermission, IpRange, Ipv6Range, ResourceType, Tag, TagSpecification},
};
use eg_sandbox::{Config, HandRule, Handle, Latency, RateLimit, Sandbox};
use futures_util::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Groups that one `DescribeSecurityGroupRules` names, as in `eg`.
const GROUPS_PER_READ: usize = 200;
/// Targets that `eg` works on at once.
const CONCURRENCY: usize = 8;
/// Tells this program to be the bare client: the command that it stands beside.
const FLOOR: &str = "EG_BENCH_FLOOR";
/// Where the endpoint is, for the bare client.
const ENDPOINT: &str = "EG_BENCH_ENDPOINT";
/// The ids of the groups, one a line, for the bare client.
const GROUP_FILE: &str = "EG_BENCH_GROUPS";

/// The `eg` to measure; without it, the one of this build.
const BINARY: &str = "EG_BENCH_BINARY";
/// Tells the bare client to open what `--wide` opens.
const WIDE: &str = "EG_BENCH_WIDE";

const STRACE: &str = "/usr/bin/strace";
const TIME: &str = "/usr/bin/time";

const REGION: &str = "eu-west-1";
const ADDRESS: &str = "203.0.113.42";
const ADDRESS_V6: &str = "2001:db8::42";
const COMMANDS: [&str; 4] = ["start", "ensure", "reconcile", "stop"];

fn main() {
    if let Ok(command) = env::var(FLOOR) {
        return floor(&command);
    }
    let options = Options::parse(env::args().skip(1));
    println!(
        "{:>6} {:>8} {:>10} {:>12} {:>12} {:>7} {:>10} {:>10} {:>6} {:>6} {:>7} {:>8}",
        "groups",
        "latency",
        "command",
        "eg",
        "floor",
        "ratio",
        "eg CPU",
        "floor CPU",
        "calls",
        "floor",
        "flushes",
        "memory"
    );
    for groups in &options.groups {
        for latency in &options.latencies {
            match options.bucket {
                Some(bucket) => measure_throttled(*groups, *latency, options.wide, bucket),
                None if options.alone => measure_alone(*groups, *latency, options.wide),
                None => measure(*groups, *latency, options.wide, options.runs),
            }
        }
    }
}

/// What to measure.
struct Options {
    groups: Vec<usize>,
    latencies: Vec<Duration>,
    runs: usize,
    /// Three ports for both families, in place of one port for IPv4.
    wide: bool,
    /// Without the bare client.
    alone: bool,
    bucket: Option<RateLimit>,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            groups: vec![1, 3, 20],
            latencies: [0, 20, 80].map(Duration::from_millis).to_vec(),
            runs: 7,
            wide: false,
            alone: false,
            bucket: None,
        };
        let mut args = args.filter(|arg| arg != "--bench");
        while let Some(name) = args.next() {
            let value = args.next().unwrap_or_else(|| panic!("{name} takes a value"));
            let numbers = || value.split(',').map(|number| number.parse::<usize>().unwrap());
            match name.as_str() {
                "--groups" => options.groups = numbers().collect(),
                "--latency" => options.latencies = numbers().map(|ms| Duration::from_millis(ms as u64)).collect(),
                "--bucket" => {
                    let numbers: Vec<f64> = numbers().map(|number| number as f64).collect();
                    options.bucket = Some(RateLimit { capacity: numbers[0], per_second: numbers[1] });
                }
                "--runs" => options.runs = value.parse().unwrap(),
                "--wide" => options.wide = value == "yes",
                "--floor" => options.alone = value == "no",
                _ => panic!("unknown option {name}"),
            }
        }
        options
    }
}

/// One endpoint with its groups, and the files that lead both programs there.
struct World {
    sandbox: Handle,
    dir: TempDir,
    wide: bool,
}

impl World {
    /// Every group holds one rule made by hand: an empty group would cost one more call.
    fn new(groups: usize, latency: Duration, wide: bool) -> Self {
        let sandbox = Sandbox::start(Config::new(1, Arc::new(|| std::time::SystemTime::now().into()))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (mut config, mut ids) = (String::new(), String::new());
        let ports = ports(wide).map(|port| format!("\"tcp/{port}\"")).collect::<Vec<_>>().join(", ");
        for number in 0..groups {
            let id = sandbox.create_group_in("123456789012", REGION, &format!("group-{number}")).unwrap();
            sandbox.authorize_by_hand(&id, &HandRule::new("tcp/443", "198.51.100.0/24")).unwrap();
            writeln!(
                config,
                "[[resource]]\nname = \"group-{number}\"\nid = \"{id}\"\nregion = \"{REGION}\"\nports = [{ports}]"
            )
            .unwrap();
            writeln!(ids, "{id}").unwrap();
        }
        fs::write(dir.path().join("config.toml"), config).unwrap();
        fs::write(dir.path().join("groups"), ids).unwrap();
        sandbox.set(|settings| settings.latency = Latency { min: latency, max: latency });
        Self { sandbox, dir, wide }
    }

    fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        let file = |name| self.dir.path().join(name);
        command
            .env_clear()
            .envs([
                ("AWS_ACCESS_KEY_ID", "AKIABENCH"),
                ("AWS_SECRET_ACCESS_KEY", "bench"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ])
            .env("AWS_ENDPOINT_URL", self.sandbox.endpoint())
            .env("EG_CONFIG", file("config.toml"))
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// A record that is not used for the first time: its making, and the search for left-over rules, come once.
    fn new_record(&self, name: &str) -> PathBuf {
        let state = self.dir.path().join(name);
        self.eg(&state, "reconcile");
        state
    }

    fn eg(&self, state: &Path, command: &str) -> Run {
        let mut eg = self.command(eg());
        eg.env("EG_STATE", state).args(arguments(command, self.wide));
        self.time(eg)
    }

    /// How often `eg` waits for the disk, as `strace` counts it, and its peak memory, as GNU time does; `-` where the tool is
    /// missing.
    fn flushes_and_memory(&self, state: &Path, command: &str) -> (String, String) {
        let [calls, memory] = ["flushes", "memory"].map(|name| self.dir.path().join(name));
        let mut words: Vec<OsString> = Vec::new();
        if Path::new(STRACE).exists() {
            let filter = ["-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"];
            words.extend([STRACE].into_iter().chain(filter).map(OsString::from));
            words.push(calls.clone().into());
        }
        if Path::new(TIME).exists() {
            words.extend([TIME, "-f", "%M", "-o"].map(OsString::from));
            words.push(memory.clone().into());
        }
        words.push(eg());
        let mut wrapped = self.command(&words[0]);
        wrapped.args(&words[1..]).env("EG_STATE", state).args(arguments(command, self.wide));
        self.time(wrapped);
        let flushes = |text: String| text.lines().filter(|line| line.contains("sync(")).count().to_string();
        let mebibytes = |text: String| format!("{} MiB", text.trim().parse::<u64>().unwrap() / 1024);
        (
            fs::read_to_string(calls).map_or_else(|_| "-".to_owned(), flushes),
            fs::read_to_string(memory).map_or_else(|_| "-".to_owned(), mebibytes),
        )
    }

    /// One run with its peak memory, and its processor time as GNU time tells it.
    fn eg_alone(&self, state: &Path, command: &str) -> (Run, String) {
        let told = self.dir.path().join("told");
        let mut timed = self.command(TIME);
        timed.args(["-f", "%M %U %S", "-o"]).arg(&told).arg(eg());
        timed.env("EG_STATE", state).args(arguments(command, self.wide));
        let run = self.time(timed);
        let text = fs::read_to_string(told).unwrap();
        let [kibibytes, user, system] = *text.split_whitespace().collect::<Vec<_>>() else { panic!("{text}") };
        let cpu = user.parse::<f64>().unwrap() + system.parse::<f64>().unwrap();
        let memory = format!("{} MiB", kibibytes.parse::<u64>().unwrap() / 1024);
        (Run { cpu: Some(Duration::from_secs_f64(cpu)), ..run }, memory)
    }

    fn floor(&self, command: &str) -> Run {
        let mut floor = self.command(env::current_exe().unwrap());
        floor
            .env(FLOOR, command)
            .env(ENDPOINT, self.sandbox.endpoint())
            .env(GROUP_FILE, self.dir.path().join("groups"))
            .envs(self.wide.then_some((WIDE, "yes")));
        self.time(floor)
    }

    fn time(&self, mut command: Command) -> Run {
        self.sandbox.clear_log();
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let cpu = cpu_at_end(child.id());
        let status = child.wait().unwrap();
        let wall = started.elapsed();
        assert!(status.success(), "{command:?} ends with {status}: {said}");
        Run { wall, cpu, calls: self.sandbox.log().len() }
    }
}

/// The processor time of a child until its end, in the kernel's steps of 10 ms; `None` where there is no `/proc`.
fn cpu_at_end(pid: u32) -> Option<Duration> {
    let child = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // Until it is waited for, the kernel keeps its figures.
    waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in parentheses: state, then ten numbers, then user and system time (proc_pid_stat(5)).
    let ticks: u64 =
        stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
    Some(Duration::from_millis(ticks * 10))
}

fn eg() -> OsString {
    env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_eg").into())
}

fn arguments(command: &str, wide: bool) -> Vec<&str> {
    let addresses: &[&str] = if wide { &["--ipv4", ADDRESS, "--ipv6", ADDRESS_V6] } else { &["--ipv4", ADDRESS] };
    match command {
        "reconcile" => vec!["reconcile"],
        "stop" => vec!["session", "stop"],
        opening => [&["session", opening], addresses].concat(),
    }
}

/// The ports that are opened.
fn ports(wide: bool) -> impl Iterator<Item = i32> {
    [22, 443, 5432].into_iter().take(if wide { 3 } else { 1 })
}

struct Run {
    wall: Duration,
    cpu: Option<Duration>,
    calls: usize,
}

fn measure(groups: usize, latency: Duration, wide: bool, runs: usize) {
    let world = World::new(groups, latency, wide);
    let mut pairs: [Vec<(Run, Run)>; 4] = [const { Vec::new() }; 4];
    for run in 0..=runs {
        let state = world.new_record(&format!("state-{run}.db"));
        let eg = COMMANDS.map(|command| world.eg(&state, command));
        let floor = COMMANDS.map(|command| world.floor(command));
        // The first pair warms the caches.
        if run > 0 {
            for (pairs, pair) in pairs.iter_mut().zip(eg.into_iter().zip(floor)) {
                pairs.push(pair);
            }
        }
    }
    let state = world.new_record("state-flushes.db");
    let counted = COMMANDS.map(|command| world.flushes_and_memory(&state, command));
    for ((command, pairs), (flushes, memory)) in COMMANDS.iter().zip(pairs).zip(counted) {
        let eg = median(pairs.iter().map(|(eg, _)| eg.wall.as_secs_f64()));
        let floor = median(pairs.iter().map(|(_, floor)| floor.wall.as_secs_f64()));
        let ratio = median(pairs.iter().map(|(eg, floor)| eg.wall.as_secs_f64() / floor.wall.as_secs_f64()));
        let (calls, least) = pairs.last().map(|(eg, floor)| (eg.calls, floor.calls)).unwrap_or_default();
        let cpu = |run: &Run| run.cpu.map_or(f64::NAN, |cpu| cpu.as_secs_f64());
        let (eg_cpu, floor_cpu) =
            (median(pairs.iter().map(|(eg, _)| cpu(eg))), median(pairs.iter().map(|(_, floor)| cpu(floor))));
        println!(
            "{groups:>6} {:>5} ms {command:>10} {:>9.1} ms {:>9.1} ms {ratio:>6.2}x {:>7.0} ms {:>7.0} ms {calls:>6} {least:>6} {flushes:>7} {memory:>8}",
            latency.as_millis(),
            eg * 1e3,
            floor * 1e3,
            eg_cpu * 1e3,
            floor_cpu * 1e3,
        );
    }
}

/// Each command once, `eg` alone.
fn measure_alone(groups: usize, latency: Duration, wide: bool) {
    let world = World::new(groups, latency, wide);
    let state = world.new_record("state.db");
    for command in COMMANDS {
        let (run, memory) = world.eg_alone(&state, command);
        let cpu = run.cpu.map_or(f64::NAN, |cpu| cpu.as_secs_f64());
        println!(
            "{groups:>6} {:>5} ms {command:>10} {:>9.1} ms {:>12} {:>7} {:>7.0} ms {:>10} {:>6} {:>6} {:>7} {memory:>8}",
            latency.as_millis(),
            run.wall.as_secs_f64() * 1e3,
            "-",
            "-",
            cpu * 1e3,
            "-",
            run.calls,
            "-",
            "-",
        );
    }
}

/// One start and one stop at an endpoint that throttles.
fn measure_throttled(groups: usize, latency: Duration, wide: bool, bucket: RateLimit) {
    let world = World::new(groups, latency, wide);
    let writes = ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"];
    world.sandbox.set(|settings| settings.rate_limits.extend(writes.map(|action| (action.to_owned(), bucket))));
    let state = world.dir.path().join("state.db");
    for (command, action) in [("start", writes[0]), ("stop", writes[1])] {
        // A full bucket, as after a quiet time.
        thread::sleep(Duration::from_secs_f64(bucket.capacity / bucket.per_second));
        let run = world.eg(&state, command);
        let log = world.sandbox.log();
        let sent = log.iter().filter(|call| call.action == action && !call.dry_run).count();
        let throttled = log.iter().filter(|call| call.outcome == "RequestLimitExceeded").count();
        let least = (groups as f64 - bucket.capacity).max(0.0) / bucket.per_second;
        println!(
            "{groups:>6} {:>5} ms {command:>10} {:>9.1} s, at the rate of the bucket {least:.1} s; {sent} calls, {throttled} throttled",
            latency.as_millis(),
            run.wall.as_secs_f64(),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The bare client: reads every group, before a start asks beside that whether it may open and close there, and then
/// opens or closes one rule in each.
fn floor(command: &str) {
    let endpoint = env::var(ENDPOINT).unwrap();
    let groups = fs::read_to_string(env::var(GROUP_FILE).unwrap()).unwrap();
    let groups: Vec<&str> = groups.lines().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new("AKIABENCH", "bench", None, None, "bench"))
            .retry_config(RetryConfig::disabled())
            .build();
        let client = Client::from_conf(config);
        let rights = async {
            if command == "start" {
                let asks = groups.iter().map(|group| may_open_and_close(&client, group));
                stream::iter(asks).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
            }
        };
        let (rules, ()) = join(read(&client, &groups), rights).await;
        let calls = groups.iter().map(|group| async {
            match command {
                "start" => open(&client, group).await,
                "stop" => close(&client, group, &rules).await,
                _ => {}
            }
        });
        stream::iter(calls).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
    });
}

/// The rules of our address, each with its group.
async fn read(client: &Client, groups: &[&str]) -> Vec<(String, String)> {
    let reads = groups.chunks(GROUPS_PER_READ).map(|groups| async move {
        let ids = groups.iter().map(|id| (*id).to_owned()).collect();
        let filter = Filter::builder().name("group-id").set_values(Some(ids)).build();
        let mut pages =
            client.describe_security_group_rules().filters(filter).max_results(1000).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for rule in page.unwrap().security_group_rules() {
                let cidrs = [rule.cidr_ipv4(), rule.cidr_ipv6()];
                if cidrs.into_iter().flatten().any(|cidr| cidr.starts_with(ADDRESS) || cidr.starts_with(ADDRESS_V6)) {
                    found
                        .push((rule.group_id().unwrap().to_owned(), rule.security_group_rule_id().unwrap().to_owned()));
                }
            }
        }
        found
    });
    join_all(reads).await.into_iter().flatten().collect()
}

/// Two dry runs, which answer with an error either way.
async fn may_open_and_close(client: &Client, group: &str) {
    let open = client.authorize_security_group_ingress().group_id(group).ip_permissions(permission(22));
    let close = client.revoke_security_group_ingress().group_id(group).ip_permissions(permission(22));
    let (open, close) = join(open.dry_run(true).send(), close.dry_run(true).send()).await;
    assert!(open.is_err() && close.is_err(), "a dry run changes nothing");
}

fn permission(port: i32) -> IpPermission {
    let range = IpRange::builder().cidr_ip(format!("{ADDRESS}/32")).description("eg floor session 00000000").build();
    IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port).ip_ranges(range).build()
}

/// All that is opened in one group.
fn permissions() -> Vec<IpPermission> {
    let wide = env::var_os(WIDE).is_some();
    let both_families = |port| {
        let range =
            Ipv6Range::builder().cidr_ipv6(format!("{ADDRESS_V6}/128")).description("eg floor session 00000000");
        let v6 = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port).ipv6_ranges(range.build());
        [Some(permission(port)), wide.then(|| v6.build())]
    };
    ports(wide).flat_map(both_families).flatten().collect()
}

async fn open(client: &Client, group: &str) {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .tags(tag("floor:managed-by", "floor"))
        .tags(tag("floor:session", "00000000-0000-4000-8000-000000000000"))
        .tags(tag("floor:lease", "2026-02-27T18:00:00Z"))
        .tags(tag("floor:marks", "00000000"))
        .build();
    let call = client.authorize_security_group_ingress().group_id(group).set_ip_permissions(Some(permissions()));
    call.tag_specifications(tags).send().await.unwrap();
}

async fn close(client: &Client, group: &str, rules: &[(String, String)]) {
    let rules = rules.iter().filter(|(of, _)| of == group).map(|(_, rule)| rule.clone()).collect();
    let call = client.revoke_security_group_ingress().group_id(group).set_security_group_rule_ids(Some(rules));
    call.send().await.unwrap();
}
