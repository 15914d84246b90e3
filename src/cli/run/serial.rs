//! The far end of the first serial port: the terminal, a file, a UNIX socket, or nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::unix_socket::{ListeningSocket, SocketAddress};

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
    client: Option<UnixStream>,
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
            _ if bytes.is_empty() => Ok(()),
            Self::Stdio => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(file) => file.write_all(bytes),
            Self::Unix(socket) => {
                socket.write(bytes);
                Ok(())
            }
            Self::None => Ok(()),
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
            && let Ok((client, _)) = self.socket.listener().accept()
            && client.set_nonblocking(true).is_ok()
        {
            self.client = Some(client);
        }
    }

    /// A line without a listener loses what is sent.
    fn write(&mut self, bytes: &[u8]) {
        self.accept();
        if let Some(client) = &mut self.client
            && client.set_nonblocking(false).is_ok()
            && client.write_all(bytes).is_ok()
            && client.set_nonblocking(true).is_ok()
        {
            return;
        }
        self.client = None;
    }

    fn read(&mut self) -> Vec<u8> {
        self.accept();
        let mut buffer = [0; 256];
        let Some(client) = &mut self.client else {
            return Vec::new();
        };
        match client.read(&mut buffer) {
            Ok(0) => self.client = None,
            Ok(len) => return buffer[..len].to_vec(),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.client = None,
        }
        Vec::new()
    }
}
