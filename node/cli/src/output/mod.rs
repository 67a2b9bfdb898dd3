//! How answers are printed. The tables look as Vault's do, so that scripts and eyes find what they know.

mod envelope;
mod report;
pub mod table;
pub mod value;

pub use report::Report;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
}
