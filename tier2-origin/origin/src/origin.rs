//! The trait that a program implements to stand behind a bucket.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use fallthrough_object::{ByteStream, ETag, Meta};

use crate::answer::Answer;
use crate::error::OriginError;
use crate::request::{ListRequest, Listing, Request};

/// Anything that can answer GetObject.
///
/// The server calls it, concurrently, from any task, at most as often at once as its admission allows. The
/// future is dropped when the caller goes away or the server's timeout has passed: whatever must outlive
/// that belongs to a task of the origin's own. A panic answers 500 to that one request.
///
/// The same bucket and key (and query, where it matters) should have the same bytes for as long as the ETag
/// is the same.
///
/// A closure or a function is an origin, too: `async fn hello(request: Request) -> Result<Answer, OriginError>`,
/// or any other type in place of `Answer` that turns into one.
#[async_trait]
pub trait Origin: Send + Sync + 'static {
    /// The object, or why there is none.
    ///
    /// # Errors
    /// [`OriginError`]; its variants say what the caller is told.
    async fn get(&self, request: &Request) -> Result<Answer, OriginError>;

    /// The headers that [`Origin::get`] would give. Unless implemented, `get` is asked and its body dropped
    /// unread: worth implementing where bodies are dear and headers cheap.
    ///
    /// # Errors
    /// The same as `get` would give: above all, never `NotFound` where `get` has an object.
    async fn head(&self, request: &Request) -> Result<Answer, OriginError> {
        self.get(request).await
    }

    /// A page of what exists. Unless implemented, the list is valid and empty: some programs probe it.
    ///
    /// # Errors
    /// [`OriginError`].
    async fn list(&self, request: &ListRequest) -> Result<Listing, OriginError> {
        let _ = request;
        Ok(Listing::default())
    }

    /// Keeps an object. The body is exactly as long as the client promised, or ends with an error, in which
    /// case nothing may be kept. When this returns `Ok`, the object must be safe.
    ///
    /// # Errors
    /// [`OriginError`]; unless implemented, [`OriginError::Unsupported`] without reading the body.
    async fn put(&self, request: &Request, upload: Upload) -> Result<Option<ETag>, OriginError> {
        let _ = (request, upload);
        Err(OriginError::Unsupported { operation: "PutObject" })
    }

    /// Removes an object; one that does not exist is removed already.
    ///
    /// # Errors
    /// [`OriginError`]; unless implemented, [`OriginError::Unsupported`].
    async fn delete(&self, request: &Request) -> Result<(), OriginError> {
        let _ = request;
        Err(OriginError::Unsupported { operation: "DeleteObject" })
    }

    /// Whether `get` honours [`Request::range`]. Unless it does, the server cuts the whole body itself.
    fn can_seek(&self) -> bool {
        false
    }
}

/// The body and the headers of a PUT.
pub struct Upload {
    /// The bytes as they arrive.
    pub body: ByteStream,
    /// How many they are.
    pub len_bytes: u64,
    /// Content headers and user metadata.
    pub meta: Meta,
}

#[async_trait]
impl<F, Fut, A> Origin for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, OriginError>> + Send + 'static,
    A: Into<Answer>,
{
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        // In two steps, so that `A`, which need not be `Send`, does not live across an await.
        let answering = self(request.clone());
        answering.await.map(Into::into)
    }
}

#[async_trait]
impl<O: Origin + ?Sized> Origin for Arc<O> {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        (**self).get(request).await
    }

    async fn head(&self, request: &Request) -> Result<Answer, OriginError> {
        (**self).head(request).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Listing, OriginError> {
        (**self).list(request).await
    }

    async fn put(&self, request: &Request, upload: Upload) -> Result<Option<ETag>, OriginError> {
        (**self).put(request, upload).await
    }

    async fn delete(&self, request: &Request) -> Result<(), OriginError> {
        (**self).delete(request).await
    }

    fn can_seek(&self) -> bool {
        (**self).can_seek()
    }
}
