//! Removes a bucket with everything in it, as far as the server lets us.

use fallthrough_object::Timestamp;
use fallthrough_wire::uri;

use crate::call::{Call, call};
use crate::expect::{document, texts_at};
use crate::reply::Reply;
use crate::report::{Failure, Result};
use crate::variables::Variables;

/// Most pages that are deleted: far more than any case fills.
const PAGES_MAX: usize = 100;

/// Deletes objects, ends uploads, deletes the bucket. A bucket that is not there is no failure.
///
/// # Errors
/// The bucket is still there.
pub(crate) async fn empty(name: &str, ask: impl AsyncFn(Call, Variables) -> Result<Reply>) -> Result<()> {
    let mut variables = Variables::new(Timestamp(0));
    variables.set("bucket", name);
    let send = async |call: Call| ask(call, variables.clone()).await;
    for _ in 0..PAGES_MAX {
        let gone = send(call("DELETE", "/{bucket}")).await?;
        if matches!(gone.status, 200 | 204 | 404) {
            return Ok(());
        }
        if gone.status != 409 {
            return Err(Failure(format!("the bucket {name} stays: status {} {}", gone.status, gone.code())));
        }
        end_uploads(&send).await?;
        let page = send(call("GET", "/{bucket}").query("list-type=2&encoding-type=url")).await?;
        let Ok(document) = document(&page) else { continue };
        for key in texts_at(&document, "Contents/Key") {
            let key = uri::decode_plus(&key).map_err(|error| Failure(error.to_string()))?;
            send(call("DELETE", format!("/{{bucket}}/{key}"))).await?;
        }
    }
    Err(Failure(format!("the bucket {name} cannot be emptied")))
}

async fn end_uploads(send: &impl AsyncFn(Call) -> Result<Reply>) -> Result<()> {
    let page = send(call("GET", "/{bucket}").query("uploads&encoding-type=url")).await?;
    let Ok(document) = document(&page) else { return Ok(()) };
    for upload in document.children_named("Upload") {
        let key = uri::decode_plus(upload.child_text("Key").unwrap_or_default());
        let key = key.map_err(|error| Failure(error.to_string()))?;
        let id = upload.child_text("UploadId").unwrap_or_default();
        send(call("DELETE", format!("/{{bucket}}/{key}")).param("uploadId", id)).await?;
    }
    Ok(())
}
