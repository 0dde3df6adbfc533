//! What one multipart upload may answer, operation by operation: its parts, replaced or not, until it is completed or
//! aborted, by a client, by a lifecycle rule or with its bucket. What its object is to readers the key's model knows.

use crate::checker::Machine;
use crate::history::Operation;
use crate::rules::{Days, Rule};

/// How many parts an upload of a run may have.
pub const SLOTS: usize = 3;
/// The part that was copied by a request whose answer, which says what it was, was lost.
pub const UNKNOWN_PART: u16 = u16::MAX;

/// Parts by their slots; 0: none.
pub type Parts = [u16; 3];

/// What an operation did to an upload, or showed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadDid {
    /// CreateMultipartUpload.
    Begin,
    /// A part was kept in this slot.
    Part(u8, u16),
    /// It was completed with these parts, or had been.
    Complete(Parts),
    /// It had been completed, with other parts than were listed now.
    Completed,
    /// Completing was refused for what is at the key, but not for these parts.
    Refused(Parts),
    /// One of these is not there, or is another.
    OtherParts(Parts),
    /// ListParts showed these.
    Listed(Parts),
    /// It is on its way.
    Alive,
    /// AbortMultipartUpload.
    Abort,
    /// There is no such upload, or none any more.
    Gone,
    /// Its bucket was deleted.
    BucketGone,
    /// The lifecycle rules of the bucket became those of this number.
    Rules(u8),
    /// The lifecycle rules were applied.
    Expire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    NotYet,
    Open,
    Aborted,
    Completed,
}

/// What is known of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadState {
    stage: Stage,
    /// From which day on its age counts.
    since: u8,
    parts: Parts,
    rules: u8,
}

/// One upload, and the rules of the run that are for it.
#[derive(Clone, Debug, Default)]
pub struct UploadModel {
    /// When days began.
    pub days: Days,
    /// Lifecycle rules by number, as far as they are for the upload's key.
    pub rules: Vec<Vec<Rule>>,
    /// Whether it may stay when it is completed: where an origin must have the object first, a part may come meanwhile, or
    /// the origin's answer be lost.
    pub stays: bool,
}

fn may_be(there: u16, listed: u16) -> bool {
    there == listed || there == UNKNOWN_PART
}

impl UploadState {
    fn has(self, listed: Parts) -> bool {
        listed.iter().zip(self.parts).all(|(listed, there)| *listed == 0 || may_be(there, *listed))
    }

    fn may_lack_one_of(self, listed: Parts) -> bool {
        listed.iter().zip(self.parts).any(|(listed, there)| *listed != 0 && there != *listed)
    }
}

impl UploadModel {
    fn expired(&self, state: UploadState, by: &Operation<UploadDid>) -> Vec<UploadState> {
        let rules = self.rules.get(usize::from(state.rules)).map_or(&[][..], Vec::as_slice);
        let due =
            |day| state.stage == Stage::Open && rules.iter().any(|rule| rule.ends_upload(state.since, day));
        let (first, last) = self.days.within(by.from, by.to).into_inner();
        let gone = due(last).then_some(UploadState { stage: Stage::Aborted, ..state });
        gone.into_iter().chain((!due(first)).then_some(state)).collect()
    }
}

impl Machine for UploadModel {
    type Did = UploadDid;
    type State = UploadState;

    fn initial(&self) -> UploadState {
        UploadState { stage: Stage::NotYet, since: 0, parts: [0; SLOTS], rules: 0 }
    }

    fn only_shows(did: UploadDid) -> bool {
        use UploadDid::{Alive, Completed, Gone, Listed, OtherParts, Refused};
        matches!(did, Completed | Refused(_) | OtherParts(_) | Listed(_) | Alive | Gone)
    }

    fn apply(&self, state: UploadState, by: &Operation<UploadDid>) -> Vec<UploadState> {
        let is_open = state.stage == Stage::Open;
        let if_it_is = |holds: bool, after: UploadState| holds.then_some(after).into_iter().collect();
        match by.did {
            UploadDid::Begin => {
                let days = self.days.within(by.from, by.to);
                days.map(|day| UploadState { stage: Stage::Open, since: day + 1, ..state }).collect()
            }
            UploadDid::Part(slot, part) => {
                let mut parts = state.parts;
                parts[usize::from(slot)] = part;
                if_it_is(is_open, UploadState { parts, ..state })
            }
            UploadDid::Complete(listed) => match state.stage {
                Stage::Open if state.has(listed) => {
                    let over = UploadState { stage: Stage::Completed, ..state };
                    std::iter::once(over).chain(self.stays.then_some(state)).collect()
                }
                Stage::Open => Vec::new(),
                Stage::Completed => vec![state],
                Stage::NotYet | Stage::Aborted => Vec::new(),
            },
            UploadDid::Completed => if_it_is(state.stage == Stage::Completed, state),
            UploadDid::Refused(listed) => if_it_is(is_open && state.has(listed), state),
            UploadDid::OtherParts(listed) => if_it_is(is_open && state.may_lack_one_of(listed), state),
            UploadDid::Listed(shown) => {
                let same = state.parts.iter().zip(shown).all(|(there, shown)| may_be(*there, shown));
                if_it_is(is_open && same, state)
            }
            UploadDid::Alive => if_it_is(is_open, state),
            UploadDid::Abort => if_it_is(is_open, UploadState { stage: Stage::Aborted, ..state }),
            UploadDid::Gone => if_it_is(!is_open, state),
            UploadDid::BucketGone => match state.stage {
                Stage::NotYet => vec![UploadState { rules: 0, ..state }],
                Stage::Open | Stage::Aborted | Stage::Completed => {
                    vec![UploadState { stage: Stage::Aborted, ..state }]
                }
            },
            UploadDid::Rules(rules) => vec![UploadState { rules, ..state }],
            UploadDid::Expire => self.expired(state, by),
        }
    }
}
