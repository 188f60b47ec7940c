//! Proves that CASM works with other people's stacks: peers on go-libp2p,
//! js-libp2p and py-libp2p against the program `casm`, in network namespaces.

mod abuse;
mod build;
mod mixed;
mod net;
mod pairs;
mod peer;
mod protocols;
mod report;
mod stack;

use crate::shell;
use anyhow::{Result, ensure};
use report::Report;
use stack::Stack;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Rust and Go only, and no network of twelve.
    #[arg(long)]
    subset: bool,
    /// Only the checks whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// A program `casm` that is built already.
    #[arg(long)]
    casm: Option<PathBuf>,
    /// Write the table to docs/interop.md.
    #[arg(long)]
    write: bool,
}

/// Why some checks cannot be done yet.
const NO_PEX: &str = "this `casm` has no peer exchange: its `run` lacks the option --pex-tick";

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux") && shell::works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]),
        "network namespaces need root on Linux"
    );
    let programs = build::build(args.casm.as_deref(), !args.subset)?;
    let mut report = Report::new(args.only.clone());
    protocols::check(&mut report, &programs);
    let stacks = if args.subset { &Stack::ALL[..2] } else { &Stack::ALL[..] };
    pairs::check(&mut report, &programs, stacks);
    mixed::check(&mut report, &programs, mixed::EIGHT);
    if !args.subset {
        mixed::check(&mut report, &programs, mixed::TWELVE);
    }
    abuse::check(&mut report, &programs);

    let table = report.markdown();
    println!("{table}");
    if args.write {
        std::fs::write(shell::workspace().join("docs/interop.md"), format!("{HEAD}{table}"))?;
    }
    ensure!(report.len() > 0, "no check is named so");
    ensure!(report.failures() == 0, "{} checks of {} fail", report.failures(), report.len());
    Ok(())
}

/// What stands above the table in docs/interop.md.
const HEAD: &str = "\
# Interoperability

What `cargo xtask interop --write` found: the program `casm` against peers that were written from \
the wire format alone on go-libp2p 0.51 (`interop/go`), js-libp2p 3.3 (`interop/js`) and py-libp2p \
0.8 (`interop/py`). Each peer runs on a host of its own, a network namespace on a bridge. The Go peer has \
all of CASM's protocols; JavaScript and Python have heartbeats. Times are those of one run on a \
small machine, and no promise.
";
