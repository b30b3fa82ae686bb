//! Each way in which a call can fail is said in words of people: no message holds an SDK's internals.

use crate::{
    cli::session::{readable, snapshot},
    harness::{Fault, IPV4, REGION, Tls, World, eg::EgCommand},
};
use regex::Regex;
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

/// Words that only readers of a program know.
const INTERNALS: [&str; 32] = [
    "DispatchFailure",
    "dispatch failure",
    "ConnectorError",
    "provider error",
    "unexpected credentials error",
    "initialization error",
    "already taken",
    "was not enabled",
    "an error occurred",
    "service error",
    "unhandled error",
    "response error",
    "construction failure",
    "error trying to connect",
    "client error",
    "operation timed out:",
    "SdkError",
    "ServiceError",
    "hyper",
    "rustls",
    "aws_config",
    "aws_credential",
    "aws_runtime",
    "aws_sdk",
    "aws_smithy",
    "aws_types",
    "profile file",
    "os error",
    "Some(",
    "None)",
    "attempt timeout",
    "UnknownIssuer",
];

/// What of a text no user should have to read.
fn internals(text: &str) -> Vec<String> {
    let words = INTERNALS.iter().filter(|word| text.contains(**word)).map(|word| (*word).to_owned());
    let patterns = [r"[A-Za-z_]::[A-Za-z_<]", r"\{ .*\}", r"\b[A-Z][A-Za-z]+\(\w"];
    let shapes = patterns.iter().filter_map(|pattern| {
        let found = Regex::new(pattern).unwrap().find(text)?;
        Some(found.as_str().to_owned())
    });
    words.chain(shapes).collect()
}

/// A server that answers every connection with these bytes, and hangs up.
fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 65536];
            let mut seen = Vec::new();
            // A request is whole when its headers are, and as much more as they say.
            while let Ok(count @ 1..) = stream.read(&mut request) {
                seen.extend_from_slice(&request[..count]);
                if is_whole(&seen) {
                    break;
                }
            }
            stream.write_all(bytes).ok();
        }
    });
    at
}

fn is_whole(request: &[u8]) -> bool {
    // The first message of TLS.
    if request.first() == Some(&0x16) {
        return true;
    }
    let text = String::from_utf8_lossy(request).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

/// One thing that goes wrong.
struct Case {
    name: &'static str,
    /// Changes what is around `eg`.
    world: fn(&World),
    /// Changes how `eg` is run.
    run: Box<dyn Fn(EgCommand) -> EgCommand + Sync>,
}

fn keyless(command: EgCommand) -> EgCommand {
    command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY")
}

fn write(world: &World, file: &str, text: &str) {
    let path = world.here.home().join(".aws").join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// One whose profile is at fault.
fn profile(name: &'static str, world: fn(&World)) -> Case {
    Case { name, world, run: Box::new(|command| keyless(command).env("AWS_PROFILE", "work")) }
}

/// One whose provider is at fault.
fn provider(name: &'static str, world: fn(&World)) -> Case {
    Case { name, world, run: Box::new(|command| command) }
}

/// One whose way to the provider is at fault.
fn way(name: &'static str, variables: Vec<(&'static str, String)>) -> Case {
    let run = move |command: EgCommand| {
        variables.iter().fold(command, |command, (variable, value)| command.env(variable, value))
    };
    Case { name, world: |_| {}, run: Box::new(run) }
}

fn refuses(world: &World, status: u16, code: &str, message: &str) {
    let actions = ["DescribeSecurityGroupRules", "DescribeSecurityGroups", "GetCallerIdentity"];
    world.faults(&actions.map(|action| Fault::refuse(action, status, code, message)));
}

fn with_role(world: &World) {
    let role = format!("role_arn = \"arn:aws:iam::{}:role/opener\"\n", world.account());
    let group = world.group("prod-api-sg");
    world.write_config(&(world.config_head() + &World::resource("prod-api-sg", group, REGION, &["tcp/22"], &role)));
}

/// `sso-session corp`, and its token as the AWS command line keeps it: under the SHA-1 of the name.
const SSO: &str = "[profile work]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Opener\n\
                   [sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.example.com\n";
const TOKEN: &str = "sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";

fn cases(tls: &Tls) -> Vec<Case> {
    let nobody = "127.0.0.1:9";
    let at = |address: SocketAddr| vec![("AWS_ENDPOINT_URL", format!("http://{address}"))];
    let through = |proxy: String| {
        vec![
            ("AWS_ENDPOINT_URL", tls.endpoint()),
            ("SSL_CERT_FILE", tls.authority().to_string_lossy().into_owned()),
            ("HTTPS_PROXY", format!("http://{proxy}")),
        ]
    };
    vec![
        profile("a profile that does not exist", |world| {
            write(world, "config", "[profile staging]\nregion = eu-west-1\n");
        }),
        Case { name: "no credentials at all", world: |_| {}, run: Box::new(keyless) },
        profile("a profile without keys", |world| write(world, "config", "[profile work]\nregion = eu-west-1\n")),
        profile("a profile with half a key", |world| {
            write(world, "config", "[profile work]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n");
        }),
        Case {
            name: "half a key in the environment",
            world: |_| {},
            run: Box::new(|command| command.without("AWS_SECRET_ACCESS_KEY")),
        },
        profile("nobody has logged in", |world| write(world, "config", SSO)),
        profile("a login that has expired", |world| {
            write(world, "config", SSO);
            let token = r#"{"startUrl": "https://corp.example.com", "region": "eu-west-1", "accessToken": "t",
                            "expiresAt": "2020-01-01T00:00:00Z"}"#;
            write(world, TOKEN, token);
        }),
        profile("a login cache that is not JSON", |world| {
            write(world, "config", SSO);
            write(world, TOKEN, "<html>");
        }),
        profile("a login cache that lacks the token", |world| {
            write(world, "config", SSO);
            write(world, TOKEN, "{\"startUrl\": \"https://corp.example.com\"}");
        }),
        profile("half an SSO profile", |world| {
            write(world, "config", "[profile work]\nsso_start_url = https://corp.example.com\n");
        }),
        profile("an SSO session that is not there", |world| {
            write(world, "config", &SSO.replace("[sso-session corp]", "[sso-session other]"));
        }),
        profile("a credential_process that fails", |world| {
            write(world, "config", "[profile work]\ncredential_process = echo 'the vault is locked' >&2; exit 7\n");
        }),
        profile("a credential_process that is not there", |world| {
            write(world, "config", "[profile work]\ncredential_process = nosuchprogram --now\n");
        }),
        profile("a credential_process that answers nonsense", |world| {
            write(world, "config", "[profile work]\ncredential_process = echo hello\n");
        }),
        profile("a credential_process that answers another version", |world| {
            write(world, "config", "[profile work]\ncredential_process = echo '{\"Version\": 9}'\n");
        }),
        profile("a source profile that is not there", |world| {
            write(
                world,
                "config",
                "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = gone\n",
            );
        }),
        profile("profiles that lead to each other", |world| {
            write(
                world,
                "config",
                "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = other\n\
                 [profile other]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = work\n",
            );
        }),
        profile("a role without a source", |world| {
            write(world, "config", "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\n");
        }),
        profile("a credential_source that is none", |world| {
            write(
                world,
                "config",
                "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Somewhere\n",
            );
        }),
        profile("a source in a container, outside of one", |world| {
            write(
                world,
                "config",
                "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = EcsContainer\n",
            );
        }),
        profile("a web identity whose file is not there", |world| {
            write(
                world,
                "config",
                "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\nweb_identity_token_file = /nonexistent\n",
            );
        }),
        profile("a console login that is not there", |world| {
            write(world, "config", "[profile work]\nlogin_session = arn:aws:iam::123456789012:user/a\n");
        }),
        profile("a configuration of AWS that cannot be read", |world| write(world, "config", "[profile work\n")),
        profile("credentials of AWS that cannot be read", |world| {
            write(world, "config", "[profile work]\nregion = eu-west-1\n");
            write(world, "credentials", "[work]\naws_access_key_id\n");
        }),
        provider("a role that may not be assumed", |world| {
            with_role(world);
            let words = "User: arn:aws:iam::123456789012:user/a is not authorized to perform: sts:AssumeRole";
            world.faults(&[Fault::refuse("AssumeRole", 403, "AccessDenied", words)]);
        }),
        provider("a role while STS is down", |world| {
            with_role(world);
            world.faults(&[Fault::refuse("AssumeRole", 500, "InternalFailure", "Try again.")]);
        }),
        provider("throttled", |world| refuses(world, 503, "RequestLimitExceeded", "Request limit exceeded.")),
        provider("not permitted", |world| {
            refuses(world, 403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
        }),
        provider("an expired token", |world| refuses(world, 403, "ExpiredToken", "The token is expired.")),
        provider("keys that AWS does not know", |world| {
            let words = "AWS was not able to validate the provided access credentials";
            refuses(world, 401, "AuthFailure", words);
        }),
        provider("a code that nobody knows", |world| refuses(world, 400, "SomethingNew", "Something is new.")),
        provider("a server error", |world| {
            refuses(world, 500, "InternalError", "An internal error has occurred");
        }),
        way("nobody listens", vec![("AWS_ENDPOINT_URL", format!("http://{nobody}"))]),
        way("a name that is not known", vec![("AWS_ENDPOINT_URL", "https://ec2.nowhere.invalid".to_owned())]),
        way("a certificate that nobody trusts", vec![("AWS_ENDPOINT_URL", tls.endpoint())]),
        way(
            "no TLS where https is expected",
            vec![(
                "AWS_ENDPOINT_URL",
                format!("https://localhost:{}", answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").port()),
            )],
        ),
        way("a proxy that is not there", through(nobody.to_owned())),
        way(
            "a proxy that refuses",
            through(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").to_string()),
        ),
        way("a connection that closes", at(answering(b""))),
        way("a page in the place of an answer", {
            at(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\nConnection: close\r\n\r\n<html>Sign in.</html>\n"))
        }),
        way("an error page of a proxy", {
            at(answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<h1>502</h1>"))
        }),
        way("an answer that is cut off", {
            at(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nConnection: close\r\n\r\n<DescribeSecurityGroup"))
        }),
        way("an answer whose end is missing", {
            at(answering(
                b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\nConnection: close\r\n\r\n<DescribeSecurityGroupsResponse",
            ))
        }),
        way("an answer that is not HTTP", at(answering(b"SSH-2.0-OpenSSH_9.2\r\n"))),
    ]
}

/// How many cases run at once: most of the time they wait.
const AT_ONCE: usize = 12;

#[test]
fn no_message_holds_an_sdks_internals() {
    let around = World::bare();
    let tls = Tls::start(around.dir());
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for some in cases(&tls).chunks(AT_ONCE) {
        thread::scope(|scope| {
            let runs: Vec<_> = some.iter().map(|case| scope.spawn(|| tell(case))).collect();
            for run in runs {
                let (told, found) = run.join().expect("the case runs to its end");
                text += &told;
                wrong.extend(found);
            }
        });
    }
    snapshot("plain_words", &without_ports(&text));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a start says, and what any command says as a program would.
fn tell(Case { name, world: change, run }: &Case) -> (String, Vec<String>) {
    let world = World::new();
    let group = world.group("prod-api-sg").to_owned();
    let resource = World::resource("prod-api-sg", &group, REGION, &["tcp/22"], "");
    world.write_config(&(world.config_head() + &resource));
    change(&world);
    let (mut text, mut wrong) = (String::new(), Vec::new());
    let start = ["session", "start", "--ipv4", IPV4, "--duration", "1h"];
    for args in [&start[..], &["doctor"], &["sweep", "--region", REGION]] {
        let outcome = run(world.here.command(args)).run();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let found = internals(&said);
        if !found.is_empty() {
            wrong.push(format!("{name}: eg {} says {found:?}:\n{said}", args.join(" ")));
        }
        if args == start {
            world.eg(&["session", "list", "--output", "json"]).name_all_but_rules();
            text += &format!("# {name}\n{}\n", readable(&outcome));
        }
    }
    (text, wrong)
}

/// The TLS server has a port and a name.
fn without_ports(text: &str) -> String {
    let text = Regex::new(r"localhost:\d+").unwrap().replace_all(text, "localhost:PORT").into_owned();
    // What a machine without a resolver says of a name is another sentence.
    Regex::new(r"failed to lookup address information: [A-Z][a-z ]+")
        .unwrap()
        .replace_all(&text, "failed to lookup address information: [RESOLVER] ")
        .into_owned()
}
