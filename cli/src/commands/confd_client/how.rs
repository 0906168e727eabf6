//! How to ask, and how to show what was answered.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::table;
use clap::Args;
use roost_confd::client::{self, AskError, Client, DrbdMinor, Heard};
use roost_confd::wire::{HmacKey, PORT, Query, QueryType, Status, Tag};
use roost_proto::query::format::write_response;
use roost_proto::query::{Cell, FieldDef, FieldKind, QueryResponse, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What every question has.
#[derive(Args, Debug)]
pub(super) struct How {
    /// Ask the confd at this address; repeat for more (usually the cluster's master candidates)
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,
    /// At this UDP port
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    port: u16,
    /// The key that signs questions and answers (usually that of this machine's cluster)
    #[arg(long, value_name = "FILE")]
    hmac_key: Option<PathBuf>,
    /// How long to wait for answers
    #[arg(long, value_name = "SECONDS", default_value_t = client::TIMEOUT.as_secs_f64())]
    timeout: f64,
    /// Ask all, wait for all, and show what each answers
    #[arg(long)]
    all: bool,
    /// Sign with HMAC-SHA256; the daemons must allow it
    #[arg(long)]
    sha256: bool,
    /// The whole outcome as JSON
    #[arg(long)]
    json: bool,
}

/// An outcome as JSON.
#[derive(Serialize)]
struct Report<'a> {
    /// Null: all have refused.
    answer: Option<&'a RawValue>,
    serial: u64,
    from: IpAddr,
    consistent: bool,
    asked: &'a [IpAddr],
    answers: Vec<ReportAnswer<'a>>,
}

#[derive(Serialize)]
struct ReportAnswer<'a> {
    from: IpAddr,
    status: u8,
    serial: u64,
    answer: &'a RawValue,
}

impl How {
    /// Whoever asks.
    pub(super) fn client(&self, cx: &Cx) -> Outcome<Client> {
        let timeout = Duration::try_from_secs_f64(self.timeout)
            .map_err(|_| Failure::say(format!("'{}' is no time to wait", self.timeout)))?;
        let say = |error: roost_proto::error::Error| Failure::say(error.message);
        let key = match &self.hmac_key {
            Some(file) => HmacKey::read(file),
            None => client::key(&cx.paths),
        };
        let peers = match self.address.is_empty() {
            true => client::candidates(&cx.paths).map_err(|error| {
                Failure::say(format!("{}; --address says whom to ask", error.message))
            })?,
            false => self.address.clone(),
        };
        let tag = if self.sha256 { Tag::Sha256 } else { Tag::Sha1 };
        let client = Client::new(peers, key.map_err(say)?).map_err(say)?;
        let client = client.port(self.port).tag(tag).timeout(timeout);
        Ok(if self.all { client.all() } else { client })
    }

    /// Whether the answer is wanted as it came.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Asks, and shows the answer that counts, or everybody's, in lines.
    pub(super) async fn show<T: DeserializeOwned>(
        &self,
        cx: &Cx,
        (kind, query): (QueryType, Query<'_>),
        lines: impl Fn(&T) -> String,
    ) -> Outcome {
        let outcome = self.client(cx)?.ask(kind, query).await.map_err(say)?;
        let best = outcome.best();
        let text = |heard: &Heard| heard.value::<T>(kind).map(|value| lines(&value));
        if self.json {
            let report = Report {
                answer: Some(&*best.reply.answer).filter(|_| best.reply.status == Status::Ok),
                serial: best.reply.serial,
                from: best.from,
                consistent: outcome.consistent,
                asked: &outcome.asked,
                answers: outcome
                    .heard
                    .iter()
                    .map(|heard| ReportAnswer {
                        from: heard.from,
                        status: heard.reply.status as u8,
                        serial: heard.reply.serial,
                        answer: &heard.reply.answer,
                    })
                    .collect(),
            };
            cx.io.write_out(&pretty(&report))?;
        } else if self.all {
            let mut asked = outcome.asked.clone();
            asked.sort();
            for peer in asked {
                match outcome.heard.iter().find(|heard| heard.from == peer) {
                    None => cx.say(format_args!("{peer}: no answer"))?,
                    Some(heard) => {
                        cx.say(format_args!("{peer}: serial {}", heard.reply.serial))?;
                        let text = text(heard).unwrap_or_else(|error| format!("{error}\n"));
                        let indented = text.lines().map(|line| format!("  {line}\n"));
                        cx.io.write_out(&indented.collect::<String>())?;
                    }
                }
            }
        }
        if !outcome.consistent {
            cx.note(format_args!(
                "Warning: answers with serial {} differ: 'gnt-confd-client {} --all' shows them",
                best.reply.serial, cx.verb
            ));
        }
        let text = text(best).map_err(say)?;
        match self.json || self.all {
            true => Ok(()),
            false => cx.io.write_out(&text),
        }
    }
}

/// How a question without an answer ends a command.
pub(super) fn say(error: AskError) -> Failure {
    Failure::say(error.to_string())
}

/// One a line.
pub(super) fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

/// JSON for people.
pub(super) fn pretty(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    table::pretty(&value)
}

/// A table with these headers; numbers to the right.
pub(super) fn rows(headers: &[(&str, FieldKind)], data: Vec<Vec<Value>>) -> QueryResponse {
    let field = |(title, kind): &(&str, FieldKind)| FieldDef {
        kind: *kind,
        title: (*title).to_owned().into(),
        ..FieldDef::unknown(&title.to_lowercase())
    };
    QueryResponse {
        fields: headers.iter().map(field).collect(),
        data: data.into_iter().map(|row| row.into_iter().map(Cell::new).collect()).collect(),
    }
}

/// The same as text.
pub(super) fn table(headers: &[(&str, FieldKind)], data: Vec<Vec<Value>>) -> String {
    text_of(&rows(headers, data))
}

/// A table as text.
pub(super) fn text_of(rows: &QueryResponse) -> String {
    let look = table::LookOptions::default();
    let mut text = String::new();
    if let Ok(options) = look.table(None, false, &table::time) {
        // A resource without formats of its own.
        write_response(&mut text, Resource::NodeVolume, rows, &options);
    }
    text
}

/// The table of DRBD minors, as `gnt-node list-drbd` shows it.
pub(in crate::commands) fn minors_table(minors: &[DrbdMinor]) -> QueryResponse {
    let headers = [
        ("Node", FieldKind::Text),
        ("Minor", FieldKind::Number),
        ("Instance", FieldKind::Text),
        ("Disk", FieldKind::Text),
        ("Role", FieldKind::Text),
        ("PeerNode", FieldKind::Text),
    ];
    let row = |m: &DrbdMinor| {
        vec![
            json!(m.node),
            json!(m.minor),
            json!(m.instance),
            json!(m.disk),
            json!(m.role),
            json!(m.peer),
        ]
    };
    rows(&headers, minors.iter().map(row).collect())
}
