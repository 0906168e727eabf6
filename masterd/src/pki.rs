//! The cluster's own certificate authority.
//!
//! One key signs all: a node that can show a certificate of it belongs to the cluster, and the
//! name in the certificate is its UUID. Keys of nodes are made on the nodes and never leave them.

use crate::clock;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::certificate_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha1::Digest;
use std::sync::LazyLock;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// Seconds that certificates are good for, instead of five years: to try renewals.
pub const LIFETIME_ENV: &str = "ROOST_CERTIFICATE_LIFETIME";
/// How many times as long as what it signs an authority is good for: ten years.
const AUTHORITY_LIVES: u32 = 2;
/// How long a certificate of a node or a service is good for: Ganeti's five years.
pub const NODE_LIFETIME: Duration = Duration::from_secs(5 * 365 * 86_400);
/// How much earlier than it is made a certificate begins, at most: clocks differ.
const EARLIER: Duration = DAY;

/// The attribute `serialNumber` of names.
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// How long certificates that are made now are good for; the authority's: twice as long.
pub fn lifetime() -> Duration {
    static LIFETIME: LazyLock<Duration> = LazyLock::new(|| {
        let given = std::env::var(LIFETIME_ENV).ok().and_then(|text| text.parse().ok());
        given.map_or(NODE_LIFETIME, Duration::from_secs)
    });
    *LIFETIME
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::environment(format!("A certificate could not be made: {e}"))
}

/// Good from a moment ago for some time.
fn valid(params: &mut CertificateParams, lifetime: Duration) {
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_micros(clock::micros());
    params.not_before = now - EARLIER.min(lifetime / 10);
    params.not_after = now + lifetime;
}

/// A new authority. Its name is its own: a certificate says by it who signed it, also among
/// authorities of the same cluster.
pub fn new_authority(cluster: &str) -> Result<Pair> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Roost cluster {cluster}"));
    name.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), random_hex(8)?);
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, lifetime() * AUTHORITY_LIVES);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// What a node's certificate says, whoever has its key.
fn node_params(params: &mut CertificateParams, node: NodeId, lifetime: Duration) -> Result<()> {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, node.to_string());
    params.distinguished_name = name;
    let san = certificate_name(node).try_into().map_err(failed)?;
    params.subject_alt_names = vec![SanType::DnsName(san)];
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    valid(params, lifetime);
    Ok(())
}

fn issuer(authority: &Pair) -> Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::from_pem(&authority.key).map_err(failed)?;
    Issuer::from_ca_cert_pem(&authority.certificate, key).map_err(failed)
}

/// A key and certificate for a node: for the first one, which makes the cluster.
pub fn new_node(authority: &Pair, node: NodeId) -> Result<Pair> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    node_params(&mut params, node, lifetime())?;
    let certificate = params.signed_by(&key, &issuer(authority)?).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Signs a node's request. What the request asks for besides its key is ignored.
pub fn sign(authority: &Pair, node: NodeId, csr: &str, lifetime: Duration) -> Result<String> {
    let bad = |e| Error::wrong_input(format!("The certificate request cannot be read: {e}"));
    let mut request = CertificateSigningRequestParams::from_pem(csr).map_err(bad)?;
    request.params = CertificateParams::default();
    node_params(&mut request.params, node, lifetime)?;
    Ok(request.signed_by(&issuer(authority)?).map_err(failed)?.pem())
}

/// A key, and a certificate it signed itself, for a service of the cluster that is met from outside.
pub fn self_signed(name: &str) -> Result<Pair> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    valid(&mut params, lifetime());
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Random bytes for a secret, as hexadecimal digits.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    crate::tls::provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| Error::environment("This machine has no random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a PEM text has a certificate and the key of it. Errors: `wrong_input`.
pub fn check_pair(pem: &str) -> Result<()> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::wrong_input(format!("it cannot be read: {e}")))?;
    if chain.is_empty() {
        return Err(Error::wrong_input("there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| Error::wrong_input("there is no private key in it that can be used"))?;
    match CertifiedKey::from_der(chain, key, &crate::tls::provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Error::wrong_input("the private key in it is not the key of the certificate"))
        }
        Err(e) => Err(Error::wrong_input(format!("it cannot be used: {e}"))),
    }
}

/// What a certificate says of itself. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub subject: String,
    pub issuer: String,
    pub begins: f64,
    pub expires: f64,
}

impl Said {
    /// Of the first certificate of a PEM text.
    pub fn of(pem: &str) -> Result<Said> {
        let unreadable = |e: &dyn std::fmt::Display| {
            Error::environment(format!("A certificate cannot be read: {e}"))
        };
        let first = CertificateDer::pem_slice_iter(pem.as_bytes())
            .next()
            .ok_or_else(|| unreadable(&"there is none"))?
            .map_err(|e| unreadable(&e))?;
        let (_, certificate) =
            x509_parser::parse_x509_certificate(&first).map_err(|e| unreadable(&e))?;
        Ok(Said {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            begins: certificate.validity().not_before.timestamp() as f64,
            expires: certificate.validity().not_after.timestamp() as f64,
        })
    }
}

/// Key and certificate that ended long ago.
#[cfg(test)]
pub fn ended_for_tests() -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["old".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(1990, 1, 1);
    params.not_after = rcgen::date_time_ymd(1991, 1, 1);
    key.serialize_pem() + &params.self_signed(&key).unwrap().pem()
}

/// A node's certificate that ended long ago.
#[cfg(test)]
pub fn ended_node_for_tests(authority: &Pair, node: NodeId) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    node_params(&mut params, node, DAY).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.signed_by(&key, &issuer(authority).unwrap()).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// The DER bytes of the first certificate of a PEM text.
pub fn der(pem: &str) -> Result<Vec<u8>> {
    let (_, found) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|e| Error::environment(format!("A certificate cannot be read: {e}")))?;
    Ok(found.contents)
}

/// Ganeti's fingerprint of a certificate: SHA-1, `AA:BB:…`.
pub fn fingerprint(pem: &str) -> Result<String> {
    Ok(fingerprint_of_der(&der(pem)?))
}

/// The same, of a certificate in DER.
pub fn fingerprint_of_der(der: &[u8]) -> String {
    let digest = sha1::Sha1::digest(der);
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// SHA-256, hexadecimal. Of a certificate (DER): what a join token pins.
pub fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_certificate_names_the_node_and_nothing_else() {
        let authority = new_authority("c").unwrap();
        let node = NodeId(uuid::Uuid::from_u128(7));
        let key = KeyPair::generate().unwrap();
        let mut wish = CertificateParams::new(vec!["evil.example.com".into()]).unwrap();
        wish.is_ca = IsCa::NoCa;
        let csr = wish.serialize_request(&key).unwrap().pem().unwrap();
        let pem = sign(&authority, node, &csr, NODE_LIFETIME).unwrap();
        let der = der(&pem).unwrap();
        let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(cert.subject().to_string(), format!("CN={node}"));
        let san = cert.subject_alternative_name().unwrap().unwrap();
        assert_eq!(san.value.general_names.len(), 1);
        assert!(format!("{:?}", san.value).contains(&certificate_name(node)));
        assert!(!cert.is_ca());
        assert_eq!(fingerprint(&pem).unwrap().len(), 59);
        assert_eq!(sha256(&der).len(), 64);
        let said = Said::of(&pem).unwrap();
        let signer = Said::of(&authority.certificate).unwrap();
        assert_eq!(said.issuer, signer.subject);
        assert_eq!((signer.expires - signer.begins).round(), (10.0 * 365.0 + 1.0) * 86_400.0);
        let other = new_authority("c").unwrap();
        assert_ne!(said.issuer, Said::of(&other.certificate).unwrap().subject);
        assert_eq!((said.expires - said.begins).round(), (5.0 * 365.0 + 1.0) * 86_400.0);
    }

    #[test]
    fn nonsense_is_refused() {
        let authority = new_authority("c").unwrap();
        let error = sign(&authority, NodeId(uuid::Uuid::nil()), "nonsense", DAY).unwrap_err();
        assert_eq!(error.error_type, Some(roost_proto::error::ErrorType::WrongInput));
    }

    // Whoever has a token may send anything as a request: it must be refused, never crash us.
    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

        #[test]
        fn no_request_is_too_strange(text in ".{0,400}", flip in 0_usize..2000, to: u8) {
            let authority = new_authority("c").unwrap();
            let node = NodeId(uuid::Uuid::nil());
            sign(&authority, node, &text, DAY).ok();
            // One wrong byte in a good request is stranger than noise.
            let key = KeyPair::generate().unwrap();
            let request = CertificateParams::default().serialize_request(&key).unwrap();
            let mut bytes = request.pem().unwrap().into_bytes();
            let place = flip % bytes.len();
            bytes[place] = to;
            sign(&authority, node, &String::from_utf8_lossy(&bytes), DAY).ok();
        }
    }
}
