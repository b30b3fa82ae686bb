//! The kind of firewall of a `[[resource]]`, and the keys by which it names one. The kinds describe themselves
//! ([`eg_providers::Kind`]); this reads what they describe.

use crate::toml::{At, SpannedError, TomlResult, TomlSection, unknown_key};
use eg_providers::{Kind, Ports, kinds, kinds_named, kinds_of};
use std::collections::BTreeSet;

const REGION: &str = "a region's code, as in \"eu-west-1\"";

/// Every key of a `[[resource]]`, whatever its kind.
pub fn keys() -> Vec<&'static str> {
    let mut seen = BTreeSet::new();
    kinds().flat_map(Kind::keys).filter(|key| seen.insert(*key)).collect()
}

/// The kind that `provider` and `kind` of a table name; what it leaves out, the table around it (`outer`) says.
///
/// | the table says | its kind |
/// |---|---|
/// | `kind` | that kind; its provider need not be named |
/// | `provider` alone | the outer kind if it is of this provider, otherwise the provider's first |
/// | neither | the outer kind |
pub fn named(section: &TomlSection<'_>, outer: Option<&'static Kind>) -> TomlResult<Option<&'static Kind>> {
    let provider = section.read("provider", &quoted(kinds().map(|kind| kind.provider)), |text| {
        let known = kinds_of(&text).next();
        known.map(|kind| kind.provider).ok_or_else(|| format!("provider \"{text}\" is not known"))
    })?;
    let of_provider = |kind: &&'static Kind| provider.is_none_or(|provider| kind.provider == provider);
    if let Some(name) = section.string("kind")? {
        let accepted = quoted(kinds().filter(of_provider).map(|kind| kind.name));
        let found = name.read(&accepted, |text| match (kinds_named(&text).find(of_provider), provider) {
            (Some(kind), _) => Ok(kind),
            (None, Some(provider)) => Err(format!("provider \"{provider}\" has no kind \"{text}\"")),
            (None, None) if kinds_of(&text).next().is_some() => {
                Err(format!("\"{text}\" is a provider, not a kind: write provider = \"{text}\""))
            }
            (None, None) => Err(format!("kind \"{text}\" is not known")),
        });
        return found.map(Some);
    }
    Ok(outer.filter(of_provider).or_else(|| provider.and_then(|provider| kinds_of(provider).next())))
}

/// Texts in quotes, each once: `"aws", "nftables" or "script"`.
fn quoted(texts: impl Iterator<Item = &'static str>) -> String {
    let mut seen = BTreeSet::new();
    let texts: Vec<String> = texts.filter(|text| seen.insert(*text)).map(|text| format!("\"{text}\"")).collect();
    match texts.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        one => one.concat(),
    }
}

/// Refuses a `[[resource]]` with a key that its kind does not have.
pub fn check_keys(section: &TomlSection<'_>, kind: &Kind) -> TomlResult<()> {
    let own = kind.keys();
    let Some(At { value: key, at }) = section.unknown_key(&own) else { return Ok(()) };
    if let ("ports", Ports::None { why }) = (key, kind.ports) {
        return Err(SpannedError::new(at, format!("{} has no ports of its own. {why}", kind.noun), own.join(", ")));
    }
    let whose = format!("[[resource]] of {}", kind.noun);
    match kinds().find(|other| other.keys().contains(&key)) {
        Some(other) => {
            let message = format!("{whose} has no key \"{key}\", which belongs to {}", other.noun);
            Err(SpannedError::new(at, message, own.join(", ")))
        }
        None => Err(unknown_key(&whose, key, at, &own)),
    }
}

/// The id of the firewall that a `[[resource]]` names by the keys of its kind.
pub fn target_id(section: &TomlSection<'_>, kind: &Kind) -> TomlResult<String> {
    let mut parts = Vec::new();
    for field in kind.target {
        let found = section.read(field.key, field.accepted, field.read)?;
        let part = found.or_else(|| field.default.map(str::to_owned));
        let missing = || match kind.selectors {
            true => section.missing(field.key, &format!("{}, or group_name, tag or host in its place", field.accepted)),
            false => section.missing(field.key, field.accepted),
        };
        parts.push(part.ok_or_else(missing)?);
    }
    Ok(parts.join("/"))
}

/// The region of a firewall: its own where it can be in one alone, otherwise that of its section, or of the defaults.
/// Empty for a kind without regions.
pub fn region(section: &TomlSection<'_>, kind: &Kind, id: Option<&str>, found: Option<String>) -> TomlResult<String> {
    let Some(cloud) = &kind.cloud else { return Ok(String::new()) };
    let Some(only) = id.and_then(cloud.only_region) else {
        return found.ok_or_else(|| section.missing("region", REGION));
    };
    match section.string("region")? {
        Some(other) if other.value != only => {
            let message = format!("this {} is in {only} alone", kind.noun.one);
            Err(SpannedError::new(other.at, message, format!("\"{only}\", or no region")))
        }
        _ => Ok(only.to_owned()),
    }
}

/// The key `region`.
pub fn region_code(section: &TomlSection<'_>) -> TomlResult<Option<String>> {
    section.read("region", REGION, |text| {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let fits = plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
        if fits { Ok(text) } else { Err(format!("\"{text}\" is not a region")) }
    })
}
