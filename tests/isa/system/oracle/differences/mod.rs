//! Where QEMU 7.2 (TCG), Bochs 2.7 and Cowbox differ, and what the manual says: in 32-bit protected
//! mode ([`protected`]), and in the other modes ([`modes`]).
//!
//! SDM is Intel's Software Developer's Manual, APM is AMD's Architecture Programmer's Manual. The
//! SDM's sections are numbered as in volume 3 from 2016 (325384-059) to 2023; since 2024 a new chapter
//! before the one on paging moves all that follow by one.

mod modes;
mod protected;

/// Who does what the manual says. Cowbox always has to.
#[derive(Clone, Copy)]
pub(crate) enum Right {
    /// QEMU and Cowbox; Bochs is wrong.
    Qemu,
    /// Bochs and Cowbox; QEMU is wrong.
    Bochs,
    /// Cowbox alone.
    Neither,
}

/// A difference that the manual decides.
pub(crate) struct Known {
    pub(crate) image: &'static str,
    /// The check's name; a `*` in it stands for anything.
    pub(crate) check: &'static str,
    pub(crate) right: Right,
    /// The section, and what it says.
    #[expect(dead_code, reason = "for those who read the table")]
    pub(crate) manual: &'static str,
}

impl Known {
    /// Whether this is about the check `name`.
    pub(crate) fn names(&self, name: &str) -> bool {
        let mut parts = self.check.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut last = None;
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
            last = Some(part);
        }
        rest.is_empty() || last == Some("")
    }
}

const fn known(
    image: &'static str,
    check: &'static str,
    right: Right,
    manual: &'static str,
) -> Known {
    Known {
        image,
        check,
        right,
        manual,
    }
}

/// Bits that QEMU leaves clear everywhere: in words of the stack and of `mem`.
///
/// - RF in the flags that a fault pushes (SDM 3, 17.3.1.1: it is 1 for every fault but one on an
///   instruction breakpoint), also where it saves them in a TSS.
/// - The accessed bit of a code segment that a far transfer loads (SDM 3, 3.4.5.1).
pub(crate) const QEMU_LEAVES_CLEAR: [u32; 2] = [0x1_0000, 0x100];

/// The differences of one image.
pub(crate) fn of(image: &str) -> impl Iterator<Item = &'static Known> {
    let all = protected::KNOWN.iter().chain(modes::KNOWN);
    all.filter(move |known| known.image == image)
}
