//! FNINIT FLDCW FNSTCW FNSTSW FNCLEX FNSTENV FLDENV FNSAVE FRSTOR FFREE FINCSTP FDECSTP FNOP and
//! FWAIT. Intel SDM volume 1, section 8.3.11.

use super::image::{Environment, Layout};
use super::soft::Float80;
use super::state::status::C1;
use crate::cpu::decode::Op;
use crate::cpu::exec::run;
use crate::cpu::fault::NM;
use crate::cpu::regs::RAX;
use crate::cpu::{Core, Exec, Handler, cr0};
use iced_x86::{Code, Instruction};

fn fninit(core: &mut Core<'_>, _: &Op) -> Exec {
    core.enter_control()?;
    core.cpu.fpu.init();
    core.drive_ferr();
    Ok(())
}

fn fnclex(core: &mut Core<'_>, _: &Op) -> Exec {
    core.enter_control()?;
    core.cpu.fpu.clear_exceptions();
    core.drive_ferr();
    Ok(())
}

fn fldcw(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    let value = core.load(op)?;
    load_control(core, value);
    Ok(())
}

/// A new mask can make a flag that was raised before into a waiting exception.
fn load_control(core: &mut Core<'_>, value: u16) {
    let pending = core.cpu.fpu.has_pending();
    core.cpu.fpu.set_control(value);
    if core.cpu.fpu.has_pending() != pending {
        core.drive_ferr();
    }
}

fn fnstcw(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_control()?;
    core.store(op, core.cpu.fpu.control())
}

fn fnstsw_memory(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_control()?;
    core.store(op, core.cpu.fpu.status())
}

fn fnstsw_ax(core: &mut Core<'_>, _: &Op) -> Exec {
    core.enter_control()?;
    core.cpu.regs.write(RAX, core.cpu.fpu.status());
    Ok(())
}

/// WAIT heeds TS only where MP is set.
fn fwait(core: &mut Core<'_>, _: &Op) -> Exec {
    let both = cr0::MP | cr0::TS;
    if core.cpu.cr0 & both == both {
        return Err(core.fault(NM));
    }
    core.check_pending()
}

fn fnop(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    core.note(op);
    Ok(())
}

/// FNENI, FNDISI and FNSETPM: instructions of the 8087 and 80287 that have become no-ops.
fn obsolete(core: &mut Core<'_>, _: &Op) -> Exec {
    core.enter_control()
}

fn ffree(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    core.note(op);
    core.cpu.fpu.free(op.dst);
    Ok(())
}

fn ffreep(core: &mut Core<'_>, op: &Op) -> Exec {
    ffree(core, op)?;
    core.cpu.fpu.pop();
    Ok(())
}

fn fincstp(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    core.note(op);
    core.cpu.fpu.rotate(1);
    core.cpu.fpu.set_conditions(C1, 0);
    Ok(())
}

fn fdecstp(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    core.note(op);
    core.cpu.fpu.rotate(7);
    core.cpu.fpu.set_conditions(C1, 0);
    Ok(())
}

/// Images consist of words, or of doublewords: that is their alignment (SDM volume 3, table 6-7).
fn image_alignment(bytes: usize) -> u64 {
    match bytes {
        14 | 94 => 2,
        _ => 4,
    }
}

fn load_image<const N: usize>(core: &mut Core<'_>, op: &Op) -> Exec<[u8; N]> {
    core.load_bytes_aligned(op.segment(), core.effective_address(op), image_alignment(N))
}

fn store_image<const N: usize>(core: &mut Core<'_>, op: &Op, image: [u8; N]) -> Exec {
    let offset = core.effective_address(op);
    core.store_bytes_aligned(op.segment(), offset, image, image_alignment(N))
}

/// FNSTENV masks all exceptions once the image is stored.
fn fnstenv<const N: usize>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_control()?;
    let mut image = [0; N];
    Environment::of(&core.cpu.fpu).write(layout(core, N), &mut image);
    store_image(core, op, image)?;
    load_control(core, core.cpu.fpu.control() | 0x3f);
    Ok(())
}

fn fldenv<const N: usize>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    let image: [u8; N] = load_image(core, op)?;
    Environment::read(layout(core, N), &image).load_into(&mut core.cpu.fpu);
    core.drive_ferr();
    Ok(())
}

/// FNSAVE: the environment, ST(0) to ST(7), then FNINIT.
fn fnsave<const N: usize>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_control()?;
    let mut image = [0; N];
    let (head, registers) = image.split_at_mut(N - 80);
    Environment::of(&core.cpu.fpu).write(layout(core, N - 80), head);
    for (i, place) in (0..8).zip(registers.chunks_exact_mut(10)) {
        place.copy_from_slice(&core.cpu.fpu.st(i).to_bytes());
    }
    store_image(core, op, image)?;
    core.cpu.fpu.init();
    core.drive_ferr();
    Ok(())
}

fn frstor<const N: usize>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    let image: [u8; N] = load_image(core, op)?;
    let (head, registers) = image.split_at(N - 80);
    let environment = Environment::read(layout(core, N - 80), head);
    environment.load_into(&mut core.cpu.fpu);
    for (i, place) in (0..8).zip(registers.chunks_exact(10)) {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(place);
        core.cpu.fpu.set_st(i, Float80::from_bytes(bytes));
    }
    environment.load_into(&mut core.cpu.fpu);
    core.drive_ferr();
    Ok(())
}

/// The layout of an environment of `bytes` bytes in the present mode.
fn layout(core: &Core<'_>, bytes: usize) -> Layout {
    match (bytes, core.cpu.is_protected()) {
        (14, false) => Layout::Real16,
        (14, true) => Layout::Protected16,
        (_, false) => Layout::Real32,
        (_, true) => Layout::Protected32,
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Fninit => run!(fninit),
        Code::Fnclex => run!(fnclex),
        Code::Fldcw_m2byte => run!(fldcw),
        Code::Fnstcw_m2byte => run!(fnstcw),
        Code::Fnstsw_m2byte => run!(fnstsw_memory),
        Code::Fnstsw_AX => run!(fnstsw_ax),
        Code::Wait => run!(fwait),
        Code::Fnop => run!(fnop),
        Code::Fneni | Code::Fndisi | Code::Fnsetpm => run!(obsolete),
        Code::Ffree_sti => run!(ffree),
        Code::Ffreep_sti => run!(ffreep),
        Code::Fincstp => run!(fincstp),
        Code::Fdecstp => run!(fdecstp),
        Code::Fnstenv_m14byte => run!(fnstenv::<14>),
        Code::Fnstenv_m28byte => run!(fnstenv::<28>),
        Code::Fldenv_m14byte => run!(fldenv::<14>),
        Code::Fldenv_m28byte => run!(fldenv::<28>),
        Code::Fnsave_m94byte => run!(fnsave::<94>),
        Code::Fnsave_m108byte => run!(fnsave::<108>),
        Code::Frstor_m94byte => run!(frstor::<94>),
        Code::Frstor_m108byte => run!(frstor::<108>),
        _ => return None,
    };
    Some(handler)
}
