//! Clients: each has instances of its own, does one thing after another with them, and keeps what
//! it was told.

use super::Site;
use super::random::Random;
use super::stop::Stop;
use crate::master::{Master, Submitted, diskless};
use serde_json::{Value, json};
use std::time::Duration;

/// A master that has not answered a submission by then may have taken it or not.
const SUBMIT: Duration = Duration::from_secs(20);
/// A job that has not ended by then is left alone; it must have ended in the end.
const JOB: Duration = Duration::from_secs(90);
/// Most instances of one client.
const MOST: usize = 8;

/// What a client wanted to do with an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Create,
    Remove,
    Start,
    Stop,
    /// To wherever the allocator says.
    Migrate,
    Failover,
    /// This much memory, MiB; multiples of 4, to which it is rounded up.
    Memory(u64),
    Tag(String),
}

/// Something a client did, and what it was told of it.
#[derive(Clone, Debug)]
pub struct Told {
    pub instance: String,
    pub wish: Wish,
    pub submitted: Submitted,
    /// The status the client was told, if it heard of the end.
    pub ended: Option<String>,
    /// Whom it asked, in which epoch, and when it asked and was answered: milliseconds.
    pub epoch: u64,
    pub asked: u128,
    pub answered: u128,
}

impl Wish {
    fn opcode(&self, instance: &str, random: &mut Random, nodes: &[String]) -> Value {
        let about = |op: &str, fields: Value| {
            let mut all = fields;
            all["OP_ID"] = format!("OP_INSTANCE_{op}").into();
            all["instance_name"] = instance.into();
            all
        };
        match self {
            Wish::Create => diskless(instance, "tiny+default", random.pick::<String>(nodes)),
            Wish::Remove => about("REMOVE", json!({ "ignore_failures": false })),
            Wish::Start => about("STARTUP", json!({})),
            Wish::Stop => about("SHUTDOWN", json!({ "timeout": 5 })),
            Wish::Migrate => about("MIGRATE", json!({ "target_node": random.pick(nodes) })),
            Wish::Failover => about("FAILOVER", json!({ "target_node": random.pick(nodes) })),
            Wish::Memory(mib) => about(
                "SET_PARAMS",
                json!({ "beparams": { "memory": mib }, "ignore_ipolicy": true }),
            ),
            Wish::Tag(tag) => json!({
                "OP_ID": "OP_TAGS_SET", "kind": "instance", "name": instance, "tags": [tag],
            }),
        }
    }
}

/// Works until `stop`; returns all it was told.
pub async fn run(site: Site, number: usize, mut random: Random, stop: Stop) -> Vec<Told> {
    let mut told = Vec::new();
    let mut mine: Vec<String> = Vec::new();
    let mut count = 0;
    let mut connection: Option<(Master, String, u64)> = None;
    while !stop.said() {
        if connection.is_none() {
            connection = site.leader().await;
        }
        let Some((master, node, epoch)) = connection.clone() else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let (instance, wish) = choose(number, &mut count, &mine, &mut random);
        let opcode = wish.opcode(&instance, &mut random, &site.nodes);
        let asked = site.history.now().as_millis();
        let submitted = master.submit_within(SUBMIT, &opcode).await;
        let answered = site.history.now().as_millis();
        let ended = match &submitted {
            Submitted::Accepted(job) => {
                let ended = tokio::time::timeout(JOB, master.wait(*job)).await;
                ended.ok().and_then(Result::ok)
            }
            _ => None,
        };
        site.history.add(
            "job",
            &json!({
                "client": number, "node": node, "epoch": epoch, "opcode": opcode,
                "asked": asked as u64, "submitted": format!("{submitted:?}"),
                "ended": ended.as_ref().map(|e| e.status.clone()),
                "results": ended.as_ref().map(|e| e.results.clone()),
            }),
        );
        let success = ended.as_ref().is_some_and(crate::master::Ended::ok);
        match (&wish, &submitted, &ended) {
            // Refused at once: nothing has changed.
            (_, Submitted::Refused(_), _) => {}
            (Wish::Create, _, Some(_)) if success => mine.push(instance.clone()),
            (Wish::Create, _, _) => {}
            (Wish::Remove, _, _) => mine.retain(|name| *name != instance),
            // Whoever does not know how it ended leaves it alone: the next thing might overtake it.
            (_, _, None) => mine.retain(|name| *name != instance),
            _ => {}
        }
        if !matches!(submitted, Submitted::Accepted(_)) || ended.is_none() {
            connection = None;
            // No faster than people.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let ended = ended.map(|e| e.status);
        told.push(Told { instance, wish, submitted, ended, epoch, asked, answered });
        tokio::time::sleep(Duration::from_millis(20 + random.below(150) as u64)).await;
    }
    told
}

fn choose(
    number: usize,
    count: &mut usize,
    mine: &[String],
    random: &mut Random,
) -> (String, Wish) {
    if mine.is_empty() || (mine.len() < MOST && random.percent(25)) {
        *count += 1;
        return (format!("s{number}-{count}"), Wish::Create);
    }
    let instance = random.pick(mine).clone();
    let wish = match random.below(100) {
        0..15 => Wish::Remove,
        15..30 => Wish::Start,
        30..45 => Wish::Stop,
        45..60 => Wish::Migrate,
        60..70 => Wish::Failover,
        70..85 => Wish::Memory(4 * (1 + random.below(15) as u64)),
        _ => {
            *count += 1;
            Wish::Tag(format!("t{count}"))
        }
    };
    (instance, wish)
}
