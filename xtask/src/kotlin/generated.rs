//! The generated code is for the package alone: what is public in it becomes
//! internal, so that no program is written over it.

use crate::uniffi::fresh;
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

/// Copies the generated code, made internal.
pub fn keep_inside(from: &Path, to: &Path) -> Result<()> {
    let file = Path::new("casm/ffi/casm.kt");
    let text = fs::read_to_string(from.join(file))
        .with_context(|| format!("{} has no {}", from.display(), file.display()))?;
    let text = internal(&text);
    let left: Vec<_> = text.lines().filter(|line| is_public(line)).collect();
    ensure!(left.is_empty(), "the generated code has what others would see: {left:?}");
    let to = to.join(file);
    fresh(to.parent().context("it lies in a folder")?)?;
    Ok(fs::write(to, text)?)
}

/// The words with which a declaration may begin.
const DECLARES: [&str; 12] = [
    "class",
    "interface",
    "object",
    "fun",
    "val",
    "var",
    "typealias",
    "data",
    "open",
    "sealed",
    "enum",
    "inline",
];

/// Whether a declaration at the top of a file is seen by others.
fn is_public(line: &str) -> bool {
    let first = line.split([' ', '(']).next().unwrap_or_default();
    first == "public" || DECLARES.contains(&first) || first == "abstract" || first == "suspend"
}

fn internal(text: &str) -> String {
    // The functions of the module are the last, and are indented.
    let lines: Vec<_> = text.lines().collect();
    let begins = |line: &&str| is_public(line) || line.starts_with("internal ");
    let last = lines.iter().rposition(begins).unwrap_or(lines.len());
    let end = lines[last..].iter().position(|line| *line == "}");
    let last = end.map_or(lines.len(), |end| last + end + 1);
    let (first, functions) = lines.split_at(last);
    let first = first.iter().map(|line| match is_public(line) {
        // Only what begins in the first column is at the top of the file.
        true => format!("internal {}\n", line.strip_prefix("public ").unwrap_or(line)),
        false => format!("{line}\n"),
    });
    let functions =
        functions.iter().map(|line| format!("{}\n", line.replacen(" fun `", " internal fun `", 1)));
    first.chain(functions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_at_the_top_is_kept_inside() {
        let given = "package casm.ffi\n\npublic interface A {\n    fun a()\n}\nopen class B: A {\n}\n\
                     private fun c() = 1\ninternal val d = 2\ndata class E (\n)\n\
                     inline fun <T> f() {}\n@Synchronized\nprivate fun g() {}\nobject F {\n}\n    /** H */\n\
                     \u{20}   @Throws(A::class) fun `h`(a: A): A {\n}\n";
        let wanted = "package casm.ffi\n\ninternal interface A {\n    fun a()\n}\n\
                      internal open class B: A {\n}\nprivate fun c() = 1\ninternal val d = 2\n\
                      internal data class E (\n)\ninternal inline fun <T> f() {}\n@Synchronized\n\
                      private fun g() {}\ninternal object F {\n}\n    /** H */\n\
                      \u{20}   @Throws(A::class) internal fun `h`(a: A): A {\n}\n";
        assert_eq!(internal(given), wanted);
    }
}
