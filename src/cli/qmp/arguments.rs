//! The arguments of a command, taken by name and type. What nobody took is refused.

use serde_json::{Map, Value};

use super::message::Failure;

/// What is left of the arguments.
#[derive(Debug, Default)]
pub(super) struct Arguments(Map<String, Value>);

impl Arguments {
    /// All of them.
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// A string that has to be there.
    pub(super) fn string(&mut self, name: &str) -> Result<String, Failure> {
        self.optional_string(name)?.ok_or_else(|| missing(name))
    }

    /// A string that may be there.
    pub(super) fn optional_string(&mut self, name: &str) -> Result<Option<String>, Failure> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(name, "string")),
        }
    }

    /// A number that is not negative and has to be there.
    pub(super) fn number(&mut self, name: &str) -> Result<u64, Failure> {
        self.optional_number(name)?.ok_or_else(|| missing(name))
    }

    /// A number that is not negative and may be there.
    pub(super) fn optional_number(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let value = self.0.remove(name);
        let number = |v: Value| {
            v.as_u64()
                .ok_or_else(|| wrong_type(name, "integer from 0 on"))
        };
        value.map(number).transpose()
    }

    /// A list that has to be there.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Failure> {
        if !self.0.contains_key(name) {
            return Err(missing(name));
        }
        self.optional_list(name)
    }

    /// A list; an empty one if it is not there.
    pub(super) fn optional_list(&mut self, name: &str) -> Result<Vec<Value>, Failure> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(wrong_type(name, "array")),
        }
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            Some(name) => Err(Failure::generic(format!("there is no parameter '{name}'"))),
            None => Ok(()),
        }
    }
}

fn missing(name: &str) -> Failure {
    Failure::generic(format!("parameter '{name}' is missing"))
}

fn wrong_type(name: &str, expected: &str) -> Failure {
    Failure::generic(format!("parameter '{name}': {expected} expected"))
}
