//! Thumbnails of the pictures in another bucket: `thumbnails ENDPOINT BUCKET [port]`.
//!
//! `PICTURES_ACCESS_KEY` and `PICTURES_SECRET_KEY` sign its requests; without them it asks as anybody may.

use std::error::Error;

use fallthrough_examples::thumbnails::Thumbnails;
use fallthrough_origin::serve;
use fallthrough_wire::sigv4::Credentials;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "thumbnails ENDPOINT BUCKET [port]";
    let (endpoint, bucket) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let port: u16 = arguments.next().map_or(Ok(8091), |port| port.parse())?;
    let credentials = match (std::env::var("PICTURES_ACCESS_KEY"), std::env::var("PICTURES_SECRET_KEY")) {
        (Ok(access_key), Ok(secret)) => Some(Credentials::new(access_key, secret)),
        (Err(_), Err(_)) => None,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => {
            return Err("PICTURES_ACCESS_KEY and PICTURES_SECRET_KEY belong together".into());
        }
    };
    // Each may hold an original in memory while it waits for a processor.
    let origin = serve(Thumbnails::of(&endpoint, &bucket, credentials)?).max_in_flight(16);
    let server = origin.bind(("127.0.0.1", port)).await?;
    println!("listening on {}", server.url());
    server.run().await;
    Ok(())
}
