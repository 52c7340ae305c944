//! Reports, made from raw files alone: figures first, then markdown tables and an SVG picture of them.

pub mod agreement;
pub mod changes;
pub mod figures;
pub mod lines;
pub mod markdown;
mod shapes;
pub mod svg;
