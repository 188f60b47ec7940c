//! The program `casm`: join, watch and query a cluster from the command line.

mod admit;
mod args;
mod completions;
mod demo;
mod discover;
mod doctor;
mod failure;
mod follow;
mod interrupt;
mod json;
mod key;
mod lists;
mod log;
mod ls;
mod outlet;
mod output;
mod pipe;
mod run;
mod service;
mod telemetry;
mod text;
mod topic;
mod watch;

use args::{Cli, Command};
use clap::Parser;
use failure::{Failure, explain};
use json::Line;
use output::Output;
use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let limit = log::start(&cli.log, matches!(cli.command, Command::Watch(_)));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("casm: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = execute(&cli) => result,
            () = limit.tell() => Ok(()),
        }
    });
    limit.tell_rest();
    if let Err(Failure::Error(error)) = &result {
        output::remark(&explain(error));
        if cli.json() {
            // Nothing is left to do if even this can't be written.
            let _ = Output::new(true).line(&Line::error(error));
        }
    }
    output::drain();
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.map_or_else(|failure| failure.exit_code(), |()| ExitCode::SUCCESS)
}

async fn execute(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Demo(args) => demo::demo(args, &cli.log).await,
        Command::Run(args) => run::run(args).await,
        Command::Ls(args) => ls::ls(args).await,
        Command::Watch(args) => watch::watch(args).await,
        Command::Pub(args) => topic::publish(args).await,
        Command::Sub(args) => topic::subscribe(args).await,
        Command::Discover(command) => discover::discover(command).await,
        Command::Call(args) => service::call(args).await,
        Command::Serve(args) => service::serve(args).await,
        Command::Services(args) => service::services(args).await,
        Command::Pipe(command) => pipe::pipe(command).await,
        Command::Key(command) => key::key(command),
        Command::Admit(command) => admit::admit(command),
        Command::Doctor(args) => doctor::doctor(args).await,
        Command::Completions { shell } => completions::completions(*shell),
    }
}
