//! The proof, and the type that only the proof makes.

use fallthrough_object::{Mutant, planted};
use subtle::ConstantTimeEq;

use super::key::{ChunkChain, Scope, SigningKey, SigningKeyCache};
use super::{AuthError, AuthPlace, Presented, Secret};
use crate::hex;
use crate::payload::PayloadMode;

/// A request whose signature was verified as that of `P`. Handlers take it, so that none of them can be
/// reached without the check: there is no other constructor than [`Presented::verify`] and
/// [`super::PresentedV2::verify`].
///
/// ```compile_fail,E0451
/// fn forge(proof: fallthrough_wire::Verified<&str>) -> fallthrough_wire::Verified<&str> {
///     fallthrough_wire::Verified { principal: "somebody else", ..proof }
/// }
/// ```
#[derive(Debug)]
pub struct Verified<P> {
    principal: P,
    access_key: String,
    place: AuthPlace,
    payload: PayloadMode,
    chain: ChunkChain,
    is_v2: bool,
}

impl Presented {
    /// Checks the signature with the secret of [`Presented::access_key`], which belongs to `principal`.
    /// The comparison takes the same time wherever the signatures differ.
    ///
    /// With `keys`, the key is derived once for a secret, day and region.
    ///
    /// # Errors
    /// [`AuthError::Mismatch`].
    pub fn verify<P>(
        self,
        principal: P,
        secret: &Secret,
        keys: Option<&SigningKeyCache>,
    ) -> Result<Verified<P>, AuthError> {
        if let Some(signature) = self.legacy {
            return self.verify_legacy(principal, secret, signature);
        }
        if let Some(key) = keys.and_then(|keys| keys.get(secret, &self.scope)) {
            return self.verify_with(principal, key);
        }
        let key = SigningKey::derive(secret, &self.scope);
        let scope = keys.map(|_| self.scope.clone());
        let verified = self.verify_with(principal, key.clone())?;
        if let (Some(keys), Some(scope)) = (keys, scope) {
            keys.insert(secret, &scope, key);
        }
        Ok(verified)
    }

    fn verify_legacy<P>(
        self,
        principal: P,
        secret: &Secret,
        signature: [u8; 20],
    ) -> Result<Verified<P>, AuthError> {
        let right = super::form::sign_legacy(secret, &self.string_to_sign);
        if !bool::from(right.as_slice().ct_eq(signature.as_slice())) && !planted(Mutant::SignatureUnchecked) {
            return Err(AuthError::Mismatch {
                string_to_sign: self.string_to_sign,
                access_key: self.access_key,
                signature: String::new(),
            });
        }
        // A form has no chunks: its chain is never asked.
        let key = SigningKey::derive(secret, &self.scope);
        Ok(Verified {
            principal,
            access_key: self.access_key,
            place: self.place,
            payload: self.payload,
            chain: ChunkChain::new(key, self.amz_date, self.scope, self.signature),
            is_v2: false,
        })
    }

    fn verify_with<P>(self, principal: P, key: SigningKey) -> Result<Verified<P>, AuthError> {
        let matches =
            |text: &String| bool::from(key.sign(text.as_bytes()).as_slice().ct_eq(self.signature.as_slice()));
        if !matches(&self.string_to_sign)
            && !self.string_to_sign_alternative.as_ref().is_some_and(matches)
            && !planted(Mutant::SignatureUnchecked)
        {
            let mut signature = String::new();
            hex::push32(&mut signature, &self.signature);
            return Err(AuthError::Mismatch {
                string_to_sign: self.string_to_sign,
                access_key: self.access_key,
                signature,
            });
        }
        Ok(Verified {
            principal,
            access_key: self.access_key,
            place: self.place,
            payload: self.payload,
            chain: ChunkChain::new(key, self.amz_date, self.scope, self.signature),
            is_v2: false,
        })
    }
}

impl<P> Verified<P> {
    /// Of a presigned URL of version 2, whose signature matches. Chunks of its body are never signed.
    pub(super) fn by_v2(principal: P, access_key: String, secret: &Secret, payload: PayloadMode) -> Self {
        let scope = Scope { date: String::new(), region: String::new(), service: String::new() };
        let key = SigningKey::derive(secret, &scope);
        Self {
            principal,
            access_key,
            place: AuthPlace::Query,
            payload,
            chain: ChunkChain::new(key, String::new(), scope, [0; 32]),
            is_v2: true,
        }
    }

    /// Whether it was signed with version 2, which covers less of a query than version 4 does.
    pub fn is_v2(&self) -> bool {
        self.is_v2
    }

    /// Whose request it is.
    pub fn principal(&self) -> &P {
        &self.principal
    }

    /// The access key that signed it.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Where the signature stood.
    pub fn place(&self) -> AuthPlace {
        self.place
    }

    /// How the body is protected; the caller must hold it to that.
    pub fn payload(&self) -> PayloadMode {
        self.payload
    }

    /// The scope that was signed for.
    pub fn scope(&self) -> &Scope {
        self.chain.scope()
    }

    /// The chain that verifies signed chunks, begun with this request's signature.
    pub fn chunk_chain(&self) -> ChunkChain {
        self.chain.clone()
    }
}
