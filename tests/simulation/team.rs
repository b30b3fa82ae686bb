//! Twenty installations behind one address, over two groups: they start, extend, stop and die at random, for a moment
//! or for good. At every moment each live one's rules are there within one reconcile of its own; in the end nothing is
//! left, though some never came back. See `docs/teams.md`.

use crate::{
    eg_here::{Ended, Fate, Machine},
    world::SETTLED,
};
use chrono::{DateTime, TimeDelta, Utc};
use eg_sandbox::{Config, HandClock, HandRule, Handle, Sandbox, SecurityGroupRule};
use std::{collections::BTreeMap, thread};
use tempfile::TempDir;

const ADDRESS: &str = "203.0.113.42";
const ACCOUNT: &str = "200000000001";
const TEAM: usize = 20;
const STEPS: usize = 60;
/// Longer than any session.
const DAY: i64 = 25 * 3600;

struct Member {
    machine: Machine,
    /// Never runs again.
    gone: bool,
    /// The ids and ends of the sessions that live on record.
    sessions: Vec<(String, DateTime<Utc>)>,
}

struct Team {
    _dir: TempDir,
    clock: HandClock,
    region: Handle,
    groups: [String; 2],
    members: Vec<Member>,
    stranger: Machine,
    foreign: BTreeMap<String, SecurityGroupRule>,
    dice: fastrand::Rng,
    opened: usize,
    lost: usize,
}

impl Team {
    fn new(seed: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("eg-team-").tempdir().unwrap();
        let clock = HandClock::at(DateTime::from_timestamp(1_900_000_000, 0).unwrap());
        let region = Sandbox::start(Config::new(seed, clock.clock())).unwrap();
        let groups = ["api", "db"].map(|name| region.create_group_in(ACCOUNT, "eu-west-1", name).unwrap());
        let resource = |(name, id, ports): (&str, &String, &str)| {
            format!(
                "[[resource]]\nname = \"{name}\"\nid = \"{id}\"\nregion = \"eu-west-1\"\nprofile = \"sandbox\"\n\
                 ports = [{ports}]\n"
            )
        };
        let shared = [("api", &groups[0], "\"tcp/22\", \"tcp/443\""), ("db", &groups[1], "\"tcp/5432\"")];
        let shared: String = shared.map(resource).concat();
        let machine = |name: &str, salt: u64, config: &str| {
            Machine::new(dir.path(), name, seed.wrapping_mul(1_000) + salt, &clock, &region.endpoint(), config)
        };
        let member = |number: usize| Member {
            machine: machine(&format!("member-{number}"), number as u64, &shared),
            gone: false,
            sessions: Vec::new(),
        };
        let members = (0..TEAM).map(member).collect();
        let stranger = machine("stranger", 999, "");
        let mut foreign = BTreeMap::new();
        for group in &groups {
            for (ports, cidr) in [("tcp/22", "198.51.100.7/32"), ("tcp/3389", "203.0.113.42/32")] {
                region.authorize_by_hand(group, &HandRule::new(ports, cidr)).unwrap();
            }
            foreign.extend(region.rules(group).into_iter().map(|rule| (rule.id.clone(), rule)));
        }
        let dice = fastrand::Rng::with_seed(seed);
        Self { _dir: dir, clock, region, groups, members, stranger, foreign, dice, opened: 0, lost: 0 }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Those of the team that can run `eg`.
    fn there(&self) -> Vec<usize> {
        (0..TEAM).filter(|number| !self.members[*number].gone).collect()
    }

    /// Those of them with a session that lives.
    fn live(&self) -> Vec<usize> {
        let now = self.now();
        let lives = |number: &usize| self.members[*number].sessions.iter().any(|(_, until)| *until > now);
        self.there().into_iter().filter(lives).collect()
    }

    /// Every rule of the team's, in both groups.
    fn rules(&self) -> Vec<SecurityGroupRule> {
        let all = self.groups.iter().flat_map(|group| self.region.rules(group));
        all.filter(|rule| !self.foreign.contains_key(&rule.id)).collect()
    }

    fn eg(&mut self, number: usize, args: &[&str]) -> Ended {
        let ended = self.members[number].machine.eg(args);
        assert!(matches!(ended.code, None | Some(0 | 1 | 3)), "{args:?}: {ended:?}");
        self.members[number].sessions = self.sessions(number);
        ended
    }

    /// The sessions that live on record, straight from the database: thousands of these are asked for.
    fn sessions(&self, number: usize) -> Vec<(String, DateTime<Utc>)> {
        let Ok(record) = rusqlite::Connection::open(self.members[number].machine.state()) else { return Vec::new() };
        let live = "SELECT id, expires_at FROM sessions WHERE status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED')";
        // One that died before its first write has no tables yet.
        let Ok(mut query) = record.prepare(live) else { return Vec::new() };
        let until = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, until(row.get(1)?)))).unwrap();
        rows.map(|row| row.unwrap()).collect()
    }

    fn step(&mut self) {
        let there = self.there();
        let number = there[self.dice.usize(0..there.len())];
        let session = self.members[number].sessions.first().map(|(id, _)| id.clone());
        let hours = self.dice.u8(1..5).to_string();
        let what = self.dice.u8(0..100);
        // One in eight dies in the middle of what it does; of these, one in three for good, and not all of them.
        if self.dice.u8(0..8) == 0 {
            self.members[number].machine.fate = Fate { dies_at: Some(self.dice.u64(0..34)), full_from: None };
            self.members[number].gone = there.len() > TEAM / 2 && self.dice.u8(0..3) == 0;
        }
        match (what, &session) {
            (0..45, _) => {
                self.eg(number, &["session", "start", "--ipv4", ADDRESS, "--duration", &hours]);
                self.opened += 1;
            }
            (45..60, Some(id)) => drop(self.eg(number, &["session", "stop", id])),
            (60..72, Some(id)) => drop(self.eg(number, &["session", "extend", id, "--hours", "1"])),
            (72..80, _) => drop(self.eg(number, &["reconcile"])),
            _ => self.clock.advance(TimeDelta::minutes(self.dice.i64(1..45))),
        }
        self.lost += usize::from(self.members[number].gone);
        self.members[number].machine.fate = Fate::default();
    }

    /// One reconcile of any live member's own, and everything that it asked for is there, under its own lease.
    fn check(&mut self, seed: u64, step: usize) {
        let live = self.live();
        if live.is_empty() {
            return;
        }
        let number = live[self.dice.usize(0..live.len())];
        let ended = self.eg(number, &["reconcile"]);
        assert!(matches!(ended.code, Some(0 | 3)), "seed {seed}, step {step}: {ended:?}");
        if !self.live().contains(&number) {
            return;
        }
        let id = self.installation(number);
        let key = format!("eg:lease:{id}");
        let mine: Vec<_> = self.rules().into_iter().filter(|rule| rule.tags.contains_key(&key)).collect();
        assert_eq!(mine.len(), 3, "seed {seed}, step {step}, member {number}: {ended:?}\n{:#?}", self.rules());
    }

    /// An installation's id, from its record.
    fn installation(&self, number: usize) -> String {
        let record = rusqlite::Connection::open(self.members[number].machine.state()).unwrap();
        record.query_row("SELECT value FROM meta WHERE key = 'installation'", [], |row| row.get(0)).unwrap()
    }

    /// A group holds a permission once, whoever needs it, and nothing of others is ever touched.
    fn stands(&self, seed: u64, step: usize) {
        let rules = self.rules();
        assert!(rules.len() <= 3, "seed {seed}, step {step}: {rules:#?}");
        let foreign = self.groups.iter().flat_map(|group| self.region.rules(group));
        let foreign: BTreeMap<_, _> =
            foreign.filter(|rule| self.foreign.contains_key(&rule.id)).map(|rule| (rule.id.clone(), rule)).collect();
        assert_eq!(foreign, self.foreign, "seed {seed}, step {step}");
    }

    /// Everybody who is there stops; those who never came back are swept up, or collected by the others.
    fn ends(mut self, seed: u64) -> (usize, usize) {
        for number in self.there() {
            if !self.members[number].sessions.is_empty() {
                self.eg(number, &["session", "stop", "--all"]);
            }
        }
        for _ in 0..3 {
            self.clock.advance(TimeDelta::seconds(SETTLED));
            for number in self.there() {
                self.eg(number, &["reconcile"]);
            }
        }
        let gone: Vec<String> = (0..TEAM).filter(|n| self.members[*n].gone).map(|n| format!("member-{n}")).collect();
        self.clock.advance(TimeDelta::seconds(DAY));
        if seed.is_multiple_of(2) {
            let number = self.there()[0];
            assert_eq!(self.eg(number, &["reconcile"]).code, Some(0), "seed {seed}");
        } else {
            let ended = self.stranger.eg(&["sweep", "--region", "eu-west-1", "--profile", "sandbox"]);
            assert_eq!(ended.code, Some(0), "seed {seed}: {ended:?}");
            assert!(!self.stranger.state().exists(), "no record is made");
        }
        let left = self.rules();
        assert!(left.is_empty(), "seed {seed}, {gone:?} never came back: {left:#?}");
        self.stands(seed, STEPS);
        (self.opened, self.lost)
    }
}

fn life(seed: u64) -> (usize, usize) {
    let mut team = Team::new(seed);
    for step in 0..STEPS {
        team.step();
        team.stands(seed, step);
        team.check(seed, step);
    }
    team.ends(seed)
}

/// So many teams side by side, from this seed on; what they lived through.
fn many(first: u64, teams: u64) -> (usize, usize) {
    let lives = thread::scope(|scope| {
        let runs: Vec<_> = (first..first + teams).map(|seed| scope.spawn(move || life(seed))).collect();
        runs.into_iter().map(|run| run.join().expect("a team")).collect::<Vec<_>>()
    });
    lives.into_iter().fold((0, 0), |sum, team| (sum.0 + team.0, sum.1 + team.1))
}

/// The same seeds every time: one team is tidied up by those who are left, the other by `eg sweep`.
#[test]
fn twenty_behind_one_address() {
    let (opened, lost) = many(1, 2);
    // Lives in which nothing happens prove nothing.
    assert!(opened > 40 && lost > 1, "{opened} {lost}");
}

/// `EG_TEAMS` (8) teams from seed `EG_SEED` (100) on.
#[test]
#[ignore = "a minute: cargo test --locked --workspace --test simulation more_teams -- --ignored"]
fn more_teams() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    many(number("EG_SEED", 100), number("EG_TEAMS", 8));
}
