//! The commands of the protocol, in one table.

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::control::{RunState, Target};
use super::message::{Answer, Failure, Request, version};
use super::{NEGOTIATE, block, dump, keys, monitor};
use crate::machine::Event;

/// What a command does with its arguments.
type Handler = fn(&mut Target<'_>, Arguments) -> Answer;

/// All commands but the negotiation.
const COMMANDS: [(&str, Handler); 14] = [
    ("cont", cont),
    ("human-monitor-command", human_monitor_command),
    ("pmemsave", pmemsave),
    ("query-block", query_block),
    ("query-commands", query_commands),
    ("query-name", query_name),
    ("query-status", query_status),
    ("query-version", query_version),
    ("quit", quit),
    ("screendump", screendump),
    ("send-key", send_key),
    ("stop", stop),
    ("system_powerdown", system_powerdown),
    ("system_reset", system_reset),
];

/// Executes a command.
pub(super) fn execute(request: Request, target: &mut Target<'_>) -> Answer {
    let Request { command, arguments } = request;
    match COMMANDS.iter().find(|(name, _)| *name == command) {
        Some((_, handler)) => handler(target, arguments),
        None => Err(Failure::command_not_found(format!(
            "there is no command {command}; query-commands lists them"
        ))),
    }
}

fn done() -> Answer {
    Ok(json!({}))
}

/// Guest time does not pass until `cont`.
fn stop(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    target.control.set_state(RunState::Paused);
    done()
}

fn cont(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    target.control.set_state(RunState::Running);
    done()
}

fn quit(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    target.control.leave();
    done()
}

/// The reset button.
fn system_reset(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    target.press(Event::ResetButton);
    done()
}

/// The power button; what it does is up to the guest.
fn system_powerdown(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    target.press(Event::PowerButton);
    target.control.tell("POWERDOWN");
    done()
}

fn query_status(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    let state = target.control.state();
    Ok(json!({
        "status": state.name(),
        "running": state == RunState::Running,
        "singlestep": false,
    }))
}

fn query_version(_: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    Ok(version())
}

/// A machine has no name here.
fn query_name(_: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    done()
}

fn query_commands(_: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    let names = COMMANDS.iter().map(|(name, _)| *name).chain([NEGOTIATE]);
    Ok(names.map(|name| json!({ "name": name })).collect())
}

fn query_block(target: &mut Target<'_>, arguments: Arguments) -> Answer {
    arguments.finish()?;
    let drives = target.machine.drives().into_iter();
    Ok(drives
        .map(|(place, disk)| block::describe(place, disk))
        .collect())
}

fn send_key(target: &mut Target<'_>, mut arguments: Arguments) -> Answer {
    let keys = arguments.list("keys")?;
    let hold = arguments.optional_number("hold-time")?;
    arguments.finish()?;
    let keys: Result<Vec<_>, _> = keys.iter().map(keys::from_value).collect();
    keys::press(target, &keys?, hold)?;
    done()
}

fn screendump(target: &mut Target<'_>, mut arguments: Arguments) -> Answer {
    let file = arguments.string("filename")?;
    let format = arguments.optional_string("format")?;
    arguments.finish()?;
    dump::screen(target.machine, &file, format.as_deref().unwrap_or("ppm"))?;
    done()
}

fn pmemsave(target: &mut Target<'_>, mut arguments: Arguments) -> Answer {
    let (address, size) = (arguments.number("val")?, arguments.number("size")?);
    let file = arguments.string("filename")?;
    arguments.finish()?;
    dump::memory(target.machine, address, size, &file)?;
    done()
}

fn human_monitor_command(target: &mut Target<'_>, mut arguments: Arguments) -> Answer {
    let line = arguments.string("command-line")?;
    if arguments.optional_number("cpu-index")?.unwrap_or(0) != 0 {
        return Err(Failure::generic("there is one CPU, with index 0"));
    }
    arguments.finish()?;
    Ok(Value::String(monitor::execute(target, &line)))
}

impl Target<'_> {
    /// Has a button act before the next instruction.
    pub(super) fn press(&mut self, button: Event) {
        self.machine.feed(button);
    }
}
