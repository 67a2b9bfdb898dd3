//! What lies on a disk or comes as a log: entries, records, and the list of a snapshot's files.

use conclave_proto::log;
use conclave_storage::StoredRecord;
use conclave_storage::apply::apply;
use conclave_storage::convert::entry_from_proto;
use conclave_storage::expiry::{index_key, parse_index_key};
use conclave_storage::hash::StateHash;
use conclave_storage::manifest::{Manifest, is_snapshot_file};
use conclave_storage::model::MapKeyspace;
use conclave_storage::record::EncodedRecord;
use conclave_storage::types::EntryPayload;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

const ENTRIES_MAX: u64 = 64;

/// Log entries, length-delimited, applied one after the other by two replicas.
pub fn log_entries(mut input: &[u8]) {
    let (mut one, mut other) = (MapKeyspace::default(), MapKeyspace::default());
    for index in 1..=ENTRIES_MAX {
        let Ok(entry) = log::Entry::decode_length_delimited(&mut input) else { break };
        let Ok(entry) = entry_from_proto(entry) else { continue };
        let EntryPayload::Normal(batch) = entry.payload else { continue };
        let time_before = one.time_ms();
        let Ok(answer) = apply(&mut one, index, &batch);
        let Ok(same) = apply(&mut other, index, &batch);
        assert_eq!(answer, same);
        assert_eq!(answer.outcomes.len(), batch.txns().len(), "each transaction has an outcome");
        assert_eq!(one.time_ms(), time_before.max(batch.time_ms()), "time runs backwards");
        assert!(one == other, "replicas differ");
        assert_eq!(one.hash(), recomputed(&one), "the hash is not that of the records");
    }
}

fn recomputed(state: &MapKeyspace) -> StateHash {
    let mut hash = StateHash::default();
    for (key, record) in state.records() {
        let encoded = EncodedRecord::new(record.revision, record.expires_at_ms, &record.sealed);
        hash.add(key, encoded.as_stored());
    }
    hash
}

/// A stored record, and a key of the expiry index.
pub fn record(input: &[u8]) {
    let decoded = StoredRecord::decode(input);
    match (EncodedRecord::from_stored(input.to_vec()), &decoded) {
        (Ok(encoded), Ok(decoded)) => {
            let again = EncodedRecord::new(decoded.revision, decoded.expires_at_ms, &decoded.sealed);
            assert!(again == encoded && again.as_stored() == input);
            assert_eq!(encoded.is_live_at(1), decoded.is_live_at(1));
            assert!(StoredRecord::from(encoded) == *decoded);
        }
        (Err(_), Err(_)) => {}
        _ => panic!("two readers of one format disagree"),
    }
    if let Ok((time_ms, key)) = parse_index_key(input) {
        assert_eq!(index_key(time_ms, &key), input);
    }
}

/// A snapshot's manifest: the first byte says whether the rest is the file, or what stands behind its digest.
pub fn manifest(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let content = match kind & 1 {
        0 => rest.to_vec(),
        _ => [Sha256::digest(rest).as_slice(), rest].concat(),
    };
    let Some(manifest) = Manifest::decode(&content) else { return };
    assert!(manifest.files.iter().all(|file| is_snapshot_file(&file.name) && !file.name.contains('/')));
    assert!(Manifest::decode(&manifest.encode()) == Some(manifest), "it does not read its own");
}
