//! The AWS SDK is built once: `cargo run`, `cargo test` and clippy want the same features of everything below it. A
//! dev-dependency that switches on one feature more costs every newcomer a second build of several minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

const SDK: [&str; 6] =
    ["aws-config", "aws-sdk-ec2", "aws-sdk-iam", "aws-sdk-scheduler", "aws-sdk-sts", "aws-sdk-wafv2"];

/// Packages with the features that this selection switches on.
fn tree(selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"])
        .args(selection)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines().filter(|line| !line.is_empty()) {
        let (package, features) = line.split_once('|').expect("a package and its features");
        let features = features.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned);
        packages.entry(package.replace(" (proc-macro)", "")).or_default().extend(features);
    }
    packages
}

#[test]
fn every_command_wants_the_same_features_below_the_sdk() {
    let run = tree(&["--package", "eg", "--edges", "normal,build"]);
    let all = tree(&["--workspace", "--edges", "normal,build,dev"]);
    let selection: Vec<&str> = SDK.iter().flat_map(|name| ["--package", name]).collect();
    let below = tree(&[&selection[..], &["--edges", "normal,build"]].concat());
    assert!(below.len() > 100, "{}", below.len());
    let differ: Vec<String> = below
        .keys()
        .filter(|package| run.get(*package) != all.get(*package))
        .map(|package| format!("{package}: {:?} in cargo run, {:?} in cargo test", run.get(package), all.get(package)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}
