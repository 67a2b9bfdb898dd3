//! Why a command failed, in a sentence, and the exit code that says whose turn it is.

use std::fmt;

use conclave_client::Error;

/// The server answered, and said no.
const CODE_REFUSED: u8 = 1;
/// The command was used wrongly, or no answer came.
pub const CODE_USAGE: u8 = 2;

#[derive(Debug)]
pub struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// The command line cannot be carried out as it stands.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: CODE_USAGE }
    }

    /// This machine cannot do its part: a file, a terminal, a process.
    pub fn local(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: CODE_USAGE }
    }

    /// The cluster has been asked, and the answer is no.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: CODE_REFUSED }
    }

    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says "no value found" where the server's no is that nothing is stored at `path`, else what it said.
    pub fn at(path: &str, error: Error) -> Self {
        let nothing =
            error.refusal().filter(|refusal| refusal.status() == 404 && refusal.errors().is_empty());
        match nothing {
            None => error.into(),
            Some(refusal) => {
                let mut sentence = format!("No value found at {path}");
                for warning in refusal.answer().warnings() {
                    sentence.push_str(&format!("\n  {}", warning.trim()));
                }
                Self::refused(sentence)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Some(refusal) = error.refusal() else { return Self::local(format!("Error: {error}")) };
        let mut sentence = String::from("Error:");
        for text in refusal.errors() {
            sentence.push_str(&format!(" {}", plain(text)));
        }
        if refusal.errors().is_empty() {
            sentence.push_str(" the server refused");
        }
        sentence.push_str(&format!(" (status {} from {})", refusal.status(), refusal.address()));
        for warning in refusal.answer().warnings() {
            sentence.push_str(&format!("\n  {}", warning.trim()));
        }
        Self::refused(sentence)
    }
}

/// Vault wraps some sentences as lists of one: "1 error occurred:\n\t* permission denied\n\n".
fn plain(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("1 error occurred:").map_or(text, |rest| rest.trim().trim_start_matches("* "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_error_read_as_a_sentence() {
        assert_eq!(plain("1 error occurred:\n\t* permission denied\n\n"), "permission denied");
        assert_eq!(plain("Vault is sealed"), "Vault is sealed");
    }

    #[test]
    fn each_kind_has_its_exit_code() {
        assert_eq!(Failure::usage("u").code(), 2);
        assert_eq!(Failure::refused("r").code(), 1);
        assert_eq!(Failure::from(Error::Unreachable { failures: vec![] }).code(), 2);
        assert_eq!(Failure::from(Error::Configuration("c".into())).code(), 2);
        let unknown = Error::Unknown { address: "a".into(), reason: "r".into(), idempotency_key: None };
        assert_eq!(Failure::from(unknown).code(), 2);
    }
}
