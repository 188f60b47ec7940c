//! Generates the Swift and Kotlin code of a library, having checked that it
//! exports all that every language has.
//!
//! `casm-uniffi-generate LIBRARY CRATE TABLE OUT`: the built library; the folder
//! of its crate, in which `uniffi.toml` lies; the table of what every language
//! has; and where the code goes, into `kotlin` and `swift`.

mod parity;
mod starts;

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8PathBuf;
use std::{env, fs};
use uniffi_bindgen::{
    BindgenPaths, BindgenPathsLayer, EmptyCrateConfigSupplier,
    bindings::{GenerateOptions, TargetLanguage, generate_with_bindgen_paths},
    library_mode::find_components,
};

/// The library, as uniffi calls it.
const CRATE: &str = "casm_uniffi";

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).map(Utf8PathBuf::from).collect();
    let [library, root, table, out] = &args[..] else {
        bail!("usage: casm-uniffi-generate LIBRARY CRATE TABLE OUT");
    };
    let components = find_components(library, &EmptyCrateConfigSupplier)?;
    let exported = components
        .iter()
        .map(|component| &component.ci)
        .find(|interface| interface.crate_name() == CRATE)
        .with_context(|| format!("{library} exports nothing of {CRATE}"))?;
    let table = fs::read_to_string(table).with_context(|| format!("{table} cannot be read"))?;
    let missing = parity::differences(&table, exported)?;
    ensure!(missing.is_empty(), "this is not what every language has:\n  {}", missing.join("\n  "));

    for (name, language) in [("kotlin", TargetLanguage::Kotlin), ("swift", TargetLanguage::Swift)] {
        let mut paths = BindgenPaths::default();
        paths.add_layer(Root(root.clone()));
        let options = GenerateOptions {
            languages: vec![language],
            source: library.clone(),
            out_dir: out.join(name),
            crate_filter: Some(CRATE.into()),
            ..GenerateOptions::default()
        };
        generate_with_bindgen_paths(options, paths)?;
    }
    println!("generated: {out}: Kotlin and Swift, with all that every language has");
    Ok(())
}

/// Where the library's crate lies.
struct Root(Utf8PathBuf);

impl BindgenPathsLayer for Root {
    fn get_crate_root(&self, crate_name: &str) -> Option<Utf8PathBuf> {
        (crate_name == CRATE).then(|| self.0.clone())
    }
}
