//! A cluster for tests: an authority, nodes with certificates of it, and a master that asks.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use roost_noded::credentials::fingerprint;
use roost_noded::{Handle, Noded, Options, peer};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{ClusterId, NodeId};
use roost_proto::node::{Action, Answer, Outcome, Question};
use roost_proto::paths::{Identity, Paths, certificate_name};
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::node_client::NodeClient;
use std::fs;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

/// An authority. All of one test's clusters have the same UUID, so that only the authority differs.
pub struct Cluster {
    pub id: ClusterId,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A machine with its files; maybe with a noded.
pub struct Node {
    pub root: TempDir,
    pub paths: Paths,
    pub id: NodeId,
    /// DER.
    pub certificate: Vec<u8>,
}

impl Cluster {
    pub fn new() -> Cluster {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Cluster {
            id: "7f3ac1b0-5a3c-4a8e-9d0e-0b7a7f4f3c11".parse().unwrap(),
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub fn authority(&self) -> String {
        self.issuer.pem()
    }

    /// The certificate for a request: PEM and DER.
    pub fn sign(&self, csr: &str, node: NodeId) -> (String, Vec<u8>) {
        let mut request = rcgen::CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params = Self::params(node);
        let certificate = request.signed_by(&self.issuer).unwrap();
        (certificate.pem(), certificate.der().to_vec())
    }

    fn params(node: NodeId) -> CertificateParams {
        let mut params = CertificateParams::new(vec![certificate_name(node)]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    /// The n-th node, joined, with storage and every hypervisor but the fake one off.
    pub fn node(&self, n: u32) -> Node {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(root.path().to_owned()));
        let id: NodeId = format!("00000000-0000-4000-8000-{n:012}").parse().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = Self::params(id).signed_by(&key, &self.issuer).unwrap();
        fs::create_dir_all(paths.data_dir()).unwrap();
        fs::create_dir_all(paths.absolute("/srv/files")).unwrap();
        fs::write(paths.authority(), self.authority()).unwrap();
        fs::write(paths.key(), key.serialize_pem()).unwrap();
        fs::write(paths.certificate(), certificate.pem()).unwrap();
        fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").unwrap();
        fs::write(paths.ssconf("hypervisor_list"), "fake\n").unwrap();
        let members = (1..10).map(|n| format!("00000000-0000-4000-8000-{n:012} node{n}\n"));
        fs::write(paths.ssconf("node_uuids"), members.collect::<String>()).unwrap();
        let identity = Identity {
            cluster: self.id,
            node: id,
            name: roost_proto::names::NodeName::new(format!("node{n}.example.com")).unwrap(),
            address: "127.0.0.1".into(),
        };
        fs::write(paths.identity(), serde_json::to_vec(&identity).unwrap()).unwrap();
        Node { root, paths, id, certificate: certificate.der().to_vec() }
    }
}

impl Node {
    /// Writes whom this node takes for master candidates.
    pub fn trust(&self, candidates: &[&Node]) {
        let lines =
            candidates.iter().map(|n| format!("{}={}\n", n.id, fingerprint(&n.certificate)));
        let path = self.paths.ssconf("master_candidates_certs");
        roost_noded::durable::write(&path, lines.collect::<String>().as_bytes(), 0o444).unwrap();
    }

    pub async fn start(&self) -> Handle {
        Noded::start(Options {
            paths: self.paths.clone(),
            listen: Some("127.0.0.1:0".into()),
            hypervisors: vec![Hypervisor::Fake],
        })
        .await
        .expect("noded starts")
    }

    /// A connection to another node's noded with this node's certificate.
    pub async fn channel(&self, to: &Node, handle: &Handle) -> Result<Channel> {
        peer::connect(&self.paths, to.id, &handle.address().to_string()).await
    }

    /// This node as master of another.
    pub async fn master(&self, cluster: &Cluster, to: &Node, handle: &Handle) -> Master {
        let channel = self.channel(to, handle).await.expect("connection");
        Master { client: NodeClient::new(channel), cluster: cluster.id, epoch: 1, job: 0 }
    }
}

/// Asks one node, as masterd does.
pub struct Master {
    pub client: NodeClient<Channel>,
    pub cluster: ClusterId,
    pub epoch: u64,
    /// The last job's number.
    pub job: u64,
}

impl Master {
    pub fn fence(&self) -> Option<rpc::Fence> {
        Some(rpc::Fence { epoch: self.epoch, cluster: self.cluster.to_string(), protocol: 0 })
    }

    pub fn request(&self, action: &Action) -> rpc::RunRequest {
        rpc::RunRequest {
            fence: self.fence(),
            job: self.job,
            op: 0,
            step: 0,
            undo: false,
            action: serde_json::to_string(action).unwrap(),
        }
    }

    /// Does an action as a step of a new job.
    pub async fn run(&mut self, action: Action) -> Result<Outcome> {
        self.job += 1;
        self.again(&action).await.expect("the node obeys")
    }

    /// Does an action as the same step as before.
    pub async fn again(&mut self, action: &Action) -> Result<Result<Outcome>, Status> {
        let mut events = self.client.run(self.request(action)).await?.into_inner();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(rpc::run_event::Event::Done(json)) => {
                    return Ok(Ok(serde_json::from_str(&json).unwrap()));
                }
                Some(rpc::run_event::Event::Failed(json)) => {
                    return Ok(Err(serde_json::from_str::<Error>(&json).unwrap()));
                }
                _ => {}
            }
        }
        panic!("a run must end with its outcome");
    }

    pub async fn ask(&mut self, question: Question) -> Result<Answer> {
        let question = serde_json::to_string(&question).unwrap();
        let request = rpc::AskRequest { fence: self.fence(), question };
        match self.client.ask(request).await.expect("the node obeys").into_inner().reply {
            Some(rpc::ask_reply::Reply::Answer(json)) => Ok(serde_json::from_str(&json).unwrap()),
            Some(rpc::ask_reply::Reply::Failed(json)) => Err(serde_json::from_str(&json).unwrap()),
            None => panic!("a question must be answered"),
        }
    }
}
