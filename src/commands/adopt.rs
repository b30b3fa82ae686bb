//! `eg state adopt`: makes the state file of another machine this machine's own.

use crate::{
    commands::context::Context,
    error::{CommandError, Exit, Kind},
};
use eg_state::Store;
use serde_json::json;

pub fn run(context: &Context<'_>) -> Result<Exit, CommandError> {
    let Some(machine) = context.env.machine.as_deref() else {
        return Err(CommandError::new(Kind::State, "this machine has no stable id to adopt a state file under")
            .hint("set EG_MACHINE to a name that only this machine has"));
    };
    let installation = Store::adopt(&context.state.path, machine, context.env.now())?;
    let path = context.state.path.display();
    context.printer.result(&format!("✓ {path} is this machine's now\n"));
    context.printer.json(&json!({"installation": installation.as_str(), "state": path.to_string()}));
    context.printer.progress("hint: close or repair what it holds with: eg reconcile");
    Ok(Exit::Done)
}
