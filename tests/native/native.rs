//! Runs one instruction on the host's CPU.
//!
//! A page of code is written around the instruction: it saves the caller's registers, loads all
//! registers from a data page, runs the instruction, stores all registers there and returns. A
//! fault arrives as a signal whose handler resumes behind the instruction.

use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{Outcome, State, WINDOW, window_address};

/// Offsets into the data page, which follows the code page.
mod layout {
    pub(crate) const GENERAL: i32 = 0;
    pub(crate) const FLAGS: i32 = 128;
    pub(crate) const HOST_RSP: i32 = 136;
    pub(crate) const XSAVE: i32 = 512;
    pub(crate) const HOST_XSAVE: i32 = 1536;
    /// Offsets into an XSAVE image, and its size.
    pub(crate) const MXCSR: usize = 24;
    pub(crate) const MMX: usize = 32;
    pub(crate) const XMM: usize = 160;
    pub(crate) const XSTATE_BV: usize = 512;
    pub(crate) const YMM_HIGH: usize = 576;
    pub(crate) const XSAVE_BYTES: usize = 832;
}

const PAGE: usize = 4096;

/// Where a signal handler resumes, and the vector of what it saw plus one.
static RESUME: AtomicU64 = AtomicU64::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Zeroed pages that can be read, written and executed, in the first 2 GiB: a displacement of 32
/// bits and a 32-bit register reach them.
pub(crate) fn map_pages(bytes: usize) -> *mut u8 {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing else.
    let pages = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    assert_ne!(pages, libc::MAP_FAILED, "cannot map executable pages");
    pages.cast()
}

/// The trampoline.
pub(crate) struct Native {
    code: *mut u8,
    /// The bytes before the instruction, and those after it.
    prologue: Vec<u8>,
}

/// Machine code under construction, which lies at the start of the code page.
struct Assembler(Vec<u8>);

impl Assembler {
    /// An instruction whose memory operand is `[rip + …]` at `offset` of the data page. `field`
    /// is the register or opcode extension in ModRM.
    fn data(&mut self, opcode: &[u8], field: u8, offset: i32) {
        self.0.extend(opcode);
        self.0.push(field << 3 | 5);
        let next = self.0.len() as i32 + 4;
        self.0.extend((PAGE as i32 + offset - next).to_le_bytes());
    }

    fn general(&mut self, opcode: u8, register: u8) {
        let rex = 0x48 | (register >> 3) << 2;
        let offset = layout::GENERAL + i32::from(register) * 8;
        self.data(&[rex, opcode], register & 7, offset);
    }

    /// XSAVE (`field` 4) or XRSTOR (5) of x87, SSE and AVX state; EAX and EDX are lost.
    fn vectors(&mut self, field: u8, offset: i32) {
        // mov eax, 7; xor edx, edx
        self.raw(&[0xb8, 7, 0, 0, 0, 0x31, 0xd2]);
        self.data(&[0x48, 0x0f, 0xae], field, offset);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

const LOAD: u8 = 0x8b;
const STORE: u8 = 0x89;
const SAVE: u8 = 4;
const RESTORE: u8 = 5;
/// rbx, rbp, r12 to r15: what a function preserves.
const PUSH_SAVED: &[u8] = &[0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57];
const POP_SAVED_RET: &[u8] = &[
    0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3,
];

impl Native {
    pub(crate) fn new() -> Self {
        install_handlers();
        let code = map_pages(2 * PAGE);
        let mut asm = Assembler(Vec::new());
        asm.raw(PUSH_SAVED);
        asm.data(&[0x48, STORE], 4, layout::HOST_RSP);
        asm.vectors(SAVE, layout::HOST_XSAVE);
        asm.vectors(RESTORE, layout::XSAVE);
        // push [flags]; popfq
        asm.data(&[0xff], 6, layout::FLAGS);
        asm.raw(&[0x9d]);
        for register in 0..16 {
            asm.general(LOAD, register);
        }
        Self {
            code,
            prologue: asm.0,
        }
    }

    /// The code around `instruction`, and where it goes on behind it.
    fn assemble(&self, instruction: &[u8]) -> (Vec<u8>, usize) {
        let mut asm = Assembler(self.prologue.clone());
        asm.raw(instruction);
        let behind = asm.0.len();
        for register in 0..16 {
            asm.general(STORE, register);
        }
        asm.data(&[0x48, LOAD], 4, layout::HOST_RSP);
        // pushfq; pop [flags]
        asm.raw(&[0x9c]);
        asm.data(&[0x8f], 0, layout::FLAGS);
        asm.vectors(SAVE, layout::XSAVE);
        asm.vectors(RESTORE, layout::HOST_XSAVE);
        asm.raw(&[0xfc]);
        asm.raw(POP_SAVED_RET);
        (asm.0, behind)
    }

    /// Runs `instruction` from `before`.
    pub(crate) fn run(&self, instruction: &[u8], before: &State) -> Outcome {
        let (code, behind) = self.assemble(instruction);
        assert!(code.len() <= PAGE);
        let window = window_address() as *mut u8;
        let mut after = before.clone();
        RESUME.store(self.code as u64 + behind as u64, Ordering::SeqCst);
        SEEN.store(0, Ordering::SeqCst);
        // SAFETY: both pages are ours, mapped readable, writable and executable, and the offsets
        // stay inside them. The code preserves what the C ABI says and comes back by `ret`; the
        // instruction reaches only registers and the scratch memory, or faults into the handler.
        unsafe {
            let data = self.code.add(PAGE);
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.code, code.len());
            std::ptr::copy_nonoverlapping(before.memory.as_ptr(), window, WINDOW as usize);
            write_registers(data, before);
            let entry: extern "C" fn() = std::mem::transmute(self.code);
            entry();
            read_registers(data, &mut after);
            std::ptr::copy_nonoverlapping(window, after.memory.as_mut_ptr(), WINDOW as usize);
        }
        let seen = SEEN.load(Ordering::SeqCst);
        Outcome {
            fault: seen.checked_sub(1).map(|vector| vector as u8),
            state: after,
        }
    }
}

/// Fills the data page from `state`.
///
/// # Safety
/// `data` names a page that can be written.
unsafe fn write_registers(data: *mut u8, state: &State) {
    let mut image = [0u8; layout::XSAVE_BYTES];
    image[0..2].copy_from_slice(&0x037fu16.to_le_bytes());
    image[4] = 0xff;
    image[layout::MXCSR..][..4].copy_from_slice(&state.mxcsr.to_le_bytes());
    image[layout::XSTATE_BV] = 7;
    for (n, value) in state.mmx.iter().enumerate() {
        let at = layout::MMX + 16 * n;
        image[at..at + 8].copy_from_slice(&value.to_le_bytes());
        image[at + 8..at + 10].fill(0xff);
    }
    for (n, [low, high]) in state.ymm.iter().enumerate() {
        let (xmm, above) = (layout::XMM + 16 * n, layout::YMM_HIGH + 16 * n);
        image[xmm..xmm + 16].copy_from_slice(&low.to_le_bytes());
        image[above..above + 16].copy_from_slice(&high.to_le_bytes());
    }
    // SAFETY: the offsets lie within the page.
    unsafe {
        data.cast::<[u64; 16]>().write_unaligned(state.general);
        data.add(layout::FLAGS as usize)
            .cast::<u64>()
            .write_unaligned(state.flags);
        data.add(layout::XSAVE as usize)
            .cast::<[u8; layout::XSAVE_BYTES]>()
            .write_unaligned(image);
    }
}

/// Reads the data page into `state`.
///
/// # Safety
/// `data` names a page that can be read.
unsafe fn read_registers(data: *mut u8, state: &mut State) {
    // SAFETY: the offsets lie within the page.
    let image = unsafe {
        state.general = data.cast::<[u64; 16]>().read_unaligned();
        state.flags = data
            .add(layout::FLAGS as usize)
            .cast::<u64>()
            .read_unaligned();
        data.add(layout::XSAVE as usize)
            .cast::<[u8; layout::XSAVE_BYTES]>()
            .read_unaligned()
    };
    for (n, value) in state.mmx.iter_mut().enumerate() {
        let at = layout::MMX + 16 * n;
        *value = u64::from_le_bytes(image[at..at + 8].try_into().expect("8 bytes"));
    }
    let lane = |at| u128::from_le_bytes(image[at..at + 16].try_into().expect("16 bytes"));
    for (n, value) in state.ymm.iter_mut().enumerate() {
        *value = [lane(layout::XMM + 16 * n), lane(layout::YMM_HIGH + 16 * n)];
    }
    let mxcsr = &image[layout::MXCSR..][..4];
    state.mxcsr = u32::from_le_bytes(mxcsr.try_into().expect("4 bytes"));
}

/// Notes the vector and resumes behind the instruction.
extern "C" fn on_signal(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context for the length of the handler.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let vector = registers[libc::REG_TRAPNO as usize] as u64;
    if SEEN.swap(vector + 1, Ordering::SeqCst) != 0 {
        // A second fault is one of the trampoline: nothing to come back to.
        std::process::abort();
    }
    registers[libc::REG_RIP as usize] = RESUME.load(Ordering::SeqCst) as i64;
}

fn install_handlers() {
    let stack = map_pages(16 * PAGE);
    // SAFETY: the structures are fully initialised, the stack stays mapped for ever, and the
    // handler touches only the context and atomics.
    unsafe {
        let mut alternate: libc::stack_t = std::mem::zeroed();
        alternate.ss_sp = stack.cast();
        alternate.ss_size = 16 * PAGE;
        assert_eq!(libc::sigaltstack(&alternate, std::ptr::null_mut()), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [libc::SIGFPE, libc::SIGSEGV, libc::SIGILL, libc::SIGBUS] {
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
    }
}

/// Runs `work` in a forked child and returns what it says.
pub(crate) fn in_child(work: impl FnOnce() -> String) -> String {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child runs only `work`, writes to the pipe and leaves by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "cannot fork");
    if child == 0 {
        let text = work();
        let mut left = text.as_bytes();
        while !left.is_empty() {
            // SAFETY: `left` is a valid slice, and the descriptor is ours.
            let n = unsafe { libc::write(pipe[1], left.as_ptr().cast(), left.len()) };
            left = &left[usize::try_from(n).unwrap_or(left.len())..];
        }
        // SAFETY: ends the child at once, without running what the parent registered.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: the parent's copies of the descriptors, each closed or owned once.
    let mut reader = unsafe {
        libc::close(pipe[1]);
        <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(pipe[0])
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).expect("the child writes text");
    let mut status = 0;
    // SAFETY: `child` is ours to wait for.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0, "the child died with status {status:#x}");
    text
}
