//! The avatar origin with a count of its calls, so that the page can show how often it was really asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fallthrough_origin::{Answer, ListRequest, Listing, Origin, OriginError, Request};

/// Keys whose calls are remembered; the one that came first is forgotten first.
const KEYS_MAX: usize = 4096;

/// What a key begins with, in lower case: sizes and formats of one avatar are counted together.
fn hash(key: &str) -> String {
    key.split(['/', '.']).next().unwrap_or_default().to_ascii_lowercase()
}

/// How often each avatar was asked for.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    counts: BTreeMap<String, u64>,
    // Invariant: holds exactly the keys of `counts`, in the order of their first call.
    order: VecDeque<String>,
}

impl Calls {
    /// Calls for `key` since it was first asked for; zero if it never was, or was forgotten.
    pub(super) fn of(&self, key: &str) -> u64 {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.counts.get(&hash(key)).copied().unwrap_or(0)
    }

    fn count(&self, key: &str) {
        let key = hash(key);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.counts.get_mut(&key) {
            *count += 1;
            return;
        }
        if table.order.len() >= KEYS_MAX
            && let Some(oldest) = table.order.pop_front()
        {
            table.counts.remove(&oldest);
        }
        table.counts.insert(key.clone(), 1);
        table.order.push_back(key);
    }
}

/// An origin that counts before it answers. GET and HEAD both count: each would make the model work.
pub(super) struct Counted<O> {
    origin: O,
    calls: Arc<Calls>,
}

impl<O: Origin> Counted<O> {
    /// `origin`, counted in `calls`.
    pub(super) fn new(origin: O, calls: Arc<Calls>) -> Self {
        Self { origin, calls }
    }
}

#[async_trait]
impl<O: Origin> Origin for Counted<O> {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        self.calls.count(request.key.as_str());
        self.origin.get(request).await
    }

    async fn head(&self, request: &Request) -> Result<Answer, OriginError> {
        self.calls.count(request.key.as_str());
        self.origin.head(request).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Listing, OriginError> {
        self.origin.list(request).await
    }

    fn can_seek(&self) -> bool {
        self.origin.can_seek()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let calls = Calls::default();
        for number in 0..=KEYS_MAX {
            calls.count(&format!("key-{number}"));
        }
        calls.count("KEY-1");
        assert_eq!(calls.of("key-0"), 0);
        calls.count("key-1/80.png");
        assert_eq!(calls.of("key-1"), 3);
        assert_eq!(calls.0.lock().expect("not poisoned").order.len(), KEYS_MAX);
    }
}
