//! `gnt-cluster renew-crypto`: new certificates, keys and shared secrets.
//!
//! What is in files given by the user is handed to masterd by a request of its own, which keeps it
//! where only root reads; the job only names it. So no key is ever in a command line or in a job.

use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::submit::{self, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::ClusterRenewCrypto;
use roost_proto::secrets::SecretFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Larger than any chain of certificates, bytes.
const LIMIT: u64 = 1 << 20;

/// `renew-crypto`.
#[derive(Args, Debug)]
pub struct RenewCrypto {
    /// A new authority, and certificates of it for all nodes
    #[arg(long)]
    new_cluster_certificate: bool,
    /// New certificates for all nodes
    #[arg(long)]
    new_node_certificates: bool,
    /// A new self-signed RAPI certificate
    #[arg(long)]
    new_rapi_certificate: bool,
    /// File with certificate and key for RAPI
    #[arg(long, value_name = "FILE")]
    rapi_certificate: Option<PathBuf>,
    /// A new self-signed SPICE certificate
    #[arg(long)]
    new_spice_certificate: bool,
    /// File with certificate and key for SPICE
    #[arg(long, value_name = "FILE")]
    spice_certificate: Option<PathBuf>,
    /// File with the CA of the SPICE certificate
    #[arg(long, value_name = "FILE")]
    spice_ca_certificate: Option<PathBuf>,
    /// A new HMAC key for confd
    #[arg(long)]
    new_confd_hmac_key: bool,
    /// A new secret for moving instances between clusters
    #[arg(long)]
    new_cluster_domain_secret: bool,
    /// File with the secret shared with other clusters
    #[arg(long, value_name = "FILE")]
    cluster_domain_secret: Option<PathBuf>,
    /// Trust former certificates no more, though nodes may not have new ones
    #[arg(long)]
    forget_former_certificates: bool,
    /// Refused: this cluster does not manage SSH keys
    #[arg(long)]
    new_ssh_keys: bool,
    /// Refused, see --new-ssh-keys
    #[arg(long)]
    no_ssh_key_check: bool,
    /// Refused, see --new-ssh-keys
    #[arg(long, value_name = "N")]
    ssh_key_bits: Option<u32>,
    /// Refused, see --new-ssh-keys
    #[arg(long, value_name = "TYPE")]
    ssh_key_type: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
}

impl Verb for RenewCrypto {
    const NAME: &'static str = "renew-crypto";
    const ABOUT: &'static str = "Renews cluster certificates, keys and secrets";

    async fn run(self, cx: &Cx) -> Outcome {
        self.check()?;
        let given = self.read()?;
        if !self.force {
            confirm::require(cx, &self.question(), 1)?;
        }
        let client = cx.client().await?;
        let mut op = ClusterRenewCrypto {
            node_certificates: self.new_node_certificates,
            new_cluster_certificate: self.new_cluster_certificate,
            new_secrets: self.new_secrets(),
            forget_former: self.forget_former_certificates,
            verbose: self.verbose,
            debug: cx.debug > 0,
            ..ClusterRenewCrypto::new()
        };
        for (file, content) in given {
            if self.verbose {
                say!(cx, "Handing in the {}", file.describe());
            }
            op.given_secrets.insert(file, client.store_secret(file, content).await?);
        }
        submit::run(cx, op, &How::default()).await?;
        say!(
            cx,
            "All that was asked for is renewed. Running \"gnt-cluster verify\" is recommended."
        );
        Ok(())
    }
}

impl RenewCrypto {
    /// Refuses what contradicts itself, before anything is read or asked.
    fn check(&self) -> Outcome {
        let refuse = |text: &str| Err(Failure::say(text));
        if self.new_ssh_keys
            || self.no_ssh_key_check
            || self.ssh_key_bits.is_some()
            || self.ssh_key_type.is_some()
        {
            return refuse(
                "SSH keys can't be renewed: this cluster does not manage them, its nodes need no \
                 SSH between them. Leave --new-ssh-keys, --ssh-key-type, --ssh-key-bits and \
                 --no-ssh-key-check away.",
            );
        }
        if self.new_rapi_certificate && self.rapi_certificate.is_some() {
            return refuse(
                "--new-rapi-certificate and --rapi-certificate can't be used at the same time.",
            );
        }
        if self.new_cluster_domain_secret && self.cluster_domain_secret.is_some() {
            return refuse(
                "--new-cluster-domain-secret and --cluster-domain-secret can't be used at the \
                 same time.",
            );
        }
        let spice = (self.spice_certificate.is_some(), self.spice_ca_certificate.is_some());
        if self.new_spice_certificate && spice != (false, false) {
            return refuse(
                "--new-spice-certificate can't be used with --spice-certificate or \
                 --spice-ca-certificate.",
            );
        }
        if spice.0 != spice.1 {
            return refuse("--spice-certificate and --spice-ca-certificate must be used together.");
        }
        if self.forget_former_certificates
            && (self.new_cluster_certificate || self.new_node_certificates)
        {
            return refuse(
                "--forget-former-certificates can't be used while certificates are renewed.",
            );
        }
        let anything = self.new_cluster_certificate
            || self.new_node_certificates
            || self.forget_former_certificates
            || !self.new_secrets().is_empty()
            || !self.files().is_empty();
        if !anything {
            return refuse("Nothing to renew: say what, as --new-cluster-certificate.");
        }
        Ok(())
    }

    fn new_secrets(&self) -> Vec<SecretFile> {
        let wanted = [
            (self.new_rapi_certificate, SecretFile::RapiCertificate),
            (self.new_spice_certificate, SecretFile::SpiceCertificate),
            (self.new_spice_certificate, SecretFile::SpiceAuthority),
            (self.new_confd_hmac_key, SecretFile::ConfdHmacKey),
            (self.new_cluster_domain_secret, SecretFile::ClusterDomainSecret),
        ];
        wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, file)| file).collect()
    }

    fn files(&self) -> BTreeMap<SecretFile, &Path> {
        let given = [
            (SecretFile::RapiCertificate, &self.rapi_certificate),
            (SecretFile::SpiceCertificate, &self.spice_certificate),
            (SecretFile::SpiceAuthority, &self.spice_ca_certificate),
            (SecretFile::ClusterDomainSecret, &self.cluster_domain_secret),
        ];
        given.into_iter().filter_map(|(file, path)| Some((file, path.as_deref()?))).collect()
    }

    fn read(&self) -> Outcome<BTreeMap<SecretFile, Vec<u8>>> {
        let mut contents = BTreeMap::new();
        for (file, path) in self.files() {
            let unreadable = |why: &dyn std::fmt::Display| {
                let what = file.describe();
                Failure::say(format!("Can't read the {what} from '{}': {why}", path.display()))
            };
            let meta = std::fs::metadata(path).map_err(|why| unreadable(&why))?;
            if !meta.is_file() || meta.len() > LIMIT {
                return Err(unreadable(&"it must be a file of at most 1 MiB"));
            }
            contents.insert(file, std::fs::read(path).map_err(|why| unreadable(&why))?);
        }
        Ok(contents)
    }

    fn question(&self) -> String {
        if self.forget_former_certificates {
            return "Nodes that have not got their new certificates will be locked out of the \
                    cluster and must be added again ('gnt-node add --readd'). 'gnt-cluster \
                    verify' names them. Continue?"
                .into();
        }
        "Certificates, keys or secrets of the cluster will be replaced on all nodes. Guests and \
         jobs go on; clients of what is replaced must know the new ones. Continue?"
            .into()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::FakeMaster;
    use serde_json::json;

    #[tokio::test]
    async fn contradictions_are_refused() {
        let master = FakeMaster::start();
        for (options, text) in [
            ("", "Nothing to renew"),
            ("--new-rapi-certificate --rapi-certificate=x", "at the same time"),
            ("--new-cluster-domain-secret --cluster-domain-secret=x", "at the same time"),
            ("--new-spice-certificate --spice-ca-certificate=x", "can't be used with"),
            ("--spice-certificate=x", "must be used together"),
            ("--spice-ca-certificate=x", "must be used together"),
            ("--new-ssh-keys", "does not manage them"),
            ("--new-node-certificates --ssh-key-type=rsa", "does not manage them"),
            ("--new-node-certificates --forget-former-certificates", "while certificates"),
            ("--rapi-certificate=/nonexistent/x", "Can't read the RAPI certificate"),
        ] {
            let ran = master.run(&format!("gnt-cluster renew-crypto -f {options}")).await;
            assert_eq!(ran.code, 1, "{options}: {ran:?}");
            assert!(ran.err.contains(text), "{options}: {ran:?}");
        }
        assert!(master.submitted().is_empty() && master.calls().is_empty());
    }

    #[tokio::test]
    async fn it_asks_first() {
        let master = FakeMaster::start();
        let line = "gnt-cluster renew-crypto --new-cluster-certificate";
        let ran = master.run_answering(line, &["n"]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(master.submitted().is_empty());
        let ran = master.run_answering(line, &["y"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(master.submitted()[0][0]["new_cluster_certificate"], true);
    }

    #[tokio::test]
    async fn given_files_travel_outside_the_job() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("cds");
        std::fs::write(&path, "hush").expect("written");
        let master = FakeMaster::start();
        let line = format!(
            "gnt-cluster renew-crypto -f --new-confd-hmac-key --new-spice-certificate \
             --cluster-domain-secret={}",
            path.display()
        );
        let ran = master.run(&line).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(master.calls(), ["store cluster-domain-secret 4 bytes"]);
        let op = &master.submitted()[0][0];
        assert_eq!(op["new_secrets"], json!(["spice.pem", "spice-ca.pem", "hmac.key"]));
        assert_eq!(op["given_secrets"], json!({"cluster-domain-secret": "version"}));
        assert!(!op.to_string().contains("hush"));
    }
}
