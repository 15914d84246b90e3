//! The far end of the first serial port: the terminal, a file, a UNIX socket, or nothing.
//!
//! A socket's client may read slowly: what it has not taken waits, and guest time waits when that
//! becomes much. A client that then takes nothing for a while is cut off.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::cli::unix_socket::{ListeningSocket, SocketAddress};

/// So many bytes wait for a client before guest time does.
const BACKLOG: usize = 1 << 20;
/// So long guest time waits for a client that takes nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long the end of the program does.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where `--serial` sends the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum SerialTarget {
    /// Stdout, and stdin the other way.
    Stdio,
    /// A file, written from its start.
    File(PathBuf),
    /// A socket that waits for one client at a time.
    Unix(SocketAddress),
    /// Nowhere.
    None,
}

impl FromStr for SerialTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdio" => Ok(Self::Stdio),
            None if text == "none" || text == "null" => Ok(Self::None),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("unix", _)) => Ok(Self::Unix(text.parse()?)),
            _ => Err("stdio, file:PATH, unix:PATH or none".to_owned()),
        }
    }
}

/// The far end, open.
#[derive(Debug)]
pub(super) enum SerialPort {
    Stdio,
    File(File),
    Unix(Socket),
    None,
}

/// A listening socket and its client.
#[derive(Debug)]
pub(super) struct Socket {
    socket: ListeningSocket,
    client: Option<Client>,
}

/// Who is at the far end, and what it has not taken yet.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    backlog: VecDeque<u8>,
    /// When it took something, or had nothing to take.
    took: Instant,
}

impl SerialPort {
    /// Opens the far end. Errors: the host cannot create the file or socket.
    pub(super) fn open(target: &SerialTarget) -> io::Result<Self> {
        Ok(match target {
            SerialTarget::Stdio => Self::Stdio,
            SerialTarget::None => Self::None,
            SerialTarget::File(path) => Self::File(File::create(path)?),
            SerialTarget::Unix(address) => Self::Unix(Socket::bind(address)?),
        })
    }

    /// Sends what the guest sent. Errors: stdout or the file takes no more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => {
                socket.write(bytes);
                Ok(())
            }
            _ if bytes.is_empty() => Ok(()),
            Self::Stdio => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(file) => file.write_all(bytes),
            Self::None => Ok(()),
        }
    }

    /// Whether so much waits for a slow client that the guest should send no more.
    pub(super) fn is_congested(&self) -> bool {
        match self {
            Self::Unix(socket) => socket.client.as_ref().is_some_and(Client::is_congested),
            _ => false,
        }
    }

    /// Sends what is left, at the end.
    pub(super) fn finish(&mut self) {
        if let Self::Unix(socket) = self
            && let Some(client) = &mut socket.client
        {
            // A client that leaves now misses the rest.
            let _ = client.finish();
        }
    }

    /// What came from a socket's client. Stdin is the console's.
    pub(super) fn read(&mut self) -> Vec<u8> {
        match self {
            Self::Unix(socket) => socket.read(),
            _ => Vec::new(),
        }
    }
}

impl Socket {
    fn bind(address: &SocketAddress) -> io::Result<Self> {
        let socket = ListeningSocket::bind(address)?;
        socket.listener().set_nonblocking(true)?;
        Ok(Self {
            socket,
            client: None,
        })
    }

    fn accept(&mut self) {
        if self.client.is_none()
            && let Ok((stream, _)) = self.socket.listener().accept()
            && stream.set_nonblocking(true).is_ok()
        {
            self.client = Some(Client {
                stream,
                backlog: VecDeque::new(),
                took: Instant::now(),
            });
        }
    }

    /// A line without a listener loses what is sent.
    fn write(&mut self, bytes: &[u8]) {
        self.accept();
        let Some(client) = &mut self.client else {
            return;
        };
        client.backlog.extend(bytes);
        if client.flush().is_err() {
            self.client = None;
        } else if client.is_congested() && client.took.elapsed() > PATIENCE {
            eprintln!("cowbox: --serial: the client does not read; it is cut off");
            self.client = None;
        }
    }

    fn read(&mut self) -> Vec<u8> {
        self.accept();
        let mut buffer = [0; 256];
        let Some(client) = &mut self.client else {
            return Vec::new();
        };
        match client.stream.read(&mut buffer) {
            // It may only have nothing more to say, and still read; if not, writing will tell.
            Ok(0) if !client.backlog.is_empty() => {}
            Ok(0) => self.client = None,
            Ok(len) => return buffer[..len].to_vec(),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.client = None,
        }
        Vec::new()
    }
}

impl Client {
    /// Sends what the socket takes now. Errors: the client is gone.
    fn flush(&mut self) -> io::Result<()> {
        while !self.backlog.is_empty() {
            match self.stream.write(self.backlog.as_slices().0) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    self.backlog.drain(..len);
                    self.took = Instant::now();
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.took = Instant::now();
        Ok(())
    }

    fn is_congested(&self) -> bool {
        self.backlog.len() > BACKLOG
    }

    /// Sends the rest, as long as the client takes something.
    fn finish(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(FAREWELL))?;
        self.stream.write_all(self.backlog.make_contiguous())
    }
}
