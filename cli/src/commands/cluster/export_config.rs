//! `gnt-cluster export-config`: a backup of the running cluster, or its `config.data`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::verb::Verb;
use crate::whole_file;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Everything, with the cluster's keys: import-config makes the cluster again
    Roost,
    /// The configuration only, as Ganeti's config.data
    Ganeti,
}

/// `export-config`.
#[derive(Args, Debug)]
pub struct ExportConfig {
    /// What is written
    #[arg(long, value_enum, default_value = "roost")]
    format: Format,
    /// With archived jobs
    #[arg(long)]
    archived_jobs: bool,
    /// Write over a file that is there
    #[arg(short, long)]
    force: bool,
    /// Where to; - is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Verb for ExportConfig {
    const NAME: &'static str = "export-config";
    const ABOUT: &'static str = "Writes a backup of the cluster, or its configuration for Ganeti";

    async fn run(self, cx: &Cx) -> Outcome {
        let to_stdout = self.file.as_os_str() == "-";
        if !to_stdout {
            self.check_free()?;
        }
        let format = match self.format {
            Format::Roost => "roost",
            Format::Ganeti => "ganeti",
        };
        let (text, notes) = cx.client().await?.export_config(format, self.archived_jobs).await?;
        for note in notes {
            cx.note(format_args!("Left out, because Ganeti does not know it: {note}"));
        }
        if to_stdout {
            let text = String::from_utf8(text)
                .map_err(|_| Failure::say("the master sent something else than text"))?;
            cx.io.write_out(&text)?;
        } else {
            // Again, because the master may have taken its time.
            self.check_free()?;
            whole_file::write(&self.file, &text, 0o600).map_err(|why| {
                Failure::say(format!("cannot write {}: {why}", self.file.display()))
            })?;
        }
        if self.format == Format::Roost {
            cx.note(
                "Keep this backup secret: the cluster's keys are in it, and whoever has them commands \
                 every node.",
            );
        }
        Ok(())
    }
}

impl ExportConfig {
    fn check_free(&self) -> Outcome {
        if self.file.exists() && !self.force {
            return Err(Failure::say(format!(
                "{} exists; choose another name, or write over it with --force",
                self.file.display()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::FakeMaster;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_backup_is_written_for_root_only_and_never_over_another() {
        let master = FakeMaster::start();
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("backup");
        let line = format!("gnt-cluster export-config {}", file.display());
        let ran = master.run(&line).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("Keep this backup secret"), "{ran:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("written"), "{\"a\": 1}\n");
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);

        let ran = master.run(&line).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("--force"), "{ran:?}");
        let ran = master.run(&format!("{line} --force --format ganeti --archived-jobs")).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("the cluster: 'extra'"), "{ran:?}");
        assert!(!ran.err.contains("secret"), "{ran:?}");
        assert_eq!(master.calls(), ["export roost false", "export ganeti true"]);
        assert_eq!(dir.path().read_dir().expect("entries").count(), 1);
    }

    #[tokio::test]
    async fn standard_output_is_a_file_too() {
        let ran = FakeMaster::start().run("gnt-cluster export-config -").await;
        assert_eq!(ran.out, "{\"a\": 1}\n");
        let ran = FakeMaster::start().run("gnt-cluster export-config /nowhere/at/all").await;
        assert!(ran.err.contains("cannot write /nowhere/at/all"), "{ran:?}");
    }
}
