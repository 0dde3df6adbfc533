//! Sends a request on a connection of its own and reads the answer.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::accounts::Endpoint;
use crate::encode::Encoded;
use crate::reply::{Reply, ReplyReader};

/// Longest wait for an answer: a server that hangs then shows as a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends `request`. If it waits for `100 Continue`, the body is sent only when that came.
///
/// # Errors
/// There was no answer, or none in time.
pub(crate) async fn exchange(
    endpoint: &Endpoint,
    request: &Encoded,
    head_only: bool,
    waits_for_continue: bool,
) -> Result<Reply, String> {
    let exchanged = patiently(endpoint, request, head_only, waits_for_continue);
    match tokio::time::timeout(PATIENCE, exchanged).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn patiently(
    endpoint: &Endpoint,
    request: &Encoded,
    head_only: bool,
    waits_for_continue: bool,
) -> Result<Reply, String> {
    let connected = TcpStream::connect(endpoint.authority()).await;
    let mut socket =
        connected.map_err(|error| format!("cannot connect to {}: {error}", endpoint.authority()))?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    let (read, mut write) = socket.split();
    let mut reader = ReplyReader::new(read);
    write.write_all(&request.head).await.map_err(|error| format!("cannot send: {error}"))?;
    let mut continued = false;
    if waits_for_continue {
        let (status, headers) = reader.head().await?;
        if status != 100 {
            return finish(&mut reader, status, headers, head_only, false).await;
        }
        continued = true;
    }
    // Whoever refuses early may close before it has all of the body: its answer tells more than our error, and must
    // not be lost to a reset of the connection.
    let sending = async { drop(write.write_all(&request.body).await) };
    let answer = next(&mut reader, head_only, continued);
    tokio::pin!(answer);
    tokio::select! {
        biased;
        reply = &mut answer => reply,
        () = sending => answer.await,
    }
}

async fn next<S: AsyncRead + Unpin>(
    reader: &mut ReplyReader<S>,
    head_only: bool,
    continued: bool,
) -> Result<Reply, String> {
    let mut continued = continued;
    loop {
        let (status, headers) = reader.head().await?;
        if status != 100 {
            return finish(reader, status, headers, head_only, continued).await;
        }
        continued = true;
    }
}

async fn finish<S: AsyncRead + Unpin>(
    reader: &mut ReplyReader<S>,
    status: u16,
    headers: http::HeaderMap,
    head_only: bool,
    continued: bool,
) -> Result<Reply, String> {
    let (body, whole) = reader.body(status, &headers, head_only).await;
    Ok(Reply { status, headers, body, whole, continued })
}
