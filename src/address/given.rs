//! Addresses that the user names in the place of their own: `--ipv4`, `--ipv6`, the addresses of a name, those of an
//! interface of this machine.

use crate::{
    error::{CommandError, Kind},
    host::env::Env,
};
use eg_model::net::address::{IpVersion, check_explicit, special_block};
use std::{collections::BTreeSet, net::IpAddr};

/// The addresses of a DNS name, to open to: each has to be one on the Internet.
///
/// # Errors
/// The name does not resolve, or only to addresses that nobody has on the Internet.
pub async fn of_name(env: &Env, name: &str) -> Result<Vec<IpAddr>, CommandError> {
    let failed =
        |why: String| CommandError::new(Kind::Detection, format!("the addresses of {name} are not known: {why}"));
    let resolved = env.network.resolve(name, 0).await.map_err(|error| failed(error.to_string()))?;
    let found: BTreeSet<IpAddr> = resolved.iter().map(|to| to.ip().to_canonical()).collect();
    let usable = |one: &IpAddr| is_unicast(one) && (env.address_rule)(*one);
    let (routable, others): (Vec<IpAddr>, Vec<IpAddr>) = found.into_iter().partition(usable);
    match (routable.is_empty(), others.first()) {
        (false, _) => Ok(routable),
        (true, None) => Err(failed("it has no address".to_owned())),
        (true, Some(other)) => {
            let block = special_block(*other).map(|block| format!(": it is of {block}")).unwrap_or_default();
            Err(failed(format!("{other} is no address on the Internet{block}"))
                .hint("to open to a private address, name it with --ipv4 or --ipv6"))
        }
    }
}

/// The addresses of an interface of this machine (`wg0`), those of its link alone left out.
///
/// # Errors
/// There is no such interface, or it has no such address.
pub fn of_interface(env: &Env, name: &str) -> Result<Vec<IpAddr>, CommandError> {
    let all = env.network.interfaces();
    let all = all.map_err(|error| {
        CommandError::new(Kind::Detection, format!("the interfaces of this machine are not known: {error}"))
    })?;
    match all.get(name) {
        None => {
            let names = all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("this machine has no interface {name}");
            Err(CommandError::new(Kind::Usage, message).hint(format!("it has: {names}")))
        }
        Some(addresses) => {
            let usable = addresses.iter().filter(|one| is_unicast(one));
            let usable: BTreeSet<IpAddr> = usable.copied().collect();
            if usable.is_empty() {
                let message = format!("the interface {name} has no address that can be opened to");
                return Err(CommandError::new(Kind::Detection, message).hint("is it up? see: ip address"));
            }
            Ok(usable.into_iter().collect())
        }
    }
}

fn is_unicast(address: &IpAddr) -> bool {
    check_explicit(*address, IpVersion::of(*address)).is_ok()
}
