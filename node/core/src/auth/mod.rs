//! Who calls: tokens, and the policies that they bring.

pub mod token;
