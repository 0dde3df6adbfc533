//! A whole origin. `curl http://127.0.0.1:8090/greetings/Ada`

use fallthrough_origin::{Answer, OriginError, Request, serve};

async fn hello(request: Request) -> Result<Answer, OriginError> {
    match request.key.as_str() {
        "nobody" => Err(OriginError::not_found()),
        name => Ok(format!("hello, {name}\n").into()),
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = serve(hello).bind("127.0.0.1:8090").await?;
    println!("listening on {}", server.url());
    server.run().await;
    Ok(())
}
