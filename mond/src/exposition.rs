//! Figures as Prometheus reads them: its older text format, and OpenMetrics, which is a little stricter.

use crate::metrics::{Family, Metrics, Type};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' own text format, 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What a client that accepts this wants: OpenMetrics only if it says so, and not with less weight than
    /// the other.
    pub fn accepted(accept: &str) -> Format {
        let mut best = (0.0, Format::Text);
        for one in accept.split(',') {
            let mut parts = one.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut weight, mut version) = (1.0, "1.0.0");
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim() {
                    "q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => version = value.trim().trim_matches('"'),
                    _ => {}
                }
            }
            let format = match kind {
                "application/openmetrics-text" if version.starts_with('1') => Format::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Format::Text,
                _ => continue,
            };
            let preferred = best.1 == Format::Text && format == Format::OpenMetrics;
            if weight > best.0 || (weight > 0.0 && weight == best.0 && preferred) {
                best = (weight, format);
            }
        }
        best.1
    }

    /// As the head of an answer says it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What comes last.
    pub fn end(self) -> &'static str {
        match self {
            Format::Text => "",
            Format::OpenMetrics => "# EOF\n",
        }
    }
}

/// Writes the figures of several collectors: families of one name together, and of samples with the same name and
/// labels the first only, because Prometheus refuses everything otherwise.
pub fn write<'a>(all: impl IntoIterator<Item = &'a Metrics>, format: Format, out: &mut String) {
    let mut order: Vec<(&Family, Vec<&Family>)> = vec![];
    let mut places: HashMap<&str, usize> = HashMap::new();
    for family in all.into_iter().flat_map(|metrics| &metrics.families) {
        match places.get(family.name) {
            Some(&place) => order[place].1.push(family),
            None => {
                places.insert(family.name, order.len());
                order.push((family, vec![family]));
            }
        }
    }
    for (first, same) in order {
        head(first, format, out);
        let mut seen = HashSet::new();
        let samples = same.iter().filter(|family| family.kind == first.kind);
        for sample in samples.flat_map(|family| &family.samples) {
            let begin = out.len();
            out.push_str(first.name);
            if first.kind == Type::Counter {
                out.push_str("_total");
            }
            labels(&sample.labels, out);
            if !seen.insert(out[begin..].to_owned()) {
                out.truncate(begin);
                continue;
            }
            out.push(' ');
            number(sample.value, out);
            out.push('\n');
        }
    }
}

fn head(family: &Family, format: Format, out: &mut String) {
    let (kind, suffix) = match (family.kind, format) {
        (Type::Gauge, _) => ("gauge", ""),
        (Type::Counter, Format::OpenMetrics) => ("counter", ""),
        // The older format has no notion of a family's name.
        (Type::Counter, Format::Text) => ("counter", "_total"),
    };
    out.push_str("# HELP ");
    out.push_str(family.name);
    out.push_str(suffix);
    out.push(' ');
    escape(family.help, format == Format::OpenMetrics, out);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n# TYPE {}{suffix} {kind}", family.name);
}

fn labels(labels: &[(&'static str, String)], out: &mut String) {
    for (i, (name, value)) in labels.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        out.push_str(name);
        out.push_str("=\"");
        escape(value, true, out);
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

fn number(value: f64, out: &mut String) {
    let _ = match value {
        f64::INFINITY => write!(out, "+Inf"),
        f64::NEG_INFINITY => write!(out, "-Inf"),
        value => write!(out, "{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_merged_and_samples_unique() {
        let (mut one, mut two) = (Metrics::default(), Metrics::default());
        one.gauge("roost_a_bytes", "A \"thing\"\\.", &[("x", "1\n\"\\")], 1.5);
        one.counter("roost_b", "B.", &[], 7.0);
        two.gauge("roost_a_bytes", "Else.", &[("x", "2"), ("y", "")], f64::INFINITY);
        two.gauge("roost_a_bytes", "Else.", &[("x", "2"), ("y", "")], 3.0);
        two.gauge("roost_b", "Another kind.", &[], 3.0);
        let mut text = String::new();
        write([&one, &two], Format::Text, &mut text);
        assert_eq!(
            text,
            "# HELP roost_a_bytes A \"thing\"\\\\.\n# TYPE roost_a_bytes gauge\n\
             roost_a_bytes{x=\"1\\n\\\"\\\\\"} 1.5\nroost_a_bytes{x=\"2\",y=\"\"} +Inf\n\
             # HELP roost_b_total B.\n# TYPE roost_b_total counter\nroost_b_total 7\n"
        );
        let mut text = String::new();
        write([&one], Format::OpenMetrics, &mut text);
        assert_eq!(
            text,
            "# HELP roost_a_bytes A \\\"thing\\\"\\\\.\n# TYPE roost_a_bytes gauge\n\
             roost_a_bytes{x=\"1\\n\\\"\\\\\"} 1.5\n\
             # HELP roost_b B.\n# TYPE roost_b counter\nroost_b_total 7\n"
        );
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("application/openmetrics-text"), Format::OpenMetrics);
        assert_eq!(
            Format::accepted("text/plain, application/openmetrics-text"),
            Format::OpenMetrics
        );
        for text in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0.2, text/plain;q=0.5",
            "application/openmetrics-text; version=2.0.0",
            "application/openmetrics-text;q=0",
        ] {
            assert_eq!(Format::accepted(text), Format::Text, "{text}");
        }
    }
}
