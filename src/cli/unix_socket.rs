//! A UNIX socket that Cowbox listens on: its option, and its name in the file system.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `unix:PATH`, with QEMU's suffixes that say what is so here anyway: Cowbox is the server, and
/// waits for no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketAddress(PathBuf);

impl FromStr for SocketAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.strip_prefix("unix:").unwrap_or_default().split(',');
        let path = parts.next().unwrap_or_default();
        if path.is_empty() {
            return Err("unix:PATH is expected".to_owned());
        }
        for part in parts {
            match part {
                "server" | "server=on" | "nowait" | "wait=off" => {}
                _ => {
                    return Err(format!(
                        "{part:?}: Cowbox is the server and waits for no client; unix:PATH says it"
                    ));
                }
            }
        }
        Ok(Self(path.into()))
    }
}

/// A listening socket. Its name goes away with it.
#[derive(Debug)]
pub(super) struct ListeningSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ListeningSocket {
    /// Listens at the address. A socket at which nobody answers is replaced; anything else that is
    /// there stays. Errors: something is there, or the host makes no socket.
    pub(super) fn bind(address: &SocketAddress) -> io::Result<Self> {
        let path = &address.0;
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        remove_stale(path).map_err(named)?;
        Ok(Self {
            listener: UnixListener::bind(path).map_err(named)?,
            path: path.clone(),
        })
    }

    /// Where clients knock.
    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        // Nothing more can be done about a name that stays behind.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket that a run left behind.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(there) if !there.file_type().is_socket() => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file of that name that is no socket; give another path",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            _ => Err(io::Error::new(
                ErrorKind::AddrInUse,
                "another program listens there; give another path",
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_qemu_are_taken_where_they_say_what_is_so() {
        let address = |text: &str| text.parse::<SocketAddress>();
        let expected = SocketAddress("/tmp/x".into());
        for text in [
            "unix:/tmp/x",
            "unix:/tmp/x,server,nowait",
            "unix:/tmp/x,server=on,wait=off",
        ] {
            assert_eq!(address(text), Ok(expected.clone()));
        }
        for text in [
            "",
            "unix:",
            "tcp:localhost:1",
            "unix:/x,wait=on",
            "unix:/x,server=off",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_or_a_live_socket_stays() {
        let directory = std::env::temp_dir().join(format!("cowbox-socket-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("file");
        fs::write(&file, "precious").unwrap();
        let error = ListeningSocket::bind(&SocketAddress(file.clone())).unwrap_err();
        assert!(error.to_string().contains("no socket"));
        assert_eq!(fs::read(&file).unwrap(), b"precious");

        let address = SocketAddress(directory.join("socket"));
        drop(UnixListener::bind(&address.0).unwrap());
        let live = ListeningSocket::bind(&address).unwrap();
        let error = ListeningSocket::bind(&address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(live);
        assert!(!address.0.exists());
        fs::remove_dir_all(&directory).unwrap();
    }
}
