//! The binary: hands the process's environment and streams to [`eg::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let env = eg::Env::from_process();
    eg::run(&env, Box::new(std::io::stdout()), Box::new(std::io::stderr())).into()
}
