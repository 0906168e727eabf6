//! Talking to etcd: which member, for how long, and what its refusals mean.
//!
//! ```text
//!   request ──► the member that answered last ──ok──────► answer
//!                   │ no answer in time               ▲
//!                   └──► next member ──► … ───────────┘   until patience ends: Unavailable
//! ```
//!
//! One member at a time, and the next one as soon as it is slow: a member that is cut off from the
//! others still accepts connections. Everything sent here may arrive twice, so requests that
//! change something carry a condition that holds only once; [`Answer::repeated`] says when an
//! earlier copy may have done the work.

use super::health::Member;
use super::rpc;
use crate::store::{StoreError, settings};
use etcd_clients::{Auth, Kv, Lease, Maintenance, Watch};
use roost_proto::error::{Error, Result};
use roost_proto::store::EtcdSettings;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};

mod etcd_clients {
    use super::super::rpc;
    use tonic::transport::Channel;
    pub type Kv = rpc::kv_client::KvClient<Channel>;
    pub type Lease = rpc::lease_client::LeaseClient<Channel>;
    pub type Watch = rpc::watch_client::WatchClient<Channel>;
    pub type Auth = rpc::auth_client::AuthClient<Channel>;
    pub type Maintenance = rpc::maintenance_client::MaintenanceClient<Channel>;
}

/// How long reads and writes are tried when nothing else limits them.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// A member that takes longer is left for another; each round is more patient.
const FIRST_TRY: Duration = Duration::from_secs(1);
const LONGEST_TRY: Duration = Duration::from_secs(8);
/// Old tokens are normal, after a pause or a restart of etcd; refusing new ones is not.
const LOGINS: usize = 3;
const CONNECT: Duration = Duration::from_secs(1);
/// Between rounds through all members.
const PAUSE: Duration = Duration::from_millis(100);
/// Pages hold hundreds of documents, each of up to a megabyte at worst.
const MESSAGE_LIMIT: usize = 1 << 30;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No member answered; a change may still happen.
    Unavailable(String),
    /// It said no: nothing was changed, unless an earlier copy of the request (`repeated`) was.
    Refused { status: Status, repeated: bool },
}

/// What etcd answered.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    pub value: T,
    /// The request was sent before, and what became of that is not known.
    pub repeated: bool,
}

/// A connection to an etcd cluster. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    endpoints: Vec<(String, Endpoint)>,
    login: Option<(String, String)>,
    current: Mutex<Current>,
    /// Connections to one member each.
    each: OnceLock<Vec<Etcd>>,
    /// How they were, the last time that somebody looked.
    members: Mutex<Vec<Member>>,
}

#[derive(Default)]
struct Current {
    /// Which of the endpoints, modulo their number. Counted up when one is given up.
    turn: usize,
    session: Option<Session>,
}

#[derive(Clone)]
struct Session {
    turn: usize,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Session {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Etcd({})", self.endpoints())
    }
}

impl Etcd {
    /// Reads certificates and password; connects when first used. Errors: unreadable files.
    pub fn new(etcd: &EtcdSettings) -> Result<Etcd> {
        settings::validate(etcd)?;
        let read = |path: &std::path::Path| crate::files::read_bytes(path);
        let tls = match &etcd.ca {
            None => None,
            Some(ca) => {
                let mut tls = ClientTlsConfig::new()
                    .ca_certificate(Certificate::from_pem(read(ca)?))
                    .timeout(CONNECT);
                if let (Some(certificate), Some(key)) = (&etcd.certificate, &etcd.key) {
                    tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
                }
                Some(tls)
            }
        };
        let mut endpoints = Vec::new();
        for name in &etcd.endpoints {
            let bad = |e: tonic::transport::Error| {
                Error::wrong_input(format!("Endpoint {name} of etcd cannot be used: {}", chain(&e)))
            };
            let mut endpoint = Endpoint::from_shared(name.clone()).map_err(bad)?;
            if let Some(tls) = &tls {
                endpoint = endpoint.tls_config(tls.clone()).map_err(bad)?;
            }
            endpoints.push((name.clone(), endpoint.connect_timeout(CONNECT).tcp_nodelay(true)));
        }
        let login = settings::credentials(etcd)?;
        Ok(Etcd::of(endpoints, login))
    }

    fn of(endpoints: Vec<(String, Endpoint)>, login: Option<(String, String)>) -> Etcd {
        let (current, each, members) = (Mutex::default(), OnceLock::new(), Mutex::default());
        Etcd(Arc::new(Inner { endpoints, login, current, each, members }))
    }

    /// How the members were a moment ago; none: nobody has looked yet.
    pub fn known_members(&self) -> Vec<Member> {
        self.0.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The members are like this now.
    pub(super) fn note_members(&self, members: Vec<Member>) {
        *self.0.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// The members, each with a connection to it alone.
    pub fn each(&self) -> Vec<(String, Etcd)> {
        let alone =
            |endpoint: &(String, Endpoint)| Etcd::of(vec![endpoint.clone()], self.0.login.clone());
        let each = self.0.each.get_or_init(|| self.0.endpoints.iter().map(alone).collect());
        each.iter().map(|etcd| (etcd.endpoints(), etcd.clone())).collect()
    }

    /// All members, for people.
    pub fn endpoints(&self) -> String {
        let names: Vec<&str> = self.0.endpoints.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// Reads a range.
    pub async fn range(&self, request: rpc::RangeRequest) -> Result<rpc::RangeResponse, Failure> {
        self.range_within(PATIENCE, request).await
    }

    /// The same, with other patience.
    pub async fn range_within(
        &self,
        patience: Duration,
        request: rpc::RangeRequest,
    ) -> Result<rpc::RangeResponse, Failure> {
        let send = async |session: Session, message: rpc::RangeRequest| {
            kv(&session).range(session.request(message)).await
        };
        self.call(patience, request, send).await.map(|answer| answer.value)
    }

    /// A transaction. It must be harmless when it happens twice.
    pub async fn txn(
        &self,
        patience: Duration,
        request: rpc::TxnRequest,
    ) -> Result<Answer<rpc::TxnResponse>, Failure> {
        let send = async |session: Session, message: rpc::TxnRequest| {
            kv(&session).txn(session.request(message)).await
        };
        self.call(patience, request, send).await
    }

    /// Forgets revisions before this one.
    pub async fn compact(&self, revision: i64) -> Result<(), Failure> {
        let send = async |session: Session, message: rpc::CompactionRequest| {
            kv(&session).compact(session.request(message)).await
        };
        self.call(PATIENCE, rpc::CompactionRequest { revision }, send).await.map(|_| ())
    }

    /// A lease; its id and the seconds it lives without a sign of life. One that is granted twice
    /// expires by itself.
    pub async fn grant(&self, patience: Duration, ttl: i64) -> Result<(i64, i64), Failure> {
        let send = async |session: Session, message: rpc::LeaseGrantRequest| {
            Lease::new(session.channel.clone()).lease_grant(session.request(message)).await
        };
        let answer = self.call(patience, rpc::LeaseGrantRequest { ttl }, send).await?.value;
        Ok((answer.id, answer.ttl))
    }

    /// Ends a lease and removes its keys.
    pub async fn revoke(&self, patience: Duration, id: i64) -> Result<(), Failure> {
        let send = async |session: Session, message: rpc::LeaseRevokeRequest| {
            Lease::new(session.channel.clone()).lease_revoke(session.request(message)).await
        };
        self.call(patience, rpc::LeaseRevokeRequest { id }, send).await.map(|_| ())
    }

    /// A sign of life. Returns the seconds the lease has left; 0: it is gone.
    pub async fn keep_alive(&self, patience: Duration, id: i64) -> Result<i64, Failure> {
        let send = async |session: Session, message: rpc::LeaseKeepAliveRequest| {
            let once = tokio_stream::once(message);
            let mut stream = Lease::new(session.channel.clone())
                .lease_keep_alive(session.request(once))
                .await?
                .into_inner();
            let first = stream.message().await?;
            first
                .map(tonic::Response::new)
                .ok_or_else(|| Status::unavailable("the member ended the stream"))
        };
        let answer = self.call(patience, rpc::LeaseKeepAliveRequest { id }, send).await?;
        Ok(answer.value.ttl)
    }

    /// What happens to a key from a revision on.
    pub async fn watch(
        &self,
        key: Vec<u8>,
        start_revision: i64,
    ) -> Result<Streaming<rpc::WatchResponse>, Failure> {
        let create = rpc::WatchCreateRequest { key, start_revision };
        let send = async |session: Session, message: rpc::WatchCreateRequest| {
            let union = rpc::watch_request::RequestUnion::CreateRequest(message);
            let first = rpc::WatchRequest { request_union: Some(union) };
            // The stream of requests must stay open: its end would end the watch.
            let requests =
                tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
            let mut request = session.request(requests);
            // Without this a member that is cut off would stay silent for ever.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            Watch::new(session.channel.clone())
                .max_decoding_message_size(MESSAGE_LIMIT)
                .watch(request)
                .await
        };
        self.call(PATIENCE, create, send).await.map(|answer| answer.value)
    }

    /// etcd's version, of the member that answers.
    pub async fn version(&self) -> Result<String, Failure> {
        let send = async |session: Session, message: rpc::StatusRequest| {
            Maintenance::new(session.channel.clone()).status(session.request(message)).await
        };
        let answer = self.call(PATIENCE, rpc::StatusRequest {}, send).await?;
        Ok(answer.value.version)
    }

    /// Does the first member answer at all, majority or not? Logging in would need one.
    pub async fn answers(&self) -> bool {
        let Some((_, endpoint)) = self.0.endpoints.first() else { return false };
        let mut member = Maintenance::new(endpoint.connect_lazy());
        match timeout(CONNECT, member.status(rpc::StatusRequest {})).await {
            Ok(Ok(_)) => true,
            // So it wants to know who asks.
            Ok(Err(status)) => Verdict::of(&status) != Verdict::Unknown,
            Err(_) => false,
        }
    }

    /// Leaves the member in use: it is alive but of no use.
    pub fn give_up_member(&self) {
        let mut current = self.current();
        current.turn += 1;
        current.session = None;
    }

    /// What a failure means for whoever reads or writes.
    pub fn error(&self, failure: Failure) -> StoreError {
        let endpoints = self.endpoints();
        match failure {
            Failure::Unavailable(detail) => StoreError::Unavailable { endpoints, detail },
            Failure::Refused { status, .. } => {
                StoreError::Refused { endpoints, detail: explain(&status) }
            }
        }
    }

    async fn call<Q: Clone, A>(
        &self,
        patience: Duration,
        message: Q,
        send: impl AsyncFn(Session, Q) -> Result<tonic::Response<A>, Status>,
    ) -> Result<Answer<A>, Failure> {
        let end = Instant::now() + patience;
        let (mut tries, mut logins, mut repeated) = (0, 0, false);
        let members = self.0.endpoints.len();
        // Little patience must still reach every member.
        let first = FIRST_TRY.min(patience / u32::try_from(members + 1).unwrap_or(u32::MAX));
        let mut last = String::from("no time was left to ask");
        loop {
            let round = tries / members;
            let limit = (first * 2u32.saturating_pow(u32::try_from(round).unwrap_or(9)))
                .min(LONGEST_TRY)
                .min(end.saturating_duration_since(Instant::now()));
            if limit.is_zero() {
                return Err(Failure::Unavailable(last));
            }
            let turn = self.current().turn;
            let attempt = async {
                let session = self.session().await?;
                send(session, message.clone()).await
            };
            let status = match timeout(limit, attempt).await {
                Ok(Ok(response)) => return Ok(Answer { value: response.into_inner(), repeated }),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer in {limit:?}")),
            };
            match Verdict::of(&status) {
                Verdict::No => return Err(Failure::Refused { status, repeated }),
                Verdict::LogInAgain if logins < LOGINS => {
                    logins += 1;
                    self.forget_session(turn, false);
                    continue;
                }
                Verdict::LogInAgain => return Err(Failure::Refused { status, repeated }),
                Verdict::Later => {}
                Verdict::Unknown => {
                    repeated = true;
                    last = format!("{}: {}", self.name(turn), explain(&status));
                    tracing::debug!(member = self.name(turn), %status, "etcd does not answer");
                    self.forget_session(turn, true);
                }
            }
            tries += 1;
            if tries % members == 0 {
                sleep(PAUSE.min(end.saturating_duration_since(Instant::now()))).await;
            }
        }
    }

    async fn session(&self) -> Result<Session, Status> {
        let (turn, session) = {
            let current = self.current();
            (current.turn, current.session.clone())
        };
        if let Some(session) = session {
            return Ok(session);
        }
        let (_, endpoint) = &self.0.endpoints[turn % self.0.endpoints.len()];
        let mut session = Session { turn, channel: endpoint.connect_lazy(), token: None };
        if let Some((name, password)) = self.0.login.clone() {
            let login = rpc::AuthenticateRequest { name, password };
            let answer = Auth::new(session.channel.clone()).authenticate(login).await;
            session.token = match answer {
                Ok(answer) => Some(answer.into_inner().token.parse().map_err(|_| {
                    Status::permission_denied("etcd gave a token that cannot be sent back")
                })?),
                // A name may be known although nobody is asked for it.
                Err(status) if status.message().contains("authentication is not enabled") => None,
                Err(status) => return Err(status),
            };
        }
        let mut current = self.current();
        // Others may have given this member up meanwhile.
        if current.turn == turn {
            current.session = Some(session.clone());
        }
        Ok(session)
    }

    /// The session of this turn is of no use; `next`: nor is the member.
    fn forget_session(&self, turn: usize, next: bool) {
        let mut current = self.current();
        if current.turn == turn {
            current.session = None;
            current.turn += usize::from(next);
        } else if current.session.as_ref().is_some_and(|s| s.turn == turn) {
            current.session = None;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, turn: usize) -> &str {
        &self.0.endpoints[turn % self.0.endpoints.len()].0
    }
}

fn kv(session: &Session) -> Kv {
    Kv::new(session.channel.clone())
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// What to do about a status.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It will not be done, now or later.
    No,
    /// It was not done; our token is too old.
    LogInAgain,
    /// It was not done; etcd has too much to do.
    Later,
    /// It may have been done. Ask another member.
    Unknown,
}

impl Verdict {
    fn of(status: &Status) -> Verdict {
        let says = |text: &str| status.message().contains(text);
        match status.code() {
            Code::Unauthenticated => Verdict::LogInAgain,
            _ if says("revision in header is old") => Verdict::LogInAgain,
            Code::ResourceExhausted if says("too many requests") => Verdict::Later,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Verdict::No,
            _ => Verdict::Unknown,
        }
    }
}

/// A status for people, with what is below it and the way out where it is known.
fn explain(status: &Status) -> String {
    let mut text = status.message().trim_start_matches("etcdserver: ").to_owned();
    if let Some(below) = std::error::Error::source(status) {
        text = chain(below);
    }
    let way_out = match status.message() {
        m if m.contains("database space exceeded") => {
            ": etcd is full. Compact and defragment it, disarm the alarm (etcdctl alarm disarm), \
             or raise its --quota-backend-bytes"
        }
        m if m.contains("request is too large") => {
            ": raise etcd's --max-request-bytes to its default of 1572864 at least"
        }
        m if m.contains("too many operations") => {
            ": raise etcd's --max-txn-ops to its default of 128 at least"
        }
        m if m.contains("user name is empty") => {
            ": etcd asks for a user; set user and password_file"
        }
        m if m.contains("invalid user ID or password") => ": check user and password_file",
        m if m.contains("permission denied") => {
            ": the user needs read and write permission on all keys below /roost/"
        }
        _ => "",
    };
    text + way_out
}

/// An error with all that caused it, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clear_refusals_mean_that_nothing_was_done() {
        let of = |code, text: &str| Verdict::of(&Status::new(code, text));
        assert_eq!(of(Code::Unavailable, "etcdserver: request timed out"), Verdict::Unknown);
        assert_eq!(of(Code::Unknown, "transport error"), Verdict::Unknown);
        assert_eq!(of(Code::Cancelled, ""), Verdict::Unknown);
        assert_eq!(of(Code::InvalidArgument, "etcdserver: request is too large"), Verdict::No);
        assert_eq!(
            of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Verdict::No
        );
        assert_eq!(of(Code::ResourceExhausted, "etcdserver: too many requests"), Verdict::Later);
        assert_eq!(
            of(Code::Unauthenticated, "etcdserver: invalid auth token"),
            Verdict::LogInAgain
        );
        assert_eq!(
            of(Code::InvalidArgument, "etcdserver: revision in header is old"),
            Verdict::LogInAgain
        );
    }

    #[test]
    fn refusals_name_the_way_out() {
        let full = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        assert!(explain(&full).contains("alarm disarm"));
        let open = Status::invalid_argument("etcdserver: user name is empty");
        assert!(explain(&open).contains("password_file"));
    }

    #[tokio::test]
    async fn silence_names_all_endpoints() {
        let settings = EtcdSettings {
            // Nothing listens on these ports.
            endpoints: vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()],
            ttl: 3,
            ..EtcdSettings::default()
        };
        let etcd = Etcd::new(&settings).unwrap();
        let failure = etcd.txn(Duration::from_millis(300), rpc::TxnRequest::default()).await;
        let error = etcd.error(failure.unwrap_err()).to_string();
        assert!(error.contains("http://127.0.0.1:1, http://127.0.0.1:2"), "{error}");
        assert!(error.contains("refused"), "{error}");
    }
}
