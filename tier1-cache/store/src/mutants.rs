//! Planted bugs, to show that the tests can fail. They exist only under `--cfg fallthrough_mutants`:
//! `RUSTFLAGS='--cfg fallthrough_mutants' cargo test --release -p fallthrough-store mutants`.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A commit is acknowledged before it is synced.
    AckBeforeSync,
    /// The commit sequence is not kept: after a restart it begins at what the rows still say.
    RevisionReused,
    /// A lookup that began before a commit may fill the memory cache after it.
    LateCacheInsert,
    /// The name of a blob is not synced before its entry is committed.
    DirectoryNotSynced,
    /// The conditions of a commit do not see earlier commits of its group.
    GroupUnseen,
    /// An overwrite does not give up the blob of the object that it replaces.
    ReferenceKept,
    /// The gate of a bucket is not a condition.
    GateIgnored,
    /// A block is not compared with its checksum.
    BlockUnverified,
    /// What is in quarantine is not remembered by the next start.
    QuarantineForgotten,
    /// A blob that is put into quarantine is not withdrawn from readers.
    QuarantineServed,
    /// A written blob goes from quarantine when its object is overwritten.
    QuarantineDropped,
    /// The scrubber believes what was verified since the start.
    ScrubBelievesMemory,
    /// The scrubber leaves out the last block of a body.
    ScrubSkipsLastBlock,
    /// The scrubber leaves out the row behind its cursor when it goes on after a restart.
    ScrubCursorOff,
    /// The scrubber takes an object that was deleted meanwhile for a damaged one.
    DeletedIsDamage,
    /// A ranged read verifies only the first of its blocks.
    RangeVerifiedInPart,
    /// A row of the index is not compared with its checksum.
    RowUnverified,
    /// The scrubber does not look at the pages of the index.
    IndexUnverified,
    /// The pages in which the index keeps books are not compared with their checksums.
    BooksUnverified,
    /// The checksums of a blob are not compared with their own checksum.
    SumsUnverified,
    /// Negative answers are written down however many there are.
    NegativesUnbounded,
    /// A tombstone outlives the shadow that it hid.
    TombstoneOutlives,
    /// However much waits for an origin, more is taken.
    OutboxUnbounded,
    /// What waits for an origin does not keep its bytes.
    IntentUnpinned,
    /// Rows with secrets are written as they are.
    SecretsStayPlain,
    /// The seal of a row is as good for another one.
    SealOfAnyPlace,
    /// Rows that were sealed with an old key, or not at all, stay so.
    OldSealsStay,
    /// What an object held that was replaced or is gone still counts.
    ReplacedStillCounted,
    /// What is held is not counted again when a row was given up that nobody could read.
    GivenUpStillCounted,
    /// An inventory says how far it is before its objects are written down.
    InventoryBeforeItsRows,
    /// A key that was written here and is forgotten leaves inventories believed that do not know of it.
    InventoryNotWithdrawn,
    /// What inventories of a removed bucket have is left.
    InventoryOutlivesBucket,
}

#[cfg(fallthrough_mutants)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is planted on this thread.
#[cfg(fallthrough_mutants)]
pub(crate) fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Never: this build has no planted bugs.
#[cfg(not(fallthrough_mutants))]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}

/// Plants a bug on this thread, or none.
#[cfg(all(test, fallthrough_mutants))]
pub(crate) fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}
