//! The APICs, driven as a kernel drives them.

use super::*;
use crate::bus::{Message, NEVER, Size};
use crate::devices::{Mmio, Timed, Workbench};

struct Host {
    local: LocalApic,
    io: IoApic,
    bench: Workbench,
}

impl Host {
    /// The local APIC switched on by software.
    fn new() -> Self {
        let mut host = Self {
            local: LocalApic::new(),
            io: IoApic::new(),
            bench: Workbench::new(),
        };
        host.store(0xf0, 0x1ff);
        host
    }

    fn store(&mut self, offset: u64, value: u32) {
        let mut cx = self.bench.cx();
        self.local.write(&mut cx, offset, Size::Dword, value.into());
    }

    fn load(&mut self, offset: u64) -> u64 {
        self.local.read(&mut self.bench.cx(), offset, Size::Dword)
    }

    fn io_store(&mut self, index: u32, value: u32) {
        let mut cx = self.bench.cx();
        self.io.write(&mut cx, 0x00, Size::Dword, index.into());
        self.io.write(&mut cx, 0x10, Size::Dword, value.into());
    }

    fn io_load(&mut self, index: u32) -> u64 {
        let mut cx = self.bench.cx();
        self.io.write(&mut cx, 0x00, Size::Dword, index.into());
        self.io.read(&mut cx, 0x10, Size::Dword)
    }

    fn pin(&mut self, pin: u8, asserted: bool) {
        self.io.set_pin(pin, asserted, &mut self.bench.messages);
    }

    /// Delivers the IOAPIC's messages and tells how many there were.
    fn deliver(&mut self) -> usize {
        let messages = std::mem::take(&mut self.bench.messages);
        messages.iter().for_each(|m| self.local.receive(*m));
        messages.len()
    }

    fn message(&mut self, vector: u32) {
        self.local.receive(Message {
            address: 0xfee0_0000,
            data: vector,
        });
    }

    fn vector(&mut self) -> Option<u8> {
        match self.local.acknowledge()? {
            Accepted::Vector(vector) => Some(vector),
            Accepted::External => panic!("external interrupt"),
        }
    }

    fn eoi(&mut self) {
        self.store(0xb0, 0);
    }
}

#[test]
fn higher_classes_interrupt_lower_ones_and_equal_ones_wait() {
    let mut host = Host::new();
    host.message(0x41);
    host.message(0x52);
    assert_eq!(host.vector(), Some(0x52));
    host.message(0x5f);
    assert_eq!(host.vector(), None);
    assert_eq!(host.load(0xa0), 0x50);
    host.eoi();
    assert_eq!(host.vector(), Some(0x5f));
    host.eoi();
    assert_eq!(host.vector(), Some(0x41));
    assert_eq!(host.load(0x120), 2);
}

#[test]
fn task_priority_holds_lower_classes_back() {
    let mut host = Host::new();
    host.store(0x80, 0x50);
    host.message(0x5f);
    assert!(!host.local.has_interrupt());
    host.message(0x60);
    assert_eq!(host.vector(), Some(0x60));
    host.eoi();
    host.local.set_task_priority(0x40);
    assert_eq!(host.vector(), Some(0x5f));
}

#[test]
fn one_shot_timer_counts_down_and_fires_once() {
    let mut host = Host::new();
    host.store(0x3e0, 0x3);
    host.store(0x320, 0xec);
    host.store(0x380, 1000);
    assert_eq!(host.bench.deadline, 16_000);
    host.bench.now = 8_000;
    assert_eq!(host.load(0x390), 500);
    host.bench.now = 16_000;
    host.local.expire(&mut host.bench.cx());
    assert_eq!(host.vector(), Some(0xec));
    assert_eq!((host.load(0x390), host.bench.deadline), (0, NEVER));
}

#[test]
fn periodic_timer_fires_without_drift() {
    let mut host = Host::new();
    host.store(0x3e0, 0xb);
    host.store(0x320, 0x2_00ec);
    host.store(0x380, 777);
    for period in 1..=100 {
        assert_eq!(host.bench.deadline, period * 777);
        host.bench.now = host.bench.deadline + 3;
        host.local.expire(&mut host.bench.cx());
        assert_eq!(host.vector(), Some(0xec));
        host.eoi();
    }
    assert_eq!(host.load(0x390), 777 - 3);
}

#[test]
fn a_masked_timer_counts_and_wakes_nobody() {
    let mut host = Host::new();
    host.store(0x3e0, 0xb);
    host.store(0x320, 0x1_00ec);
    host.store(0x380, 1_000_000);
    assert_eq!(host.bench.deadline, NEVER);
    host.bench.now = 400_000;
    assert_eq!(host.load(0x390), 600_000);
    host.store(0x380, 0);
    assert_eq!(host.load(0x390), 0);
}

#[test]
fn self_interrupts_arrive_and_others_find_nobody() {
    let mut host = Host::new();
    host.store(0x300, 0x4_0000 | 0x35);
    assert_eq!(host.vector(), Some(0x35));
    host.eoi();
    host.store(0x310, 5 << 24);
    host.store(0x300, 0x36);
    host.store(0x300, 0xc_0000 | 0x37);
    assert_eq!(host.vector(), None);
    host.store(0x310, 0);
    host.store(0x300, 0x400);
    assert!(host.local.take_nmi());
}

#[test]
fn logical_destinations_match_flat_and_cluster_ids() {
    let mut host = Host::new();
    host.store(0xd0, 0x0400_0000);
    let mut to = |destination: u64, vector: u32| {
        host.local.receive(Message {
            address: 0xfee0_0004 | destination << 12,
            data: vector,
        });
        host.local.acknowledge()
    };
    assert_eq!(to(0x05, 0x41), Some(Accepted::Vector(0x41)));
    assert_eq!(to(0x02, 0x51), None);
    host.store(0xe0, 0x0fff_ffff);
    host.store(0xd0, 0x3400_0000);
    let mut to = |destination: u64, vector: u32| {
        host.local.receive(Message {
            address: 0xfee0_0004 | destination << 12,
            data: vector,
        });
        host.local.acknowledge()
    };
    assert_eq!(to(0x36, 0x61), Some(Accepted::Vector(0x61)));
    assert_eq!(to(0x24, 0x71), None);
}

#[test]
fn illegal_vectors_show_in_the_error_register_when_it_is_latched() {
    let mut host = Host::new();
    host.store(0x300, 0x4_0005);
    assert_eq!(host.load(0x280), 0);
    host.store(0x280, 0);
    assert_eq!(host.load(0x280), 1 << 5);
    host.store(0x280, 0);
    assert_eq!(host.load(0x280), 0);
}

#[test]
fn switching_off_by_software_masks_every_local_source() {
    let mut host = Host::new();
    host.store(0x320, 0x30);
    host.store(0xf0, 0xff);
    assert_eq!(host.load(0x320), 0x1_0030);
    host.store(0x320, 0x30);
    assert_eq!(host.load(0x320), 0x1_0030);
}

#[test]
fn the_8259_comes_through_lint0_until_it_is_masked() {
    let mut host = Host::new();
    host.local.set_lint0(true);
    assert_eq!(host.local.acknowledge(), Some(Accepted::External));
    host.store(0x350, 0x1_0700);
    assert_eq!(host.local.acknowledge(), None);
    host.store(0x350, 0x31);
    host.local.set_lint0(false);
    host.local.set_lint0(true);
    assert_eq!(host.vector(), Some(0x31));
}

#[test]
fn an_edge_pin_sends_once_and_a_masked_edge_is_lost() {
    let mut host = Host::new();
    host.pin(4, true);
    host.io_store(0x18, 0x34);
    assert_eq!(host.deliver(), 0);
    host.pin(4, false);
    host.pin(4, true);
    assert_eq!(host.deliver(), 1);
    assert_eq!(host.vector(), Some(0x34));
    assert_eq!(host.local.take_eoi(), None);
}

#[test]
fn a_level_pin_waits_for_the_eoi_of_its_vector() {
    let mut host = Host::new();
    host.io_store(0x10 + 2 * 11, 0xa000 | 0x51);
    host.pin(11, true);
    assert_eq!(host.deliver(), 1);
    assert_eq!(host.io_load(0x10 + 2 * 11), 0xe051);
    assert_eq!(host.vector(), Some(0x51));
    host.pin(11, false);
    host.pin(11, true);
    assert_eq!(host.deliver(), 0);
    host.eoi();
    assert_eq!(host.local.take_eoi(), Some(0x51));
    host.io.end_of_interrupt(0x51, &mut host.bench.messages);
    assert_eq!(host.deliver(), 1);
    host.pin(11, false);
    host.io.end_of_interrupt(0x51, &mut host.bench.messages);
    assert_eq!(host.deliver(), 0);
    assert_eq!(host.io_load(0x10 + 2 * 11), 0xa051);
}

#[test]
fn the_ioapic_tells_its_version_and_keeps_entries() {
    let mut host = Host::new();
    assert_eq!(host.io_load(1), 0x0017_0011);
    host.io_store(0x11, 0xff00_0000);
    assert_eq!(host.io_load(0x11), 0xff00_0000);
    host.io_store(0, 0x0900_0000);
    assert_eq!(host.io_load(0), 0x0900_0000);
    assert_eq!(host.io_load(0x40), 0);
}
