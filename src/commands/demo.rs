//! `eg demo`: runs the real commands one after another against the sandbox, and shows the open rules in between. The rules
//! come from the sandbox itself, not from `eg`.

use crate::{
    commands::{
        context::{block_on, listen},
        global::Global,
    },
    demo::{
        ADDRESS, Demo, OpenRule,
        child::{self, ChildOutcome, Streams},
    },
    error::{CommandError, Exit, Kind},
    host::{env::Env, signals::Interrupt},
    ui::{
        printer::Printer,
        style,
        table::{Cell, Table},
    },
};
use eg_model::text::{escape_controls, shell_quoted};
use eg_state::Store;
use serde_json::{Value, json};

/// Fails if a command does not end as it should, or if the rules are not as before at the end.
pub fn run(env: &Env, printer: &Printer, global: &Global) -> Result<Exit, CommandError> {
    global.no_files_named("demo")?;
    block_on(async {
        let interrupt = listen()?; // before there is something to remove
        let demo = Demo::open(env)?;
        let shown = show(env, printer, &demo, interrupt).await;
        let closed = demo.close();
        shown.and(closed).map(|()| Exit::Done)
    })
}

async fn show(env: &Env, printer: &Printer, demo: &Demo, interrupt: Interrupt) -> Result<(), CommandError> {
    let before = demo.rules();
    let mut tour = Tour { env, printer, demo, interrupt, title: "", chapters: 0, steps: Vec::new() };
    let walked = tour.walk().await;
    let as_before = demo.rules() == before;
    printer.json(&json!({"steps": tour.steps, "asBefore": as_before}));
    walked?;
    if !as_before {
        return Err(CommandError::new(Kind::Sandbox, "the rules are not as they were before the session"));
    }
    printer.result(&styled(style::GOOD, "✓ Every rule is as it was before; the one made by hand was never touched."));
    printer.result("\n\nTo try it yourself, in a shell that sees nothing but such a sandbox:\n\n");
    printer.result(&format!("{}\n{}\n", prompt(&as_called(env), &["sandbox", "--", "bash"]), prompt("eg", &START)));
    Ok(())
}

/// This program as the user called it: it may not be in `PATH`.
fn as_called(env: &Env) -> String {
    env.args.first().map_or("eg".to_owned(), |name| escape_controls(&name.to_string_lossy()))
}

/// The command that starts the session.
const START: [&str; 6] = ["session", "start", "--ipv4", ADDRESS, "--duration", "8h"];

const INTRODUCTION: &str = "\
eg opens cloud firewalls to your address for a limited time, and closes them
again. Here the real commands run against a sandbox: an EC2-compatible endpoint
on this machine, without an account and without the internet.

";

struct Tour<'a> {
    env: &'a Env,
    printer: &'a Printer,
    demo: &'a Demo,
    interrupt: Interrupt,
    title: &'static str,
    chapters: usize,
    steps: Vec<Value>,
}

impl Tour<'_> {
    async fn walk(&mut self) -> Result<(), CommandError> {
        self.printer.result(INTRODUCTION);
        self.chapter("Three security groups; one holds a rule that somebody made by hand");
        self.look();
        self.chapter("cron would run this every minute, to close on time; nothing is due yet");
        self.eg(&["reconcile", "--timer"]).await?;
        self.chapter("Open all three for eight hours; without --ipv4, eg finds your address itself");
        self.eg(&START).await?;
        self.show_rules();
        let id = self.session()?;
        self.chapter("See what is open, and for how long");
        self.eg(&["session", "list"]).await?;
        self.eg(&["session", "get", &id]).await?;
        self.chapter("Stay two hours longer");
        self.eg(&["session", "extend", &id, "--hours", "2"]).await?;
        self.chapter("Somebody deletes a rule of ours by hand; the next reconcile repairs it");
        let deleted = self.delete("prod-db-sg")?;
        self.eg(&["reconcile"]).await?;
        self.find_again(&deleted)?;
        self.chapter("Close everything");
        self.eg(&["session", "stop"]).await?;
        self.show_rules();
        Ok(())
    }

    fn chapter(&mut self, title: &'static str) {
        self.title = title;
        self.chapters += 1;
        self.printer.result(&styled(style::TITLE, &format!("{}. {title}", self.chapters)));
        self.printer.result("\n\n");
    }

    /// Adds a step to the JSON, with the rules that are open after it.
    fn step(&mut self, command: Option<&[&str]>, ended: Option<&ChildOutcome>) {
        let rules: Vec<Value> = self.demo.rules().iter().map(rule_json).collect();
        self.steps.push(json!({
            "title": self.title,
            "command": command.map(|args| [&["eg"], args].concat()),
            "exitStatus": ended.and_then(|ended| ended.status),
            "stdout": ended.map(|ended| &ended.stdout),
            "stderr": ended.map(|ended| &ended.stderr),
            "rules": rules,
        }));
    }

    /// Runs a command, and shows it with its output.
    async fn eg(&mut self, args: &[&str]) -> Result<(), CommandError> {
        self.printer.result(&format!("{}\n", prompt("eg", args)));
        let streams = if self.printer.is_json() { Streams::Apart } else { Streams::Together };
        let ended = child::run(self.env, self.demo, args, streams).await?;
        self.printer.result(&format!("{}\n", ended.stdout));
        self.step(Some(args), Some(&ended));
        // Only between commands: a running one may still write to the files that are about to be removed.
        if let Some(number) = self.interrupt.asked() {
            let message = "stopped by a signal; the sandbox and its files are gone";
            return Err(CommandError::new(Kind::Signal(number), message));
        }
        match ended.status {
            Some(0) => Ok(()),
            status => {
                let how = status.map_or("by a signal".to_owned(), |status| format!("with exit status {status}"));
                Err(CommandError::new(Kind::Sandbox, format!("`eg {}` ended {how}", args.join(" "))))
            }
        }
    }

    fn look(&mut self) {
        self.show_rules();
        self.step(None, None);
    }

    fn show_rules(&self) {
        let mut table = Table::new(["GROUP", "PORTS", "SOURCE", "DESCRIPTION"]);
        let rules = self.demo.rules();
        for (group, _) in self.demo.groups() {
            let mut here = rules.iter().filter(|rule| rule.group == *group).peekable();
            if here.peek().is_none() {
                table.row([Cell::from(*group), Cell::styled("closed", style::ENDED)]);
            }
            for open in here {
                let description = open.rule.description.clone().unwrap_or_default();
                table.row([Cell::from(*group), open.ports().into(), open.source().into(), description.into()]);
            }
        }
        self.printer.result(&format!("{}\n", table.render()));
    }

    /// The short id of the session.
    fn session(&self) -> Result<String, CommandError> {
        let store = Store::open_read_only(&self.demo.state())?;
        let live = store.map(|store| store.live_sessions()).transpose()?.unwrap_or_default();
        let none = || CommandError::new(Kind::Sandbox, "the session is not on record");
        live.first().map(|session| session.id.short()).ok_or_else(none)
    }

    /// Deletes the first rule of a group, as its owner would in the console.
    fn delete(&mut self, group: &str) -> Result<OpenRule, CommandError> {
        let none = || CommandError::new(Kind::Sandbox, format!("nothing is open in {group}"));
        let open = self.demo.rules().into_iter().find(|rule| rule.group == group).ok_or_else(none)?;
        self.demo.delete_by_hand(&open)?;
        self.change(style::BAD, '-', &open);
        self.step(None, None);
        Ok(open)
    }

    /// Finds and shows the rule that was opened again in place of the deleted one.
    fn find_again(&self, deleted: &OpenRule) -> Result<(), CommandError> {
        let same = |open: &OpenRule| open.group == deleted.group && open.rule.permission == deleted.rule.permission;
        let missing = || CommandError::new(Kind::Sandbox, format!("{} was not opened again", deleted.rule.id));
        let open = self.demo.rules().into_iter().find(same).ok_or_else(missing)?;
        self.change(style::GOOD, '+', &open);
        Ok(())
    }

    fn change(&self, style: anstyle::Style, sign: char, open: &OpenRule) {
        let line = format!("{sign} {} {} from {} ({})", open.group, open.ports(), open.source(), open.rule.id);
        self.printer.result(&format!("{}\n\n", styled(style, &line)));
    }
}

fn styled(style: anstyle::Style, text: &str) -> String {
    Cell::styled(text, style).render()
}

/// A command line to repeat.
fn prompt(program: &str, args: &[&str]) -> String {
    let words: Vec<_> = [&[program], args].concat().into_iter().map(shell_quoted).collect();
    styled(style::COMMAND, &format!("$ {}", words.join(" ")))
}

fn rule_json(open: &OpenRule) -> Value {
    let rule = &open.rule;
    json!({
        "resourceName": open.group,
        "resourceId": rule.group,
        "ruleId": rule.id,
        "permission": {
            "protocol": rule.permission.protocol,
            "fromPort": rule.permission.from,
            "toPort": rule.permission.to,
            "cidr": open.source(),
        },
        "description": rule.description,
        "tags": rule.tags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::context::runtime;
    use crate::ui::printer::Style;
    use std::io::sink;

    /// The tour with another program in the place of `eg`.
    fn with(program: &str) -> CommandError {
        let mut env = Env::from_process();
        env.program = program.into();
        let style = Style { json: false, quiet: false, color_out: false, color_err: false };
        let printer = Printer::new(style, Box::new(sink()), Box::new(sink()));
        let walk = async {
            let demo = Demo::open(&env)?;
            show(&env, &printer, &demo, Interrupt::default()).await
        };
        runtime().unwrap().block_on(walk).unwrap_err()
    }

    #[test]
    fn a_command_that_does_not_do_its_work_ends_the_tour() {
        for (program, why) in [
            ("false", "`eg reconcile --timer` ended with exit status 1"),
            ("true", "the session is not on record"),
            ("/nowhere/eg", "`eg reconcile --timer` cannot be run: No such file or directory (os error 2)"),
        ] {
            let error = with(program);
            assert_eq!((error.kind, error.message.as_str()), (Kind::Sandbox, why));
        }
    }
}
