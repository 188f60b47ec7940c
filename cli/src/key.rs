//! `casm key`: identity files, and those of secrets.

use crate::{
    args::{KeyCommand, KeyKind},
    failure::Failure,
    json::Line,
    output::Output,
};
use casm::{Keypair, Secret, identity};
use std::path::Path;

/// Makes or shows a file.
pub fn key(command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New { file, kind, output } => {
            let key = match kind {
                KeyKind::Ed25519 => Keypair::generate_ed25519(),
                KeyKind::Secp256k1 => Keypair::generate_secp256k1(),
                KeyKind::Ecdsa => Keypair::generate_ecdsa(),
            };
            identity::save_key(file, &key)?;
            show(&key, file, Output::new(output.json))
        }
        KeyCommand::Secret { file, output } => {
            let secret = Secret::generate()?;
            secret.save(file)?;
            Output::new(output.json).line(&Line::Secret {
                path: file.display().to_string(),
                fingerprint: secret.fingerprint(),
            })
        }
        KeyCommand::Show { file, output } => {
            show(&identity::load_key(file)?, file, Output::new(output.json))
        }
    }
}

fn show(key: &Keypair, file: &Path, output: Output) -> Result<(), Failure> {
    output.line(&Line::Key {
        path: file.display().to_string(),
        peer: key.public().to_peer_id().to_string(),
        r#type: format!("{:?}", key.key_type()).to_lowercase(),
    })
}
