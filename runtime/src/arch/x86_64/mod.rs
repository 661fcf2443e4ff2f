//! x86-64: [`switch`](mod@switch) has the switching of stacks and thread pointers, [`cpu`] registers,
//! clock, memory and system calls, [`float`] the control state of the floating-point units.

mod cpu;
mod float;
mod switch;

pub(crate) use cpu::*;
pub(crate) use float::FloatControl;
pub(crate) use switch::*;
