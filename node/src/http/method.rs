//! HTTP's methods and what they ask for, in both directions.

use conclave_core::plan::Operation;

use crate::service::Failure;

/// What `method` asks for.
///
/// # Errors
/// [`Failure::Unsupported`]: nothing.
pub fn operation(method: &str) -> Result<Operation, Failure> {
    Ok(match method {
        "GET" | "HEAD" => Operation::Read,
        "LIST" => Operation::List,
        "SCAN" => Operation::Scan,
        "POST" | "PUT" => Operation::Write,
        "PATCH" => Operation::Patch,
        "DELETE" => Operation::Delete,
        _ => return Err(Failure::Unsupported),
    })
}

/// A method that asks for `operation`.
pub fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "GET",
        Operation::List => "LIST",
        Operation::Scan => "SCAN",
        Operation::Write => "POST",
        Operation::Patch => "PATCH",
        Operation::Delete => "DELETE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_survives_the_way_to_another_node() {
        for name in ["GET", "LIST", "SCAN", "POST", "PUT", "PATCH", "DELETE"] {
            let asked = operation(name).unwrap();
            assert_eq!(operation(method(asked)).unwrap(), asked, "{name}");
        }
        assert!(operation("get").is_err() && operation("BREW").is_err());
    }
}
