//! Firewalls: the trait that the reconciler speaks, and one module per provider.
//!
//! | file | holds |
//! |---|---|
//! | `firewall` | [`Firewall`], which every kind implements, and [`Connect`] |
//! | `marks`, `unread`, `auto_close`, `discovery`, `access` | the parts that a kind may have besides |
//! | `parts` | the parts' methods on `dyn Firewall`, for callers that do not know the kind |
//! | `batch` | one reading of the firewalls behind one route |
//! | `types` | types that the parts share |
//! | `kind` | [`Kind`]: a kind as data, for the configuration and the commands |
//! | `registry` | [`Registry`]: one line per kind |
//! | `aws` | AWS security groups, managed prefix lists and WAF IP sets |
//! | `nftables`, `script` | firewalls of this host |
//! | `toy` | an example in a file, for tests |
//! | `host` | what the firewalls of this host need of their surroundings |
//! | `trust` | trust in files: who owns them, and who else can write them |
//! | `program` | other programs, run without a shell, and bounded in time and output |

mod access;
mod auto_close;
pub mod aws;
mod batch;
mod discovery;
mod firewall;
mod host;
mod interfaces;
mod kind;
mod marks;
pub mod nftables;
mod parts;
mod program;
mod registry;
pub mod script;
#[cfg(debug_assertions)]
pub mod toy;
pub mod trust;
mod types;
mod unread;

pub use access::{CallerAccess, CredentialsEnd, Rights, Verdict};
pub use auto_close::{AutoClosing, SetAutoClose};
pub use batch::{BatchReading, read_batch};
pub use discovery::{Discovery, ListedGroup};
pub use firewall::{Connect, Firewall};
pub use host::HostOptions;
pub use interfaces::Interfaces;
pub use kind::{Cloud, Kind, Noun, Ports, TargetField, absolute_path};
pub use marks::{ContainerMarking, Marking};
pub use registry::{Registry, kind_of, kinds, kinds_named, kinds_of};
pub use types::{Answered, Authorize, CallObserver, Caller, Hindrance, ReadResult, RulesSeen};
pub use unread::Unread;
