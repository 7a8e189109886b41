//! Keys, each made for one algorithm, and the choice among them.

use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier as _;
use rsa::pkcs1v15;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, RsaPublicKey};
use sha2::Sha256;

use crate::config::Algorithm;
use crate::identity::TokenError;

/// Signatures that are verified for one token at most: what a bad token costs.
/// Two, so that an old and a new key may both be without a name.
pub const MAX_TRIED: usize = 2;

/// Below, a modulus can be factored one day (RFC 7518 section 3.3); above,
/// verifying could break the CPU budget of a call.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// RFC 7518 section 3.2: no shorter than the hash.
const MIN_SECRET: usize = 32;

/// A key with what chooses it.
pub struct Key {
    pub kid: Option<String>,
    pub key: VerifyingKey,
}

/// A key, parsed, and with it the algorithm.
pub enum VerifyingKey {
    /// With the key already mixed in: cloned for each token.
    Hs256(Hmac<Sha256>),
    Rs256(pkcs1v15::VerifyingKey<Sha256>),
    Es256(p256::ecdsa::VerifyingKey),
    EdDsa(ed25519_dalek::VerifyingKey),
}

impl VerifyingKey {
    /// HS256 with this secret.
    pub fn from_secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < MIN_SECRET {
            return Err(format!(
                "expected a secret of at least {MIN_SECRET} bytes, found {}",
                secret.len()
            ));
        }
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Ok(Self::Hs256(mac))
    }

    /// RS256 with this modulus and exponent, big-endian.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let modulus = BoxedUint::from_be_slice_vartime(modulus);
        let exponent = BoxedUint::from_be_slice_vartime(exponent);
        check_bits(modulus.bits_vartime() as usize)?;
        let key = RsaPublicKey::new_with_size_limits(modulus, exponent, RSA_BITS)
            .map_err(|error| format!("not a usable RSA key: {error}"))?;
        Ok(Self::Rs256(pkcs1v15::VerifyingKey::new(key)))
    }

    /// ES256 with the point of these coordinates.
    pub fn from_p256(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, String> {
        let point = p256::Sec1Point::from_affine_coordinates(x.into(), y.into(), false);
        p256::ecdsa::VerifyingKey::from_sec1_point(&point)
            .map(Self::Es256)
            .map_err(|_| "not a point of P-256".into())
    }

    /// EdDSA with this public key.
    pub fn from_ed25519(public: &[u8; 32]) -> Result<Self, String> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public)
            .map_err(|_| "not a public key of Ed25519".to_owned())?;
        if key.is_weak() {
            return Err("a weak Ed25519 key, with which anything verifies".into());
        }
        Ok(Self::EdDsa(key))
    }

    /// A public key in PEM, for an algorithm that has public keys.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, String> {
        if pem.contains("PRIVATE KEY") {
            return Err("this is a private key: give the public key only".into());
        }
        let wrong = || {
            format!(
                "expected a public key for {} in PEM (BEGIN PUBLIC KEY)",
                algorithm.name()
            )
        };
        match algorithm {
            Algorithm::HS256 => Err("HS256 has no public key: give `secret`".into()),
            Algorithm::RS256 => {
                let key = RsaPublicKey::from_public_key_pem(pem).map_err(|_| wrong())?;
                check_bits(key.n().bits_vartime() as usize)?;
                Ok(Self::Rs256(pkcs1v15::VerifyingKey::new(key)))
            }
            Algorithm::ES256 => p256::ecdsa::VerifyingKey::from_public_key_pem(pem)
                .map(Self::Es256)
                .map_err(|_| wrong()),
            Algorithm::EdDSA => {
                let key =
                    ed25519_dalek::VerifyingKey::from_public_key_pem(pem).map_err(|_| wrong())?;
                Self::from_ed25519(key.as_bytes())
            }
        }
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::HS256,
            Self::Rs256(_) => Algorithm::RS256,
            Self::Es256(_) => Algorithm::ES256,
            Self::EdDsa(_) => Algorithm::EdDSA,
        }
    }

    /// Whether this key signed the message.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(mac) => mac
                .clone()
                .chain_update(message)
                .verify_slice(signature)
                .is_ok(),
            Self::Rs256(key) => pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::EdDsa(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

fn check_bits(bits: usize) -> Result<(), String> {
    if RSA_BITS.contains(&bits) {
        return Ok(());
    }
    Err(format!(
        "expected an RSA key of {} to {} bits, found {bits}",
        RSA_BITS.start(),
        RSA_BITS.end()
    ))
}

/// The keys of one configuration.
pub struct Keys(Vec<Key>);

impl Keys {
    /// At most `MAX_TRIED` of one algorithm without a `kid`, and no `kid` twice
    /// for one algorithm: `check` sees to that.
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Verify with the keys of this algorithm and name. A token without `kid`
    /// goes to every key of its algorithm, a key without one takes every token.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenError> {
        if !self.0.iter().any(|key| key.key.algorithm() == algorithm) {
            return Err(TokenError::UnsupportedAlgorithm);
        }
        let candidates = || self.0.iter().filter(|key| key.is_for(algorithm, kid));
        match candidates().count() {
            1..=MAX_TRIED => {}
            _ => return Err(TokenError::UnknownKey),
        }
        if candidates().any(|key| key.key.verifies(message, signature)) {
            return Ok(());
        }
        Err(TokenError::BadSignature)
    }
}

impl Key {
    fn is_for(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let named = match (&self.kid, kid) {
            (Some(mine), Some(asked)) => mine == asked,
            (None, _) | (_, None) => true,
        };
        named && self.key.algorithm() == algorithm
    }
}
