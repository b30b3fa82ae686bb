//! The binary: nothing but the way from the process to [`eg::run`] and back.

use std::process::ExitCode;

fn main() -> ExitCode {
    let env = eg::Env::from_process();
    eg::run(&env, Box::new(std::io::stdout()), Box::new(std::io::stderr())).into()
}
