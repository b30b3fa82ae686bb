//! Every call that this module makes. Nothing is sent but through `Client::call`, which takes one of these, so the
//! list is whole, and `eg iam-policy` can be made from it. (Roles are assumed by the SDK, with `sts:AssumeRole`.)

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

actions! {
    DescribeSecurityGroupRules,
    /// Tells whether a group is there, and which there are.
    DescribeSecurityGroups,
    /// Opens, with tags in the same call.
    AuthorizeSecurityGroupIngress,
    RevokeSecurityGroupIngress,
    CreateTags,
    DeleteTags,
    DescribeRegions,
    /// Finds the groups in front of a host.
    DescribeNetworkInterfaces,
    /// Tells whether a network ACL is in the way.
    DescribeNetworkAcls,
    /// Tells whether there is a way to the internet.
    DescribeRouteTables,
    /// Tells whether an instance runs.
    DescribeInstances,
    /// Tells the state, the version and the tags of prefix lists, and which there are.
    DescribeManagedPrefixLists,
    GetManagedPrefixListEntries,
    /// Adds and removes entries.
    ModifyManagedPrefixList,
    /// Tells the addresses of an IP set, and the token to change them with.
    GetIPSet,
    UpdateIPSet,
    /// Tells which IP sets there are.
    ListIPSets,
    ListTagsForResource,
    TagResource,
    UntagResource,
    /// Tells who is calling.
    GetCallerIdentity,
    CreateSchedule,
    UpdateSchedule,
    GetSchedule,
    DeleteSchedule,
    /// Tells whether a group for expiry schedules is there.
    GetScheduleGroup,
    CreateScheduleGroup,
    /// Tells whether the expiry schedules' role is there.
    GetRole,
    CreateRole,
    /// Tells which policies of its own it has.
    ListRolePolicies,
    /// Tells which other policies it has.
    ListAttachedRolePolicies,
    GetRolePolicy,
    PutRolePolicy,
    /// Writes who may take it.
    UpdateAssumeRolePolicy,
}

impl Action {
    /// The calls that are made only where cloud expiry is configured.
    pub const CLOUD_EXPIRY: [Self; 4] =
        [Self::CreateSchedule, Self::UpdateSchedule, Self::GetSchedule, Self::DeleteSchedule];

    /// The calls that find the group in front of a host, and what is in the way to it.
    pub const HOSTS: [Self; 4] = [
        Self::DescribeNetworkInterfaces,
        Self::DescribeNetworkAcls,
        Self::DescribeRouteTables,
        Self::DescribeInstances,
    ];
    /// The calls that are made only for managed prefix lists.
    pub const PREFIX_LISTS: [Self; 3] =
        [Self::DescribeManagedPrefixLists, Self::GetManagedPrefixListEntries, Self::ModifyManagedPrefixList];

    /// The calls that are made only for WAF IP sets.
    pub const IP_SETS: [Self; 6] = [
        Self::GetIPSet,
        Self::UpdateIPSet,
        Self::ListIPSets,
        Self::ListTagsForResource,
        Self::TagResource,
        Self::UntagResource,
    ];

    /// The calls that only `eg setup cloud-expiry --apply` sends, once.
    pub const PREPARATION: [Self; 9] = [
        Self::GetScheduleGroup,
        Self::CreateScheduleGroup,
        Self::GetRole,
        Self::CreateRole,
        Self::ListRolePolicies,
        Self::ListAttachedRolePolicies,
        Self::GetRolePolicy,
        Self::PutRolePolicy,
        Self::UpdateAssumeRolePolicy,
    ];

    /// The permission that IAM asks for; `None` where it asks for none (STS API reference, `GetCallerIdentity`: "No
    /// permissions are required").
    pub fn permission(self) -> Option<String> {
        let service = match self {
            scheduler if scheduler.name().contains("Schedule") => "scheduler",
            iam if Self::PREPARATION.contains(&iam) => "iam",
            waf if Self::IP_SETS.contains(&waf) => "wafv2",
            _ => "ec2",
        };
        (self != Self::GetCallerIdentity).then(|| format!("{service}:{}", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that is missing from the list fails this test: the sources name every operation.
    #[test]
    fn every_operation_of_the_sources_is_listed() {
        let sources = [
            include_str!("client.rs"),
            include_str!("read/account.rs"),
            include_str!("write.rs"),
            include_str!("ip_set/access.rs"),
            include_str!("ip_set/change.rs"),
            include_str!("ip_set/observe.rs"),
            include_str!("prefix_list/access.rs"),
            include_str!("prefix_list/change.rs"),
            include_str!("prefix_list/observe.rs"),
            include_str!("read/groups.rs"),
            include_str!("read/interfaces.rs"),
            include_str!("read/observe.rs"),
            include_str!("expiry/preparation.rs"),
            include_str!("expiry/schedule.rs"),
        ]
        .join("\n");
        // The SDK spells `GetIPSet` as `get_ip_set`.
        let known: Vec<String> = Action::ALL.iter().map(|action| action.name().to_ascii_lowercase()).collect();
        let words: String = sources.split_whitespace().collect();
        for client in ["self.ec2.", "self.sts.", "client.ec2.", "client.scheduler.", "client.iam.", "client.wafv2."] {
            for rest in words.split(client).skip(1) {
                let operation = rest.split('(').next().unwrap().replace('_', "");
                assert!(known.contains(&operation), "{operation} is not an Action");
            }
        }
    }
}
