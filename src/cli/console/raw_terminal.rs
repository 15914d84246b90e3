//! The terminal's raw mode and size. (POSIX.1-2017, chapter 11; ioctl_tty(2).)

use std::io::{self, IsTerminal, Write};
use std::mem::MaybeUninit;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Leaves the alternate screen, shows the cursor, plain colours.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// The alternate screen, cleared.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[H";

/// How many characters the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// In a row.
    pub columns: usize,
    /// From top to bottom.
    pub rows: usize,
}

/// What the terminal was like before.
struct Original {
    settings: libc::termios,
    screen: AtomicBool,
    restored: AtomicBool,
}

impl Original {
    /// Puts the terminal back, once.
    fn restore(&self) {
        if self.restored.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.screen.load(Ordering::SeqCst) {
            let mut out = io::stdout();
            // Nobody is left to tell if the terminal is gone.
            let _ = out.write_all(LEAVE).and_then(|()| out.flush());
        }
        // SAFETY: the settings were filled by tcgetattr; the call only reads them.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const self.settings) };
    }
}

/// The terminal of stdin and stdout in raw mode: every key arrives at once and unseen.
pub struct RawTerminal {
    original: Arc<Original>,
}

impl RawTerminal {
    /// Whether both stdin and stdout are a terminal.
    pub fn is_available() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Makes the terminal raw. It is put back when the value is dropped, or when any thread
    /// panics, before the message. Errors: stdin is no terminal.
    pub fn enter() -> io::Result<Self> {
        let settings = current_settings()?;
        let original = Arc::new(Original {
            settings,
            screen: AtomicBool::new(false),
            restored: AtomicBool::new(false),
        });
        let mut raw_settings = settings;
        // SAFETY: both calls get a pointer to a termios that tcgetattr filled.
        let status = unsafe {
            libc::cfmakeraw(&raw mut raw_settings);
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const raw_settings)
        };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
        restore_on_panic(Arc::clone(&original));
        Ok(Self { original })
    }

    /// Switches to the alternate screen until the end.
    pub fn take_screen(&self) -> io::Result<()> {
        self.original.screen.store(true, Ordering::SeqCst);
        let mut out = io::stdout();
        out.write_all(ENTER)?;
        out.flush()
    }

    /// The size now; 80 by 25 if the terminal does not say.
    pub fn size(&self) -> TerminalSize {
        TerminalSize::of_stdout()
    }
}

impl TerminalSize {
    /// The size of the terminal on stdout; 80 by 25 if it does not say.
    pub fn of_stdout() -> Self {
        let mut size = MaybeUninit::<libc::winsize>::zeroed();
        // SAFETY: TIOCGWINSZ writes one winsize, for which there is room.
        let status =
            unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr()) };
        // SAFETY: zeroes are a valid winsize, and the kernel overwrites all of it or nothing.
        let size = unsafe { size.assume_init() };
        if status != 0 || size.ws_col == 0 || size.ws_row == 0 {
            return Self {
                columns: 80,
                rows: 25,
            };
        }
        Self {
            columns: usize::from(size.ws_col),
            rows: usize::from(size.ws_row),
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.original.restore();
    }
}

fn current_settings() -> io::Result<libc::termios> {
    let mut settings = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: tcgetattr writes one termios, for which there is room.
    let status = unsafe { libc::tcgetattr(libc::STDIN_FILENO, settings.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the settings are filled.
    Ok(unsafe { settings.assume_init() })
}

/// A panic's message is of use on the screen that the user sees afterwards only.
fn restore_on_panic(original: Arc<Original>) {
    let next = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        original.restore();
        next(info);
    }));
}
