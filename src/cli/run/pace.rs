//! Keeping an idle guest in step with the wall clock, for a user who looks on.
//!
//! Guest time that passes while the CPU is halted costs the host nothing, so on a console it is
//! slept. A guest that lags behind, because it works, is not hurried later.

use std::time::{Duration, Instant};

use crate::machine::Tick;

/// A lag that is forgotten.
const FORGOTTEN: Duration = Duration::from_millis(20);
/// The longest sleep: keys shall not wait.
const NAP: Duration = Duration::from_millis(10);

/// Whether guest time is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pacing {
    /// As fast as the host can.
    Free,
    /// Not faster than the wall clock.
    Held,
}

/// Where guest and wall clock were when they were last in step.
#[derive(Debug)]
pub(super) struct Pace {
    pacing: Pacing,
    guest: Tick,
    wall: Instant,
}

impl Pace {
    /// In step from now on.
    pub(super) fn new(pacing: Pacing) -> Self {
        Self {
            pacing,
            guest: 0,
            wall: Instant::now(),
        }
    }

    /// Called after each slice: sleeps if guest time is ahead.
    pub(super) fn keep(&mut self, guest: Tick) {
        if self.pacing == Pacing::Free {
            return;
        }
        let passed = Duration::from_nanos(guest.saturating_sub(self.guest));
        let elapsed = self.wall.elapsed();
        match passed.checked_sub(elapsed) {
            Some(ahead) => std::thread::sleep(ahead.min(NAP)),
            None if elapsed - passed > FORGOTTEN => {
                self.guest = guest;
                self.wall = Instant::now();
            }
            None => {}
        }
    }
}
