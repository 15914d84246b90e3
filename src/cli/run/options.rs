//! The options of `cowbox run`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use regex::bytes::Regex;

use super::boot::BootOrder;
use super::disk::DiskOption;
use super::ending::Ending;
use super::script::{self, Script};
use super::serial::SerialTarget;
use super::session::{ClockMode, Display, Session, TripleFault};
use super::values::{self, CpuOption};
use crate::cli::console::RawTerminal;
use crate::cli::unix_socket::SocketAddress;
use crate::cpu::Model;
use crate::machine::{LinuxBoot, Machine, MachineConfig, OnReset, OnTripleFault, Seed};

/// The memory of a machine that nobody gave a size, in bytes.
const DEFAULT_MEMORY: &str = "512M";

#[derive(Debug, Args)]
#[command(after_help = "\
QEMU's -cpu -hda -hdb -boot -kernel -initrd -append -bios -snapshot -nographic -no-reboot -qmp work too.

Exit status: 0 the guest powered off, 1 failure, 2 wrong usage, 70 triple fault, 124 time limit, \
128 + n signal n; a value v written to the debug exit port gives (v << 1) | 1.")]
pub(in crate::cli) struct Run {
    /// Disk images, in boot order; as --disk IMAGE
    #[arg(value_name = "IMAGE")]
    images: Vec<DiskOption>,

    /// The CPU model; help lists them
    #[arg(long, value_name = "MODEL", default_value_t, value_parser = values::cpu)]
    cpu: CpuOption,

    /// Memory: MiB, or with K, M, G
    #[arg(short = 'm', long, value_name = "SIZE", default_value = DEFAULT_MEMORY,
          value_parser = values::memory)]
    memory: u64,

    /// A disk: FILE[,bus=ide|virtio][,format=qcow2|raw][,readonly=on][,snapshot=on][,backing=any]
    /// [,backing-format=qcow2|raw]
    #[arg(long, value_name = "DISK")]
    disk: Vec<DiskOption>,

    /// The kinds of device to boot from, first to last: disk, cdrom, floppy, network; or QEMU's
    /// letters, as in cd
    #[arg(long, value_name = "KINDS", default_value = "disk")]
    boot: BootOrder,

    /// Keep what the guest writes in throw-away overlays; the images stay as they are
    #[arg(long)]
    snapshot: bool,

    /// A Linux kernel (bzImage) to enter directly
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,

    /// The initial RAM disk for --kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,

    /// The command line for --kernel
    #[arg(long, value_name = "TEXT", requires = "kernel", default_value = "")]
    append: String,

    /// A system BIOS in place of the built-in one
    #[arg(long, value_name = "FILE")]
    bios: Option<PathBuf>,

    /// A VGA BIOS in place of the built-in one
    #[arg(long, value_name = "FILE")]
    vga_bios: Option<PathBuf>,

    /// Where the first serial port goes: stdio, file:PATH, unix:PATH or none
    #[arg(long, value_name = "TARGET")]
    serial: Option<SerialTarget>,

    /// Where the debug console (ports 0xe9 and 0x402; firmware reports there) goes: as --serial
    #[arg(long, value_name = "TARGET", default_value = "none")]
    debugcon: SerialTarget,

    /// What shows the screen
    #[arg(long, value_enum, default_value = "auto")]
    display: Display,

    /// The port whose values end the machine
    #[arg(long, value_name = "PORT", default_value = "0xf4", value_parser = values::port)]
    debug_exit: u16,

    /// Speak QEMU's machine protocol on a socket: unix:PATH
    #[arg(long, value_name = "ADDRESS")]
    qmp: Option<SocketAddress>,

    /// What guest time follows
    #[arg(long, value_enum, default_value = "virtual")]
    clock: ClockMode,

    /// The date at power-on: now, or like 2024-02-29T12:00:00 (UTC)
    #[arg(long, value_name = "DATE", default_value = "now", value_parser = values::date)]
    date: u64,

    /// The number that the guest's randomness follows from: RDRAND's, and what a kernel given with
    /// --kernel is seeded with
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,

    /// Print the hash of the machine's state and the tick at the end
    #[arg(long)]
    print_hash: bool,

    /// Wait until the serial line says this; then send the text of the next --send
    #[arg(long, value_name = "REGEX", value_parser = script::pattern)]
    expect: Vec<Regex>,

    /// What to type after the --expect before it (escapes: \n \r \t \e \\ \xHH)
    #[arg(
        long,
        value_name = "TEXT",
        requires = "expect",
        allow_hyphen_values = true
    )]
    send: Vec<String>,

    /// End the run after so much time on the host's clock: 30s, 5min
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,

    /// Leave where the guest resets the machine
    #[arg(long)]
    no_reboot: bool,

    /// What a triple fault does
    #[arg(long, value_enum, default_value = "stop")]
    triple_fault: TripleFault,
}

impl Run {
    /// Runs the machine.
    pub(in crate::cli) fn run(mut self) -> Result<ExitCode, Box<dyn Error>> {
        if self.cpu == CpuOption::Help {
            list_models();
            return Ok(ExitCode::SUCCESS);
        }
        let shows_screen = match self.display {
            Display::Auto => RawTerminal::is_available(),
            display => display == Display::Terminal,
        };
        let serial = self.serial.take().unwrap_or(match shows_screen {
            true => SerialTarget::None,
            false => SerialTarget::Stdio,
        });
        let (display, clock, limit) = (self.display, self.clock, self.timeout);
        let print_hash = self.print_hash;
        let qmp = self.qmp.take();
        let debugcon = self.debugcon.clone();
        let script = self.script()?;
        let machine = self.assemble()?;
        let mut session = Session::new(machine, display, &serial)?
            .with_script(script)
            .with_clock(clock)
            .with_limit(limit);
        session = session.with_debug_console(&debugcon)?;
        if let Some(address) = qmp {
            session = session.with_qmp(&address)?;
        }
        let ending = session.run()?;
        finish(session.into_machine(), ending, print_hash);
        Ok(ending.code())
    }

    fn script(&mut self) -> Result<Script, Box<dyn Error>> {
        if self.send.len() > self.expect.len() {
            return Err("each --send needs an --expect before it".into());
        }
        let texts = std::mem::take(&mut self.send).into_iter();
        let texts: Result<Vec<_>, String> = texts.map(|t| values::unescape(&t)).collect();
        let texts = texts.map_err(|e| format!("--send: {e}"))?;
        let rest = std::iter::repeat(Vec::new());
        let patterns = std::mem::take(&mut self.expect).into_iter();
        Ok(Script::new(patterns.zip(texts.into_iter().chain(rest))))
    }

    fn assemble(self) -> Result<Machine, Box<dyn Error>> {
        let mut config = MachineConfig::new(self.memory, self.date);
        if let CpuOption::Model(model) = self.cpu {
            config.cpu = model;
        }
        config.seed = Seed(self.seed);
        config.debug_exit_port = Some(self.debug_exit);
        config.boot = self.boot.into_kinds();
        config.bios = self.bios.as_deref().map(read).transpose()?;
        config.vga_bios = self.vga_bios.as_deref().map(read).transpose()?;
        for mut disk in self.images.into_iter().chain(self.disk) {
            if self.snapshot {
                disk.set_snapshot();
            }
            config.disks.push(disk.open()?);
        }
        let kernel = self.kernel.as_deref().map(read).transpose()?;
        let initrd = self.initrd.as_deref().map(read).transpose()?;
        let mut machine = config.assemble()?;
        if let (Some(kernel), Some(path)) = (kernel, &self.kernel) {
            let boot = LinuxBoot {
                kernel: &kernel,
                initrd: initrd.as_deref().unwrap_or_default(),
                command_line: self.append.as_bytes(),
                seed: Seed(self.seed),
            };
            let booted = machine.boot_linux(&boot);
            booted.map_err(|e| format!("{}: {e}", path.display()))?;
        }
        if self.no_reboot {
            machine.set_on_reset(OnReset::Stop);
        }
        if self.triple_fault == TripleFault::Reset {
            machine.set_on_triple_fault(OnTripleFault::Reset);
        }
        Ok(machine)
    }
}

/// Lists the CPU models, as `-cpu help` of QEMU does.
fn list_models() {
    println!("Available CPUs:");
    for model in Model::ALL {
        println!("  {:<11} {}", model.traits().name, model.traits().about);
    }
}

/// Says what is to be said at the end, and switches the machine off.
fn finish(mut machine: Machine, ending: Ending, print_hash: bool) {
    match ending {
        Ending::TripleFault => {
            eprintln!("cowbox: triple fault\n{}", machine.report());
        }
        Ending::Unimplemented => eprintln!(
            "cowbox: the guest used an instruction that Cowbox lacks\n{}",
            machine.report()
        ),
        Ending::TimeLimit => eprintln!("cowbox: the time limit was reached"),
        Ending::Signal(number) => eprintln!("cowbox: ended by signal {number}"),
        Ending::PowerOff | Ending::Reset | Ending::DebugExit(_) | Ending::Left | Ending::Quit => {}
    }
    if print_hash {
        let (hash, tick) = (machine.state_hash(), machine.now());
        eprintln!("cowbox: state hash {hash} at tick {tick}");
    }
    for line in machine.switch_off() {
        eprintln!("cowbox: {line}");
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}
