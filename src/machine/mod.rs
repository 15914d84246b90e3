//! A whole machine: the CPU plugged into its board, and what drives and observes both.
//!
//! ```text
//!   run(until):  board.advance ──> cpu.run ──> deadline, halt, request, shutdown
//!                     ^                            |
//!                     +──── guest time moves on <──+
//! ```
//!
//! Guest time is the CPU's tick counter. When the CPU halts, the counter jumps to the board's
//! next deadline; nothing here looks at a host clock.

pub mod board;
mod boot;
mod config;
mod inlet;
mod inspect;
pub mod picture;
mod report;
mod state;

use crate::bus::NEVER;
pub use crate::bus::{TICKS_PER_SECOND, Tick};
use crate::cpu::{BlockCache, Bus, Core, Cpu, Model, RandomStream, Stop};
use crate::devices::BoardRequest;
pub use crate::devices::ps2::Key;
pub use crate::devices::vga::{Cell, Frame, Screen, TextScreen};
pub use crate::firmware::{BootError, LinuxBoot, Seed};
use crate::memory::{Memory, MemoryError};
pub use board::BootKind;
use board::{Board, BoardConfig, Drives, Roms};
pub use config::{ConfigError, DiskBus, DiskConfig, MachineConfig};
pub use inlet::{Event, Inlet, Recording, Stamped};
pub use inspect::DrivePlace;
pub use state::{StateError, StateHash};

/// Why [`Machine::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Guest time reached the end of the run.
    Ran,
    /// The guest switched the machine off.
    PowerOff,
    /// The guest wrote this value to the debug exit port.
    DebugExit(u32),
    /// The guest asked for a reset, and the machine does not reboot.
    Reset,
    /// The CPU shut down after a triple fault.
    TripleFault,
    /// The instruction at the instruction pointer is claimed and not implemented.
    Unimplemented,
    /// The CPU is halted and nothing can wake it: no deadline is due any more.
    Asleep,
}

/// What a reset that the guest asks for does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReset {
    /// The machine starts again.
    #[default]
    Reboot,
    /// The run ends.
    Stop,
}

/// What a shutdown of the CPU after a triple fault does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTripleFault {
    /// The run ends.
    #[default]
    Stop,
    /// The machine is reset, as the chipset of a PC does.
    Reset,
}

/// Who reset the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The guest, by one of the ways that a PC has.
    Guest,
    /// The reset button.
    Button,
}

/// A PC.
#[derive(Debug)]
pub struct Machine {
    cpu: Cpu,
    blocks: BlockCache,
    memory: Memory,
    board: Board,
    inlet: Inlet,
    on_reset: OnReset,
    on_triple_fault: OnTripleFault,
    /// The last reset that nobody has asked for yet.
    last_reset: Option<ResetCause>,
    /// Ticks that passed while the CPU was halted.
    idle: Tick,
}

impl Machine {
    /// A machine at power-on with these ROM images and disks. Errors: the host has no memory to
    /// give.
    pub fn new(config: BoardConfig, roms: Roms<'_>, drives: Drives) -> Result<Self, MemoryError> {
        let (board, memory) = Board::new(config, roms, drives)?;
        Ok(Self {
            cpu: Cpu::at_reset(),
            blocks: BlockCache::default(),
            memory,
            board,
            inlet: Inlet::default(),
            on_reset: OnReset::default(),
            on_triple_fault: OnTripleFault::default(),
            last_reset: None,
            idle: 0,
        })
    }

    /// Puts another CPU into the socket, after RESET; its random numbers follow from `seed`.
    pub fn plug_in(&mut self, model: Model, seed: Seed) {
        self.cpu = Cpu::new(model);
        self.cpu.random = RandomStream::new(seed.bytes("rdrand"));
    }

    /// Says what happens when the guest resets the machine.
    pub fn set_on_reset(&mut self, on_reset: OnReset) {
        self.on_reset = on_reset;
    }

    /// Says what happens when the CPU shuts down.
    pub fn set_on_triple_fault(&mut self, on_triple_fault: OnTripleFault) {
        self.on_triple_fault = on_triple_fault;
    }

    /// The CPU's state.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The board.
    pub fn board(&mut self) -> &mut Board {
        &mut self.board
    }

    /// Where everything from outside enters.
    pub fn inlet(&mut self) -> &mut Inlet {
        &mut self.inlet
    }

    /// Lets `event` take effect before the next instruction.
    pub fn feed(&mut self, event: Event) {
        self.inlet.push(self.now(), event);
    }

    /// Physical memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many ticks the CPU has spent halted: the part of guest time that cost the host
    /// nothing.
    pub fn idle_ticks(&self) -> Tick {
        self.idle
    }

    /// What the screen shows.
    pub fn screen(&self) -> Screen {
        self.board.vga().screen(&self.memory)
    }

    /// Takes what the machine has to tell its user, a line each: troubles of the host with a
    /// disk that the guest saw as a drive's error.
    pub fn take_notices(&mut self) -> Vec<String> {
        self.board.disks().take_notices()
    }

    /// Who reset the machine since the last call, if anybody did; of several the last.
    pub fn take_reset(&mut self) -> Option<ResetCause> {
        self.last_reset.take()
    }

    /// Takes what left the serial port since the last call.
    pub fn take_serial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.board.outlet().serial)
    }

    /// Takes what was written to the debug console since the last call; of much, the newest.
    pub fn take_debug(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.board.outlet().debug)
    }

    /// Switches the machine off: everything that was submitted reaches the images, and they are
    /// closed. Returns a line for each that was not closed cleanly.
    pub fn switch_off(mut self) -> Vec<String> {
        std::mem::take(self.board.disks()).close()
    }

    /// Guest time.
    pub fn now(&self) -> Tick {
        self.cpu.now()
    }

    /// Runs up to guest time `until`, or until the guest is done.
    pub fn run(&mut self, until: Tick) -> Outcome {
        while self.now() < until {
            if let Some(outcome) = self.let_events_in() {
                return outcome;
            }
            self.board.advance(&mut self.memory, self.cpu.now());
            let limit = until.min(self.inlet.next_tick());
            let mut core = Core {
                cpu: &mut self.cpu,
                memory: &mut self.memory,
                bus: &mut self.board,
            };
            let outcome = match core.run(&mut self.blocks, limit) {
                Stop::Deadline => None,
                Stop::Halted => self.skip_idle_time(limit),
                Stop::Requested => self.answer_requests(),
                Stop::Shutdown => self.answer_shutdown(),
                Stop::Unimplemented => Some(Outcome::Unimplemented),
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        Outcome::Ran
    }

    /// Lets everything happen that is due from outside by now, before the next instruction;
    /// [`Machine::run`] does this too. Returns the outcome if that ends the run.
    pub fn let_events_in(&mut self) -> Option<Outcome> {
        while let Some(event) = self.inlet.take_due(self.cpu.now()) {
            let (board, memory, now) = (&mut self.board, &mut self.memory, self.cpu.now());
            match event {
                Event::Serial(byte) => board.receive_serial(memory, now, byte),
                Event::KeyDown(key) => board.press_key(memory, now, key),
                Event::KeyUp(key) => board.release_key(memory, now, key),
                Event::PowerButton => board.press_power_button(memory, now),
                Event::ResetButton => {
                    self.last_reset = Some(ResetCause::Button);
                    if self.on_reset == OnReset::Stop {
                        return Some(Outcome::Reset);
                    }
                    self.reset();
                }
                Event::Date(date) => board.set_date(memory, now, date),
                Event::HostClock(tick) => self.cpu.flow.end = now.max(tick),
            }
        }
        None
    }

    /// The CPU is halted: time jumps to the next deadline.
    fn skip_idle_time(&mut self, until: Tick) -> Option<Outcome> {
        let deadline = self.board.signals().deadline;
        if deadline == NEVER && until == NEVER {
            return Some(Outcome::Asleep);
        }
        let now = self.cpu.now();
        let then = deadline.min(until).max(now);
        self.idle += then - now;
        self.cpu.flow.end = then;
        None
    }

    /// The CPU has shut down.
    fn answer_shutdown(&mut self) -> Option<Outcome> {
        if self.on_triple_fault == OnTripleFault::Stop {
            return Some(Outcome::TripleFault);
        }
        self.last_reset = Some(ResetCause::Guest);
        if self.on_reset == OnReset::Stop {
            return Some(Outcome::Reset);
        }
        self.reset();
        None
    }

    fn answer_requests(&mut self) -> Option<Outcome> {
        for request in self.board.take_stops() {
            match request {
                BoardRequest::PowerOff => return Some(Outcome::PowerOff),
                BoardRequest::DebugExit(value) => return Some(Outcome::DebugExit(value)),
                BoardRequest::Reset | BoardRequest::ResetCpu if self.on_reset == OnReset::Stop => {
                    self.last_reset = Some(ResetCause::Guest);
                    return Some(Outcome::Reset);
                }
                BoardRequest::Reset => {
                    self.last_reset = Some(ResetCause::Guest);
                    self.reset();
                }
                BoardRequest::ResetCpu => {
                    self.cpu.reset();
                    self.board.reset_cpu(&mut self.memory, self.cpu.now());
                }
                BoardRequest::Remap(_) | BoardRequest::SetA20(_) => {}
            }
        }
        None
    }

    /// The reset button: everything but RAM, CMOS memory and time as at power-on.
    pub fn reset(&mut self) {
        self.cpu.reset();
        self.board.reset(&mut self.memory, self.cpu.now());
    }
}
