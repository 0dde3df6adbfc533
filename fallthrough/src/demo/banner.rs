//! What the demo tells when it is ready.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// Everything that is told.
#[derive(Clone, Debug)]
pub(super) struct Banner<'a> {
    /// Addresses as a client on this machine uses them, without a slash at the end.
    pub(super) s3: &'a str,
    pub(super) admin: &'a str,
    pub(super) origin: &'a str,
    pub(super) model: &'a str,
    /// What draws, such as `painter`.
    pub(super) engine: &'a str,
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) data: &'a Path,
    /// From the start of the command until all listeners accepted.
    pub(super) took: Duration,
    /// A key that nobody has asked for yet, so that the first answer is a MISS.
    pub(super) fresh_key: &'a str,
    /// Whether the text goes to a terminal that takes colours.
    pub(super) colors: bool,
    /// With `--share`: the page as other devices reach it, or why they cannot.
    pub(super) shared: Option<&'a Result<SocketAddr, String>>,
}

impl Banner<'_> {
    /// The same as one line of JSON, for programs; a ready file is safer, since only its owner can read it.
    pub(super) fn json(&self) -> String {
        let shared = match self.shared {
            Some(Ok(address)) => Some(format!("http://{address}/_demo")),
            Some(Err(_)) | None => None,
        };
        serde_json::json!({
            "s3": self.s3,
            "admin": self.admin,
            "demo": format!("{}/_demo", self.s3),
            "origin": self.origin,
            "model": self.model,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "data": self.data.display().to_string(),
            "shared": shared,
        })
        .to_string()
    }

    /// The text, ending with a line feed.
    pub(super) fn text(&self) -> String {
        let Self { s3, admin, origin, model, engine, access_key, secret_key, fresh_key, .. } = self;
        let (took, data) = (self.took.as_millis(), self.data.display());
        let mut text = format!(
            "\
Fallthrough demo, ready in {took} ms. All its data is in {data}; Ctrl-C stops it.

  Demo page         {s3}/_demo

  Three tiers, each a server
    1 buckets       {s3}   (admin API and metrics: {admin})
    2 avatar origin {origin}   (S3 GetObject, signed)
    3 image model   {model}   (txt2img API: {engine})

  Buckets
    avatar          compute, public read: falls through to 2, which asks 3
    scratch         plain: falls through to nothing, for you to try

  A MISS the first time, a HIT the second
    for i in 1 2; do curl -so avatar.jpg -D - {s3}/avatar/{fresh_key} | grep -i x-cache; done

  For S3 clients
    export AWS_ENDPOINT_URL_S3={s3}
    export AWS_ACCESS_KEY_ID={access_key}
    export AWS_SECRET_ACCESS_KEY={secret_key}
    export AWS_REGION=us-east-1
    aws s3 cp avatar.jpg s3://scratch/ && aws s3 ls s3://scratch/
"
        );
        match self.shared {
            None => {}
            Some(Ok(address)) => share(&mut text, *address, self.colors),
            Some(Err(why)) => {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "\n  Not shared: {why}");
            }
        }
        text
    }
}

fn share(text: &mut String, address: SocketAddr, colors: bool) {
    let url = format!("http://{address}/_demo");
    let _ = writeln!(
        text,
        "\n  On other devices in this network: {url}   (avatars only; keys are taken from this machine alone)\n"
    );
    // Black on white whatever the terminal's own colours are: not every camera reads an inverted code.
    let (on, off) = if colors { ("\x1b[38;5;16;48;5;231m", "\x1b[0m") } else { ("", "") };
    // A page's address is far below what a QR code holds; without one the address above is enough.
    if let Ok(code) = QrCode::new(url.as_bytes()) {
        for line in code.render::<Dense1x2>().quiet_zone(true).build().lines() {
            let _ = writeln!(text, "    {on}{line}{off}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner<'a>(shared: Option<&'a Result<SocketAddr, String>>) -> Banner<'a> {
        Banner {
            s3: "http://127.0.0.1:9900",
            admin: "http://127.0.0.1:9901",
            origin: "http://127.0.0.1:41000",
            model: "http://127.0.0.1:41001",
            engine: "painter",
            access_key: "FTDEMO",
            secret_key: "secret",
            data: Path::new("./fallthrough-demo"),
            took: Duration::from_millis(120),
            fresh_key: "00112233445566778899aabbccddeeff",
            colors: false,
            shared,
        }
    }

    #[test]
    fn everything_needed_to_go_on_is_there() {
        let text = banner(None).text();
        for needed in [
            "http://127.0.0.1:9900/_demo",
            "http://127.0.0.1:9901",
            "http://127.0.0.1:41000",
            "http://127.0.0.1:41001",
            "export AWS_ENDPOINT_URL_S3=http://127.0.0.1:9900\n",
            "export AWS_ACCESS_KEY_ID=FTDEMO\n",
            "export AWS_SECRET_ACCESS_KEY=secret\n",
            "export AWS_REGION=us-east-1\n",
            "/avatar/00112233445566778899aabbccddeeff",
            "falls through to",
            "./fallthrough-demo",
        ] {
            assert!(text.contains(needed), "{needed} is missing in:\n{text}");
        }
    }

    #[test]
    fn sharing_shows_an_address_and_a_code_or_says_why_not() {
        let address = Ok(SocketAddr::from(([192, 168, 1, 20], 9900)));
        let text = banner(Some(&address)).text();
        assert!(text.contains("http://192.168.1.20:9900/_demo"));
        assert!(text.contains('█') && text.contains('▀'));
        assert!(!text.contains('\x1b'));
        let none = Err("this machine is in no network".to_owned());
        assert!(banner(Some(&none)).text().contains("Not shared: this machine is in no network"));
    }
}
