//! Map tiles of the places in a file: `tiles PLACES.csv [port]`.

use std::error::Error;

use fallthrough_examples::tiles::Tiles;
use fallthrough_origin::serve;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let places = arguments.next().ok_or("tiles PLACES.csv [port]")?;
    let port: u16 = arguments.next().map_or(Ok(8092), |port| port.parse())?;
    let tiles = Tiles::of_csv(&std::fs::read_to_string(&places)?)
        .map_err(|invalid| format!("{places}: {invalid}"))?;
    let server = serve(tiles).bind(("127.0.0.1", port)).await?;
    println!("listening on {}", server.url());
    server.run().await;
    Ok(())
}
