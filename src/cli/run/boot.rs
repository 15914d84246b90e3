//! The boot option: kinds of device by name (`disk,cdrom`) or by QEMU's letters (`cd`, `order=cd`).

use std::str::FromStr;

use crate::machine::BootKind;

/// A BIOS reads so many kinds from CMOS.
const MOST_KINDS: usize = 3;

/// The kinds of device to boot from, first to last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BootOrder(Vec<BootKind>);

impl FromStr for BootOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("order=").unwrap_or(text);
        let by_letters: Option<Vec<BootKind>> = text.chars().map(by_letter).collect();
        let kinds = match by_letters.filter(|kinds| !kinds.is_empty()) {
            Some(kinds) => kinds,
            None => text.split(',').map(by_name).collect::<Result<_, _>>()?,
        };
        if (1..kinds.len()).any(|n| kinds[..n].contains(&kinds[n])) {
            return Err("a kind of device is named twice".to_owned());
        }
        if kinds.len() > MOST_KINDS {
            return Err(format!("at most {MOST_KINDS} kinds of device"));
        }
        Ok(Self(kinds))
    }
}

impl BootOrder {
    /// The kinds.
    pub(super) fn into_kinds(self) -> Vec<BootKind> {
        self.0
    }
}

fn by_letter(letter: char) -> Option<BootKind> {
    match letter {
        'a' => Some(BootKind::Floppy),
        'c' => Some(BootKind::Disk),
        'd' => Some(BootKind::CdRom),
        'n' => Some(BootKind::Network),
        _ => None,
    }
}

fn by_name(name: &str) -> Result<BootKind, String> {
    match name {
        "floppy" => Ok(BootKind::Floppy),
        "disk" => Ok(BootKind::Disk),
        "cdrom" => Ok(BootKind::CdRom),
        "network" => Ok(BootKind::Network),
        _ => Err(format!(
            "{name:?} is no kind of device; disk, cdrom, floppy, network and the letters c d a n \
             are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_letters_mean_the_same_kinds() {
        let kinds = |text: &str| text.parse::<BootOrder>().unwrap().into_kinds();
        let expected = [BootKind::CdRom, BootKind::Disk, BootKind::Floppy];
        assert_eq!(kinds("cdrom,disk,floppy"), expected);
        assert_eq!(kinds("dca"), expected);
        assert_eq!(kinds("order=dca"), expected);
        assert_eq!(kinds("n"), [BootKind::Network]);
    }

    #[test]
    fn unknown_repeated_and_too_many_kinds_are_refused() {
        for text in [
            "",
            "disk,",
            "usb",
            "x",
            "order=cx",
            "disk,disk",
            "cc",
            "acdn",
        ] {
            let error = text.parse::<BootOrder>().unwrap_err();
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }
}
