//! Where a case stands: the server under test, and where the objects lie that the case wants to read.

use std::sync::Arc;

use fallthrough_object::Clock;
use http::{HeaderMap, HeaderValue};

use crate::accounts::{Account, Endpoint};
use crate::body::Body;
use crate::call::{Call, call};
use crate::client;
use crate::encode::{Encoded, encode};
use crate::reply::Reply;
use crate::report::{Failure, Result};
use crate::variables::Variables;

/// Where the objects are that a case wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// In the bucket.
    Plain,
    /// Behind it, at an S3 origin: the bucket has yet to fetch them.
    ColdS3,
    /// Behind it, at a server that answers GET and HEAD.
    ColdHttp,
}

impl Mode {
    /// All of them; the plain one first.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ColdS3, Self::ColdHttp];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "here",
            Self::ColdS3 => "cold s3",
            Self::ColdHttp => "cold http",
        }
    }

    /// What is put behind the name of a case that is run so.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::ColdS3 => "@cold-s3",
            Self::ColdHttp => "@cold-http",
        }
    }
}

/// What is needed to put objects behind the bucket under test.
#[derive(Debug)]
pub struct Cold {
    /// The S3 server where the objects lie.
    pub origin: Endpoint,
    /// Whose buckets they lie in there.
    pub origin_account: Account,
    /// The admin API of the origin, with its token, if its buckets are to be made public by it; else that is done by
    /// an ACL.
    pub origin_admin: Option<(Endpoint, String)>,
    /// The admin API of the server under test, with its token: the bucket with its shadow is made by it.
    pub admin: (Endpoint, String),
}

/// The server under test and who asks it.
#[derive(Debug)]
pub struct Ground {
    /// The server under test.
    pub endpoint: Endpoint,
    /// Whose buckets the cases use.
    pub account: Account,
    /// Another account; cases that need it are skipped without it.
    pub second: Option<Account>,
    /// For cold cases.
    pub cold: Option<Cold>,
    /// Tells the time for signatures.
    pub clock: Arc<dyn Clock>,
}

impl Ground {
    /// Asks the server under test and returns its answer, whatever it is.
    pub(crate) async fn ask(&self, call: &Call, account: &Account, variables: &Variables) -> Result<Reply> {
        self.ask_at(&self.endpoint, call, account, variables).await
    }

    /// A call as bytes, for whoever sends it in pieces.
    pub(crate) fn encoded(&self, call: &Call, variables: &Variables) -> Result<Encoded> {
        Ok(encode(call, &self.endpoint, &self.account, variables, self.clock.now())?)
    }

    async fn ask_at(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        account: &Account,
        variables: &Variables,
    ) -> Result<Reply> {
        let request = encode(call, endpoint, account, variables, self.clock.now())?;
        let head_only = call.method == "HEAD";
        Ok(client::exchange(endpoint, &request, head_only, call.waits_for_continue).await?)
    }

    /// Makes the bucket of a case; a cold one with what is behind it.
    pub(crate) async fn make_bucket(&self, mode: Mode, variables: &Variables) -> Result<()> {
        if mode == Mode::Plain {
            let reply = self.ask(&call("PUT", "/{bucket}"), &self.account, variables).await?;
            return expect_success("the bucket of the case", &reply);
        }
        let cold = self.cold()?;
        let name = variables.get("bucket").unwrap_or_default();
        if let (Mode::ColdHttp, Some(admin)) = (mode, &cold.origin_admin) {
            self.admin(admin, &format!("{{\"name\":\"{name}\",\"public\":\"read\"}}")).await?;
        } else {
            let mut make = call("PUT", "/{bucket}");
            if mode == Mode::ColdHttp {
                make = make.with("x-amz-acl", "public-read");
            }
            let reply = self.ask_at(&cold.origin, &make, &cold.origin_account, variables).await?;
            expect_success("the bucket at the origin", &reply)?;
        }
        let origin = cold.origin.url();
        let shadow = if mode == Mode::ColdS3 {
            format!(
                "\"endpoint\":\"{origin}\",\"name\":\"{name}\",\"region\":\"{}\",\"access_key\":\"{}\",\
                 \"secret_key\":\"{}\"",
                cold.origin_account.region(),
                cold.origin_account.access_key(),
                cold.origin_account.secret(),
            )
        } else {
            format!("\"url\":\"{origin}/{name}/\",\"list\":\"local\"")
        };
        let body = format!("{{\"name\":\"{name}\",\"mode\":\"migrate\",\"shadow\":[{{{shadow}}}]}}");
        self.admin(&cold.admin, &body).await
    }

    /// Puts an object where a read through `{bucket}` finds it.
    pub(crate) async fn place(
        &self,
        mode: Mode,
        key: &str,
        body: &Body,
        headers: &[(String, String)],
        variables: &Variables,
    ) -> Result<()> {
        let mut put = call("PUT", format!("/{{bucket}}/{key}")).body(body.clone());
        put.headers.extend_from_slice(headers);
        let reply = if mode == Mode::Plain {
            self.ask(&put, &self.account, variables).await?
        } else {
            let cold = self.cold()?;
            if mode == Mode::ColdHttp && cold.origin_admin.is_none() {
                put = put.with("x-amz-acl", "public-read");
            }
            self.ask_at(&cold.origin, &put, &cold.origin_account, variables).await?
        };
        expect_success(&format!("the object {key:?} to be read"), &reply)
    }

    /// Removes what lies behind `{bucket}`, if something does.
    pub(crate) async fn clear_origin(&self, mode: Mode, variables: &Variables) -> Result<()> {
        if mode == Mode::Plain {
            return Ok(());
        }
        let cold = self.cold()?;
        let name = variables.get("bucket").unwrap_or_default();
        self.empty(&cold.origin, &cold.origin_account, name).await
    }

    /// Removes a bucket of the server under test with everything in it.
    pub(crate) async fn remove_bucket(&self, account: &Account, name: &str) -> Result<()> {
        self.empty(&self.endpoint, account, name).await
    }

    async fn empty(&self, endpoint: &Endpoint, account: &Account, name: &str) -> Result<()> {
        crate::cleaning::empty(name, async |call, variables| {
            self.ask_at(endpoint, &call, account, &variables).await
        })
        .await
    }

    fn cold(&self) -> Result<&Cold> {
        self.cold
            .as_ref()
            .ok_or_else(|| Failure("there is nothing to put objects behind the bucket".to_owned()))
    }

    /// Makes a bucket through an admin API.
    async fn admin(&self, (endpoint, token): &(Endpoint, String), body: &str) -> Result<()> {
        let mut headers = HeaderMap::new();
        let texts = [
            ("host", endpoint.authority()),
            ("connection", "close".to_owned()),
            ("authorization", format!("Bearer {token}")),
            ("content-type", "application/json".to_owned()),
            ("content-length", body.len().to_string()),
        ];
        for (name, value) in texts {
            headers.insert(name, HeaderValue::from_str(&value).map_err(|error| Failure(error.to_string()))?);
        }
        let request = Encoded::new("POST", "/admin/v1/buckets", "probe=false", &headers, body.as_bytes());
        let reply = client::exchange(endpoint, &request, false, false).await?;
        expect_success("the bucket that the admin API makes", &reply)
    }
}

fn expect_success(what: &str, reply: &Reply) -> Result<()> {
    if (200..300).contains(&reply.status) {
        return Ok(());
    }
    let body = crate::expect::excerpt(&reply.body);
    Err(Failure(format!("setting up {what}: status {}: {body}", reply.status)))
}
