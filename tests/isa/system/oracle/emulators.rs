//! The three emulators as processes: each runs a ROM, and its serial line is a file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Column, image};

/// What is not installed, and how to get it.
pub(crate) struct Missing(pub(crate) String);

/// An emulator.
#[derive(Clone, Copy)]
pub(crate) enum Emulator {
    Qemu,
    Bochs,
    Cowbox,
}

/// In the order of a check's results.
pub(crate) const ALL: [Emulator; 3] = [Emulator::Qemu, Emulator::Bochs, Emulator::Cowbox];

/// How long an image may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How many triple faults an image may have.
const TRIPLE_FAULTS: usize = 100;

/// The ROM of its VGA, which Bochs wants, although nobody draws.
const VGA_BIOS: &str = "/usr/share/bochs/VGABIOS-lgpl-latest";

impl Emulator {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::Bochs => "Bochs",
            Self::Cowbox => "Cowbox",
        }
    }

    /// Runs `rom` to its end and reads what it said.
    pub(crate) fn run(self, source: &str, rom: &Path) -> Result<Column, Missing> {
        let scratch = image::scratch(source);
        let serial = scratch.join(self.name());
        // An old one would be taken for the new one.
        let _ = std::fs::remove_file(&serial);
        let mut command = match self {
            Self::Qemu => qemu(source, rom, &serial),
            Self::Bochs => bochs(rom, &serial, &scratch)?,
            Self::Cowbox => cowbox(source, rom, &serial),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else {
            return Err(Missing(self.missing()));
        };
        let said = wait_for_end(&mut child, &serial);
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
        let said = said.unwrap_or_else(|last| panic!("{} stopped at: {last}", self.name()));
        Ok(said
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(owned)
            .collect())
    }

    fn missing(self) -> String {
        match self {
            Self::Qemu => "qemu-system-x86_64 is missing: install qemu-system-x86".into(),
            Self::Bochs => "script is missing: install bsdutils".into(),
            Self::Cowbox => "cowbox cannot be started".into(),
        }
    }
}

fn owned((name, result): (&str, &str)) -> (String, String) {
    (name.into(), result.into())
}

/// The serial line up to its `end`, or the last that was said when the emulator stopped or the
/// time was over.
fn wait_for_end(child: &mut Child, serial: &Path) -> Result<String, String> {
    let until = Instant::now() + LIMIT;
    loop {
        let ended = child.try_wait().unwrap().is_some() || Instant::now() > until;
        let bytes = std::fs::read(serial).unwrap_or_default();
        let said = String::from_utf8_lossy(&bytes);
        if said.ends_with("end\n") {
            return Ok(said.into_owned());
        }
        if ended {
            return Err(said.lines().last().unwrap_or("the start").into());
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn qemu(source: &str, rom: &Path, serial: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-accel", "tcg", "-cpu", "max", "-machine", "pc", "-m"])
        .arg(format!("{}M", image::ram(source)))
        .args([
            "-display", "none", "-monitor", "none", "-net", "none", "-serial",
        ])
        .arg(format!("file:{}", serial.display()))
        .arg("-bios")
        .arg(rom);
    command
}

fn cowbox(source: &str, rom: &Path, serial: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cowbox"));
    command
        .args(["run", "--display", "none", "--triple-fault", "reset", "-m"])
        .arg(format!("{}M", image::ram(source)))
        .arg("--serial")
        .arg(format!("file:{}", serial.display()))
        .arg("--bios")
        .arg(rom);
    command
}

/// Debian's build has its debugger compiled in, which a file tells to go on (it stops at each triple
/// fault), and draws only on a terminal, which script(1) is. A slow clock makes its serial line quick.
/// Some of them hang when script goes away: timeout(1) ends those.
fn bochs(rom: &Path, serial: &Path, scratch: &Path) -> Result<Command, Missing> {
    let program = Path::new("/usr/bin/bochs");
    if !program.exists() || !Path::new(VGA_BIOS).exists() {
        return Err(Missing("bochs is missing: install bochs bochs-term".into()));
    }
    let file = |name: &str| -> PathBuf { scratch.join(name) };
    let settings = format!(
        "romimage: file={}\n\
         vgaromimage: file={VGA_BIOS}\n\
         memory: guest=16, host=16\n\
         cpu: model=corei7_icelake_u, ips=1000000\n\
         clock: sync=none\n\
         vga: update_freq=1\n\
         com1: enabled=1, mode=file, dev={}\n\
         log: {}\n\
         debugger_log: -\n\
         error: action=ignore\n\
         panic: action=fatal\n\
         info: action=ignore\n\
         display_library: term\n",
        rom.display(),
        serial.display(),
        file("bochs.log").display(),
    );
    std::fs::write(file("bochsrc"), settings).unwrap();
    std::fs::write(file("go"), "c\n".repeat(TRIPLE_FAULTS)).unwrap();
    let mut command = Command::new("script");
    command
        .arg("-qfc")
        .arg(format!(
            "exec timeout -s KILL {} {} -q -f {} -rc {}",
            LIMIT.as_secs(),
            program.display(),
            file("bochsrc").display(),
            file("go").display()
        ))
        .arg("/dev/null")
        .env("TERM", "xterm");
    Ok(command)
}
