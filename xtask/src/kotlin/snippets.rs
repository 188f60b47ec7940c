//! The code in Kotlin and Java that the documentation shows, laid out to be
//! compiled: what is a program stays as it is, and what is a part of one becomes a
//! function that is given a node and a record.

use crate::{shell, uniffi::fresh};
use anyhow::{Result, ensure};
use std::{fs, path::Path};

/// Where there is such code.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "kotlin/README.md",
    "docs/topics.md",
    "docs/services.md",
    "docs/streams.md",
    "docs/channels.md",
    "docs/lifecycle-and-power.md",
];

/// Writes a file for each snippet.
pub fn lay_out(folder: &Path) -> Result<()> {
    for document in DOCUMENTS {
        let Ok(text) = fs::read_to_string(shell::workspace().join(document)) else { continue };
        let package = document.trim_end_matches(".md").replace(['/', '-'], "_").to_lowercase();
        let mut count = 0;
        for (language, code) in snippets(&text) {
            count += 1;
            let package = format!("snippets.{package}_{count}");
            let place = folder.join(package.replace('.', "/"));
            fresh(&place)?;
            match language {
                "kotlin" => fs::write(place.join("Snippet.kt"), kotlin(&package, &code))?,
                _ => {
                    fs::write(place.join("Snippet.java"), format!("package {package};\n\n{code}"))?
                }
            }
        }
        ensure!(
            count > 0 || !document.ends_with("README.md"),
            "{document} shows nothing in Kotlin"
        );
    }
    Ok(())
}

/// The snippets in Kotlin and Java, each with its language.
pub fn snippets(text: &str) -> Vec<(&'static str, String)> {
    let mut found = vec![];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let language = match line.trim_start() {
            "```kotlin" => "kotlin",
            "```java" => "java",
            _ => continue,
        };
        let code = lines.by_ref().take_while(|line| line.trim_start() != "```");
        found.push((language, code.map(|line| format!("{line}\n")).collect()));
    }
    found
}

/// A file of a snippet in Kotlin.
fn kotlin(package: &str, code: &str) -> String {
    let is_import = |line: &&str| line.starts_with("import ");
    let imports: String = code.lines().filter(is_import).map(|line| format!("{line}\n")).collect();
    let body: String =
        code.lines().filter(|line| !is_import(line)).map(|line| format!("{line}\n")).collect();
    if code.contains("fun main(") {
        return format!("package {package}\n\n{imports}{body}");
    }
    format!(
        "@file:Suppress(\"UNUSED_VARIABLE\", \"UNUSED_PARAMETER\")\n\npackage {package}\n\n\
         import casm.*\nimport kotlin.time.Duration.Companion.minutes\n\
         import kotlin.time.Duration.Companion.seconds\nimport kotlinx.coroutines.*\n\
         import kotlinx.coroutines.flow.*\n{imports}\n\
         suspend fun snippet(node: Node, record: Record) = coroutineScope {{\n{body}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_stays_as_it_is_and_a_part_of_one_becomes_a_function() {
        let text =
            "a\n```kotlin\nimport x.Y\nnode.id\n```\n```py\nno\n```\n```java\nclass A {}\n```\n";
        let found = snippets(text);
        assert_eq!(found[0], ("kotlin", "import x.Y\nnode.id\n".into()));
        assert_eq!(found[1], ("java", "class A {}\n".into()));
        let part = kotlin("p", &found[0].1);
        assert!(
            part.contains("import x.Y\n\nsuspend fun snippet(") && part.contains("\nnode.id\n}")
        );
        let program = kotlin("p", "import x.Y\n\nfun main() = Unit\n");
        assert_eq!(program, "package p\n\nimport x.Y\n\nfun main() = Unit\n");
    }
}
