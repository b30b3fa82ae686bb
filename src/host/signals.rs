//! Signals stop a pass between steps. The first SIGINT, SIGTERM or SIGHUP asks the pass to finish the call in flight and
//! record it. The second ends the process at once, which is as safe as a crash. The runtime handles the first; the signal
//! handler itself handles the second, since a blocked runtime could otherwise be ended by SIGKILL alone.

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

/// A request to stop, once a signal has made it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    number: Arc<AtomicU8>,
    notify: Arc<Notify>,
    listener: Option<AbortHandle>,
    /// The handlers of the second signal.
    second: Vec<SigId>,
}

/// From now on, a write beyond the limit on file sizes (`ulimit -f`, `LimitFSIZE=`) fails like a write on a full disk; by
/// default SIGXFSZ would end the process without a message. The handler does nothing. SIG_IGN would do, but programs that
/// `eg` starts would inherit it.
pub(crate) fn survive_file_size_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = flag::register(SIGXFSZ, Arc::default()) {
            tracing::warn!("a limit on file sizes would end this process: {error}");
        }
    });
}

impl Interrupt {
    /// Listens from now on. Must be called within the runtime.
    pub fn listen() -> std::io::Result<Self> {
        Self::listening(true)
    }

    /// Like [`Self::listen`], but ignores the first signal: for work that has to be done to its end.
    pub fn listen_patiently() -> std::io::Result<Self> {
        Self::listening(false)
    }

    fn listening(first_stops: bool) -> std::io::Result<Self> {
        let mut interrupt = Self { second: end_at_the_second()?, ..Self::default() };
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
            if first_stops {
                heard.number.store(number, Ordering::SeqCst);
                heard.notify.notify_waiters();
            }
        });
        interrupt.listener = Some(listener.abort_handle());
        Ok(interrupt)
    }

    /// Stops listening: from now on another part of the process handles signals. Their default effect, to end the process,
    /// does not come back.
    pub fn dismiss(&self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        for id in &self.second {
            low_level::unregister(*id);
        }
    }

    /// The signal that asked to stop, if one did.
    pub fn asked(&self) -> Option<u8> {
        Some(self.number.load(Ordering::SeqCst)).filter(|number| *number != 0)
    }

    /// Returns once a signal has asked to stop.
    pub async fn wait(&self) {
        let heard = self.notify.notified();
        if self.asked().is_none() {
            heard.await;
        }
    }
}

/// Lets the second signal, whichever of the three, end the process in its handler. For each signal the exit is registered
/// before the flag: the first signal finds the flag unset, and sets it.
fn end_at_the_second() -> std::io::Result<Vec<SigId>> {
    let before = Arc::new(AtomicBool::new(false));
    let mut ids = Vec::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        ids.push(flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&before))?);
        ids.push(flag::register(signal, Arc::clone(&before))?);
    }
    Ok(ids)
}
