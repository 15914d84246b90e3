//! The image that commands work on, and which command does what.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::super::program::Program;
use super::super::super::report as report_error;
use super::super::cache_mode;
use super::super::drivers::Pairs;
use super::super::keys;
use super::super::options::{Opening, Use};
use super::super::qemu_text::{of_change, of_error, of_number};
use super::super::source::Source;
use super::arguments::{Letters, number, words};
use super::{Done, Failed, look, read, write};
use crate::image::qcow2::preallocate::Preallocation;
use crate::image::{self, Format, Image, Sharing, WriteCache};

/// How an image is opened for commands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub(super) read_only: bool,
    /// Writes go to a throw-away overlay.
    pub(super) overlay: bool,
    pub(super) cache: WriteCache,
}

/// Which image is opened for commands.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The file; without one, the driver options say it.
    pub(super) name: Option<PathBuf>,
    pub(super) format: Option<Format>,
    /// Driver options.
    pub(super) pairs: Pairs,
    pub(super) mode: Mode,
}

/// The open image and what may be done with it.
#[derive(Debug)]
pub(super) struct Session {
    opening: Opening,
    program: Program,
    image: Option<Arc<dyn Image>>,
    opened: Option<Named>,
    ended: bool,
}

/// A command line that is being carried out.
#[derive(Debug)]
pub(super) struct Command {
    kind: &'static Kind,
    words: Vec<String>,
}

impl Command {
    /// The command's own name.
    pub(super) fn name(&self) -> &'static str {
        self.kind.name
    }

    /// The words behind the name.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// The letters among the words, read by `known`.
    pub(super) fn letters(&self, known: &str) -> Result<Letters, Failed> {
        Letters::parse(&self.words, known).ok_or_else(|| self.misused())
    }

    /// Says how the command is used.
    pub(super) fn misused(&self) -> Failed {
        println!(
            "{} {} -- {}",
            self.kind.name, self.kind.arguments, self.kind.about
        );
        Failed
    }
}

/// A command that there is.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    short: &'static str,
    /// How many words it takes, at least and at most.
    takes: (usize, usize),
    needs_image: bool,
    arguments: &'static str,
    about: &'static str,
    run: fn(&mut Session, &Command) -> Done,
}

const MANY: usize = usize::MAX;

const fn on_image(
    names: (&'static str, &'static str),
    takes: (usize, usize),
    arguments: &'static str,
    about: &'static str,
    run: fn(&mut Session, &Command) -> Done,
) -> Kind {
    Kind {
        name: names.0,
        short: names.1,
        takes,
        needs_image: true,
        arguments,
        about,
        run,
    }
}

const fn anywhere(
    names: (&'static str, &'static str),
    takes: (usize, usize),
    arguments: &'static str,
    about: &'static str,
    run: fn(&mut Session, &Command) -> Done,
) -> Kind {
    Kind {
        needs_image: false,
        ..on_image(names, takes, arguments, about, run)
    }
}

const READ: &str = "[-abCqv] [-P pattern [-s off] [-l len]] off len";
const WRITE: &str = "[-bcCfnquz] [-P pattern | -s source_file] off len";

/// The commands, in the order of their names.
static KINDS: [Kind; 22] = [
    on_image(
        ("aio_flush", ""),
        (0, 0),
        "",
        "waits for asynchronous requests",
        aio_flush,
    ),
    on_image(
        ("aio_read", ""),
        (2, MANY),
        "[-Ciqv] [-P pattern] off len [len..]",
        "asynchronously reads a number of bytes",
        read::readv,
    ),
    on_image(
        ("aio_write", ""),
        (2, MANY),
        "[-Cfiquz] [-P pattern] off len [len..]",
        "asynchronously writes a number of bytes",
        write::writev,
    ),
    on_image(
        ("alloc", "a"),
        (1, 2),
        "offset [count]",
        "checks if offset is allocated in the file",
        look::alloc,
    ),
    anywhere(
        ("close", "c"),
        (0, 0),
        "",
        "close the current open file",
        close,
    ),
    on_image(
        ("discard", "d"),
        (2, MANY),
        "[-Cq] off len",
        "discards a number of bytes at a specified offset",
        write::discard,
    ),
    on_image(
        ("flush", "f"),
        (0, 0),
        "",
        "flush all in-core file state to disk",
        flush,
    ),
    anywhere(
        ("help", "?"),
        (0, 1),
        "[command]",
        "help for one or all commands",
        help,
    ),
    on_image(
        ("info", "i"),
        (0, 0),
        "",
        "prints information about the current file",
        look::info,
    ),
    on_image(
        ("length", "l"),
        (0, 0),
        "",
        "gets the length of the current file",
        look::length,
    ),
    on_image(
        ("map", ""),
        (0, 0),
        "",
        "prints the allocated areas of a file",
        look::map,
    ),
    anywhere(
        ("open", "o"),
        (0, MANY),
        "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
        "open the file specified by path",
        open,
    ),
    anywhere(("quit", "q"), (0, MANY), "", "exit the program", quit),
    on_image(
        ("read", "r"),
        (2, MANY),
        READ,
        "reads a number of bytes at a specified offset",
        read::read,
    ),
    on_image(
        ("readv", ""),
        (2, MANY),
        "[-Cqv] [-P pattern] off len [len..]",
        "reads a number of bytes at a specified offset",
        read::readv,
    ),
    on_image(
        ("reopen", ""),
        (0, MANY),
        "[(-r|-w)] [-c cache] [-o options]",
        "reopens an image with new options",
        reopen,
    ),
    anywhere(
        ("sigraise", ""),
        (1, 1),
        "signal",
        "raises a signal",
        sigraise,
    ),
    anywhere(
        ("sleep", ""),
        (1, 1),
        "milliseconds",
        "waits for the given value in milliseconds",
        sleep,
    ),
    on_image(
        ("truncate", "t"),
        (1, 3),
        "[-m prealloc_mode] off",
        "truncates the current file at the given offset",
        truncate,
    ),
    on_image(
        ("write", "w"),
        (2, MANY),
        WRITE,
        "writes a number of bytes at a specified offset",
        write::write,
    ),
    on_image(
        ("writev", ""),
        (2, MANY),
        "[-Cfq] [-P pattern] off len [len..]",
        "writes a number of bytes at a specified offset",
        write::writev,
    ),
    anywhere(
        ("version", ""),
        (0, 0),
        "",
        "prints the version of this program",
        version,
    ),
];

impl Session {
    /// A session without an image.
    pub(super) fn new(opening: Opening, program: Program) -> Self {
        Self {
            opening,
            program,
            image: None,
            opened: None,
            ended: false,
        }
    }

    /// Whether `quit` was met.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whose errors are reported.
    pub(super) fn program(&self) -> Program {
        self.program
    }

    /// The open image.
    pub(super) fn image(&self) -> Result<&dyn Image, Failed> {
        match &self.image {
            Some(image) => Ok(&**image),
            None => {
                eprintln!("no file open, try 'help open'");
                Err(Failed)
            }
        }
    }

    /// Opens an image.
    pub(super) fn open(&mut self, named: Named) -> Result<(), Box<dyn Error>> {
        if self.image.is_some() {
            return Err("file open already, try 'help close'".into());
        }
        let mode = named.mode;
        let purpose = match mode.read_only || mode.overlay {
            true => Use::Read,
            false => Use::Change,
        };
        let mut source = self.source(&named, purpose)?;
        source.options.cache = mode.cache;
        if self.opening.shares() {
            source.options.sharing = Sharing::Everything;
        }
        let mut image = source.open()?;
        if mode.overlay {
            image = image::overlay(image, &std::env::temp_dir())?;
        }
        self.image = Some(image);
        self.opened = Some(named);
        Ok(())
    }

    fn source(&self, named: &Named, purpose: Use) -> Result<Source, Box<dyn Error>> {
        match (&named.name, &*named.pairs) {
            (Some(name), []) => self
                .opening
                .source(name, named.format, purpose, self.program),
            (name, pairs) => {
                let pairs = pairs.to_vec();
                self.opening
                    .described(name.as_deref(), pairs, purpose, self.program)
            }
        }
    }

    /// Closes the image and gives what opens it for changes of its structure.
    pub(super) fn close_for_change(&mut self) -> Result<(Named, Source), Box<dyn Error>> {
        let named = self.opened.clone().ok_or("no file open, try 'help open'")?;
        let source = self.source(&named, Use::Change)?;
        self.close()?;
        Ok((named, source))
    }

    /// Writes machine state, for which the L1 table may have to become longer.
    pub(super) fn write_vm_state(&mut self, data: &[u8], offset: u64) -> Done {
        if self.opened.as_ref().is_some_and(|named| named.mode.overlay) {
            println!("write failed: {}", of_number(libc::ENOTSUP));
            return Err(Failed);
        }
        let changing = self.close_for_change();
        let (named, source) = changing.map_err(|error| self.fail(&*error))?;
        let written = image::open_qcow2(&source.path, &source.options).and_then(|mut image| {
            image.write_vm_state(data, offset)?;
            image.close()
        });
        let reopened = self.open(named);
        reopened.map_err(|error| self.fail(&*error))?;
        written.map_err(|error| {
            println!("write failed: {}", of_error(&error));
            Failed
        })
    }

    /// Makes the disk `size` bytes long.
    fn resize(&mut self, size: u64, preallocation: Preallocation) -> Result<(), Box<dyn Error>> {
        let (named, source) = self.close_for_change()?;
        let resized = image::resize(&source.path, &source.options, size, preallocation);
        let reopened = self.open(named);
        resized.map_err(|error| of_change(error, self.program))?;
        reopened
    }

    /// Closes the image, if one is open.
    pub(super) fn close(&mut self) -> Result<(), Box<dyn Error>> {
        match self.image.take() {
            Some(image) => Ok(image.close()?),
            None => Ok(()),
        }
    }

    /// Carries out one command line; an empty one is none.
    pub(super) fn carry_out(&mut self, line: &str) -> Done {
        let mut words = words(line);
        if words.is_empty() {
            return Ok(());
        }
        let name = words.remove(0);
        let Some(kind) = find(&name) else {
            eprintln!("command \"{name}\" not found");
            return Err(Failed);
        };
        if kind.needs_image {
            self.image()?;
        }
        let (least, most) = kind.takes;
        if !(least..=most).contains(&words.len()) {
            let expected = match (least, most) {
                (least, MANY) => format!("expected at least {least} arguments"),
                (least, most) if least == most => format!("expected {least} arguments"),
                _ => format!("expected between {least} and {most} arguments"),
            };
            eprintln!("bad argument count {} to {name}, {expected}", words.len());
            return Err(Failed);
        }
        let run = kind.run;
        run(self, &Command { kind, words })
    }

    fn fail(&self, error: &dyn Error) -> Failed {
        report_error(error, self.program);
        Failed
    }
}

fn find(name: &str) -> Option<&'static Kind> {
    let called = |kind: &&Kind| kind.name == name || (!kind.short.is_empty() && kind.short == name);
    KINDS.iter().find(called)
}

fn open(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("snCro:ki:t:d:U")?;
    let mut mode = Mode {
        read_only: letters.has('r'),
        overlay: letters.has('s'),
        cache: WriteCache::WriteThrough,
    };
    if letters.has('n') {
        mode.cache = WriteCache::None;
    }
    if let Some(name) = letters.value('t') {
        mode.cache =
            cache_mode::mode(name).map_err(|e| session.fail(&*Box::<dyn Error>::from(e)))?;
    }
    let mut pairs = letters.value('o').map(keys::parse).unwrap_or_default();
    pairs.retain(|(key, value)| {
        let read_only = key == "read-only";
        mode.read_only |= read_only && value == "on";
        !read_only
    });
    let name = letters.rest.first().map(PathBuf::from);
    if name.is_none() && pairs.is_empty() {
        return Err(command.misused());
    }
    let opened = session.open(Named {
        name,
        format: None,
        pairs,
        mode,
    });
    opened.map_err(|error| session.fail(&*error))
}

fn close(session: &mut Session, _: &Command) -> Done {
    session.close().map_err(|error| session.fail(&*error))
}

fn reopen(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("c:o:rw")?;
    let Some(mut named) = session.opened.clone() else {
        return Err(command.misused());
    };
    let mode = &mut named.mode;
    mode.read_only = (mode.read_only || letters.has('r')) && !letters.has('w');
    if let Some(name) = letters.value('c') {
        mode.cache =
            cache_mode::mode(name).map_err(|e| session.fail(&*Box::<dyn Error>::from(e)))?;
    }
    let reopened = session.close().and_then(|()| session.open(named));
    reopened.map_err(|error| session.fail(&*error))
}

fn quit(session: &mut Session, _: &Command) -> Done {
    session.ended = true;
    Ok(())
}

fn flush(session: &mut Session, _: &Command) -> Done {
    session.image()?.flush().map_err(|e| session.fail(&e))
}

fn aio_flush(session: &mut Session, _: &Command) -> Done {
    session.image().map(|_| ())
}

fn truncate(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("m:")?;
    let [size] = &*letters.rest else {
        return Err(command.misused());
    };
    let size = number(size)?;
    let preallocation = super::super::preallocation(letters.value('m').unwrap_or("off"));
    let fail = |session: &Session, text: String| session.fail(&*Box::<dyn Error>::from(text));
    let preallocation = preallocation.map_err(|text| fail(session, text))?;
    let resized = session.resize(size, preallocation);
    resized.map_err(|error| session.fail(&*error))
}

fn sleep(_: &mut Session, command: &Command) -> Done {
    let milliseconds = command.words()[0].parse().map_err(|_| {
        println!("{} is not a valid number", command.words()[0]);
        Failed
    })?;
    std::thread::sleep(Duration::from_millis(milliseconds));
    Ok(())
}

/// Ends the process as a signal does, with nothing closed.
fn sigraise(_: &mut Session, command: &Command) -> Done {
    let signal = number(&command.words()[0])?;
    match i32::try_from(signal) {
        Ok(signal) if signal <= 64 => {
            let raised = signal_hook::low_level::raise(signal);
            raised.map_err(|_| Failed)
        }
        _ => {
            println!("signal argument '{signal}' is too large to be a valid signal");
            Err(Failed)
        }
    }
}

fn version(_: &mut Session, _: &Command) -> Done {
    println!("cowbox {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

fn help(_: &mut Session, command: &Command) -> Done {
    let line = |kind: &Kind| println!("{} {} -- {}", kind.name, kind.arguments, kind.about);
    let Some(name) = command.words().first() else {
        KINDS.iter().for_each(line);
        println!("\nUse 'help commandname' for extended help.");
        return Ok(());
    };
    match find(name) {
        Some(kind) => line(kind),
        None => println!("command {name} not found"),
    }
    Ok(())
}
