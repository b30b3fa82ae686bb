//! `docs/demo.svg`: a terminal in which `eg demo` ran, as the README shows it.

use super::is_as_made;
use crate::harness::World;
use anstyle_svg::Term;
use chrono::{NaiveDateTime, TimeDelta};
use regex::{Captures, Regex};

/// What differs from run to run becomes what it could be, with the same width.
fn normalised(text: &str) -> String {
    let uuid = Regex::new(r"\b([0-9a-f]{8})(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b").unwrap();
    let session = uuid.captures(text).unwrap();
    let mut text = text.replace(&session[2], "-e5f6-4890-abcd-ef1234567890").replace(&session[1], "a1b2c3d4");
    for (pattern, made) in [
        (r"sgr-[0-9a-f]{17}", "sgr-0f1e2d3c4b5a69788"),
        (r"sg-[0-9a-f]{17}", "sg-0abc123def4567890"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:4566"),
        (r"eg \S+@\S+ session", "eg alice@laptop session"),
        (r"(?m)^(  User: +)\S+@\S+$", "${1}alice@laptop"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, made).into_owned();
    }
    let time = Regex::new(r"\d{4}-\d{2}-\d{2}([ T])\d{2}:\d{2}:\d{2}").unwrap();
    let parsed = |text: &str| NaiveDateTime::parse_from_str(&text.replace('T', " "), "%Y-%m-%d %H:%M:%S").unwrap();
    // The first time that is shown is the end of the session, eight hours ahead.
    let start = parsed(time.find(&text).unwrap().as_str()) - TimeDelta::hours(8);
    let moment = |found: &Captures<'_>| {
        let hours = (parsed(&found[0]) - start + TimeDelta::minutes(30)).num_hours();
        format!("2026-02-27{}{:02}:00:00", &found[1], 10 + hours)
    };
    time.replace_all(&text, moment).into_owned()
}

/// The chapters of the tour that tell most; a mark stands where others are left out.
fn told(tour: &str) -> String {
    let title = Regex::new("(?m)^(?:\u{1b}\\[1m)?(\\d)\\. ").unwrap();
    let starts: Vec<_> =
        title.captures_iter(tour).map(|found| (found.get(0).unwrap().start(), found[1].to_owned())).collect();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([tour.len()]);
    let mut text = String::from("\u{1b}[36m$ eg demo\u{1b}[0m\n\n");
    for ((from, number), to) in starts.iter().zip(ends) {
        match number.as_str() {
            "1" | "3" | "7" => text += &tour[*from..to],
            _ if text.ends_with("[…]\n\n") => {}
            _ => text += "[…]\n\n",
        }
    }
    let (text, _) = text.split_once("\n\nTo try it yourself").unwrap();
    format!("{text}\n")
}

#[test]
fn the_picture_shows_a_run_of_the_demo() {
    let run = World::bare().eg(&["demo", "--color", "always"]).expect_code(0);
    let text = sorted(&told(&normalised(&run.stdout)));
    let svg = Term::new().min_width_px(760).render_svg(&text);
    is_as_made("docs/demo.svg", &svg);
}

/// Targets are worked on at once, so the lines about their grants come in any order.
fn sorted(text: &str) -> String {
    let is_grant = |line: &str| line.starts_with("  ") && line.contains(" IPv4 tcp/") && line.contains(": ");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.chunk_by_mut(|a, b| is_grant(a) && is_grant(b)).for_each(<[&str]>::sort_unstable);
    lines.join("\n") + "\n"
}
