//! The user's terminal, played by script(1): the prefix key, and settings that are put back
//! however a run ends.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use cowbox::cli::console::RawTerminal;
use libtest_mimic::Trial;

use crate::fixture::tool;
use crate::session::Session;
use crate::{Outcome, trial};

const LIMIT: Duration = Duration::from_secs(60);
/// The screen from before comes back.
const NORMAL_SCREEN: &str = "\u{1b}[?1049l";
/// As the only argument: this program panics while it has a terminal in raw mode.
const PANIC: &str = "panic-in-raw-mode";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("keys_reach_the_guest_and_the_prefix_key_leaves", prefix),
        trial("terminal_is_put_back_when_a_signal_ends_the_run", signal),
        trial("terminal_is_put_back_after_a_panic", panic),
    ]
}

/// What this program does when it is not to run tests.
pub(crate) fn act_as_child() -> Option<ExitCode> {
    (std::env::args().nth(1)? == PANIC).then(|| {
        let terminal = RawTerminal::enter().unwrap();
        terminal.take_screen().unwrap();
        panic!("on purpose")
    })
}

/// A shell on a terminal of its own.
struct Terminal {
    session: Session,
    keyboard: ChildStdin,
}

impl Terminal {
    /// Runs a command there, and shows the terminal's settings before and after it.
    fn run(program: &Path, arguments: &str) -> Self {
        let program = program.display();
        let line = format!(
            "stty rows 30 cols 100; echo BEFORE $(stty -g); \
             sh -c 'echo PID $$; exec {program} {arguments}'; \
             echo STATUS $?; echo AFTER $(stty -g)"
        );
        let mut script = Command::new("script");
        script.args(["-qfec", &line, "/dev/null"]);
        let mut child: Child = script
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = child.stdin.take().unwrap();
        Self {
            session: Session::of(child),
            keyboard,
        }
    }

    fn cowbox(arguments: &str) -> Self {
        Self::run(Path::new(env!("CARGO_BIN_EXE_cowbox")), arguments)
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits for the end, and checks its status and that the terminal is as it was.
    fn ends_with(self, status: i32) {
        let finished = self.session.finish(LIMIT);
        assert_eq!(finished.find("STATUS ([0-9]+)"), status.to_string());
        assert_eq!(finished.find("AFTER (.*)"), finished.find("BEFORE (.*)"));
        let screen = finished.transcript.find(NORMAL_SCREEN);
        let status = finished.transcript.find("STATUS");
        assert!(screen.is_some() && screen < status, "no normal screen");
    }
}

fn prefix() -> Outcome {
    tool("script", "bsdutils")?;
    let mut terminal = Terminal::cowbox("demo");
    terminal.session.wait_for("cow>", LIMIT);
    // Pasted at once, and more than the keyboard holds. The guest knows no such command.
    let pasted = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    terminal.press(&format!("{pasted}\r"));
    terminal.session.wait_for(&format!("{pasted}:"), LIMIT);
    terminal.press("\u{1}h");
    terminal.session.wait_for("leave Cowbox", LIMIT);
    terminal.press("\u{1}x");
    terminal.ends_with(0);
    Ok(())
}

fn signal() -> Outcome {
    tool("script", "bsdutils")?;
    for (name, status) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut terminal = Terminal::cowbox("demo");
        terminal.session.wait_for("cow>", LIMIT);
        let pid = terminal.session.wait_for("PID [0-9]+", LIMIT);
        let kill = ["-s", name, pid.trim_start_matches("PID ")];
        assert!(Command::new("kill").args(kill).status().unwrap().success());
        terminal.ends_with(status);
    }
    Ok(())
}

fn panic() -> Outcome {
    tool("script", "bsdutils")?;
    let this = std::env::current_exe().unwrap();
    Terminal::run(&this, PANIC).ends_with(101);
    Ok(())
}
