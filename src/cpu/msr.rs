//! Model-specific registers (Intel SDM volume 4, AMD64 APM volume 2 appendix A).

use serde::{Deserialize, Serialize};

/// The registers behind RDMSR and WRMSR that the CPU itself keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Msrs {
    /// EFER, C0000080h.
    pub efer: u64,
    /// STAR, C0000081h: SYSCALL selectors and 32-bit target.
    pub star: u64,
    /// LSTAR, C0000082h: 64-bit SYSCALL target.
    pub lstar: u64,
    /// CSTAR, C0000083h: compatibility-mode SYSCALL target.
    pub cstar: u64,
    /// SFMASK, C0000084h: flags that SYSCALL clears.
    pub sfmask: u64,
    /// KernelGSbase, C0000102h.
    pub kernel_gs_base: u64,
    /// TSC_AUX, C0000103h.
    pub tsc_aux: u64,
    /// SYSENTER_CS, 174h.
    pub sysenter_cs: u64,
    /// SYSENTER_ESP, 175h.
    pub sysenter_esp: u64,
    /// SYSENTER_EIP, 176h.
    pub sysenter_eip: u64,
    /// What the TSC adds to guest time.
    pub tsc_offset: u64,
}
