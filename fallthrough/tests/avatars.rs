//! Avatars all the way: addresses as Gravatar and Libravatar have them, what is kept of them, and whether it is still
//! drawn as it was.

mod served;

use std::io::{Read, Write};

use served::{Served, fallthrough, run};

const HASH: &str = "27205e5c51cb03f862138b22bcb5dc20";

const SETTINGS: &str = "[origin.faces]\nkind = \"avatar\"\n\
    [origin.critters]\nkind = \"avatar\"\nstyle = \"critter\"\n\
    [bucket.avatar]\nmode = \"compute\"\npublic = \"read\"\npublic-fill = \"open\"\n\
    shadow = { origin = \"faces\", edition = \"v7\" }\n\
    [bucket.avatar.front]\nkind = \"gravatar\"\nown-pictures = true\nredirect-hosts = [\"img.example.org\"]\n\
    [bucket.animals]\nmode = \"compute\"\npublic = \"read\"\npublic-fill = \"open\"\n\
    shadow = { origin = \"critters\", edition = \"v1\" }\nfront = { kind = \"gravatar\", default = \"404\" }\n\
    [[route]]\nhost = \"avatars.example.org\"\npath = \"/avatar/\"\nbucket = \"avatar\"\n";

/// An answer of a server.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    /// Width and height of a PNG.
    #[expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
    fn png_size(&self) -> (u32, u32) {
        assert!(self.body.starts_with(b"\x89PNG"), "{} {}", self.status, self.head);
        let number = |at: usize| u32::from_be_bytes(self.body[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }
}

#[expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
fn get_at(served: &Served, host: &str, path: &str, more: &str) -> Answer {
    let mut socket =
        std::net::TcpStream::connect(served.text("s3").strip_prefix("http://").unwrap()).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

fn get(served: &Served, path: &str) -> Answer {
    get_at(served, "x", path, "")
}

fn serve(folder: &std::path::Path) -> Served {
    std::fs::write(folder.join("c.toml"), SETTINGS).expect("the folder can be written to");
    Served::serve(folder, &["--config", "c.toml"])
}

#[test]
fn addresses_are_answered_as_gravatar_and_libravatar_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = serve(folder.path());
    let first = get(&served, &format!("/avatar/{HASH}.png?s=128"));
    assert_eq!((first.status, first.header("x-cache"), first.png_size()), (200, "MISS", (128, 128)));
    assert_eq!(first.header("content-type"), "image/png");
    assert_eq!(first.header("cache-control"), "public, max-age=86400");
    assert_eq!(first.header("x-amz-meta-edition"), "v7");
    assert!(first.header("x-amz-meta-model").starts_with("painter/") && !first.header("etag").is_empty());

    // Any spelling and any further parameter is the same object.
    let upper = HASH.to_uppercase();
    let same = get(&served, &format!("/avatar/{upper}.png?size=128&r=pg&x=1"));
    assert_eq!((same.header("x-cache"), same.header("etag")), ("HIT", first.header("etag")));
    let again = get_at(
        &served,
        "avatars.example.org",
        &format!("/avatar/{HASH}.png?s=128"),
        &format!("If-None-Match: {}\r\n", first.header("etag")),
    );
    assert_eq!(again.status, 304);

    // Other sizes are made of what is here.
    let made = get(&served, &format!("/avatar/{HASH}.png?s=100"));
    assert_eq!((made.status, made.header("x-cache"), made.png_size()), (200, "HIT", (100, 100)));
    assert_ne!(made.header("etag"), first.header("etag"));
    assert_eq!(get(&served, &format!("/avatar/{HASH}.png?s=2048&d=mp")).png_size(), (2048, 2048));
    assert_eq!(get(&served, &format!("/avatar/{HASH}.png")).png_size(), (80, 80));
    assert!(
        get(&served, &format!("/avatar/{HASH}")).body.starts_with(&[0xff, 0xd8]),
        "JPEG without a suffix"
    );

    // Defaults, and where they may lead.
    assert_eq!(get(&served, &format!("/avatar/{HASH}?d=404")).status, 404);
    for word in ["identicon", "retro", "blank", "mm", "monsterid"] {
        let drawn = get(&served, &format!("/avatar/{HASH}.png?d={word}&s=80"));
        assert_eq!((drawn.status, drawn.png_size()), (200, (80, 80)), "{word}");
    }
    let far = get(&served, &format!("/avatar/{HASH}?d=https%3A%2F%2Fimg.example.org%2Fx.png"));
    assert_eq!((far.status, far.header("location")), (302, "https://img.example.org/x.png"));
    assert_eq!(get(&served, &format!("/avatar/{HASH}?d=https%3A%2F%2Fevil.example%2Fx.png")).status, 200);
    let forever = get(&served, &format!("/avatar/{HASH}?v=v7"));
    assert!(forever.header("cache-control").ends_with("immutable"), "{}", forever.head);
    for wrong in ["/avatar/27205e5c", &format!("/avatar/{HASH}x"), &format!("/avatar/{HASH}.gif")] {
        assert_eq!(get(&served, wrong).status, 404, "{wrong}");
    }

    // Another bucket, another style and another default.
    assert_eq!(get(&served, &format!("/animals/{HASH}")).status, 404);
    let animal = get(&served, &format!("/animals/{HASH}.png?d=gen&s=128"));
    assert!(animal.header("x-amz-meta-model").starts_with("painter-critter/"), "{}", animal.head);
    assert_ne!(animal.body, first.body);

    // Many addresses, few objects.
    let client = served::client::Client::of(&served);
    let listed = client.list("/avatar", "").expect("it answers").expect("it may list");
    assert!(
        listed.contains(&format!("{HASH}/128.png")) && listed.contains(&"any/1024.mp.png".to_owned()),
        "{listed:?}"
    );
    assert_eq!(listed.len(), 9, "{listed:?}");
    assert_eq!(served.stop("-TERM"), 0);
}

#[test]
fn an_audit_finds_drift_and_its_absence() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = serve(folder.path());
    for number in 0..3 {
        let hash = format!("{number}{}", &HASH[1..]);
        assert_eq!(get(&served, &format!("/avatar/{hash}.webp?s=128")).status, 200);
    }
    let secret = folder.path().join("secret");
    std::fs::write(&secret, served.text("secret_key")).expect("the folder can be written to");
    let audit = |more: &[&str]| {
        let mut command = fallthrough(folder.path());
        command.args([
            "avatar",
            "audit",
            "--endpoint",
            served.text("s3"),
            "--access-key",
            served.text("access_key"),
        ]);
        run(command.args(["--secret-key-file", "secret", "--json"]).args(more))
    };
    let same = audit(&[]);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    let told = same.json();
    assert_eq!((&told["avatars"], &told["verdicts"]["none"]), (&3.into(), &3.into()));
    assert_eq!(told["findings"][0]["edition"], "v7");
    assert_eq!(told["findings"][0]["kept_by"], told["findings"][0]["made_by"]);
    let drifted = audit(&["--style", "critter", "--sample", "2"]);
    assert_eq!(drifted.code, 1, "{}", drifted.out);
    assert!(drifted.err.contains("2 of 2 avatars have drifted"), "{}", drifted.err);
    let told = drifted.json();
    assert_eq!(told["findings"][0]["verdict"], "pixels");
    assert!(told["findings"][1]["differing"].as_f64().is_some_and(|share| share > 0.05), "{told}");
    let refused = audit(&["--access-key", "FTNOBODY"]);
    assert_ne!(refused.code, 0);
    let empty = audit(&["--bucket", "animals"]);
    assert_eq!(empty.code, 3, "{}", empty.err);
    assert_eq!(served.stop("-TERM"), 0);
}

#[test]
fn hashes_are_printed_plain_and_keyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let hash = |more: &[&str]| run(fallthrough(folder.path()).args(["avatar", "hash"]).args(more));
    let md5 = hash(&["--md5", " MyEmailAddress@example.com "]);
    assert_eq!((md5.code, md5.out.trim()), (0, "0bc83cb571cd1c50ba6f3e8a78ef1346"));
    assert_eq!(hash(&["a@b.c"]).out.trim().len(), 64);
    std::fs::write(folder.path().join("key"), "Jefe\n").expect("the folder can be written to");
    let keyed = hash(&["--key-file", "key", "what do ya want for nothing?"]);
    // RFC 4231, test case 2: the line's end is not part of the key.
    assert_eq!(keyed.out.trim(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let none = hash(&["--keyed", "a@b.c"]);
    assert!(none.code == 2 && none.err.contains("--key-file"), "{}", none.err);
}
