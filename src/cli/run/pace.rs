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
    /// With the wall clock: a lag is made up for, since guest time is set by it.
    Exact,
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

    /// The guest time that the wall clock shows.
    pub(super) fn wall_tick(&self) -> Tick {
        let elapsed = Tick::try_from(self.wall.elapsed().as_nanos());
        self.guest.saturating_add(elapsed.unwrap_or(Tick::MAX))
    }

    /// Leaves out host time that passed while the machine was stopped.
    pub(super) fn leave_out(&mut self, time: Duration) {
        self.wall += time;
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
            None if self.pacing == Pacing::Held && elapsed - passed > FORGOTTEN => {
                self.guest = guest;
                self.wall = Instant::now();
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Tick = 1_000_000;

    fn time(work: impl FnOnce()) -> Duration {
        let start = Instant::now();
        work();
        start.elapsed()
    }

    #[test]
    fn an_exact_clock_sleeps_only_for_what_is_ahead_of_it_also_after_a_lag() {
        let mut pace = Pace::new(Pacing::Exact);
        std::thread::sleep(Duration::from_millis(50));
        pace.keep(MS);
        // Guest time is brought to the wall clock, and is not ahead by that.
        let tick = pace.wall_tick();
        assert!(tick >= 50 * MS);
        assert!(time(|| pace.keep(tick)) < Duration::from_millis(5));
        let ahead = pace.wall_tick() + 8 * MS;
        assert!(time(|| pace.keep(ahead)) >= Duration::from_millis(6));
    }

    #[test]
    fn time_that_is_left_out_shows_nowhere() {
        let mut pace = Pace::new(Pacing::Exact);
        let pause = Duration::from_millis(30);
        std::thread::sleep(pause);
        pace.leave_out(pause);
        assert!(pace.wall_tick() < 25 * MS);
    }
}
