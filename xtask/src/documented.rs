//! Whether the commands that the documentation shows can be given, and with
//! `--run` whether they work.
//!
//! Looked at are cargo's, `.ci/run` and those of `casm`, also in a container.
//! Without `--run`, xtask's and `casm`'s are parsed by their own programs, and
//! others must be known here. With it, those of `casm` are run as they are shown,
//! if they are whole, and the simulator's and the demo as small as can be; xtask's
//! are steps of .ci/run, or are left to whom they are for. What is for other
//! tools (`go`, `npm`, `pip`) is not looked at: the checks of interoperability and
//! of the packages do the same things.

mod whole;

use crate::{bench, built::Built, shell};
use anyhow::{Context, Result, bail, ensure};
use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

#[derive(clap::Args)]
pub struct Args {
    /// Run those of `casm` and of the simulator too.
    #[arg(long)]
    run: bool,
}

/// Where commands are shown, beside the pages in `docs` and below.
const PAGES: [&str; 9] = [
    "README.md",
    "CONTRIBUTING.md",
    "DEVELOPERS.md",
    "python/README.md",
    "node/README.md",
    "kotlin/README.md",
    "interop/go/README.md",
    "interop/js/README.md",
    "interop/py/README.md",
];

/// A command that is not one of xtask's nor of `casm`'s, by its beginning.
struct Known {
    begins: &'static str,
    small: Small,
}

/// How it is run.
enum Small {
    /// By a step of .ci/run.
    Step,
    /// Not at all: it asks somebody outside the machine, or is spoken of as
    /// another's tool.
    Outside,
    /// The program `casm` with these arguments.
    Casm(&'static [&'static str]),
    /// The simulator with these arguments.
    Sim(&'static [&'static str]),
    /// Cargo with these arguments: those shown but `-p`, for which it would
    /// compile the dependencies again.
    Cargo(&'static [&'static str]),
}

const KNOWN: [Known; 16] = [
    Known { begins: ".ci/run", small: Small::Step },
    Known { begins: "cargo clippy ", small: Small::Step },
    Known { begins: "cargo deny check advisories", small: Small::Outside },
    Known { begins: "cargo fuzz", small: Small::Outside },
    Known { begins: "cargo doc", small: Small::Step },
    Known { begins: "cargo fmt ", small: Small::Step },
    Known {
        begins: "cargo run --release -p casm-cli -- demo",
        small: Small::Casm(&["demo", "--nodes", "2", "--for", "10s"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- pex ",
        small: Small::Sim(&["pex", "--nodes", "50", "--cycles", "5", "--seed", "1", "--json"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- cluster ",
        small: Small::Sim(&["cluster", "--nodes", "5", "--hours", "0.2", "--seed", "1", "--json"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- connections ",
        small: Small::Sim(&["connections", "--nodes", "20", "--hostile", "40", "--json"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- flood ",
        small: Small::Sim(&["flood", "--records", "64", "--members", "5", "--json"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- gossip ",
        small: Small::Sim(&["gossip", "--nodes", "20", "--messages", "5", "--json"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- survey ",
        small: Small::Sim(&["survey", "--nodes", "20", "--hostile", "4", "--runs", "2", "--json"]),
    },
    Known {
        begins: "cargo run --release -p casm-sim -- admit ",
        small: Small::Sim(&["admit", "--nodes", "20", "--seed", "1", "--json"]),
    },
    Known {
        begins: "cargo test -p casm-p2p --lib record::",
        small: Small::Cargo(&["test", "--locked", "--workspace", "--lib", "record::"]),
    },
    Known {
        begins: "cargo test -p casm-p2p --lib vectors",
        small: Small::Cargo(&["test", "--locked", "--workspace", "--lib", "vectors"]),
    },
];

pub fn run(args: &Args) -> Result<()> {
    let shown = shown()?;
    let built = Built::all()?;
    let casm = built.program("casm")?;
    let mut problems = vec![];
    for command in &shown {
        if let Err(error) = check(command, casm) {
            problems.push(format!("`{command}`: {error:#}"));
        }
    }
    ensure!(problems.is_empty(), "what is shown cannot be given: {}", problems.join("; "));
    println!("documented: {} commands can be given", shown.len());
    if args.run {
        KNOWN.iter().try_for_each(|known| known.small.run(&built))?;
        let (mut whole, mut run) = (0, 0);
        for command in shown.iter().filter(|command| is_casm(command)) {
            whole += 1;
            run += usize::from(whole::run(command, casm)?);
        }
        println!("documented: of {whole} commands of `casm`, {run} are whole and were run");
        ensure!(run > 0, "not one was run");
    }
    Ok(())
}

/// Every command that the documentation shows whole.
fn shown() -> Result<BTreeSet<String>> {
    let root = shell::workspace();
    let mut pages: Vec<PathBuf> = PAGES.iter().map(|page| root.join(page)).collect();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { pages.push(path) }
        }
    }
    let mut shown = BTreeSet::new();
    for page in pages.into_iter().filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        shown.extend(commands(&text));
    }
    ensure!(!shown.is_empty(), "no command is shown anywhere");
    Ok(shown)
}

/// The commands in a page: lines of its blocks, and spans of code. What has a
/// place for something of the reader's is not whole, and left out.
fn commands(page: &str) -> Vec<String> {
    let page = page.replace("\\\n", " ");
    let (mut block, mut found) = (false, vec![]);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if block {
            let line = line.split(" #").next().unwrap_or_default();
            found.push(line.trim().trim_start_matches("$ ").to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|")));
        }
    }
    let whole = |command: &String| {
        let words: Vec<_> = command.split_whitespace().collect();
        let contained = words.first() == Some(&"docker") && words.contains(&"casm");
        let program = contained || matches!(words.first(), Some(&("cargo" | "casm" | ".ci/run")));
        let place = |word: &str| {
            word.contains(['…', '<', '$', '[', '>', '&'])
                || word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase())
        };
        program && words.len() > 1 && !words.iter().any(|word| place(word))
    };
    let spaced = |command: String| command.split_whitespace().collect::<Vec<_>>().join(" ");
    // What another program makes of it is not looked at.
    let found = found.into_iter().map(|command| match command.split_once(" | ") {
        Some((first, _)) => first.to_owned(),
        None => command,
    });
    found.filter(whole).map(spaced).flat_map(|c| alternatives(&c)).collect()
}

/// `a x|y` is two commands.
fn alternatives(command: &str) -> Vec<String> {
    let Some(choice) = command.split(' ').find(|word| word.contains('|')) else {
        return vec![command.to_owned()];
    };
    choice.split('|').map(|word| command.replacen(choice, word, 1)).collect()
}

/// Whether a command can be given.
fn check(command: &str, casm: &PathBuf) -> Result<()> {
    if let Some(words) = command.strip_prefix("cargo xtask ") {
        let words: Vec<_> = words.split(' ').collect();
        crate::parse(&words)?;
        if let ["bench", name, ..] = words[..] {
            let is_option = name.starts_with('-');
            ensure!(is_option || bench::is_there(name), "there is no such benchmark");
        }
        return Ok(());
    }
    if let Some((_, words)) = command.split_once("casm ").filter(|_| is_casm(command)) {
        // What is behind `--` is another program's.
        let words = words.split_once(" -- ").map_or(words, |(own, _)| own);
        // What comes before is looked at first.
        let output = Command::new(casm).args(words.split(' ')).arg("--help").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        // Whose last word is an option may leave its value to the reader.
        let is_short = said.contains("a value is required for");
        ensure!(output.status.success() || is_short, "casm refuses it: {said}");
        return Ok(());
    }
    match KNOWN.iter().find(|known| command.starts_with(known.begins)) {
        Some(_) => Ok(()),
        None => bail!("no check runs it: add it to those that xtask's `documented` knows"),
    }
}

/// Whether a command is one of `casm`, by itself or in a container.
fn is_casm(command: &str) -> bool {
    command.starts_with("casm ") || command.starts_with("docker ")
}

impl Small {
    fn run(&self, built: &Built) -> Result<()> {
        let program = |name: &str| anyhow::Ok(Command::new(built.program(name)?));
        match self {
            Self::Step | Self::Outside => Ok(()),
            Self::Casm(args) => shell::run(program("casm")?.args(*args)),
            Self::Sim(args) => shell::run(program("casm-sim")?.args(*args)),
            Self::Cargo(args) => shell::run(shell::cargo().args(*args)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_blocks_and_in_spans() {
        let page = "Run `cargo xtask lines`, or `cargo xtask …`, or `casm ls --peer MADDR`.\n\
            | a | `cargo xtask bench size\\|pex --peers` |\n\
            ```sh\n$ cargo xtask test   # every test\ncasm run \\\n  --boot none\nls\n```\n`casm`\n\
            `casm ls | less`, `docker run -p 1:1 worker casm run --ns demo`, `docker run worker`";
        assert_eq!(
            commands(page),
            [
                "cargo xtask lines",
                "cargo xtask bench size --peers",
                "cargo xtask bench pex --peers",
                "cargo xtask test",
                "casm run --boot none",
                "casm ls",
                "docker run -p 1:1 worker casm run --ns demo",
            ]
        );
    }

    #[test]
    fn every_command_of_ours_that_is_shown_is_one() {
        let shown = shown().unwrap();
        assert!(shown.iter().any(|command| command.starts_with("cargo xtask bench cluster")));
        assert!(shown.iter().any(|command| command.starts_with("docker run ")));
        for command in shown.iter().filter(|command| !is_casm(command)) {
            check(command, &PathBuf::new()).unwrap_or_else(|e| panic!("`{command}`: {e:#}"));
        }
        assert!(check("cargo xtask bench nothing", &PathBuf::new()).is_err());
        assert!(check("cargo xtask tests", &PathBuf::new()).is_err());
        assert!(check("cargo bench", &PathBuf::new()).is_err());
    }
}
