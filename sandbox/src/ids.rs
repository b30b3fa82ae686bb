//! Ids that look like AWS's and depend on the seed and a counter alone.

use sha2::{Digest, Sha256};

/// The first `digits` hex digits of what seed, kind and number hash to.
fn digits(seed: u64, kind: &str, number: u64, digits: usize) -> String {
    let hash = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(kind).chain_update(number.to_be_bytes());
    hex(&hash.finalize()).chars().take(digits).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sg-0…` (17 hex digits, as AWS's long ids).
pub(crate) fn group(seed: u64, number: u64) -> String {
    format!("sg-0{}", digits(seed, "group", number, 16))
}

/// `sgr-0…`.
pub(crate) fn rule(seed: u64, number: u64) -> String {
    format!("sgr-0{}", digits(seed, "rule", number, 16))
}

/// `pl-0…`.
pub(crate) fn list(seed: u64, number: u64) -> String {
    format!("pl-0{}", digits(seed, "list", number, 16))
}

/// A request id: the shape of a UUID.
pub(crate) fn request(seed: u64, number: u64) -> String {
    uuid(seed, "request", number)
}

pub(crate) fn uuid(seed: u64, kind: &str, number: u64) -> String {
    let hash = digits(seed, kind, number, 32);
    let part = |from: usize, count: usize| hash.chars().skip(from).take(count).collect::<String>();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 4), part(12, 3), part(15, 3), part(18, 12))
}

/// A temporary access key id, `ASIA` and 16 capitals.
pub(crate) fn access_key(seed: u64, number: u64) -> String {
    let capital = |digit: char| digit.to_digit(16).and_then(|digit| char::from_digit(digit + 10, 36)).unwrap_or('z');
    let key: String = digits(seed, "access key", number, 16).chars().map(capital).collect();
    format!("ASIA{}", key.to_ascii_uppercase())
}

/// A secret or token: it opens nothing, for no signature is checked.
pub(crate) fn throwaway(seed: u64, number: u64) -> String {
    digits(seed, "secret", number, 40)
}

pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text)).chars().take(16).collect()
}

/// True if a text is `<prefix>` and 8 or 17 hex digits, the two lengths that AWS has (EC2 User Guide, "Resource IDs").
pub(crate) fn well_formed(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        matches!(rest.len(), 8 | 17) && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_seed_and_number_alone() {
        assert_eq!(group(1, 1), group(1, 1));
        assert_ne!(group(1, 1), group(1, 2));
        assert_ne!(group(1, 1), group(2, 1));
        assert_eq!(request(1, 1).len(), 36);
        assert_eq!(access_key(1, 1).len(), 20);
    }

    #[test]
    fn shapes() {
        assert!(well_formed(&group(1, 1), "sg-"));
        assert!(well_formed(&rule(1, 1), "sgr-"));
        assert!(well_formed("sg-0123abcd", "sg-"));
        for wrong in ["sg-", "sg-0123ABCD", "sg-0123abcde", "sgr-0123abcd", "web"] {
            assert!(!well_formed(wrong, "sg-"), "{wrong}");
        }
    }
}
