//! The Swift code that is shown, as something that Swift compiles: each block of
//! README, of the pages in docs, of the DocC articles and of the comments in a file of
//! its own.

use crate::shell;
use anyhow::{Context, Result, ensure};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// What a block may speak of without having made it.
const GIVEN: &str = "node: Node, record: Record, config: Config, a: Channel, own: Channel";

/// What stands in a file and not in a function.
const TOP: [&str; 9] = [
    "extension ",
    "struct ",
    "final class ",
    "class ",
    "actor ",
    "enum ",
    "@MainActor",
    "@main",
    "@Observable",
];

/// Writes what is shown into a folder; gives back how many pieces there are.
pub fn write(folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder)?;
    let mut count = 0;
    for page in pages()? {
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        for (nth, block) in blocks(&text).iter().enumerate() {
            let name = format!("{}{}", stem(&page), nth + 1);
            fs::write(folder.join(format!("{name}.swift")), compiled(&name, block)?)?;
            count += 1;
        }
    }
    ensure!(count > 0, "no Swift code is shown anywhere");
    Ok(count)
}

/// Where code is shown.
fn pages() -> Result<Vec<PathBuf>> {
    let root = shell::workspace();
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs"), root.join("swift")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let of = |end: &str| path.extension().is_some_and(|extension| extension == end);
            if path.is_dir() {
                folders.push(path);
            } else if of("md") || of("swift") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// The blocks of a page, or of a file's comments.
fn blocks(text: &str) -> Vec<String> {
    let (mut found, mut block) = (vec![], None::<String>);
    for line in text.lines() {
        let comment = line.trim_start().strip_prefix("///");
        let line = comment.map_or(line, |line| line.strip_prefix(' ').unwrap_or(line));
        match &mut block {
            None if line == "```swift" => block = Some(String::new()),
            None => {}
            Some(_) if line == "```" => found.extend(block.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    found
}

/// A name for a page: `docs/lifecycle-and-power.md` is `docs_lifecycle_and_power_`.
fn stem(page: &Path) -> String {
    let page = page.strip_prefix(shell::workspace()).unwrap_or(page).with_extension("");
    let name = page.display().to_string();
    let name = name.replace("swift/Sources/Casm/", "").replace("Casm.docc/", "docc_");
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    format!("{}_", name.chars().map(plain).collect::<String>())
}

/// A block as a file: what it imports, and the rest as an async function, unless it is
/// for the top of a file.
fn compiled(name: &str, block: &str) -> Result<String> {
    let (imports, rest): (Vec<_>, Vec<_>) =
        block.lines().partition(|line| line.starts_with("import "));
    let mut file = String::new();
    // Apple's own are not here.
    let apple = imports.iter().any(|line| line.contains("SwiftUI"));
    if apple {
        file.push_str("#if canImport(SwiftUI)\n");
    }
    for line in ["import Casm", "import Foundation"].iter().chain(&imports) {
        writeln!(file, "{line}")?;
    }
    if rest.iter().any(|line| TOP.iter().any(|word| line.starts_with(word))) {
        writeln!(file, "{}", rest.join("\n"))?;
    } else {
        writeln!(file, "@Sendable func {name}({GIVEN}) async throws {{")?;
        for line in rest {
            writeln!(file, "    {line}")?;
        }
        file.push_str("}\n");
    }
    if apple {
        file.push_str("#endif\n");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_pages_and_of_comments_are_found() {
        let page = "a\n```swift\nlet a = 1\n```\n```sh\nls\n```\n    /// ```swift\n    /// b()\n    /// ```\n";
        assert_eq!(blocks(page), ["let a = 1\n", "b()\n"]);
    }

    #[test]
    fn a_block_is_a_function_unless_it_is_a_type() {
        let file = compiled("a_1", "import Casm\n\ntry await node.close()").unwrap();
        assert!(file.contains("func a_1(") && file.contains("    try await node.close()\n}"));
        assert!(!compiled("b_1", "struct A {}").unwrap().contains("func"));
        assert!(compiled("c_1", "import SwiftUI").unwrap().starts_with("#if canImport(SwiftUI)"));
    }
}
