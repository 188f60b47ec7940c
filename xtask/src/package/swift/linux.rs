//! The library for Linux: an artifact bundle, which Swift takes from 6.2 on, and a
//! tarball to install, which pkg-config finds.

use super::{
    Headers, LIBRARY, MODULE,
    archive::{Arch, Library, System},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// For which processors there is a library.
pub const ARCHES: [Arch; 2] = [Arch::Arm64, Arch::X86_64];

/// The version of all packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes the bundle into a folder that is not there yet.
///
/// # Errors
/// If two libraries are for the same processor; if none is for Linux.
pub fn bundle(folder: &Path, libraries: &[Library], headers: &Headers) -> Result<()> {
    let mut arches: BTreeMap<Arch, &Library> = BTreeMap::new();
    for library in libraries.iter().filter(|library| library.system == System::Linux) {
        let same = arches.insert(library.arch, library);
        ensure!(
            same.is_none(),
            "{} is not the only one for {}: give one of them",
            library.file.display(),
            library.arch.triple()
        );
    }
    ensure!(!arches.is_empty(), "none of the libraries is for Linux");
    headers.write(&folder.join("include"))?;
    for (arch, library) in &arches {
        let place = folder.join(arch.triple());
        fs::create_dir_all(&place)?;
        fs::write(place.join(LIBRARY), &library.bytes)?;
    }
    let variants: Vec<Value> = arches.keys().map(|arch| variant(*arch)).collect();
    let artifact = json!({ "type": "staticLibrary", "version": VERSION, "variants": variants });
    let mut artifacts = serde_json::Map::new();
    artifacts.insert(MODULE.into(), artifact);
    let info = json!({ "schemaVersion": "1.0", "artifacts": artifacts });
    fs::write(folder.join("info.json"), serde_json::to_string_pretty(&info)? + "\n")?;
    Ok(())
}

fn variant(arch: Arch) -> Value {
    let triple = arch.triple();
    json!({
        "path": format!("{triple}/{LIBRARY}"),
        // Debian's Swift calls it so, and matches the whole name.
        "supportedTriples": [triple, triple.replace("-unknown-", "-pc-")],
        "staticLibraryMetadata": {
            "headerPaths": ["include"],
            "moduleMapPath": format!("include/{MODULE}/module.modulemap"),
        },
    })
}

/// The name of the folder in the tarball, and of that.
pub fn name(arch: Arch) -> String {
    format!("casm-{VERSION}-{}", arch.triple())
}

/// Writes what is in the tarball into a folder. Where it is unpacked doesn't matter.
pub fn installed(folder: &Path, library: &Library, headers: &Headers) -> Result<()> {
    let (libraries, include) = (folder.join("lib"), folder.join("include"));
    fs::create_dir_all(libraries.join("pkgconfig"))?;
    fs::create_dir_all(&include)?;
    fs::write(libraries.join(LIBRARY), &library.bytes)?;
    // Without its module map: the Swift package has that.
    fs::write(include.join(format!("{MODULE}.h")), &headers.header)?;
    fs::write(libraries.join("pkgconfig/casm.pc"), pkg_config())?;
    Ok(())
}

fn pkg_config() -> String {
    // SwiftPM reads this itself, and takes no other flags than these.
    format!(
        "prefix=${{pcfiledir}}/../..\n\n\
         Name: casm\n\
         Description: CASM (Cluster Assembly): nodes that find each other\n\
         Version: {VERSION}\n\
         Cflags: -I${{prefix}}/include\n\
         Libs: -L${{prefix}}/lib -lcasm -lm -ldl -lpthread\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            archive::tests::{apple, linux},
            tests::{contents, libraries, place},
        },
        *,
    };
    use crate::shell;
    use std::process::Command;

    #[test]
    fn every_processor_has_its_library_in_the_bundle() {
        let all = [("intel.a", linux(62)), ("mac.a", apple(Arch::Arm64, 1)), ("arm.a", linux(183))];
        let place = place("bundle");
        let (first, second) = (place.join("first"), place.join("second"));
        let libraries = libraries(&place, &all);
        bundle(&first, &libraries, &Headers::some()).unwrap();
        let info: Value =
            serde_json::from_slice(&fs::read(first.join("info.json")).unwrap()).unwrap();
        assert_eq!(info["schemaVersion"], "1.0");
        let artifact = &info["artifacts"]["CasmFFIC"];
        assert_eq!(
            (&artifact["type"], &artifact["version"]),
            (&"staticLibrary".into(), &VERSION.into())
        );
        let variants = artifact["variants"].as_array().unwrap();
        let triples: Vec<_> = variants.iter().map(|v| &v["supportedTriples"][0]).collect();
        let expected = ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"];
        assert_eq!(triples, expected);
        assert_eq!(variants[1]["supportedTriples"][1], "x86_64-pc-linux-gnu");
        for (variant, library) in variants.iter().zip([&all[2].1, &all[0].1]) {
            let file = |path: &Value| first.join(path.as_str().unwrap());
            assert_eq!(&fs::read(file(&variant["path"])).unwrap(), library);
            let metadata = &variant["staticLibraryMetadata"];
            assert!(file(&metadata["moduleMapPath"]).is_file());
            assert!(file(&metadata["headerPaths"][0]).join("CasmFFIC/CasmFFIC.h").is_file());
        }
        let backwards: Vec<_> = libraries.into_iter().rev().collect();
        bundle(&second, &backwards, &Headers::some()).unwrap();
        assert_eq!(contents(&first), contents(&second));

        let same = super::super::tests::libraries(&place, &[all[0].clone(), all[0].clone()]);
        let error = bundle(&place.join("it"), &same, &Headers::some()).unwrap_err().to_string();
        assert!(error.contains("intel.a") && error.contains("x86_64"), "{error}");
        let none = super::super::tests::libraries(&place, &[all[1].clone()]);
        assert!(bundle(&place.join("it"), &none, &Headers::some()).is_err());
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn who_reads_of_the_package_reads_how_it_is_had() {
        let read = |file: &str| fs::read_to_string(shell::workspace().join(file)).unwrap();
        // A release writes the checksum of something.
        let published = !read("Package.swift").contains(&format!("\"{}\"", "0".repeat(64)));
        for page in ["swift/README.md", "swift/Sources/Casm/Casm.docc/Casm.md"] {
            let text = read(page);
            assert_eq!(text.contains("not published yet"), !published, "{page}");
            let name = name(Arch::X86_64);
            assert!(text.contains(&format!("{name}.tar.gz")), "{page}");
            let path = format!("PKG_CONFIG_PATH=\"$HOME/{name}/lib/pkgconfig\"");
            assert!(text.contains(&path), "{page}: {path}");
            assert!(text.contains(&format!("from: \"{VERSION}\"")), "{page}");
        }
    }

    #[test]
    fn pkg_config_finds_what_is_installed_wherever_it_lies() {
        let place = place("installed");
        let library = &libraries(&place, &[("intel.a", linux(62))])[0];
        let folder = place.join("anywhere");
        installed(&folder, library, &Headers::some()).unwrap();
        let names: Vec<_> = contents(&folder).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["include/CasmFFIC.h", "lib/libcasm.a", "lib/pkgconfig/casm.pc"]);
        let text = fs::read_to_string(folder.join("lib/pkgconfig/casm.pc")).unwrap();
        assert!(text.contains("-lcasm -lm -ldl -lpthread\n"), "{text}");
        if shell::works("pkg-config", &["--version"]) {
            let mut ask = Command::new("pkg-config");
            ask.env("PKG_CONFIG_PATH", folder.join("lib/pkgconfig"));
            let said = shell::output(ask.args(["--libs", "casm"])).unwrap();
            let at = said.split("-L").nth(1).unwrap().split(' ').next().unwrap();
            assert!(Path::new(at).join(LIBRARY).is_file(), "{said}");
        }
        fs::remove_dir_all(place).unwrap();
    }
}
