//! The recipes about hosts in `docs/recipes.md`, with the real programs as far as these are installed.

use super::hosts::{NAMES, unconfigured};
use crate::harness::{REGION, eg::EgCommand, sandboxed::Sandboxed, says, says_not};
use std::{fs, io::Read, net::TcpListener, path::Path, process::Command, thread};

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// The block of the page that holds this text.
fn block(text: &str) -> &'static str {
    let block = RECIPES.split("```").skip(1).step_by(2).find(|block| block.contains(text));
    block.and_then(|block| block.split_once('\n')).expect("the page has it").1
}

/// True if a program is there. A test that does without it says so.
fn has(program: &str, probe: &[&str]) -> bool {
    let there = Command::new(program).args(probe).output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// A line of bash with `eg` and these programs in front of all others.
fn shell(world: &Sandboxed, programs: &[(&str, &str)], line: &str) -> EgCommand {
    let bin = world.here.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::remove_file(bin.join("eg")).ok();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_eg"), bin.join("eg")).unwrap();
    for (name, text) in programs {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let command = world.here.command(&[]).env("AWS_REGION", REGION).env("EG_TEST_HOSTS", NAMES).env("SHELL", "/bin/sh");
    command.env("PATH", path).in_bash(line)
}

/// What is detected on a test's machine is not the test's business.
fn to_me(text: &str) -> String {
    text.replace("--until", "--ipv4 203.0.113.42 --until").replace("eg open ", "eg open --ipv4 203.0.113.42 ")
}

#[test]
fn ssh_opens_the_host_that_it_is_going_to() {
    if !has("ssh", &["-V"]) {
        return;
    }
    let world = unconfigured();
    let config = world.here.home().join("ssh_config");
    let text = to_me(&block("--host %h:%p").replace("*.prod.example.com", "db.example.com"));
    fs::write(&config, format!("Host db\n    HostName db.example.com\n    Port 5432\n{text}    User alice\n")).unwrap();
    let ssh = |host: &str| shell(&world, &[], &format!("ssh -G -F '{}' {host}", config.display())).run().expect_code(0);
    let first = ssh("db");
    says(&first, "user alice\n");
    assert!(first.stderr.contains("→ db.example.com:5432 is 192.0.2.80 on eni-0db"), "{first}");
    assert_eq!(world.ours("db").len(), 1);
    let second = ssh("db");
    says_not(&second, "→");
    assert_eq!(world.ours("db").len(), 1);
    ssh("elsewhere.example.com");
    assert_eq!(world.sessions_of(&world.here).len(), 1, "other hosts open nothing");
    world.ends();
}

#[test]
fn psql_connects_by_its_service_file() {
    if !has("psql", &["--version"]) {
        return;
    }
    let world = unconfigured();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = block("[prod]").replace("verify-full", "disable") + &format!("hostaddr=127.0.0.1\nport={port}\n");
    fs::write(world.here.home().join(".pg_service.conf"), service).unwrap();
    let command = block("psql service=prod").trim().trim_start_matches("$ ").to_owned();
    let command = command.replace(" -- ", " --ipv4 203.0.113.42 -- ");
    // The client says which user and database it wants, and is left alone with that.
    let (region, group) = (&world.region, world.group("db"));
    let before = region.rules(group).len();
    let (asked, open) = thread::scope(|scope| {
        let served = scope.spawn(|| {
            let (mut client, _) = listener.accept().unwrap();
            let mut packet = [0; 1024];
            let length = client.read(&mut packet).unwrap();
            (String::from_utf8_lossy(&packet[..length]).into_owned(), region.rules(group).len() - before)
        });
        let outcome = shell(&world, &[], &command).run();
        // A test that psql does not reach must not wait for it.
        drop(std::net::TcpStream::connect(("127.0.0.1", port)));
        assert_eq!(outcome.code(), Some(2), "psql's own status: {outcome}");
        served.join().unwrap()
    });
    assert!(asked.contains("database\0app\0"), "{asked:?}");
    assert_eq!(open, 1, "open while psql connects");
    assert_eq!(world.ours("db"), [], "and closed after it");
    world.ends();
}

#[test]
fn an_rds_instance_is_opened_by_its_name() {
    let world = unconfigured();
    let script = to_me(block("aws rds describe-db-instances"));
    let aws = "case \"$*\" in *'--db-instance-identifier prod '*) echo db.example.com ;; *) exit 1 ;; esac";
    let outcome = shell(&world, &[("aws", aws)], &script).run().expect_code(0);
    says(&outcome, "→ db.example.com:5432 is 192.0.2.80 on eni-0db");
    assert_eq!(world.ours("db").len(), 1);
    world.ends();
}

fn kubeconfig(path: &Path, server: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
         clusters: [{{name: prod, cluster: {{server: \"{server}\"}}}}]\n\
         contexts: [{{name: prod, context: {{cluster: prod, user: me}}}}]\nusers: [{{name: me, user: {{}}}}]\n"
    );
    fs::write(path, text).unwrap();
}

#[test]
fn a_cluster_is_opened_by_the_server_of_kubectl() {
    if !has("kubectl", &["version", "--client"]) {
        return;
    }
    let world = unconfigured();
    let config = world.here.home().join("kubeconfig");
    let script = block("kubectl config view").replace("kubectl get nodes\n", "");
    for (server, code, text) in [
        ("https://inside.example.com", 0, "→ inside.example.com:443 is 10.0.0.80 on eni-0db"),
        // A public endpoint is AWS's.
        ("https://stranger.example.com", 1, "no network interface here has 198.51.100.99"),
    ] {
        kubeconfig(&config, server);
        let outcome = shell(&world, &[], &to_me(&script)).env("KUBECONFIG", &config).run().expect_code(code);
        says(&outcome, text);
    }
    assert_eq!(world.ours("db").len(), 1);
    world.ends();
}
