//! How a run ends, and the exit status that tells it.

use std::process::ExitCode;

/// The status of a triple fault.
const TRIPLE_FAULT: u8 = 70;
/// The status of a run that met its time limit, as timeout(1) has it.
const TIME_LIMIT: u8 = 124;
/// To this the number of a signal is added, as shells do.
const SIGNALS: u8 = 128;

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Ending {
    /// The guest switched the machine off.
    PowerOff,
    /// The machine was reset under `--no-reboot`.
    Reset,
    /// The guest wrote this to the debug exit port.
    DebugExit(u32),
    /// The CPU shut down.
    TripleFault,
    /// The guest used an instruction that is missing here.
    Unimplemented,
    /// The time limit came first.
    TimeLimit,
    /// The user left.
    Left,
    /// This signal asked for the end.
    Signal(u8),
    /// A client on the QMP socket asked for the end.
    Quit,
}

impl Ending {
    /// The exit status.
    pub(in crate::cli) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::PowerOff | Self::Reset | Self::Left | Self::Quit => 0,
            Self::DebugExit(value) => (value << 1 | 1) as u8,
            Self::TripleFault => TRIPLE_FAULT,
            Self::Unimplemented => 1,
            Self::TimeLimit => TIME_LIMIT,
            Self::Signal(number) => SIGNALS | number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_exit_gives_an_odd_status() {
        let code = |value| format!("{:?}", Ending::DebugExit(value).code());
        assert_eq!(code(21), format!("{:?}", ExitCode::from(43)));
        assert_eq!(code(0), format!("{:?}", ExitCode::from(1)));
    }
}
