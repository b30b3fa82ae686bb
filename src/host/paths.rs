//! The paths of the configuration and the state.

use crate::host::env::Env;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Reason why it is not known where a file is.
#[derive(Clone, Debug, Error)]
pub enum PathError {
    #[error("{name} is not UTF-8, so it is not known where {file} is")]
    Garbled { name: &'static str, file: &'static str },
    #[error("there is no home directory to find {file} in")]
    NoHome { file: &'static str, xdg: &'static str, var: &'static str },
}

/// A path and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub path: PathBuf,
    /// True if a flag or a variable names it; false for the default.
    pub named: bool,
}

/// `--config`, else `EG_CONFIG`, else `config.toml` in the configuration directory.
pub fn config(env: &Env, flag: Option<&Path>) -> Result<Located, PathError> {
    locate(env, flag, "EG_CONFIG", "XDG_CONFIG_HOME", ".config", "config.toml")
}

/// `--state`, else `EG_STATE`, else `state.db` in the state directory.
pub fn state(env: &Env, flag: Option<&Path>) -> Result<Located, PathError> {
    locate(env, flag, "EG_STATE", "XDG_STATE_HOME", ".local/state", "state.db")
}

fn locate(
    env: &Env,
    flag: Option<&Path>,
    var: &'static str,
    xdg: &'static str,
    under_home: &str,
    file: &'static str,
) -> Result<Located, PathError> {
    if let Some(path) = flag {
        return Ok(Located { path: env.absolute(path), named: true });
    }
    // The first variable that is set decides; the next one would name another file.
    let decides = [var, xdg, "HOME"].into_iter().find(|name| env.is_garbled(name) || env.var(name).is_some());
    if let Some(name) = decides.filter(|name| env.is_garbled(name)) {
        return Err(PathError::Garbled { name, file });
    }
    if let Some(path) = env.var(var).map(Path::new) {
        return Ok(Located { path: env.absolute(path), named: true });
    }
    let home = || env.var("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let base = match env.var(xdg).map(PathBuf::from).filter(|base| base.is_absolute()) {
        Some(base) => Some(base),
        None if cfg!(target_os = "macos") => home().map(|home| home.join("Library/Application Support")),
        None => home().map(|home| home.join(under_home)),
    };
    match base {
        Some(base) => Ok(Located { path: base.join("eg").join(file), named: false }),
        None => Err(PathError::NoHome { file, xdg, var }),
    }
}
