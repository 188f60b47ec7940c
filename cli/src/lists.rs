//! `--allow` and `--deny`: files that list peers by their ids.

use crate::follow::Followed;
use casm::{Node, PeerId, Result};
use std::path::Path;

/// The most bytes of a file: a list has 65,536 ids at most, of 53 bytes each.
const MOST: u64 = 8 << 20;

/// One id in a line.
const FORM: &str = "write one id in a line, such as 12D3KooW… (`casm key show FILE` prints that \
    of a key); what follows a # is a comment";

/// The file of a list.
pub struct ListFile(Followed);

impl ListFile {
    pub fn allow(path: &Path) -> Self {
        Self(Followed { what: "allow file", path: path.into(), most: MOST })
    }

    pub fn deny(path: &Path) -> Self {
        Self(Followed { what: "deny file", path: path.into(), most: MOST })
    }

    /// The ids in the file.
    ///
    /// # Errors
    /// [`Io`](casm::ErrorKind::Io) if it can't be read, [`Config`](casm::ErrorKind::Config) if it
    /// is no such list, with the line.
    pub fn read(&self) -> Result<Vec<PeerId>> {
        parse(&self.0, &self.0.read()?)
    }

    /// The same of an allow file, which names somebody: an empty one, half written or
    /// emptied by mistake, must neither let everybody in nor put everybody out.
    ///
    /// # Errors
    /// Also if it names nobody.
    pub fn read_some(&self) -> Result<Vec<PeerId>> {
        some(&self.0, self.read()?)
    }
}

/// Has a node follow the files that were named.
pub fn follow(node: &Node, allow: Option<&Path>, deny: Option<&Path>) {
    if let Some(path) = allow {
        let (ListFile(file), node) = (ListFile::allow(path), node.clone());
        let of = file.clone();
        file.follow(move |bytes| {
            let ids = some(&of, parse(&of, bytes)?)?;
            let n = ids.len();
            node.set_allowed(ids)?;
            Ok(format!("{n} peers are allowed"))
        });
    }
    if let Some(path) = deny {
        let (ListFile(file), node) = (ListFile::deny(path), node.clone());
        let of = file.clone();
        file.follow(move |bytes| {
            let ids = parse(&of, bytes)?;
            let n = ids.len();
            node.set_denied(ids)?;
            Ok(format!("{n} peers are denied"))
        });
    }
}

fn parse(file: &Followed, bytes: &[u8]) -> Result<Vec<PeerId>> {
    let mut ids = Vec::new();
    for (at, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let text = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if text.is_empty() {
            continue;
        }
        let id = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        let id = id.ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(text).chars().take(100).collect();
            file.wrong(format_args!("line {at}: {shown:?} is no peer id: {FORM}"))
        })?;
        ids.push(id);
    }
    Ok(ids)
}

fn some(file: &Followed, ids: Vec<PeerId>) -> Result<Vec<PeerId>> {
    if ids.is_empty() {
        return Err(file.wrong(format_args!(
            "it names no peer. To take everybody, leave the file out; to take nobody else, write \
             the node's own id; {FORM}"
        )));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_id_in_a_line_and_comments() {
        let [a, b] = [PeerId::random(), PeerId::random()];
        let ListFile(file) = ListFile::allow(Path::new("members"));
        let of = |text: &str| parse(&file, text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(of(&format!("# ours\n{a}\r\n\n  {b} # the second one")), Ok(vec![a, b]));
        assert_eq!(of(""), Ok(vec![]));
        let wrong = of(&format!("{a}\n{a} {b}\n")).unwrap_err();
        assert!(wrong.starts_with("allow file members: line 2: "), "{wrong}");
        for bad in ["12D3KooW", "worker-7", "\u{1b}[2J"] {
            let wrong = of(bad).unwrap_err();
            assert!(wrong.contains("line 1") && wrong.contains("casm key show"), "{wrong}");
            assert!(!wrong.contains('\u{1b}'));
        }
        assert!(parse(&file, b"\xff\xfe").is_err());
        let nobody = some(&file, vec![]).unwrap_err().to_string();
        assert!(nobody.contains("names no peer"), "{nobody}");
    }
}
