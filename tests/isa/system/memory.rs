//! Memory operands where memory is more than RAM.

use cowbox::cpu::Stop;
use cowbox::memory::Mapping;

use super::bench::{Bench, CODE};

#[test]
fn a_read_modify_write_of_shadowed_rom_reads_the_rom_and_writes_the_ram() {
    // As the chipset has it while firmware copies itself: reads of 20000h go to 30000h.
    let byte = 0x2_0000_u32.to_le_bytes();
    let mut code = [0x80, 0x05, 0, 0, 0, 0, 1].repeat(3); // add byte [20000h], 1
    for store in code.chunks_mut(7) {
        store[2..6].copy_from_slice(&byte);
    }
    code.push(0xf4);
    let mut bench = Bench::protected(&code);
    bench.memory.write(0x3_0000, &[40]);
    let shadowed = Mapping {
        read: Some(0x3_0000),
        write: Some(0x2_0000),
    };
    bench.memory.map.map(0x2_0000, 0x1000, shadowed);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.cpu.rip, CODE + 22);
    assert_eq!(bench.memory.read_array(0x2_0000), [40]);
    bench.memory.map.map_ram(0x2_0000, 0x1000, 0x2_0000);
    assert_eq!(bench.memory.read_array(0x2_0000), [41]);
}
