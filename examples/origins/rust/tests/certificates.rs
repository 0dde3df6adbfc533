//! Certificates: the file as a reader of PDF takes it apart, and whose keys are answered.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use fallthrough_examples::certificates::{Certificate, Certificates};
use fallthrough_examples::pdf::string;
use fallthrough_origin::conformance::{Options, Outcome, conformance_of};

const SECRET: &[u8] = b"thirty-two bytes that nobody has";

fn ada() -> Certificate {
    Certificate::new("2026-11-26", "First aid", "Ada L\u{f6}velace (O'Neil \\ <b>)").unwrap()
}

fn number(text: &str) -> usize {
    assert!(!text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()), "{text:?}");
    text.parse().unwrap()
}

/// The objects of a PDF, found through its table alone, in their order. Strict: every byte has its place.
fn objects(file: &[u8]) -> Vec<String> {
    assert!(file.starts_with(b"%PDF-1.4\n%"));
    // Latin-1: one character for each byte, so that offsets stay what they are.
    let text: Vec<char> = file.iter().map(|byte| char::from(*byte)).collect();
    let from = |at: usize| text[at..].iter().collect::<String>();
    let whole = from(0);
    let (_, end) = whole.rsplit_once("startxref\n").unwrap();
    let table_at = number(end.strip_suffix("\n%%EOF\n").unwrap());
    let table = from(table_at);
    let (entries, trailer) = table.split_once("trailer\n").unwrap();
    let (head, entries) = entries.strip_prefix("xref\n0 ").unwrap().split_once('\n').unwrap();
    let count = number(head);
    assert_eq!(trailer.lines().next(), Some(&*format!("<< /Size {count} /Root 1 0 R >>")));
    assert_eq!(entries.len(), 20 * count, "an entry is twenty bytes long");
    assert_eq!(&entries[..20], "0000000000 65535 f \n");
    let mut expected_at = 15; // Behind the header.
    let mut found = Vec::new();
    for index in 1..count {
        let entry = &entries[20 * index..20 * (index + 1)];
        assert_eq!(&entry[10..], " 00000 n \n");
        let at = number(&entry[..10]);
        assert_eq!(at, expected_at, "objects follow each other");
        let object = from(at);
        let (body, _) = object.split_once("\nendobj\n").unwrap();
        expected_at = at + body.chars().count() + "\nendobj\n".len();
        found.push(body.strip_prefix(&format!("{index} 0 obj\n")).unwrap().to_owned());
    }
    assert_eq!(expected_at, table_at, "nothing stands between the last object and the table");
    found
}

#[test]
fn a_certificate_is_a_sound_pdf_and_says_what_its_key_says() {
    let file = ada().pdf();
    let objects = objects(&file);
    assert_eq!(objects.len(), 6);
    assert!(objects[0].contains("/Type /Catalog /Pages 2 0 R"));
    assert!(objects[1].contains("/Kids [3 0 R] /Count 1"));
    assert!(objects[2].contains("/Contents 4 0 R") && objects[2].contains("/F1 5 0 R /F2 6 0 R"));
    let (head, rest) = objects[3].split_once("\nstream\n").unwrap();
    let content = rest.strip_suffix("\nendstream").unwrap();
    assert_eq!(head, format!("<< /Length {} >>", content.len()));
    let texts: Vec<String> = content
        .split('<')
        .skip(1)
        .map(|piece| {
            let (digits, rest) = piece.split_once('>').unwrap();
            assert!(rest.starts_with(" Tj"));
            (0..digits.len() / 2)
                .map(|at| char::from(u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()))
                .collect()
        })
        .collect();
    let said = [
        "Certificate",
        "This is to certify that",
        "Ada L\u{f6}velace (O'Neil \\ <b>)",
        "has completed",
        "First aid",
        "2026-11-26",
    ];
    assert_eq!(texts, said);
    assert_eq!(file, ada().pdf(), "the same key has the same bytes");
}

#[test]
fn the_longest_name_fits_onto_the_page() {
    let name = "W".repeat(60);
    let file = Certificate::new("2026-11-26", &name, &name).unwrap().pdf();
    let content = objects(&file)[3].clone();
    let mut lines = 0;
    for line in content.lines().filter(|line| line.starts_with("BT ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let (size, left): (f64, f64) = (words[2].parse().unwrap(), words[4].parse().unwrap());
        let characters = (words[7].len() - 2) / 2;
        let right = left + 0.6 * size * characters as f64;
        assert!(left >= 70.0 && right <= 842.0 - 70.0, "{line}");
        assert!((left + right - 842.0).abs() < 0.5, "in the middle: {line}");
        lines += 1;
    }
    assert_eq!(lines, 6);
}

#[test]
fn only_what_can_be_printed_is_certified() {
    for day in [
        "2026-02-29",
        "2026-04-31",
        "2026-13-01",
        "2026-00-10",
        "2026-1-1",
        "26-11-2026",
        "2026-11-00",
        "1900-02-29",
    ] {
        assert_eq!(Certificate::new(day, "a", "b"), None, "{day}");
    }
    assert!(
        Certificate::new("2024-02-29", "a", "b").is_some()
            && Certificate::new("2000-02-29", "a", "b").is_some()
    );
    for text in ["", " a", "a ", "a/b", "line\nbreak", "\u{436}", "\u{1f600}", "\u{80}", &"x".repeat(61)] {
        assert_eq!(Certificate::new("2026-11-26", text, "b"), None, "{text:?}");
        assert_eq!(Certificate::new("2026-11-26", "a", text), None, "{text:?}");
    }
    assert_eq!(string("a\u{fc}").as_deref(), Some("<61fc>"));
}

#[test]
fn only_sealed_keys_are_answered() {
    let certificates = Certificates::sealed_with(SECRET).unwrap();
    let key = certificates.key(&ada());
    assert_eq!(certificates.parse(&key), Some(ada()));
    let (start, seal) = key.rsplit_once('/').unwrap();
    let other_digit = if seal.starts_with('0') { "1" } else { "0" };
    for forged in [
        key.replace("Ada", "Eve"),
        key.replace("2026", "2025"),
        format!("{start}/{other_digit}{}", &seal[1..]),
        format!("{start}/{}.pdf", &seal[..30]),
        format!("{start}/{}", seal.to_uppercase().replace(".PDF", ".pdf")),
        format!("{start}/.pdf"),
        key.replace(".pdf", ""),
        format!("{start}/more/{seal}"),
        key.replacen('/', "//", 1),
        certificates.key(&ada()).replace("First aid/", ""),
    ] {
        assert_eq!(certificates.parse(&forged), None, "{forged}");
    }
    let others = Certificates::sealed_with(b"thirty-two bytes that others have").unwrap();
    assert_eq!(others.parse(&key), None);
    assert!(Certificates::sealed_with(b"too short").is_err());
}

#[tokio::test]
async fn certificates_keep_the_contract() {
    let certificates = Certificates::sealed_with(SECRET).unwrap();
    let key = certificates.key(&ada());
    let options = Options {
        bucket: "certificates".to_owned(),
        impossible_key: Some(key.replace("Ada", "Eve")),
        key,
        ..Options::default()
    };
    let report = conformance_of(certificates, &options).await.unwrap();
    assert!(report.passed(), "{report}");
    for name in ["digests", "again", "head", "conditional", "impossible", "odd-keys", "decoding"] {
        assert_eq!(report.check(name).unwrap().outcome, Outcome::Ok, "{name}:\n{report}");
    }
}
