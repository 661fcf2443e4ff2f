//! The driver's parts: what is measured (`cases`), by whom (`peers`), how a program is run (`process`), in which order
//! (`schedule`), what came of it (`results`), and how it is shown (`table`, `record`, `machine`).

pub mod build;
pub mod cases;
pub mod machine;
pub mod options;
pub mod peers;
pub mod process;
pub mod progress;
pub mod record;
pub mod results;
pub mod run;
pub mod schedule;
pub mod table;
