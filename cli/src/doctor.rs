//! `casm doctor`: what would stop discovery on this machine, and what to do
//! about it. It looks at this machine alone, and nothing is sent off it, unless it is to
//! ask whether others reach it.

mod clock;
mod firewall;
mod interfaces;
mod ports;
mod reach;

use crate::{args::DoctorArgs, failure::Failure, json::Line, output::Output};

/// One finding.
#[derive(Debug)]
pub struct Finding {
    name: String,
    status: Status,
    message: String,
    advice: Option<String>,
}

/// How good or bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Some peers may not be found.
    Warn,
    /// The node could not run as asked.
    Fail,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Finding {
    fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, message: message.into(), advice: None }
    }

    fn warn(
        name: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { status: Status::Warn, advice: Some(advice.into()), ..Self::ok(name, message) }
    }

    fn fail(
        name: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { status: Status::Fail, ..Self::warn(name, message, advice) }
    }
}

/// Prints what was found. Fails if a node could not run as asked.
pub async fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let config = args.node.config()?;
    let findings = interfaces::check()
        .into_iter()
        .chain(ports::check(&config.listen))
        .chain(firewall::check())
        .chain(clock::check(config.data.as_deref()))
        .chain([reach::check(config, args.wait).await]);
    let mut worst = Status::Ok;
    for Finding { name, status, message, advice } in findings {
        worst = worst.max(status);
        output.line(&Line::Check { name, status: status.name().into(), message, advice })?;
    }
    if worst == Status::Fail { Err(Failure::Told) } else { Ok(()) }
}
