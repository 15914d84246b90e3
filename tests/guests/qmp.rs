//! QEMU's machine protocol: the public Python client drives the demo guest and Linux, and clients
//! that misbehave do no harm.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::fixture::{Scratch, committed, guest};
use crate::session::{Finished, Session, cowbox};
use crate::{Outcome, Skip, trial};

const LIMIT: Duration = Duration::from_secs(180);
/// The public client, from PyPI.
const CLIENT: &str = "qemu.qmp==0.0.6";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("qemus_python_client_controls_the_demo_guest", control),
        trial("linux_powers_off_at_the_power_button", power_button),
        trial("clients_that_talk_nonsense_are_answered", nonsense),
        trial("qmp_clients_come_one_after_another", one_at_a_time),
        trial("a_client_that_does_not_read_stops_nothing", deaf),
        trial("a_file_in_the_place_of_the_socket_stays", file_in_the_way),
    ]
}

/// A machine with a QMP socket.
struct Machine {
    session: Session,
    scratch: Scratch,
}

impl Machine {
    fn start(name: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new(name);
        let address = format!("unix:{},server=on,wait=off", socket(&scratch).display());
        let mut command = cowbox(["run", "--display", "none", "--timeout", "170s"]);
        command.args(["-qmp", &address]).args(options);
        let session = Session::start(command);
        let deadline = Instant::now() + LIMIT;
        while !socket(&scratch).exists() {
            assert!(Instant::now() < deadline, "no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { session, scratch }
    }

    fn with_demo(name: &str) -> Self {
        let disk = format!("{},snapshot=on", committed("images/demo.qcow2").display());
        Self::start(name, &["--disk", &disk])
    }

    /// Runs a scenario of `qmp.py`.
    fn drive(&self, scenario: &str) -> Outcome {
        let mut python = Command::new(python()?);
        python.arg(committed("tests/guests/qmp.py")).arg(scenario);
        python.arg(socket(&self.scratch)).arg(self.scratch.path(""));
        let output = python.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{scenario}:\n{errors}");
        Ok(())
    }

    /// Waits for the end; the socket is gone then.
    fn finish(self) -> Finished {
        let finished = self.session.finish(LIMIT);
        assert!(!socket(&self.scratch).exists(), "the socket is still there");
        finished
    }
}

fn socket(scratch: &Scratch) -> PathBuf {
    scratch.path("qmp")
}

/// A Python that has the public client, in an environment of its own below `target`.
fn python() -> Result<PathBuf, Skip> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(install_client).clone().map_err(Skip)
}

fn install_client() -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qmp-client");
    let python = directory.join("bin/python");
    let has_client = || {
        let mut check = Command::new(&python);
        let check = check.args(["-c", "import qemu.qmp"]).output();
        check.is_ok_and(|output| output.status.success())
    };
    if has_client() {
        return Ok(python);
    }
    let venv = ["-m", "venv", "--clear"];
    succeed(Command::new("python3").args(venv).arg(&directory))?;
    succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", CLIENT]))?;
    Ok(python)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or("it failed").to_owned();
    Err(format!("{CLIENT} cannot be installed: {last}"))
}

fn control() -> Outcome {
    python()?;
    let machine = Machine::with_demo("qmp-control");
    machine.drive("control")?;
    machine.finish().expect_code(0);
    Ok(())
}

fn power_button() -> Outcome {
    python()?;
    let (kernel, initrd) = (guest("amd64/vmlinuz")?, guest("amd64/initrd.img")?);
    let listen = "mkdir -p /etc/acpi/PWRF; cd /etc/acpi/PWRF; \
                  printf '#!/bin/sh\\\\npoweroff -f\\\\n' > 00000080; chmod +x 00000080; \
                  acpid -d & sleep 1; echo LISTENS-$((6*7))\\n";
    let mut machine = Machine::start(
        "qmp-power",
        &[
            "--kernel",
            kernel.to_str().unwrap(),
            "--initrd",
            initrd.to_str().unwrap(),
            "--append",
            "console=ttyS0 quiet",
            "--expect",
            "/ # ",
            "--send",
            listen,
        ],
    );
    machine.session.wait_for("LISTENS-42", LIMIT);
    machine.drive("powerdown")?;
    machine.finish().expect_code(0).find("Power down");
    Ok(())
}

/// A client by hand.
struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    fn connect(machine: &Machine) -> Self {
        let stream = UnixStream::connect(socket(&machine.scratch)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { stream, lines }
    }

    /// Connects and is greeted.
    fn greeted(machine: &Machine) -> Self {
        let mut client = Self::connect(machine);
        assert!(client.read()["QMP"]["version"].is_object());
        client
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }

    /// Sends bytes, and reads one message.
    fn say(&mut self, bytes: impl AsRef<[u8]>) -> Value {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.read()
    }

    fn negotiate(&mut self) {
        let answer = self.say("{\"execute\": \"qmp_capabilities\"}\n");
        assert_eq!(answer, json!({"return": {}}));
    }

    /// Has the machine switched off.
    fn quit(mut self) {
        self.stream.write_all(b"{\"execute\": \"quit\"}").unwrap();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("host-qmp-quit"), "{rest}");
    }
}

fn nonsense() -> Outcome {
    let machine = Machine::start("qmp-nonsense", &[]);
    let mut client = Client::greeted(&machine);
    let error = |answer: Value| answer["error"]["class"].as_str().map(str::to_owned);
    let early = client.say("{\"execute\": \"query-status\", \"id\": \"a\"}");
    assert_eq!(early["id"], "a");
    assert_eq!(error(early).as_deref(), Some("CommandNotFound"));
    let wanting = "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}";
    assert!(error(client.say(wanting)).is_some());
    client.negotiate();
    let long = format!("{{\"execute\": \"{}\"}}\n", "x".repeat(3 << 20));
    for text in [
        "xyz\n",
        "\"\n",
        "}\n",
        "[1, 2]",
        "7\n",
        "\u{0}\u{fffd}\n",
        &long,
    ] {
        let class = error(client.say(text));
        assert_eq!(class.as_deref(), Some("GenericError"), "{:.80}", text);
    }
    let spread = "{\n\"execute\":\n\"query-status\", \"id\": {\"n\": 1}}";
    let status = client.say(spread);
    assert_eq!(status["return"]["running"], true);
    assert_eq!(status["id"], json!({"n": 1}));
    client.quit();
    machine.finish().expect_code(0);
    Ok(())
}

fn one_at_a_time() -> Outcome {
    let machine = Machine::start("qmp-clients", &[]);
    for _ in 0..20 {
        // Some leave in the middle of a word.
        let mut client = Client::greeted(&machine);
        client
            .stream
            .write_all(b"{\"execute\": \"qmp_capab")
            .unwrap();
    }
    let mut first = Client::greeted(&machine);
    first.negotiate();
    let mut second = Client::connect(&machine);
    let refused = second.read();
    let reason = refused["error"]["desc"].as_str().unwrap();
    assert!(reason.contains("another client"), "{reason}");
    let status = first.say("{\"execute\": \"query-status\"}");
    assert_eq!(status["return"]["status"], "running");
    drop((first, second));
    let mut third = Client::greeted(&machine);
    third.negotiate();
    third.quit();
    machine.finish().expect_code(0);
    Ok(())
}

/// Asks for answers without end and reads none: the guest goes on, and the next client is served.
fn deaf() -> Outcome {
    let mut machine = Machine::with_demo("qmp-deaf");
    let mut client = Client::greeted(&machine);
    client.negotiate();
    let limit = Some(Duration::from_secs(10));
    client.stream.set_write_timeout(limit).unwrap();
    let ask = "{\"execute\": \"query-block\"}\n".repeat(1000);
    let cut_off = (0..1000).any(|_| client.stream.write_all(ask.as_bytes()).is_err());
    assert!(cut_off, "a million questions without an answer");
    machine.session.wait_for("cow> ", LIMIT);
    drop(client);
    let mut next = Client::greeted(&machine);
    next.negotiate();
    next.quit();
    machine.finish().expect_code(0);
    Ok(())
}

fn file_in_the_way() -> Outcome {
    let scratch = Scratch::new("qmp-file");
    let file = scratch.path("file");
    std::fs::write(&file, "precious").unwrap();
    for option in ["--qmp", "--serial"] {
        let address = format!("unix:{}", file.display());
        let arguments = ["run", "--display", "none", option, &address];
        let run = Session::start(cowbox(arguments)).finish(LIMIT);
        run.expect_code(1);
        assert_eq!(run.errors.lines().count(), 1, "{}", run.errors);
        assert!(run.errors.contains("no socket"), "{}", run.errors);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    Ok(())
}
