//! The signature of a POST form: what is signed is the form's policy, as it stands in the form.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html>. Its time is bounded by the
//! policy's expiration, which whoever reads the policy must hold it to. Forms of version 2 are read as well: many are
//! still made, and they promise the same, an HMAC over the policy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method};
use sha1::Sha1;

use super::key::Scope;
use super::present::{Fields, Unsigned};
use super::{ALGORITHM, AuthError, AuthPlace, Presented, Secret, Signer, VerifyPolicy};
use crate::payload::PayloadMode;
use crate::{date, hex};

/// The fields of a form that say who made it, as they came.
#[derive(Clone, Copy, Debug)]
pub enum FormClaim<'a> {
    /// `x-amz-algorithm`, `x-amz-credential`, `x-amz-date` and `x-amz-signature`.
    V4 {
        /// `AWS4-HMAC-SHA256`.
        algorithm: &'a str,
        /// `access-key/date/region/s3/aws4_request`.
        credential: &'a str,
        /// `YYYYMMDDTHHMMSSZ`.
        date: &'a str,
        /// 64 lower-case hex digits.
        signature: &'a str,
    },
    /// `AWSAccessKeyId` and `signature`.
    V2 {
        /// The access key.
        access_key: &'a str,
        /// Base64 of an HMAC-SHA-1.
        signature: &'a str,
    },
}

impl Presented {
    /// Reads the claim of a form. `policy_base64` is the form's field `policy`, byte for byte.
    ///
    /// # Errors
    /// [`AuthError::QueryMalformed`], [`AuthError::BadDate`], [`AuthError::NotYetValid`], [`AuthError::SigV4A`].
    pub fn of_form(
        claim: FormClaim<'_>,
        policy_base64: &str,
        now: Timestamp,
        policy: &VerifyPolicy,
    ) -> Result<Self, AuthError> {
        let (algorithm, credential, amz_date, signature) = match claim {
            FormClaim::V4 { algorithm, credential, date, signature } => {
                (algorithm, credential, date, signature)
            }
            FormClaim::V2 { access_key, signature } => return legacy(access_key, signature, policy_base64),
        };
        let fields = Fields { place: AuthPlace::Form, credential, signed_headers: "", signature };
        match algorithm {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SigV4A),
            _ => return Err(fields.malformed("x-amz-algorithm only supports \"AWS4-HMAC-SHA256\"")),
        }
        let at = date::parse_amz(amz_date).ok_or(AuthError::BadDate)?;
        if at.since(now) > policy.skew_max {
            return Err(AuthError::NotYetValid);
        }
        let headers = HeaderMap::new();
        let form =
            Unsigned { method: &Method::POST, raw_path: "", raw_query: "", headers: &headers, now, policy };
        let (access_key, scope) = form.credential(&fields, amz_date)?;
        let signature = hex::decode32(signature.as_bytes())
            .ok_or_else(|| fields.malformed("the signature must be 64 lower-case hex digits"))?;
        Ok(Self {
            access_key,
            scope,
            place: AuthPlace::Form,
            payload: PayloadMode::Unsigned,
            amz_date: amz_date.to_owned(),
            string_to_sign: policy_base64.to_owned(),
            string_to_sign_alternative: None,
            signature,
            legacy: None,
        })
    }
}

fn legacy(access_key: &str, signature: &str, policy_base64: &str) -> Result<Presented, AuthError> {
    let malformed = |what: &str| AuthError::QueryMalformed { what: what.to_owned(), region: None };
    let decoded = STANDARD.decode(signature.trim()).ok();
    let signature = decoded.and_then(|bytes| bytes.try_into().ok());
    let signature = signature.ok_or_else(|| malformed("the signature must be the base64 of 20 bytes"))?;
    if access_key.is_empty() {
        return Err(malformed("AWSAccessKeyId is empty"));
    }
    Ok(Presented {
        access_key: access_key.to_owned(),
        scope: Scope { date: String::new(), region: String::new(), service: "s3".to_owned() },
        place: AuthPlace::Form,
        payload: PayloadMode::Unsigned,
        amz_date: String::new(),
        string_to_sign: policy_base64.to_owned(),
        string_to_sign_alternative: None,
        signature: [0; 32],
        legacy: Some(signature),
    })
}

pub(super) fn sign_legacy(secret: &Secret, text: &str) -> [u8; 20] {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// What a form needs besides its policy: the policy's conditions must name the first three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormFields {
    /// `x-amz-algorithm`.
    pub algorithm: &'static str,
    /// `x-amz-credential`.
    pub credential: String,
    /// `x-amz-date`.
    pub date: String,
}

impl Signer {
    /// The fields of a form that is made now.
    pub fn form_fields(&self, now: Timestamp) -> FormFields {
        let date = date::format_amz(now);
        let (scope, _) = self.key(&date);
        FormFields { algorithm: ALGORITHM, credential: format!("{}/{scope}", self.access_key()), date }
    }

    /// `x-amz-signature` of a form that is made now with this policy.
    pub fn sign_policy(&self, policy_base64: &str, now: Timestamp) -> String {
        let (_, key) = self.key(&date::format_amz(now));
        let mut text = String::new();
        hex::push32(&mut text, &key.sign(policy_base64.as_bytes()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::Credentials;

    /// The example of AWS's documentation of forms.
    #[test]
    fn the_documented_signature() {
        let policy = concat!(
            "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6",
            "ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFj",
            "bCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tl",
            "dC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5",
            "cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZl",
            "ci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoN",
            "CiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVx",
            "dWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAx",
            "NTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9",
        );
        let signer = Signer::new(
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            "us-east-1",
        );
        let now = date::parse_amz("20151229T000000Z").unwrap();
        let signature = signer.sign_policy(policy, now);
        assert_eq!(signature, "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e");
        let fields = signer.form_fields(now);
        let claim = FormClaim::V4 {
            algorithm: fields.algorithm,
            credential: &fields.credential,
            date: &fields.date,
            signature: &signature,
        };
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let read = |policy: &str| Presented::of_form(claim, policy, now, &VerifyPolicy::default()).unwrap();
        assert_eq!(read(policy).verify((), &secret, None).unwrap().place(), AuthPlace::Form);
        assert!(matches!(read("e30=").verify((), &secret, None), Err(AuthError::Mismatch { .. })));
        let other = Secret::new("other".to_owned());
        assert!(read(policy).verify((), &other, None).is_err());
    }

    #[test]
    fn forms_of_version_2_are_held_to_their_policy() {
        let secret = Secret::new("s".to_owned());
        let signature = STANDARD.encode(sign_legacy(&secret, "e30="));
        let read = |policy: &str, signature: &str| {
            let claim = FormClaim::V2 { access_key: "a", signature };
            Presented::of_form(claim, policy, Timestamp(0), &VerifyPolicy::default())
        };
        assert!(read("e30=", &signature).unwrap().verify((), &secret, None).is_ok());
        assert!(read("e31=", &signature).unwrap().verify((), &secret, None).is_err());
        assert!(read("e30=", "AAAA").is_err() && read("e30=", "!").is_err());
    }

    #[test]
    fn what_is_not_a_claim_is_refused() {
        let now = date::parse_amz("20151229T000000Z").unwrap();
        let (good, hex) = ("k/20151229/r/s3/aws4_request", "0".repeat(64));
        let rows = [
            ("AWS4-HMAC-SHA1", good, "20151229T000000Z", hex.as_str()),
            ("AWS4-ECDSA-P256-SHA256", good, "20151229T000000Z", &hex),
            (ALGORITHM, "k/20151229/r/iam/aws4_request", "20151229T000000Z", &hex),
            (ALGORITHM, "k/20151228/r/s3/aws4_request", "20151229T000000Z", &hex),
            (ALGORITHM, "20151229/r/s3/aws4_request", "20151229T000000Z", &hex),
            (ALGORITHM, good, "yesterday", &hex),
            (ALGORITHM, good, "20151229T001501Z", &hex),
            (ALGORITHM, good, "20151229T000000Z", "00"),
        ];
        for (algorithm, credential, date, signature) in rows {
            let claim = FormClaim::V4 { algorithm, credential, date, signature };
            let read = Presented::of_form(claim, "e30=", now, &VerifyPolicy::default());
            assert!(read.is_err(), "{claim:?}");
        }
    }
}
