//! The messages of the protocol: greeting, request, answer, event.

use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::arguments::Arguments;

/// The version of QEMU's protocol whose words are spoken here.
pub(super) fn version() -> Value {
    json!({
        "qemu": { "major": 7, "minor": 2, "micro": 0 },
        "package": concat!("cowbox ", env!("CARGO_PKG_VERSION")),
    })
}

/// What a client hears first.
pub(super) fn greeting() -> Value {
    json!({ "QMP": { "version": version(), "capabilities": [] } })
}

/// What went wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    class: &'static str,
    description: String,
}

impl Failure {
    /// Anything that has no class of its own.
    pub(super) fn generic(description: impl Display) -> Self {
        Self {
            class: "GenericError",
            description: description.to_string(),
        }
    }

    /// There is no such command, or not now.
    pub(super) fn command_not_found(description: impl Display) -> Self {
        Self {
            class: "CommandNotFound",
            description: description.to_string(),
        }
    }

    /// The text for a person.
    pub(super) fn description(&self) -> &str {
        &self.description
    }
}

/// What a command returns.
pub(super) type Answer = Result<Value, Failure>;

/// A command with its arguments.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: String,
    pub(super) arguments: Arguments,
}

/// Reads a request. The identifier comes with it, or with the failure if the input had one.
pub(super) fn parse(text: &[u8]) -> (Option<Value>, Result<Request, Failure>) {
    match serde_json::from_slice(text) {
        Ok(Value::Object(mut members)) => {
            let id = members.remove("id");
            (id, request(members))
        }
        Ok(_) => (None, Err(Failure::generic("a request is a JSON object"))),
        Err(e) => (None, Err(Failure::generic(format!("not JSON: {e}")))),
    }
}

fn request(mut members: Map<String, Value>) -> Result<Request, Failure> {
    let command = match members.remove("execute") {
        Some(Value::String(command)) => command,
        Some(_) => return Err(Failure::generic("'execute' is not a string")),
        None => return Err(Failure::generic("a request has a member 'execute'")),
    };
    let arguments = match members.remove("arguments") {
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(Failure::generic("'arguments' is not an object")),
        None => Map::new(),
    };
    match members.keys().next() {
        Some(name) => Err(Failure::generic(format!(
            "a request has no member '{name}'"
        ))),
        None => Ok(Request {
            command,
            arguments: Arguments::new(arguments),
        }),
    }
}

/// The answer as it is sent.
pub(super) fn reply(id: Option<Value>, answer: Answer) -> Value {
    let mut reply = match answer {
        Ok(value) => json!({ "return": value }),
        Err(failure) => json!({
            "error": { "class": failure.class, "desc": failure.description }
        }),
    };
    if let Some(id) = id {
        reply["id"] = id;
    }
    reply
}

/// An event of this name, that happens now.
pub(super) fn event(name: &str, data: Option<Value>) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let mut event = json!({
        "event": name,
        "timestamp": { "seconds": now.as_secs(), "microseconds": now.subsec_micros() },
    });
    if let Some(data) = data {
        event["data"] = data;
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_comes_back_also_with_a_failure() {
        let (id, request) = parse(br#"{"execute": "stop", "id": [1]}"#);
        assert_eq!(request.unwrap().command, "stop");
        assert_eq!(reply(id, Ok(json!({}))), json!({"return": {}, "id": [1]}));
        let (id, request) = parse(br#"{"id": 7}"#);
        let reply = reply(id, request.map(|_| Value::Null));
        assert_eq!(reply["id"], 7);
        assert_eq!(reply["error"]["class"], "GenericError");
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        for text in [
            "",
            "5",
            "[]",
            "{",
            "{}",
            r#"{"execute": 1}"#,
            r#"{"execute": "stop", "arguments": 1}"#,
            r#"{"execute": "stop", "extra": 1}"#,
            "\u{0}\u{1}",
        ] {
            assert!(parse(text.as_bytes()).1.is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).1.is_err());
    }
}
