//! Managed prefix lists (EC2 API reference, `CreateManagedPrefixList` and its like). What their pages leave open follows
//! reports of what AWS answers; the comments say which.

use super::{ActionRequest, Answer, new_tags, rule_xml};
use crate::{
    faults::Fault,
    ids, permission,
    prefix_list::{ListChange, ListState, PrefixList, PrefixListEntry},
    protocol::{
        errors::{self, Refusal},
        form::Form,
        paging,
        xml::Xml,
    },
    stale,
    tag_history::Tags,
    world::World,
};
use chrono::TimeDelta;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// The owner of lists that AWS keeps.
const AWS: &str = "AWS";
const FILTERS: &[&str] = &["owner-id", "prefix-list-id", "prefix-list-name"];
/// The most entries that one request adds or removes (`AddEntry.N`, `RemoveEntry.N`: array members).
const ENTRIES_PER_REQUEST: usize = 100;
/// "Maximum number of entries per prefix list" (VPC User Guide, "Amazon VPC quotas").
const ENTRIES_MAX: i32 = 1_000;

/// The list with this id, if the caller sees it here.
fn seen<'w>(world: &'w World, ask: &ActionRequest<'_>, id: &str) -> Result<&'w PrefixList, Refusal> {
    if !ids::well_formed(id, "pl-") {
        let message = format!("Invalid id: \"{id}\" (expecting \"pl-...\")");
        return Err(Refusal::new("InvalidPrefixListId.Malformed", message));
    }
    here(world, ask).find(|list| list.id == id).ok_or_else(|| errors::no_list(id))
}

/// The lists that the caller sees in this region.
fn here<'w>(world: &'w World, ask: &ActionRequest<'_>) -> impl Iterator<Item = &'w PrefixList> {
    let (region, account) = (ask.region.to_owned(), ask.caller.account.clone());
    world.lists().filter(move |list| list.region == region && list.is_seen_by(&account))
}

/// Makes the list of S3's networks, which AWS keeps in every region.
fn ensure_aws(world: &mut World, ask: &ActionRequest<'_>) {
    let region = ask.region;
    let name = format!("com.amazonaws.{region}.s3");
    if world.lists().any(|list| list.name == name) {
        return;
    }
    let id = format!("pl-{}", ids::digest(&name).chars().take(8).collect::<String>());
    let cidr: Option<IpNet> = "52.216.0.0/15".parse().ok();
    let entries: Vec<_> = cidr.into_iter().map(|cidr| PrefixListEntry { cidr, description: None }).collect();
    world.put_list(PrefixList {
        state: ListState::CreateComplete,
        change: None,
        account: AWS.to_owned(),
        ..new(id, name, ask, false, entries.len(), entries, Tags::new())
    });
}

/// The list with this id, if the caller's account owns it here. That a shared list is refused with this code is not
/// documented; *Errors* has it for lists of AWS.
pub(super) fn own<'w>(world: &'w World, ask: &ActionRequest<'_>, id: &str) -> Result<&'w PrefixList, Refusal> {
    let list = seen(world, ask, id)?;
    match list.account == ask.caller.account {
        true => Ok(list),
        false => Err(Refusal::new("UnsupportedOperation", format!("The prefix list {id} is not owned by you."))),
    }
}

pub(super) fn create(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let name = checked_name(ask.form.required("PrefixListName")?)?;
    let ipv6 = match ask.form.required("AddressFamily")? {
        "IPv4" => false,
        "IPv6" => true,
        other => return Err(errors::invalid_value(format!("Invalid address family: {other}"))),
    };
    let max_entries = checked_max(ask.form.required("MaxEntries").and_then(|_| ask.form.number("MaxEntries"))?)?;
    let entries = given(ask.form, "Entry", ipv6)?;
    check_room(entries.len(), max_entries)?;
    let tags = new_tags(ask, "prefix-list")?;
    let list = new(ids::list(ask.seed, world.next()), name, ask, ipv6, max_entries, entries, tags);
    let answer = changed(&list);
    world.put_list(list);
    Ok(answer)
}

fn new(
    id: String,
    name: String,
    ask: &ActionRequest<'_>,
    ipv6: bool,
    max_entries: usize,
    entries: Vec<PrefixListEntry>,
    tags: Tags,
) -> PrefixList {
    PrefixList {
        id,
        name,
        account: ask.caller.account.clone(),
        region: ask.region.to_owned(),
        ipv6,
        max_entries,
        version: 1,
        state: ListState::CreateInProgress,
        state_message: None,
        tags,
        shared_with: BTreeSet::new(),
        earlier_tags: Vec::new(),
        change: Some(ListChange { due: due(ask), result: Ok(entries.clone()) }),
        versions: BTreeMap::from([(1, entries)]),
        earlier_versions: Vec::new(),
    }
}

pub(super) fn describe(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    ensure_aws(world, ask);
    let world = &*world;
    let ids = ask.form.list("PrefixListId");
    for id in &ids {
        seen(world, ask, id)?;
    }
    let filters = ask.form.filters(FILTERS)?;
    let field = |list: &PrefixList, filter: &str| match filter {
        "owner-id" => list.account.clone(),
        "prefix-list-name" => list.name.clone(),
        _ => list.id.clone(),
    };
    let wanted = |list: &&PrefixList| {
        (ids.is_empty() || ids.contains(&list.id))
            && filters.iter().all(|(name, values)| values.contains(&field(list, name)))
    };
    let found = here(world, ask).filter(wanted).map(|list| (list.id.clone(), stale::list(list, ask.stale, ask.now)));
    let page = paging::cut(found.collect(), ask.form, ask.settings.page_limit, &paging::OF_LISTS)?;
    let mut xml = Xml::default();
    xml.items("prefixListSet", page.items, |xml, list| item(xml, &list));
    if let Some(token) = page.next {
        xml.text("nextToken", token);
    }
    Ok(Answer::read(xml))
}

pub(super) fn entries(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let list = seen(world, ask, ask.form.required("PrefixListId")?)?;
    let shown = stale::list(list, ask.stale, ask.now);
    let version = ask.form.number("TargetVersion")?.map_or(shown.version, i64::from);
    // The code for a version that is not there is not documented.
    let none = || errors::invalid_value(format!("The prefix list {} has no version {version}.", list.id));
    let entries = shown.versions.get(&version).filter(|_| version <= shown.version).ok_or_else(none)?;
    let keyed: BTreeMap<String, &PrefixListEntry> =
        entries.iter().map(|entry| (entry.cidr.to_string(), entry)).collect();
    let page = paging::cut(keyed.into_iter().collect(), ask.form, ask.settings.page_limit, &paging::OF_LISTS)?;
    let mut xml = Xml::default();
    xml.items("entrySet", page.items, |xml, entry: &PrefixListEntry| {
        xml.text("cidr", entry.cidr);
        if let Some(description) = &entry.description {
            xml.text("description", description);
        }
    });
    if let Some(token) = page.next {
        xml.text("nextToken", token);
    }
    Ok(Answer::read(xml))
}

/// "Adding or removing entries in a prefix list creates a new version of the prefix list. Changing the name of the prefix
/// list does not affect the version. If you specify a current version number that does not match the true current version
/// number, the request fails."
pub(super) fn modify(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let list = own(world, ask, ask.form.required("PrefixListId")?)?;
    let (add, remove) = (given(ask.form, "AddEntry", list.ipv6)?, given(ask.form, "RemoveEntry", list.ipv6)?);
    let name = ask.form.get("PrefixListName").map(checked_name).transpose()?;
    let max_entries = ask.form.number("MaxEntries")?.map(|max| checked_max(Some(max))).transpose()?;
    let edits = !add.is_empty() || !remove.is_empty();
    if max_entries.is_some() && edits {
        let message = "You cannot modify the entries and the maximum entries for the prefix list in the same request.";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    if list.state.in_progress() {
        let (id, state) = (&list.id, list.state.name());
        let message =
            format!("The request cannot be completed while the prefix list ({id}) is in the current state ({state}).");
        return Err(Refusal::new("IncorrectState", message));
    }
    let current = ask.form.number("CurrentVersion")?.map(i64::from);
    if current.is_some_and(|current| current != list.version) {
        return Err(Refusal::new("PrefixListVersionMismatch", "The prefix list has the incorrect version number."));
    }
    let next = edited(list, &add, &remove)?;
    check_room(next.len(), max_entries.unwrap_or(list.max_entries))?;
    let id = list.id.clone();
    let Some(list) = world.list_mut(&id) else { return Err(errors::no_list(&id)) };
    list.name = name.unwrap_or_else(|| list.name.clone());
    list.max_entries = max_entries.unwrap_or(list.max_entries);
    if edits {
        let failed = match ask.fault {
            Some(Fault::FailsLater(message)) => Err(message.clone()),
            _ => Ok(next),
        };
        list.state = ListState::ModifyInProgress;
        list.change = Some(ListChange { due: due(ask), result: failed });
    }
    Ok(changed(list))
}

pub(super) fn delete(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let list = own(world, ask, ask.form.required("PrefixListId")?)?.clone();
    world.remove_list(&list.id);
    Ok(changed(&list))
}

/// The time at which a change that is accepted now is done.
fn due(ask: &ActionRequest<'_>) -> chrono::DateTime<chrono::Utc> {
    let takes: TimeDelta = match ask.fault {
        Some(Fault::StaysInProgress(takes)) => *takes,
        _ => ask.settings.list_changes_take,
    };
    ask.now.checked_add_signed(takes).unwrap_or(ask.now)
}

/// The entries after a change. An entry that is added with another description replaces the one that is there: AWS refuses
/// only one that exists with its CIDR *and* description, as the words of the refusal say.
fn edited(
    list: &PrefixList,
    add: &[PrefixListEntry],
    remove: &[PrefixListEntry],
) -> Result<Vec<PrefixListEntry>, Refusal> {
    let mut next = list.entries().to_vec();
    let refused = |message: String| Err(Refusal::new("InvalidPrefixListModification", message));
    for PrefixListEntry { cidr, .. } in remove {
        if add.iter().any(|entry| entry.cidr == *cidr) {
            let both = "in both AddPrefixListEntries and RemovePrefixListEntries";
            return Err(errors::invalid_value(format!("Request cannot contain Cidr {cidr} {both}")));
        }
        if !next.iter().any(|entry| entry.cidr == *cidr) {
            return refused(format!("The entry with the CIDR ({cidr}) does not exist."));
        }
        next.retain(|entry| entry.cidr != *cidr);
    }
    for entry in add {
        if next.contains(entry) {
            let description = entry.description.as_deref().unwrap_or_default();
            let which = format!("the CIDR ({}) and description ({description})", entry.cidr);
            return refused(format!("An entry with {which} already exists."));
        }
        next.retain(|known| known.cidr != entry.cidr);
        next.push(entry.clone());
    }
    Ok(next)
}

/// The entries that a request names, each once. IPv6 is kept in its canonical form, as AWS shows it.
fn given(form: &Form, field: &str, ipv6: bool) -> Result<Vec<PrefixListEntry>, Refusal> {
    let mut entries: Vec<PrefixListEntry> = Vec::new();
    for part in form.parts(field) {
        let text = part.required("Cidr")?;
        let cidr: Option<IpNet> = text.parse().ok().filter(|cidr| matches!(cidr, IpNet::V6(_)) == ipv6);
        let wrong = || errors::invalid_value(format!("The CIDR '{text}' is not valid for this prefix list."));
        let cidr = cidr.ok_or_else(wrong)?.trunc();
        let description = part.get("Description").filter(|text| !text.is_empty());
        let description = description.map(permission::description).transpose()?;
        if entries.iter().any(|entry| entry.cidr == cidr) {
            return Err(errors::invalid_value(format!("Request cannot contain Cidr {cidr} more than once")));
        }
        entries.push(PrefixListEntry { cidr, description });
    }
    match entries.len() > ENTRIES_PER_REQUEST {
        true => Err(errors::invalid_value("The request cannot contain more than 100 entry additions or removals")),
        false => Ok(entries),
    }
}

fn check_room(entries: usize, most: usize) -> Result<(), Refusal> {
    let message = "You've reached the maximum number of entries for the prefix list.";
    if entries > most { Err(Refusal::new("PrefixListMaxEntriesExceeded", message)) } else { Ok(()) }
}

/// "Up to 255 characters in length. The name cannot start with `com.amazonaws`."
fn checked_name(name: &str) -> Result<String, Refusal> {
    match name.chars().count() > 255 || name.starts_with("com.amazonaws") {
        true => Err(errors::invalid_value(format!("Invalid prefix list name: {name}"))),
        false => Ok(name.to_owned()),
    }
}

fn checked_max(max: Option<i32>) -> Result<usize, Refusal> {
    let fits = max.filter(|max| (1..=ENTRIES_MAX).contains(max));
    let wrong = || errors::invalid_value("The maximum number of entries must be from 1 to 1000.");
    fits.and_then(|max| usize::try_from(max).ok()).ok_or_else(wrong)
}

fn changed(list: &PrefixList) -> Answer {
    let mut xml = Xml::default();
    xml.within("prefixList", |xml| item(xml, list));
    Answer { xml, effect: true, ids: vec![list.id.clone()], ..Answer::default() }
}

/// `ManagedPrefixList`.
fn item(xml: &mut Xml, list: &PrefixList) {
    xml.text("prefixListId", &list.id);
    xml.text("addressFamily", if list.ipv6 { "IPv6" } else { "IPv4" });
    xml.text("state", list.state.name());
    if let Some(message) = &list.state_message {
        xml.text("stateMessage", message);
    }
    xml.text("prefixListArn", format!("arn:aws:ec2:{}:{}:prefix-list/{}", list.region, list.account, list.id));
    xml.text("prefixListName", &list.name);
    // "Not applicable" to lists that AWS keeps (VPC User Guide, "AWS-managed prefix lists").
    if list.account != AWS {
        xml.text("maxEntries", list.max_entries);
        xml.text("version", list.version);
    }
    rule_xml::tags(xml, &list.tags);
    xml.text("ownerId", &list.account);
}
