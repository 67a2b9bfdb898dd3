//! Who calls: tokens, the policies that they bring, and the logins that give tokens.

mod approle;
mod aws;
mod cert;
mod jose;
mod jwt;
mod kubernetes;
pub mod login;
pub mod method;
pub mod mfa;
mod named;
mod old_names;
mod params;
mod password;
pub mod rights;
pub mod token;
mod userpass;
pub mod wrapping;

pub use approle::clear::next_batch as clear_approles;
pub use method::{Method, MethodRequest, Step, Work};
pub use params::AskedKind;
pub use password::{PasswordDone, PasswordWork};
pub use userpass::locked::{locked_users, unlock_user};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
