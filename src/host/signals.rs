//! Signals stop between steps. The first SIGINT, SIGTERM or SIGHUP asks the pass to finish the call in flight and
//! record it; the second leaves at once, which is safe too, as a crash is. The first is heard by the runtime, the second by
//! the signal handler itself: something may block the runtime, and then nothing else would be left but SIGKILL.

use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    flag, low_level,
};
use std::sync::{
    Arc, Once,
    atomic::{AtomicBool, AtomicU8, Ordering},
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
    /// The handlers of the second signal.
    insisting: Vec<SigId>,
}

/// From now on, a write that would make a file larger than this process may (`ulimit -f`, `LimitFSIZE=`) fails like one on
/// a full disk. By default SIGXFSZ would end the process without a word. A handler that does nothing, and not SIG_IGN,
/// which programs that `eg` starts would inherit.
pub(crate) fn survive_file_size_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = flag::register(SIGXFSZ, Arc::default()) {
            tracing::warn!("a limit on file sizes would end this process: {error}");
        }
    });
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
        let mut interrupt = Self { insisting: leave_at_the_second()?, ..Self::default() };
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        let heard = interrupt.clone();
        let listener = tokio::spawn(async move {
            let number = tokio::select! {
                _ = int.recv() => 2,
                _ = term.recv() => 15,
                _ = hup.recv() => 1,
            };
            if first == First::Asks {
                heard.number.store(number, Ordering::SeqCst);
                heard.notify.notify_waiters();
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
        for id in &self.insisting {
            low_level::unregister(*id);
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

/// A second signal of any of the three ends the process in its handler. Of each signal the exit is registered first: the
/// first one finds the flag down, and puts it up.
fn leave_at_the_second() -> std::io::Result<Vec<SigId>> {
    let before = Arc::new(AtomicBool::new(false));
    let mut ids = Vec::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        ids.push(flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&before))?);
        ids.push(flag::register(signal, Arc::clone(&before))?);
    }
    Ok(ids)
}
