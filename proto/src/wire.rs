//! Header names and limits that clients and servers share.

/// Token of the caller, as Vault's clients send it.
pub const HEADER_TOKEN: &str = "x-vault-token";
/// How long the answer is to lie wrapped, as a duration.
pub const HEADER_WRAP_TTL: &str = "x-vault-wrap-ttl";
/// A code of another factor, sent with a login: `METHOD:CODE`. May stand more than once.
pub const HEADER_MFA: &str = "x-vault-mfa";
/// Sent by every Vault client; forces a browser to ask first.
pub const HEADER_REQUEST: &str = "x-vault-request";
/// The applied index that the answer was made from.
pub const HEADER_INDEX: &str = "x-conclave-index";
/// The node that answered.
pub const HEADER_NODE: &str = "x-conclave-node";
/// `stale`: answer from this node's own state, without asking the leader.
pub const HEADER_CONSISTENCY: &str = "x-conclave-consistency";
/// How old a stale answer may be at most, as a duration (`30s`).
pub const HEADER_MAX_STALE: &str = "x-conclave-max-stale";
/// How old a stale answer may be, in milliseconds with the unit (`120ms`).
pub const HEADER_STALE_FOR: &str = "x-conclave-stale-for";
/// Names a change so that repeating it is safe: it is applied once, and the first answer is given again.
pub const HEADER_IDEMPOTENCY_KEY: &str = "x-conclave-idempotency-key";
/// Names the request in logs and in the answer's `request_id`.
pub const HEADER_REQUEST_ID: &str = "x-request-id";

/// Largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest sealed record, in bytes: one secret version with its path.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
