//! Sends a request on a connection of its own and reads the answer.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

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
    in_time(async {
        let mut connection = Connection::open(endpoint).await?;
        connection.send(&request.head).await?;
        if waits_for_continue && !connection.is_to_go_on().await? {
            return connection.reply(head_only).await;
        }
        connection.send_and_read(&request.body, head_only).await
    })
    .await
}

/// Waits as long as is sensible for what a server does.
///
/// # Errors
/// It did not do so.
pub(crate) async fn in_time<T>(done: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, done).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// A connection for one request, for whoever sends or reads it in pieces. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: ReplyReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    /// A head that was read already.
    head: Option<(u16, http::HeaderMap)>,
    continued: bool,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let connected = TcpStream::connect(endpoint.authority()).await;
        let socket =
            connected.map_err(|error| format!("cannot connect to {}: {error}", endpoint.authority()))?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let (read, write) = socket.into_split();
        Ok(Self { reader: ReplyReader::new(read), write, head: None, continued: false })
    }

    /// Sends some bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.write.write_all(bytes).await.map_err(|error| format!("cannot send: {error}"))
    }

    /// Waits for the head of the answer.
    pub(crate) async fn head(&mut self) -> Result<(), String> {
        let head = self.reader.head().await?;
        self.head = Some(head);
        Ok(())
    }

    /// Waits for a head; whether it is `100 Continue`. Another one is that of the answer.
    async fn is_to_go_on(&mut self) -> Result<bool, String> {
        let (status, headers) = self.reader.head().await?;
        self.continued = status == 100;
        if !self.continued {
            self.head = Some((status, headers));
        }
        Ok(self.continued)
    }

    /// Sends the body and reads the answer meanwhile. Whoever refuses early may close before it has all of the body:
    /// its answer tells more than our error, and must not be lost to a reset of the connection.
    async fn send_and_read(self, body: &[u8], head_only: bool) -> Result<Reply, String> {
        let Self { reader, mut write, head, continued } = self;
        let sending = async { drop(write.write_all(body).await) };
        let answer = answer(reader, head, continued, head_only);
        tokio::pin!(answer);
        tokio::select! {
            biased;
            reply = &mut answer => reply,
            () = sending => answer.await,
        }
    }

    /// Reads the answer.
    pub(crate) async fn reply(self, head_only: bool) -> Result<Reply, String> {
        // Not dropped before the answer is there: a server may take half a connection for none.
        let Self { reader, write, head, continued } = self;
        let reply = answer(reader, head, continued, head_only).await;
        drop(write);
        reply
    }
}

async fn answer(
    mut reader: ReplyReader<OwnedReadHalf>,
    head: Option<(u16, http::HeaderMap)>,
    mut continued: bool,
    head_only: bool,
) -> Result<Reply, String> {
    let mut head = head;
    loop {
        let (status, headers) = match head.take() {
            Some(head) => head,
            None => reader.head().await?,
        };
        if status != 100 {
            let (body, whole) = reader.body(status, &headers, head_only).await;
            return Ok(Reply { status, headers, body, whole, continued });
        }
        continued = true;
    }
}
