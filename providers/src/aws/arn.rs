//! ARNs: the names of resources, with their partition, region and account (AWS, "Amazon Resource Names").

/// A firewall with its place, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Such as `aws`.
    pub partition: String,
    /// Such as `eu-west-1`.
    pub region: String,
    /// The account, once it is known.
    pub account: Option<String>,
    /// The id in the key of its target, such as `sg-0abc123def4567890`.
    pub id: String,
}

impl Scope {
    /// The ARN of a resource of EC2 in this region and account.
    pub fn arn(&self, resource: &str) -> String {
        let account = self.account.as_deref().unwrap_or("*");
        format!("arn:{}:ec2:{}:{account}:{resource}", self.partition, self.region)
    }

    /// The ARN of a WAF IP set, whose id is `SCOPE/NAME/ID` (Service Authorization Reference, "Actions, resources, and
    /// condition keys for AWS WAF V2": `arn:${Partition}:wafv2:${Region}:${Account}:${Scope}/ipset/${Name}/${Id}`). The two
    /// scopes are `regional` and, for CloudFront, `global`: AWS's managed policy `NetworkSecurityManagerServiceRolePolicy`
    /// names `global/ipset/*` beside `regional/ipset/*`.
    pub fn ip_set(&self) -> String {
        let account = self.account.as_deref().unwrap_or("*");
        let (scope, rest) = self.id.split_once('/').unwrap_or(("*", &self.id));
        let scope = if scope == "cloudfront" { "global" } else { scope };
        format!("arn:{}:wafv2:{}:{account}:{scope}/ipset/{rest}", self.partition, self.region)
    }

    /// The schedules of `eg`, in a schedule group of this region and account.
    pub fn schedules(&self, group: &str) -> String {
        let account = self.account.as_deref().unwrap_or("*");
        format!("arn:{}:scheduler:{}:{account}:schedule/{group}/eg-sgr-*", self.partition, self.region)
    }
}

/// The partition of a region, by its beginning (AWS, "Amazon Resource Names", and botocore's `partitions.json`).
pub fn partition_of(region: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    BEGINNINGS.into_iter().find(|(start, _)| region.starts_with(start)).map_or("aws", |(_, partition)| partition)
}

/// An ARN of a resource, in the parts that a policy compares (IAM User Guide, "Amazon Resource Names").
#[derive(PartialEq, Eq)]
pub struct Arn<'a> {
    /// Everything before the name but the region: partition, service, account, and the kind of thing.
    pub of: [&'a str; 4],
    pub region: &'a str,
    pub name: &'a str,
}

impl<'a> Arn<'a> {
    pub fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
        let (partition, service, region, account) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (kind, name) = parts.next()?.split_once('/')?;
        Some(Self { of: [partition, service, account, kind], region, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition() {
        for (region, partition) in [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition_of(region), partition, "{region}");
        }
    }
}
