//! Agreement of echo services, so that no single service can put an address of its choosing into a firewall.

use crate::{
    net::address::{IpVersion, special_block},
    text::escape_controls,
};
use std::net::IpAddr;

/// The number of characters that are shown of an answer that is not an address.
const EXCERPT: usize = 40;

/// The answer of one service: its URL, and an address or the reason why there is none.
pub type EchoAnswer = (String, Result<IpAddr, String>);

/// The result for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FamilyOutcome {
    /// The family was not wanted, or the configuration lists no service for it.
    NotAsked,
    /// Enough services gave the same address.
    Agreed {
        address: IpAddr,
        /// Their URLs, in the order of their answers.
        by: Vec<String>,
    },
    /// Enough services gave the same address, but no firewall can be opened to it.
    NotRoutable {
        /// An address of a private or reserved block.
        address: IpAddr,
        /// The URLs of the services that gave it.
        by: Vec<String>,
        /// The reason of the refusal, for the user.
        message: String,
    },
    /// The services gave different addresses, and not exactly one of them often enough: the whole start is refused, and
    /// the error shows each answer.
    Disagree { answers: Vec<EchoAnswer> },
    /// Too few answers: the family is left out, with a warning.
    NotAgreed {
        /// Every answer.
        answers: Vec<EchoAnswer>,
    },
}

/// Decides on the answers so far, in their order. An answer counts once per service; failures never count.
///
/// | addresses | outcome |
/// |---|---|
/// | one address said by `agree` services or more, every other by fewer | Agreed |
/// | two or more addresses said by `agree` or more each | Disagree |
/// | different ones, none said by `agree` | Disagree |
/// | none, or one address said by fewer than `agree` | NotAgreed |
///
/// With the usual `agree` of 2, "said by fewer" is a single answer.
pub fn decide(answers: &[EchoAnswer], agree: usize) -> FamilyOutcome {
    let mut camps: Vec<(IpAddr, Vec<String>)> = Vec::new();
    for (service, answer) in answers {
        let Ok(address) = answer else { continue };
        match camps.iter_mut().find(|(known, _)| known == address) {
            Some((_, by)) => by.push(service.clone()),
            None => camps.push((*address, vec![service.clone()])),
        }
    }
    let mut enough = camps.iter().filter(|(_, by)| by.len() >= agree);
    match (enough.next(), enough.next()) {
        (Some((address, by)), None) => FamilyOutcome::Agreed { address: *address, by: by.clone() },
        (None, _) if camps.len() < 2 => FamilyOutcome::NotAgreed { answers: answers.to_vec() },
        _ => FamilyOutcome::Disagree { answers: answers.to_vec() },
    }
}

/// Refuses an agreed address that is not acceptable.
pub fn judge(outcome: FamilyOutcome, acceptable: &dyn Fn(IpAddr) -> bool) -> FamilyOutcome {
    match outcome {
        FamilyOutcome::Agreed { address, by } if !acceptable(address) => {
            let block = special_block(address).map_or(String::new(), |block| format!(": it is in {block}"));
            let message = format!("{address} is not an address on the Internet{block}");
            FamilyOutcome::NotRoutable { address, by, message }
        }
        other => other,
    }
}

/// The address in an echo service's answer: all of it, but for white space around, has to be one of the family. An error
/// shows the start of the answer.
pub fn parse_answer(body: &[u8], version: IpVersion) -> Result<IpAddr, String> {
    let text = String::from_utf8_lossy(body);
    let address = text.trim().parse::<IpAddr>().ok();
    let mapped = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let fits = |address: &IpAddr| IpVersion::of(*address) == version && !mapped(*address);
    address
        .filter(fits)
        .ok_or_else(|| format!("answered something that is not an {version} address: \"{}\"", excerpt(&text)))
}

fn excerpt(text: &str) -> String {
    let text = text.trim();
    let start: String = text.chars().take(EXCERPT).collect();
    let rest = if start.len() < text.len() { "…" } else { "" };
    escape_controls(&format!("{start}{rest}"))
}

/// One answer as a line for people: `https://api.ipify.org/: 203.0.113.42`.
pub fn describe((service, answer): &EchoAnswer) -> String {
    match answer {
        Ok(address) => format!("{service}: {address}"),
        Err(why) => format!("{service}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "203.0.113.42";
    const B: &str = "198.51.100.7";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn said(service: &str, address: &str) -> EchoAnswer {
        (service.to_owned(), Ok(ip(address)))
    }

    fn failed(service: &str) -> EchoAnswer {
        (service.to_owned(), Err("no answer within 3 s".to_owned()))
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_table() {
        let agreed = |by: &[&str]| FamilyOutcome::Agreed { address: ip(A), by: strings(by) };
        let not_agreed = |answers: &[EchoAnswer]| FamilyOutcome::NotAgreed { answers: answers.to_vec() };
        let disagree = |answers: &[EchoAnswer]| FamilyOutcome::Disagree { answers: answers.to_vec() };

        assert_eq!(decide(&[said("a", A), said("b", A)], 2), agreed(&["a", "b"]));
        assert_eq!(decide(&[said("a", A), said("b", B), said("c", A)], 2), agreed(&["a", "c"]));
        assert_eq!(decide(&[failed("a"), said("b", A), said("c", A)], 2), agreed(&["b", "c"]));
        let split = [said("a", A), said("b", B), said("c", A), said("d", B)];
        assert_eq!(decide(&split, 2), disagree(&split));
        let different = [said("a", A), failed("b"), said("c", B)];
        assert_eq!(decide(&different, 2), disagree(&different));
        let two_of_three = [said("a", A), said("b", A), said("c", B)];
        assert_eq!(decide(&two_of_three, 3), disagree(&two_of_three));

        assert_eq!(decide(&[], 2), not_agreed(&[]));
        assert_eq!(decide(&[failed("a")], 2), not_agreed(&[failed("a")]));
        assert_eq!(decide(&[said("a", A), failed("b")], 2), not_agreed(&[said("a", A), failed("b")]));
        assert_eq!(decide(&[said("a", A), said("b", A)], 3), not_agreed(&[said("a", A), said("b", A)]));
    }

    #[test]
    fn strict_answers() {
        for (body, version, expected) in [
            ("203.0.113.42\n", IpVersion::V4, Ok(ip(A))),
            (" \r\n203.0.113.42\t", IpVersion::V4, Ok(ip(A))),
            ("2001:db8::1", IpVersion::V6, Ok(ip("2001:db8::1"))),
            ("", IpVersion::V4, Err("answered something that is not an IPv4 address: \"\"")),
            (
                "203.0.113.42 198.51.100.7",
                IpVersion::V4,
                Err("answered something that is not an IPv4 address: \"203.0.113.42 198.51.100.7\""),
            ),
            (
                "203.0.113.42/32",
                IpVersion::V4,
                Err("answered something that is not an IPv4 address: \"203.0.113.42/32\""),
            ),
            ("203.0.113.42", IpVersion::V6, Err("answered something that is not an IPv6 address: \"203.0.113.42\"")),
            (
                "::ffff:203.0.113.42",
                IpVersion::V6,
                Err("answered something that is not an IPv6 address: \"::ffff:203.0.113.42\""),
            ),
            ("fe80::1%eth0", IpVersion::V6, Err("answered something that is not an IPv6 address: \"fe80::1%eth0\"")),
            ("\u{1b}[2J", IpVersion::V4, Err("answered something that is not an IPv4 address: \"\\u{1b}[2J\"")),
            (
                "<!doctype html><html><head><title>Welcome to the airport</title>",
                IpVersion::V4,
                Err("answered something that is not an IPv4 address: \"<!doctype html><html><head><title>Welcom…\""),
            ),
        ] {
            assert_eq!(parse_answer(body.as_bytes(), version), expected.map_err(str::to_owned), "{body:?}");
        }
        assert!(parse_answer(b"203.0.113.42\xff", IpVersion::V4).is_err());
    }
}
