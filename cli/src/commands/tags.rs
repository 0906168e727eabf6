//! `list-tags`, `add-tags` and `remove-tags`, which are the same for every kind of object.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use roost_proto::choices::TagKind;
use roost_proto::error::{Error, Result};
use roost_proto::query::{Filter, Resource};
use serde_json::Value;
use std::io::Read;

/// The tags of an object, sorted.
pub async fn tags_of(cx: &Cx, kind: TagKind, name: Option<&str>) -> Outcome<Vec<String>> {
    let client = cx.client().await?;
    let value = match (kind, name) {
        (TagKind::Cluster, _) => client.info().await?.get("tags").cloned().unwrap_or_default(),
        (_, None) => return Err(Error::wrong_input(format!("Name the {kind}")).into()),
        (kind, Some(name)) => {
            let resource = match kind {
                TagKind::Node => Resource::Node,
                TagKind::NodeGroup => Resource::Group,
                TagKind::Instance => Resource::Instance,
                TagKind::Network | TagKind::Cluster => Resource::Network,
            };
            let filter = Filter::Or(vec![Filter::equal(resource.name_field(), name)]);
            let response = client.query(resource, &["tags"], Some(&filter)).await?;
            let cell = response.data.into_iter().flatten().next();
            cell.map(|cell| cell.value).unwrap_or_default()
        }
    };
    let mut tags: Vec<String> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tag| tag.as_str().map(str::to_owned))
        .collect();
    tags.sort();
    Ok(tags)
}

/// Prints tags, a line each.
pub async fn print(cx: &Cx, kind: TagKind, name: Option<&str>, json: bool) -> Outcome {
    let tags = tags_of(cx, kind, name).await?;
    if json {
        return cx.io.write_out(&crate::table::pretty(&Value::from(tags)));
    }
    for tag in tags {
        say!(cx, "{tag}");
    }
    Ok(())
}

/// The tags on the command line and in the file (`-` is standard input, a line each).
pub fn collect(mut tags: Vec<String>, from: Option<&str>) -> Result<Vec<String>> {
    let text = match from {
        None => String::new(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|why| Error::environment(format!("cannot read standard input: {why}")))?;
            text
        }
        Some(path) => std::fs::read_to_string(path)
            .map_err(|why| Error::environment(format!("cannot read '{path}': {why}")))?,
    };
    tags.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    if tags.is_empty() {
        return Err(Error::wrong_input("No tags to be added or removed: name them, or use --from"));
    }
    Ok(tags)
}

/// Defines the three commands for a kind of object; `named` for those that have a name.
macro_rules! tag_verbs {
    ($kind:expr $(, $name:ident : $value_name:literal)?) => {
        /// `list-tags`.
        #[derive(clap::Args, Debug)]
        pub struct ListTags {
            /// JSON instead of lines
            #[arg(long)]
            json: bool,
            $(#[doc = "Its name"]
            #[arg(value_name = $value_name)]
            $name: String,)?
        }

        impl $crate::verb::Verb for ListTags {
            const NAME: &'static str = "list-tags";
            const ABOUT: &'static str = "Lists the tags";

            async fn run(self, cx: &$crate::context::Cx) -> $crate::failure::Outcome {
                let name: Option<&str> = None;
                $(let name = name.or(Some(self.$name.as_str()));)?
                $crate::commands::tags::print(cx, $kind, name, self.json).await
            }
        }

        $crate::commands::tags::tag_change!(
            AddTags, TagsSet, "add-tags", "Adds tags", $kind $(, $name: $value_name)?
        );
        $crate::commands::tags::tag_change!(
            RemoveTags, TagsDel, "remove-tags", "Removes tags", $kind $(, $name: $value_name)?
        );
    };
}
pub(crate) use tag_verbs;

/// One of the two that change something.
macro_rules! tag_change {
    (
        $verb:ident, $op:ident, $word:literal, $about:literal, $kind:expr
        $(, $name:ident : $value_name:literal)?
    ) => {
        #[doc = concat!("`", $word, "`.")]
        #[derive(clap::Args, Debug)]
        pub struct $verb {
            #[command(flatten)]
            job: $crate::submit::SubmitPriority,
            /// A file with more tags, a line each; - is standard input
            #[arg(long, value_name = "FILE")]
            from: Option<String>,
            $(#[doc = "Its name"]
            #[arg(value_name = $value_name)]
            $name: String,)?
            /// The tags
            #[arg(value_name = "TAG")]
            tags: Vec<String>,
        }

        impl $crate::verb::Verb for $verb {
            const NAME: &'static str = $word;
            const ABOUT: &'static str = $about;

            async fn run(self, cx: &$crate::context::Cx) -> $crate::failure::Outcome {
                let tags = $crate::commands::tags::collect(self.tags, self.from.as_deref())?;
                let name: Option<String> = None;
                $(let name = name.or(Some(self.$name));)?
                let op = roost_proto::opcodes::$op {
                    name,
                    ..roost_proto::opcodes::$op::new($kind, tags)
                };
                $crate::submit::run(cx, op, &self.job.how()).await?;
                Ok(())
            }
        }
    };
}
pub(crate) use tag_change;
