//! Generates the Rust code of our Cap'n Proto schemas, and the Swift code of
//! bindings/uniffi. The result is checked in, so that building CASM needs no Cap'n
//! Proto tools, and that Swift's package needs no build step.

use crate::{shell, swift, uniffi};
use anyhow::{Context, Result, ensure};
use std::path::Path;

#[derive(clap::Args)]
pub struct Args {
    /// Fail if the checked-in code is not what is generated.
    #[arg(long)]
    check: bool,
}

/// Schemas of one folder, and the module in which their code lies.
struct Folder {
    path: &'static str,
    schemas: &'static [&'static str],
    module: &'static [&'static str],
}

const FOLDERS: [Folder; 3] = [
    Folder {
        path: "core/schema",
        schemas: &["boot", "chan", "cluster", "csp", "pex", "service"],
        module: &["schema"],
    },
    Folder { path: "core/examples/capability", schemas: &["counter"], module: &[] },
    Folder { path: "core/examples/worker_pool", schemas: &["job"], module: &[] },
];

pub fn run(args: &Args) -> Result<()> {
    ensure_capnp()?;
    let out = std::env::temp_dir().join(format!("casm-codegen-{}", std::process::id()));
    let result = FOLDERS.iter().try_for_each(|folder| {
        std::fs::create_dir_all(&out)?;
        let schema_dir = shell::workspace().join(folder.path);
        generate(folder, &schema_dir, &out)?;
        install(folder, &out, &schema_dir, args.check)
    });
    std::fs::remove_dir_all(&out)?;
    result?;
    swift::generated::install(&uniffi::code()?, args.check)
}

fn generate(folder: &Folder, schema_dir: &Path, out: &Path) -> Result<()> {
    let module = folder.module.iter().map(|&name| name.into()).collect();
    let mut command = capnpc::CompilerCommand::new();
    command.src_prefix(schema_dir).output_path(out).default_parent_module(module);
    for name in folder.schemas {
        command.file(schema_dir.join(format!("{name}.capnp")));
    }
    command.run().context("the Cap'n Proto compiler refused a schema")
}

fn install(folder: &Folder, out: &Path, schema_dir: &Path, check: bool) -> Result<()> {
    for name in folder.schemas {
        let file = format!("{name}_capnp.rs");
        let new = with_data(name, std::fs::read_to_string(out.join(&file))?);
        let target = schema_dir.join(&file);
        if check {
            let old = std::fs::read_to_string(&target).unwrap_or_default();
            ensure!(
                old == new,
                "{} is out of date: run `cargo xtask codegen` and commit the result",
                target.display()
            );
        } else {
            std::fs::write(target, new)?;
        }
    }
    println!(
        "codegen: {}: {} schemas {}",
        folder.path,
        folder.schemas.len(),
        if check { "are up to date" } else { "written" }
    );
    Ok(())
}

/// capnpc 0.27 forgets what the parameter of an interface is in those that the
/// interface itself extends. In `csp`, which has none of its own, it is `Data`.
fn with_data(schema: &str, code: String) -> String {
    match schema {
        "csp" => code
            .replace("::<_T,T>", "::<_T,::capnp::data::Owned>")
            .replace("::Server<T>", "::Server<::capnp::data::Owned>"),
        _ => code,
    }
}

/// The compiler, and the standard schemas it reads for `-> stream`.
fn ensure_capnp() -> Result<()> {
    let schemas = ["/usr/include", "/usr/local/include", "/opt/homebrew/include"]
        .iter()
        .any(|dir| Path::new(dir).join("capnp/stream.capnp").exists());
    shell::ensure_packages(&[
        ("capnproto", shell::works("capnp", &["--version"])),
        ("libcapnp-dev", schemas),
    ])
}
