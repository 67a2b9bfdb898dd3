//! What STS answers. Only the one form in which STS answers this one question is believed: another answer of the same
//! server, into which a caller could have put words of his own, proves nothing (CVE-2020-16250).

use roxmltree::{Document, Node, ParsingOptions};

use super::arn;
use crate::errand::{Brought, Outcome};
use crate::error::Error;

/// Longest answer that is read, in bytes; a true one has about 500.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Elements and texts that are read at most; a true answer has about 20.
const NODES_MAX: u32 = 128;
pub(super) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
pub(super) const MEDIA_TYPE: &str = "text/xml";
pub(super) const STATUS_OK: u16 = 200;
/// From here on a status blames the server.
const STATUS_SERVER: u16 = 500;

/// As whom STS knows who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    pub arn: String,
    /// The unique id of the user or role, without the session behind it.
    pub unique_id: String,
    pub account: String,
}

impl CallerIdentity {
    /// Reads STS's answer.
    ///
    /// # Errors
    /// [`Error::Invalid`]: STS refuses the signature. [`Error::Upstream`]: it was not STS that answered, or not this.
    pub fn read(outcome: &Outcome) -> Result<Self, Error> {
        let Brought { status, content_type, body } = outcome
            .as_ref()
            .map_err(|what| Error::Upstream(format!("error making upstream request: {what}")))?;
        if *status != STATUS_OK {
            // A redirect leads elsewhere, and only the configured server is asked.
            let is_refusal = (400..STATUS_SERVER).contains(status);
            let sentence = format!("error making upstream request: received error code {status} from STS");
            return Err(if is_refusal { Error::Invalid(sentence) } else { Error::Upstream(sentence) });
        }
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= ANSWER_BYTES_MAX);
        let is_begun =
            |text: &&str| text.starts_with("<GetCallerIdentityResponse") || text.starts_with("<?xml");
        let text = text.filter(is_begun).filter(|_| is_xml(content_type)).ok_or_else(not_of_sts)?;
        Self::parse(text).ok_or_else(not_of_sts)
    }

    fn parse(text: &str) -> Option<Self> {
        // Without a document type there are no entities that could grow.
        let options =
            ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).ok()?;
        let root = document.root_element();
        if !root.has_tag_name((NAMESPACE, "GetCallerIdentityResponse")) {
            return None;
        }
        let result = only(root, "GetCallerIdentityResult")?;
        let field = |name| text_of(only(result, name)?);
        let (arn, user, account) = (field("Arn")?, field("UserId")?, field("Account")?);
        let unique_id = user.split(':').next().filter(|id| !id.is_empty())?;
        arn::is_account(&account).then(|| Self { arn, unique_id: unique_id.to_owned(), account })
    }
}

fn not_of_sts() -> Error {
    Error::Upstream("error making upstream request: body of GetCallerIdentity is invalid".to_owned())
}

/// `text/xml`, and in no charset but UTF-8.
fn is_xml(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next() == Some(MEDIA_TYPE) && parts.all(|part| part.eq_ignore_ascii_case("charset=utf-8"))
}

/// The child of this name, if there is just one.
fn only<'a>(parent: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    let mut named = parent.children().filter(|child| child.has_tag_name((NAMESPACE, name)));
    let first = named.next()?;
    named.next().is_none().then_some(first)
}

/// What an element says that has nothing but text.
fn text_of(element: Node<'_, '_>) -> Option<String> {
    let mut children = element.children();
    let text = children.next().filter(Node::is_text)?.text()?;
    (children.next().is_none() && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{body, brought};
    use super::*;

    const ARN: &str = "arn:aws:sts::123456789012:assumed-role/web/i-1";

    fn good() -> String {
        body(ARN, "123456789012", "AROAEXAMPLE:i-1")
    }

    #[test]
    fn what_sts_says_is_read() {
        let declared = format!("<?xml version=\"1.0\"?>\n{}", good());
        for (kind, text) in
            [("text/xml", good()), ("text/xml; charset=UTF-8", good()), ("text/xml", declared)]
        {
            let caller = CallerIdentity::read(&brought(200, kind, &text)).unwrap();
            assert_eq!((caller.arn.as_str(), caller.account.as_str()), (ARN, "123456789012"));
            assert_eq!(caller.unique_id, "AROAEXAMPLE");
        }
    }

    #[test]
    fn a_refusal_is_the_callers_matter_and_a_failure_is_not() {
        for status in [400, 403, 404, 429] {
            let refused = CallerIdentity::read(&brought(status, "text/xml", &good()));
            assert!(matches!(refused, Err(Error::Invalid(said)) if said.contains(&status.to_string())));
        }
        for status in [100, 201, 204, 301, 302, 307, 500, 503] {
            let failed = CallerIdentity::read(&brought(status, "text/xml", &good()));
            assert!(matches!(failed, Err(Error::Upstream(_))), "{status}");
        }
    }

    /// What made CVE-2020-16250: another answer of STS, or of another server, taken for this one.
    #[test]
    fn an_answer_of_another_form_proves_nothing() {
        let good = good();
        let json = r#"{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"a"}}}"#;
        for kind in
            ["application/json", "text/html", "application/xml", "text/xmlx", "", "text/xml; charset=utf-7"]
        {
            assert!(CallerIdentity::read(&brought(200, kind, &good)).is_err(), "{kind}");
        }
        let nested = format!("<AssumeRoleResponse xmlns=\"{NAMESPACE}\">{good}</AssumeRoleResponse>");
        for text in [
            json.to_owned(),
            String::new(),
            format!(" {good}"),
            nested.clone(),
            format!("<?xml version=\"1.0\"?>{nested}"),
            good.replace(NAMESPACE, "https://elsewhere.example/"),
            good.replace(&format!(" xmlns=\"{NAMESPACE}\""), ""),
            good.replace("<Arn>", "<Arn>arn:aws:iam::1:user/a</Arn><Arn>"),
            good.replace("<Arn>", "<Arn><!-- x -->"),
            good.replace("<Arn>", "<Arn><b/>"),
            good.replace("</Arn>", "<!-- x -->tail</Arn>"),
            good.replace("<UserId>AROAEXAMPLE:i-1</UserId>", ""),
            good.replace("<UserId>AROAEXAMPLE:i-1</UserId>", "<UserId></UserId>"),
            good.replace("AROAEXAMPLE:i-1", ":i-1"),
            good.replace("<Account>123456789012", "<Account>12345678901"),
            good.replace("<Account>", "<Account xmlns=\"x\">"),
            format!("{good}{good}"),
            format!("{good}trailing"),
            good.replace(
                "<GetCallerIdentityResult>",
                "<GetCallerIdentityResult></GetCallerIdentityResult><GetCallerIdentityResult>",
            ),
            format!("<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"b\">]>{}", good.replace("web", "&a;")),
            format!("<?xml version=\"1.0\"?>{}{good}", "<!--x-->".repeat(5_000)),
            good.replace("<ResponseMetadata>", &format!("<ResponseMetadata>{}", "<a/>".repeat(500))),
            good.replace("</GetCallerIdentityResponse>", ""),
        ] {
            assert!(CallerIdentity::read(&brought(200, "text/xml", &text)).is_err(), "{text:.300}");
        }
        let mut bytes = brought(200, "text/xml", &good).unwrap();
        bytes.body.push(0xff);
        assert!(CallerIdentity::read(&Ok(bytes)).is_err(), "not UTF-8");
        assert!(matches!(CallerIdentity::read(&Err("refused".to_owned())), Err(Error::Upstream(_))));
    }

    #[test]
    fn no_error_repeats_what_was_answered() {
        for status in [200, 400, 500] {
            let error = CallerIdentity::read(&brought(status, "text/xml", "<?xml canary")).unwrap_err();
            assert!(!error.to_string().contains("canary"));
        }
    }
}
