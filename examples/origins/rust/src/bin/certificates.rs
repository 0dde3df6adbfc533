//! Certificates as PDF, for keys with a seal: `certificates serve [port]`, `certificates key DATE COURSE NAME`.
//!
//! Both take the secret of the seals from `CERTIFICATE_SECRET`.

use std::error::Error;

use fallthrough_examples::certificates::{Certificate, Certificates};
use fallthrough_origin::serve;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let secret =
        std::env::var("CERTIFICATE_SECRET").map_err(|_| "set CERTIFICATE_SECRET: there is no default")?;
    let certificates = Certificates::sealed_with(secret.as_bytes())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["key", date, course, name] => {
            let certificate = Certificate::new(date, course, name).ok_or(
                "a date is 2026-11-26; course and name are at most 60 letters of Latin-1, without a slash",
            )?;
            println!("{}", certificates.key(&certificate));
            Ok(())
        }
        ["serve"] => run(certificates, 8093).await,
        ["serve", port] => run(certificates, port.parse()?).await,
        _ => Err("certificates serve [port], or certificates key DATE COURSE NAME".into()),
    }
}

async fn run(certificates: Certificates, port: u16) -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = serve(certificates).bind(("127.0.0.1", port)).await?;
    println!("listening on {}", server.url());
    server.run().await;
    Ok(())
}
