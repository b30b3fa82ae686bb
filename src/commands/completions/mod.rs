//! `eg completions`: prints the script that makes a shell ask [`answer`].

pub mod answer;

use crate::{
    commands::completions::answer::{ASKS, shell},
    error::{CommandError, Exit, Kind},
    host::env::Env,
    ui::printer::Printer,
};
use clap::ValueEnum;
use std::path::Path;

/// Print the script that lets your shell complete commands, sessions and resources
///
/// The script asks eg itself, which reads the configuration and the record, and nothing else.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Put one of these lines where your shell starts:
  bash        ~/.bashrc:                   source <(eg completions bash)
  zsh         ~/.zshrc, after compinit:    source <(eg completions zsh)
  fish        ~/.config/fish/config.fish:  eg completions fish | source
  powershell  $PROFILE:                    eg completions powershell | Out-String | Invoke-Expression")]
pub struct CompletionsArgs {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
    /// PowerShell.
    Powershell,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Powershell => "powershell",
        }
    }
}

pub fn run(env: &Env, printer: &Printer, args: &CompletionsArgs) -> Result<Exit, CommandError> {
    let name = args.shell.name();
    let failed = |why: &str| CommandError::new(Kind::Usage, format!("there is no completion for {name}: {why}"));
    let shell = shell(name).ok_or_else(|| failed("it is not known"))?;
    let mut script = Vec::new();
    shell
        .write_registration(ASKS, "eg", "eg", &called(env), &mut script)
        .map_err(|error| failed(&error.to_string()))?;
    printer.verbatim(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

/// The name by which the script calls this program. If it was called by a bare name, the script uses that name too, and so
/// finds an update elsewhere in `PATH`.
fn called(env: &Env) -> String {
    let by_name = env.args.first().filter(|name| Path::new(name).components().count() == 1);
    let name = by_name.map_or_else(|| env.absolute(&env.program).into_os_string(), Clone::clone);
    name.to_string_lossy().into_owned()
}
