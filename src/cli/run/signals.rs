//! Signals that ask the program to end: the machine is then switched off and the terminal put back
//! as at any other end. A second signal has its usual effect at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Watches from now on. Errors: the host lets no signal be watched.
    pub(super) fn watch() -> io::Result<Self> {
        let (last, seen) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            // In this order: the first signal finds nothing seen yet.
            flag::register_conditional_default(signal, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
            flag::register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)?;
        }
        Ok(Self(last))
    }

    /// The number of the signal that came, if one did.
    pub(super) fn taken(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::SeqCst))
            .ok()
            .filter(|signal| *signal != 0)
    }
}
