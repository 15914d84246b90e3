//! The PDPTE registers of PAE paging: the first level of its tables, loaded with CR3 and when CR0
//! or CR4 change how pages are found, not read by walks (Intel SDM volume 3, section 4.4.1).

use super::PHYSICAL_BITS;
use super::walk::PRESENT;
use crate::cpu::fault::GP;
use crate::cpu::mode::{cr0, cr4};
use crate::cpu::{Core, Cpu, Exec};

/// All but P, PWT, PCD, the address and what software may use.
const RESERVED: u64 = 0x1e6 | (u64::MAX << PHYSICAL_BITS);
/// Of CR3: where the table is.
const TABLE: u64 = 0xffff_ffe0;

impl Cpu {
    /// Whether pages are found by PAE paging.
    pub(in crate::cpu) fn uses_pae_paging(&self) -> bool {
        self.cr0 & cr0::PG != 0 && self.cr4 & cr4::PAE != 0 && !self.is_long()
    }
}

impl Core<'_> {
    /// Loads the registers from the table that `cr3` names. #GP(0), and nothing is loaded, if a
    /// present one has reserved bits set.
    pub(in crate::cpu) fn load_pdptes(&mut self, cr3: u64) -> Exec {
        let table = cr3 & TABLE;
        let entry = |n: u64| u64::from_le_bytes(self.memory.read_array(table + n * 8));
        let pdptes = [0, 1, 2, 3].map(entry);
        if pdptes.iter().any(|p| p & PRESENT != 0 && p & RESERVED != 0) {
            return Err(self.fault_with(GP, 0));
        }
        self.cpu.pdptes = pdptes;
        Ok(())
    }
}
