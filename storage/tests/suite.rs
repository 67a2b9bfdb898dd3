//! openraft's own tests of a storage implementation.

mod common;

use conclave_storage::types::TypeConfig;
use conclave_storage::{LogStore, Opened, StateMachine};
use openraft::testing::log::{StoreBuilder, Suite};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, StateMachine), openraft::StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a temporary folder can be made");
        let Opened { log, state_machine, .. } = common::open(directory.path());
        Ok((directory, log, state_machine))
    }
}

#[tokio::test]
async fn the_store_passes_openrafts_suite() {
    Suite::test_all(Builder).await.unwrap();
}
