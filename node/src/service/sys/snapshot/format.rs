//! The snapshot's file format, written and read as streams: no part but the small ones is ever whole in memory.

use std::io::{self, Read, Write};

use conclave_core::crypto::Barrier;
use conclave_proto::wire::RECORD_BYTES_MAX;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub const META: &str = "meta.json";
pub const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";
const SUMS_SEALED: &str = "SHA256SUMS.sealed";
/// What this program writes and reads.
const VERSION: u32 = 1;
/// Most bytes of any part but the state.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// Largest state, in bytes, unpacked. Sealed records hardly shrink, so it is what a file may have at most.
const STATE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Longest key of a record, in bytes: more than any path makes.
const KEY_BYTES_MAX: usize = 4096;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    #[serde(rename = "Version")]
    pub version: u32,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
    /// The log index whose state this is.
    #[serde(rename = "Index")]
    pub index: u64,
    /// Unix milliseconds of the cluster's time.
    #[serde(rename = "TimeMs")]
    pub time_ms: u64,
    #[serde(rename = "Records")]
    pub records: u64,
    /// Bytes of the state.
    #[serde(rename = "Size")]
    pub size: u64,
}

impl Meta {
    pub fn new(cluster_id: String, index: u64, time_ms: u64, records: u64, size: u64) -> Self {
        Self { version: VERSION, id: format!("conclave-{index}"), cluster_id, index, time_ms, records, size }
    }
}

/// Why a file is not a snapshot that this cluster made.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("the file is not a snapshot, or it is incomplete: {0}")]
    Malformed(String),
    #[error("the snapshot is damaged: the checksum of {0} does not match")]
    Checksum(&'static str),
    #[error("the snapshot was not made by this cluster, or it was changed since")]
    Foreign,
    #[error("the snapshot is of format {0}, which this version does not read")]
    Version(u32),
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
}

/// Writes one record of the state: `[key length u16][key][expires_at_ms u64][value length u32][sealed value]`.
pub fn write_record(out: &mut impl Write, key: &[u8], expires_at_ms: u64, sealed: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::other("a record is too long for a snapshot");
    out.write_all(&u16::try_from(key.len()).map_err(too_long)?.to_be_bytes())?;
    out.write_all(key)?;
    out.write_all(&expires_at_ms.to_be_bytes())?;
    out.write_all(&u32::try_from(sealed.len()).map_err(too_long)?.to_be_bytes())?;
    out.write_all(sealed)
}

/// One record of a state.
pub struct Record {
    pub key: Vec<u8>,
    pub expires_at_ms: u64,
    pub sealed: Vec<u8>,
}

/// Reads the next record; `None` at the end.
pub fn read_record(state: &mut impl Read) -> Result<Option<Record>, FormatError> {
    let malformed = || FormatError::Malformed("a record of the state is cut off".to_owned());
    let mut length = [0; 2];
    match state.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => state.read_exact(&mut length[1..]).map_err(|_| malformed())?,
    }
    let key = read_bytes(state, usize::from(u16::from_be_bytes(length)), KEY_BYTES_MAX)?;
    let mut expires = [0; 8];
    state.read_exact(&mut expires).map_err(|_| malformed())?;
    let mut length = [0; 4];
    state.read_exact(&mut length).map_err(|_| malformed())?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| malformed())?;
    let sealed = read_bytes(state, length, RECORD_BYTES_MAX)?;
    Ok(Some(Record { key, expires_at_ms: u64::from_be_bytes(expires), sealed }))
}

fn read_bytes(state: &mut impl Read, length: usize, max: usize) -> Result<Vec<u8>, FormatError> {
    if length > max {
        return Err(FormatError::Malformed("a record of the state is too long".to_owned()));
    }
    let mut bytes = vec![0; length];
    state
        .read_exact(&mut bytes)
        .map_err(|_| FormatError::Malformed("a record of the state is cut off".to_owned()))?;
    Ok(bytes)
}

/// Writes the whole file, given the state as it lies on disk and its checksum.
pub fn write(
    out: impl Write,
    barrier: &Barrier,
    meta: &Meta,
    state: impl Read,
    state_sha256: &[u8; 32],
) -> io::Result<()> {
    let meta_text = serde_json::to_vec(meta)?;
    let sums = sums(&Sha256::digest(&meta_text).into(), state_sha256);
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
    append(&mut tar, META, meta_text.len() as u64, meta_text.as_slice())?;
    append(&mut tar, STATE, meta.size, state)?;
    append(&mut tar, SUMS, sums.len() as u64, sums.as_bytes())?;
    let mac = hex::encode(seal_sums(barrier, &sums));
    append(&mut tar, SUMS_SEALED, mac.len() as u64, mac.as_bytes())?;
    tar.into_inner()?.finish()?.flush()
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_cksum();
    tar.append_data(&mut header, name, content.take(size))
}

/// Reads and verifies a whole file; the state goes to `state_out` as it comes.
pub fn read(file: impl Read, barrier: &Barrier, state_out: &mut impl Write) -> Result<Meta, FormatError> {
    let malformed = |what: &str| FormatError::Malformed(what.to_owned());
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    let (mut meta_text, mut sums_text, mut mac_text) = (None, None, None);
    let mut state_sha256 = None;
    // Raw: what tar can say besides (long names, attributes, files with holes) is read without a bound, and is not ours.
    for entry in tar.entries().map_err(|_| malformed("it is not a tar file"))?.raw(true) {
        let mut entry = entry.map_err(|_| malformed("it is not a gzipped tar file, or it ends too early"))?;
        let name =
            entry.path().map_err(|_| malformed("an entry has no name"))?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(malformed("it holds something that does not belong there"));
        }
        match name.as_str() {
            STATE if entry.size() > STATE_BYTES_MAX => return Err(malformed("its state is too large")),
            STATE if state_sha256.is_none() => state_sha256 = Some(copy(&mut entry, state_out)?),
            META if meta_text.is_none() => meta_text = Some(small(&mut entry)?),
            SUMS if sums_text.is_none() => sums_text = Some(small(&mut entry)?),
            SUMS_SEALED if mac_text.is_none() => mac_text = Some(small(&mut entry)?),
            _ => return Err(malformed("it holds something that does not belong there")),
        }
    }
    // To gzip's own checksum at the very end, so that a file that was cut there does not pass for whole.
    io::copy(&mut tar.into_inner().take(SMALL_BYTES_MAX), &mut io::sink())
        .map_err(|_| malformed("it ends too early"))?;
    let missing = || malformed("a part is missing");
    let (meta_text, sums_text) = (meta_text.ok_or_else(missing)?, sums_text.ok_or_else(missing)?);
    let mac = hex::decode(mac_text.ok_or_else(missing)?).map_err(|_| FormatError::Foreign)?;
    // The MAC first: what it does not cover is not worth a closer look.
    let sums_text = String::from_utf8(sums_text).map_err(|_| FormatError::Foreign)?;
    let mut expected = barrier.snapshot_mac();
    expected.update(sums_text.as_bytes());
    if expected.verify(&mac).is_err() {
        return Err(FormatError::Foreign);
    }
    let state_sha256 = state_sha256.ok_or_else(missing)?;
    if sums_text != sums(&Sha256::digest(&meta_text).into(), &state_sha256) {
        return Err(FormatError::Checksum(STATE));
    }
    let meta: Meta = serde_json::from_slice(&meta_text).map_err(|_| malformed("meta.json cannot be read"))?;
    if meta.version != VERSION {
        return Err(FormatError::Version(meta.version));
    }
    Ok(meta)
}

fn sums(meta: &[u8; 32], state: &[u8; 32]) -> String {
    format!("{}  {META}\n{}  {STATE}\n", hex::encode(meta), hex::encode(state))
}

fn seal_sums(barrier: &Barrier, sums: &str) -> Vec<u8> {
    let mut mac = barrier.snapshot_mac();
    mac.update(sums.as_bytes());
    mac.finish().to_vec()
}

fn small(entry: &mut impl Read) -> Result<Vec<u8>, FormatError> {
    let mut content = Vec::new();
    entry
        .take(SMALL_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(|_| FormatError::Malformed("it ends too early".to_owned()))?;
    Ok(content)
}

/// Copies a part and returns its checksum. A read error is the file's fault, a write error the disk's.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<[u8; 32], FormatError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = from
            .read(&mut buffer)
            .map_err(|_| FormatError::Malformed("it is damaged, or it ends too early".to_owned()))?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use conclave_core::crypto::Keyring;

    use super::*;

    fn barrier() -> Barrier {
        Barrier::new([7; 16], Keyring::generate(&mut rand::rng(), 1))
    }

    fn snapshot(barrier: &Barrier) -> (Meta, Vec<u8>) {
        let mut state = Vec::new();
        for (key, expires_at_ms, sealed) in [(b"k1", 0, b"one".as_slice()), (b"k2", 9, b"")] {
            write_record(&mut state, key, expires_at_ms, sealed).unwrap();
        }
        let meta = Meta::new("c".to_owned(), 42, 1000, 2, state.len() as u64);
        let mut file = Vec::new();
        write(&mut file, barrier, &meta, state.as_slice(), &Sha256::digest(&state).into()).unwrap();
        (meta, file)
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was_written() {
        let barrier = barrier();
        let (meta, file) = snapshot(&barrier);
        let mut state = Vec::new();
        assert_eq!(read(file.as_slice(), &barrier, &mut state).unwrap(), meta);
        let mut state = state.as_slice();
        let first = read_record(&mut state).unwrap().unwrap();
        assert_eq!(
            (first.key.as_slice(), first.expires_at_ms, first.sealed.as_slice()),
            (&b"k1"[..], 0, &b"one"[..])
        );
        assert_eq!(read_record(&mut state).unwrap().unwrap().expires_at_ms, 9);
        assert!(read_record(&mut state).unwrap().is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused_as_a_snapshot(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            proptest::prop_assert!(read(bytes.as_slice(), &barrier(), &mut Vec::new()).is_err());
            // The records' own parser never panics and never allocates what the file only claims.
            let mut state = bytes.as_slice();
            while let Ok(Some(_)) = read_record(&mut state) {}
        }
    }

    /// A file that begins with one entry of this kind, whose content is zeros without end in sight.
    fn file_with(kind: tar::EntryType, size: u64, content: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(STATE).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        if let Some(gnu) = header.as_gnu_mut().filter(|_| kind.is_gnu_sparse()) {
            // A hole as large as the file.
            gnu.realsize = *b"77777777777\0";
            gnu.sparse[0].offset = *b"77777777777\0";
            gnu.sparse[0].numbytes = *b"00000000000\0";
        }
        header.set_cksum();
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(header.as_bytes()).unwrap();
        io::copy(&mut io::repeat(0).take(content), &mut out).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn what_else_a_tar_file_can_say_is_refused_before_it_is_read() {
        /// Fails the test instead of filling the disk.
        struct Nothing;
        impl Write for Nothing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                panic!("nothing of the file is a state")
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let long = 4 * 1024 * 1024;
        for (file, why) in [
            (file_with(tar::EntryType::GNUSparse, 0, 0), "does not belong"),
            (file_with(tar::EntryType::GNULongName, long, long), "does not belong"),
            (file_with(tar::EntryType::XHeader, long, long), "does not belong"),
            (file_with(tar::EntryType::Symlink, 0, 0), "does not belong"),
            (file_with(tar::EntryType::Regular, STATE_BYTES_MAX + 1, long), "too large"),
        ] {
            let refusal = read(file.as_slice(), &barrier(), &mut Nothing).unwrap_err().to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
    }

    #[test]
    fn another_clusters_snapshot_is_refused() {
        let (_, file) = snapshot(&barrier());
        assert!(matches!(read(file.as_slice(), &barrier(), &mut Vec::new()), Err(FormatError::Foreign)));
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let barrier = barrier();
        let (_, file) = snapshot(&barrier);
        for cut in 0..file.len() {
            assert!(read(&file[..cut], &barrier, &mut Vec::new()).is_err(), "cut at {cut}");
        }
        // Damage inside the compressed part; the last eight bytes are gzip's own trailer.
        for at in 10..file.len() - 8 {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            if let Ok(meta) = read(damaged.as_slice(), &barrier, &mut Vec::new()) {
                assert_eq!(meta.index, 42, "a flip at {at} changed what is restored");
            }
        }
    }
}
