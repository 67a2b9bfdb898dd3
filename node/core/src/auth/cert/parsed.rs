//! What a certificate says, read once. What cannot be read in one way only is refused: two readers of one certificate must
//! not see two names in it.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// Names of one kind in a certificate at most.
const NAMES_MAX: usize = 1_000;
const MS_PER_S: i64 = 1_000;
/// Tags of the texts that an extension may hold: UTF8String, NumericString, PrintableString, IA5String, VisibleString.
const TEXT_TAGS: [u8; 5] = [0x0c, 0x12, 0x13, 0x16, 0x1a];
/// Longest length that is said in one byte.
const SHORT_LENGTH_MAX: u8 = 0x7f;

/// A certificate.
pub struct Certificate {
    pub der: Vec<u8>,
    pub common_name: String,
    pub units: Vec<String>,
    pub dns_names: Vec<String>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    /// Texts of extensions by their OIDs; of one that holds no text, an empty one.
    pub extensions: BTreeMap<String, String>,
    pub is_ca: bool,
    /// Its extended key usage, if there is any, lets it prove who a client is.
    pub is_for_clients: bool,
    /// In decimal.
    pub serial: String,
    /// Its own name and the issuer's as they stand there, in hex.
    pub subject: String,
    pub issuer: String,
    pub subject_key_id: Vec<u8>,
    pub authority_key_id: Vec<u8>,
    /// Of its public key: a certificate that was issued anew for the same key has the same.
    pub key_fingerprint: String,
    /// Unix milliseconds.
    not_before_ms: i64,
    not_after_ms: i64,
}

impl Certificate {
    /// `None`: it cannot be read, or not in one way only.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut common_names = parsed.subject().iter_common_name();
        let common_name = match common_names.next() {
            Some(name) => name.as_str().ok()?.to_owned(),
            None => String::new(),
        };
        if common_names.next().is_some() {
            return None;
        }
        let units = parsed.subject().iter_organizational_unit();
        let units: Option<Vec<String>> = units.map(|unit| Some(unit.as_str().ok()?.to_owned())).collect();
        let usage = parsed.extended_key_usage().ok()?;
        let mut certificate = Self {
            der: der.to_vec(),
            common_name,
            units: units?,
            dns_names: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            extensions: BTreeMap::new(),
            is_ca: parsed.basic_constraints().ok()?.is_some_and(|constraints| constraints.value.ca),
            is_for_clients: usage.is_none_or(|usage| usage.value.client_auth || usage.value.any),
            serial: parsed.serial.to_string(),
            subject: hex::encode(parsed.subject().as_raw()),
            issuer: hex::encode(parsed.issuer().as_raw()),
            subject_key_id: Vec::new(),
            authority_key_id: Vec::new(),
            key_fingerprint: hex::encode(Sha256::digest(parsed.public_key().raw)),
            not_before_ms: parsed.validity().not_before.timestamp().saturating_mul(MS_PER_S),
            not_after_ms: parsed.validity().not_after.timestamp().saturating_mul(MS_PER_S),
        };
        certificate.read_names(&parsed)?;
        certificate.read_extensions(&parsed)?;
        Some(certificate)
    }

    fn read_names(&mut self, parsed: &X509Certificate<'_>) -> Option<()> {
        let Some(names) = parsed.subject_alternative_name().ok()? else { return Some(()) };
        for name in names.value.general_names.iter().take(NAMES_MAX) {
            match name {
                GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
                GeneralName::URI(name) => self.uris.push((*name).to_owned()),
                GeneralName::Invalid(..) => return None,
                _ => {}
            }
        }
        Some(())
    }

    fn read_extensions(&mut self, parsed: &X509Certificate<'_>) -> Option<()> {
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = id.0.to_vec(),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    self.authority_key_id =
                        id.key_identifier.as_ref().map(|id| id.0.to_vec()).unwrap_or_default();
                }
                _ => {}
            }
            let text = text_of(extension.value).unwrap_or_default();
            if self.extensions.insert(extension.oid.to_id_string(), text).is_some() {
                return None;
            }
        }
        Some(())
    }

    /// Whether it holds at `now_ms`.
    pub fn is_valid_at(&self, now_ms: u64) -> bool {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        // Its last second belongs to it.
        self.not_before_ms <= now_ms && now_ms < self.not_after_ms.saturating_add(MS_PER_S)
    }
}

/// All certificates of a PEM text; `None`: one of them cannot be read.
pub fn all_of_pem(text: &str) -> Option<Vec<Certificate>> {
    let ders: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().ok()?;
    ders.iter().map(|der| Certificate::parse(der)).collect()
}

/// The text that an extension's value is.
fn text_of(value: &[u8]) -> Option<String> {
    let (tag, rest) = value.split_first()?;
    let (first, rest) = rest.split_first()?;
    let text = match *first {
        length @ 0..=SHORT_LENGTH_MAX => (usize::from(length) == rest.len()).then_some(rest)?,
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (*length > SHORT_LENGTH_MAX && usize::from(*length) == rest.len()).then_some(rest)?
        }
        0x82 => {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            (length > usize::from(u8::MAX) && length == rest.len()).then_some(rest)?
        }
        _ => return None,
    };
    if !TEXT_TAGS.contains(tag) {
        return None;
    }
    std::str::from_utf8(text).ok().map(str::to_owned)
}
