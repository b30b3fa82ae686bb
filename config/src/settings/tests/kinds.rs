//! `[[resource]]` of every kind of firewall: what it may say, what it means, and every mistake with its place.

use super::{parse, refusal};
use eg_model::net::{address::IpVersion, permission::PortSpec};
use eg_providers::{aws, nftables, script};

const SET: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

fn section(lines: &str) -> String {
    format!("[[resource]]\nname = \"x\"\n{lines}\n")
}

#[test]
fn each_kind_by_its_shortest_name() {
    let list = "kind = \"prefix-list\"\nid = \"pl-0abc123def4567890\"\nregion = \"eu-west-1\"";
    let set = |scope: &str, rest: &str| {
        format!("kind = \"waf-ip-set\"\nset_name = \"office\"\nid = \"{SET}\"\nscope = \"{scope}\"\n{rest}")
    };
    let (regional, global) = (format!("regional/office/{SET}"), format!("cloudfront/office/{SET}"));
    for (lines, kind, region, id) in [
        (list, &aws::PREFIX_LIST, "eu-west-1", "pl-0abc123def4567890"),
        (&set("regional", "region = \"eu-west-1\""), &aws::WAF_IP_SET, "eu-west-1", &regional),
        (&set("cloudfront", ""), &aws::WAF_IP_SET, "us-east-1", &global),
        (&set("cloudfront", "region = \"us-east-1\""), &aws::WAF_IP_SET, "us-east-1", &global),
        ("provider = \"nftables\"\nports = [\"ssh\"]", &nftables::TABLE, "", "eg"),
        ("kind = \"table\"\ntable = \"eg_2\"\nports = [\"ssh\"]", &nftables::TABLE, "", "eg_2"),
        ("provider = \"script\"\ndirectory = \"/etc/eg//office/\"", &script::DIRECTORY, "", "/etc/eg/office"),
    ] {
        let settings = parse(&section(lines));
        let [found] = settings.resources.as_slice() else { panic!("{lines}: one resource") };
        assert_eq!((found.kind, found.region.as_str(), found.id.as_str()), (kind, region, id), "{lines}");
        let ports = if kind.has_ports() { PortSpec::Tcp(22, 22) } else { PortSpec::All };
        assert_eq!(found.ports, [ports], "{lines}");
        assert_eq!(found.families, [IpVersion::V4, IpVersion::V6], "{lines}");
        let key = found.key();
        assert_eq!((key.provider.as_str(), key.kind.as_str()), (kind.provider, kind.name), "{lines}");
        assert_eq!((key.region.as_str(), key.id.as_str(), key.endpoint), (region, id, None), "{lines}");
    }
}

#[test]
fn defaults_are_for_the_kinds_that_have_such_keys() {
    let settings = parse(
        "[defaults]\nregion = \"eu-west-1\"\nprofile = \"prod\"\nrole_arn = \"arn:aws:iam::123456789012:role/eg\"\n\
         external_id = \"x\"\nports = [\"tcp/22\"]\nfamilies = [\"ipv4\"]\ngroups = [\"all\"]\n\
         [[resource]]\nname = \"group\"\nid = \"sg-0123abcd\"\n\
         [[resource]]\nname = \"list\"\nkind = \"prefix-list\"\nid = \"pl-0123abcd\"\n\
         [[resource]]\nname = \"host\"\nprovider = \"nftables\"\n\
         [[resource]]\nname = \"own\"\nprovider = \"script\"\ndirectory = \"/etc/eg/own\"\n",
    );
    let [group, list, host, own] = settings.resources.as_slice() else { panic!("four resources") };
    for one in [group, list] {
        assert_eq!((one.region.as_str(), one.profile.as_deref()), ("eu-west-1", Some("prod")), "{}", one.name);
        assert!(one.role_arn.is_some() && one.external_id.is_some(), "{}", one.name);
    }
    for one in [host, own] {
        assert_eq!((one.region.as_str(), &one.profile, &one.role_arn, &one.external_id), ("", &None, &None, &None));
    }
    let ssh = PortSpec::Tcp(22, 22);
    assert_eq!(
        [&group.ports, &list.ports, &host.ports, &own.ports],
        [&[ssh], &[PortSpec::All], &[ssh], &[PortSpec::All]]
    );
    assert!(settings.resources.iter().all(|one| one.families == [IpVersion::V4] && one.groups == ["all"]));
}

#[test]
fn the_defaults_name_a_kind() {
    let settings = parse(
        "[defaults]\nkind = \"prefix-list\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n\
         [[resource]]\nname = \"list\"\nid = \"pl-0123abcd\"\n\
         [[resource]]\nname = \"aws\"\nprovider = \"aws\"\nid = \"pl-0123abce\"\n\
         [[resource]]\nname = \"group\"\nkind = \"security-group\"\nid = \"sg-0123abcd\"\n\
         [[resource]]\nname = \"host\"\nprovider = \"nftables\"\n",
    );
    let kinds: Vec<&str> = settings.resources.iter().map(|one| one.kind.name).collect();
    assert_eq!(kinds, ["prefix-list", "prefix-list", "security-group", "table"]);
}

#[test]
fn keys_that_a_kind_does_not_have() {
    let list = "kind = \"prefix-list\"\nid = \"pl-0123abcd\"\nregion = \"eu-west-1\"\n";
    let own = "provider = \"script\"\ndirectory = \"/etc/eg/own\"\n";
    let of_list = "name, provider, kind, id, region, profile, role_arn, external_id, families, groups";
    let of_script = "name, provider, kind, directory, families, groups";
    for (lines, expected) in [
        (
            format!("{list}ports = [\"tcp/22\"]"),
            format!("6:1: a prefix list has no ports of its own. The rules and routes that refer to the list decide about ports (accepted: {of_list})"),
        ),
        (
            format!("{own}ports = [\"tcp/22\"]"),
            format!("5:1: a script has no ports of its own. The scripts decide about ports (accepted: {of_script})"),
        ),
        (
            format!("{list}group_name = \"prod-*\""),
            format!("6:1: [[resource]] of a prefix list has no key \"group_name\", which belongs to a security group (accepted: {of_list})"),
        ),
        (
            format!("{own}region = \"eu-west-1\""),
            format!("5:1: [[resource]] of a script has no key \"region\", which belongs to a security group (accepted: {of_script})"),
        ),
        (
            format!("{own}profil = \"prod\""),
            format!("5:1: [[resource]] of a script has no key \"profil\" (accepted: {of_script})"),
        ),
        (
            "directory = \"/etc/eg/own\"".to_owned(),
            "3:1: [[resource]] of a security group has no key \"directory\", which belongs to a script (accepted: name, provider, kind, id, group_name, tag, host, group, region, profile, role_arn, external_id, ports, families, groups)".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&section(&lines)), format!("c.toml:{expected}"));
    }
}

#[test]
fn values_that_a_kind_does_not_take() {
    let set = format!("kind = \"waf-ip-set\"\nset_name = \"office\"\nid = \"{SET}\"\nscope = \"regional\"");
    let directory = "an absolute path without \"..\", as in \"/etc/eg/office\"";
    for (lines, expected) in [
        ("provider = \"script\"", format!("1:1: [[resource]] has no directory (accepted: {directory})")),
        (
            "provider = \"script\"\ndirectory = \"office\"",
            format!("4:13: \"office\" is not a plain absolute path (accepted: {directory})"),
        ),
        (
            "provider = \"script\"\ndirectory = \"/etc/../office\"",
            format!("4:13: \"/etc/../office\" is not a plain absolute path (accepted: {directory})"),
        ),
        (
            "provider = \"script\"\nkind = \"prefix-list\"",
            "4:8: provider \"script\" has no kind \"prefix-list\" (accepted: \"directory\")".to_owned(),
        ),
        (
            "kind = \"prefix-list\"\nid = \"sg-0123abcd\"",
            "4:6: \"sg-0123abcd\" is not the id of a prefix list (accepted: pl- and 8 or 17 hex digits in lower case, as in \"pl-0abc123def4567890\")".to_owned(),
        ),
        (
            "kind = \"prefix-list\"\nid = \"pl-0123abcd\"",
            "1:1: [[resource]] has no region (accepted: a region's code, as in \"eu-west-1\")".to_owned(),
        ),
        (
            "provider = \"nftables\"",
            "1:1: [[resource]] has no ports (accepted: one or more of \"tcp/22\", \"tcp/8000-8080\", \"udp/51820\", \"icmp\", \"all\")".to_owned(),
        ),
        (
            "provider = \"nftables\"\ntable = \"my-table\"",
            "4:9: \"my-table\" is not the name of a table (accepted: a table's name: a letter, then up to 31 letters, digits and _)".to_owned(),
        ),
        (&set, "1:1: [[resource]] has no region (accepted: a region's code, as in \"eu-west-1\")".to_owned()),
        (
            &set.replace("regional", "global"),
            "6:9: \"global\" is not a scope (accepted: \"regional\" or \"cloudfront\")".to_owned(),
        ),
        (
            &set.replace("office", "the office"),
            "4:12: \"the office\" is not the name of an IP set (accepted: the set's name: 1 to 128 letters, digits and any of -_)".to_owned(),
        ),
        (
            &set.replace(SET, &SET.to_uppercase()),
            format!(
                "5:6: \"{}\" is not the id of an IP set (accepted: the set's id, as in \"{SET}\")",
                SET.to_uppercase()
            ),
        ),
        (
            &format!("{}\nregion = \"eu-west-1\"", set.replace("regional", "cloudfront")),
            "7:10: this WAF IP set is in us-east-1 alone (accepted: \"us-east-1\", or no region)".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&section(lines)), format!("c.toml:{expected}"), "{lines}");
    }
}

#[test]
fn a_port_cannot_be_chosen_where_there_is_none() {
    let settings = parse(&section("provider = \"script\"\ndirectory = \"/etc/eg/own\""));
    let own = &settings.resources[0];
    assert_eq!(own.narrowed(&[]).unwrap(), [PortSpec::All]);
    let error = own.narrowed(&[PortSpec::Tcp(22, 22)]).unwrap_err();
    assert_eq!(error.to_string(), "x is a script, which has no ports to choose from");
}
