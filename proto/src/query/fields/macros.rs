//! The macro that turns a table of fields into an enum and its [`Field`](super::Field)
//! implementation, so that a field is written down once.

/// Each plain field: `Variant: "name", "Title", Kind, [Live|HostName|JobTime…], "meaning";`.
/// `indexed` families have `count` members each, numbered from 0: the variant holds the number.
/// `params` families take their members from a table: the variant holds the parameter's name.
macro_rules! fields {
    (
        $(#[$meta:meta])*
        $enum:ident of $resource:ident;
        plain { $($plain:ident: $name:literal, $title:literal, $kind:ident, [$($hint:ident)?], $doc:literal;)* }
        $(indexed { $($indexed:ident: $count:literal of $iname:literal, $ititle:literal, $ikind:ident, $idoc:literal;)* })?
        $(params { $($param:ident: $table:path, $pname:literal;)* })?
        $(aliases { $($alias:literal = $target:literal;)* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $(#[doc = concat!("`", $name, "`: ", $doc, ".")] $plain,)*
            $($(#[doc = concat!("`", $iname, "N`: ", $idoc, " N.")] $indexed(u8),)*)?
            $($(#[doc = concat!("`", $pname, "NAME`: the parameter of that name.")] $param(&'static str),)*)?
        }

        impl $crate::query::fields::Field for $enum {
            const RESOURCE: $crate::query::Resource = $crate::query::Resource::$resource;
            const ALIASES: &'static [(&'static str, &'static str)] = &[$($(($alias, $target),)*)?];

            fn parse(name: &str) -> Option<Self> {
                let name = Self::ALIASES.iter().find(|(a, _)| *a == name).map_or(name, |(_, t)| t);
                match name {
                    $($name => return Some(Self::$plain),)*
                    _ => {}
                }
                $($(
                    if let Some(index) = name.strip_prefix($iname) {
                        return $crate::query::fields::macros::index(index, $count).map(Self::$indexed);
                    }
                )*)?
                $($(
                    if let Some(param) = name.strip_prefix($pname) {
                        return $crate::query::fields::find_param(&$table, param).map(|p| Self::$param(p.name));
                    }
                )*)?
                None
            }

            fn def(&self) -> $crate::query::fields::FieldDef {
                use std::borrow::Cow;
                #[allow(unused_imports, reason = "not every resource has every kind")]
                use $crate::query::fields::{FieldDef, FieldKind, Matching, Source};
                match *self {
                    $(Self::$plain => FieldDef {
                        name: Cow::Borrowed($name),
                        title: Cow::Borrowed($title),
                        kind: FieldKind::$kind,
                        doc: Cow::Borrowed($doc),
                        source: $crate::query::fields::macros::source!($($hint)?),
                        matching: $crate::query::fields::macros::matching!($($hint)?),
                    },)*
                    $($(Self::$indexed(index) => FieldDef {
                        name: Cow::Owned(format!("{}{index}", $iname)),
                        title: Cow::Owned(format!("{}{index}", $ititle)),
                        kind: FieldKind::$ikind,
                        doc: Cow::Owned(format!("{} {index}", $idoc)),
                        source: Source::Config,
                        matching: Matching::Exact,
                    },)*)?
                    $($(Self::$param(name) => $crate::query::fields::macros::param_def($pname, name, &$table),)*)?
                }
            }

            fn source(&self) -> $crate::query::fields::Source {
                match self {
                    $(Self::$plain => $crate::query::fields::macros::source!($($hint)?),)*
                    #[allow(unreachable_patterns, reason = "not every resource has families")]
                    _ => $crate::query::fields::Source::Config,
                }
            }

            fn all() -> Vec<Self> {
                #[allow(unused_mut, reason = "not every resource has families")]
                let mut all = vec![$(Self::$plain,)*];
                $($(all.extend((0..$count).map(Self::$indexed));)*)?
                $($(all.extend($table.iter().map(|p| Self::$param(p.name)));)*)?
                all
            }
        }
    };
}
pub(crate) use fields;

macro_rules! source {
    (Live) => {
        $crate::query::fields::Source::Live
    };
    ($($other:ident)?) => {
        $crate::query::fields::Source::Config
    };
}
pub(crate) use source;

macro_rules! matching {
    (HostName) => {
        $crate::query::fields::Matching::HostName
    };
    (JobTime) => {
        $crate::query::fields::Matching::JobTime
    };
    ($($other:ident)?) => {
        $crate::query::fields::Matching::Exact
    };
}
pub(crate) use matching;

use super::{FieldDef, FieldKind, Matching, ParamField, Source, find_param};
use std::borrow::Cow;

/// Reads the number of a family's member, in its one spelling.
pub(super) fn index(text: &str, count: u8) -> Option<u8> {
    let number = text.parse().ok().filter(|n| *n < count)?;
    (text.len() == 1 || !text.starts_with(['0', '+'])).then_some(number)
}

/// Describes a member of a family of parameters.
pub(super) fn param_def(family: &str, name: &str, table: &'static [ParamField]) -> FieldDef {
    let full = format!("{family}{name}");
    let param = find_param(table, name);
    FieldDef {
        title: param.and_then(|p| p.title).map_or_else(|| Cow::Owned(full.clone()), Cow::Borrowed),
        kind: param.map_or(FieldKind::Other, |p| p.kind),
        doc: match param {
            Some(p) if !p.doc.is_empty() => Cow::Borrowed(p.doc),
            _ => Cow::Owned(format!("The \"{name}\" hypervisor parameter")),
        },
        name: Cow::Owned(full),
        source: Source::Config,
        matching: Matching::Exact,
    }
}
