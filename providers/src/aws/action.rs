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
    /// Tells the state, the version and the tags of prefix lists, and which there are.
    DescribeManagedPrefixLists,
    GetManagedPrefixListEntries,
    /// Adds and removes entries.
    ModifyManagedPrefixList,
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

    /// The calls that are made only for managed prefix lists.
    pub const PREFIX_LISTS: [Self; 3] =
        [Self::DescribeManagedPrefixLists, Self::GetManagedPrefixListEntries, Self::ModifyManagedPrefixList];

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
            include_str!("prefix_list/access.rs"),
            include_str!("prefix_list/change.rs"),
            include_str!("prefix_list/observe.rs"),
            include_str!("read/groups.rs"),
            include_str!("read/observe.rs"),
            include_str!("expiry/preparation.rs"),
            include_str!("expiry/schedule.rs"),
        ]
        .join("\n");
        let snake = |action: Action| {
            let mut text = String::new();
            for (at, letter) in action.name().char_indices() {
                if letter.is_ascii_uppercase() && at > 0 {
                    text.push('_');
                }
                text.push(letter.to_ascii_lowercase());
            }
            text
        };
        let known: Vec<String> = Action::ALL.iter().copied().map(snake).collect();
        let words: String = sources.split_whitespace().collect();
        for client in ["self.ec2.", "self.sts.", "client.ec2.", "client.scheduler.", "client.iam."] {
            for rest in words.split(client).skip(1) {
                let operation = rest.split('(').next().unwrap();
                assert!(known.iter().any(|name| name == operation), "{operation} is not an Action");
            }
        }
    }
}
