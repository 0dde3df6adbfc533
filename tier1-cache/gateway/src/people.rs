//! Accounts as others see them: names in documents, and whom a grant means.

use std::collections::HashMap;

use fallthrough_bucket::Engine;
use fallthrough_object::{Grantee, Mutant, planted};
use fallthrough_wire::grants::GranteeName;
use fallthrough_wire::xml::Owner;
use fallthrough_wire::{S3Code, S3Error};

use crate::refusal::Refusal;

/// Names of accounts, each looked up once for one answer.
#[derive(Debug)]
pub(crate) struct People<'a> {
    engine: &'a Engine,
    names: HashMap<String, String>,
}

impl<'a> People<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self { engine, names: HashMap::new() }
    }

    /// An account as documents show it. One that is not known is shown by its id.
    pub(crate) async fn owner(&mut self, id: &str) -> Result<Owner, Refusal> {
        let display_name = match self.names.get(id) {
            Some(name) => name.clone(),
            None => {
                let row = self.engine.account(id).await?;
                let name = row.map_or_else(|| id.to_owned(), |row| row.display_name);
                self.names.insert(id.to_owned(), name.clone());
                name
            }
        };
        Ok(Owner { id: id.to_owned(), display_name })
    }

    /// Whom a client means by a name.
    ///
    /// # Errors
    /// `InvalidArgument` for an account that there is not, `UnresolvableGrantByEmailAddress` for an address that nobody
    /// has; the store's.
    pub(crate) async fn resolve(&self, name: GranteeName) -> Result<Grantee, Refusal> {
        match name {
            GranteeName::Group(group) => Ok(group),
            GranteeName::Id(id) => match self.engine.account(&id).await? {
                Some(row) => Ok(Grantee::Account(row.id)),
                None if planted(Mutant::UnknownGranteeAccepted) => Ok(Grantee::Account(id)),
                None => Err(S3Error::with_message(S3Code::InvalidArgument, "Invalid id")
                    .and("ArgumentName", "CanonicalUser/ID")
                    .and("ArgumentValue", id)
                    .into()),
            },
            GranteeName::Email(email) => match self.engine.account_by_email(&email).await? {
                Some(row) => Ok(Grantee::Account(row.id)),
                None => Err(S3Error::new(S3Code::UnresolvableGrantByEmail)
                    .and("ArgumentName", "emailAddress")
                    .and("ArgumentValue", email)
                    .into()),
            },
        }
    }
}
