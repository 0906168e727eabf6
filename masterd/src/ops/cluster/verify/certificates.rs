//! Certificates: those that end soon, files that are missing, and who still needs former ones.

use super::findings::{self, Findings};
use crate::config::Config;
use crate::ops::Context;
use crate::pki::Said;
use roost_proto::node::{Answer, CryptoReport};
use roost_proto::objects::Node;

/// What concerns the whole cluster: the authority, and the files of the master.
pub fn cluster(findings: &mut Findings<'_>, cx: &Context<'_, '_>, now: f64) {
    let config = cx.config();
    for (node, _, answer) in cx.answers() {
        let Ok(Answer::Verify(report)) = answer else { continue };
        let name = config.node_name(*node);
        if let Some(expires) = report.certificate_expires {
            findings::certificate(findings, &format!("node {name}"), expires, now);
        }
        if let Some(crypto) = &report.crypto {
            files(findings, config, &name, crypto, now);
        }
    }
    let authorities = &config.cluster.crypto.authorities;
    if let Some(first) = authorities.first() {
        match Said::of(first) {
            Ok(said) => findings::certificate(findings, "the cluster", said.expires, now),
            Err(error) => findings.error(findings::ECLUSTERCERT, "", error.message),
        }
    }
    if config.cluster.crypto.overlaps() {
        findings.notice(format!("former certificates are still trusted: {}", waiting(config, cx)));
    }
}

/// Shared files: all of them are on the master.
fn files(
    findings: &mut Findings<'_>,
    config: &Config,
    node: &str,
    report: &CryptoReport,
    now: f64,
) {
    for file in config.cluster.crypto.secrets.keys() {
        if !report.secrets.contains_key(file) {
            let text = format!("the {} ({file}) is missing on node {node}", file.describe());
            findings.error(findings::ECLUSTERCERT, "", text);
        } else if file.is_certificate() {
            let of = format!("{file} on node {node}");
            match report.ends.get(file) {
                Some(expires) => findings::certificate(findings, &of, *expires, now),
                None => findings.error(
                    findings::ECLUSTERCERT,
                    "",
                    format!("the {} ({file}) on node {node} cannot be read", file.describe()),
                ),
            }
        }
    }
}

/// Which nodes may still need former certificates.
fn waiting(config: &Config, cx: &Context<'_, '_>) -> String {
    let first = config.cluster.crypto.authorities.first();
    let issuer = first.and_then(|pem| Said::of(pem).ok()).map(|said| said.subject);
    let needs = |node: &&std::sync::Arc<Node>| {
        let report = cx.seen().get(&node.uuid).and_then(|view| view.report.crypto.as_ref());
        report.is_none_or(|report| Some(&report.issuer) != issuer.as_ref())
    };
    let mut names: Vec<_> =
        config.nodes.values().filter(needs).map(|node| node.name.to_string()).collect();
    roost_proto::nicesort::sort(&mut names);
    match names.is_empty() {
        true => "nodes are being told of the new ones".into(),
        false => format!("no new one is known of node(s) {}", names.join(", ")),
    }
}

/// What concerns one node: the certificate it has must be the one it commands by.
pub fn node(findings: &mut Findings<'_>, config: &Config, node: &Node, report: &CryptoReport) {
    let Some(listed) = config.cluster.candidate_certs.get(&node.uuid) else { return };
    let former = config.cluster.crypto.former_certs.get(&node.uuid);
    let known = *listed == report.fingerprint
        || former.is_some_and(|all| all.contains(&report.fingerprint));
    if !known {
        findings.error(
            findings::ECLUSTERCLIENTCERT,
            "",
            format!(
                "node {} has the certificate {}, but is known by {listed}: as master it would not \
                 be obeyed; renew it with 'gnt-cluster renew-crypto --new-node-certificates'",
                node.name, report.fingerprint
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{NOW, Site, errors, node_id};
    use crate::pki;
    use roost_proto::node::VerifyReport;
    use roost_proto::opcodes::ClusterVerifyConfig;
    use roost_proto::secrets::SecretFile;

    fn said(site: &mut Site, crypto: CryptoReport) -> Vec<String> {
        let report = VerifyReport { crypto: Some(crypto), ..VerifyReport::default() };
        let question = site.questions(ClusterVerifyConfig::new()).remove(0).1;
        site.facts.answers.clear();
        site.answer("node1", question, Ok(Answer::Verify(Box::new(report))));
        errors(site, ClusterVerifyConfig::new())
    }

    #[test]
    fn files_that_end_or_are_missing() {
        let mut site = Site::new(&["node1"]);
        site.cluster(|c| {
            c.candidate_certs = [(node_id("node1"), "FP".into())].into();
            c.crypto.authorities = vec![pki::new_authority("c").unwrap().certificate];
            c.crypto.secrets = SecretFile::ALL.map(|file| (file, "v".to_owned())).into();
        });
        let day = 86_400.0;
        let mut report = CryptoReport {
            secrets: SecretFile::ALL.map(|file| (file, "digest".to_owned())).into(),
            ends: [
                (SecretFile::RapiCertificate, NOW + 20.0 * day + 1.0),
                (SecretFile::SpiceCertificate, NOW + 6.0 * day + 1.0),
                (SecretFile::SpiceAuthority, NOW + 60.0 * day),
            ]
            .into(),
            ..CryptoReport::default()
        };
        assert_eq!(
            said(&mut site, report.clone()),
            [
                "  - WARNING: cluster: the certificate of rapi.pem on node node1 expires in 20 \
                 day(s)",
                "  - ERROR: cluster: the certificate of spice.pem on node node1 expires in 6 day(s)",
            ]
        );
        report.secrets.remove(&SecretFile::ConfdHmacKey);
        report.ends.clear();
        let all = said(&mut site, report);
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[0].contains("rapi.pem) on node node1 cannot be read"), "{all:?}");
        assert!(all[3].contains("hmac.key) is missing on node node1"), "{all:?}");
    }

    #[test]
    fn who_needs_former_certificates_is_said() {
        let mut site = Site::new(&["node1", "node2"]);
        let authority = pki::new_authority("c").unwrap().certificate;
        site.cluster(|c| c.crypto.authorities = vec![authority.clone(), "OLD".into()]);
        let view = site.facts.seen.entry(node_id("node1")).or_default();
        std::sync::Arc::make_mut(view).report.crypto = Some(CryptoReport {
            issuer: Said::of(&authority).unwrap().subject,
            ..CryptoReport::default()
        });
        let plan = site.plan(ClusterVerifyConfig::new()).unwrap();
        let text = "  - NOTICE: former certificates are still trusted: no new one is known of \
                    node(s) node2";
        assert!(plan.say.iter().any(|line| line == text), "{:?}", plan.say);
    }

    #[test]
    fn a_candidate_with_another_certificate() {
        let mut site = Site::new(&["node1"]);
        site.cluster(|c| {
            c.candidate_certs = [(node_id("node1"), "NEW".into())].into();
            c.crypto.former_certs = [(node_id("node1"), vec!["FORMER".into()])].into();
        });
        let of = |fingerprint: &str| {
            let mut findings = Findings::new(true, &[], false);
            let report = CryptoReport { fingerprint: fingerprint.into(), ..Default::default() };
            node(&mut findings, &site.config, site.config.node("node1").unwrap(), &report);
            findings.finish()
        };
        assert!(of("NEW").1 && of("FORMER").1);
        let (lines, good) = of("ELSE");
        assert!(!good && lines[0].starts_with("  - ERROR:ECLUSTERCLIENTCERT:"), "{lines:?}");
    }
}
