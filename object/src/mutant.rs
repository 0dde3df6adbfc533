//! Planted bugs: what the tests must be able to find, or their silence says nothing.
//!
//! They exist only in a build with `--cfg fallthrough_mutants`, where the variable `FALLTHROUGH_MUTANT` switches
//! one on by its name for the whole process; in every other build the checks are constants and gone.
//! `cargo xtask mutants` runs the tests against each.

macro_rules! mutants {
    ($($(#[doc = $about:literal])+ $name:ident in $place:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $about])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name, as `FALLTHROUGH_MUTANT` takes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What is wrong with it, as a sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($about),+),)+
                }
            }

            /// The crate that it is in, without `fallthrough-`.
            pub const fn place(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($place),)+
                }
            }
        }
    };
}

mutants! {
    /// A range's last byte is left out.
    RangeOffByOne in object,

    /// A signature is not compared.
    SignatureUnchecked in wire,
    /// The signature of a chunk is not compared.
    ChunkSignatureUnchecked in wire,
    /// An x-amz-* header that is not signed is accepted.
    UnsignedHeaderAccepted in wire,
    /// A presigned URL is good for ever.
    ExpiredAccepted in wire,
    /// A request may be of any time.
    SkewIgnored in wire,
    /// A chunked body may end before its declared length.
    ShortChunkedBody in wire,
    /// The digests that a body promises are not compared.
    PromiseUnchecked in wire,
    /// A trailer that was announced need not come.
    TrailerNeedNotCome in wire,

    /// What is asked about an object is answered of those alone that are here.
    ColdHasNoAttributes in gateway,
    /// Results of a batch of deletes are matched by their keys alone.
    ResultsByKey in gateway,
    /// The grants of an access key do not limit it.
    GrantsIgnored in gateway,
    /// An account may do everything with other accounts' buckets.
    OwnerIgnored in gateway,
    /// Whatever an object's ACL says, who may ask for it gets it.
    ObjectAclIgnored in gateway,
    /// Who may not list a bucket is told which keys do not exist.
    AbsenceToldToStrangers in gateway,
    /// Whoever may write to a bucket may add to the uploads of others.
    UploadsForAnybody in gateway,
    /// An account is believed to exist because a grant names it.
    UnknownGranteeAccepted in gateway,
    /// What another account writes belongs to the bucket's owner.
    WriterNotNoted in gateway,
    /// Everybody may write to a public bucket.
    PublicMayWrite in gateway,
    /// A key that may only write can open objects to others.
    WritersChangeAcls in gateway,
    /// Whatever the ACL of a source says, it is copied.
    SourceAclIgnored in gateway,
    /// Content-Length beside Transfer-Encoding is accepted.
    SmuggledAccepted in gateway,
    /// An answer of unknown length that cannot be sent whole ends as if it were whole.
    CleanEndAfterError in gateway,
    /// An origin that cannot be asked is answered as an object that does not exist.
    FailureAsAbsence in gateway,
    /// The token of a list forgets that it stands for a common prefix.
    TokenForgetsPrefix in gateway,
    /// Pages of other origins may send whatever headers they ask for.
    CorsHeadersUnchecked in gateway,
    /// What stands behind the `*` of an origin that CORS allows is not looked at.
    CorsPatternIsAPrefix in gateway,
    /// A field that a policy wants to begin in some way may begin as it likes.
    StartsWithAnything in gateway,
    /// The policy of a form is good for ever.
    PolicyNeverExpires in gateway,
    /// A form may have fields that its policy does not speak of.
    ExtraFieldAccepted in gateway,
    /// A form's file may be as long as it likes.
    FormLengthUnchecked in gateway,
    /// Lines of a head may end as they like.
    BareLineFeedAccepted in gateway,
    /// The bytes of an object are taken for a refusal of the HTTP layer's, if they look like one.
    BodyTakenForRefusal in gateway,
    /// The error document of a website is an answer like any other.
    ErrorDocumentIsFound in gateway,
    /// A revoked access key is believed until its time is over.
    RevokedKeyRemembered in gateway,

    /// A write, delete or purge does not supersede the key's fill.
    NoSupersession in bucket,
    /// A fill commits without looking at what is there now.
    NoRevisionCheck in bucket,
    /// Who may have only what is here has keys asked for that are not.
    ColdKeysForAnybody in bucket,
    /// A tombstone is read as a miss.
    NoTombstoneCheck in bucket,
    /// A fill is handed on although its digest differs.
    CommitBeforeVerification in bucket,
    /// A purge is ordered outside the critical section that supersedes the fill.
    OrderedOutsideTheSection in bucket,
    /// The end of a fill takes whatever fill its key has out of the table.
    EndsByKey in bucket,
    /// A delete leaves no tombstone.
    TombstoneNotLeft in bucket,
    /// A reader joins the fill of a shadow that was replaced.
    OldGateJoined in bucket,
    /// The fills of a bucket whose shadow changes go on and commit.
    BucketNotSuperseded in bucket,
    /// A change that goes through later is answered as it ends at the origin.
    NoticeDecides in bucket,
    /// Bytes that cannot be read at the moment are taken for damaged.
    UnreadableIsDamaged in bucket,
    /// What a cache holds never goes stale.
    StaleServed in bucket,
    /// What was absent once is absent for ever.
    NegativeForEver in bucket,
    /// Another edition of what is computed changes nothing.
    EditionIgnored in bucket,
    /// Readers of a fill get the last byte before it is verified.
    LastByteEarly in bucket,
    /// The end of a fill lets nobody else in.
    PermitLeaked in bucket,
    /// What a client has spent of its budget is forgotten.
    ClientBudgetForgotten in bucket,
    /// Requests wait in front of an origin, and its budget is not looked at when they go.
    BudgetOfTheQueueForgotten in bucket,
    /// What nobody waits for takes all places in front of an origin.
    BackgroundTakesAll in bucket,
    /// An origin that fails is asked again and again.
    BreakerStaysClosed in bucket,
    /// Every attempt at one key counts as a failure of the whole origin.
    EveryAttemptCounts in bucket,
    /// The failure of what was sent before the breaker opened is taken for the probe's.
    StragglerTakenForProbe in bucket,
    /// Whatever request is dropped lets the next probe out.
    AnyEndIsTheProbes in bucket,
    /// An origin that asks to be left alone is asked all the same.
    RestIgnored in bucket,
    /// 404 to HEAD proves that a provider has no such key, though its bucket may be missing.
    HeadProvesAbsence in bucket,
    /// Every HEAD of a cold key asks the origin, however many are on their way.
    HeadsGoAlone in bucket,
    /// A fill or a HEAD does not look whether somebody else has learnt of the key since the reader looked.
    AskedThoughSettled in bucket,
    /// A fill leaves the queue when its first client stops waiting.
    FillLeavesWithClient in bucket,
    /// Retry-After forgets that a client has a bound of its own.
    OwnBoundForgotten in bucket,
    /// Lists are asked for past the origin's bound of requests in flight.
    ListNotAdmitted in bucket,
    /// A reader of a passed range may keep the origin waiting for ever.
    SlowReaderKeepsSlot in bucket,
    /// A purge takes what a client wrote.
    PurgeTakesWritten in bucket,
    /// A page of a list that ends at a deleted key named like a common prefix hides the prefix.
    DeletedKeyHidesPrefix in bucket,
    /// The ranges of a huge object are put together in the order in which they came.
    RangesAsTheyCome in bucket,
    /// The ranges of a huge object may be of different objects.
    RangesUnpinned in bucket,
    /// The ranges of a huge object are asked for past the origin's bound.
    RangesTakeAnyPlace in bucket,
    /// An inventory of a shadow is believed however old it is.
    InventoryForEver in bucket,
    /// An inventory is used that is not complete yet.
    InventoryInPart in bucket,
    /// The inventory of a shadow that was replaced is used for the one that took its place.
    InventoryOfAnotherShadow in bucket,
    /// What went through to a shadow and was forgotten here is not missed in an inventory from before.
    InventoryKnowsBest in bucket,
    /// A page of a list goes on with an inventory whose place another one has taken.
    InventoryGoesUnseen in bucket,
    /// What an inventory does not have is absent for those who change something, too.
    InventoryJudgesWrites in bucket,
    /// A body that is shorter than its length is complete.
    ShortFillAccepted in bucket,
    /// A weak ETag of the origin counts as a strong one.
    WeakTagsAreStrong in bucket,
    /// A fill goes on with the rest of whatever the origin has by then.
    ResumedUnpinned in bucket,

    /// A member of a rule is asked though its breaker is open.
    FailingMemberAsked in bucket,
    /// How much a member of a rule has to do does not matter for who is asked next.
    MemberLoadIgnored in bucket,
    /// What one member of a rule cannot answer is asked of no other.
    MemberFailureIsFinal in bucket,
    /// A body that one member of a rule broke off goes on with whatever object another one has.
    MembersMixed in bucket,
    /// What is written goes to whichever member of a rule answers soonest.
    AnyMemberWritten in bucket,

    /// An origin's answer to something that is passed on is kept as its answer to the key.
    VariantKept in bucket,
    /// A rule may have what is said to this store passed on, signatures among it.
    OurNamesPassedOn in bucket,

    /// What the shadow said of a key is believed of whatever stands there by then.
    JudgedOnAnotherRevision in bucket,
    /// A conditional write on a cold key takes a shadow that cannot be asked for one that has nothing.
    UnaskedIsAbsent in bucket,
    /// A condition on a cold key is judged on what is here.
    ColdJudgedHere in bucket,
    /// The conditions of a completion are not looked at.
    CompletedUnconditionally in bucket,
    /// A part with another ETag than was listed is taken.
    AnyPartWillDo in bucket,
    /// Parts that are too small are taken.
    SmallPartsTaken in bucket,
    /// The parts of an upload are joined in the order in which they came.
    PartsAsTheyCame in bucket,
    /// An upload that was completed is completed once more, whatever stands there by then.
    CompletedTwice in bucket,
    /// The checksum of a multipart object is not compared with what the client says.
    WholeChecksumUnchecked in bucket,
    /// The checksum that a multipart object gets by default covers its parts' checksums, not its bytes.
    DefaultSumIsComposite in bucket,
    /// The parts of an object that was filled begin where the first one's length would have them, proven or not.
    LayoutUnproven in bucket,
    /// The tags that an object has at its provider alone are none.
    TagsBehindAreNone in bucket,
    /// A provider that refuses to tell the tags of an object has none.
    RefusedTagsAreNone in bucket,
    /// Conditions on the source of a copy are not looked at.
    SourceConditionsIgnored in bucket,
    /// A copy has its source's tags, whatever others it was to get.
    CopyKeepsTags in bucket,
    /// A copy counts as made by the upload that its source was made by.
    CopyKeepsUpload in bucket,
    /// Objects expire at the hour at which they were written, not at the midnight that follows.
    ExpiresBeforeMidnight in bucket,
    /// A lifecycle rule is for objects with any one of its tags.
    AnyTagWillDo in bucket,
    /// Rules that are disabled are applied.
    DisabledRulesApply in bucket,
    /// An object that was overwritten since it was seen to be due expires.
    ExpiresOverwritten in bucket,

    /// That a copy was used is not noticed.
    UsesUnnoticed in bucket,
    /// A copy that left and is asked for again soon is a newcomer like any other.
    GhostsForgotten in bucket,
    /// What a client wrote is evicted.
    WrittenEvicted in bucket,
    /// A copy is evicted that was filled anew since it was chosen.
    NewerEvicted in bucket,
    /// A copy is committed without room being kept for it.
    RoomNotKept in bucket,
    /// What clients write at the same time does not count against the quota.
    QuotaRaced in bucket,
    /// A quota is judged on what was there before the body came.
    QuotaJudgedOnce in bucket,
    /// A range of what is not here has the whole object fetched.
    RangeFillsWhole in bucket,
    /// Blocks are asked for without saying of which object.
    BlocksUnpinned in bucket,
    /// What is kept in blocks stays though the object at the origin is another one.
    BlocksOutliveChange in bucket,
    /// A block on its way is kept though its key was written, deleted or purged.
    BlocksNotSuperseded in bucket,
    /// Blocks are believed for ever.
    BlocksNeverStale in bucket,
    /// What HEAD said of the object is no word against the blocks that are kept.
    KnownIgnored in bucket,
    /// Blocks are fetched though nobody takes them.
    BlocksUnwanted in bucket,
    /// Whatever it costs, objects are made whole.
    PromotedAtAnyCost in bucket,
    /// Copies go before blocks.
    BlocksStay in bucket,
    /// How long a copy is fresh is counted from when the origin had answered.
    FreshFromAnswer in bucket,
    /// Who reads a key waits until what is on its way to the origin has arrived.
    ReadsAwaitDelivery in bucket,
    /// A key that HEAD described counts as copied.
    KnownIsPresent in bucket,
    /// What a migration had not begun when it was told to pause counts as copied.
    InterruptedIsCopied in bucket,
    /// A migration that was told to pause goes on.
    PausedGoesOn in bucket,
    /// What was compared once counts as here, though it was purged since.
    ComparedForEver in bucket,
    /// The shadow is detached without a comparison.
    CutOverUnverified in bucket,
    /// A comparison looks at sizes alone.
    ComparedBySize in bucket,
    /// A delete of a key that was never seen here leaves nothing.
    UnseenDeleteForgotten in bucket,
    /// A full page of a list passes over what the shadow's page still had.
    PagePassesOverShadow in bucket,
    /// Of several rules that take a key the last one decides.
    LastRuleDecides in bucket,

    /// A change that takes the place of one that was sent forgets that it was.
    CollapseForgetsSent in bucket,
    /// Writes to an origin have no condition.
    WriteUnguarded in bucket,
    /// What somebody else changed at the origin is overwritten without being told to.
    ConflictOverwrites in bucket,
    /// A delete that the origin refuses counts as done.
    RefusedDeleteIsDone in bucket,
    /// An object of several parts is sent to the origin in one.
    PartsSentWhole in bucket,
    /// An upload to an origin is completed without a look at what is there by then.
    CompletesUnseen in bucket,
    /// What an earlier attempt deleted at the origin counts as deleted by somebody else.
    UnprovenIsConflict in bucket,
    /// A write that the origin must have first is acknowledged before.
    SyncAnswersEarly in bucket,
    /// What was sent before a crash counts as arrived.
    InDoubtIsDone in bucket,
    /// A provider that refuses whatever of a guarded write takes no conditions.
    AnyRefusalIsTheConditions in bucket,
    /// A provider that took no conditions once never does.
    UnguardedForEver in bucket,
    /// An object is looked for at its origin under the ETag that it has here.
    CalledThereAsHere in bucket,
    /// An upload that was begun at an origin by an attempt that broke off stays there.
    UploadsLeftThere in bucket,

    /// A commit is acknowledged before it is synced.
    AckBeforeSync in store,
    /// The commit sequence is not kept: after a restart it begins at what the rows still say.
    RevisionReused in store,
    /// A lookup that began before a commit may fill the memory cache after it.
    LateCacheInsert in store,
    /// The name of a blob is not synced before its entry is committed.
    DirectoryNotSynced in store,
    /// The conditions of a commit do not see earlier commits of its group.
    GroupUnseen in store,
    /// An overwrite does not give up the blob of the object that it replaces.
    ReferenceKept in store,
    /// The gate of a bucket is not a condition.
    GateIgnored in store,
    /// A block is not compared with its checksum.
    BlockUnverified in store,
    /// What is in quarantine is not remembered by the next start.
    QuarantineForgotten in store,
    /// A blob that is put into quarantine is not withdrawn from readers.
    QuarantineServed in store,
    /// A written blob goes from quarantine when its object is overwritten.
    QuarantineDropped in store,
    /// The scrubber believes what was verified since the start.
    ScrubBelievesMemory in store,
    /// The scrubber leaves out the last block of a body.
    ScrubSkipsLastBlock in store,
    /// The scrubber leaves out the row behind its cursor when it goes on after a restart.
    ScrubCursorOff in store,
    /// The scrubber takes an object that was deleted meanwhile for a damaged one.
    DeletedIsDamage in store,
    /// A ranged read verifies only the first of its blocks.
    RangeVerifiedInPart in store,
    /// A row of the index is not compared with its checksum.
    RowUnverified in store,
    /// The scrubber does not look at the pages of the index.
    IndexUnverified in store,
    /// The pages in which the index keeps books are not compared with their checksums.
    BooksUnverified in store,
    /// The checksums of a blob are not compared with their own checksum.
    SumsUnverified in store,
    /// Negative answers are written down however many there are.
    NegativesUnbounded in store,
    /// A tombstone outlives the shadow that it hid.
    TombstoneOutlives in store,
    /// However much waits for an origin, more is taken.
    OutboxUnbounded in store,
    /// What waits for an origin does not keep its bytes.
    IntentUnpinned in store,
    /// Rows with secrets are written as they are.
    SecretsStayPlain in store,
    /// The seal of a row is as good for another one.
    SealOfAnyPlace in store,
    /// Rows that were sealed with an old key, or not at all, stay so.
    OldSealsStay in store,
    /// What an object held that was replaced or is gone still counts.
    ReplacedStillCounted in store,
    /// What is held is not counted again when a row was given up that nobody could read.
    GivenUpStillCounted in store,
    /// An inventory says how far it is before its objects are written down.
    InventoryBeforeItsRows in store,
    /// A key that was written here and is forgotten leaves inventories believed that do not know of it.
    InventoryNotWithdrawn in store,
    /// What inventories of a removed bucket have is left.
    InventoryOutlivesBucket in store,
    /// Whoever changes a key leaves the blocks that are kept of it.
    BlocksOutliveObject in store,
    /// A block is kept whatever became of its key meanwhile.
    BlockUnconditional in store,
    /// What a crash left of blocks stays.
    BlocksNotSwept in store,

    /// A write that fails after its status was sent counts as done.
    FailureAfterStatusIgnored in shadow,
    /// 500 from an origin means that it has no such object.
    ServerErrorIsAbsence in shadow,
    /// A digest that the origin sends is not looked at.
    DigestHeaderIgnored in shadow,

    /// The noise that does not fill a block is not drawn anew.
    NoiseTailNotRedrawn in diffusion,
    /// Every draw of Philox has the same numbers.
    PhiloxDrawsRepeat in diffusion,
    /// Karras' schedule is spread evenly.
    KarrasIsLinear in diffusion,
    /// The sampler of second order is of first order.
    SecondOrderForgotten in diffusion,
    /// An ancestral sampler adds no noise.
    AncestralNoiseForgotten in diffusion,
    /// The leftmost pair of symbols is merged first, whatever its rank.
    MergedFromTheLeft in diffusion,
    /// The number of a prompt's weight is not looked at.
    PromptWeightIgnored in diffusion,
    /// Words that are to alternate are text.
    AlternationIsText in diffusion,
    /// A job goes to whichever backend has a place, however slow it is and whatever it has to do.
    PoolLoadIgnored in diffusion,
    /// What a backend fails at is tried there again.
    PoolTriesTheSameAgain in diffusion,
    /// More jobs are sent to a backend than it may have.
    PoolInFlightIgnored in diffusion,
    /// However many wait for a backend, more may.
    PoolQueueUnbounded in diffusion,
    /// Who asked first goes first, however much others have asked for.
    PoolTurnsIgnored in diffusion,
    /// Whoever is sent away is told to come back as if nobody waited.
    PoolRetryAfterOfOne in diffusion,
    /// The newest picture of a backend alone says how fast it is.
    PoolBelievesLastSample in diffusion,
    /// A backend that hangs is believed to be done at any moment.
    PoolOverdueIsAlmostDone in diffusion,
    /// A backend that gives no sign of life is asked all the same.
    PoolDeadStaysUp in diffusion,
    /// Which checkpoint a backend has loaded does not matter.
    PoolCheckpointIgnored in diffusion,
    /// The backends of a pool may have different checkpoints under one name.
    PoolMixesModels in diffusion,
    /// What nobody waits for any more is done all the same.
    PoolDroppedGoesOn in diffusion,
    /// A backend may answer with another checkpoint than it was asked for.
    AnsweredModelUnchecked in diffusion,

    /// A hash that is followed by something is a hash.
    HashNotAnchored in avatar,
    /// Every size that is asked for is kept.
    SizesMultiply in avatar,
    /// An address may lead to any host whose name ends as one on the list.
    RedirectHostIsASuffix in avatar,
    /// Half of all hashes are drawn with another seed than their own.
    HighSeedsForgotten in avatar,
    /// A picture that looks alike has not drifted, whatever its bytes.
    DriftOfPixelsAlone in avatar,
    /// A placeholder may be kept as if it were the picture.
    PlaceholderKept in gateway,
}

/// Whether this bug is switched on in this process.
#[cfg(fallthrough_mutants)]
pub fn planted(mutant: Mutant) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("FALLTHROUGH_MUTANT").ok());
    planted.as_deref() == Some(mutant.name())
}

/// Never: this build has no planted bugs.
#[cfg(not(fallthrough_mutants))]
pub const fn planted(_: Mutant) -> bool {
    false
}

/// The body of a crate's module of planted bugs: `planted`, which in its tests looks also at what is switched on in their
/// thread, and `caught(mutant, test)`, which runs a test with a bug switched on there and tells whether it panicked. So a
/// crate's own tests try themselves on its bugs in every run.
#[macro_export]
macro_rules! planted_by_thread {
    () => {
        pub(crate) use $crate::Mutant;

        #[cfg(test)]
        thread_local! {
            static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
        }

        /// Whether this bug is switched on: in this thread, or for the process.
        #[cfg(test)]
        pub(crate) fn planted(mutant: Mutant) -> bool {
            PLANTED.get() == Some(mutant) || $crate::planted(mutant)
        }

        #[cfg(not(test))]
        pub(crate) use $crate::planted;

        /// Runs `test` with a bug switched on in this thread, and tells whether it was caught: whether it panicked.
        #[cfg(test)]
        pub(crate) fn caught(mutant: Mutant, test: impl FnOnce() + std::panic::UnwindSafe) -> bool {
            PLANTED.set(Some(mutant));
            let outcome = std::panic::catch_unwind(test);
            PLANTED.set(None);
            outcome.is_err()
        }
    };
}
