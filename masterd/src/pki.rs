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
use sha1::Digest;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// How long the authority is good for, days.
const AUTHORITY_DAYS: u32 = 3650;
/// How long a node's certificate is, days: Ganeti's five years.
const NODE_DAYS: u32 = 5 * 365;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::environment(format!("A certificate could not be made: {e}"))
}

/// Good from yesterday (clocks differ) for some days.
fn valid(params: &mut CertificateParams, days: u32) {
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_micros(clock::micros());
    params.not_before = now - DAY;
    params.not_after = now + DAY * days;
}

/// A new authority.
pub fn new_authority(cluster: &str) -> Result<Pair> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Roost cluster {cluster}"));
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, AUTHORITY_DAYS);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// What a node's certificate says, whoever has its key.
fn node_params(params: &mut CertificateParams, node: NodeId) -> Result<()> {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, node.to_string());
    params.distinguished_name = name;
    let san = certificate_name(node).try_into().map_err(failed)?;
    params.subject_alt_names = vec![SanType::DnsName(san)];
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    valid(params, NODE_DAYS);
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
    node_params(&mut params, node)?;
    let certificate = params.signed_by(&key, &issuer(authority)?).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Signs a node's request. What the request asks for besides its key is ignored.
pub fn sign(authority: &Pair, node: NodeId, csr: &str) -> Result<String> {
    let bad = |e| Error::wrong_input(format!("The certificate request cannot be read: {e}"));
    let mut request = CertificateSigningRequestParams::from_pem(csr).map_err(bad)?;
    request.params = CertificateParams::default();
    node_params(&mut request.params, node)?;
    Ok(request.signed_by(&issuer(authority)?).map_err(failed)?.pem())
}

/// The DER bytes of the first certificate of a PEM text.
pub fn der(pem: &str) -> Result<Vec<u8>> {
    let (_, found) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|e| Error::environment(format!("A certificate cannot be read: {e}")))?;
    Ok(found.contents)
}

/// Ganeti's fingerprint of a certificate: SHA-1, `AA:BB:…`.
pub fn fingerprint(pem: &str) -> Result<String> {
    let digest = sha1::Sha1::digest(der(pem)?);
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(bytes.join(":"))
}

/// SHA-256 of a certificate, hexadecimal: what a join token pins.
pub fn pin(pem: &str) -> Result<String> {
    let digest = sha2::Sha256::digest(der(pem)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
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
        let pem = sign(&authority, node, &csr).unwrap();
        let der = der(&pem).unwrap();
        let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(cert.subject().to_string(), format!("CN={node}"));
        let san = cert.subject_alternative_name().unwrap().unwrap();
        assert_eq!(san.value.general_names.len(), 1);
        assert!(format!("{:?}", san.value).contains(&certificate_name(node)));
        assert!(!cert.is_ca());
        assert_eq!(fingerprint(&pem).unwrap().len(), 59);
        assert_eq!(pin(&pem).unwrap().len(), 64);
    }

    #[test]
    fn nonsense_is_refused() {
        let authority = new_authority("c").unwrap();
        let error = sign(&authority, NodeId(uuid::Uuid::nil()), "nonsense").unwrap_err();
        assert_eq!(error.error_type, Some(roost_proto::error::ErrorType::WrongInput));
    }

    // Whoever has a token may send anything as a request: it must be refused, never crash us.
    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

        #[test]
        fn no_request_is_too_strange(text in ".{0,400}", flip in 0_usize..2000, to: u8) {
            let authority = new_authority("c").unwrap();
            let node = NodeId(uuid::Uuid::nil());
            sign(&authority, node, &text).ok();
            // One wrong byte in a good request is stranger than noise.
            let key = KeyPair::generate().unwrap();
            let request = CertificateParams::default().serialize_request(&key).unwrap();
            let mut bytes = request.pem().unwrap().into_bytes();
            let place = flip % bytes.len();
            bytes[place] = to;
            sign(&authority, node, &String::from_utf8_lossy(&bytes)).ok();
        }
    }
}
