//! Keys that a client presses. They go down one after the other and come up in reverse, each the
//! hold time after the one before, in guest time; the next command's keys wait for these.

use serde_json::Value;

use super::control::Target;
use super::message::Failure;
use crate::machine::{Event, Key, TICKS_PER_SECOND, Tick};

const TICKS_PER_MS: Tick = TICKS_PER_SECOND / 1000;
/// How long a key is held unless the client says so, in milliseconds.
const USUAL_HOLD: u64 = 100;
const LONGEST_HOLD: u64 = 10_000;
/// So many keys may be pressed at once.
const MOST_KEYS: usize = 16;
/// So much guest time ahead keys may be asked for.
const FURTHEST: Tick = 600 * TICKS_PER_SECOND;

/// The key that a client means by `{"type": "qcode", "data": "ret"}` or
/// `{"type": "number", "data": 28}`.
pub(super) fn from_value(value: &Value) -> Result<Key, Failure> {
    let data = &value["data"];
    let key = match value["type"].as_str() {
        Some("qcode") => data.as_str().and_then(Key::from_name),
        Some("number") => data.as_u64().and_then(from_number),
        _ => None,
    };
    key.ok_or_else(|| Failure::generic(format!("{value} is no key")))
}

/// The key of a number: its scan code in set 1, with bit 7 where that has the prefix E0h.
pub(super) fn from_number(number: u64) -> Option<Key> {
    let code = u16::try_from(number).ok().filter(|n| *n <= 0xff)?;
    match code & 0x80 {
        0 => Key::from_set1(code),
        _ => Key::from_set1(0xe000 | code & 0x7f),
    }
}

/// Presses the keys, each held for `hold` milliseconds.
pub(super) fn press(
    target: &mut Target<'_>,
    keys: &[Key],
    hold: Option<u64>,
) -> Result<(), Failure> {
    if keys.len() > MOST_KEYS {
        return Err(Failure::generic(format!(
            "at most {MOST_KEYS} keys at once"
        )));
    }
    let hold = hold.filter(|hold| *hold != 0).unwrap_or(USUAL_HOLD);
    if hold > LONGEST_HOLD {
        let longest = format!("a key is held for at most {LONGEST_HOLD} ms");
        return Err(Failure::generic(longest));
    }
    let now = target.machine.now();
    let mut at = target.control.keys_done.max(now);
    if at - now > FURTHEST {
        let waiting = "too many keys wait for guest time to pass; try again later";
        return Err(Failure::generic(waiting));
    }
    let down = keys.iter().map(|key| Event::KeyDown(*key));
    let up = keys.iter().rev().map(|key| Event::KeyUp(*key));
    for event in down.chain(up) {
        target.machine.inlet().push(at, event);
        at += hold * TICKS_PER_MS;
    }
    target.control.keys_done = at;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::qmp::Control;
    use crate::machine::MachineConfig;

    #[test]
    fn keys_have_names_and_numbers() {
        let key = |kind: &str, data: Value| from_value(&json!({"type": kind, "data": data})).ok();
        assert_eq!(key("qcode", json!("kp_enter")), Some(Key::KeypadEnter));
        assert_eq!(key("number", json!(0x1c)), Some(Key::Return));
        assert_eq!(key("number", json!(0x9c)), Some(Key::KeypadEnter));
        for (kind, data) in [
            ("qcode", json!("nokey")),
            ("qcode", json!(1)),
            ("number", json!(0x7f)),
            ("number", json!(1 << 20)),
            ("other", json!("a")),
        ] {
            assert_eq!(key(kind, data), None);
        }
        assert!(from_value(&json!("a")).is_err());
    }

    #[test]
    fn keys_go_down_in_order_and_up_in_reverse_with_the_hold_time_between() {
        let mut machine = MachineConfig::new(4 << 20, 0).assemble().unwrap();
        while machine.inlet().take_due(0).is_some() {}
        let mut control = Control::default();
        let mut target = Target {
            machine: &mut machine,
            control: &mut control,
        };
        press(&mut target, &[Key::Shift, Key::A], Some(5)).unwrap();
        press(&mut target, &[Key::B], None).unwrap();
        let mut order = Vec::new();
        for ms in 0..200 {
            while let Some(event) = machine.inlet().take_due(ms * TICKS_PER_MS) {
                order.push((ms, event));
            }
        }
        let expected = [
            (0, Event::KeyDown(Key::Shift)),
            (5, Event::KeyDown(Key::A)),
            (10, Event::KeyUp(Key::A)),
            (15, Event::KeyUp(Key::Shift)),
            (20, Event::KeyDown(Key::B)),
            (120, Event::KeyUp(Key::B)),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn keys_without_end_are_refused() {
        let mut machine = MachineConfig::new(4 << 20, 0).assemble().unwrap();
        let mut control = Control::default();
        let mut target = Target {
            machine: &mut machine,
            control: &mut control,
        };
        let refused = (0..1000).any(|_| press(&mut target, &[Key::A], Some(1000)).is_err());
        assert!(refused);
        assert!(press(&mut target, &[Key::A], Some(u64::MAX)).is_err());
        assert!(press(&mut target, &[Key::A; 100], None).is_err());
    }
}
