//! MOO, the format of the recorded tests: chunks of a four-letter name, a length, and contents
//! (`v1_binary/README.md` of the 8086 suite).

/// Registers in the order of the mask.
pub(crate) const REGISTERS: [&str; 14] = [
    "ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags",
];
/// Indices in that order.
pub(crate) const CS: usize = 4;
pub(crate) const SS: usize = 5;
pub(crate) const SP: usize = 8;
pub(crate) const IP: usize = 12;
pub(crate) const FLAGS: usize = 13;

/// Registers and memory, before or after; of those after only what has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) registers: [Option<u16>; 14],
    pub(crate) memory: Vec<(u32, u8)>,
}

/// One instruction, recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) before: State,
    pub(crate) after: State,
    /// The interrupt or exception that the instruction ended in.
    pub(crate) vector: Option<u8>,
    /// SHA-1 that identifies the test.
    pub(crate) hash: Vec<u8>,
}

impl Test {
    /// Whether a byte of the interrupt vector that the chip read was not recorded.
    pub(crate) fn lacks_vector(&self) -> bool {
        let has = |address| self.before.memory.iter().any(|&(a, _)| a == address);
        let entry = self.vector.map(|vector| u32::from(vector) * 4);
        entry.is_some_and(|entry| !(entry..entry + 4).all(has))
    }
}

/// The next `N` bytes.
fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*head)
}

fn word(from: &mut &[u8]) -> Option<u32> {
    take(from).map(u32::from_le_bytes)
}

/// The next chunk: its name and contents.
fn chunk<'b>(from: &mut &'b [u8]) -> Option<([u8; 4], &'b [u8])> {
    let name = take(from)?;
    let len = word(from)? as usize;
    let (contents, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some((name, contents))
}

/// Bytes behind their number.
fn counted(mut from: &[u8]) -> Option<Vec<u8>> {
    let len = word(&mut from)? as usize;
    from.get(..len).map(<[u8]>::to_vec)
}

fn state(mut from: &[u8]) -> Option<State> {
    let mut state = State::default();
    while let Some((name, mut contents)) = chunk(&mut from) {
        match &name {
            b"REGS" => {
                let mask = take(&mut contents).map(u16::from_le_bytes)?;
                for (n, register) in state.registers.iter_mut().enumerate() {
                    if mask >> n & 1 != 0 {
                        *register = Some(take(&mut contents).map(u16::from_le_bytes)?);
                    }
                }
            }
            b"RAM " => {
                for _ in 0..word(&mut contents)? {
                    let address = word(&mut contents)?;
                    let [byte] = take(&mut contents)?;
                    state.memory.push((address, byte));
                }
            }
            _ => {}
        }
    }
    Some(state)
}

/// A TEST chunk: the test's number, then chunks.
fn test(mut from: &[u8]) -> Option<Test> {
    let mut test = Test::default();
    word(&mut from)?;
    while let Some((name, mut contents)) = chunk(&mut from) {
        match &name {
            b"NAME" => test.name = String::from_utf8(counted(contents)?).ok()?,
            b"BYTS" => test.bytes = counted(contents)?,
            b"INIT" => test.before = state(contents)?,
            b"FINA" => test.after = state(contents)?,
            b"EXCP" => {
                let [vector] = take(&mut contents)?;
                test.vector = Some(vector);
            }
            b"HASH" => test.hash = contents.to_vec(),
            _ => {}
        }
    }
    Some(test)
}

/// The tests of a file; `None` if it is damaged.
pub(crate) fn read(mut file: &[u8]) -> Option<Vec<Test>> {
    let (name, mut header) = chunk(&mut file)?;
    let _version: [u8; 4] = take(&mut header)?;
    let announced = word(&mut header)? as usize;
    let mut tests = Vec::new();
    while !file.is_empty() {
        let (name, contents) = chunk(&mut file)?;
        if &name == b"TEST" {
            tests.push(test(contents)?);
        }
    }
    (&name == b"MOO " && tests.len() == announced).then_some(tests)
}
