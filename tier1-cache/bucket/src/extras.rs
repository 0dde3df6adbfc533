//! Reads with something that is passed on to the origin, such as a language or a size.
//!
//! What is kept under a key is the origin's answer to the key alone. An answer that may depend on more is passed through
//! and kept by nobody, neither as an object nor as a word on whether there is one; unless the rule says that it is the same
//! whatever is passed on, and then it is read as any other.

use std::sync::Arc;

use fallthrough_object::{Key, Timestamp};
use fallthrough_shadow::{Extras, Found, Method, Outcome};
use fallthrough_store::{Bucket, ShadowRule};
use fallthrough_wire::conditions::Verdict;

use crate::api::{Answer, BucketError, CacheWord, Object, ObjectBody};
use crate::ask::{Answered, ask, refusal};
use crate::behind::{Behind, Cold, Fall};
use crate::core::extras::{ExtrasTooLong, chosen};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::get::{Read, answer, passing};
use crate::head::known_info;
use crate::members::Whom;
use crate::origins::Permit;

/// The detail of answers that may depend on more than their key.
const VARIES: &str = "varies";

impl Engine {
    /// What the rule of `key` has passed on to its origin of a read that is asked with this. `header` gives the text of
    /// one by its name in small letters.
    ///
    /// # Errors
    /// [`ExtrasTooLong`].
    pub fn extras<'a>(
        &self,
        bucket: &Bucket,
        key: &Key,
        query: impl Iterator<Item = (&'a str, &'a str)>,
        header: impl Fn(&str) -> Option<String>,
    ) -> Result<Extras, ExtrasTooLong> {
        match self.passing_on(bucket, key, ShadowRule::passes_on) {
            Some(behind) => chosen(&behind.rule.settings, query, header),
            None => Ok(Extras::default()),
        }
    }

    /// Names of the headers that the answer to a read of `key` depends on.
    pub(crate) fn varies_by(&self, bucket: &Bucket, key: &Key) -> Option<Arc<str>> {
        let varies = |rule: &ShadowRule| !rule.pass_headers.is_empty() && !rule.passed_alike;
        self.passing_on(bucket, key, varies)?.varies_by.clone()
    }

    /// What is behind `key`, in a bucket with a rule that does this: most have none, and pay for no look at the rules.
    fn passing_on(&self, bucket: &Bucket, key: &Key, does: fn(&ShadowRule) -> bool) -> Option<Arc<Behind>> {
        if !bucket.settings.shadow.iter().any(does) {
            return None;
        }
        // Rules that cannot be had pass nothing on; the read itself says what is wrong.
        match self.behind(bucket).ok()?.fall(key) {
            Fall::Through(cold) => Some(cold.behind),
            Fall::Impossible | Fall::Nowhere => None,
        }
    }
}

impl Read<'_> {
    /// Whether the answer may be another one than what is kept under the key.
    pub(crate) fn may_vary(&self, cold: &Cold) -> bool {
        let alike = cold.behind.rule.settings.passed_alike || planted(Mutant::VariantKept);
        !self.request.extras.is_empty() && !alike
    }

    /// The origin's answer to all that is passed on: unkept, and joined by nobody.
    pub(crate) async fn pass_varied(&self, cold: &Cold) -> Answer<Object> {
        let mut report = self.asked(cold, CacheWord::Pass, VARIES);
        let client = match Engine::fill_share(self.bucket, self.caller) {
            Some(_) if !self.admission.cold => return answer(report, Err(BucketError::Denied)),
            Some(client) => client,
            None => return answer(report, Err(BucketError::FillDenied)),
        };
        // Only an S3 provider knows parts.
        if self.request.part.is_some_and(|number| number != 1) {
            return answer(report, Err(BucketError::NoSuchPart { parts: Some(1) }));
        }
        let gate = &cold.behind.gate;
        let permit = match gate.admit(&client, self.engine.inner.options.client_wait).await {
            Ok(permit) => permit,
            Err(error) => return answer(report, Err(error)),
        };
        report.queued = Some(permit.queued);
        let mut request = self.request_to(cold);
        if self.request.head {
            request.method = Method::Head;
        } else if cold.behind.seekable && self.request.if_range.is_none() {
            request.range = self.request.range;
        }
        let result = match ask(self.engine, &cold.behind, request, Whom::Any).await {
            Ok(Answered { outcome: Outcome::Found(found), asked_at, .. }) => {
                self.varied(cold, *found, asked_at, permit)
            }
            Ok(said) => Err(refusal(said.outcome, gate, &client)),
            Err(unanswered) => Err(unanswered.into_error(gate, &client)),
        };
        answer(report, result)
    }

    fn varied(
        &self,
        cold: &Cold,
        found: Found,
        asked_at: Timestamp,
        permit: Permit,
    ) -> Result<Object, BucketError> {
        let (range, length) = (found.range, found.expected.length_bytes);
        let size_bytes = found.size_bytes.or(length.filter(|_| range.is_none()));
        let etag = found.etag.clone().filter(|etag| !etag.is_weak());
        let info = Arc::new(known_info(&found, etag, size_bytes.unwrap_or_default(), asked_at));
        let body = match self.verdict(&info) {
            Verdict::PreconditionFailed => return Err(BucketError::PreconditionFailed),
            Verdict::NotModified => ObjectBody::NotModified,
            Verdict::Proceed if self.request.head => ObjectBody::Head(None),
            Verdict::Proceed => {
                let len_bytes = range.map(|range| range.len()).or(size_bytes);
                // What was promised of a part is not promised of the whole.
                let origin = cold.behind.origin.clone();
                let expected = Some((origin, found.expected)).filter(|_| range.is_none());
                let body = crate::pass::passed_verified(self.engine, found.body, len_bytes, expected, permit);
                match range {
                    Some(range) => ObjectBody::Range(range, body),
                    None => ObjectBody::Whole(body),
                }
            }
        };
        Ok(Object { size_bytes, ..passing(info, body) })
    }
}
