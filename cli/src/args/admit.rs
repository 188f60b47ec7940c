//! `casm admit`.

use super::{OutputArgs, parse};
use casm::{Namespace, PeerId};
use clap::{Args, Subcommand};
use std::{path::PathBuf, time::Duration};

/// `casm admit`.
#[derive(Debug, Subcommand)]
pub enum AdmitCommand {
    /// Make the key of an authority, a file that only you may read, and print the
    /// authority's id, which every node is told
    New {
        /// The file; it must not exist
        file: PathBuf,
        /// Where results go.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Sign a certificate, which makes a peer a member of a cluster
    Sign(SignArgs),
    /// Take back the certificates that were signed for a peer until now: append it to
    /// the file of revocations of any node
    Revoke(RevokeArgs),
    /// Show a certificate, or revocations, and whether their time has come. Whether
    /// the authority is to be trusted, the nodes say
    Show {
        /// The file
        file: PathBuf,
        /// Where results go.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// `casm admit sign`.
#[derive(Args, Debug)]
pub struct SignArgs {
    /// The authority's key
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// Who is to be a member, by the id that `casm key show` prints
    #[arg(long, value_name = "ID", value_parser = parse::peer_id)]
    pub peer: PeerId,
    /// For how long, 366 days at most
    #[arg(long = "for", value_name = "D", default_value = "30d", value_parser = parse::lifetime)]
    pub lifetime: Duration,
    /// What it may do (repeatable, up to 16)
    #[arg(long = "role", value_name = "ROLE", value_parser = parse::role)]
    pub roles: Vec<String>,
    /// The name of the cluster
    #[arg(long = "ns", value_name = "NAME", env = "CASM_NS", default_value = "casm")]
    pub namespace: Namespace,
    /// Write it here, also in the place of an older certificate [default: print it]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm admit revoke`.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// The authority's key
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// Whose certificates
    #[arg(long, value_name = "ID", value_parser = parse::peer_id)]
    pub peer: PeerId,
    /// For how long from now certificates that it has can be valid: nodes forget the
    /// revocation then
    #[arg(long = "for", value_name = "D", default_value = "366d", value_parser = parse::lifetime)]
    pub lifetime: Duration,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl AdmitCommand {
    /// Where results go.
    pub fn output(&self) -> OutputArgs {
        match self {
            Self::New { output, .. } | Self::Show { output, .. } => *output,
            Self::Sign(args) => args.output,
            Self::Revoke(args) => args.output,
        }
    }
}
