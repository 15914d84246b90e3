//! Which requests are under way.
//!
//! A cluster that nothing refers to any more may still be read or written by a request that looked
//! it up before. So each request passes a gate, and whoever wants to use such clusters again waits
//! until every gate has been free once: then no request is left that began earlier. There are
//! several gates, so that threads do not pull one cache line to and fro.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{RwLock, RwLockReadGuard, TryLockError};

const GATES: usize = 8;

/// The requests under way to one image.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    gates: [Gate; GATES],
}

/// On cache lines of its own, also where the processor fetches them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Gate(RwLock<()>);

/// Hands threads their gates in turn.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The gate of this thread.
    static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % GATES);
}

impl InFlight {
    /// A request begins; it ends when the guard is dropped.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        let [first, ..] = &self.gates;
        let gate = self.gates.get(OWN.get()).unwrap_or(first);
        gate.0.read().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits until every request that has begun has ended. Not to be called by one.
    pub(super) fn wait(&self) {
        for gate in &self.gates {
            drop(gate.0.write());
        }
    }

    /// Whether every request that had begun has ended, without waiting.
    pub(super) fn have_ended(&self) -> bool {
        let mut gates = self.gates.iter();
        gates.all(|gate| !matches!(gate.0.try_write(), Err(TryLockError::WouldBlock)))
    }
}
