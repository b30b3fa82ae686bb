//! Signals stop between steps. The first SIGINT, SIGTERM or SIGHUP asks the pass to finish the call in flight and
//! record it; the second leaves at once, which is safe too, as a crash is.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// Whether somebody asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    number: Arc<AtomicU8>,
    notify: Arc<Notify>,
}

impl Interrupt {
    /// Listens from now on. Must be called within the runtime.
    ///
    /// # Errors
    /// The operating system does not let us listen.
    pub fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        let heard = interrupt.clone();
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    _ = int.recv() => 2,
                    _ = term.recv() => 15,
                    _ = hup.recv() => 1,
                };
                if heard.number.swap(number, Ordering::SeqCst) != 0 {
                    #[expect(clippy::disallowed_methods, reason = "the second signal leaves at once")]
                    std::process::exit(128 + i32::from(number));
                }
                heard.notify.notify_waiters();
            }
        });
        Ok(interrupt)
    }

    /// The signal that asked, if one did.
    #[must_use]
    pub fn asked(&self) -> Option<u8> {
        Some(self.number.load(Ordering::SeqCst)).filter(|number| *number != 0)
    }

    /// Returns once a signal asked.
    pub async fn wait(&self) {
        let heard = self.notify.notified();
        if self.asked().is_none() {
            heard.await;
        }
    }
}
