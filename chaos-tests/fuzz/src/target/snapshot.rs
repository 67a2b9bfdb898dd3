//! Snapshots: the file that an operator uploads, and the parts that a leader sends.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use conclave_node::service::sys::snapshot::format::{self, FormatError, Meta, read_record, write_record};
use conclave_proto::peer::snapshot_part::Part;
use conclave_proto::peer::{FileChunk, SnapshotHeader, SnapshotPart};
use conclave_storage::snapshot::SnapshotStore;
use conclave_storage::snapshot_writer::SNAPSHOT_CHUNK_BYTES_MAX;
use conclave_storage::{SnapshotInbox, StorageError};
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::sealing::BARRIER;

const PARTS_MAX: usize = 64;

/// The first byte says what the rest is: the file, what is packed in it, or the state in a file that is good.
pub fn file(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind & 3 {
        0 => refused(rest),
        1 => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(rest).expect("memory takes every write");
            refused(&packed.finish().expect("memory takes every write"));
        }
        _ => good(rest),
    }
}

/// Nobody without the keys makes a file that is taken, or one that unpacks to more than it is.
fn refused(file: &[u8]) {
    let mut unpacked = Counted(0);
    let result = format::read(file, &BARRIER, &mut unpacked);
    assert!(!matches!(result, Ok(_) | Err(FormatError::Disk(_))), "a file that this cluster did not make");
}

/// Counts what is written, and breaks at what no honest file of this length unpacks to.
struct Counted(usize);

/// Most bytes that gzip makes of one.
const GZIP_RATIO_MAX: usize = 1_032;
const INPUT_BYTES_MAX: usize = 64 * 1024;

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        assert!(self.0 <= INPUT_BYTES_MAX * GZIP_RATIO_MAX, "more comes out than went in");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn good(state: &[u8]) {
    let meta = Meta::new("fuzz".to_owned(), 1, 2, 3, state.len() as u64);
    let mut file = Vec::new();
    format::write(&mut file, &BARRIER, &meta, state, &Sha256::digest(state).into()).expect("it fits");
    let mut back = Vec::new();
    assert_eq!(format::read(file.as_slice(), &BARRIER, &mut back).expect("it reads its own"), meta);
    assert_eq!(back, state);

    let (mut reader, mut again) = (state, Vec::new());
    while let Ok(Some(record)) = read_record(&mut reader) {
        write_record(&mut again, &record.key, record.expires_at_ms, &record.sealed).expect("it was read");
    }
    assert!(state.starts_with(&again), "records change on their way");
}

/// Where a snapshot arrives: in memory if the machine has a file system there, since each file is synced.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder can be made")
}

/// Messages of a transfer, length-delimited, one after the other.
pub fn parts(mut input: &[u8]) {
    let mut next = || SnapshotPart::decode_length_delimited(&mut input).ok()?.part;
    let Some(Part::Header(header)) = next() else { return };
    let chunks = std::iter::from_fn(next).take(PARTS_MAX);
    let chunks = chunks.filter_map(|part| if let Part::Chunk(chunk) = part { Some(chunk) } else { None });
    let folder = folder();
    let store = SnapshotStore::open(folder.path().join("kept"), folder.path().join("incoming"));
    let inbox = SnapshotInbox::new(Arc::new(store.expect("the folder is empty")));
    match receive(&inbox, header, chunks) {
        Ok(()) => {}
        Err(StorageError::Snapshot(_) | StorageError::Convert(_)) => {}
        Err(error) => panic!("the sender is to blame: {error}"),
    }
    let left = folder.path().join("incoming").read_dir().expect("it is there").count();
    assert_eq!(left, 0, "something of a snapshot that was not installed stays behind");
    let outside = folder.path().read_dir().expect("it is there").count();
    assert!(outside <= 2, "a file was written outside the folder");
}

fn receive(
    inbox: &SnapshotInbox,
    header: SnapshotHeader,
    chunks: impl Iterator<Item = FileChunk>,
) -> Result<(), StorageError> {
    let announced = header.files.clone();
    let mut writer = inbox.begin(header.meta.unwrap_or_default(), header.files)?;
    let mut content: Vec<Vec<u8>> = vec![Vec::new(); announced.len()];
    for chunk in chunks {
        writer.write(chunk.file, chunk.offset, &chunk.data)?;
        let file = usize::try_from(chunk.file).expect("it was taken, so there is such a file");
        content[file].extend_from_slice(&chunk.data);
    }
    let snapshot = writer.finish()?;
    for (file, content) in announced.iter().zip(&content) {
        assert_eq!((file.bytes, &file.sha256[..]), (content.len() as u64, &Sha256::digest(content)[..]));
    }
    let mut back: Vec<Vec<u8>> = vec![Vec::new(); announced.len()];
    for chunk in snapshot.chunks(SNAPSHOT_CHUNK_BYTES_MAX) {
        let chunk = chunk.expect("the files are there");
        back[usize::try_from(chunk.file).expect("few files")].extend_from_slice(&chunk.data);
    }
    assert_eq!(back, content, "what is stored is not what was sent");
    Ok(())
}
