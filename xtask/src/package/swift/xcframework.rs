//! The XCFramework: a folder with a library for each of Apple's systems, and a list of
//! them.

use super::{
    Headers, LIBRARY,
    archive::{Library, System},
    universal::universal,
};
use anyhow::{Result, ensure};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// A library in the framework.
struct Slice {
    /// The name of its folder.
    folder: String,
    arches: Vec<&'static str>,
    platform: &'static str,
    variant: Option<&'static str>,
}

impl Slice {
    fn new(system: System, libraries: &[&Library]) -> Self {
        let (platform, variant) = match system {
            System::Ios => ("ios", None),
            System::IosSimulator => ("ios", Some("simulator")),
            System::MacOs => ("macos", None),
            System::Linux => unreachable!("Linux has none of this"),
        };
        let mut arches: Vec<_> = libraries.iter().map(|library| library.arch.name()).collect();
        arches.sort_unstable();
        let mut folder = format!("{platform}-{}", arches.join("_"));
        if let Some(variant) = variant {
            folder.extend(["-", variant]);
        }
        Self { folder, arches, platform, variant }
    }
}

/// Writes the framework into a folder that is not there yet.
///
/// # Errors
/// If two libraries are for the same; if none is for one of Apple's systems.
pub fn write(folder: &Path, libraries: &[Library], headers: &Headers) -> Result<()> {
    let mut systems: BTreeMap<System, Vec<&Library>> = BTreeMap::new();
    for library in libraries.iter().filter(|library| library.system != System::Linux) {
        systems.entry(library.system).or_default().push(library);
    }
    ensure!(!systems.is_empty(), "none of the libraries is for one of Apple's systems");
    let mut slices = vec![];
    for (system, libraries) in systems {
        let (slice, bytes) = (Slice::new(system, &libraries), universal(&libraries)?);
        let place = folder.join(&slice.folder);
        fs::create_dir_all(&place)?;
        fs::write(place.join(LIBRARY), bytes)?;
        // In a folder of the module's name: Xcode puts the headers of all such
        // frameworks into one folder, where two module.modulemap would meet.
        headers.write(&place.join("Headers"))?;
        slices.push(slice);
    }
    fs::write(folder.join("Info.plist"), plist(&slices))?;
    Ok(())
}

/// The list of libraries, as Xcode writes it. There is nothing in it that would have to
/// be escaped.
fn plist(slices: &[Slice]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\t<key>AvailableLibraries</key>\n\t<array>\n",
    );
    for slice in slices {
        text += "\t\t<dict>\n";
        entry(&mut text, "BinaryPath", LIBRARY);
        entry(&mut text, "HeadersPath", "Headers");
        entry(&mut text, "LibraryIdentifier", &slice.folder);
        entry(&mut text, "LibraryPath", LIBRARY);
        text += "\t\t\t<key>SupportedArchitectures</key>\n\t\t\t<array>\n";
        for arch in &slice.arches {
            let _ = writeln!(text, "\t\t\t\t<string>{arch}</string>");
        }
        text += "\t\t\t</array>\n";
        entry(&mut text, "SupportedPlatform", slice.platform);
        if let Some(variant) = slice.variant {
            entry(&mut text, "SupportedPlatformVariant", variant);
        }
        text += "\t\t</dict>\n";
    }
    text += "\t</array>\n\t<key>CFBundlePackageType</key>\n\t<string>XFWK</string>\n\
             \t<key>XCFrameworkFormatVersion</key>\n\t<string>1.0</string>\n</dict>\n</plist>\n";
    text
}

fn entry(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "\t\t\t<key>{key}</key>\n\t\t\t<string>{value}</string>");
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            archive::{
                Arch,
                tests::{apple, linux},
            },
            tests::{contents, libraries, place},
        },
        *,
    };
    use crate::shell;
    use serde_json::{Value, json};
    use std::process::Command;

    /// What Python reads in a property list.
    fn parsed(file: &Path) -> Value {
        let program = "import json, plistlib, sys; \
                       print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
        let text = shell::output(Command::new("python3").args(["-c", program]).arg(file));
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    #[test]
    fn every_system_has_its_library_and_the_list_says_where() {
        let all = [
            ("sim-intel.a", apple(Arch::X86_64, 7)),
            ("mac-arm.a", apple(Arch::Arm64, 1)),
            ("phone.a", apple(Arch::Arm64, 2)),
            ("linux.a", linux(62)),
            ("sim-arm.a", apple(Arch::Arm64, 7)),
            ("mac-intel.a", apple(Arch::X86_64, 1)),
        ];
        let place = place("xcframework");
        let (first, second) = (place.join("first"), place.join("second"));
        let libraries = libraries(&place, &all);
        write(&first, &libraries, &Headers::some()).unwrap();
        let slice = |folder: &str, arches: &[&str], platform: &str| {
            json!({
                "BinaryPath": "libcasm.a", "HeadersPath": "Headers", "LibraryIdentifier": folder,
                "LibraryPath": "libcasm.a", "SupportedArchitectures": arches,
                "SupportedPlatform": platform,
            })
        };
        let both = ["arm64", "x86_64"];
        let mut simulator = slice("ios-arm64_x86_64-simulator", &both, "ios");
        simulator["SupportedPlatformVariant"] = "simulator".into();
        let expected = json!({
            "AvailableLibraries": [
                slice("ios-arm64", &["arm64"], "ios"), simulator,
                slice("macos-arm64_x86_64", &both, "macos"),
            ],
            "CFBundlePackageType": "XFWK",
            "XCFrameworkFormatVersion": "1.0",
        });
        assert_eq!(parsed(&first.join("Info.plist")), expected);

        let there = contents(&first);
        let mut names: Vec<_> = there.iter().map(|(name, _)| name.clone()).collect();
        let mut wanted = vec!["Info.plist".to_owned()];
        for folder in ["ios-arm64", "ios-arm64_x86_64-simulator", "macos-arm64_x86_64"] {
            for file in ["CasmFFIC.h", "module.modulemap"] {
                wanted.push(format!("{folder}/Headers/CasmFFIC/{file}"));
            }
            wanted.push(format!("{folder}/{LIBRARY}"));
        }
        names.sort();
        wanted.sort();
        assert_eq!(names, wanted);
        let file = |name: &str| fs::read(first.join(name).join(LIBRARY)).unwrap();
        // One is as it is, and two are behind a header.
        assert_eq!(file("ios-arm64"), all[2].1);
        assert!(file("macos-arm64_x86_64").starts_with(&[0xca, 0xfe, 0xba, 0xbe]));

        // In whatever order they are given.
        let backwards: Vec<_> = libraries.into_iter().rev().collect();
        write(&second, &backwards, &Headers::some()).unwrap();
        assert_eq!(contents(&second), there);
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn two_for_the_same_and_none_at_all_are_refused() {
        let place = place("xcframework-refused");
        let refused = |given: &[(&str, Vec<u8>)]| {
            let written = write(&place.join("it"), &libraries(&place, given), &Headers::some());
            written.unwrap_err().to_string()
        };
        let same = [("one.a", apple(Arch::Arm64, 2)), ("two.a", apple(Arch::Arm64, 2))];
        let error = refused(&same);
        assert!(error.contains("one.a") && error.contains("two.a"), "{error}");
        let error = refused(&[("linux.a", linux(62))]);
        assert!(error.contains("none of the libraries"), "{error}");
        fs::remove_dir_all(place).unwrap();
    }
}
