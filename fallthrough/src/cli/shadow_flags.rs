//! The flags that say what a bucket falls through to, in both spellings, as the change they ask for.

use std::path::PathBuf;

use clap::Args;
use fallthrough_object::{Provider, Rate};
use serde_json::{Map, Value, json};

use crate::cli::{Globals, member_flag};
use crate::failure::Failure;
use crate::settings::{Secret, credentials_of_profile, parse_duration};

/// A variable that a shadow's secret may be handed in with.
const SECRET_VARIABLE: &str = "FALLTHROUGH_SHADOW_SECRET_KEY";

/// `fallthrough shadow set`: every field of a rule.
#[derive(Debug, Default, Args)]
pub(crate) struct ShadowFlags {
    /// A declared origin
    #[arg(long, value_name = "NAME", group = "way")]
    origin: Option<String>,
    /// An S3 provider by name: gives endpoint, region and addressing where they are known and not given
    #[arg(long, value_parser = Provider::NAMES, conflicts_with_all = ["origin", "url"])]
    provider: Option<String>,
    /// An S3 provider: http(s)://HOST or http(s)://HOST:PORT
    #[arg(long, value_name = "URL", group = "way")]
    endpoint: Option<String>,
    /// An HTTP server; the key is appended
    #[arg(long, value_name = "URL", group = "way")]
    url: Option<String>,
    /// The bucket at the S3 provider
    #[arg(long, value_name = "BUCKET")]
    name: Option<String>,
    /// The region to sign for
    #[arg(long)]
    region: Option<String>,
    /// How the bucket is named in URLs
    #[arg(long, value_parser = ["path", "virtual-host"])]
    addressing: Option<String>,
    /// The access key to sign with
    #[arg(long, value_name = "ID")]
    access_key: Option<String>,
    /// The secret key; every user of this machine can read it here, so prefer the file or
    /// FALLTHROUGH_SHADOW_SECRET_KEY
    #[arg(long, value_name = "SECRET", conflicts_with = "secret_key_file")]
    secret_key: Option<String>,
    /// A file with the secret key
    #[arg(long, value_name = "PATH")]
    secret_key_file: Option<PathBuf>,
    /// Take both keys from a profile of the AWS credentials file
    #[arg(long, value_name = "NAME", conflicts_with_all = ["access_key", "secret_key", "secret_key_file"])]
    profile: Option<String>,
    /// A further place that has the same objects, as FIELD=VALUE,… of endpoint, provider, name, region, addressing,
    /// access-key, secret-key-file, profile; or url, or origin; may be repeated, and all are named anew
    #[arg(long, value_name = "FIELD=VALUE,…")]
    member: Vec<String>,
    /// Only keys with this prefix
    #[arg(long)]
    prefix: Option<String>,
    /// Only keys with this suffix
    #[arg(long)]
    suffix: Option<String>,
    /// Only keys that match this regular expression; others are left to the rules that follow
    #[arg(long, value_name = "REGEX")]
    matches: Option<String>,
    /// Of this rule's keys, only those that match this regular expression can exist
    #[arg(long, value_name = "REGEX")]
    keys: Option<String>,
    /// How the origin's key is made: text with {key}, or {rest} for what follows the prefix
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Under which name a compute origin's results belong together
    #[arg(long, value_name = "NAME")]
    edition: Option<String>,
    /// How long a copy is fresh, such as 10m
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// How long "not found" is believed, such as 30s
    #[arg(long, value_name = "DURATION")]
    negative_ttl: Option<String>,
    /// What the origin's 403 means
    #[arg(long, value_parser = ["error", "absent"])]
    treat_403_as: Option<String>,
    /// How LIST treats the shadow
    #[arg(long, value_parser = ["merged", "local"])]
    list: Option<String>,
    /// Whether the origin can be asked for ranges
    #[arg(long)]
    seekable: Option<bool>,
    /// Query parameters of reads that are passed on to the origin, whose answers are then not kept
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pass_query: Vec<String>,
    /// Headers of reads that are passed on to the origin, whose answers are then not kept
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pass_headers: Vec<String>,
    /// The object is the same whatever is passed on, and is kept
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    passed_alike: Option<bool>,
    /// Fills in flight per client
    #[arg(long, value_name = "COUNT")]
    per_client: Option<u32>,
    /// Fills in flight
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<u32>,
    /// Requests to the origin in a stretch of time, such as 100/s or 10000/day
    #[arg(long, value_name = "RATE")]
    budget: Option<Rate>,
    /// Of those, the ones that one client may cause
    #[arg(long, value_name = "RATE")]
    client_budget: Option<Rate>,
    /// Send writes to the shadow as well: after they are acknowledged, or before (sync)
    #[arg(long, value_parser = ["off", "async", "sync"], num_args = 0..=1, require_equals = true, default_missing_value = "async")]
    write_through: Option<String>,
    /// Send deletes to the shadow as well
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    delete_through: Option<bool>,
    /// What happens to a change if somebody else has changed the object at the shadow
    #[arg(long, value_parser = ["fail", "local", "origin"])]
    write_conflict: Option<String>,
    /// Keep an inventory of the shadow's list and answer LIST from it for so long, such as 6h
    #[arg(long, value_name = "DURATION")]
    inventory: Option<String>,
    /// Answer 404 to GET and HEAD of keys that the inventory does not have, without asking the shadow
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    inventory_absent: Option<bool>,
    /// Remove a field, such as prefix; may be repeated
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
}

impl ShadowFlags {
    /// The change as the admin API takes it: only what was named.
    ///
    /// # Errors
    /// A secret cannot be read, or a duration is none.
    pub(crate) fn patch(&self, globals: &Globals) -> Result<Map<String, Value>, Failure> {
        let mut patch = Map::new();
        let texts = [
            ("origin", &self.origin),
            ("endpoint", &self.endpoint),
            ("url", &self.url),
            ("name", &self.name),
            ("region", &self.region),
            ("provider", &self.provider),
            ("addressing", &self.addressing),
            ("prefix", &self.prefix),
            ("suffix", &self.suffix),
            ("matches", &self.matches),
            ("keys", &self.keys),
            ("key", &self.key),
            ("edition", &self.edition),
            ("treat_403_as", &self.treat_403_as),
            ("list", &self.list),
            ("write_through", &self.write_through),
            ("write_conflict", &self.write_conflict),
        ];
        for (name, value) in texts {
            patch.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        for (name, value) in [
            ("seekable", self.seekable),
            ("passed_alike", self.passed_alike),
            ("delete_through", self.delete_through),
            ("inventory_absent", self.inventory_absent),
        ] {
            patch.extend(value.map(|value| (name.to_owned(), json!(value))));
        }
        for (name, value) in [("per_client", self.per_client), ("max_in_flight", self.max_in_flight)] {
            patch.extend(value.map(|value| (name.to_owned(), json!(value))));
        }
        for (name, value) in [("budget", self.budget), ("client_budget", self.client_budget)] {
            patch.extend(value.map(|value| (name.to_owned(), json!(value))));
        }
        for (flag, name, value) in [
            ("--ttl", "ttl_secs", &self.ttl),
            ("--negative-ttl", "negative_ttl_secs", &self.negative_ttl),
            ("--inventory", "inventory_secs", &self.inventory),
        ] {
            if let Some(text) = value {
                let duration = parse_duration(text).map_err(|wrong| {
                    Failure::usage(format!("{flag}: {wrong}"), "write a number with a unit")
                })?;
                patch.insert(name.to_owned(), json!(duration.as_secs()));
            }
        }
        let headers = self.pass_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        for (name, names) in [("pass_query", self.pass_query.clone()), ("pass_headers", headers)] {
            if !names.is_empty() {
                patch.insert(name.to_owned(), json!(names));
            }
        }
        if !self.member.is_empty() {
            let environment = globals.layers().environment;
            let members = self.member.iter().map(|text| member_flag::read(text, &environment));
            patch.insert("members".to_owned(), members.collect::<Result<Value, _>>()?);
        }
        self.credentials(&mut patch, globals)?;
        for field in &self.unset {
            let field = match field.replace('-', "_").as_str() {
                "ttl" => "ttl_secs".to_owned(),
                "negative_ttl" => "negative_ttl_secs".to_owned(),
                "inventory" => "inventory_secs".to_owned(),
                other => other.to_owned(),
            };
            patch.insert(field, Value::Null);
        }
        Ok(patch)
    }

    fn credentials(&self, patch: &mut Map<String, Value>, globals: &Globals) -> Result<(), Failure> {
        if let Some(profile) = &self.profile {
            let found = credentials_of_profile(profile, &globals.layers().environment)
                .map_err(|(wrong, mend)| Failure::new(format!("--profile: {wrong}"), mend))?;
            patch.insert("access_key".to_owned(), json!(found.access_key));
            patch.insert("secret_key".to_owned(), json!(found.secret_key));
            return Ok(());
        }
        if let Some(access_key) = &self.access_key {
            patch.insert("access_key".to_owned(), json!(access_key));
        }
        let secret = match (&self.secret_key, &self.secret_key_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(path)) => {
                let secret = Secret::read(path).map_err(|wrong| {
                    Failure::new(wrong, "check --secret-key-file and who may read the file")
                })?;
                Some(secret.reveal().to_owned())
            }
            (None, None) if self.access_key.is_some() => {
                std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty())
            }
            (None, None) => None,
        };
        if let Some(secret) = secret {
            patch.insert("secret_key".to_owned(), json!(secret));
        }
        Ok(())
    }
}

/// `fallthrough bucket create` and `set`: the spellings that flyctl users know, and their likes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Shadow")]
pub(crate) struct PrefixedShadowFlags {
    /// A declared origin
    #[arg(long, value_name = "NAME", group = "shadow_way")]
    shadow_origin: Option<String>,
    /// An S3 provider by name: gives endpoint, region and addressing where they are known and not given
    #[arg(long, value_parser = Provider::NAMES, conflicts_with_all = ["shadow_origin", "shadow_url"])]
    shadow_provider: Option<String>,
    /// An S3 provider: http(s)://HOST or http(s)://HOST:PORT
    #[arg(long, value_name = "URL", group = "shadow_way")]
    shadow_endpoint: Option<String>,
    /// An HTTP server; the key is appended
    #[arg(long, value_name = "URL", group = "shadow_way")]
    shadow_url: Option<String>,
    /// The bucket at the S3 provider
    #[arg(long, value_name = "BUCKET")]
    shadow_name: Option<String>,
    /// The region to sign for
    #[arg(long, value_name = "REGION")]
    shadow_region: Option<String>,
    /// The access key to sign with
    #[arg(long, value_name = "ID")]
    shadow_access_key: Option<String>,
    /// The secret key; every user of this machine can read it here, so prefer the file or
    /// FALLTHROUGH_SHADOW_SECRET_KEY
    #[arg(long, value_name = "SECRET", conflicts_with = "shadow_secret_key_file")]
    shadow_secret_key: Option<String>,
    /// A file with the secret key
    #[arg(long, value_name = "PATH")]
    shadow_secret_key_file: Option<PathBuf>,
    /// Take both keys from a profile of the AWS credentials file
    #[arg(long, value_name = "NAME", conflicts_with_all = ["shadow_access_key", "shadow_secret_key", "shadow_secret_key_file"])]
    shadow_profile: Option<String>,
    /// Under which name a compute origin's results belong together
    #[arg(long, value_name = "NAME")]
    shadow_edition: Option<String>,
    /// How LIST treats the shadow
    #[arg(long, value_parser = ["merged", "local"])]
    shadow_list: Option<String>,
    /// Send writes to the shadow as well: after they are acknowledged, or before (sync)
    #[arg(long, value_parser = ["off", "async", "sync"], num_args = 0..=1, require_equals = true, default_missing_value = "async")]
    shadow_write_through: Option<String>,
    /// How long a copy is fresh in mode cache, such as 10m
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Do not try the shadow before it is saved
    #[arg(long)]
    pub(crate) no_probe: bool,
}

impl PrefixedShadowFlags {
    /// The change as the admin API takes it: only what was named; empty if no flag was given.
    pub(crate) fn patch(&self, globals: &Globals) -> Result<Map<String, Value>, Failure> {
        ShadowFlags {
            origin: self.shadow_origin.clone(),
            provider: self.shadow_provider.clone(),
            endpoint: self.shadow_endpoint.clone(),
            url: self.shadow_url.clone(),
            name: self.shadow_name.clone(),
            region: self.shadow_region.clone(),
            access_key: self.shadow_access_key.clone(),
            secret_key: self.shadow_secret_key.clone(),
            secret_key_file: self.shadow_secret_key_file.clone(),
            profile: self.shadow_profile.clone(),
            edition: self.shadow_edition.clone(),
            list: self.shadow_list.clone(),
            ttl: self.ttl.clone(),
            write_through: self.shadow_write_through.clone(),
            ..ShadowFlags::default()
        }
        .patch(globals)
    }
}
