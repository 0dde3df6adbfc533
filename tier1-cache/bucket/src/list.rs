//! LIST: what is here, or what is here merged with what the shadow lists, or an inventory of it, in bytewise order.
//!
//! Each page merges two sorted streams. The shadow's page is read first and the local snapshot after it, so
//! that a key that is filled or deleted meanwhile is seen as it is here. The cursor is the last *examined*
//! name, so that pages of tombstones make progress.
//!
//! A page reads about as many rows as it shows: what is under a common prefix that was shown is jumped over.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use fallthrough_object::{Key, TraceParent};
use fallthrough_shadow::{ListQuery, ListedPage};
use fallthrough_store::{Bucket, Entry, EntryState};

use crate::api::{
    Answer, BucketError, CacheReport, CacheWord, Caller, ListCursor, ListItem, ListPage, ListRequest,
};
use crate::ask::out_of_order;
use crate::behind::{Behind, Rules};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::get::answer;
use crate::inventory::Sources;
use crate::survivors::{Here, PROBES_MAX, Probe};

/// Names examined for one page before it is cut short; the cursor goes on from there.
const MAX_EXAMINED: usize = 20_000;
/// Rows of one local read at most: a whole page, and the one that tells whether there are more.
pub(crate) const SCAN_ROWS: usize = 1_001;
/// Rows of a local read where a common prefix is likely to come next: the one that shows it, and one more.
pub(crate) const JUMP_ROWS: usize = 2;
/// How often a page is read anew because the shadow, or an inventory of it, was replaced meanwhile.
const MAX_EPOCHS: u32 = 4;
/// Sorts after everything that begins with the prefix before it, but for names with this very character,
/// which are dropped on the way.
pub(crate) const LAST: &str = "\u{10FFFF}";

impl Engine {
    /// One page of the bucket's list.
    ///
    /// # Errors
    /// [`BucketError::OriginFailing`] or [`BucketError::ShadowMisconfigured`] if the shadow's part cannot be
    /// had: never a partial list.
    pub async fn list(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: ListRequest,
    ) -> Answer<ListPage> {
        let mut bucket = bucket.clone();
        let mut report = CacheReport::of(CacheWord::Hit, "local");
        for epoch in 1..=MAX_EPOCHS {
            let mut sources = Sources::shadows();
            if let Ok(rules) = self.behind(&bucket)
                && let Some(first) = rules.listed().next()
            {
                // If they do not stand for as long as a page takes, the shadows are asked.
                if epoch < MAX_EPOCHS {
                    sources = match self.sources(&bucket, &rules).await {
                        Ok(sources) => sources,
                        Err(error) => return answer(report, Err(error)),
                    };
                }
                let left = sources.answer_for(&rules);
                report = match left {
                    Some(_) => CacheReport { ttl: left, ..CacheReport::of(CacheWord::Hit, "inventory") },
                    None => CacheReport::of(CacheWord::Pass, "merged"),
                };
                report.origin = Some(first.origin.clone());
            }
            self.verified_are_committed(&bucket, None).await;
            let page = self.list_page(&bucket, Some(caller), &request, &sources).await;
            // A shadow that was detached or replaced in between must not bring keys back.
            match self.bucket(&bucket.name).await {
                Ok(now) if now.gate_version == bucket.gate_version => {
                    match sources.stand(self, &bucket).await {
                        Ok(true) => return answer(report, page),
                        Ok(false) => {}
                        Err(error) => return answer(report, Err(error)),
                    }
                }
                Ok(now) if now.id == bucket.id => bucket = now,
                Ok(_) => return answer(report, Err(BucketError::NoSuchBucket(bucket.name.clone()))),
                Err(error) => return answer(report, Err(error)),
            }
        }
        answer(report, Err(BucketError::Conflict))
    }

    /// One page as the bucket was when `bucket` was read. Whoever gives inventories as its sources has to look
    /// afterwards whether they stand.
    pub(crate) async fn list_page(
        &self,
        bucket: &Bucket,
        caller: Option<&Caller>,
        request: &ListRequest,
        sources: &Sources,
    ) -> Result<ListPage, BucketError> {
        let rules = self.behind(bucket)?;
        let from = match &request.cursor {
            Some(cursor) => Some(cursor.name.clone()),
            None => request.after.clone(),
        };
        let mut merge = Merge {
            engine: self,
            bucket,
            caller,
            request,
            sources,
            examined: from.unwrap_or_default(),
            skip: None,
            walked: None,
            scan_rows: 0,
            items: Vec::new(),
            count: 0,
            probes: 0,
            trace: caller
                .and_then(|caller| caller.trace)
                .unwrap_or_else(|| TraceParent::begin(&*self.inner.entropy)),
        };
        merge.skip_where_it_begins();
        merge.scan_rows = if merge.collapses() { JUMP_ROWS } else { SCAN_ROWS }.min(merge.wanted());
        if request.max_keys == 0 {
            return Ok(ListPage::default());
        }
        let more = if rules.listed().next().is_some() {
            merge.merged(&rules).await?
        } else {
            merge.local().await? == Stopped::Full
        };
        let is_shown_prefix = merge.skip.is_some();
        let name = merge.skip.unwrap_or(merge.examined);
        let next = more.then_some(ListCursor { is_shown_prefix, name });
        Ok(ListPage { items: merge.items, next })
    }
}

/// A page that is being made.
struct Merge<'a> {
    engine: &'a Engine,
    bucket: &'a Bucket,
    /// Whose request it is; `None`: the server's own.
    caller: Option<&'a Caller>,
    request: &'a ListRequest,
    /// Where the shadows' lists come from.
    sources: &'a Sources,
    /// The last name that was looked at, shown or not: everything up to it is done.
    examined: String,
    /// A common prefix that was shown: names under it are done.
    skip: Option<String>,
    /// The last row of the local reads that are done with, if it is under `skip`.
    walked: Option<String>,
    /// Rows of the next local read.
    scan_rows: usize,
    items: Vec<ListItem>,
    count: usize,
    /// Common prefixes that the shadows were asked about.
    probes: usize,
    /// One trace for all pages that the shadow is asked for.
    trace: TraceParent,
}

/// What a local read gave.
struct Scan {
    /// Those that take part in lists.
    rows: Vec<(Key, Entry)>,
    /// How many others it read.
    left_out: usize,
    /// The last row that was read, if there may be more behind it.
    last: Option<String>,
    /// How much the page had before it.
    shown_before: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// Nothing is left up to the bound.
    Done,
    /// The page is full, or enough was examined.
    Full,
}

/// What the shadow listed.
enum Theirs {
    Object(fallthrough_shadow::ListedObject, Key),
    Prefix(String),
}

impl Theirs {
    fn name(&self) -> &str {
        match self {
            Self::Object(_, key) => key.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

impl Merge<'_> {
    /// If the list goes on after a common prefix, everything under it is done: the cursor tells. A client that
    /// names one as where to begin means that, and one that begins in the middle of a common prefix is not shown
    /// the prefix, which sorts before. (A cursor of ours may stand there too, after tombstones: then the prefix is
    /// still to be shown.)
    fn skip_where_it_begins(&mut self) {
        self.skip = match &self.request.cursor {
            Some(cursor) if !planted(Mutant::DeletedKeyHidesPrefix) => {
                cursor.is_shown_prefix.then(|| self.examined.clone())
            }
            Some(_) | None => self.prefix_of(&self.examined).map(str::to_owned),
        };
    }

    fn collapses(&self) -> bool {
        self.request.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty())
    }

    /// Names that the page still has room for, and the one that tells whether there are more.
    fn wanted(&self) -> usize {
        self.request.max_keys.saturating_sub(self.items.len()).saturating_add(1)
    }

    /// The common prefix that `name` collapses into.
    fn prefix_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        collapsed(name, &self.request.prefix, self.request.delimiter.as_deref())
    }

    fn is_done(&self, name: &str) -> bool {
        name <= self.examined.as_str() || self.is_under_skip(name)
    }

    fn is_under_skip(&self, name: &str) -> bool {
        self.skip.as_deref().is_some_and(|skip| name.starts_with(skip))
    }

    fn is_full(&self) -> bool {
        if self.items.len() >= self.request.max_keys {
            return true;
        }
        // V1 can go on only from a name that it showed.
        self.count >= MAX_EXAMINED && !(self.request.must_show_one && self.items.is_empty())
    }

    fn show_prefix(&mut self, prefix: &str) {
        self.items.push(ListItem::Prefix(prefix.to_owned()));
        self.skip = Some(prefix.to_owned());
        // The prefix itself is the cursor: what sorts between it and its last key is dropped by `is_done`.
        prefix.clone_into(&mut self.examined);
    }

    fn show_local(&mut self, key: &Key, entry: &Entry) {
        let Some(stored) = entry.state.stored() else { return };
        if let Some(prefix) = self.prefix_of(key.as_str()).map(str::to_owned) {
            return self.show_prefix(&prefix);
        }
        self.items.push(ListItem::Object {
            key: key.clone(),
            etag: stored.info.etag.clone(),
            size_bytes: stored.info.size_bytes,
            last_modified: stored.info.last_modified,
            owner: stored.info.owner.clone(),
        });
    }

    /// Where the next local read begins.
    fn scan_from(&self) -> Option<String> {
        let behind = match &self.skip {
            Some(skip) => Some(format!("{skip}{LAST}")),
            None if self.examined.is_empty() => None,
            None => Some(self.examined.clone()),
        };
        behind.max(self.walked.clone())
    }

    /// Rows after what was examined.
    async fn scan(&self) -> Result<Scan, BucketError> {
        let from = self.scan_from();
        let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let limit = self.scan_rows;
        let rows = self.engine.inner.store.scan(self.bucket.id, bound, &self.request.prefix, limit).await?;
        let read = rows.len();
        // With a full read there may be more after its last row.
        let last = (read == limit).then(|| rows.last().map(|(key, _)| key.as_str().to_owned())).flatten();
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|(_, entry)| match entry.state {
                EntryState::Written(_) | EntryState::Filled(..) | EntryState::Tombstone => true,
                EntryState::Known(..) | EntryState::Absent { .. } => false,
            })
            .collect();
        Ok(Scan { left_out: read - rows.len(), rows, last, shown_before: self.items.len() })
    }

    /// Everything up to `last`, the last row of a read, is done: moves on behind it.
    fn scanned(&mut self, scan: &Scan, dropped: usize, last: String) {
        self.count += scan.left_out;
        if self.is_under_skip(&last) {
            // Nothing was read that is behind the prefix; names with `LAST` in them are read one by one.
            self.walked = Some(last);
        } else if last > self.examined {
            // The rows after the last one shown take no part in lists: they are examined all the same.
            self.examined = last;
            self.skip = None;
        }
        let read = scan.rows.len() + scan.left_out;
        self.scan_rows = match self.items.len() - scan.shown_before {
            // Most of it lay under a prefix.
            _ if dropped * 2 >= read => JUMP_ROWS,
            0 => (read * 2).min(SCAN_ROWS),
            _ => (read * 2).min(SCAN_ROWS).min(self.wanted()),
        };
    }

    /// Enough was examined, whatever comes next.
    fn is_exhausted(&self) -> bool {
        self.count >= MAX_EXAMINED && self.is_full()
    }

    /// Shows what is here.
    async fn local(&mut self) -> Result<Stopped, BucketError> {
        loop {
            let mut scan = self.scan().await?;
            let mut dropped = 0;
            for (key, entry) in &scan.rows {
                if self.is_done(key.as_str()) {
                    dropped += 1;
                    continue;
                }
                let shows = entry.state.stored().is_some();
                if self.is_full() && (shows || self.count >= MAX_EXAMINED) {
                    return Ok(Stopped::Full);
                }
                self.count += 1;
                key.as_str().clone_into(&mut self.examined);
                self.skip = None;
                self.show_local(key, entry);
            }
            let Some(last) = scan.last.take() else { return Ok(Stopped::Done) };
            self.scanned(&scan, dropped, last);
            if self.is_exhausted() {
                return Ok(Stopped::Full);
            }
        }
    }

    /// Merges page after page of the shadows' lists with what is here. Returns whether there is more.
    async fn merged(&mut self, rules: &Rules) -> Result<bool, BucketError> {
        loop {
            let (theirs, bound) = self.shadow_pages(rules).await?;
            let ends_with_prefix =
                matches!(theirs.last(), Some(Theirs::Prefix(last)) if Some(last) == bound.as_ref());
            if self.merge(rules, theirs, bound.as_deref()).await? == Stopped::Full {
                if planted(Mutant::PagePassesOverShadow) && bound.as_ref() > Some(&self.examined) {
                    self.examined = bound.unwrap_or_default();
                }
                return Ok(true);
            }
            let Some(bound) = bound else { return Ok(false) };
            // Everything up to the end of the shadows' page is examined now, and what it ended with is shown. A common
            // prefix that is another rule's business is not: what is here under it is still to be looked at.
            if bound > self.examined {
                self.skip = ends_with_prefix.then(|| bound.clone());
                self.examined = bound;
            }
            if self.is_full() {
                return Ok(true);
            }
        }
    }

    /// Merges one page of the shadow (complete up to `bound`) with what is here up to `bound`.
    async fn merge(
        &mut self,
        rules: &Rules,
        theirs: Vec<Theirs>,
        bound: Option<&str>,
    ) -> Result<Stopped, BucketError> {
        let mut theirs = VecDeque::from(theirs);
        loop {
            let mut scan = self.scan().await?;
            let mut dropped = 0;
            // What this read covers; the shadow's names after it wait for the next read.
            let last = scan.last.take();
            let covered = last.as_deref();
            // Rows come in order.
            let within = scan.rows.partition_point(|(key, _)| bound.is_none_or(|b| key.as_str() <= b));
            let mut ours = scan.rows[..within].iter().peekable();
            loop {
                let their_name =
                    theirs.front().map(Theirs::name).filter(|name| covered.is_none_or(|c| *name <= c));
                let our_name = ours.peek().map(|(key, _)| key.as_str());
                let (take_ours, take_theirs) = match (our_name, their_name) {
                    (None, None) => break,
                    (Some(_), None) => (true, false),
                    (None, Some(_)) => (false, true),
                    (Some(o), Some(t)) => (o <= t, t <= o),
                };
                let shown = if take_ours { our_name } else { their_name }.unwrap_or_default();
                let was_done = self.is_done(shown);
                if !was_done {
                    // A key that is deleted here may bear the very name of a prefix that the shadow has.
                    let their_prefix = take_theirs && matches!(theirs.front(), Some(Theirs::Prefix(_)));
                    let ours_shows = ours.peek().is_some_and(|(_, entry)| entry.state.stored().is_some());
                    let shows = their_prefix || !take_ours || ours_shows;
                    if self.is_full() && (shows || self.count >= MAX_EXAMINED) {
                        return Ok(Stopped::Full);
                    }
                    self.count += 1;
                    shown.clone_into(&mut self.examined);
                    self.skip = None;
                    let take_row = take_ours && (ours_shows || !their_prefix);
                    match (take_row.then(|| ours.peek()).flatten(), theirs.front()) {
                        // What is here wins; a tombstone hides the shadow's key.
                        (Some((key, entry)), _) => self.show_local(key, entry),
                        (None, Some(Theirs::Prefix(prefix))) => {
                            let prefix = prefix.clone();
                            if self.survives(rules, &prefix, ours.peek().copied()).await {
                                self.show_prefix(&prefix);
                            } else {
                                // All that is under it is done, shown or not.
                                self.skip = Some(prefix);
                            }
                        }
                        (None, Some(Theirs::Object(object, key))) => {
                            let object = ListItem::Object {
                                key: key.clone(),
                                etag: object.etag.clone(),
                                size_bytes: object.size_bytes,
                                last_modified: crate::fetch::whole_secs(object.last_modified),
                                owner: None,
                            };
                            self.items.push(object);
                        }
                        (None, None) => {}
                    }
                }
                if take_ours {
                    dropped += usize::from(was_done);
                    ours.next();
                }
                if take_theirs {
                    theirs.pop_front();
                }
            }
            let Some(last) = last.filter(|last| bound.is_none_or(|bound| last.as_str() <= bound)) else {
                return Ok(Stopped::Done);
            };
            self.scanned(&scan, dropped, last);
            if self.is_exhausted() {
                return Ok(Stopped::Full);
            }
        }
    }

    /// Whether a common prefix that a shadow has is to be shown. `next`: the first row from it on, if it was read.
    async fn survives(&mut self, rules: &Rules, prefix: &str, next: Option<&(Key, Entry)>) -> bool {
        if self.probes >= PROBES_MAX {
            return true;
        }
        let client = self.client();
        let query = self.asked_as();
        let (engine, bucket, sources) = (self.engine, self.bucket, self.sources);
        let probe = Probe { engine, bucket, rules, sources, prefix, client: &client, query: &query };
        match probe.here(next).await {
            Here::Shows => true,
            Here::Deleted(deleted) => {
                self.probes += 1;
                probe.survives(&deleted).await
            }
        }
    }

    fn client(&self) -> Arc<str> {
        self.caller.map_or_else(|| Arc::from("(server)"), |caller| caller.client.clone())
    }

    /// A query without names.
    fn asked_as(&self) -> ListQuery {
        ListQuery {
            timeout: self.engine.inner.options.client_wait,
            hops: self.caller.map_or(0, |caller| caller.hops),
            request_id: self.caller.map_or_else(String::new, |caller| caller.request_id.to_string()),
            trace: Some(self.trace),
            ..ListQuery::default()
        }
    }

    /// What the shadows list after what was examined, in order, and the name up to which it is complete (`None`: to the
    /// end). All of them have to answer.
    async fn shadow_pages(&self, rules: &Rules) -> Result<(Vec<Theirs>, Option<String>), BucketError> {
        let pages = rules.listed().map(|behind| self.shadow_page(rules, behind));
        let mut pages = futures::future::try_join_all(pages).await?;
        if pages.len() == 1 {
            return Ok(pages.swap_remove(0));
        }
        // Beyond the end of the shortest page a name of another shadow may be missing.
        let bound = pages.iter().filter_map(|(_, bound)| bound.clone()).min();
        let mut theirs: Vec<Theirs> = pages
            .into_iter()
            .flat_map(|(names, _)| names)
            .filter(|theirs| bound.as_deref().is_none_or(|bound| theirs.name() <= bound))
            .collect();
        theirs.sort_by(|a, b| a.name().cmp(b.name()));
        theirs.dedup_by(|a, b| a.name() == b.name());
        Ok((theirs, bound))
    }

    /// A shadow's next page after what was examined, of what is the business of its rule.
    async fn shadow_page(
        &self,
        rules: &Rules,
        behind: &Behind,
    ) -> Result<(Vec<Theirs>, Option<String>), BucketError> {
        let Some(query) = self.query(behind) else { return Ok((Vec::new(), None)) };
        let page = self.sources.page(self.engine, self.bucket, behind, query, &self.client()).await?;
        let (mut names, bound) = ordered(page, behind, self)?;
        names.retain(|theirs| match theirs {
            Theirs::Object(_, key) => !rules.takes_before(behind, key),
            Theirs::Prefix(prefix) => !rules.takes_all_before(behind, prefix),
        });
        Ok((names, bound))
    }

    /// What a shadow is asked for; `None`: nothing that is still to be listed can be there.
    fn query(&self, behind: &Behind) -> Option<ListQuery> {
        let renaming = behind.rule.renaming()?;
        let asked = self.request.prefix.as_str();
        let prefix = behind.rule.common_prefix(asked)?;
        // A delimiter inside the rule's own prefix cannot be handed on: it would collapse from elsewhere.
        let delimiter = self.request.delimiter.clone().filter(|d| !d.is_empty() && prefix == asked);
        let start_after = match (&self.skip, &delimiter) {
            _ if self.examined.is_empty() => String::new(),
            // All that begins like this is done.
            (Some(skip), None) if prefix.starts_with(skip.as_str()) => return None,
            (Some(skip), None) => {
                renaming.theirs(skip).map_or_else(String::new, |skip| format!("{skip}{LAST}"))
            }
            (Some(_) | None, _) => renaming.theirs(&self.examined).unwrap_or_default(),
        };
        if self.examined.as_str() > prefix && !self.examined.starts_with(prefix) {
            return None;
        }
        Some(ListQuery {
            prefix: renaming.theirs(prefix)?,
            start_after,
            delimiter,
            // At least two: after a common prefix the first name is that prefix again at some providers.
            max_keys: (self.request.max_keys - self.items.len().min(self.request.max_keys) + 1)
                .clamp(2, 1000),
            ..self.asked_as()
        })
    }
}

/// The common prefix that `name` collapses into, in a list of what begins with `prefix`.
pub(crate) fn collapsed<'n>(name: &'n str, prefix: &str, delimiter: Option<&str>) -> Option<&'n str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = name.strip_prefix(prefix)?.find(delimiter)?;
    Some(&name[..prefix.len() + at + delimiter.len()])
}

/// The shadow's page under our names, in order, and the name up to which it is complete (`None`: to the end).
fn ordered(
    page: ListedPage,
    behind: &Behind,
    merge: &Merge<'_>,
) -> Result<(Vec<Theirs>, Option<String>), BucketError> {
    let named =
        |name: &str| behind.rule.renaming().and_then(|renaming| renaming.ours(name)).ok_or_else(out_of_order);
    let mut names = Vec::with_capacity(page.objects.len() + page.prefixes.len());
    for object in page.objects {
        // A name that is no key here (empty, after the rewrite) cannot be asked for, so it is not shown.
        let Ok(key) = Key::parse(&named(&object.key)?) else { continue };
        let collapsed = merge.prefix_of(key.as_str()).map(str::to_owned);
        names.push(match collapsed {
            Some(prefix) => Theirs::Prefix(prefix),
            None => Theirs::Object(object, key),
        });
    }
    for prefix in page.prefixes {
        names.push(Theirs::Prefix(named(&prefix)?));
    }
    names.sort_by(|a, b| a.name().cmp(b.name()));
    names.dedup_by(|a, b| a.name() == b.name());
    let last = names.last().map(|last| last.name().to_owned());
    if page.truncated {
        // A page that says "more" and does not go forward would be asked for for ever.
        match &last {
            Some(last) if *last > merge.examined => {}
            Some(_) | None => return Err(out_of_order()),
        }
        return Ok((names, last));
    }
    Ok((names, None))
}
