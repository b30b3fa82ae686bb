//! The sandbox from outside: starting it, and everything that a test or a person does to it.

use crate::{
    call_log::Call,
    callers::{DEFAULT_ACCOUNT, DEFAULT_REGION},
    clock::SandboxClock,
    engine::Engine,
    faults::Script,
    ip_set::IpSet,
    network::{Interface, Subnet},
    prefix_list::{PrefixList, PrefixListEntry},
    protocol::{
        errors::{self, Refusal},
        form::Form,
    },
    server::{self, SharedEngine},
    settings::RegionSettings,
    world::{CallerIdentity, Group, Schedule, ScheduleKey, SecurityGroupRule},
};
use ipnet::IpNet;
use serde_json::json;
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Config {
    /// Ids, latencies and chances follow from it.
    pub seed: u64,
    pub clock: SandboxClock,
    /// The owners of access keys. `AKIAEG<twelve digits>…` is a user of that account, any other key one of 123456789012.
    pub callers: BTreeMap<String, CallerIdentity>,
    /// Faults of the whole region.
    pub settings: RegionSettings,
    /// Faults of single requests.
    pub script: Script,
}

impl Config {
    /// Nothing goes wrong.
    pub fn new(seed: u64, clock: SandboxClock) -> Self {
        Self { seed, clock, callers: BTreeMap::new(), settings: RegionSettings::default(), script: Script::default() }
    }
}

/// The sandbox. It runs on a thread of its own, so that tests with and without an async runtime can use it.
#[derive(Debug)]
pub struct Sandbox;

impl Sandbox {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no port, thread or runtime.
    pub fn start(config: Config) -> io::Result<Handle> {
        let Config { seed, clock, callers, settings, script } = config;
        let mut engine = Engine::new(seed, settings, callers);
        engine.run(script);
        let shared = SharedEngine::new(engine, clock);

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let served = shared.clone();
        let run = move || {
            runtime.block_on(async {
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    server::serve(listener, served, stopped).await;
                }
            });
        };
        let thread = thread::Builder::new().name("eg-sandbox".to_owned()).spawn(run)?;
        Ok(Handle { shared, address, stop, thread: Some(thread) })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandRule {
    /// `tcp/22`, `tcp/8000-8080`, `icmp`, `-1`.
    pub ports: String,
    pub cidr: String,
    pub description: String,
    pub tags: BTreeMap<String, String>,
}

impl HandRule {
    pub fn new(ports: &str, cidr: &str) -> Self {
        Self { ports: ports.to_owned(), cidr: cidr.to_owned(), ..Self::default() }
    }
}

/// A running sandbox; stops when dropped.
///
/// A change by hand is made by the group's owner, at once, without faults, and does not show in the log.
pub struct Handle {
    shared: SharedEngine,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// `http://127.0.0.1:<port>`, for EC2 and STS.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far (the newest 100,000), in the order in which they were looked at.
    pub fn log(&self) -> Vec<Call> {
        self.landed().log.all()
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.landed().log.clear();
    }

    /// The truth: the inbound rules of a group, by id.
    pub fn rules(&self, group: &str) -> Vec<SecurityGroupRule> {
        self.landed().world.ingress_of(group).cloned().collect()
    }

    /// The truth: every group, by id.
    pub fn groups(&self) -> Vec<Group> {
        self.landed().world.groups().cloned().collect()
    }

    /// The truth: every schedule, by account, region and name. What is due has fired.
    pub fn schedules(&self) -> Vec<(ScheduleKey, Schedule)> {
        self.landed().world.schedules().map(|(key, schedule)| (key.clone(), schedule.clone())).collect()
    }

    /// Requests that have arrived and not yet landed.
    pub fn late(&self) -> usize {
        self.landed().world.late.len()
    }

    /// Replaces the script of faults; counting begins anew, and token buckets are full again.
    pub fn script(&self, script: impl Into<Script>) {
        self.shared.engine().run(script.into());
    }

    /// Changes the faults of the whole region.
    pub fn set(&self, change: impl FnOnce(&mut RegionSettings)) {
        change(&mut self.shared.engine().settings);
    }

    /// Makes a group in the default account and region; its id.
    pub fn create_group(&self, name: &str) -> Result<String, Refusal> {
        self.create_group_in(DEFAULT_ACCOUNT, DEFAULT_REGION, name)
    }

    pub fn create_group_in(&self, account: &str, region: &str, name: &str) -> Result<String, Refusal> {
        let fields = [("GroupName", name), ("GroupDescription", "made by hand")];
        self.by_hand(account, region, "CreateSecurityGroup", owned(&fields))
    }

    /// Deletes a group with its rules, whatever refers to it.
    pub fn delete_group(&self, group: &str) {
        let mut engine = self.landed();
        engine.world.remove_group(group, (self.shared.clock)());
    }

    /// Opens a rule by hand; its id.
    pub fn authorize_by_hand(&self, group: &str, rule: &HandRule) -> Result<String, Refusal> {
        let (ranges, field) = if rule.cidr.contains(':') { ("Ipv6Ranges", "CidrIpv6") } else { ("IpRanges", "CidrIp") };
        let mut fields = ports("IpPermissions.1.", &rule.ports);
        fields.push((format!("IpPermissions.1.{ranges}.1.{field}"), rule.cidr.clone()));
        if !rule.description.is_empty() {
            fields.push((format!("IpPermissions.1.{ranges}.1.Description"), rule.description.clone()));
        }
        if !rule.tags.is_empty() {
            fields.push(("TagSpecification.1.ResourceType".to_owned(), "security-group-rule".to_owned()));
            fields.extend(tag_fields("TagSpecification.1.Tag.", &rule.tags));
        }
        self.on_group(group, "AuthorizeSecurityGroupIngress", fields)
    }

    /// Edits a rule in place, as the console does: its id and tags stay.
    pub fn modify_by_hand(&self, group: &str, rule: &str, new: &HandRule) -> Result<(), Refusal> {
        const NEW: &str = "SecurityGroupRule.1.SecurityGroupRule.";
        let field = if new.cidr.contains(':') { "CidrIpv6" } else { "CidrIpv4" };
        let mut fields = ports(NEW, &new.ports);
        fields.push(("SecurityGroupRule.1.SecurityGroupRuleId".to_owned(), rule.to_owned()));
        fields.push((format!("{NEW}{field}"), new.cidr.clone()));
        fields.push((format!("{NEW}Description"), new.description.clone()));
        self.on_group(group, "ModifySecurityGroupRules", fields).map(|_| ())
    }

    pub fn revoke_by_hand(&self, group: &str, rule: &str) -> Result<(), Refusal> {
        self.on_group(group, "RevokeSecurityGroupIngress", owned(&[("SecurityGroupRuleId.1", rule)])).map(|_| ())
    }

    /// The truth: a prefix list, with every change done whose time has come.
    pub fn prefix_list(&self, list: &str) -> Option<PrefixList> {
        self.landed().world.list(list).cloned()
    }

    /// Makes an empty prefix list in the default account and region; its id.
    pub fn create_prefix_list(&self, name: &str, ipv6: bool, max_entries: usize) -> Result<String, Refusal> {
        self.create_prefix_list_in(DEFAULT_ACCOUNT, DEFAULT_REGION, name, ipv6, max_entries)
    }

    pub fn create_prefix_list_in(
        &self,
        account: &str,
        region: &str,
        name: &str,
        ipv6: bool,
        max_entries: usize,
    ) -> Result<String, Refusal> {
        let (family, most) = (if ipv6 { "IPv6" } else { "IPv4" }, max_entries.to_string());
        let fields = [("PrefixListName", name), ("AddressFamily", family), ("MaxEntries", &most)];
        self.by_hand(account, region, "CreateManagedPrefixList", owned(&fields))
    }

    /// Deletes a prefix list with its entries.
    pub fn delete_prefix_list(&self, list: &str) {
        self.landed().world.remove_list(list);
    }

    /// Lets another account see a prefix list, as Resource Access Manager does.
    pub fn share_prefix_list(&self, list: &str, account: &str) {
        if let Some(list) = self.landed().world.list_mut(list) {
            list.shared_with.insert(account.to_owned());
        }
    }

    /// Adds an entry to a prefix list, at once. One with the same CIDR is replaced.
    pub fn add_entry_by_hand(&self, list: &str, cidr: IpNet, description: &str) {
        let description = (!description.is_empty()).then(|| description.to_owned());
        self.edit_list(list, |entries| {
            entries.retain(|entry| entry.cidr != cidr);
            entries.push(PrefixListEntry { cidr, description });
        });
    }

    /// Removes an entry from a prefix list, at once.
    pub fn remove_entry_by_hand(&self, list: &str, cidr: IpNet) {
        self.edit_list(list, |entries| entries.retain(|entry| entry.cidr != cidr));
    }

    fn edit_list(&self, list: &str, edit: impl FnOnce(&mut Vec<PrefixListEntry>)) {
        let now = (self.shared.clock)();
        if let Some(list) = self.landed().world.list_mut(list) {
            list.edit_at_once(now, edit);
        }
    }

    /// The truth: the IP set at a place, such as `regional/people/<uuid>`.
    pub fn ip_set(&self, place: &str) -> Option<IpSet> {
        self.landed().world.ip_set(place).cloned()
    }

    /// Makes an empty IP set; its place.
    pub fn create_ip_set_in(&self, account: &str, region: &str, name: &str, ipv6: bool) -> Result<String, Refusal> {
        let version = if ipv6 { "IPV6" } else { "IPV4" };
        let body = json!({
            "Name": name,
            "Scope": "REGIONAL",
            "Description": "made by hand",
            "IPAddressVersion": version,
            "Addresses": [],
        });
        self.by_hand(account, region, "CreateIPSet", owned(&[("Body", &body.to_string())]))
    }

    pub fn delete_ip_set(&self, place: &str) {
        self.landed().world.remove_ip_set(place);
    }

    /// Changes the addresses of an IP set, at once.
    pub fn edit_ip_set_by_hand(&self, place: &str, edit: impl FnOnce(&mut Vec<String>)) {
        let now = (self.shared.clock)();
        let mut engine = self.landed();
        let token = format!("by-hand-{}", engine.world.next());
        if let Some(set) = engine.world.ip_set_mut(place) {
            let mut addresses = set.addresses.clone();
            edit(&mut addresses);
            set.put(addresses, token, now);
        }
    }

    /// Changes the tags of an IP set.
    pub fn tag_ip_set_by_hand(&self, place: &str, edit: impl FnOnce(&mut BTreeMap<String, String>)) {
        let now = (self.shared.clock)();
        if let Some(set) = self.landed().world.ip_set_mut(place) {
            let mut tags = set.tags.clone();
            edit(&mut tags);
            set.retag(tags, now);
        }
    }

    /// Writes tags on a rule, group or prefix list.
    pub fn tag_by_hand(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
        self.on_resource(id, "CreateTags", tags)
    }

    /// Deletes tags by key and value; with none named, all of them.
    pub fn untag_by_hand(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
        self.on_resource(id, "DeleteTags", tags)
    }

    /// Puts a network interface there, or replaces it; its instance runs.
    pub fn put_interface(&self, interface: Interface) {
        self.landed().world.network.put_interface(interface);
    }

    /// Puts a subnet there, or replaces it.
    pub fn put_subnet(&self, id: &str, subnet: Subnet) {
        self.landed().world.network.subnets.insert(id.to_owned(), subnet);
    }

    /// Changes the state of an instance (`stopped`).
    pub fn set_instance_state(&self, id: &str, state: &str) {
        if let Some(instance) = self.landed().world.network.instances.get_mut(id) {
            state.clone_into(&mut instance.2);
        }
    }

    /// Stops: no new connections, and a moment for requests under way.
    pub fn stop(self) {
        drop(self);
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported by itself.
            drop(thread.join());
        }
    }

    fn landed(&self) -> std::sync::MutexGuard<'_, Engine> {
        let now = (self.shared.clock)();
        let mut engine = self.shared.engine();
        engine.land(now);
        engine
    }

    fn on_resource(&self, id: &str, action: &str, tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let group = self.landed().world.rule(id).map_or_else(|| id.to_owned(), |rule| rule.group.clone());
        let mut fields = owned(&[("ResourceId.1", id)]);
        fields.extend(tag_fields("Tag.", tags));
        self.on_group(&group, action, fields).map(|_| ())
    }

    fn on_group(&self, group: &str, action: &str, mut fields: Vec<(String, String)>) -> Result<String, Refusal> {
        let (account, region) = self.owner_of(group).ok_or_else(|| errors::no_group(group))?;
        fields.push(("GroupId".to_owned(), group.to_owned()));
        self.by_hand(&account, &region, action, fields)
    }

    /// The account and the region of a group or prefix list.
    fn owner_of(&self, id: &str) -> Option<(String, String)> {
        let engine = self.landed();
        let group = engine.world.any_group(id).map(|group| (group.account.clone(), group.region.clone()));
        group.or_else(|| engine.world.list(id).map(|list| (list.account.clone(), list.region.clone())))
    }

    /// The first id that was made or removed.
    fn by_hand(
        &self,
        account: &str,
        region: &str,
        action: &str,
        mut fields: Vec<(String, String)>,
    ) -> Result<String, Refusal> {
        fields.push(("Action".to_owned(), action.to_owned()));
        let now = (self.shared.clock)();
        let answer =
            self.landed().act(&CallerIdentity::user(account, "hand"), region, &Form::new(fields), None, now)?;
        Ok(answer.ids.into_iter().next().unwrap_or_default())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).finish_non_exhaustive()
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `tcp/8000-8080` as fields.
fn ports(prefix: &str, text: &str) -> Vec<(String, String)> {
    let (protocol, range) = text.split_once('/').unwrap_or((text, "-1"));
    let (from, to) = range.split_once('-').filter(|(from, _)| !from.is_empty()).unwrap_or((range, range));
    [("IpProtocol", protocol), ("FromPort", from), ("ToPort", to)]
        .map(|(name, value)| (format!("{prefix}{name}"), value.to_owned()))
        .to_vec()
}

fn tag_fields(prefix: &str, tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let fields = |(number, (key, value)): (usize, (&String, &String))| {
        [(format!("{prefix}{number}.Key"), key.clone()), (format!("{prefix}{number}.Value"), value.clone())]
    };
    (1..).zip(tags).flat_map(fields).collect()
}
