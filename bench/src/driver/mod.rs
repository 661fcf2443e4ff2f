//! The driver's parts: what is measured (`cases`, `registry`), by whom (`peers`), how a program is run (`run`, `client`,
//! `start`, `process`), in which order (`schedule`), what came of it (`results`, `row`), how it is shown (`table`, `report`,
//! `readme`, `plot`, `machine`), kept (`record`) and held against an earlier run (`compare`). Besides, what
//! Narrowboat's own operations cost in instructions (`instructions`).

pub use narrowboat_bench::harness::{machine, process};

pub mod build;
pub mod cases;
pub mod client;
pub mod compare;
pub mod instructions;
pub mod options;
pub mod peers;
pub mod plot;
pub mod progress;
pub mod readme;
pub mod record;
pub mod registry;
pub mod report;
pub mod results;
pub mod row;
pub mod run;
pub mod schedule;
pub mod start;
pub mod table;
