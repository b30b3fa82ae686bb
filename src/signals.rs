//! Signals stop between steps. The first SIGINT, SIGTERM or SIGHUP asks the pass to finish the call in flight and
//! record it; the second leaves at once, which is safe too, as a crash is.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::AbortHandle,
};

/// Whether somebody asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    number: Arc<AtomicU8>,
    notify: Arc<Notify>,
    listener: Option<AbortHandle>,
}

/// What the first signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Asks,
    /// What is being undone is undone to its end, unless somebody insists.
    IsUnheeded,
}

impl Interrupt {
    /// Listens from now on. Must be called within the runtime.
    ///
    /// # Errors
    /// The operating system does not let us listen.
    pub fn listen() -> std::io::Result<Self> {
        Self::listening(First::Asks)
    }

    /// The same for work that has to come to its end: the first signal is not heeded.
    ///
    /// # Errors
    /// The operating system does not let us listen.
    pub fn listen_patiently() -> std::io::Result<Self> {
        Self::listening(First::IsUnheeded)
    }

    fn listening(first: First) -> std::io::Result<Self> {
        let mut interrupt = Self::default();
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        let heard = interrupt.clone();
        let listener = tokio::spawn(async move {
            let mut before = false;
            loop {
                let number = tokio::select! {
                    _ = int.recv() => 2,
                    _ = term.recv() => 15,
                    _ = hup.recv() => 1,
                };
                if std::mem::replace(&mut before, true) {
                    #[expect(clippy::disallowed_methods, reason = "the second signal leaves at once")]
                    std::process::exit(128 + i32::from(number));
                }
                if first == First::Asks {
                    heard.number.store(number, Ordering::SeqCst);
                    heard.notify.notify_waiters();
                }
            }
        });
        interrupt.listener = Some(listener.abort_handle());
        Ok(interrupt)
    }

    /// Stops listening: from now on signals are for somebody else in this process. Their default effect, to end it,
    /// does not come back.
    pub fn dismiss(&self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
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
