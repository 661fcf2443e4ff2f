//! The names of functions, from the program's own file.

pub(crate) use super::system::Program;
use crate::lock::OnceLock;

/// Where an address in code is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// In a function of the program with this name, as the linker knows it.
    Function(&'static str),
    /// In the program, in a function without a name.
    Unnamed,
    /// In a library that is loaded.
    Elsewhere,
}

/// The function that an address belongs to. Allocates nothing. It reads all symbols, so its answer
/// is worth keeping.
pub fn function_at(address: usize) -> Caller {
    static PROGRAM: OnceLock<Option<Program>> = OnceLock::new();
    let Some(program) = PROGRAM.get_or_init(Program::running) else { return Caller::Unnamed };
    match program.relative(address) {
        None => Caller::Elsewhere,
        Some(relative) => program.name(relative).map_or(Caller::Unnamed, Caller::Function),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn finds_the_function_of_an_address() {
        let here = finds_the_function_of_an_address as *const () as usize;
        let Caller::Function(name) = function_at(here) else { panic!("{:?}", function_at(here)) };
        assert!(name.contains("finds_the_function_of_an_address"), "{name}");
        let local = 0u8;
        assert_eq!(function_at(&raw const local as usize), Caller::Elsewhere);
    }
}
