//! Keeping count of records while entries are applied ([`counted`]): a count is a record like any other, so it is hashed,
//! copied in snapshots, and the same on every node.

use conclave_proto::counted;
use conclave_proto::log::Limit;

use crate::keyspace::Keyspace;
use crate::record::EncodedRecord;

/// Notes that the record at `key` came (`is_there`) or went.
pub fn note<K: Keyspace>(keyspace: &mut K, index: u64, key: &[u8], is_there: bool) -> Result<(), K::Error> {
    if !counted::is_counted(key) {
        return Ok(());
    }
    for count_key in counted::counts_of(key) {
        let before = keyspace.record(&count_key)?;
        let number = before.as_ref().map_or(0, number_of);
        let number = if is_there { number.saturating_add(1) } else { number.saturating_sub(1) };
        if let Some(before) = before {
            keyspace.summary().hash.remove(&count_key, before.as_stored());
        }
        if number == 0 {
            keyspace.delete(count_key.into());
            continue;
        }
        let record = EncodedRecord::new(index, 0, &number.to_be_bytes());
        keyspace.summary().hash.add(&count_key, record.as_stored());
        keyspace.put(count_key.into(), record);
    }
    Ok(())
}

/// Whether few enough records are counted. One that has expired counts until it is dropped.
pub fn holds<K: Keyspace>(keyspace: &mut K, limit: &Limit) -> Result<bool, K::Error> {
    let number = keyspace.record(&limit.count_key)?.as_ref().map_or(0, number_of);
    Ok(number < limit.fewer_than)
}

fn number_of(record: &EncodedRecord) -> u64 {
    counted::number(Some(record.sealed()))
}
