//! Message-signalled interrupts: a memory write that a device addresses to a local APIC.
//! (PCI Local Bus 3.0 section 6.8; Intel SDM volume 3, section 11.11.)

use serde::{Deserialize, Serialize};

/// One interrupt message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The address written: 0xfeexxxxx, with destination and mode.
    pub address: u64,
    /// The data written: vector, delivery mode, level and trigger.
    pub data: u32,
}

/// The messages sent within one access, in order.
pub type Messages = Vec<Message>;
