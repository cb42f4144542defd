//! The documentation says what is so: links lead somewhere, generated pages are what the code says, quoted output is what is printed.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use reachmap::ErrorCode;

#[path = "book/links.rs"]
mod links;

/// Where the repository's own files are seen on the web: links out of the book go there.
const WEB: &str = "https://github.com/reachmap/reachmap/blob/main/";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(repository()).output().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of the book, by their names.
fn pages() -> BTreeMap<String, String> {
    let pages = fs::read_dir(repository().join("docs/src")).unwrap().map(|entry| entry.unwrap().path());
    let markdown = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    markdown.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), text(&path))).collect()
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let repository = repository();
    let mut files: Vec<PathBuf> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/consumer/README.md"]
        .map(|name| repository.join(name))
        .into();
    files.extend(pages().into_keys().map(|page| repository.join("docs/src").join(page)));
    let (mut broken, mut seen) = (Vec::new(), 0);
    for file in files {
        for link in links::of(&text(&file)) {
            seen += 1;
            let target = link.strip_prefix(WEB).map(|path| repository.join(path));
            let (path, anchor) = match target {
                Some(path) => (path, None),
                None if link.contains("://") || link.starts_with("mailto:") => continue,
                None => {
                    let (path, anchor) =
                        link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
                    let path = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
                    (path, anchor)
                }
            };
            let leads = path.exists()
                && anchor.is_none_or(|anchor| links::anchors(&text(&path)).iter().any(|known| known == anchor));
            if !leads {
                broken.push(format!("{}: {link}", file.strip_prefix(&repository).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 60, "only {seen} links were found");
}

#[test]
fn no_link_of_the_book_leaves_it_by_a_relative_path() {
    for (page, text) in pages() {
        for link in links::of(&text).into_iter().filter(|link| !link.contains("://")) {
            assert!(!link.starts_with("../"), "{page}: {link} would lead out of the built book; use {WEB}…");
        }
    }
}

#[test]
fn every_page_is_in_the_summary_once() {
    let pages = pages();
    let mut listed = links::of(&pages["SUMMARY.md"]);
    listed.sort_unstable();
    let all: Vec<&String> = pages.keys().filter(|page| *page != "SUMMARY.md").collect();
    assert_eq!(listed.iter().collect::<Vec<_>>(), all);
}

#[test]
fn the_page_of_the_matrix_is_what_the_code_says() {
    let said = xtask(&["docs", "matrix", "--check"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

#[test]
fn a_page_that_is_another_one_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("matrix.md");
    let page = page.to_str().unwrap();
    assert_eq!(xtask(&["docs", "matrix", "--check", page]).status.code(), Some(1));
    assert_eq!(xtask(&["docs", "matrix", page]).status.code(), Some(0));
    assert_eq!(xtask(&["docs", "matrix", "--check", page]).status.code(), Some(0));
    fs::write(page, text(Path::new(page)).replacen('✓', "–", 1)).unwrap();
    assert_eq!(xtask(&["docs", "matrix", "--check", page]).status.code(), Some(1));
}

/// In a block of commands, a line that begins with `$ cargo xtask dns explain` is run; the lines below it are among those that it prints.
#[test]
fn what_is_quoted_of_dns_explain_is_what_it_prints() {
    let mut commands = 0;
    for (page, text) in pages() {
        let mut printed: Option<(String, Vec<String>)> = None;
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("$ cargo xtask dns explain ") {
                let arguments: Vec<&str> = ["dns", "explain"].into_iter().chain(command.split_whitespace()).collect();
                // Where the page has made-up files, there is nothing to compare.
                printed = (!command.contains("./")).then(|| {
                    let said = xtask(&arguments);
                    assert!(said.status.success(), "{page}: {line}: {}", String::from_utf8_lossy(&said.stderr));
                    commands += 1;
                    (line.to_owned(), String::from_utf8(said.stdout).unwrap().lines().map(str::to_owned).collect())
                });
            } else if line.starts_with("```") || line.starts_with("$ ") {
                printed = None;
            } else if let Some((command, printed)) = &printed {
                assert!(printed.iter().any(|printed| printed == line), "{page}: `{command}` does not print `{line}`");
            }
        }
    }
    assert!(commands >= 10, "only {commands} commands were found");
}

#[test]
fn without_mdbook_it_is_said_how_to_get_it() {
    let said = xtask(&["docs", "build", "--mdbook", "/nowhere/mdbook"]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(3), "{words}");
    assert!(words.contains("cargo install mdbook"), "{words}");
    assert_eq!(xtask(&["docs", "build", "xtask"]).status.code(), Some(2));
}

#[test]
#[ignore = "needs mdbook"]
fn the_book_builds() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("book");
    let said = xtask(&["docs", "build", "--into", into.to_str().unwrap()]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(into.join("dns-pictures.html").is_file());
}

/// The page about what went wrong has an entry for every code that an error may have, and for no other.
#[test]
fn every_error_code_has_an_entry_with_what_it_means_and_what_to_do() {
    let page = &pages()["errors.md"];
    let entries: BTreeMap<&str, &str> =
        page.split("\n### ").skip(1).map(|entry| entry.split_once('\n').unwrap()).collect();
    let codes: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(entries.keys().copied().collect::<BTreeSet<_>>(), codes);
    for (code, entry) in entries {
        for part in ["\n- **It means:** ", "\n- **What was tried:** ", "\n- **What to do:** "] {
            assert!(entry.contains(part), "{code} has no `{}`", part.trim());
        }
    }
}
