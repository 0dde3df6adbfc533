//! Uploads by a browser's form: fields, a policy, its signature
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::Timestamp;
use fallthrough_wire::date;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::accounts::Account;
use crate::body::{Body, hex};
use crate::call::{Call, call};
use crate::signature_v2;
use crate::variables::Variables;

/// Between the parts of a form.
const BOUNDARY: &str = "----fallthrough-suite-9b1f";

/// How a form is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    V4,
    V2,
    Nothing,
}

/// A form, before it is signed.
#[derive(Clone, Debug)]
#[must_use = "a form belongs to a case"]
pub(crate) struct Form {
    /// Variables are replaced in their values.
    fields: Vec<(String, String)>,
    after_file: Vec<(String, String)>,
    file: Option<(String, Body)>,
    expires_secs: i64,
    /// Conditions of the policy, each as JSON.
    conditions: Vec<String>,
    policy: Option<String>,
    signed: Signed,
    /// Fields that the signature adds, and that are left out.
    omitted: Vec<String>,
    bad_signature: bool,
    names_everywhere: bool,
    /// Instead of the account's access key.
    access_key: Option<String>,
}

/// A form that is signed by SigV4, good for ten minutes, whose policy names the case's bucket and `key`.
pub(crate) fn form(key: &str, content: impl Into<Body>) -> Form {
    bare_form(key, content)
        .condition(r#"{"bucket":"{bucket}"}"#)
        .condition(r#"["starts-with","$key",""]"#)
        .signed(Signed::V4)
}

/// The same by SigV2.
pub(crate) fn form_v2(key: &str, content: impl Into<Body>) -> Form {
    form(key, content).signed(Signed::V2)
}

/// A form without policy and signature.
pub(crate) fn bare_form(key: &str, content: impl Into<Body>) -> Form {
    Form {
        fields: vec![("key".to_owned(), key.to_owned())],
        after_file: Vec::new(),
        file: Some(("photo.txt".to_owned(), content.into())),
        expires_secs: 600,
        conditions: Vec::new(),
        policy: None,
        signed: Signed::Nothing,
        omitted: Vec::new(),
        bad_signature: false,
        names_everywhere: false,
        access_key: None,
    }
}

impl Form {
    fn signed(mut self, signed: Signed) -> Self {
        self.signed = signed;
        self
    }

    /// Adds a field, before the file.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a field and a condition that it has just this value.
    pub(crate) fn allowed_field(self, name: &str, value: &str) -> Self {
        self.condition(&format!(r#"{{"{name}":"{value}"}}"#)).field(name, value)
    }

    /// Adds a field behind the file, where fields do not count.
    pub(crate) fn late_field(mut self, name: &str, value: &str) -> Self {
        self.after_file.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out a field, also one that signing would add.
    pub(crate) fn omit(mut self, name: &str) -> Self {
        self.fields.retain(|(have, _)| have != name);
        self.omitted.push(name.to_owned());
        self
    }

    /// Adds a condition to the policy.
    pub(crate) fn condition(mut self, json: &str) -> Self {
        self.conditions.push(json.to_owned());
        self
    }

    /// Only these conditions, besides those of the signature's own fields.
    pub(crate) fn only_conditions(mut self, conditions: &[&str]) -> Self {
        self.conditions = conditions.iter().map(|json| (*json).to_owned()).collect();
        self
    }

    /// Another text as the policy, signed as it is.
    pub(crate) fn policy(mut self, text: &str) -> Self {
        self.policy = Some(text.to_owned());
        self
    }

    pub(crate) fn expires_in(mut self, secs: i64) -> Self {
        self.expires_secs = secs;
        self
    }

    pub(crate) fn file_name(mut self, name: &str) -> Self {
        if let Some((have, _)) = &mut self.file {
            name.clone_into(have);
        }
        self
    }

    pub(crate) fn without_file(mut self) -> Self {
        self.file = None;
        self
    }

    /// Every field has a file's name, which is its own.
    pub(crate) fn file_names_everywhere(mut self) -> Self {
        self.names_everywhere = true;
        self
    }

    /// Signs with a secret that is not the account's.
    pub(crate) fn bad_signature(mut self) -> Self {
        self.bad_signature = true;
        self
    }

    /// Names another access key than the account's.
    pub(crate) fn signer_is(mut self, access_key: &str) -> Self {
        self.access_key = Some(access_key.to_owned());
        self
    }

    /// Posts it to the case's bucket.
    pub(crate) fn post(self) -> Call {
        let mut post = call("POST", "/{bucket}")
            .typed(&format!("multipart/form-data; boundary={BOUNDARY}"))
            .signed_by_form();
        post.form = Some(self);
        post
    }

    /// Its bytes.
    pub(crate) fn encode(&self, account: &Account, variables: &Variables, now: Timestamp) -> Vec<u8> {
        let mut fields = self.fields.clone();
        let access_key = self.access_key.as_deref().unwrap_or_else(|| account.access_key());
        let secret = if self.bad_signature { "not-the-secret" } else { account.secret() };
        match self.signed {
            Signed::Nothing => {}
            Signed::V2 => {
                let policy = STANDARD.encode(self.policy_text(&[], variables));
                fields.push(("AWSAccessKeyId".to_owned(), access_key.to_owned()));
                fields.push(("signature".to_owned(), signature_v2::sign(secret, &policy)));
                fields.push(("policy".to_owned(), policy));
            }
            Signed::V4 => {
                let amz_date = date::format_amz(now);
                let scope = [&amz_date[..8], account.region(), "s3", "aws4_request"];
                let of_signature = [
                    ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
                    ("x-amz-credential", format!("{access_key}/{}", scope.join("/"))),
                    ("x-amz-date", amz_date.clone()),
                ];
                let policy = STANDARD.encode(self.policy_text(&of_signature, variables));
                let mut key = format!("AWS4{secret}").into_bytes();
                for part in scope {
                    key = hmac(&key, part.as_bytes());
                }
                let signature = hex(&hmac(&key, policy.as_bytes()));
                fields.extend(of_signature.map(|(name, value)| (name.to_owned(), value)));
                fields.push(("policy".to_owned(), policy));
                fields.push(("x-amz-signature".to_owned(), signature));
            }
        }
        fields.retain(|(name, _)| !self.omitted.contains(name));
        let mut out = Vec::new();
        for (name, value) in &fields {
            self.push_field(&mut out, name, &variables.fill(value));
        }
        if let Some((file_name, content)) = &self.file {
            out.extend_from_slice(
                format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
                     Content-Type: text/plain\r\n\r\n"
                )
                .as_bytes(),
            );
            out.extend_from_slice(&content.bytes(variables));
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in &self.after_file {
            self.push_field(&mut out, name, &variables.fill(value));
        }
        out.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        out
    }

    fn push_field(&self, out: &mut Vec<u8>, name: &str, value: &str) {
        let file_name = if self.names_everywhere { format!("; filename=\"{name}\"") } else { String::new() };
        out.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }

    fn policy_text(&self, of_signature: &[(&str, String)], variables: &Variables) -> String {
        if let Some(text) = &self.policy {
            return variables.fill(text);
        }
        let mut conditions: Vec<String> = self.conditions.iter().map(|json| variables.fill(json)).collect();
        conditions.extend(of_signature.iter().map(|(name, value)| format!(r#"{{"{name}":"{value}"}}"#)));
        let expiration = variables.fill(&format!("{{iso{:+}}}", self.expires_secs));
        format!(r#"{{"expiration":"{expiration}","conditions":[{}]}}"#, conditions.join(","))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
