//! A machine and its user: slices of guest time, and between them what goes in and out.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::ending::Ending;
use super::pace::{Pace, Pacing};
use super::script::{self, Script};
use super::serial::{SerialPort, SerialTarget};
use super::signals::Signals;
use crate::cli::console::{Decoder, HELP, Input, Painter, Prefix, RawTerminal, Typed};
use crate::cli::qmp::{Control, Qmp, RunState, ShutdownReason};
use crate::cli::unix_socket::SocketAddress;
use crate::machine::{Event, Machine, Outcome, ResetCause, TICKS_PER_SECOND, Tick};

/// How often the outside is looked at, in guest time.
const SLICE: Tick = TICKS_PER_SECOND / 1000;
/// How long guest time stands still before those who read are looked at again.
const CONGESTION: Duration = Duration::from_millis(1);
/// How often the screen is painted, in host time.
const FRAME: Duration = Duration::from_millis(30);
/// How long a stopped machine waits for somebody to say something, before it looks elsewhere.
const PAUSE: Duration = Duration::from_millis(10);
/// The time that a character takes on a line of 115,200 baud.
const CHARACTER: Tick = 10 * TICKS_PER_SECOND / 115_200;
/// No more is taken from outside for the serial line while so much guest time is full of it.
const LINE_AHEAD: Tick = TICKS_PER_SECOND / 10;
/// The time between two chords that are typed at once, as when a text is pasted.
const CHORD: Tick = TICKS_PER_SECOND / 100;

/// What is shown of the machine's screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Display {
    /// The terminal, if there is one.
    Auto,
    /// The terminal.
    Terminal,
    /// Nothing.
    None,
}

/// How fast guest time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum ClockMode {
    /// By instructions alone: the same inputs make the same run.
    #[default]
    Virtual,
    /// At least as fast as the host's clock.
    Host,
}

/// What a triple fault does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum TripleFault {
    /// The run ends with a dump, status 70.
    #[default]
    Stop,
    /// The machine is reset, as a PC is.
    Reset,
}

/// Where keys and bytes go that are typed on stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyboard {
    /// The PS/2 keyboard.
    Keys,
    /// The serial line.
    Serial,
}

/// The terminal or pipe in front of the machine.
struct Console {
    /// Raw while the session lasts; `None` if there is no terminal.
    terminal: Option<RawTerminal>,
    input: Option<Input>,
    keyboard: Keyboard,
    prefix: Prefix,
    decoder: Decoder,
    painter: Option<Painter>,
    painted: Instant,
}

impl Console {
    /// Sets the terminal up for `display` and the serial line.
    fn open(display: Display, serial: &SerialTarget) -> io::Result<Self> {
        let shows_screen = match display {
            Display::Auto => RawTerminal::is_available(),
            Display::Terminal => true,
            Display::None => false,
        };
        let on_serial = *serial == SerialTarget::Stdio;
        let wanted = shows_screen || on_serial;
        let terminal = match wanted && RawTerminal::is_available() {
            true => Some(RawTerminal::enter()?),
            false if shows_screen => {
                return Err(io::Error::other(
                    "--display terminal needs a terminal on stdin and stdout",
                ));
            }
            false => None,
        };
        if shows_screen && let Some(terminal) = &terminal {
            terminal.take_screen()?;
        }
        Ok(Self {
            terminal,
            input: wanted.then(Input::start).transpose()?,
            keyboard: if shows_screen {
                Keyboard::Keys
            } else {
                Keyboard::Serial
            },
            prefix: Prefix::default(),
            decoder: Decoder::default(),
            painter: shows_screen.then(Painter::new),
            painted: Instant::now(),
        })
    }

    fn paint(&mut self, machine: &Machine) -> io::Result<()> {
        let (Some(painter), Some(terminal)) = (&mut self.painter, &self.terminal) else {
            return Ok(());
        };
        if self.painted.elapsed() < FRAME {
            return Ok(());
        }
        self.painted = Instant::now();
        let changes = painter.paint(&machine.screen(), terminal.size());
        let mut out = io::stdout().lock();
        out.write_all(changes.as_bytes())?;
        out.flush()
    }

    /// Shows the help, over whatever is on the terminal.
    fn help(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if let Some(painter) = &mut self.painter {
            painter.invalidate();
            out.write_all(b"\x1b[0m\x1b[2J\x1b[H")?;
        }
        out.write_all(HELP.as_bytes())?;
        out.flush()?;
        // The screen comes back with the next frame but one: there is time to read.
        self.painted = Instant::now() + Duration::from_secs(3);
        Ok(())
    }
}

/// A running machine with everything around it.
pub(in crate::cli) struct Session {
    machine: Machine,
    serial: SerialPort,
    debug_console: SerialPort,
    console: Console,
    script: Script,
    pace: Pace,
    clock: ClockMode,
    started: Instant,
    limit: Option<Duration>,
    qmp: Option<Qmp>,
    control: Control,
    /// When the line is free for the next character that is sent to the guest.
    line_free: Tick,
    /// When the keyboard is free for the next chord.
    keyboard_free: Tick,
    signals: Signals,
}

impl Session {
    /// A session with a machine that is assembled and not started. Errors: the host cannot set
    /// up the serial line or the terminal.
    pub(in crate::cli) fn new(
        machine: Machine,
        display: Display,
        serial: &SerialTarget,
    ) -> Result<Self, Box<dyn Error>> {
        let port = SerialPort::open(serial).map_err(|e| format!("--serial: {e}"))?;
        let console = Console::open(display, serial)?;
        let pacing = match console.terminal {
            Some(_) => Pacing::Held,
            None => Pacing::Free,
        };
        Ok(Self {
            machine,
            serial: port,
            debug_console: SerialPort::None,
            console,
            script: Script::default(),
            pace: Pace::new(pacing),
            clock: ClockMode::Virtual,
            started: Instant::now(),
            limit: None,
            qmp: None,
            control: Control::default(),
            line_free: 0,
            keyboard_free: 0,
            signals: Signals::watch()?,
        })
    }

    /// Adds a conversation with the serial line.
    pub(super) fn with_script(self, script: Script) -> Self {
        Self { script, ..self }
    }

    /// Ends the run after so much host time.
    pub(in crate::cli) fn with_limit(self, limit: Option<Duration>) -> Self {
        Self { limit, ..self }
    }

    /// Shows what is written to the debug console. Errors: the host cannot set that up.
    pub(super) fn with_debug_console(self, target: &SerialTarget) -> Result<Self, Box<dyn Error>> {
        let debug_console = SerialPort::open(target).map_err(|e| format!("--debugcon: {e}"))?;
        Ok(Self {
            debug_console,
            ..self
        })
    }

    /// Lets clients control the machine over a socket. Errors: something else is at the address.
    pub(super) fn with_qmp(self, address: &SocketAddress) -> Result<Self, Box<dyn Error>> {
        let qmp = Qmp::start(address).map_err(|e| format!("--qmp: {e}"))?;
        let qmp = Some(qmp);
        Ok(Self { qmp, ..self })
    }

    /// Chooses the clock.
    pub(super) fn with_clock(self, clock: ClockMode) -> Self {
        let pace = match clock {
            ClockMode::Host => Pace::new(Pacing::Exact),
            ClockMode::Virtual => self.pace,
        };
        Self {
            clock,
            pace,
            ..self
        }
    }

    /// Types `text` on the serial line when it has said `prompt`, a regular expression.
    pub(in crate::cli) fn with_answer(
        self,
        prompt: &str,
        text: &str,
    ) -> Result<Self, regex::Error> {
        let step = (script::pattern(prompt)?, text.as_bytes().to_vec());
        Ok(self.with_script(Script::new([step])))
    }

    /// Runs until the guest or the user is done. Errors: stdout or the serial file takes no
    /// more.
    pub(in crate::cli) fn run(&mut self) -> Result<Ending, Box<dyn Error>> {
        let ending = self.run_to_the_end();
        self.serial.finish();
        self.debug_console.finish();
        if let Some(qmp) = self.qmp.take() {
            qmp.close(shutdown_reason(ending.as_ref().ok(), &mut self.machine));
        }
        ending
    }

    fn run_to_the_end(&mut self) -> Result<Ending, Box<dyn Error>> {
        loop {
            let outcome = match self.control.state() {
                RunState::Running if self.is_congested() => wait_for_readers(),
                RunState::Running => self.run_slice(),
                RunState::Paused => self.pause(),
            };
            self.carry_serial()?;
            self.console.paint(&self.machine)?;
            for notice in self.machine.take_notices() {
                eprintln!("cowbox: {notice}");
            }
            if let Some(ending) = ending_of(outcome) {
                return Ok(ending);
            }
            if self.limit.is_some_and(|l| self.started.elapsed() >= l) {
                return Ok(Ending::TimeLimit);
            }
            if let Some(signal) = self.signals.taken() {
                return Ok(Ending::Signal(signal));
            }
            if self.take_input()? == Typed::Leave {
                return Ok(Ending::Left);
            }
            self.serve_qmp();
            if self.control.leaves() {
                return Ok(Ending::Quit);
            }
        }
    }

    /// Lets guest time pass.
    fn run_slice(&mut self) -> Outcome {
        let mut until = self.machine.now() + SLICE;
        if self.clock == ClockMode::Host {
            let tick = self.pace.wall_tick();
            self.machine.feed(Event::HostClock(tick));
            until = until.max(tick + SLICE);
        }
        let outcome = self.machine.run(until);
        self.pace.keep(self.machine.now());
        outcome
    }

    /// Lets host time pass and no guest time. What comes in from outside takes effect, since that
    /// is before the next instruction just the same.
    fn pause(&mut self) -> Outcome {
        let start = Instant::now();
        if let Some(qmp) = &mut self.qmp {
            qmp.wait(PAUSE, &mut self.machine, &mut self.control);
        }
        let outcome = self.machine.let_events_in();
        self.pace.leave_out(start.elapsed());
        outcome.unwrap_or(Outcome::Ran)
    }

    /// Does what clients ask for, and tells them of a reset.
    fn serve_qmp(&mut self) {
        if let Some(qmp) = &mut self.qmp {
            if let Some(cause) = self.machine.take_reset() {
                qmp.tell_reset(cause);
            }
            qmp.serve(&mut self.machine, &mut self.control);
        }
    }

    /// Puts the terminal back, and hands out the machine.
    pub(in crate::cli) fn into_machine(self) -> Machine {
        self.machine
    }

    /// Carries bytes between the serial port and its far end.
    fn carry_serial(&mut self) -> io::Result<()> {
        self.debug_console.write(&self.machine.take_debug())?;
        let sent = self.machine.take_serial();
        self.serial.write(&sent)?;
        let answer = self.script.feed(&sent);
        self.send(&answer);
        if !self.line_is_full() {
            let received = self.serial.read();
            self.send(&received);
        }
        Ok(())
    }

    /// Whether guest time has to wait for who reads what the guest sends.
    fn is_congested(&self) -> bool {
        self.serial.is_congested() || self.debug_console.is_congested()
    }

    /// Whether what was sent to the guest will keep the line busy for a while.
    fn line_is_full(&self) -> bool {
        self.line_free > self.machine.now() + LINE_AHEAD
    }

    /// Sends bytes to the guest, one character time apart.
    fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.line_free = self.line_free.max(self.machine.now()) + CHARACTER;
            let at = self.line_free;
            self.machine.inlet().push(at, Event::Serial(byte));
        }
    }

    /// Takes what was typed; [`Typed::Leave`] if the user wants to go.
    fn take_input(&mut self) -> io::Result<Typed> {
        let nothing = Typed::Bytes(Vec::new());
        // Without a prefix key nothing is lost by letting input wait.
        if self.line_is_full() && self.console.terminal.is_none() {
            return Ok(nothing);
        }
        let Some(chunk) = self.console.input.as_mut().and_then(Input::poll) else {
            return Ok(nothing);
        };
        let typed = match self.console.terminal {
            Some(_) => self.console.prefix.feed(&chunk),
            None => vec![Typed::Bytes(chunk)],
        };
        for part in typed {
            match part {
                Typed::Leave => return Ok(Typed::Leave),
                Typed::Help => self.console.help()?,
                Typed::Bytes(bytes) => self.deliver(&bytes),
            }
        }
        Ok(nothing)
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if self.console.keyboard == Keyboard::Serial {
            return self.send(bytes);
        }
        for chord in self.console.decoder.feed(bytes) {
            let at = self.keyboard_free.max(self.machine.now());
            let down = chord.keys.iter().map(|key| Event::KeyDown(*key));
            let up = chord.keys.iter().rev().map(|key| Event::KeyUp(*key));
            for event in down.chain(up) {
                self.machine.inlet().push(at, event);
            }
            self.keyboard_free = at + CHORD;
        }
    }
}

/// Users and clients do not wait.
fn wait_for_readers() -> Outcome {
    std::thread::sleep(CONGESTION);
    Outcome::Ran
}

/// What an outcome means for the run: its end, or nothing.
fn ending_of(outcome: Outcome) -> Option<Ending> {
    match outcome {
        Outcome::Ran | Outcome::Asleep => None,
        Outcome::PowerOff => Some(Ending::PowerOff),
        Outcome::Reset => Some(Ending::Reset),
        Outcome::DebugExit(value) => Some(Ending::DebugExit(value)),
        Outcome::TripleFault => Some(Ending::TripleFault),
        Outcome::Unimplemented => Some(Ending::Unimplemented),
    }
}

/// The end of a run as QMP clients hear of it.
fn shutdown_reason(ending: Option<&Ending>, machine: &mut Machine) -> ShutdownReason {
    match ending {
        Some(Ending::PowerOff | Ending::DebugExit(_)) => ShutdownReason::GuestShutdown,
        Some(Ending::Reset) => match machine.take_reset() {
            Some(ResetCause::Button) => ShutdownReason::HostReset,
            _ => ShutdownReason::GuestReset,
        },
        Some(Ending::TripleFault) => ShutdownReason::GuestPanic,
        Some(Ending::TimeLimit | Ending::Signal(_)) => ShutdownReason::HostSignal,
        Some(Ending::Left) => ShutdownReason::HostUi,
        Some(Ending::Quit) => ShutdownReason::HostQuit,
        Some(Ending::Unimplemented) | None => ShutdownReason::HostError,
    }
}
