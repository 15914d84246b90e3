//! `--object secret,…`: passwords under names, for options such as `encrypt.key-secret=NAME`.
//!
//! Of QEMU's forms there are `data=TEXT` and `file=PATH`, each with `format=raw` or `base64`;
//! secrets that are themselves encrypted (`keyid=`) are left out.

use super::keys;
use crate::image::Secret;

/// Passwords by name.
#[derive(Debug, Clone, Default)]
pub(super) struct NamedSecrets {
    secrets: Vec<(String, Secret)>,
    undefined: Undefined,
}

/// What becomes of a name that no `--object` defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Undefined {
    /// It is an error.
    #[default]
    Refused,
    /// There is no password: nothing is decrypted.
    Ignored,
}

impl NamedSecrets {
    /// The secrets that the `--object` options define.
    pub(super) fn parse(objects: &[String]) -> Result<Self, String> {
        let secrets = objects.iter().map(|object| secret(object));
        Ok(Self {
            secrets: secrets.collect::<Result<_, _>>()?,
            undefined: Undefined::Refused,
        })
    }

    /// The same for who only looks at headers, and needs no password.
    pub(super) fn unneeded(self) -> Self {
        Self {
            undefined: Undefined::Ignored,
            ..self
        }
    }

    /// The secret called `name` that opens an image, if it is needed.
    pub(super) fn to_open(&self, name: &str) -> Result<Option<&Secret>, String> {
        match (self.get(name), self.undefined) {
            (Err(_), Undefined::Ignored) => Ok(None),
            (found, _) => found.map(Some),
        }
    }

    /// The secret called `name`.
    pub(super) fn get(&self, name: &str) -> Result<&Secret, String> {
        let found = self.secrets.iter().find(|(id, _)| id == name);
        found
            .map(|(_, secret)| secret)
            .ok_or_else(|| format!("No secret with id '{}'", name.escape_debug()))
    }
}

fn secret(object: &str) -> Result<(String, Secret), String> {
    let (mut id, mut bytes, mut base64) = (None, None, false);
    for (key, value) in keys::parse_with_first(object, "qom-type") {
        match &*key {
            "qom-type" if value == "secret" => {}
            "qom-type" => {
                return Err(format!(
                    "objects of type \"{}\" are not supported; there is secret",
                    value.escape_debug()
                ));
            }
            "id" => id = Some(value),
            "data" => bytes = Some(value.into_bytes()),
            "file" => {
                let read = std::fs::read(&value);
                bytes = Some(read.map_err(|e| format!("Unable to read {value}: {e}"))?);
            }
            "format" => base64 = value == "base64",
            _ => return Err(format!("Invalid parameter '{}'", key.escape_debug())),
        }
    }
    let id = id.ok_or("Parameter 'id' is missing")?;
    let mut bytes = bytes.ok_or("Must provide 'file' or 'data'")?;
    if base64 {
        bytes = decode_base64(&bytes).ok_or("the secret is not base64")?;
    }
    Ok((id, Secret::new(bytes)))
}

/// What `text` stands for in base 64 (RFC 4648, section 4), line ends left out.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0u32, 0);
    let mut bytes = Vec::new();
    let characters = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    for &byte in characters.take_while(|&&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            let [.., low] = (bits >> held).to_be_bytes();
            bytes.push(low);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_name() {
        let objects = [
            "secret,id=a,data=one",
            "secret,id=b,format=base64,data=dHdv",
        ];
        let secrets = NamedSecrets::parse(&objects.map(str::to_owned)).unwrap();
        assert_eq!(secrets.get("a"), Ok(&Secret::new("one")));
        assert_eq!(secrets.get("b"), Ok(&Secret::new("two")));
        assert!(secrets.get("c").is_err());
        assert!(secrets.to_open("c").is_err());
        assert_eq!(secrets.unneeded().to_open("c"), Ok(None));
        assert!(NamedSecrets::parse(&["secret,data=x".to_owned()]).is_err());
    }
}
