//! What a request at the gateway names.

use fallthrough_gateway::fuzzing::{address as read, blob_id_again, list_token_again};
use fallthrough_wire::uri::encode_path;
use http::request::Parts;

use crate::input::Input;

/// Lines: method, target, Host, a domain; then headers.
///
/// An object that is named can be named in either style; tokens and ids are what they say.
pub fn address(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (method, target, host, domain) = (input.line(), input.line(), input.line(), input.line());

    if let Some(again) = list_token_again(&target) {
        assert_eq!(again, target);
    }
    if let Some(again) = blob_id_again(&target) {
        assert!(again.eq_ignore_ascii_case(&target));
    }
    let Some(mut parts) = parts(&method, &target, &host) else { return };
    parts.headers.extend(input.headers());
    let domains = [domain];
    let Ok((named, operation)) = read(&domains, &parts) else { return };
    assert!(!operation.is_empty());
    let (Some(bucket), key) = &named else {
        assert_eq!(named, (None, None));
        return;
    };
    let key = key.as_ref().map(|key| encode_path(key.as_str())).unwrap_or_default();
    let by_path = self::parts("GET", &format!("/{bucket}/{key}"), "127.0.0.1:9000").expect("it is encoded");
    assert_eq!(read(&domains, &by_path).map(|(named, _)| named).as_ref(), Ok(&named));
    let by_host = self::parts("GET", &format!("/{key}"), &format!("{bucket}.localhost:9000"));
    assert_eq!(read(&[], &by_host.expect("it is encoded")).map(|(named, _)| named).as_ref(), Ok(&named));
}

fn parts(method: &str, target: &str, host: &str) -> Option<Parts> {
    let request = http::Request::builder().method(method).uri(target).header("host", host).body(()).ok()?;
    Some(request.into_parts().0)
}
