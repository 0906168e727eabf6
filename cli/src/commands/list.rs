//! `list-fields`, which is the same for every tool.

/// Defines the `list-fields` command of a resource.
macro_rules! list_fields {
    ($resource:expr) => {
        /// `list-fields`: what `list -o` knows.
        #[derive(clap::Args, Debug)]
        pub struct ListFields {
            #[command(flatten)]
            look: $crate::table::LookOptions,
            /// Only these
            #[arg(value_name = "FIELD")]
            fields: Vec<String>,
        }

        impl $crate::verb::Verb for ListFields {
            const NAME: &'static str = "list-fields";
            const ABOUT: &'static str = "Lists all available fields";

            async fn run(self, cx: &$crate::context::Cx) -> $crate::failure::Outcome {
                $crate::table::list_fields(cx, $resource, &self.fields, &self.look)
            }
        }
    };
}
pub(crate) use list_fields;
