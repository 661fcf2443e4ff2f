//! Finds the frames of a sample: from its registers and its copy of the stack, by the unwind tables
//! of the program and its libraries (`.eh_frame`).
//!
//! Nothing here touches the memory of the thread that was sampled. All registers are known in the
//! innermost frame, so it finds its way out of any instruction that the tables describe, also in the
//! middle of a switch of stacks.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, Encoding, EndianSlice, EvaluationResult, Format,
    NativeEndian, Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow,
    Value,
};
use narrowboat_runtime::window::registers::{COUNT, KEPT, LINK, RETURN_ADDRESS, STACK_POINTER};
use narrowboat_runtime::window::{CpuSample, Module, modules};

/// The most frames of one sample.
const MAX_FRAMES: usize = 256;
const WORD: usize = 8;

type Slice<'a> = EndianSlice<'a, NativeEndian>;
type Registers = [Option<u64>; COUNT];

/// The unwind tables of a program.
pub(crate) struct Unwinder {
    modules: Vec<Module>,
    context: UnwindContext<usize>,
}

impl Unwinder {
    /// With the modules that are loaded now.
    pub(crate) fn new() -> Unwinder {
        Unwinder { modules: modules(), context: UnwindContext::new() }
    }

    /// Whether the code at an address is that of a known module.
    pub(crate) fn knows(&self, address: u64) -> bool {
        module_of(&self.modules, address).is_some()
    }

    /// The addresses of the frames, innermost first. All are return addresses, so each is one byte
    /// or more behind the instruction that it stands for.
    pub(crate) fn frames(&mut self, sample: &CpuSample) -> Vec<u64> {
        let stack = Stack { from: sample.registers[STACK_POINTER], bytes: &sample.stack };
        let mut registers: Registers = sample.registers.map(Some);
        let mut frames = Vec::new();
        // The instruction itself has been interrupted in the innermost frame, and in one that a
        // signal has interrupted; elsewhere it is the call before the return address.
        let mut exact = true;
        while let Some(address) = registers[RETURN_ADDRESS].filter(|&address| address > 1)
            && frames.len() < MAX_FRAMES
        {
            frames.push(address + u64::from(exact));
            let at = address - u64::from(!exact);
            let Some(module) = module_of(&self.modules, at) else { break };
            let Some(caller) = step(module, &mut self.context, at, &registers, &stack) else { break };
            (registers, exact) = caller;
        }
        frames
    }
}

fn module_of(modules: &[Module], address: u64) -> Option<&Module> {
    modules.iter().find(|module| module.code.iter().any(|range| range.contains(&address)))
}

/// The copy of a stack.
struct Stack<'a> {
    from: u64,
    bytes: &'a [u8],
}

impl Stack<'_> {
    fn word(&self, at: u64) -> Option<u64> {
        let offset = usize::try_from(at.checked_sub(self.from)?).ok()?;
        let bytes = self.bytes.get(offset..offset.checked_add(WORD)?)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }
}

/// From a frame to its caller: the registers there, and whether the caller was interrupted by a
/// signal. `None` at the outermost frame, and where the tables or the copy end.
fn step(
    module: &Module,
    context: &mut UnwindContext<usize>,
    at: u64,
    registers: &Registers,
    stack: &Stack<'_>,
) -> Option<(Registers, bool)> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(module.table_at);
    let header = EhFrameHdr::new(&module.bytes, NativeEndian).parse(&bases, WORD as u8).ok()?;
    let gimli::Pointer::Direct(frames_at) = header.eh_frame_ptr() else { return None };
    let offset = usize::try_from(frames_at.checked_sub(module.table_at)?).ok()?;
    let section = EhFrame::new(module.bytes.get(offset..)?, NativeEndian);
    let bases = bases.set_eh_frame(frames_at);
    let found = header.table()?.fde_for_address(&section, &bases, at, EhFrame::cie_from_offset).ok()?;
    let row = found.unwind_info_for_address(&section, &bases, context, at).ok()?;
    let caller = caller(row, &section, registers, stack)?;
    Some((caller, found.is_signal_trampoline()))
}

fn caller(
    row: &UnwindTableRow<usize>,
    section: &EhFrame<Slice<'_>>,
    registers: &Registers,
    stack: &Stack<'_>,
) -> Option<Registers> {
    let value = |register: Register| registers.get(usize::from(register.0)).copied().flatten();
    let evaluate = |expression: &UnwindExpression<usize>, initial: Option<u64>| {
        evaluate(expression, section, initial, &value, stack)
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => value(*register)?.checked_add_signed(*offset)?,
        CfaRule::Expression(expression) => evaluate(expression, None)?,
    };
    let mut found: Registers = [None; COUNT];
    for &kept in KEPT {
        found[kept] = registers[kept];
    }
    found[STACK_POINTER] = Some(cfa);
    for (register, rule) in row.registers() {
        let Some(to) = found.get_mut(usize::from(register.0)) else { continue };
        *to = match rule {
            RegisterRule::Undefined => None,
            RegisterRule::SameValue => value(*register),
            RegisterRule::Offset(offset) => stack.word(cfa.checked_add_signed(*offset)?),
            RegisterRule::ValOffset(offset) => cfa.checked_add_signed(*offset),
            RegisterRule::Register(other) => value(*other),
            RegisterRule::Expression(expression) => stack.word(evaluate(expression, Some(cfa))?),
            RegisterRule::ValExpression(expression) => evaluate(expression, Some(cfa)),
            _ => return None,
        };
    }
    found[RETURN_ADDRESS] = found[LINK];
    Some(found)
}

/// The value of an expression, as procedure linkage tables and the return from a signal have them.
fn evaluate(
    expression: &UnwindExpression<usize>,
    section: &EhFrame<Slice<'_>>,
    initial: Option<u64>,
    value: &dyn Fn(Register) -> Option<u64>,
    stack: &Stack<'_>,
) -> Option<u64> {
    const MOST: u32 = 1000;
    let encoding = Encoding { address_size: WORD as u8, format: Format::Dwarf32, version: 4 };
    let mut evaluation = expression.get(section).ok()?.evaluation(encoding);
    evaluation.set_max_iterations(MOST);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
    }
    let mut state = evaluation.evaluate().ok()?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                evaluation.resume_with_register(Value::Generic(value(register)?)).ok()?
            }
            EvaluationResult::RequiresMemory { address, .. } => {
                evaluation.resume_with_memory(Value::Generic(stack.word(address)?)).ok()?
            }
            _ => return None,
        };
    }
    match evaluation.result().first()?.location {
        gimli::Location::Address { address } => Some(address),
        _ => None,
    }
}
