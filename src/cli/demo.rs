//! `cowbox demo`: the embedded demo guest, booted from its embedded qcow2 on a throw-away
//! overlay.
//!
//! On a terminal its shell waits for commands. Without one it runs its self-test, prints the
//! transcript and ends with status 0 if everything passed.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::console::RawTerminal;
use super::run::{Display, SerialTarget, Session};
use crate::image::{self, Format, OpenOptions};
use crate::machine::{DiskBus, DiskConfig, MachineConfig};

/// The demo guest's disk.
static DISK: &[u8] = include_bytes!("../../images/demo.qcow2");

/// The memory of its machine, in bytes.
const MEMORY: u64 = 64 << 20;
/// The self-test takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct Demo {}

impl Demo {
    /// Runs the demo guest.
    pub(super) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut config = MachineConfig::new(MEMORY, now.as_secs());
        let options = OpenOptions::read_only().with_format(Some(Format::Qcow2));
        let base = image::open_embedded(DISK, &options)?;
        config.disks.push(DiskConfig {
            name: "demo".to_owned(),
            image: image::overlay(base, &std::env::temp_dir())?,
            bus: DiskBus::Ide,
            read_only: false,
        });
        let machine = config.assemble()?;
        if RawTerminal::is_available() {
            let mut session = Session::new(machine, Display::Terminal, &SerialTarget::None)?;
            return Ok(session.run()?.code());
        }
        let session = Session::new(machine, Display::None, &SerialTarget::Stdio)?;
        let mut session = session
            .with_limit(Some(LIMIT))
            .with_answer("cow> ", "selftest\n")?;
        Ok(session.run()?.code())
    }
}
