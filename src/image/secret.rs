//! Passwords of encrypted images, which are wiped from memory when they are dropped and never
//! printed.
//!
//! Where they come from (a file, the command line, a prompt) is the caller's matter.

use std::fmt;

use zeroize::Zeroizing;

/// A password, as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The password that consists of `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The passwords of an image and of the images below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// From the top down; the last one is that of all further images.
    by_depth: Vec<Option<Secret>>,
}

impl Secrets {
    /// The passwords of a chain from the top down; the last one serves all further images too.
    pub fn by_depth(secrets: Vec<Option<Secret>>) -> Self {
        Self { by_depth: secrets }
    }

    /// The password of the image itself.
    pub fn own(&self) -> Option<&Secret> {
        self.by_depth.first()?.as_ref()
    }

    /// The passwords of the chain that starts with the backing image.
    #[must_use]
    pub fn below(&self) -> Self {
        match &*self.by_depth {
            [_, below @ ..] if !below.is_empty() => Self::by_depth(below.to_vec()),
            _ => self.clone(),
        }
    }
}

impl From<Secret> for Secrets {
    /// One password for all images of a chain.
    fn from(secret: Secret) -> Self {
        Self::by_depth(vec![Some(secret)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_of_a_chain_gets_its_own_password_and_the_last_serves_the_rest() {
        let secret = |text: &str| Some(Secret::new(text));
        let secrets = Secrets::by_depth(vec![secret("top"), None, secret("base")]);
        let chain: Vec<Secrets> = std::iter::successors(Some(secrets), |s| Some(s.below()))
            .take(4)
            .collect();
        let own: Vec<Option<Secret>> = chain.iter().map(|s| s.own().cloned()).collect();
        assert_eq!(own, [secret("top"), None, secret("base"), secret("base")]);
    }

    #[test]
    fn a_password_is_not_printed() {
        let secrets = Secrets::from(Secret::new("geheim"));
        assert!(!format!("{secrets:?}").contains("geheim"));
    }
}
