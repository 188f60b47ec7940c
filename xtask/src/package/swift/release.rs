//! What a release publishes: each folder in one file, with its checksum.

use crate::shell;
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path, process::Command};

/// Packs a folder, with its name, into a `.zip` or a `.tar.gz`: the same bytes whenever
/// and by whomever it is done, with the same libraries for compression. Says the SHA-256
/// of that.
const PACK: &str = "\
import gzip, hashlib, io, pathlib, sys, tarfile, zipfile

folder, out = pathlib.Path(sys.argv[1]), sys.argv[2]
files = sorted(path for path in folder.rglob('*') if path.is_file())
named = [(path.relative_to(folder.parent).as_posix(), path) for path in files]
if out.endswith('.zip'):
    with zipfile.ZipFile(out, 'w') as packed:
        for name, path in named:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, path.read_bytes(), compresslevel=9)
else:
    with open(out, 'wb') as file:
        with gzip.GzipFile('', 'wb', 9, file, mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode='w', format=tarfile.USTAR_FORMAT) as tar:
                for name, path in named:
                    info = tarfile.TarInfo(name)
                    info.size = path.stat().st_size
                    info.mode = 0o644
                    tar.addfile(info, io.BytesIO(path.read_bytes()))
print(hashlib.sha256(pathlib.Path(out).read_bytes()).hexdigest())
";

/// Packs a folder, as the end of the file's name says, and gives the file's checksum.
pub fn pack(folder: &Path, out: &Path) -> Result<String> {
    let python = if cfg!(windows) { "python" } else { "python3" };
    let said = shell::output(Command::new(python).args(["-c", PACK]).arg(folder).arg(out))?;
    let checksum = said.trim().to_owned();
    println!("{}: {} bytes, SHA-256 {checksum}", out.display(), fs::metadata(out)?.len());
    Ok(checksum)
}

/// Writes a checksum into the manifest of a package, where it has one of this name.
///
/// # Errors
/// If it has none.
pub fn pin(manifest: &Path, name: &str, checksum: &str) -> Result<()> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("{} cannot be read", manifest.display()))?;
    let begin = format!("let {name} = ");
    let lines = text.lines();
    ensure!(
        lines.clone().filter(|line| line.starts_with(&begin)).count() == 1,
        "{} should have one line `{begin}…`",
        manifest.display()
    );
    let pinned = lines.map(|line| match line.starts_with(&begin) {
        true => format!("{begin}\"{checksum}\"\n"),
        false => format!("{line}\n"),
    });
    fs::write(manifest, pinned.collect::<String>())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::place, *};

    #[test]
    fn what_is_packed_is_the_same_whenever_it_is_done() {
        let place = place("pack");
        for (folder, files) in [("a", ["x", "y/z"]), ("b", ["y/z", "x"])] {
            for file in files {
                let file = place.join(folder).join("it").join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, "text").unwrap();
            }
        }
        for end in ["zip", "tar.gz"] {
            let packed = ["a", "b"].map(|folder| {
                let out = place.join(format!("{folder}.{end}"));
                let checksum = pack(&place.join(folder).join("it"), &out).unwrap();
                (checksum, fs::read(out).unwrap())
            });
            assert_eq!(packed[0], packed[1]);
            assert_eq!(packed[0].0.len(), 64);
        }
        let list = "import sys, tarfile, zipfile; print(zipfile.ZipFile(sys.argv[1]).namelist(), \
                    tarfile.open(sys.argv[2]).getnames())";
        let files = [place.join("a.zip"), place.join("a.tar.gz")];
        let names = shell::output(Command::new("python3").args(["-c", list]).args(files));
        assert_eq!(names.unwrap().trim(), "['it/x', 'it/y/z'] ['it/x', 'it/y/z']");
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_checksum_goes_where_the_last_one_was() {
        let place = place("pin");
        let manifest = place.join("Package.swift");
        fs::write(&manifest, "// let sum\nlet sum = \"0\"\nlet other = \"0\"\n").unwrap();
        pin(&manifest, "sum", "1a").unwrap();
        let text = fs::read_to_string(&manifest).unwrap();
        assert_eq!(text, "// let sum\nlet sum = \"1a\"\nlet other = \"0\"\n");
        let error = pin(&manifest, "none", "1a").unwrap_err().to_string();
        assert!(error.contains("let none"), "{error}");
        fs::remove_dir_all(place).unwrap();
    }
}
