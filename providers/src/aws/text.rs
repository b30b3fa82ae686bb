//! Texts that AWS accepts.

/// The most characters in a rule's description (EC2 API reference, `IpRange`: "Constraints: Up to 255 characters in
/// length. Allowed characters are a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*").
const DESCRIPTION_MAX: usize = 255;

/// A description that AWS accepts: cut to 255 characters, every other character replaced by `_`. It names the session
/// early enough ([`eg_model::tags::description`]) for the cut not to reach it: other installations look for that.
pub fn description(text: &str) -> String {
    let accepted = |c: char| c.is_ascii_alphanumeric() || "._-:/()#,@[]+=&;{}!$* ".contains(c);
    text.chars().take(DESCRIPTION_MAX).map(|c| if accepted(c) { c } else { '_' }).collect()
}

/// The most characters in a role session's name, the prefix included.
const SESSION_NAME_MAX: usize = 64;

/// The role session name `eg-<user>` (STS API reference, `AssumeRole`, `RoleSessionName`: 2 to 64 characters of
/// `[\w+=,.@-]`); it shows in CloudTrail who opened what.
pub fn session_name(user: &str) -> String {
    let accepted = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let user = user.chars().map(|c| if accepted(c) { c } else { '_' });
    "eg-".chars().chain(user).take(SESSION_NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_keeps_what_aws_accepts() {
        let fine = "eg alice@laptop session a1b2c3d4 ._-:/()#,@[]+=&;{}!$* 09AZ";
        assert_eq!(description(fine), fine);
        assert_eq!(description("Zoë's \"lap\"\t<x>|\u{1F600}\n"), "Zo__s _lap___x____");
    }

    #[test]
    fn a_description_is_cut_by_characters() {
        assert_eq!(description(&"é".repeat(300)), "_".repeat(255));
        assert_eq!(description(""), "");
    }

    #[test]
    fn session_names() {
        for (user, name) in [
            ("alice", "eg-alice"),
            ("Alice Smith", "eg-Alice_Smith"),
            ("a+b=c,d.e@f-g_h", "eg-a+b=c,d.e@f-g_h"),
            ("zoë:/", "eg-zo___"),
            ("", "eg-"),
        ] {
            assert_eq!(session_name(user), name);
        }
        assert_eq!(session_name(&"x".repeat(100)).len(), 64);
    }
}
