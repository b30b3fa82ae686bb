//! Agreement of echo services, so that no single service can put an address of its choosing into a firewall.

use std::net::IpAddr;

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
        /// Their URLs.
        by: Vec<String>,
    },
    /// Enough services gave the same address, but no firewall can be opened to it.
    NotRoutable {
        address: IpAddr,
        by: Vec<String>,
        /// The reason of the refusal, for the user.
        message: String,
    },
    /// The services gave different addresses, and not exactly one of them often enough: the whole start is refused, and
    /// the error shows each answer.
    Disagree { answers: Vec<EchoAnswer> },
    /// Too few answers: the family is left out, with a warning.
    NotAgreed { answers: Vec<EchoAnswer> },
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

/// One answer as a line for people: `https://api.ipify.org/: 203.0.113.42`.
pub fn describe((service, answer): &EchoAnswer) -> String {
    match answer {
        Ok(address) => format!("{service}: {address}"),
        Err(why) => format!("{service}: {why}"),
    }
}
