//! A place to try `eg` without an account: the sandbox as the provider, three groups (one of which holds a rule made by
//! hand), a configuration, a state file, and the environment that leads there and nowhere else.
//!
//! The configuration leaves `[detect]` at its defaults. An echo service of our own would have to invent an address. `eg`
//! opens nothing for a detected address that is not globally routable, and an invented routable one would belong to a
//! stranger. So examples pass a documentation address ([`ADDRESS`]) with `--ipv4`; without it, `session start` finds the
//! real address, or says that it cannot.

pub mod child;

use crate::{
    error::{CommandError, Kind},
    host::env::Env,
};
use eg_sandbox::{Config, HandRule, Handle, Refusal, RulePermission, Sandbox, SecurityGroupRule, Source};
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The address in examples. It is reserved for documentation (RFC 5737).
pub const ADDRESS: &str = "203.0.113.42";

const REGION: &str = "eu-west-1";

/// The account of the groups, and of the key below.
const ACCOUNT: &str = "123456789012";

/// Credentials that no provider but the sandbox knows.
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIASANDBOX"), ("AWS_SECRET_ACCESS_KEY", "sandbox")];

/// The seed of the ids of groups and rules. All demos can share it, because each has a state file of its own.
const SEED: u64 = 1;

/// The groups: name, ports, label for `--only`.
const GROUPS: [(&str, &[&str], &str); 3] = [
    ("prod-api-sg", &["tcp/22"], "prod"),
    ("prod-db-sg", &["tcp/5432"], "prod"),
    ("dev-web-sg", &["tcp/22", "tcp/443"], "dev"),
];

/// A rule in the first group that was made by hand, which `eg` must leave alone.
const BY_HAND: (&str, &str, &str) = ("tcp/443", "198.51.100.0/24", "made by hand: the office");

/// Variables that must be unset, because they would lead the SDK to another endpoint, other credentials or other files.
pub const MISLEADING: [&str; 18] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_WAFV2",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_CA_BUNDLE",
];

/// The variable that names the sandbox's directory to commands inside of it.
const INSIDE: &str = "EG_SANDBOX";

/// True for the state file of a sandbox. Nothing has to be closed on time there, since the rules end with the sandbox.
pub fn is_inside(env: &Env, state: &Path) -> bool {
    env.var(INSIDE).is_some_and(|dir| env.absolute(state).starts_with(dir))
}

/// A variable and its value.
pub type Variable = (&'static str, String);

/// A rule as it is open now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRule {
    /// The name of its group.
    pub group: &'static str,
    pub rule: SecurityGroupRule,
}

impl OpenRule {
    pub fn ports(&self) -> String {
        let RulePermission { protocol, from, to, .. } = &self.rule.permission;
        match (from, to) {
            (-1, _) => protocol.clone(),
            (from, to) if from == to => format!("{protocol}/{from}"),
            (from, to) => format!("{protocol}/{from}-{to}"),
        }
    }

    /// The source of the traffic.
    pub fn source(&self) -> String {
        match &self.rule.permission.source {
            Source::Cidr(cidr) => cidr.to_string(),
            Source::Group(id) | Source::PrefixList(id) => id.clone(),
        }
    }
}

/// The sandbox with its files. Dropping it ends the sandbox and removes the directory.
#[derive(Debug)]
pub struct Demo {
    sandbox: Handle,
    groups: Vec<(&'static str, String)>,
    dir: TempDir,
}

impl Demo {
    /// Starts the sandbox and writes the files.
    pub fn open(env: &Env) -> Result<Self, CommandError> {
        let failed =
            |error: String| CommandError::new(Kind::Sandbox, format!("the sandbox cannot be started: {error}"));
        let sandbox = Sandbox::start(Config::new(SEED, env.clock()));
        let sandbox = sandbox.map_err(|error| failed(format!("listen on 127.0.0.1: {error}")))?;
        let groups = make_groups(&sandbox).map_err(|refusal| failed(refusal.to_string()))?;
        let dir = make_directory(env, &groups).map_err(|error| {
            failed(format!("{}: {error}", env.temp_dir().display())).hint("TMPDIR names another place")
        })?;
        Ok(Self { sandbox, groups, dir })
    }

    pub fn endpoint(&self) -> String {
        self.sandbox.endpoint()
    }

    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// A directory for the front of `PATH`, which holds only this program under the name `eg`.
    pub fn programs(&self) -> PathBuf {
        self.file("bin")
    }

    pub fn state(&self) -> PathBuf {
        self.file("state.db")
    }

    /// Names and ids of the groups.
    pub fn groups(&self) -> &[(&'static str, String)] {
        &self.groups
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The variables that lead a process to the sandbox. The credentials are in a file, like those of a scheduled `eg`.
    pub fn variables(&self) -> Vec<Variable> {
        let file = |name| self.file(name).to_string_lossy().into_owned();
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()), // what boto3 and older AWS CLIs read
            ("AWS_CONFIG_FILE", file("aws-config")),
            ("AWS_SHARED_CREDENTIALS_FILE", file("aws-credentials")),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("EG_CONFIG", file("config.toml")),
            ("EG_STATE", file("state.db")),
            (INSIDE, self.dir.path().to_string_lossy().into_owned()),
        ]
    }

    /// Like [`Self::variables`], with the keys for the user's own environment: keys win over every other source there.
    pub fn variables_for_a_shell(&self) -> Vec<Variable> {
        let mut variables = self.variables();
        variables.extend(KEYS.map(|(name, value)| (name, value.to_owned())));
        variables
    }

    /// The rules that the sandbox holds, in the order of the groups, then of the permissions.
    pub fn rules(&self) -> Vec<OpenRule> {
        let open = |(name, id): &(&'static str, String)| {
            let mut rules = self.sandbox.rules(id);
            rules.sort_by(|a, b| (&a.permission, &a.id).cmp(&(&b.permission, &b.id)));
            let group = *name;
            rules.into_iter().map(move |rule| OpenRule { group, rule })
        };
        self.groups.iter().flat_map(open).collect()
    }

    /// Revokes a rule as its group's owner would in the console.
    pub fn delete_by_hand(&self, open: &OpenRule) -> Result<(), CommandError> {
        let deleted = self.sandbox.revoke_by_hand(&open.rule.group, &open.rule.id);
        deleted.map_err(|refusal| CommandError::new(Kind::Sandbox, refusal.to_string()))
    }

    /// Ends the sandbox. Fails if the directory cannot be removed.
    pub fn close(self) -> Result<(), CommandError> {
        let path = self.dir.path().to_owned();
        drop(self.sandbox);
        self.dir
            .close()
            .map_err(|error| CommandError::new(Kind::Sandbox, format!("{} cannot be removed: {error}", path.display())))
    }
}

fn make_groups(sandbox: &Handle) -> Result<Vec<(&'static str, String)>, Refusal> {
    let make = |name| sandbox.create_group_in(ACCOUNT, REGION, name).map(|id| (name, id));
    let groups = GROUPS.into_iter().map(|(name, _, _)| make(name)).collect::<Result<Vec<_>, _>>()?;
    if let Some((_, id)) = groups.first() {
        let (ports, cidr, description) = BY_HAND;
        let rule = HandRule { description: description.to_owned(), ..HandRule::new(ports, cidr) };
        sandbox.authorize_by_hand(id, &rule)?;
    }
    Ok(groups)
}

/// Other users cannot read it, like every state directory of `eg`.
fn make_directory(env: &Env, groups: &[(&'static str, String)]) -> io::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().prefix("eg-sandbox-").permissions(private).tempdir_in(env.temp_dir())?;
    let [(_, id), (_, secret)] = KEYS;
    let credentials = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let config = dir.path().join("config.toml");
    fs::write(&config, configuration(groups))?;
    // `eg` refuses a configuration that others can write, which the umask might allow.
    fs::set_permissions(config, Permissions::from_mode(0o600))?;
    fs::write(dir.path().join("aws-config"), "")?;
    fs::write(dir.path().join("aws-credentials"), credentials)?;
    fs::create_dir(dir.path().join("bin"))?;
    symlink(&env.program, dir.path().join("bin/eg"))?;
    Ok(dir)
}

fn configuration(groups: &[(&'static str, String)]) -> String {
    let mut text = "# Made by eg for its sandbox.\n".to_owned();
    for ((name, id), (_, ports, label)) in groups.iter().zip(GROUPS) {
        let ports = ports.iter().map(|port| format!("\"{port}\"")).collect::<Vec<_>>().join(", ");
        text += &format!(
            "\n[[resource]]\nname = \"{name}\"\nid = \"{id}\"\nregion = \"{REGION}\"\nports = [{ports}]\n\
             groups = [\"{label}\"]\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_config::settings::Settings;
    use eg_providers::kinds;

    #[test]
    fn the_configuration_is_valid() {
        let groups = GROUPS.map(|(name, _, _)| (name, "sg-0123456789abcdef0".to_owned()));
        let settings = Settings::parse(&configuration(&groups), Path::new("config.toml")).unwrap();
        assert_eq!(settings.resources.len(), GROUPS.len());
    }

    #[test]
    fn no_kind_is_led_to_another_endpoint() {
        let variables = kinds().filter_map(|kind| kind.cloud.as_ref()).map(|cloud| cloud.endpoint_variable);
        assert_eq!(variables.filter(|name| !MISLEADING.contains(name)).collect::<Vec<_>>(), [] as [&str; 0]);
    }

    #[test]
    fn nothing_is_set_and_taken_away() {
        let demo = Demo::open(&Env::from_process()).unwrap();
        let set = demo.variables_for_a_shell();
        assert!(set.iter().all(|(name, _)| !MISLEADING.contains(name)));
        let (dir, mode) = (demo.directory().to_owned(), fs::metadata(demo.directory()).unwrap());
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
        demo.close().unwrap();
        assert!(!dir.exists());
    }
}
