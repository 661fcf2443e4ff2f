//! What the drivers share, which run programs and report on them: building (`build`, `java`) and
//! running (`process`), figures of several rounds (`figures`), the machine (`machine`), and plots
//! (`curve`).

pub mod build;
pub mod curve;
pub mod figures;
pub mod java;
pub mod machine;
pub mod process;
