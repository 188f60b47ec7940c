//! JARs and the AAR: what is in them.

use super::elf;
use crate::{
    kotlin::{LIBRARY, file_name},
    package::fresh,
    shell,
    uniffi::copy,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What R8 and ProGuard must leave as it is.
const RULES: &str = "\
# Native code finds these by their names.
-keep class com.sun.jna.** { *; }
-keep class casm.ffi.** { *; }
-keepclassmembers class * extends com.sun.jna.** { public *; }
# JNA knows windows, which Android hasn't.
-dontwarn java.awt.**
";

const MANIFEST: &str = "\
<manifest xmlns:android=\"http://schemas.android.com/apk/res/android\" package=\"io.github.wetware.casm\">
    <uses-sdk android:minSdkVersion=\"26\" />
    <uses-permission android:name=\"android.permission.INTERNET\" />
    <uses-permission android:name=\"android.permission.ACCESS_NETWORK_STATE\" />
</manifest>
";

const METADATA: &str = "\
aarFormatVersion=1.0
aarMetadataVersion=1.0
minCompileSdk=26
";

const PAPERS: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// The processors that Android knows, as it calls them.
pub const ABIS: [&str; 4] = ["arm64-v8a", "armeabi-v7a", "x86_64", "x86"];

/// A native library, and the platform that it is for: as JNA calls it in a JAR, such as
/// `linux-x86-64`, or as Android does.
#[derive(Clone, Debug)]
pub struct Library {
    pub platform: String,
    pub file: PathBuf,
}

impl std::str::FromStr for Library {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (platform, file) =
            text.split_once('=').context("write PLATFORM=FILE, such as arm64-v8a=libcasm.so")?;
        Ok(Self { platform: platform.to_owned(), file: file.into() })
    }
}

/// The JAR for the JVM: the classes, and the native library of each platform.
pub fn jar(classes: &Path, libraries: &[Library], out: &Path) -> Result<()> {
    let folder = staged(classes)?;
    fs::create_dir_all(folder.join("META-INF/proguard"))?;
    fs::write(folder.join("META-INF/proguard/casm.pro"), RULES)?;
    fs::write(
        folder.join("META-INF/MANIFEST.MF"),
        "Manifest-Version: 1.0\nAutomatic-Module-Name: io.github.wetware.casm\n\n",
    )?;
    papers(&folder.join("META-INF"))?;
    for Library { platform, file } in libraries {
        let suffix = match platform.split('-').next() {
            Some("linux") => ".so",
            Some("darwin") => ".dylib",
            Some("win32") => ".dll",
            _ => bail!("{platform:?} is no platform as JNA has it, such as linux-x86-64"),
        };
        put(file, &folder.join(platform), &file_name(suffix))?;
        if let Some(processor) = platform.strip_prefix("linux-") {
            elf::check(file, processor)?;
        }
    }
    pack(&folder, out)
}

/// A JAR of sources or of documentation.
pub fn plain_jar(folders: &[PathBuf], out: &Path) -> Result<()> {
    let folder = fresh("kotlin-package/stage")?;
    for from in folders {
        copy(from, &folder)?;
    }
    papers(&folder.join("META-INF"))?;
    fs::write(folder.join("META-INF/MANIFEST.MF"), "Manifest-Version: 1.0\n\n")?;
    pack(&folder, out)
}

/// The AAR for Android: the same classes, and the native library of each processor.
pub fn aar(classes: &Path, libraries: &[Library], out: &Path) -> Result<()> {
    ensure!(!libraries.is_empty(), "an AAR needs a library at least: give one by --jni ABI=FILE");
    let inner = out.with_extension("classes.jar");
    plain_jar(&[classes.to_path_buf()], &inner)?;
    let folder = fresh("kotlin-package/aar")?;
    put(&inner, &folder, "classes.jar")?;
    fs::remove_file(inner)?;
    fs::write(folder.join("AndroidManifest.xml"), MANIFEST)?;
    fs::write(folder.join("proguard.txt"), RULES)?;
    // It has no resources.
    fs::write(folder.join("R.txt"), "")?;
    papers(&folder.join("META-INF"))?;
    let metadata = folder.join("META-INF/com/android/build/gradle/aar-metadata.properties");
    fs::create_dir_all(metadata.parent().context("it lies in a folder")?)?;
    fs::write(metadata, METADATA)?;
    for Library { platform, file } in libraries {
        ensure!(
            ABIS.contains(&platform.as_str()),
            "{platform:?} is no processor of Android's: {}",
            ABIS.join(", ")
        );
        put(file, &folder.join("jni").join(platform), &format!("lib{LIBRARY}.so"))?;
        elf::check(file, platform)?;
    }
    pack(&folder, out)
}

/// The classes, in a folder to which more is added.
fn staged(classes: &Path) -> Result<PathBuf> {
    let folder = fresh("kotlin-package/stage")?;
    copy(classes, &folder)?;
    Ok(folder)
}

fn put(file: &Path, folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(file, folder.join(name))
        .with_context(|| format!("{} cannot be copied", file.display()))?;
    Ok(())
}

fn papers(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    PAPERS.iter().try_for_each(|paper| put(&shell::workspace().join(paper), folder, paper))
}

/// Packs what is in a folder: the same bytes whenever it is done.
const PACK: &str = "\
import pathlib, sys, zipfile

folder, out = pathlib.Path(sys.argv[1]), sys.argv[2]
names = [path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()]
# What reads a JAR as it comes wants its manifest first.
names.sort(key=lambda name: (name != 'META-INF/MANIFEST.MF', name))
with zipfile.ZipFile(out, 'w') as packed:
    for name in names:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = 0o100644 << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        packed.writestr(info, (folder / name).read_bytes(), compresslevel=9)
";

fn pack(folder: &Path, out: &Path) -> Result<()> {
    let python = if cfg!(windows) { "python" } else { "python3" };
    shell::output(Command::new(python).args(["-c", PACK]).arg(folder).arg(out))?;
    println!("{}: {} bytes", out.display(), fs::metadata(out)?.len());
    Ok(())
}

/// The names of the files in an archive.
pub fn names(archive: &Path) -> Result<Vec<String>> {
    const LIST: &str =
        "import sys, zipfile; print('\\n'.join(zipfile.ZipFile(sys.argv[1]).namelist()))";
    let python = if cfg!(windows) { "python" } else { "python3" };
    let said = shell::output(Command::new(python).args(["-c", LIST]).arg(archive))?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// What is in every JAR for the JVM, and nothing else but classes.
pub fn check_jar(jar: &Path, libraries: &[Library]) -> Result<()> {
    let names = names(jar)?;
    ensure!(names.first().is_some_and(|name| name == "META-INF/MANIFEST.MF"), "{names:?}");
    for wanted in ["casm/Node.class", "casm/NodeJava.class", "META-INF/proguard/casm.pro"] {
        ensure!(names.iter().any(|name| name == wanted), "{} has no {wanted}", jar.display());
    }
    for name in &names {
        let folder = name.split('/').next().unwrap_or_default();
        let known = ["casm", "META-INF"].contains(&folder)
            || libraries.iter().any(|library| library.platform == folder);
        ensure!(known, "{} has {name}, of no use to anyone", jar.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::elf::tests::library_for, *};

    /// Some classes, and libraries for these.
    fn some(name: &str, platforms: &[&str], page: u64) -> (PathBuf, Vec<Library>, PathBuf) {
        // These tests share the folder in which things are put together.
        let folder = fresh(&format!("kotlin-package-tests/{name}")).unwrap();
        let classes = folder.join("classes");
        for class in ["casm/Node.class", "casm/NodeJava.class", "META-INF/casm.kotlin_module"] {
            let file = classes.join(class);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, class).unwrap();
        }
        let libraries = platforms.iter().map(|platform| {
            let file = folder.join(format!("{platform}.so"));
            let processor = platform.strip_prefix("linux-").unwrap_or(platform);
            fs::write(&file, library_for(processor, page)).unwrap();
            Library { platform: (*platform).to_owned(), file }
        });
        let libraries = libraries.collect();
        (classes, libraries, folder)
    }

    #[test]
    fn the_archives_hold_what_java_and_android_look_for() {
        // One test, since all use the same folder.
        let (classes, libraries, folder) = some("jar", &["linux-x86-64", "linux-aarch64"], 16_384);
        let out = folder.join("casm.jar");
        jar(&classes, &libraries, &out).unwrap();
        check_jar(&out, &libraries).unwrap();
        check_jar(&out, &libraries[..1]).unwrap_err();
        let mut mixed = libraries.clone();
        mixed[0].file.clone_from(&libraries[1].file);
        let error = jar(&classes, &mixed, &out).unwrap_err();
        assert!(error.to_string().contains("not for x86-64"), "{error}");
        jar(&classes, &libraries, &out).unwrap();
        let first = fs::read(&out).unwrap();
        jar(&classes, &libraries, &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), first, "the same whenever it is done");
        let there = names(&out).unwrap();
        assert!(there.contains(&"linux-x86-64/libcasm.so".into()), "{there:?}");
        assert!(there.contains(&"linux-aarch64/libcasm.so".into()), "{there:?}");

        let (classes, libraries, folder) = some("aar", &ABIS, 16_384);
        let out = folder.join("casm.aar");
        aar(&classes, &libraries, &out).unwrap();
        let mut there = names(&out).unwrap();
        there.sort();
        let wanted = [
            "AndroidManifest.xml",
            "META-INF/LICENSE-APACHE",
            "META-INF/LICENSE-MIT",
            "META-INF/com/android/build/gradle/aar-metadata.properties",
            "R.txt",
            "classes.jar",
            "jni/arm64-v8a/libcasm.so",
            "jni/armeabi-v7a/libcasm.so",
            "jni/x86/libcasm.so",
            "jni/x86_64/libcasm.so",
            "proguard.txt",
        ];
        assert_eq!(there, wanted);
        let mut mixed = libraries.clone();
        mixed[3].file.clone_from(&libraries[2].file);
        let error = aar(&classes, &mixed, &out).unwrap_err();
        assert!(error.to_string().contains("not for x86,"), "{error}");
        let error = aar(&classes, &[], &out).unwrap_err();
        assert!(error.to_string().contains("--jni"), "{error}");

        let (classes, libraries, folder) = some("wrong", &["linux-x86-64"], 16_384);
        let error = aar(&classes, &libraries, &folder.join("casm.aar")).unwrap_err();
        assert!(error.to_string().contains("no processor of Android's"), "{error}");
        let (classes, libraries, folder) = some("small", &["x86_64"], 4096);
        let error = aar(&classes, &libraries, &folder.join("casm.aar")).unwrap_err();
        assert!(error.to_string().contains("max-page-size"), "{error}");
    }

    #[test]
    fn a_library_is_given_with_its_platform() {
        let library: Library = "arm64-v8a=some/libcasm.so".parse().unwrap();
        assert_eq!(
            (&*library.platform, &*library.file),
            ("arm64-v8a", Path::new("some/libcasm.so"))
        );
        assert!("libcasm.so".parse::<Library>().is_err());
    }
}
