//! The server side of the socket: threads that read and write, so that the machine never waits
//! for a client.
//!
//! ```text
//!   acceptor ──> reader: bytes ──Framer──> Incoming ──> session, between two slices
//!                writer: lines <────────── Outgoing <──
//! ```
//!
//! One client is served at a time, as by QEMU; another one is told so. A client that does not read
//! its answers is cut off.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;

use super::framing::{Frame, Framer};
use super::message::{Failure, reply};
use crate::cli::unix_socket::{ListeningSocket, SocketAddress};

/// How many requests wait for the machine before the reader does.
const REQUESTS: usize = 8;
/// How many messages wait for a client to read them.
const MESSAGES: usize = 1024;
/// How long a new client waits for the one before it to be gone.
const CHANGE_OVER: Duration = Duration::from_secs(1);
/// How long the end of the program waits for the last messages to be sent.
const FAREWELL: Duration = Duration::from_secs(1);

/// What comes from the socket.
pub(super) enum Incoming {
    /// A client is there.
    Connected(Client),
    /// It says something.
    Frame(Frame),
    /// It is gone.
    Gone,
}

/// The listening socket and its threads.
pub(super) struct Server {
    /// Its name goes away with it.
    _socket: ListeningSocket,
    incoming: Receiver<Incoming>,
}

impl Server {
    /// Listens. Errors: something else is at the address, or the host starts no thread.
    pub(super) fn start(address: &SocketAddress) -> io::Result<Self> {
        let socket = ListeningSocket::bind(address)?;
        let listener = socket.listener().try_clone()?;
        let (sender, incoming) = bounded(REQUESTS);
        thread::Builder::new()
            .name("qmp".to_owned())
            .spawn(move || accept(&listener, &sender))?;
        Ok(Self {
            _socket: socket,
            incoming,
        })
    }

    /// What comes in.
    pub(super) fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }
}

/// The way to a client.
pub(super) struct Client {
    stream: UnixStream,
    outgoing: Sender<String>,
    /// Disconnected when the writer has sent everything.
    sent: Receiver<()>,
    cut_off: Arc<AtomicBool>,
}

impl Client {
    fn new(stream: UnixStream) -> io::Result<Self> {
        let (outgoing, lines) = bounded::<String>(MESSAGES);
        let (sending, sent) = bounded(0);
        let mut writer = stream.try_clone()?;
        let write = move || {
            let _sending: Sender<()> = sending;
            for line in lines {
                if writer.write_all(line.as_bytes()).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("qmp-writer".to_owned())
            .spawn(write)?;
        Ok(Self {
            stream,
            outgoing,
            sent,
            cut_off: Arc::default(),
        })
    }

    /// Sends a message; a client that has too many unread ones is cut off.
    pub(super) fn send(&self, message: &Value) {
        if self.outgoing.try_send(format!("{message}\r\n")).is_err() {
            // What it said and nobody read yet is not answered either. It may be gone already.
            self.cut_off.store(true, Ordering::SeqCst);
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets the messages be sent, and ends the connection.
    pub(super) fn close(self) {
        drop(self.outgoing);
        let _ = self.sent.recv_timeout(FAREWELL);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Whether a client is served.
#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    changed: Condvar,
}

impl Turn {
    /// Takes the turn; false if another client keeps it.
    fn take(&self) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(taken, CHANGE_OVER, |t| *t);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut *taken, true)
    }

    fn give_back(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.changed.notify_all();
    }
}

/// Takes clients in until the session is over.
fn accept(listener: &UnixListener, sender: &Sender<Incoming>) {
    let turn = Arc::new(Turn::default());
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if !turn.take() {
            refuse(stream);
            continue;
        }
        let (sender, its_turn) = (sender.clone(), Arc::clone(&turn));
        let served = thread::Builder::new()
            .name("qmp-reader".to_owned())
            .spawn(move || {
                serve(stream, &sender);
                its_turn.give_back();
            });
        if served.is_err() {
            turn.give_back();
        }
    }
}

fn refuse(mut stream: UnixStream) {
    let failure = Failure::generic("another client is connected; one is served at a time");
    // Too short to fill any buffer; whether it is read is the client's business.
    let _ = write!(stream, "{}\r\n", reply(None, Err(failure)));
}

/// Reads what a client says. Ends when it is gone, or nobody listens any more.
fn serve(mut stream: UnixStream, sender: &Sender<Incoming>) {
    let Ok(client) = stream.try_clone().and_then(Client::new) else {
        return;
    };
    let cut_off = Arc::clone(&client.cut_off);
    if sender.send(Incoming::Connected(client)).is_err() {
        return;
    }
    let mut framer = Framer::default();
    let mut buffer = [0; 4096];
    'reading: while let Ok(len @ 1..) = stream.read(&mut buffer) {
        for frame in framer.feed(&buffer[..len]) {
            if cut_off.load(Ordering::SeqCst) {
                break 'reading;
            }
            if sender.send(Incoming::Frame(frame)).is_err() {
                return;
            }
        }
    }
    // If nobody listens any more, nobody wants to know.
    let _ = sender.send(Incoming::Gone);
}
