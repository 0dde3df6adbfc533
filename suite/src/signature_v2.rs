//! Signature Version 2, as far as it is still made by clients: presigned URLs and form policies
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_wire::uri;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::accounts::Account;

/// Parameters that are signed.
const SIGNED: [&str; 14] = [
    "acl",
    "location",
    "partNumber",
    "policy",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "tagging",
    "uploadId",
    "uploads",
    "versionId",
];

/// The signature of a text.
pub(crate) fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The query of a presigned URL: `parameters` (decoded) and the signature's own behind them.
pub(crate) fn presign(
    account: &Account,
    secret: &str,
    method: &str,
    raw_path: &str,
    parameters: &[(String, String)],
    expires: i64,
) -> String {
    let mut signed: Vec<String> = parameters
        .iter()
        .filter(|(name, _)| SIGNED.contains(&name.as_str()))
        .map(|(name, value)| if value.is_empty() { name.clone() } else { format!("{name}={value}") })
        .collect();
    signed.sort_unstable();
    let mut resource = raw_path.to_owned();
    if !signed.is_empty() {
        resource = format!("{resource}?{}", signed.join("&"));
    }
    let signature = sign(secret, &format!("{method}\n\n\n{expires}\n{resource}"));
    let mut query = String::new();
    for (name, value) in parameters {
        query.push_str(&format!("{}={}&", uri::encode_query(name), uri::encode_query(value)));
    }
    query.push_str(&format!(
        "AWSAccessKeyId={}&Expires={expires}&Signature={}",
        uri::encode_query(account.access_key()),
        uri::encode_query(&signature)
    ));
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of a query string in AWS's "Signing and authenticating REST requests".
    #[test]
    fn the_example_of_the_manual_is_reproduced() {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let text = "GET\n\n\n1175139620\n/johnsmith/photos/puppy.jpg";
        assert_eq!(sign(secret, text), "NpgCjnDzrM+WFzoENXmpNDUsSn8=");
        let account = Account::new("AK", secret, "us-east-1");
        let query = presign(&account, secret, "GET", "/johnsmith/photos/puppy.jpg", &[], 1_175_139_620);
        let signature = "NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D";
        assert_eq!(query, format!("AWSAccessKeyId=AK&Expires=1175139620&Signature={signature}"));
    }
}
