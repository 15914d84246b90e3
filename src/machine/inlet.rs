//! The inlet: the one way by which anything from outside enters the machine.
//!
//! Each event carries the tick at which it takes effect; of two at the same tick the one that
//! came first acts first. So a run is determined by its configuration and this list, and
//! recording a run is keeping the list.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::bus::{NEVER, Tick};
use crate::devices::cmos::UnixSeconds;
use crate::devices::ps2::Key;

/// Something that happens outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A byte arrives on the first serial port.
    Serial(u8),
    /// A key goes down.
    KeyDown(Key),
    /// A key comes up.
    KeyUp(Key),
    /// The power button is pressed.
    PowerButton,
    /// The reset button is pressed.
    ResetButton,
    /// It is this date outside.
    Date(UnixSeconds),
    /// So much time has passed outside since power-on: guest time is at least this.
    HostClock(Tick),
}

/// An event and when it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// The tick.
    pub at: Tick,
    /// The event.
    pub event: Event,
}

/// Whether the events are kept after they took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recording {
    /// They are forgotten.
    #[default]
    Off,
    /// They are kept for [`Inlet::recorded`].
    On,
}

/// The queue of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inlet {
    waiting: VecDeque<Stamped>,
    #[serde(skip)]
    recording: Recording,
    #[serde(skip)]
    recorded: Vec<Stamped>,
}

impl Inlet {
    /// Queues `event` for tick `at`. One that comes too late takes effect at once.
    pub fn push(&mut self, at: Tick, event: Event) {
        let place = self.waiting.partition_point(|waiting| waiting.at <= at);
        self.waiting.insert(place, Stamped { at, event });
    }

    /// When the next event takes effect; [`NEVER`] if none waits.
    pub fn next_tick(&self) -> Tick {
        self.waiting.front().map_or(NEVER, |stamped| stamped.at)
    }

    /// Takes the next event that is due by `now`.
    pub fn take_due(&mut self, now: Tick) -> Option<Event> {
        if self.next_tick() > now {
            return None;
        }
        let stamped = self.waiting.pop_front()?;
        if self.recording == Recording::On {
            // What came late is written down as it was: with the tick at which it acted.
            self.recorded.push(Stamped { at: now, ..stamped });
        }
        Some(stamped.event)
    }

    /// Starts or stops keeping what takes effect from now on.
    pub fn set_recording(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// What took effect while recording, in order: pushed into the inlet of a machine in the
    /// same state, it makes the same run.
    pub fn recorded(&self) -> &[Stamped] {
        &self.recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_take_effect_by_tick_and_ties_in_the_order_of_arrival() {
        let mut inlet = Inlet::default();
        for (at, byte) in [(20, b'c'), (10, b'a'), (20, b'd'), (10, b'b')] {
            inlet.push(at, Event::Serial(byte));
        }
        assert_eq!(inlet.next_tick(), 10);
        assert_eq!(inlet.take_due(9), None);
        let order: Vec<Event> = std::iter::from_fn(|| inlet.take_due(30)).collect();
        assert_eq!(order, [b'a', b'b', b'c', b'd'].map(Event::Serial));
        assert_eq!(inlet.next_tick(), NEVER);
    }

    #[test]
    fn a_recording_holds_the_tick_at_which_each_event_acted() {
        let mut inlet = Inlet::default();
        inlet.set_recording(Recording::On);
        inlet.push(5, Event::PowerButton);
        inlet.take_due(7);
        let acted = Stamped {
            at: 7,
            event: Event::PowerButton,
        };
        assert_eq!(inlet.recorded(), [acted]);
    }
}
