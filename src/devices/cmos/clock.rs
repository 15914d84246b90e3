//! The date of the real-time clock as a function of guest time.

use serde::{Deserialize, Serialize};

use super::calendar::{Calendar, UnixSeconds};
use crate::bus::{NEVER, TICKS_PER_SECOND, Tick};

/// A date that runs with the ticks, or is held while the guest sets it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum WallClock {
    /// The date was `seconds` at tick `since`; a new second begins every
    /// [`TICKS_PER_SECOND`] from there.
    Running { since: Tick, seconds: UnixSeconds },
    /// The fields as the guest writes them, and how far the second had come.
    Held { date: Calendar, phase: Tick },
}

impl WallClock {
    pub(super) fn set(now: Tick, seconds: UnixSeconds) -> Self {
        Self::Running {
            since: now,
            seconds,
        }
    }

    /// Sets the date and keeps on running or holding.
    pub(super) fn reset(&mut self, now: Tick, to: UnixSeconds) {
        match self {
            Self::Running { since, seconds } => (*since, *seconds) = (now, to),
            Self::Held { date, .. } => *date = Calendar::at(to),
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    pub(super) fn seconds(&self, now: Tick) -> UnixSeconds {
        match self {
            Self::Running { since, seconds } => {
                seconds + now.saturating_sub(*since) / TICKS_PER_SECOND
            }
            Self::Held { date, .. } => date.seconds(),
        }
    }

    pub(super) fn date(&self, now: Tick) -> Calendar {
        match self {
            Self::Running { .. } => Calendar::at(self.seconds(now)),
            Self::Held { date, .. } => *date,
        }
    }

    /// Replaces the date without moving the beginning of the next second.
    pub(super) fn set_date(&mut self, now: Tick, to: Calendar) {
        match self {
            Self::Running { since, seconds } => {
                *since = now - now.saturating_sub(*since) % TICKS_PER_SECOND;
                *seconds = to.seconds();
            }
            Self::Held { date, .. } => *date = to,
        }
    }

    pub(super) fn hold(&mut self, now: Tick) {
        if let Self::Running { since, .. } = self {
            *self = Self::Held {
                phase: now.saturating_sub(*since) % TICKS_PER_SECOND,
                date: self.date(now),
            };
        }
    }

    pub(super) fn run(&mut self, now: Tick) {
        if let Self::Held { date, phase } = self {
            *self = Self::Running {
                since: now.saturating_sub(*phase),
                seconds: date.seconds(),
            };
        }
    }

    /// How long until the seconds move; `None` while held.
    pub(super) fn ticks_to_update(&self, now: Tick) -> Option<Tick> {
        match self {
            Self::Running { since, .. } => {
                Some(TICKS_PER_SECOND - now.saturating_sub(*since) % TICKS_PER_SECOND)
            }
            Self::Held { .. } => None,
        }
    }

    /// The tick at which the date becomes `seconds`; [`NEVER`] while held.
    pub(super) fn tick_of(&self, at: UnixSeconds) -> Tick {
        match self {
            Self::Running { since, seconds } => at
                .saturating_sub(*seconds)
                .saturating_mul(TICKS_PER_SECOND)
                .saturating_add(*since),
            Self::Held { .. } => NEVER,
        }
    }
}
