//! A case while it runs.

use crate::accounts::Account;
use crate::call::{Call, Who};
use crate::case::{Case, Step};
use crate::expect::excerpt;
use crate::ground::{Ground, Mode};
use crate::reply::Reply;
use crate::report::{Failure, Result};
use crate::variables::Variables;

/// Buckets of a case that are removed at its end, with the variables that name them.
const BUCKETS: [&str; 3] = ["bucket", "other", "third"];

/// A case while it runs: what it asks goes through here.
pub(crate) struct Scene<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) mode: Mode,
    pub(crate) variables: Variables,
}

impl Scene<'_> {
    /// Runs the steps of `case` in order, then removes its buckets, whatever came of them.
    pub(crate) async fn run(&mut self, case: &Case) -> Result<()> {
        let ran = self.steps(case).await;
        let cleaned = self.clean(case).await;
        ran.and(cleaned)
    }

    async fn steps(&mut self, case: &Case) -> Result<()> {
        if case.has_bucket {
            self.ground.make_bucket(self.mode, &self.variables).await?;
        }
        for (index, step) in case.steps.iter().enumerate() {
            let done = match step {
                Step::Place { key, body, headers } => {
                    self.ground.place(self.mode, key, body, headers, &self.variables).await
                }
                Step::Ask(call) => self.ask(call).await.map(drop),
                Step::Script(script) => script(self).await,
            };
            done.map_err(|failure| {
                let step = self.variables.fill(&format!("{step:?}"));
                Failure(format!("step {}, {step}: {failure}", index + 1))
            })?;
        }
        Ok(())
    }

    /// Asks, compares, and remembers what is to be remembered.
    pub(crate) async fn ask(&mut self, call: &Call) -> Result<Reply> {
        let reply = self.ground.ask(call, self.account(&call.who)?, &self.variables).await?;
        match call.expect.check(&reply, &mut self.variables) {
            Ok(()) => Ok(reply),
            Err(why) => Err(Failure(format!("{why}\n    answer: {}", told(&reply)))),
        }
    }

    /// Asks all of them at the same time; their answers in order, whatever they are.
    pub(crate) async fn ask_together(&self, calls: &[Call]) -> Result<Vec<Reply>> {
        let asking = calls
            .iter()
            .map(async |call| self.ground.ask(call, self.account(&call.who)?, &self.variables).await);
        futures::future::join_all(asking).await.into_iter().collect()
    }

    fn account(&self, who: &Who) -> Result<&Account> {
        match who {
            Who::Main | Who::Anonymous | Who::Key { .. } => Ok(&self.ground.account),
            Who::Second => {
                let second = self.ground.second.as_ref();
                second.ok_or_else(|| Failure("there is no second account".to_owned()))
            }
        }
    }

    async fn clean(&self, case: &Case) -> Result<()> {
        let text = format!("{:?}", case.steps);
        for name in BUCKETS {
            if name != "bucket" && !text.contains(&format!("{{{name}}}")) {
                continue;
            }
            let name = self.variables.get(name).unwrap_or_default();
            let removed = self.ground.remove_bucket(&self.ground.account, name).await;
            match (&self.ground.second, removed) {
                (Some(second), Err(_)) => self.ground.remove_bucket(second, name).await?,
                (_, removed) => removed?,
            }
        }
        // Last: whether the bucket in front is empty is not known without what is behind it.
        self.ground.clear_origin(self.mode, &self.variables).await
    }
}

fn told(reply: &Reply) -> String {
    let headers: Vec<String> = reply
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    format!("{} [{}] {}", reply.status, headers.join("; "), excerpt(&reply.body))
}
