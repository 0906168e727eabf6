//! What came of one run of a collector, written once and served many times.

use crate::clock;
use crate::collector::{About, Collected};
use crate::metrics::Metrics;
use crate::report::{Code, Data, Health, Kind, Report};
use bytes::Bytes;
use roost_proto::error::{Error, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Outcome {
    pub finished: Instant,
    pub took: Duration,
    /// Whether the run went well.
    pub up: bool,
    /// The judgement of a report that has one.
    pub status: Option<u8>,
    /// The report for whoever asks for it alone; or why there is none: a sentence.
    pub alone: Result<Bytes, Bytes>,
    /// The report among all others; there is always one.
    pub among_all: Bytes,
}

/// The last run that went well.
#[derive(Clone, Debug)]
pub struct Good {
    pub finished: Instant,
    pub metrics: Arc<Metrics>,
    report: Report,
}

impl Outcome {
    /// Of a run that took so long and ended now. `last` is the good run before it, where that is kept.
    pub fn of(
        about: &About,
        took: Duration,
        result: Result<Collected>,
        last: Option<&Good>,
    ) -> (Outcome, Option<Good>) {
        let finished = Instant::now();
        let written = result.and_then(|Collected { data, metrics }| {
            let report = report(about, data);
            let status = match about.kind {
                Kind::Status => Some(status(&report.data)?),
                Kind::Performance => None,
            };
            Ok((Bytes::from(report.json()?), status, report, metrics))
        });
        let error = match written {
            Ok((json, status, report, metrics)) => {
                let outcome = Outcome {
                    finished,
                    took,
                    up: true,
                    status,
                    alone: Ok(json.clone()),
                    among_all: json,
                };
                let metrics = Arc::new(metrics);
                return (outcome, Some(Good { finished, metrics, report }));
            }
            Err(error) => error,
        };
        let status = (about.kind == Kind::Status).then_some(Code::Unknown as u8);
        if let Some(Ok((json, status))) = last.map(|good| stale(good, finished, &error)) {
            let outcome = Outcome {
                finished,
                took,
                up: false,
                status,
                alone: Ok(json.clone()),
                among_all: json,
            };
            return (outcome, None);
        }
        let sentence = format!("Collector {} has no report: {}", about.name, error.message);
        let outcome = Outcome {
            finished,
            took,
            up: false,
            status,
            alone: Err(Bytes::from(sentence)),
            among_all: failed(about, &error),
        };
        (outcome, None)
    }
}

fn report(about: &About, data: Data) -> Report {
    Report {
        name: about.name.as_ref().to_owned(),
        version: about.version.as_ref().to_owned(),
        format_version: about.format_version,
        timestamp: clock::now(),
        category: about.category,
        kind: about.kind,
        data,
    }
}

/// The code in the data of a report of this kind.
fn status(data: &Data) -> Result<u8> {
    #[derive(Deserialize)]
    struct Judged {
        status: Judgement,
    }
    #[derive(Deserialize)]
    struct Judgement {
        code: u8,
    }
    serde_json::from_str(data.get()).map(|judged: Judged| judged.status.code).map_err(|e| {
        Error::environment(format!(
            "a report of kind 1 begins with \"status\": {{\"code\": …, \"message\": …}}, this one does not: {e}"
        ))
    })
}

/// The envelope around an error: the data has nothing but `error`, behind a `status` where there must be one.
fn failed(about: &About, error: &Error) -> Bytes {
    #[derive(Serialize)]
    struct Failed<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Health>,
        error: &'a str,
    }
    let status = (about.kind == Kind::Status).then(|| Health::new(Code::Unknown, &error.message));
    Data::of(&Failed { status, error: &error.message })
        .and_then(|data| report(about, data).json())
        .map(Bytes::from)
        // Strings and numbers can be written; in the worst case it is one report less that is whole.
        .unwrap_or_else(|_| Bytes::from_static(b"null"))
}

/// The last good report again, with its own time: an object says besides how old it is and why; a judgement is
/// not believed any more.
fn stale(good: &Good, now: Instant, error: &Error) -> Result<(Bytes, Option<u8>)> {
    let age = now.duration_since(good.finished).as_secs();
    let mut report = good.report.clone();
    let Ok(mut fields) = serde_json::from_str::<Fields>(report.data.get()) else {
        return Ok((Bytes::from(report.json()?), None));
    };
    let mut code = None;
    if report.kind == Kind::Status {
        let why = format!("No report for {age} s: {}", error.message);
        let worst = status(&report.data)?.max(Code::Unknown as u8);
        code = Some(worst);
        #[derive(Serialize)]
        struct Judgement<'a> {
            code: u8,
            message: &'a str,
        }
        fields.set("status", &Judgement { code: worst, message: &why })?;
    }
    fields.set("stale_seconds", &age)?;
    fields.set("stale_reason", &error.message)?;
    report.data = Data::of(&fields)?;
    Ok((Bytes::from(report.json()?), code))
}

/// The fields of an object in their order.
struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    fn set(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        let value = serde_json::value::to_raw_value(value)
            .map_err(|e| Error::internal(format!("a report cannot be written: {e}")))?;
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Fields, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> std::result::Result<Fields, M::Error> {
                let mut fields = vec![];
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Category;

    const FIGURES: About = About::built_in("figures", Category::Storage, Kind::Performance);
    const JUDGED: About = About::built_in("judged", Category::Default, Kind::Status);

    fn collected(data: &str) -> Result<Collected> {
        Ok(Collected { data: Data::parse(data.into()).unwrap(), metrics: Metrics::default() })
    }

    fn data(report: &Bytes) -> String {
        let text = std::str::from_utf8(report).unwrap();
        text.split_once("\"data\":").unwrap().1.trim_end_matches('}').to_owned()
    }

    #[test]
    fn a_failure_is_a_sentence_alone_and_a_report_among_all() {
        let why = || Err(Error::environment("no such disk"));
        let (outcome, good) = Outcome::of(&FIGURES, Duration::ZERO, why(), None);
        assert!(good.is_none() && !outcome.up);
        assert_eq!(
            outcome.alone.unwrap_err(),
            "Collector figures has no report: no such disk".as_bytes()
        );
        assert_eq!(data(&outcome.among_all), r#"{"error":"no such disk""#);
        let (outcome, _) = Outcome::of(&JUDGED, Duration::ZERO, why(), None);
        assert_eq!(outcome.status, Some(2));
        assert_eq!(
            data(&outcome.among_all),
            r#"{"status":{"code":2,"message":"no such disk"},"error":"no such disk""#
        );
    }

    #[test]
    fn a_judgement_must_be_there() {
        let good = collected(r#"{"status":{"code":4,"message":"bad"}}"#);
        assert_eq!(Outcome::of(&JUDGED, Duration::ZERO, good, None).0.status, Some(4));
        let (outcome, _) = Outcome::of(&JUDGED, Duration::ZERO, collected("[]"), None);
        assert!(!outcome.up && outcome.alone.is_err());
    }

    #[test]
    fn an_old_value_says_how_old_it_is() {
        let why = || Err(Error::environment("gone"));
        let good = Outcome::of(&FIGURES, Duration::ZERO, collected(r#"{"z":1,"a":2}"#), None).1;
        let (outcome, _) = Outcome::of(&FIGURES, Duration::ZERO, why(), good.as_ref());
        let report = outcome.alone.unwrap();
        assert_eq!(data(&report), r#"{"z":1,"a":2,"stale_seconds":0,"stale_reason":"gone""#);
        let good = Outcome::of(&FIGURES, Duration::ZERO, collected("[1]"), None).1;
        let (outcome, _) = Outcome::of(&FIGURES, Duration::ZERO, why(), good.as_ref());
        assert_eq!(data(&outcome.alone.unwrap()), "[1]");
        let well = collected(r#"{"status":{"code":0,"message":""},"n":1}"#);
        let good = Outcome::of(&JUDGED, Duration::ZERO, well, None).1;
        let (outcome, _) = Outcome::of(&JUDGED, Duration::ZERO, why(), good.as_ref());
        assert_eq!((outcome.status, outcome.up), (Some(2), false));
        assert!(
            data(&outcome.alone.unwrap())
                .starts_with(r#"{"status":{"code":2,"message":"No report for 0 s: gone"},"n":1,"#)
        );
    }
}
