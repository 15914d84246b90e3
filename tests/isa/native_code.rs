//! Instruction bytes that the host runs: one page of executable memory.
#![expect(unsafe_code, reason = "runs generated code on the host")]

/// A page with a function `extern "sysv64" fn(*mut T)` in it.
pub(crate) struct Code(*mut u8);

/// The size of the page.
const PAGE: usize = 4096;

impl Code {
    pub(crate) fn new() -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap of an executable page");
        Self(page.cast())
    }

    /// Fills the page from its start.
    pub(crate) fn place(&mut self, parts: &[&[u8]]) {
        let bytes = parts.concat();
        assert!(bytes.len() <= PAGE);
        // SAFETY: the page is ours, writable and long enough.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len()) };
    }

    /// Calls the page's code with `argument` in RDI. The code keeps the rules of the System V
    /// ABI but may change any x87 and XMM register, which nothing here relies on.
    pub(crate) fn call<T>(&self, argument: &mut T) {
        // SAFETY: the caller placed a complete function that ends in RET and accesses only
        // `argument`; all registers that it may change are declared.
        unsafe {
            std::arch::asm!(
                "call {code}",
                code = in(reg) self.0,
                inout("rdi") std::ptr::from_mut(argument) => _,
                clobber_abi("sysv64"),
            );
        }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: `new` mapped the page.
        unsafe { libc::munmap(self.0.cast(), PAGE) };
    }
}
