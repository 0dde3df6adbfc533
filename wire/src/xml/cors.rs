//! CORS rules of a bucket: the document, read and written.

use fallthrough_object::CorsRule;

use super::tree::{self, Element};
use super::write::XmlWriter;
use crate::error::{S3Code, S3Error};

/// Most rules of one bucket, as S3.
pub const CORS_RULES_MAX: usize = 100;
/// Largest document that is read, as S3: 64 KiB.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a rule.
const ID_CHARS_MAX: usize = 255;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// Reads a CORS configuration. What it holds can stand in headers as it is: nothing that would end a header line
/// gets in.
///
/// # Errors
/// `MalformedXML`; `InvalidRequest` and `InvalidArgument` for rules that S3 does not take.
pub fn parse_cors(document: &[u8]) -> Result<Vec<CorsRule>, S3Error> {
    let root = tree::parse(document, DOCUMENT_BYTES_MAX)?;
    let malformed = || S3Error::new(S3Code::MalformedXml);
    if root.name != "CORSConfiguration" {
        return Err(malformed());
    }
    let rules: Vec<&Element> = root.children_named("CORSRule").collect();
    if rules.is_empty() || rules.len() != root.children.len() {
        return Err(malformed());
    }
    if rules.len() > CORS_RULES_MAX {
        return Err(refused("The number of CORS rules should not exceed allowed limit of 100 rules."));
    }
    rules.into_iter().map(parse_rule).collect()
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3Code::InvalidRequest, message)
}

fn parse_rule(element: &Element) -> Result<CorsRule, S3Error> {
    let mut rule = CorsRule::default();
    for child in &element.children {
        let text = child.text.trim().to_owned();
        if text.bytes().any(|c| c.is_ascii_control()) {
            return Err(refused(format!("{} holds control characters.", child.name)));
        }
        match child.name.as_str() {
            "ID" if text.chars().count() > ID_CHARS_MAX => {
                let message = "ID length should not exceed allowed limit of 255";
                return Err(S3Error::with_message(S3Code::InvalidArgument, message));
            }
            "ID" => rule.id = Some(text),
            "AllowedOrigin" => rule.allowed_origins.push(pattern("AllowedOrigin", text)?),
            "AllowedMethod" if METHODS.contains(&text.as_str()) => rule.allowed_methods.push(text),
            "AllowedMethod" => {
                return Err(refused(format!(
                    "Found unsupported HTTP method in CORS config. Unsupported method is {text}"
                )));
            }
            "AllowedHeader" => rule.allowed_headers.push(pattern("AllowedHeader", text)?),
            "ExposeHeader" if text.contains('*') => {
                return Err(refused(format!(
                    "ExposeHeader \"{text}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
                )));
            }
            "ExposeHeader" => rule.expose_headers.push(text),
            "MaxAgeSeconds" => {
                let secs = text.parse().map_err(|_| S3Error::new(S3Code::MalformedXml))?;
                rule.max_age_secs = Some(secs);
            }
            _ => return Err(S3Error::new(S3Code::MalformedXml)),
        }
    }
    if rule.allowed_origins.is_empty() || rule.allowed_methods.is_empty() {
        return Err(S3Error::new(S3Code::MalformedXml));
    }
    Ok(rule)
}

fn pattern(name: &str, text: String) -> Result<String, S3Error> {
    match text.matches('*').count() {
        _ if text.is_empty() => Err(S3Error::new(S3Code::MalformedXml)),
        0 | 1 => Ok(text),
        _ => Err(refused(format!("{name} \"{text}\" can not have more than one wildcard."))),
    }
}

/// Writes a CORS configuration.
pub fn cors_document(rules: &[CorsRule]) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root("CORSConfiguration");
    for rule in rules {
        xml.open("CORSRule");
        xml.optional("ID", rule.id.as_deref());
        let lists = [
            ("AllowedMethod", &rule.allowed_methods),
            ("AllowedOrigin", &rule.allowed_origins),
            ("AllowedHeader", &rule.allowed_headers),
            ("ExposeHeader", &rule.expose_headers),
        ];
        for (name, values) in lists {
            values.iter().for_each(|value| xml.element(name, value));
        }
        if let Some(secs) = rule.max_age_secs {
            xml.number("MaxAgeSeconds", secs.into());
        }
        xml.close("CORSRule");
    }
    xml.close("CORSConfiguration");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(inner: &str) -> String {
        format!("<CORSConfiguration><CORSRule>{inner}</CORSRule></CORSConfiguration>")
    }

    const ENOUGH: &str = "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>";

    #[test]
    fn what_is_read_is_written_and_reads_back() {
        let text = rule(
            "<ID>a&amp;b</ID><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedOrigin>http://b</AllowedOrigin>\
             <AllowedMethod>PUT</AllowedMethod><AllowedMethod>HEAD</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader>\
             <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds>",
        );
        let rules = parse_cors(text.as_bytes()).unwrap();
        assert_eq!(rules[0].allowed_origins, ["https://*.example.com", "http://b"]);
        assert_eq!(rules[0].max_age_secs, Some(3000));
        assert_eq!(parse_cors(cors_document(&rules).as_bytes()).unwrap(), rules);
    }

    #[test]
    fn what_s3_does_not_take_is_refused() {
        let with = |more: &str| rule(&[ENOUGH, more].concat());
        let many = |count| {
            format!(
                "<CORSConfiguration>{}</CORSConfiguration>",
                format!("<CORSRule>{ENOUGH}</CORSRule>").repeat(count)
            )
        };
        let long = with(&format!("<ID>{}</ID>", "i".repeat(256)));
        let rows = [
            (String::new(), "MalformedXML"),
            ("<CORSConfiguration/>".into(), "MalformedXML"),
            ("<Other/>".into(), "MalformedXML"),
            (rule("<AllowedOrigin>*</AllowedOrigin>"), "MalformedXML"),
            (rule("<AllowedMethod>GET</AllowedMethod>"), "MalformedXML"),
            (with("<AllowedOrigin/>"), "MalformedXML"),
            (with("<MaxAgeSeconds>-1</MaxAgeSeconds>"), "MalformedXML"),
            (with("<Surprise/>"), "MalformedXML"),
            (with("<AllowedMethod>PATCH</AllowedMethod>"), "InvalidRequest"),
            (with("<AllowedMethod>get</AllowedMethod>"), "InvalidRequest"),
            (with("<AllowedOrigin>http://*.*</AllowedOrigin>"), "InvalidRequest"),
            (with("<AllowedHeader>*-*</AllowedHeader>"), "InvalidRequest"),
            (with("<ExposeHeader>*</ExposeHeader>"), "InvalidRequest"),
            (with("<ExposeHeader>a&#13;&#10;Set-Cookie: x</ExposeHeader>"), "InvalidRequest"),
            (with("<AllowedOrigin>a&#10;b</AllowedOrigin>"), "InvalidRequest"),
            (many(101), "InvalidRequest"),
            (long, "InvalidArgument"),
        ];
        for (text, code) in rows {
            assert_eq!(parse_cors(text.as_bytes()).unwrap_err().code.as_str(), code, "{text}");
        }
        assert_eq!(parse_cors(many(100).as_bytes()).unwrap().len(), 100);
    }
}
