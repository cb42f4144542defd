//! The links and the headings of a Markdown text, as far as ours go.

/// Where the links of a text lead: `[words](target)`, and definitions, `[words]: target`. Code is none of the text.
pub(crate) fn of(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.push(target.trim().to_owned());
            continue;
        }
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (target, after) = after.split_once(')').unwrap_or((after, ""));
            links.push(target.to_owned());
            rest = after;
        }
    }
    links
}

/// The anchors of a text's headings, as GitHub and mdBook make them: small letters, `-` for spaces, no other punctuation.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().scan(false, |is_code, line| {
        *is_code ^= line.starts_with("```");
        Some((!*is_code && line.starts_with('#')).then(|| line.trim_start_matches('#').trim().to_owned()))
    });
    let anchor = |heading: String| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    headings.flatten().map(anchor).collect()
}

/// The lines outside blocks of code, without code inside them.
fn prose(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            // A link's words may be code; its target never is.
            let parts: Vec<&str> = line.split('`').collect();
            let odd = |(number, part): (usize, &&str)| if number % 2 == 1 { String::new() } else { (*part).to_owned() };
            lines.push(parts.iter().enumerate().map(odd).collect());
        }
    }
    lines
}

#[test]
fn links_are_found_and_code_is_not() {
    let text = "[a](b.md#c) and [`d`](e.md)\n```rust\n[x](y)\n```\n`[p](q)`\n[f]: g.rs\n";
    assert_eq!(of(text), ["b.md#c", "e.md", "g.rs"]);
}

#[test]
fn headings_become_anchors() {
    let text = "# What it does, *and* what not\n```sh\n# no heading\n```\n## 1: a cell is not\n";
    assert_eq!(anchors(text), ["what-it-does-and-what-not", "1-a-cell-is-not"]);
}
