//! Shows a page on a terminal with `man`; without `man`, as plain text.

use super::{ManPage, unwritten};
use crate::{
    commands::context::{no_signals, runtime},
    error::CommandError,
    host::{
        child::{self, KeyDelivery, Signals},
        env::Env,
    },
    ui::printer::Printer,
};
use std::io;
use tokio::process::Command;

pub(super) fn on_terminal(env: &Env, printer: &Printer, page: &ManPage) -> Result<(), CommandError> {
    // `man` takes the section from the name of the file.
    let dir = tempfile::Builder::new().prefix("eg-man-").tempdir_in(env.temp_dir()).map_err(unwritten)?;
    let path = dir.path().join(&page.file);
    std::fs::write(&path, &page.source).map_err(unwritten)?;
    let runtime = runtime()?;
    let status = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(no_signals)?;
        let mut man = Command::new("man");
        man.arg(&path);
        Ok::<_, CommandError>(child::run(man, &mut signals, KeyDelivery::of(env)).await?)
    });
    if !matches!(status, Ok(0)) {
        printer.result(&page.text);
    }
    dir.close().or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(unwritten(error)) })
}
