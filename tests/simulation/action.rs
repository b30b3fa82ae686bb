//! What may happen, and scripts of it that chance writes.

use std::fmt;

/// Which of the two installations.
pub type Who = usize;

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `eg session start` for that many hours.
    Start(Who, u8),
    /// `eg session stop` of the n-th live session.
    Stop(Who, usize),
    /// `eg session extend` of the n-th live session by an hour.
    Extend(Who, usize),
    /// `eg reconcile`.
    Reconcile(Who),
    /// Both clocks move on, in seconds.
    Advance(i64),
    /// Somebody opens by hand what `eg` would open: one of its ports.
    ForeignTwin(u16),
    /// Somebody takes the n-th of those away again.
    ForeignTwinGoes(usize),
    /// Somebody deletes the n-th of `eg`'s rules.
    Deleted(usize),
    /// Somebody edits the n-th of `eg`'s rules, whose id is on record.
    Edited(usize),
    /// Somebody takes all tags off the n-th of `eg`'s rules, whose id is on record.
    Stripped(usize),
    /// The provider misbehaves from now on.
    Weather(Weather),
    /// Readings lag behind from now on, by so many seconds.
    Lag(i64),
    /// The next command of this installation ends at that boundary.
    Crash(Who, u64),
    /// The next command of this installation finds the disk full from that write on.
    FullDisk(Who, u64),
}

/// How the provider misbehaves; each with a chance on every call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    Fair,
    LostAnswers,
    LostCalls,
    LateCalls,
    ServerErrors,
    CutOff,
    Throttled,
    Denied,
    ExpiredToken,
    Storm,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |who: &Who| ["alice", "bob"][*who];
        match self {
            Self::Start(who, hours) => write!(f, "{} starts a session of {hours} h", name(who)),
            Self::Stop(who, n) => write!(f, "{} stops live session {n}", name(who)),
            Self::Extend(who, n) => write!(f, "{} extends live session {n} by 1 h", name(who)),
            Self::Reconcile(who) => write!(f, "{} reconciles", name(who)),
            Self::Advance(seconds) => write!(f, "{seconds} s pass"),
            Self::ForeignTwin(port) => write!(f, "somebody opens tcp/{port} for the same address by hand"),
            Self::ForeignTwinGoes(n) => write!(f, "somebody closes foreign twin {n}"),
            Self::Deleted(n) => write!(f, "somebody deletes rule {n} of eg's"),
            Self::Edited(n) => write!(f, "somebody edits rule {n} of eg's"),
            Self::Stripped(n) => write!(f, "somebody strips the tags off rule {n} of eg's"),
            Self::Weather(weather) => write!(f, "weather: {weather:?}"),
            Self::Lag(seconds) => write!(f, "readings lag by {seconds} s"),
            Self::Crash(who, at) => write!(f, "{}'s next command ends at boundary {at}", name(who)),
            Self::FullDisk(who, at) => write!(f, "{}'s next command finds the disk full from write {at} on", name(who)),
        }
    }
}

/// The script of a seed.
pub fn script(seed: u64) -> Vec<Action> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let length = dice.usize(8..26);
    (0..length).map(|_| draw(&mut dice)).collect()
}

fn draw(dice: &mut fastrand::Rng) -> Action {
    use Weather::*;
    // Alice does most; Bob's machine comes and goes.
    let who = usize::from(dice.u8(0..3) == 0);
    let weather = [
        Fair,
        Fair,
        LostAnswers,
        LostCalls,
        LateCalls,
        ServerErrors,
        CutOff,
        Throttled,
        Denied,
        ExpiredToken,
        Storm,
        Storm,
    ];
    match dice.u8(0..100) {
        0..18 => Action::Start(who, dice.u8(1..4)),
        18..28 => Action::Stop(who, dice.usize(0..3)),
        28..34 => Action::Extend(who, dice.usize(0..3)),
        34..46 => Action::Reconcile(who),
        46..56 => Action::Advance(dice.choice([1, 20, 61, 130, 310, 1800, 3601, 4 * 3600]).unwrap()),
        56..59 => Action::ForeignTwin(dice.choice([22, 443]).unwrap()),
        59..61 => Action::ForeignTwinGoes(dice.usize(0..2)),
        61..64 => Action::Deleted(dice.usize(0..2)),
        64..66 => Action::Edited(dice.usize(0..2)),
        66..69 => Action::Stripped(dice.usize(0..2)),
        69..80 => Action::Weather(dice.choice(weather).unwrap()),
        80..85 => Action::Lag(dice.choice([0, 5, 60, 240]).unwrap()),
        85..96 => Action::Crash(who, dice.u64(0..34)),
        _ => Action::FullDisk(who, dice.u64(0..12)),
    }
}
