//! The console: the user's terminal as the screen and keyboard of the machine, or as the far end
//! of its serial line.
//!
//! ```text
//!   stdin --> Input (a thread) --> Prefix (Ctrl-A) --> serial bytes
//!                                                  +-> Decoder --> chords for the keyboard
//!   machine::Screen --> Painter --> stdout
//! ```
//!
//! The terminal is raw while [`RawTerminal`] lives, and is put back also by a panic. Left out:
//! mouse, key releases (a terminal sends none), layouts other than US.

mod charset;
mod decode;
mod input;
mod keys;
mod paint;
mod prefix;
#[expect(
    unsafe_code,
    reason = "termios and the window size have no safe interface in std"
)]
mod raw_terminal;

pub use decode::{Chord, Decoder};
pub use input::Input;
pub use paint::Painter;
pub use prefix::{HELP, Prefix, Typed};
pub use raw_terminal::{RawTerminal, TerminalSize};
