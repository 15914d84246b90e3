//! Direct boot: a Linux kernel (or another program in the bzImage format, such as memtest86+)
//! is put into RAM and entered in 32-bit protected mode, without any firmware.
//!
//! ```text
//!   01000  GDT     10000  boot_params     11000  seed     20000  command line
//!   100000 the kernel, which moves itself to its preferred address
//!   top of RAM below initrd_addr_max: the initrd
//! ```
//!
//! The 32-bit entry serves i386 and amd64 kernels alike. The real-mode entry (kernels that
//! want BIOS services, zImage) and the EFI handover are left out on purpose. (Linux
//! Documentation/arch/x86/boot.rst, boot protocols 2.02 to 2.15.)

use std::fmt;

use super::ram::E820Entry;
use super::seed::Seed;
use crate::memory::Memory;

const GDT: u32 = 0x1000;
const BOOT_PARAMS: u32 = 0x1_0000;
const SEED: u32 = 0x1_1000;
const COMMAND_LINE: u32 = 0x2_0000;
const KERNEL: u32 = 0x10_0000;

const SECTOR: usize = 512;
const HEADER: usize = 0x1f1;
const SETUP_SECTORS: usize = 0x1f1;
const PARAGRAPHS: usize = 0x1f4;
const VIDEO_MODE: usize = 0x1fa;
const BOOT_FLAG: usize = 0x1fe;
const HEADER_END: usize = 0x201;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const LOADER_TYPE: usize = 0x210;
const LOAD_FLAGS: usize = 0x211;
const CODE32_START: usize = 0x214;
const INITRD_ADDRESS: usize = 0x218;
const INITRD_SIZE: usize = 0x21c;
const HEAP_END: usize = 0x224;
const COMMAND_LINE_POINTER: usize = 0x228;
const INITRD_MAX: usize = 0x22c;
const COMMAND_LINE_SIZE: usize = 0x238;
const SETUP_DATA: usize = 0x250;
const PREFERRED_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;

const PARAMS_RSDP: usize = 0x070;
const PARAMS_EXTENDED_KIB: usize = 0x1e0;
const PARAMS_E820_COUNT: usize = 0x1e8;
const PARAMS_E820: usize = 0x2d0;
const PARAMS_SIZE: usize = 4096;

/// The type of `setup_data` whose bytes seed the kernel's random numbers.
const SETUP_RNG_SEED: u32 = 9;

const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;
const LOADER_UNDEFINED: u8 = 0xff;
const VIDEO_NORMAL: u16 = 0xffff;
const HEAP_LIMIT: u16 = 0xde00;

const PAGE: u64 = 4096;

/// The announced size counts paragraphs of 16 bytes; memtest86+ 6.10 ends within its last one.
const ROUNDING: u64 = 15;

/// Why a kernel cannot be booted. The display is one line without the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The setup header is not there.
    NotBzImage,
    /// A kernel that loads below 1 MiB, or a boot protocol before 2.02.
    TooOld {
        /// The boot protocol version, major in the upper byte.
        protocol: u16,
    },
    /// The file ends before the kernel does.
    Truncated {
        /// The bytes that the header announces.
        expected: u64,
        /// The bytes that the file has.
        found: u64,
    },
    /// The command line is longer than the kernel takes.
    CommandLineTooLong {
        /// What the kernel takes, in bytes.
        limit: u64,
    },
    /// Kernel and initrd do not fit into RAM.
    NotEnoughMemory {
        /// The RAM below 4 GiB that would be enough.
        needed: u64,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBzImage => {
                write!(
                    f,
                    "not a Linux kernel (no bzImage header); give a bzImage or vmlinuz"
                )
            }
            Self::TooOld { protocol } => write!(
                f,
                "Linux boot protocol {}.{:02} is too old; 2.02 with a bzImage is the least",
                protocol >> 8,
                protocol & 0xff
            ),
            Self::Truncated { expected, found } => write!(
                f,
                "truncated kernel: {expected} bytes announced, {found} there; copy it again"
            ),
            Self::CommandLineTooLong { limit } => {
                write!(f, "command line too long; this kernel takes {limit} bytes")
            }
            Self::NotEnoughMemory { needed } => write!(
                f,
                "kernel and initrd do not fit into memory; give at least -m {}M",
                needed.div_ceil(1 << 20)
            ),
        }
    }
}

impl std::error::Error for BootError {}

/// A flat segment: base 0, limit 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatSegment {
    /// The selector, and the place of the descriptor in the GDT.
    pub selector: u16,
    /// Bits 7..0: byte 5 of the descriptor (present, DPL, type); bits 15..12: the upper half of
    /// byte 6 (granularity, size).
    pub attributes: u16,
}

impl FlatSegment {
    const CODE: Self = Self {
        selector: 0x10,
        attributes: 0xc09b,
    };
    const DATA: Self = Self {
        selector: 0x18,
        attributes: 0xc093,
    };

    fn descriptor(self) -> u64 {
        let attributes = u64::from(self.attributes);
        0x0000_ffff | (attributes & 0xff) << 40 | (attributes >> 12) << 52 | 0xf << 48
    }
}

/// How the CPU enters the kernel: protected mode, no paging, interrupts off, all other
/// registers zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootState {
    /// The entry point.
    pub eip: u32,
    /// The physical address of `boot_params`.
    pub esi: u32,
    /// A small stack in conventional memory.
    pub esp: u32,
    /// The segment in CS.
    pub code: FlatSegment,
    /// The segment in DS, ES, SS, FS and GS.
    pub data: FlatSegment,
    /// The physical address of the global descriptor table.
    pub gdt_base: u32,
    /// Its limit.
    pub gdt_limit: u16,
}

/// A kernel with all that it is given.
#[derive(Clone, Copy, Debug)]
pub struct LinuxBoot<'a> {
    /// The bzImage file.
    pub kernel: &'a [u8],
    /// The initial RAM disk, or nothing.
    pub initrd: &'a [u8],
    /// Without a terminating zero.
    pub command_line: &'a [u8],
    /// What the kernel's random numbers start from, if it takes a seed.
    pub seed: Seed,
}

impl LinuxBoot<'_> {
    /// Writes kernel, initrd and boot parameters into RAM, which is mapped already, and tells
    /// how to enter. `map` is the address map; `rsdp` the address of the ACPI root pointer.
    pub fn load(
        &self,
        memory: &mut Memory,
        map: &[E820Entry],
        rsdp: u64,
    ) -> Result<BootState, BootError> {
        let header = Header::parse(self.kernel)?;
        if self.command_line.len() as u64 > header.command_line_limit {
            let limit = header.command_line_limit;
            return Err(BootError::CommandLineTooLong { limit });
        }
        let ram_end = usable_end(map);
        let initrd = header.place_initrd(self.initrd.len() as u64, ram_end)?;

        memory.write(u64::from(KERNEL), &self.kernel[header.payload..]);
        memory.write(u64::from(initrd), self.initrd);
        memory.write(u64::from(COMMAND_LINE), self.command_line);
        memory.write(
            u64::from(COMMAND_LINE) + self.command_line.len() as u64,
            &[0],
        );
        if header.takes_setup_data() {
            memory.write(u64::from(SEED), &self.rng_seed());
        }
        memory.write(
            u64::from(BOOT_PARAMS),
            &self.boot_params(&header, initrd, map, rsdp),
        );
        let (code, data) = (FlatSegment::CODE, FlatSegment::DATA);
        for segment in [code, data] {
            let place = u64::from(GDT) + u64::from(segment.selector);
            memory.write(place, &segment.descriptor().to_le_bytes());
        }
        Ok(BootState {
            eip: header.entry,
            esi: BOOT_PARAMS,
            esp: BOOT_PARAMS,
            code,
            data,
            gdt_base: GDT,
            gdt_limit: data.selector + 7,
        })
    }

    fn boot_params(&self, header: &Header, initrd: u32, map: &[E820Entry], rsdp: u64) -> Vec<u8> {
        let mut params = Params(vec![0; PARAMS_SIZE]);
        params.set(HEADER, &self.kernel[HEADER..header.end]);
        params.set_text_screen();
        params.set(PARAMS_RSDP, &rsdp.to_le_bytes());
        params.set(VIDEO_MODE, &VIDEO_NORMAL.to_le_bytes());
        params.set(LOADER_TYPE, &[LOADER_UNDEFINED]);
        params.set(LOAD_FLAGS, &[self.kernel[LOAD_FLAGS] | CAN_USE_HEAP]);
        params.set(HEAP_END, &HEAP_LIMIT.to_le_bytes());
        params.set(COMMAND_LINE_POINTER, &COMMAND_LINE.to_le_bytes());
        if !self.initrd.is_empty() {
            let size = u32::try_from(self.initrd.len()).unwrap_or(u32::MAX);
            params.set(INITRD_ADDRESS, &initrd.to_le_bytes());
            params.set(INITRD_SIZE, &size.to_le_bytes());
        }
        if header.takes_setup_data() {
            params.set(SETUP_DATA, &u64::from(SEED).to_le_bytes());
        }
        let extended = usable_end(map).saturating_sub(u64::from(KERNEL)) / 1024;
        let extended = u32::try_from(extended).unwrap_or(u32::MAX);
        params.set(PARAMS_EXTENDED_KIB, &extended.to_le_bytes());
        let count = u8::try_from(map.len()).unwrap_or(u8::MAX);
        params.set(PARAMS_E820_COUNT, &[count]);
        for (place, entry) in (PARAMS_E820..).step_by(20).zip(map) {
            params.set(place, &entry.to_bytes());
        }
        params.0
    }

    /// A list of one `setup_data`: no next one, the type, the length, the bytes. The kernel keeps
    /// its place out of what it allocates, and wipes the bytes when it has used them.
    fn rng_seed(&self) -> Vec<u8> {
        let seed = self.seed.bytes("linux setup_data");
        let mut data = 0u64.to_le_bytes().to_vec();
        data.extend(SETUP_RNG_SEED.to_le_bytes());
        data.extend((Seed::BYTES as u32).to_le_bytes());
        data.extend(seed);
        data
    }
}

/// The end of the RAM that holds address 1 MiB.
fn usable_end(map: &[E820Entry]) -> u64 {
    let at_kernel = |e: &&E820Entry| (e.base..e.base + e.len).contains(&u64::from(KERNEL));
    map.iter().find(at_kernel).map_or(0, |e| e.base + e.len)
}

/// The page that a kernel gets its parameters in.
struct Params(Vec<u8>);

impl Params {
    fn set(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// `screen_info`: VGA text mode 3, 80 columns, 25 lines of 16 pixels, cursor at home.
    fn set_text_screen(&mut self) {
        let (mode, columns, lines, vga, points) = (3, 80, 25, 1, 16);
        self.set(0x06, &[mode, columns]);
        self.set(0x0e, &[lines, vga, points, 0]);
    }
}

/// What the setup header says that matters here.
struct Header {
    protocol: u16,
    /// One past the last byte of the header.
    end: usize,
    /// Where the protected-mode code starts in the file.
    payload: usize,
    entry: u32,
    initrd_max: u64,
    command_line_limit: u64,
    /// One past the last byte that the kernel uses before it has looked at the memory map.
    run_end: u64,
}

impl Header {
    fn parse(kernel: &[u8]) -> Result<Self, BootError> {
        let magic = kernel.get(MAGIC..MAGIC + 4).ok_or(BootError::NotBzImage)?;
        if magic != b"HdrS" || le16(kernel, BOOT_FLAG) != 0xaa55 {
            return Err(BootError::NotBzImage);
        }
        let protocol = le16(kernel, VERSION);
        let flags = kernel.get(LOAD_FLAGS).copied().unwrap_or(0);
        if protocol < 0x0202 || flags & LOADED_HIGH == 0 {
            return Err(BootError::TooOld { protocol });
        }
        let payload = match kernel[SETUP_SECTORS] {
            0 => 5 * SECTOR,
            sectors => (usize::from(sectors) + 1) * SECTOR,
        };
        let paragraphs = match protocol {
            0x0204.. => le32(kernel, PARAGRAPHS),
            _ => u32::from(le16(kernel, PARAGRAPHS)),
        };
        let expected = payload as u64 + u64::from(paragraphs) * 16;
        let found = kernel.len() as u64;
        let end = MAGIC + usize::from(kernel[HEADER_END]);
        if found + ROUNDING < expected || kernel.len() <= payload || end > payload {
            return Err(BootError::Truncated { expected, found });
        }
        let loaded_end = u64::from(KERNEL) + found - payload as u64;
        let run_end = match protocol {
            0x020a.. => {
                le64(kernel, PREFERRED_ADDRESS).saturating_add(u64::from(le32(kernel, INIT_SIZE)))
            }
            _ => 0,
        };
        Ok(Self {
            protocol,
            end,
            payload,
            entry: le32(kernel, CODE32_START),
            initrd_max: match protocol {
                0x0203.. => u64::from(le32(kernel, INITRD_MAX)),
                _ => 0x37ff_ffff,
            },
            command_line_limit: match protocol {
                0x0206.. => u64::from(le32(kernel, COMMAND_LINE_SIZE)).min(0xffff),
                _ => 255,
            },
            run_end: run_end.max(loaded_end),
        })
    }

    /// Whether the header has a pointer to further parameters (since 2.09).
    fn takes_setup_data(&self) -> bool {
        self.protocol >= 0x0209 && self.end >= SETUP_DATA + 8
    }

    /// The highest page below the limits where `size` bytes fit, above the running kernel.
    fn place_initrd(&self, size: u64, ram_end: u64) -> Result<u32, BootError> {
        let needed = self.run_end.saturating_add(size).saturating_add(PAGE);
        let too_small = BootError::NotEnoughMemory { needed };
        let top = ram_end.min(self.initrd_max.saturating_add(1));
        let start = top.checked_sub(size).ok_or(too_small.clone())? / PAGE * PAGE;
        if start < self.run_end {
            return Err(too_small);
        }
        u32::try_from(start).map_err(|_| too_small)
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// The bytes at `at`; zeroes where the file ends before.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        value.copy_from_slice(found);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::RamLayout;

    const RAM: u64 = 32 << 20;

    /// A kernel of one setup sector and `code`, with protocol 2.15.
    fn kernel(code: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR];
        image[SETUP_SECTORS] = 1;
        let paragraphs = u32::try_from(code.len().div_ceil(16)).unwrap();
        image[PARAGRAPHS..][..4].copy_from_slice(&paragraphs.to_le_bytes());
        image[BOOT_FLAG..][..2].copy_from_slice(&[0x55, 0xaa]);
        image[HEADER_END] = 0x6a;
        image[MAGIC..][..4].copy_from_slice(b"HdrS");
        image[VERSION..][..2].copy_from_slice(&[0x0f, 0x02]);
        image[LOAD_FLAGS] = LOADED_HIGH;
        image[CODE32_START..][..4].copy_from_slice(&KERNEL.to_le_bytes());
        image[INITRD_MAX..][..4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        image[COMMAND_LINE_SIZE..][..4].copy_from_slice(&2047u32.to_le_bytes());
        image[PREFERRED_ADDRESS..][..8].copy_from_slice(&0x100_0000u64.to_le_bytes());
        image[INIT_SIZE..][..4].copy_from_slice(&0x40_0000u32.to_le_bytes());
        image.extend_from_slice(code);
        image
    }

    fn boot(kernel: &[u8], initrd: &[u8]) -> (Result<BootState, BootError>, Memory) {
        let mut memory = Memory::new(RAM).unwrap();
        memory.map.map_ram(0, RAM, 0);
        let boot = LinuxBoot {
            kernel,
            initrd,
            command_line: b"console=ttyS0",
            seed: Seed(7),
        };
        let state = boot.load(&mut memory, &RamLayout::new(RAM).e820(), 0xf_0010);
        (state, memory)
    }

    #[test]
    fn kernel_initrd_and_command_line_lie_where_the_parameters_say() {
        let (state, memory) = boot(&kernel(b"code at 1 MiB   "), b"an initrd");
        let state = state.unwrap();
        assert_eq!(memory.read_array::<4>(u64::from(state.eip)), *b"code");
        let params = u64::from(state.esi);
        let pointer =
            |at: usize| u64::from(u32::from_le_bytes(memory.read_array(params + at as u64)));
        assert_eq!(memory.read_array(pointer(INITRD_ADDRESS)), *b"an initrd");
        assert_eq!(pointer(INITRD_SIZE), 9);
        assert_eq!(pointer(INITRD_ADDRESS), RAM - PAGE);
        let line: [u8; 14] = memory.read_array(pointer(COMMAND_LINE_POINTER));
        assert_eq!(line, *b"console=ttyS0\0");
        assert_eq!(pointer(PARAMS_RSDP), 0xf_0010);
        assert_eq!(memory.read_array::<4>(params + MAGIC as u64), *b"HdrS");
        assert_eq!(
            memory.read_array::<1>(params + PARAMS_E820_COUNT as u64),
            [5]
        );
    }

    #[test]
    fn the_seed_lies_where_the_parameters_say_for_a_kernel_that_takes_one() {
        let (state, memory) = boot(&kernel(&[0; 16]), &[]);
        let params = u64::from(state.unwrap().esi);
        let place = u64::from_le_bytes(memory.read_array(params + SETUP_DATA as u64));
        let mut expected = [0; 16];
        (expected[8], expected[12]) = (9, 32);
        assert_eq!(memory.read_array(place), expected);
        let seed: [u8; 32] = memory.read_array(place + 16);
        assert_eq!(seed, Seed(7).bytes("linux setup_data"));

        let mut old = kernel(&[0; 16]);
        old[VERSION..][..2].copy_from_slice(&[0x08, 0x02]);
        let (state, memory) = boot(&old, &[]);
        let params = u64::from(state.unwrap().esi);
        let pointer: [u8; 8] = memory.read_array(params + SETUP_DATA as u64);
        assert_eq!((pointer, memory.read_array(place)), ([0; 8], [0; 48]));
    }

    #[test]
    fn the_descriptors_in_memory_are_flat_and_match_the_selectors() {
        let (state, memory) = boot(&kernel(&[0; 16]), &[]);
        let state = state.unwrap();
        let at = |segment: FlatSegment| u64::from(state.gdt_base) + u64::from(segment.selector);
        let code = u64::from_le_bytes(memory.read_array(at(state.code)));
        let data = u64::from_le_bytes(memory.read_array(at(state.data)));
        assert_eq!(code, 0x00cf_9b00_0000_ffff);
        assert_eq!(data, 0x00cf_9300_0000_ffff);
    }

    #[test]
    fn what_is_no_bzimage_is_refused_with_one_line() {
        let image = kernel(&[0; 4096]);
        assert_eq!(boot(b"MZ", &[]).0, Err(BootError::NotBzImage));
        assert_eq!(boot(&[0; 8192], &[]).0, Err(BootError::NotBzImage));
        let truncated = boot(&image[..4096], &[]).0;
        let (expected, found) = (image.len() as u64, 4096);
        assert_eq!(truncated, Err(BootError::Truncated { expected, found }));
        let mut low = image.clone();
        low[LOAD_FLAGS] = 0;
        assert_eq!(
            boot(&low, &[]).0,
            Err(BootError::TooOld { protocol: 0x020f })
        );
        let mut greedy = image;
        greedy[PREFERRED_ADDRESS..][..8].fill(0xff);
        let error = boot(&greedy, &[]).0.unwrap_err().to_string();
        assert!(!error.contains('\n') && error.contains("-m"));
    }

    #[test]
    fn an_initrd_that_would_overlap_the_running_kernel_is_refused() {
        let (state, _) = boot(&kernel(&[0; 16]), &vec![0; 13 << 20]);
        let needed = 0x140_0000 + (13 << 20) + PAGE;
        assert_eq!(state, Err(BootError::NotEnoughMemory { needed }));
    }

    #[test]
    fn a_command_line_beyond_the_limit_of_the_kernel_is_refused() {
        let mut memory = Memory::new(RAM).unwrap();
        let image = kernel(&[0; 16]);
        let boot = LinuxBoot {
            kernel: &image,
            initrd: &[],
            command_line: &[b'x'; 2048],
            seed: Seed::default(),
        };
        let state = boot.load(&mut memory, &RamLayout::new(RAM).e820(), 0);
        assert_eq!(state, Err(BootError::CommandLineTooLong { limit: 2047 }));
    }
}
