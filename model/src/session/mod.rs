//! Sessions (`record`), their grants and statuses, and the decisions about one session: may it start (`preflight`), can
//! `ensure` reuse it, does it `follow` its user or a name (`sighting`), which `problems` and `notices` does its user see.

pub mod ensure;
pub mod follow;
pub mod grant;
pub mod notices;
pub mod preflight;
pub mod problems;
pub mod record;
pub mod sighting;
pub mod status;
