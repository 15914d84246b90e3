//! One run of the `cowbox` command: start it, watch what it prints, see how it ends.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use regex::Regex;

/// A running command. Killed when dropped.
pub(crate) struct Session {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Option<JoinHandle<String>>,
    /// What it has printed so far.
    transcript: String,
}

/// A command that has ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) transcript: String,
    pub(crate) errors: String,
}

/// A `cowbox` command line.
pub(crate) fn cowbox<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cowbox"));
    command.args(arguments);
    command
}

impl Session {
    /// Starts a command with no input and no terminal; `COWBOX_CPU` is the model of the guests whose
    /// test asks for none.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut arguments = command.get_args();
        let runs = arguments.next().is_some_and(|first| first == "run");
        if let Some(model) = std::env::var_os("COWBOX_CPU")
            && runs
            && !arguments.any(|argument| argument == "--cpu")
        {
            command.arg("--cpu").arg(model);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self::of(child)
    }

    /// Watches a command whose output and errors are piped.
    pub(crate) fn of(mut child: Child) -> Self {
        let mut output = child.stdout.take().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let (sender, stdout) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            child,
            stdout,
            stderr: Some(stderr),
            transcript: String::new(),
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes what is printed until `deadline`; false at the end of the output.
    fn receive(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.stdout.recv_timeout(left) {
            Ok(bytes) => {
                self.transcript.push_str(&String::from_utf8_lossy(&bytes));
                true
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "no end after the time limit; it printed:\n{}",
                    self.last_lines()
                )
            }
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    /// Waits until the output matches; returns the match.
    pub(crate) fn wait_for(&mut self, pattern: &str, limit: Duration) -> String {
        let regex = Regex::new(pattern).unwrap();
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = regex.find(&self.transcript) {
                return found.as_str().to_owned();
            }
            assert!(
                self.receive(deadline),
                "ended before {pattern:?}:\n{}",
                self.last_lines()
            );
        }
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        while self.receive(deadline) {}
        let status = self.child.wait().unwrap();
        self.end(status)
    }

    /// Ends it as a power cut would: no warning, nothing written after this.
    pub(crate) fn kill(mut self) -> Finished {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        while self.receive(Instant::now() + Duration::from_secs(10)) {}
        self.end(status)
    }

    fn end(&mut self, status: ExitStatus) -> Finished {
        let errors = self.stderr.take().unwrap().join().unwrap();
        Finished {
            status,
            transcript: std::mem::take(&mut self.transcript),
            errors,
        }
    }

    fn last_lines(&self) -> String {
        last_lines(&self.transcript)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Already gone in the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Panics unless it ended with this exit code.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "exit code, {}; it printed:\n{}\nand on standard error:\n{}",
            self.status,
            last_lines(&self.transcript),
            last_lines(&self.errors)
        );
        self
    }

    /// The first group of the first match; panics if there is none.
    #[track_caller]
    pub(crate) fn find(&self, pattern: &str) -> &str {
        let regex = Regex::new(pattern).unwrap();
        match regex.captures(&self.transcript) {
            Some(found) => found.get(1).or(found.get(0)).unwrap().as_str(),
            None => panic!("no {pattern:?} in:\n{}", last_lines(&self.transcript)),
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
