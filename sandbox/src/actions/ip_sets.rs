//! WAF IP sets (WAFV2 API reference, `CreateIPSet` and its like).

use super::{ActionRequest, Answer};
use crate::{
    ids,
    ip_set::{IpSet, place, place_in, spelled},
    protocol::errors::{self, Refusal},
    stale,
    tag_history::Tags,
    world::World,
};
use ipnet::IpNet;
use serde_json::{Value, json};

/// WAF Developer Guide, "AWS WAF quotas": addresses in a set.
const ADDRESSES_MAX: usize = 10_000;
/// WAFV2 API reference, `CreateIPSet`, `Scope`: sets of CloudFront are in this region.
const CLOUDFRONT_REGION: &str = "us-east-1";

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("WAFInvalidParameterException", message)
}

/// The request.
struct Body(Value);

impl Body {
    fn read(ask: &ActionRequest<'_>) -> Result<Self, Refusal> {
        let text = ask.form.get("Body").unwrap_or_default();
        serde_json::from_str(text)
            .map(Self)
            .map_err(|_| Refusal::new("SerializationException", "The request is no JSON."))
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn required(&self, field: &str) -> Result<&str, Refusal> {
        self.text(field).ok_or_else(|| invalid(format!("Error reason: The parameter is missing., field: {field}")))
    }

    fn global(&self) -> Result<bool, Refusal> {
        match self.required("Scope")? {
            "REGIONAL" => Ok(false),
            "CLOUDFRONT" => Ok(true),
            other => {
                Err(invalid(format!("Error reason: The scope is not valid., field: SCOPE_VALUE, parameter: {other}")))
            }
        }
    }

    /// CIDR notation of the set's family, and no `/0`.
    fn addresses(&self, ipv6: bool) -> Result<Vec<String>, Refusal> {
        let listed = self.0.get("Addresses").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| invalid("Error reason: The parameter is missing., field: Addresses"))?;
        if listed.len() > ADDRESSES_MAX {
            let message = "AWS WAF couldn't perform the operation because you exceeded your resource limit.";
            return Err(Refusal::new("WAFLimitsExceededException", message));
        }
        let read = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            let network: Option<IpNet> = text.parse().ok();
            let fits = network.filter(|n| matches!(n, IpNet::V6(_)) == ipv6 && n.prefix_len() > 0);
            let wrong = || {
                invalid(format!(
                    "Error reason: The parameter contains formatting that is not valid., field: IP_ADDRESS, parameter: {text}"
                ))
            };
            fits.map(spelled).ok_or_else(wrong)
        };
        listed.iter().map(read).collect()
    }

    fn tags(&self, field: &str) -> Tags {
        let items = self.0.get(field).and_then(Value::as_array).into_iter().flatten();
        let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
        items.filter_map(|item| Some((text(item, "Key")?, text(item, "Value")?))).collect()
    }
}

fn no_set() -> Refusal {
    let message = "AWS WAF couldn't perform the operation because your resource doesn't exist.";
    Refusal::new("WAFNonexistentItemException", message)
}

fn changed_meanwhile() -> Refusal {
    let message = "AWS WAF couldn't save your changes because someone changed the resource after you started to edit it. Reapply your changes.";
    Refusal::new("WAFOptimisticLockException", message)
}

fn answer(json: Value, effect: bool) -> Answer {
    Answer { json: Some(json), effect, ..Answer::default() }
}

/// The set at a place, if the caller has it here.
fn at<'w>(world: &'w World, ask: &ActionRequest<'_>, place: &str) -> Result<&'w IpSet, Refusal> {
    let here = |set: &&IpSet| set.account == ask.caller.account && set.region == ask.region;
    world.ip_set(place).filter(here).ok_or_else(no_set)
}

fn named<'w>(world: &'w World, ask: &ActionRequest<'_>, body: &Body) -> Result<&'w IpSet, Refusal> {
    at(world, ask, &place(body.global()?, body.required("Name")?, body.required("Id")?))
}

fn of_arn<'w>(world: &'w World, ask: &ActionRequest<'_>, body: &Body) -> Result<&'w IpSet, Refusal> {
    let arn = body.required("ResourceARN")?;
    let place = place_in(arn)
        .ok_or_else(|| invalid(format!("Error reason: The ARN isn't valid., field: RESOURCE_ARN, parameter: {arn}")))?;
    at(world, ask, &place)
}

pub(super) fn create(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let body = Body::read(ask)?;
    let (global, name) = (body.global()?, body.required("Name")?.to_owned());
    if global && ask.region != CLOUDFRONT_REGION {
        return Err(invalid("Error reason: The scope is not valid., field: SCOPE_VALUE, parameter: CLOUDFRONT"));
    }
    let ipv6 = match body.required("IPAddressVersion")? {
        "IPV4" => false,
        "IPV6" => true,
        other => return Err(invalid(format!("Error reason: The version is not valid., parameter: {other}"))),
    };
    let twin = |set: &IpSet| {
        (set.global, set.name.as_str(), set.account.as_str(), set.region.as_str())
            == (global, name.as_str(), ask.caller.account.as_str(), ask.region)
    };
    if world.ip_sets().any(twin) {
        let message = "AWS WAF couldn't perform the operation because some resource in your request is a duplicate of an existing one.";
        return Err(Refusal::new("WAFDuplicateItemException", message));
    }
    let set = IpSet {
        global,
        name,
        id: ids::uuid(ask.seed, "ip set", world.next()),
        account: ask.caller.account.clone(),
        region: ask.region.to_owned(),
        description: body.text("Description").map(str::to_owned),
        ipv6,
        addresses: body.addresses(ipv6)?,
        tags: body.tags("Tags"),
        token: ids::uuid(ask.seed, "token", world.next()),
        earlier_tags: Vec::new(),
        earlier_states: Vec::new(),
    };
    let summary = summary(&set);
    let mut made = answer(json!({"Summary": summary}), true);
    made.ids = vec![set.place()];
    world.put_ip_set(set);
    Ok(made)
}

fn summary(set: &IpSet) -> Value {
    json!({
        "Name": set.name,
        "Id": set.id,
        "ARN": set.arn(),
        "Description": set.description.clone().unwrap_or_default(),
        "LockToken": set.token,
    })
}

pub(super) fn get(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let set = stale::ip_set(named(world, ask, &Body::read(ask)?)?, ask.stale, ask.now);
    let shown = json!({
        "Name": set.name,
        "Id": set.id,
        "ARN": set.arn(),
        "Description": set.description.clone().unwrap_or_default(),
        "IPAddressVersion": if set.ipv6 { "IPV6" } else { "IPV4" },
        "Addresses": set.addresses,
    });
    Ok(answer(json!({"IPSet": shown, "LockToken": set.token}), false))
}

/// "This operation completely replaces the mutable specifications that you already have for the IP set": without a
/// description, the set has none.
pub(super) fn update(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let body = Body::read(ask)?;
    let set = named(world, ask, &body)?;
    let addresses = body.addresses(set.ipv6)?;
    if set.token != body.required("LockToken")? {
        return Err(changed_meanwhile());
    }
    let place = set.place();
    let token = ids::uuid(ask.seed, "token", world.next());
    let set = world.ip_set_mut(&place).ok_or_else(no_set)?;
    set.description = body.text("Description").map(str::to_owned);
    set.put(addresses, token.clone(), ask.now);
    Ok(answer(json!({"NextLockToken": token}), true))
}

pub(super) fn delete(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let body = Body::read(ask)?;
    let set = named(world, ask, &body)?;
    if set.token != body.required("LockToken")? {
        return Err(changed_meanwhile());
    }
    let place = set.place();
    world.remove_ip_set(&place);
    Ok(answer(json!({}), true))
}

/// All on one page: an account has at most 100 sets in a region (WAF Developer Guide, "AWS WAF quotas").
pub(super) fn list(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let global = Body::read(ask)?.global()?;
    let here = |set: &&IpSet| set.account == ask.caller.account && set.region == ask.region && set.global == global;
    let sets: Vec<Value> = world.ip_sets().filter(here).map(summary).collect();
    Ok(answer(json!({"IPSets": sets}), false))
}

pub(super) fn list_tags(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let set = stale::ip_set(of_arn(world, ask, &Body::read(ask)?)?, ask.stale, ask.now);
    let tags: Vec<Value> = set.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(answer(json!({"TagInfoForResource": {"ResourceARN": set.arn(), "TagList": tags}}), false))
}

pub(super) fn tag(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let body = Body::read(ask)?;
    let set = of_arn(world, ask, &body)?;
    let new = body.tags("Tags");
    if let Some((key, _)) = new.iter().find(|(key, value)| key.chars().count() > 128 || value.chars().count() > 256) {
        return Err(invalid(format!("Error reason: The tag is too long., field: TAGS, parameter: {key}")));
    }
    let tags: Tags = set.tags.clone().into_iter().chain(new).collect();
    if tags.len() > ask.settings.tags_per_resource {
        return Err(errors::too_many_tags_of_waf());
    }
    Ok(retag(world, ask, &set.place(), tags))
}

pub(super) fn untag(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let body = Body::read(ask)?;
    let set = of_arn(world, ask, &body)?;
    let keys: Vec<&str> =
        body.0.get("TagKeys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let stays = |key: &String| !keys.contains(&key.as_str());
    let tags: Tags = set.tags.clone().into_iter().filter(|(key, _)| stays(key)).collect();
    Ok(retag(world, ask, &set.place(), tags))
}

fn retag(world: &mut World, ask: &ActionRequest<'_>, place: &str, tags: Tags) -> Answer {
    let set = world.ip_set_mut(place);
    let changed = set.as_ref().is_some_and(|set| set.tags != tags);
    set.into_iter().for_each(|set| set.retag(tags.clone(), ask.now));
    answer(json!({}), changed)
}
