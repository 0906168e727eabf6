//! What masterd adds to questions and actions about certificates and secrets: a node's request is
//! signed here, new secrets are made here, and a secret gets its content only when it is sent.

use super::Nodes;
use crate::authority::Authority;
use crate::{pki, secrets};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{
    Action, Answer, Certified, CryptoAction, CryptoAnswer, CryptoQuestion, Question,
};
use roost_proto::secrets::SecretFile;
use std::borrow::Cow;
use std::collections::BTreeMap;

impl Nodes {
    /// Answers what is not for the node alone; nothing if it is.
    pub(super) async fn answer_here(
        &self,
        node: NodeId,
        question: &Question,
    ) -> Option<Result<Answer>> {
        let answer = match question {
            Question::Crypto(CryptoQuestion::Certificate { next }) => {
                self.certify(node, *next).await.map(CryptoAnswer::Certificate)
            }
            Question::Crypto(CryptoQuestion::Secrets { make, given }) => {
                self.prepare(make, given).await.map(CryptoAnswer::Secrets)
            }
            _ => return None,
        };
        Some(answer.map(Answer::Crypto))
    }

    /// Has a node make a key, and signs the certificate for it.
    async fn certify(&self, node: NodeId, next: bool) -> Result<Certified> {
        let question = Question::Crypto(CryptoQuestion::Request);
        let Answer::Crypto(CryptoAnswer::Request(csr)) = self.ask_node(node, &question).await?
        else {
            return Err(Error::internal("The answer to a request for a key does not fit"));
        };
        let state = &self.0.state;
        let authority = match next {
            true => Authority::prepare_next(state).await?,
            false => Authority::load(state).await?,
        };
        let certificate = authority.sign(node, &csr)?;
        Ok(Certified {
            fingerprint: pki::fingerprint(&certificate)?,
            authority: authority.certificate().to_owned(),
            certificate,
        })
    }

    /// Makes secrets, and looks at those that were handed in.
    async fn prepare(
        &self,
        make: &[SecretFile],
        given: &BTreeMap<SecretFile, String>,
    ) -> Result<BTreeMap<SecretFile, String>> {
        let state = &self.0.state;
        secrets::check_given(state, given).await?;
        let made = secrets::make(&state.config().cluster.cluster_name, make)?;
        let mut versions = secrets::store(state, &made, secrets::Origin::Made).await?;
        versions.extend(given.clone());
        Ok(versions)
    }

    /// The action as it is sent: secrets have their content.
    pub(super) async fn complete<'a>(&self, action: &'a Action) -> Result<Cow<'a, Action>> {
        let Action::Crypto(CryptoAction::Write { file, version, content: None }) = action else {
            return Ok(Cow::Borrowed(action));
        };
        let content = Some(secrets::content(&self.0.state, version).await?);
        let (file, version) = (*file, version.clone());
        Ok(Cow::Owned(Action::Crypto(CryptoAction::Write { file, version, content })))
    }
}
