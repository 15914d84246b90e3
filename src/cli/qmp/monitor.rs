//! The human monitor, as far as `human-monitor-command` reaches it: lines of text in and out.
//! Output lines end in CR LF, as QEMU's.

use super::control::{RunState, Target};
use super::keys;
use super::message::{Failure, version};
use super::{dump, registers};
use crate::machine::{Event, Key};

/// What a line says: the words behind the command.
type Words<'a> = &'a [String];
type Handler = fn(&mut Target<'_>, Words<'_>) -> Result<String, Failure>;

/// Names (the first is the usual one), what follows them, what they do, and how.
const COMMANDS: [(&[&str], &str, &str, Handler); 10] = [
    (&["cont", "c"], "", "let the machine go on", cont),
    (&["help", "?"], "", "this list", help),
    (
        &["info"],
        "registers|status|version",
        "show something",
        info,
    ),
    (
        &["pmemsave"],
        "ADDRESS SIZE FILE",
        "save physical memory",
        pmemsave,
    ),
    (&["quit", "q"], "", "switch off and leave", quit),
    (
        &["screendump"],
        "[-f ppm|png] FILE",
        "save a picture of the screen",
        screendump,
    ),
    (
        &["sendkey"],
        "KEY[-KEY]... [MILLISECONDS]",
        "press keys together",
        sendkey,
    ),
    (&["stop", "s"], "", "stop the machine", stop),
    (
        &["system_powerdown"],
        "",
        "press the power button",
        system_powerdown,
    ),
    (
        &["system_reset"],
        "",
        "press the reset button",
        system_reset,
    ),
];

/// Executes a line; returns what it prints.
pub(super) fn execute(target: &mut Target<'_>, line: &str) -> String {
    let words = words(line);
    let Some((command, rest)) = words.split_first() else {
        return String::new();
    };
    let found = COMMANDS
        .iter()
        .find(|(names, ..)| names.contains(&command.as_str()));
    let printed = match found {
        None => format!("unknown command: '{command}'\n"),
        Some((.., handler)) => handler(target, rest)
            .unwrap_or_else(|failure| format!("Error: {}\n", failure.description())),
    };
    printed.replace('\n', "\r\n")
}

/// Splits at spaces; what stands in quotes is one word.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}

fn usage(command: &str) -> Failure {
    let found = COMMANDS.iter().find(|(names, ..)| names[0] == command);
    let rest = found.map_or("", |(_, rest, ..)| rest);
    Failure::generic(format!("usage: {command} {rest}"))
}

/// A number, decimal or with 0x.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn silent() -> Result<String, Failure> {
    Ok(String::new())
}

fn cont(target: &mut Target<'_>, _: Words<'_>) -> Result<String, Failure> {
    target.control.set_state(RunState::Running);
    silent()
}

fn stop(target: &mut Target<'_>, _: Words<'_>) -> Result<String, Failure> {
    target.control.set_state(RunState::Paused);
    silent()
}

fn quit(target: &mut Target<'_>, _: Words<'_>) -> Result<String, Failure> {
    target.control.leave();
    silent()
}

fn system_reset(target: &mut Target<'_>, _: Words<'_>) -> Result<String, Failure> {
    target.press(Event::ResetButton);
    silent()
}

fn system_powerdown(target: &mut Target<'_>, _: Words<'_>) -> Result<String, Failure> {
    target.press(Event::PowerButton);
    target.control.tell("POWERDOWN");
    silent()
}

fn help(_: &mut Target<'_>, _: Words<'_>) -> Result<String, Failure> {
    let line = |(names, rest, what, _): &(&[&str], &str, &str, Handler)| {
        format!("{} {rest} -- {what}\n", names.join("|"))
    };
    Ok(COMMANDS.iter().map(line).collect())
}

fn info(target: &mut Target<'_>, words: Words<'_>) -> Result<String, Failure> {
    match words {
        [what] if what == "registers" => Ok(registers::dump(target.machine)),
        [what] if what == "status" => Ok(format!("VM status: {}\n", target.control.state().name())),
        [what] if what == "version" => {
            let version = version();
            let (qemu, package) = (&version["qemu"], &version["package"]);
            let number = [&qemu["major"], &qemu["minor"], &qemu["micro"]].map(|n| n.to_string());
            let package = package.as_str().unwrap_or_default();
            Ok(format!("{} ({package})\n", number.join(".")))
        }
        _ => Err(usage("info")),
    }
}

fn pmemsave(target: &mut Target<'_>, words: Words<'_>) -> Result<String, Failure> {
    let [address, size, file] = words else {
        return Err(usage("pmemsave"));
    };
    let (Some(address), Some(size)) = (number(address), number(size)) else {
        return Err(usage("pmemsave"));
    };
    dump::memory(target.machine, address, size, file)?;
    silent()
}

fn screendump(target: &mut Target<'_>, words: Words<'_>) -> Result<String, Failure> {
    let (file, format) = match words {
        [file] => (file, "ppm"),
        [option, format, file] if option == "-f" => (file, format.as_str()),
        _ => return Err(usage("screendump")),
    };
    dump::screen(target.machine, file, format)?;
    silent()
}

/// `ctrl-alt-delete`; a key by its name, or its number with 0x.
fn sendkey(target: &mut Target<'_>, words: Words<'_>) -> Result<String, Failure> {
    let (names, hold) = match words {
        [names] => (names, None),
        [names, hold] => (names, Some(number(hold).ok_or_else(|| usage("sendkey"))?)),
        _ => return Err(usage("sendkey")),
    };
    let key = |name: &str| match name.starts_with("0x") {
        true => number(name).and_then(keys::from_number),
        false => Key::from_name(name),
    };
    let named = |name: &str| key(name).ok_or_else(|| Failure::generic(format!("no key {name}")));
    let keys: Result<Vec<Key>, Failure> = names.split('-').map(named).collect();
    keys::press(target, &keys?, hold)?;
    silent()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::qmp::Control;
    use crate::machine::MachineConfig;

    fn say(lines: &[&str]) -> Vec<String> {
        let mut machine = MachineConfig::new(4 << 20, 0).assemble().unwrap();
        let mut control = Control::default();
        let mut target = Target {
            machine: &mut machine,
            control: &mut control,
        };
        lines
            .iter()
            .map(|line| execute(&mut target, line))
            .collect()
    }

    #[test]
    fn lines_are_split_at_spaces_outside_quotes() {
        assert_eq!(words("  a \"b c\"  d "), ["a", "b c", "d"]);
        assert_eq!(words("\"open"), ["open"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn status_follows_stop_and_cont() {
        let said = say(&["info status", "stop", "info status", "c", "info status"]);
        let (running, paused) = ("VM status: running\r\n", "VM status: paused\r\n");
        assert_eq!(said, [running, "", paused, "", running]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in [
            "nonsense",
            "info",
            "info nonsense",
            "sendkey",
            "sendkey nokey",
            "sendkey a x",
            "sendkey 0x7f",
            "pmemsave 1 2",
            "pmemsave x 2 /nonexistent/f",
            "pmemsave 0 0xffffffffffffffff /nonexistent/f",
            "screendump",
            "screendump -f gif /nonexistent/f",
            "screendump /nonexistent/f",
        ] {
            let said = say(&[line]).remove(0);
            assert!(
                said.ends_with("\r\n") && said.lines().count() == 1,
                "{line}"
            );
        }
    }

    #[test]
    fn help_names_every_command() {
        let said = say(&["help"]).remove(0);
        assert_eq!(said.lines().count(), COMMANDS.len());
    }
}
