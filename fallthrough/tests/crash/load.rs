//! One writer: PUTs, DELETEs and GETs of keys of its own, and GETs of keys that only the shadow has.

use std::collections::BTreeMap;

use fallthrough_object::{Entropy, SeededEntropy};
use fallthrough_sim::Content;
use http::Method;

use crate::expected::Expected;
use crate::ground::cold;
use crate::served::client::Client;
use crate::tally::Tally;

/// Around the borders of what is kept: empty, in the index, staged in memory, spilt to a file, several blocks.
const SIZES: [u64; 6] = [0, 100, 16 * 1024, 40 * 1024, 300 * 1024, 1_500_000];
/// Keys of each writer: few, so that they are overwritten often.
const KEYS: u64 = 6;

/// What a writer does, and what it puts up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Which keys only the shadow has: each round has keys that were never asked for.
    pub(crate) round: u64,
    /// Requests until it ends by itself.
    pub(crate) requests: u64,
    /// Whether the disk fails: then any request may be answered 5xx or broken off, and the next one is sent.
    pub(crate) faults: bool,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All requests were sent.
    Through,
    /// The server went away.
    Gone,
}

/// What a request came to, as far as it is not what was hoped for.
enum Failed {
    /// 5xx, with an S3 error that says what happened.
    Refused,
    /// The answer broke off, or none came.
    Broken,
    /// 404 to a GET.
    Absent,
}

impl Load {
    /// Sends requests until all are sent or the server is gone.
    ///
    /// # Panics
    /// If anything is read that may not stand there, or answered as nothing should be.
    pub(crate) fn run(
        &self,
        client: &Client,
        writer: u64,
        random: &SeededEntropy,
        state: &mut BTreeMap<String, Expected>,
        tally: &mut Tally,
    ) -> End {
        for _ in 0..self.requests {
            let key = format!("w{writer}-{}", random.next_u64() % KEYS);
            let expected = state.entry(key.clone()).or_default();
            let end = match random.next_u64() % 8 {
                0 => self.delete(client, &key, expected, tally),
                1 | 2 => self.get(client, &key, expected, tally),
                3 => self.get_cold(client, random, tally),
                _ => self.put(client, random, &key, expected, tally),
            };
            match end {
                Ok(()) | Err(Failed::Absent) => {}
                Err(Failed::Refused) => tally.refused += 1,
                Err(Failed::Broken) if self.faults && client.is_listening() => tally.broken += 1,
                Err(Failed::Broken) => return End::Gone,
            }
        }
        End::Through
    }

    fn put(
        &self,
        client: &Client,
        random: &SeededEntropy,
        key: &str,
        expected: &mut Expected,
        tally: &mut Tally,
    ) -> Result<(), Failed> {
        let edition = u16::try_from(random.next_u64() % 60_000).unwrap();
        let size = SIZES[usize::try_from(random.next_u64() % 6).unwrap()];
        let body = Content::generated(key, edition, size).bytes();
        expected.in_doubt.push(Some((edition, size)));
        self.ask(client, &Method::PUT, key, &body, 200).inspect_err(|_| tally.in_doubt += 1)?;
        expected.settle(Some((edition, size)));
        tally.acknowledged += 1;
        Ok(())
    }

    fn delete(
        &self,
        client: &Client,
        key: &str,
        expected: &mut Expected,
        tally: &mut Tally,
    ) -> Result<(), Failed> {
        expected.in_doubt.push(None);
        self.ask(client, &Method::DELETE, key, &[], 204).inspect_err(|_| tally.in_doubt += 1)?;
        expected.settle(None);
        tally.acknowledged += 1;
        Ok(())
    }

    fn get(&self, client: &Client, key: &str, expected: &Expected, tally: &mut Tally) -> Result<(), Failed> {
        let found = match self.ask(client, &Method::GET, key, &[], 200) {
            Ok(body) => Some(body),
            Err(Failed::Absent) => None,
            Err(failed) => return Err(failed),
        };
        tally.reads += 1;
        let len = found.as_ref().map(Vec::len);
        assert!(
            expected.matching(key, found.as_deref()).is_some(),
            "{key} read while it ran: {len:?}, {expected:?}"
        );
        Ok(())
    }

    fn get_cold(&self, client: &Client, random: &SeededEntropy, tally: &mut Tally) -> Result<(), Failed> {
        let (key, content) = cold(self.round, random.next_u64());
        match self.ask(client, &Method::GET, &key, &[], 200) {
            Ok(body) => {
                assert!(content.bytes() == body, "{key} filled wrong");
                tally.fills += 1;
                Ok(())
            }
            Err(Failed::Absent) => panic!("{key} is behind the bucket and was answered 404"),
            Err(failed) => Err(failed),
        }
    }

    fn ask(
        &self,
        client: &Client,
        method: &Method,
        key: &str,
        body: &[u8],
        success: u16,
    ) -> Result<Vec<u8>, Failed> {
        match client.send(method, &format!("/photos/{key}"), body) {
            Ok((status, body)) if status == success => Ok(body),
            Ok((404, _)) if method == Method::GET => Err(Failed::Absent),
            // 503 is an answer at any time: too much waits, or the server stops.
            Ok((status, body)) if status == 503 || (self.faults && (500..600).contains(&status)) => {
                let told = String::from_utf8_lossy(&body);
                assert!(told.contains("<Code>") && told.contains("<Message>"), "{method}: {status} {told}");
                Err(Failed::Refused)
            }
            Ok((status, body)) => {
                panic!("{method} {key}: {status} {}", String::from_utf8_lossy(&body[..body.len().min(500)]))
            }
            Err(_) => Err(Failed::Broken),
        }
    }
}
