//! Who calls: tokens, and the policies that they bring.

pub mod rights;
pub mod token;
