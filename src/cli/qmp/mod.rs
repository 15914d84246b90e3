//! `--qmp`: QEMU's machine protocol on a UNIX socket, for the scripts and libraries that speak it.
//!
//! ```text
//!   server   threads on the socket            framing  where a JSON value ends
//!   message  greeting, request, answer, event arguments  taken by name and type
//!   commands what there is  ──> keys, dump, block, monitor (HMP) ──> registers
//! ```
//!
//! The session calls [`Qmp::serve`] between two slices of guest time, so a command sees the machine
//! between two instructions, and what it does to the guest goes through the inlet. Left out on
//! purpose: out-of-band execution, devices that come and go, migration, several clients at once.
//! (QEMU: docs/interop/qmp-spec.rst and qapi/*.json; version 7.2.)

mod arguments;
mod block;
mod commands;
mod control;
mod dump;
mod framing;
mod keys;
mod message;
mod monitor;
mod registers;
mod server;

use std::io;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use serde_json::{Value, json};

use super::unix_socket::SocketAddress;
use crate::machine::{Machine, ResetCause};
use control::Target;
pub(super) use control::{Control, RunState};
use framing::Frame;
use message::{Answer, Failure, Request};
use server::{Client, Incoming, Server};

/// So much is done for clients between two slices of guest time.
const TURNS: usize = 8;
/// The command by which a client says that it is ready.
const NEGOTIATE: &str = "qmp_capabilities";

/// Why the machine is switched off, in QEMU's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShutdownReason {
    GuestShutdown,
    GuestReset,
    GuestPanic,
    HostReset,
    HostQuit,
    HostSignal,
    HostUi,
    HostError,
}

impl ShutdownReason {
    fn name(self) -> &'static str {
        match self {
            Self::GuestShutdown => "guest-shutdown",
            Self::GuestReset => "guest-reset",
            Self::GuestPanic => "guest-panic",
            Self::HostReset => "host-qmp-system-reset",
            Self::HostQuit => "host-qmp-quit",
            Self::HostSignal => "host-signal",
            Self::HostUi => "host-ui",
            Self::HostError => "host-error",
        }
    }
}

/// A client, and how far it is.
struct Talk {
    client: Client,
    negotiated: bool,
}

/// The protocol's end on our side.
pub(super) struct Qmp {
    server: Server,
    talk: Option<Talk>,
}

impl Qmp {
    /// Listens. Errors: something else is at the address.
    pub(super) fn start(address: &SocketAddress) -> io::Result<Self> {
        Ok(Self {
            server: Server::start(address)?,
            talk: None,
        })
    }

    /// Does what clients have asked for.
    pub(super) fn serve(&mut self, machine: &mut Machine, control: &mut Control) {
        // A client that asks without end gets its turns, and so does the guest.
        for _ in 0..TURNS {
            let Ok(incoming) = self.server.incoming().try_recv() else {
                return;
            };
            self.take(incoming, machine, control);
        }
    }

    /// Waits for a client to ask for something, and does it.
    pub(super) fn wait(&mut self, time: Duration, machine: &mut Machine, control: &mut Control) {
        match self.server.incoming().recv_timeout(time) {
            Ok(incoming) => self.take(incoming, machine, control),
            Err(RecvTimeoutError::Timeout) => {}
            // The acceptor is gone; the machine goes on without it.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
    }

    /// Tells the client that the machine was reset.
    pub(super) fn tell_reset(&mut self, cause: ResetCause) {
        let (guest, reason) = match cause {
            ResetCause::Guest => (true, "guest-reset"),
            ResetCause::Button => (false, "host-qmp-system-reset"),
        };
        let data = json!({ "guest": guest, "reason": reason });
        self.tell("RESET", Some(data));
    }

    /// Tells the client that the machine is switched off, and lets it go.
    pub(super) fn close(mut self, reason: ShutdownReason) {
        let guest = reason.name().starts_with("guest");
        let data = json!({ "guest": guest, "reason": reason.name() });
        self.tell("SHUTDOWN", Some(data));
        if let Some(talk) = self.talk.take() {
            talk.client.close();
        }
    }

    /// Sends an event to a client that has negotiated.
    fn tell(&mut self, event: &str, data: Option<Value>) {
        if let Some(talk) = self.talk.as_ref().filter(|talk| talk.negotiated) {
            talk.client.send(&message::event(event, data));
        }
    }

    fn take(&mut self, incoming: Incoming, machine: &mut Machine, control: &mut Control) {
        match incoming {
            Incoming::Connected(client) => {
                client.send(&message::greeting());
                self.talk = Some(Talk {
                    client,
                    negotiated: false,
                });
            }
            // It may have said its last and still read: its writer goes on until all is sent.
            Incoming::Gone => self.talk = None,
            Incoming::Frame(frame) => self.answer(&frame, &mut Target { machine, control }),
        }
    }

    fn answer(&mut self, frame: &Frame, target: &mut Target<'_>) {
        let Some(talk) = &mut self.talk else { return };
        let (id, request) = match frame {
            Frame::Text(text) => message::parse(text),
            Frame::TooLong => (None, Err(Failure::generic("the request is too long"))),
        };
        let answer = request.and_then(|request| talk.execute(request, target));
        // QEMU tells an event before the answer to the command that brought it about.
        for name in target.control.take_events() {
            self.tell(name, None);
        }
        if let Some(talk) = &self.talk {
            talk.client.send(&message::reply(id, answer));
        }
    }
}

impl Talk {
    fn execute(&mut self, request: Request, target: &mut Target<'_>) -> Answer {
        match (self.negotiated, request.command == NEGOTIATE) {
            (true, true) => Err(Failure::command_not_found(
                "capabilities are negotiated already",
            )),
            (true, false) => commands::execute(request, target),
            (false, false) => Err(Failure::command_not_found(format!(
                "before any other command comes {NEGOTIATE}"
            ))),
            (false, true) => {
                self.negotiate(request)?;
                Ok(json!({}))
            }
        }
    }

    fn negotiate(&mut self, mut request: Request) -> Result<(), Failure> {
        let wanted = request.arguments.optional_list("enable")?;
        request.arguments.finish()?;
        if let Some(name) = wanted.first() {
            return Err(Failure::generic(format!("there is no capability {name}")));
        }
        self.negotiated = true;
        Ok(())
    }
}
