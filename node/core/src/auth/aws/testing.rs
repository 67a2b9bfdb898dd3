//! What tests say in the place of a client that signs, and of STS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::sts::{MEDIA_TYPE, NAMESPACE, STATUS_OK};
use crate::errand::{Brought, Outcome};

/// A request as clients sign it; STS alone could say whether the signature is one.
pub fn signed() -> Value {
    let headers = json!({
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261123/us-east-1/sts/aws4_request, \
                          SignedHeaders=content-type;host;x-amz-date, Signature=0a1b",
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Amz-Date": "20261123T120000Z",
    });
    json!({
        "iam_http_request_method": "POST",
        "iam_request_url": BASE64.encode("https://sts.amazonaws.com/"),
        "iam_request_body": BASE64.encode("Action=GetCallerIdentity&Version=2011-06-15"),
        "iam_request_headers": BASE64.encode(headers.to_string()),
    })
}

/// STS's answer, word for word.
pub fn answer(arn: &str, account: &str, user_id: &str) -> Outcome {
    brought(STATUS_OK, MEDIA_TYPE, &body(arn, account, user_id))
}

pub fn brought(status: u16, content_type: &str, body: &str) -> Outcome {
    let body = Zeroizing::new(body.as_bytes().to_owned());
    Ok(Brought { status, content_type: content_type.to_owned(), body })
}

pub fn body(arn: &str, account: &str, user_id: &str) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\">\n  <GetCallerIdentityResult>\n    <Arn>{arn}</Arn>\n    \
         <UserId>{user_id}</UserId>\n    <Account>{account}</Account>\n  </GetCallerIdentityResult>\n  \
         <ResponseMetadata>\n    <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n  \
         </ResponseMetadata>\n</GetCallerIdentityResponse>\n"
    )
}
