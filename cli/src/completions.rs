//! `casm completions`: scripts with which shells complete command lines.

use crate::{args::Cli, failure::Failure, output::Output};
use clap::CommandFactory;
use clap_complete::Shell;

/// Prints the script of a shell.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "casm", &mut script);
    Output::new(false).write(script)
}
