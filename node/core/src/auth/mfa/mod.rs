//! Login MFA: a further proof, without which a login that was accepted gives no token.
//!
//! ```text
//! Method::login -> the method accepts -> demand::settle   what must be proven, by whom (table)
//!                    nothing                              the token
//!                    codes came with the login            checked (check): the token, or a refusal that is counted
//!                    else                                 laid aside (laid_aside), under an id that is answered
//! sys/mfa/validate -> laid_aside::validate -> check       the token
//! ```
//!
//! A method accepts a login without making its token (`login::plan_login`): only what is here makes one, so that no
//! method can forget to ask. Why so: `docs/2026-11-23-login-mfa.md`.

pub mod api;
mod barcode;
mod basis;
mod check;
pub mod clear;
mod codes;
mod demand;
mod enforcement;
mod laid_aside;
mod method;
mod secret;
mod table;
mod totp;

pub use api::{Asked, MfaRequest, handle};
pub use codes::Codes;
pub use demand::settle;
pub use laid_aside::validate;
pub use secret::forget_entity;

#[cfg(test)]
mod tests;
