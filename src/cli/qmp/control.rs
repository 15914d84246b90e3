//! What commands act on: the machine, and the session that runs it.

use crate::machine::{Machine, Tick};

/// Whether guest time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum RunState {
    /// It does.
    #[default]
    Running,
    /// A client stopped the machine.
    Paused,
}

impl RunState {
    /// QEMU's word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

/// What clients want of the session.
#[derive(Debug, Default)]
pub(in crate::cli) struct Control {
    state: RunState,
    leaves: bool,
    /// When the keyboard has done all that was asked for.
    pub(super) keys_done: Tick,
    events: Vec<&'static str>,
}

impl Control {
    /// Whether guest time passes.
    pub(in crate::cli) fn state(&self) -> RunState {
        self.state
    }

    /// Whether the run is to end.
    pub(in crate::cli) fn leaves(&self) -> bool {
        self.leaves
    }

    /// Stops or continues the machine.
    pub(super) fn set_state(&mut self, state: RunState) {
        if std::mem::replace(&mut self.state, state) != state {
            self.events.push(match state {
                RunState::Running => "RESUME",
                RunState::Paused => "STOP",
            });
        }
    }

    /// Ends the run.
    pub(super) fn leave(&mut self) {
        self.leaves = true;
    }

    /// Has the client told of something without data.
    pub(super) fn tell(&mut self, event: &'static str) {
        self.events.push(event);
    }

    /// Takes the events that the client has to be told.
    pub(super) fn take_events(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.events)
    }
}

/// What a command acts on.
pub(super) struct Target<'a> {
    pub(super) machine: &'a mut Machine,
    pub(super) control: &'a mut Control,
}
