//! Runs one instruction on the host's CPU, in 64-bit, 32-bit and 16-bit code.
//!
//! A trampoline of 64-bit code loads all registers from a page, jumps to the instruction (into
//! 32-bit and 16-bit code by a far jump), and stores them all after it. Behind the instruction, and
//! where it may branch to, stand jumps back, which say which of the two was reached. A fault
//! arrives as a signal on a stack of its own, whose handler goes on in the trampoline; nothing
//! else costs a system call.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{
    CODE, CODE_BYTES, HARNESS, HARNESS_BYTES, MARGIN, MARGINS, SCRATCH, SCRATCH_BYTES, WINDOW,
    WINDOW_START,
};
use super::ours::Ends;
use super::segments::{CODE64, ENTRIES, FLAT, Kind};
use super::state::{End, Registers, State, place};

const PAGE: i32 = 4096;

/// The trampoline's own data: places behind the page of registers.
mod own {
    pub(crate) const STACK: i32 = super::PAGE;
    pub(crate) const FS_BASE: i32 = STACK + 8;
    /// Where to jump: an offset, and a selector behind its low 32 bits.
    pub(crate) const FAR: i32 = STACK + 16;
    pub(crate) const NEAR: i32 = STACK + 24;
    pub(crate) const MXCSR: i32 = STACK + 32;
    pub(crate) const END: i32 = STACK + 36;
}

/// What [`own::END`] says.
const BEHIND: u8 = 0;
const TARGET: u8 = 1;

/// Where the signal handler goes on.
static RESUME: AtomicU64 = AtomicU64::new(0);
/// What it saw: the vector plus one and the error code, and the instruction pointer.
static SEEN: AtomicU64 = AtomicU64::new(0);
static SEEN_AT: AtomicU64 = AtomicU64::new(0);
static SEEN_ADDRESS: AtomicU64 = AtomicU64::new(0);

/// The trampoline.
pub(crate) struct Native {
    /// Ways in: to 64-bit code, and to other code.
    enter_wide: u64,
    enter_far: u64,
    /// Ways back: from behind the instruction, and from its target.
    exits: [u64; 2],
}

/// Machine code under construction, at the start of the harness.
struct Assembler(Vec<u8>);

impl Assembler {
    /// An instruction whose memory operand is `[rip + …]` at `offset` of the data pages, with
    /// `immediate` behind it. `field` is the register or opcode extension in ModRM.
    fn data_with(&mut self, opcode: &[u8], field: u8, offset: i32, immediate: &[u8]) {
        self.raw(opcode);
        self.raw(&[field << 3 | 5]);
        let next = (self.0.len() + 4 + immediate.len()) as i32;
        self.raw(&(PAGE + offset - next).to_le_bytes());
        self.raw(immediate);
    }

    fn data(&mut self, opcode: &[u8], field: u8, offset: i32) {
        self.data_with(opcode, field, offset, &[]);
    }

    fn general(&mut self, opcode: u8, register: u8) {
        let rex = 0x48 | (register >> 3) << 2;
        let offset = place::GENERAL + i32::from(register) * 8;
        self.data(&[rex, opcode], register & 7, offset);
    }

    /// XSAVE64 (`field` 4) or XRSTOR64 (5) of x87, SSE and AVX state; EAX and EDX are lost.
    fn vectors(&mut self, field: u8) {
        // mov eax, 7; xor edx, edx
        self.raw(&[0xb8, 7, 0, 0, 0, 0x31, 0xd2]);
        self.data(&[0x48, 0x0f, 0xae], field, place::IMAGE);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn here(&self) -> u64 {
        HARNESS + self.0.len() as u64
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
/// Registers as MOV to and from segment registers numbers them, but CS.
const SEGMENTS: [u8; 5] = [0, 2, 3, 4, 5];

fn selector_place(segment: u8) -> i32 {
    place::SELECTORS + 2 * i32::from(segment)
}

/// The way in; `far` through a far jump, with segment registers loaded.
fn assemble_entry(asm: &mut Assembler, far: bool) {
    asm.raw(PUSH_SAVED);
    asm.data(&[0x48, STORE], 4, own::STACK);
    // rdfsbase rax
    asm.raw(&[0xf3, 0x48, 0x0f, 0xae, 0xc0]);
    asm.data(&[0x48, STORE], 0, own::FS_BASE);
    if far {
        for segment in SEGMENTS {
            asm.data(&[0x8e], segment, selector_place(segment));
        }
    } else {
        for (n, base) in (0..).zip([0xd0, 0xd8]) {
            // mov rax, [base]; wrfsbase rax or wrgsbase rax
            asm.data(&[0x48, LOAD], 0, place::BASES + 8 * n);
            asm.raw(&[0xf3, 0x48, 0x0f, 0xae, base]);
        }
    }
    asm.vectors(RESTORE);
    // push [flags]; popfq
    asm.data(&[0xff], 6, place::FLAGS);
    asm.raw(&[0x9d]);
    for register in (0..16).filter(|&n| n != 4).chain([4]) {
        asm.general(LOAD, register);
    }
    match far {
        true => asm.data(&[0xff], 5, own::FAR),
        false => asm.data(&[0xff], 4, own::NEAR),
    }
}

/// What all ways back share.
fn assemble_exit(asm: &mut Assembler) {
    for register in 0..16 {
        asm.general(STORE, register);
    }
    for segment in SEGMENTS {
        asm.data(&[0x8c], segment, selector_place(segment));
    }
    // mov eax, FLAT; mov ss, eax
    asm.raw(&[0xb8, FLAT as u8, 0, 0, 0, 0x8e, 0xd0]);
    asm.data(&[0x48, LOAD], 4, own::STACK);
    // pushfq; pop [flags]
    asm.raw(&[0x9c]);
    asm.data(&[0x8f], 0, place::FLAGS);
    // push 2; popfq
    asm.raw(&[0x6a, 2, 0x9d]);
    for (n, base) in (0..).zip([0xc0, 0xc8]) {
        // rdfsbase rax or rdgsbase rax; mov [base], rax
        asm.raw(&[0xf3, 0x48, 0x0f, 0xae, base]);
        asm.data(&[0x48, STORE], 0, place::BASES + 8 * n);
    }
    // xor eax, eax; mov to es, ds, fs, gs
    asm.raw(&[0x31, 0xc0, 0x8e, 0xc0, 0x8e, 0xd8, 0x8e, 0xe0, 0x8e, 0xe8]);
    asm.data(&[0x48, LOAD], 0, own::FS_BASE);
    // wrfsbase rax
    asm.raw(&[0xf3, 0x48, 0x0f, 0xae, 0xd0]);
    asm.vectors(SAVE);
    // fninit; ldmxcsr [mxcsr]; vzeroupper
    asm.raw(&[0xdb, 0xe3]);
    asm.data(&[0x0f, 0xae], 2, own::MXCSR);
    asm.raw(&[0xc5, 0xf8, 0x77]);
    asm.raw(POP_SAVED_RET);
}

/// Maps zeroed pages at a fixed address, which can be read, written and executed.
fn map_at(address: u64, bytes: u64) {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: an anonymous mapping, at addresses where nothing lies: the kernel refuses others.
    let pages = unsafe {
        libc::mmap(
            address as *mut libc::c_void,
            bytes as usize,
            protection,
            flags,
            -1,
            0,
        )
    };
    assert_eq!(pages as u64, address, "cannot map memory at {address:x}");
}

/// Copies `bytes` to an address of [`super::layout`].
fn write_at(address: u64, bytes: &[u8]) {
    // SAFETY: callers stay inside what `Native::new` mapped, which nobody holds references to.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

impl Native {
    /// Maps everything and loads the LDT. Once a process.
    pub(crate) fn new() -> Self {
        map_at(CODE, CODE_BYTES);
        // 32-bit segments end below the window in part: what lies there exists as well.
        map_at(SCRATCH - 0x1000, SCRATCH_BYTES + 0x2000);
        map_at(HARNESS, HARNESS_BYTES);
        load_ldt();
        install_handlers();
        let mut asm = Assembler(Vec::new());
        let enter_wide = asm.here();
        assemble_entry(&mut asm, false);
        let enter_far = asm.here();
        assemble_entry(&mut asm, true);
        // mov byte [end], TARGET; jmp over the next
        let from_target = asm.here();
        asm.data_with(&[0xc6], 0, own::END, &[TARGET]);
        asm.raw(&[0xeb, 7]);
        let from_behind = asm.here();
        asm.data_with(&[0xc6], 0, own::END, &[BEHIND]);
        RESUME.store(asm.here(), Ordering::SeqCst);
        assemble_exit(&mut asm);
        assert!(asm.0.len() <= PAGE as usize);
        write_at(HARNESS, &asm.0);
        write_at(data(own::MXCSR), &0x1f80_u32.to_le_bytes());
        Self {
            enter_wide,
            enter_far,
            exits: [from_behind, from_target],
        }
    }

    /// Places an instruction at a linear address in code of `bits` bits, with the ways back behind
    /// it and at `target`.
    pub(crate) fn place(&self, bits: u32, at: u64, instruction: &[u8], target: Option<u64>) {
        let behind = at + instruction.len() as u64;
        write_at(at, instruction);
        write_at(behind, &self.way_back(bits, behind, BEHIND));
        if let Some(target) = target {
            write_at(target, &self.way_back(bits, target, TARGET));
        }
    }

    /// A jump back, which stands at `at`.
    fn way_back(&self, bits: u32, at: u64, end: u8) -> Vec<u8> {
        let to = self.exits[usize::from(end)];
        let far = [&(to as u32).to_le_bytes()[..], &CODE64.to_le_bytes()].concat();
        match bits {
            64 => [&[0xe9][..], &(to.wrapping_sub(at + 5) as u32).to_le_bytes()].concat(),
            32 => [&[0xea][..], &far].concat(),
            _ => [&[0x66, 0xea][..], &far].concat(),
        }
    }

    /// Runs the placed instruction from `before`, in the code segment of that; `after` is what
    /// came of it.
    pub(crate) fn run(&self, ends: Ends, before: &State, after: &mut State) -> End {
        let ip = ends.start;
        let code = before.registers.selectors[1];
        let is_wide = code == CODE64;
        SEEN.store(0, Ordering::Relaxed);
        // SAFETY: all is mapped and of these sizes. The trampoline preserves what the C ABI says and
        // comes back by `ret`; the instruction reaches only registers, the scratch memory and the
        // ways back, or faults into the handler.
        unsafe {
            let registers = data(0) as *mut Registers;
            let window = WINDOW_START as *mut [u8; WINDOW as usize];
            registers.write(before.registers.clone());
            window.write(before.memory);
            let entry = if is_wide {
                (data(own::NEAR) as *mut u64).write(ip);
                self.enter_wide
            } else {
                (data(own::FAR) as *mut u64).write(u64::from(code) << 32 | ip);
                self.enter_far
            };
            let entry: extern "C" fn() = std::mem::transmute(entry);
            entry();
            after.registers = registers.read();
            after.memory = window.read();
        }
        let seen = SEEN.load(Ordering::Relaxed);
        if seen == 0 {
            // SAFETY: the byte is mapped.
            return match unsafe { (data(own::END) as *const u8).read() } {
                BEHIND => End::Behind,
                _ => End::Target,
            };
        }
        End::fault(
            ends,
            SEEN_AT.load(Ordering::Relaxed),
            (seen as u8 - 1, (seen >> 32) as u32),
            SEEN_ADDRESS.load(Ordering::Relaxed),
        )
    }

    /// The memory below and above the window, which no instruction should reach on its own.
    pub(crate) fn margins(&self) -> [[u8; MARGIN as usize]; 2] {
        // SAFETY: mapped for ever, and nobody holds references to it.
        MARGINS.map(|start| unsafe { (start as *const [u8; MARGIN as usize]).read() })
    }
}

/// An address in the data pages.
fn data(offset: i32) -> u64 {
    HARNESS + PAGE as u64 + offset as u64
}

/// `struct user_desc` of modify_ldt(2), with its bits in the last word.
#[repr(C)]
struct UserDescriptor {
    entry: u32,
    base: u32,
    limit: u32,
    bits: u32,
}

fn load_ldt() {
    const WRITE: libc::c_int = 0x11;
    for (n, entry) in (0..).zip(&ENTRIES) {
        let contents = match entry.kind {
            Kind::ReadOnly | Kind::Data => 0,
            Kind::ReadOnlyDown | Kind::DataDown => 1,
            Kind::ExecuteOnly | Kind::Code => 2,
        };
        let is_closed = matches!(
            entry.kind,
            Kind::ReadOnly | Kind::ReadOnlyDown | Kind::ExecuteOnly
        );
        let bits = u32::from(entry.big)
            | contents << 1
            | u32::from(is_closed) << 3
            | u32::from(entry.granular) << 4
            | u32::from(!entry.present) << 5;
        let mut descriptor = UserDescriptor {
            entry: n,
            base: entry.base,
            limit: entry.limit,
            bits,
        };
        // SAFETY: the kernel reads the structure, whose size it is told.
        let done = unsafe {
            libc::syscall(
                libc::SYS_modify_ldt,
                WRITE,
                &raw mut descriptor,
                size_of::<UserDescriptor>(),
            )
        };
        assert_eq!(done, 0, "modify_ldt refuses entry {n}");
    }
}

/// Notes what happened and goes on in the trampoline, in 64-bit code.
extern "C" fn on_signal(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context for the length of the handler.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let [vector, error] = [libc::REG_TRAPNO, libc::REG_ERR].map(|n| registers[n as usize] as u64);
    if SEEN.swap(error << 32 | (vector + 1), Ordering::Relaxed) != 0 {
        // A second fault is one of the trampoline: nothing to come back to.
        std::process::abort();
    }
    SEEN_AT.store(registers[libc::REG_RIP as usize] as u64, Ordering::Relaxed);
    SEEN_ADDRESS.store(registers[libc::REG_CR2 as usize] as u64, Ordering::Relaxed);
    registers[libc::REG_RIP as usize] = RESUME.load(Ordering::Relaxed) as i64;
    let selectors = &mut registers[libc::REG_CSGSFS as usize];
    *selectors = *selectors & !0xffff | i64::from(CODE64);
}

fn install_handlers() {
    const STACK: usize = 64 << 10;
    let stack = Box::leak(vec![0u8; STACK].into_boxed_slice());
    // SAFETY: the structures are fully initialised, the stack stays for ever, and the handler
    // touches only the context and atomics.
    unsafe {
        let mut alternate: libc::stack_t = std::mem::zeroed();
        alternate.ss_sp = stack.as_mut_ptr().cast();
        alternate.ss_size = STACK;
        assert_eq!(libc::sigaltstack(&alternate, std::ptr::null_mut()), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let signals = [
            libc::SIGFPE,
            libc::SIGSEGV,
            libc::SIGILL,
            libc::SIGBUS,
            libc::SIGTRAP,
        ];
        for signal in signals {
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
    }
}

/// Runs `work` in a forked child and returns where to read what it says.
pub(crate) fn in_child(work: impl FnOnce(&mut dyn std::io::Write)) -> Child {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child runs only `work`, writes to the pipe and leaves by _exit.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "cannot fork");
    // SAFETY: each side owns one end, once.
    let end = |n: usize| unsafe {
        libc::close(pipe[1 - n]);
        <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(pipe[n])
    };
    if id == 0 {
        let work = std::panic::AssertUnwindSafe(|| work(&mut end(1)));
        let failed = std::panic::catch_unwind(work).is_err();
        // SAFETY: ends the child at once, without running what the parent registered.
        unsafe { libc::_exit(failed.into()) };
    }
    Child { id, pipe: end(0) }
}

/// A child that runs machine code.
pub(crate) struct Child {
    id: libc::pid_t,
    pipe: std::fs::File,
}

impl Child {
    /// All that it writes, and its status at the end: 0 if all went well.
    pub(crate) fn finish(mut self) -> (String, i32) {
        let mut text = Vec::new();
        let read = std::io::Read::read_to_end(&mut self.pipe, &mut text);
        read.expect("the pipe can be read");
        let mut status = 0;
        // SAFETY: the child is ours to wait for.
        unsafe { libc::waitpid(self.id, &mut status, 0) };
        (String::from_utf8_lossy(&text).into_owned(), status)
    }
}
