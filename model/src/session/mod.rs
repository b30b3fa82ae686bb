//! Sessions and their grants, and every decision about one session: whether it may start, whether `ensure` can reuse it,
//! when it follows its user, what its user is told.

pub mod ensure;
pub mod follow;
pub mod notices;
pub mod preflight;
pub mod problems;
pub mod record;
