//! Whole command lines against a master that only pretends: what they submit, print and exit with.

mod balancer;
mod confd;
mod fake_master;
mod filters;
mod help;
mod htools;
mod jobs;
mod lists;
mod parse;
mod power;
mod rules;
mod storage;

pub use fake_master::FakeMaster;

use crate::context::{Environment, Io, Tty};
use crate::tool;
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

/// How a command line ended.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

/// A file in memory.
#[derive(Clone, Default)]
pub struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Memory {
    /// What was written.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("text")
    }
}

/// Runs a command line, words separated by blanks (quotes as in a shell), with these answers to
/// its questions.
pub async fn run_answering(line: &str, environment: Environment, answers: &[&str]) -> Ran {
    let words = crate::values::shell_split(line).into_iter().map(Into::into).collect();
    let (out, err) = (Memory::default(), Memory::default());
    let answers = RefCell::new(answers.iter().map(|a| (*a).to_owned()).collect());
    let tty = Tty::Script(answers, RefCell::default());
    let io = Io::new(Box::new(out.clone()), Box::new(err.clone()), false, tty);
    let code = tool::run_async(words, environment, io).await;
    Ran { code, out: out.text(), err: err.text() }
}

/// The same where no master is needed.
pub async fn run_alone(line: &str) -> Ran {
    let root = tempfile::tempdir().expect("temporary directory");
    let environment = Environment { root: Some(root.path().to_owned()), ..Environment::default() };
    run_answering(line, environment, &[]).await
}
