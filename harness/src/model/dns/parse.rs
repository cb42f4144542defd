//! From a Corefile's text to its blocks, with the rules of CoreDNS's own lexer and parser.

use std::{net::IpAddr, ops::Range};

use super::corefile::{Corefile, Plugin, ServerBlock};
use crate::{Error, ErrorKind, Result};

/// A word, a brace or a quoted text.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    span: Range<usize>,
    /// The line that it starts on.
    line: usize,
    /// The line that it ends on: a quoted text can go on over several.
    last_line: usize,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        // A quoted brace counts as a brace: so does CoreDNS's parser.
        self.text == text
    }
}

pub(super) fn error(line: usize, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, "parse the Corefile", format!("line {line}: {cause}"))
        .hint("CoreDNS would not load it either: see https://coredns.io/manual/configuration/.")
}

/// Words end at white space; `#` starts a comment anywhere; quotes only count at the start of a word,
/// and only they can be escaped inside.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut word: Option<Token> = None;
    let (mut line, mut in_comment, mut in_quotes, mut escaped) = (1, false, false, false);
    let mut close = |word: &mut Option<Token>, end: usize, line: usize| {
        if let Some(mut token) = word.take() {
            token.span.end = end;
            token.last_line = line;
            tokens.push(token);
        }
    };
    // The parser that CoreDNS uses drops a byte order mark.
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    for (offset, character) in text.char_indices().skip_while(|(offset, _)| *offset < start) {
        if in_quotes {
            if !escaped && character == '"' {
                in_quotes = false;
                close(&mut word, offset + 1, line);
                continue;
            }
            if character == '\n' {
                line += 1;
            }
            if !escaped && character == '\\' {
                escaped = true;
                continue;
            }
            if let Some(token) = &mut word {
                if escaped && character != '"' {
                    token.text.push('\\');
                }
                token.text.push(character);
            }
            escaped = false;
        } else if character.is_whitespace() {
            // A carriage return does not end a word, as in CoreDNS, where it is simply not there.
            if character == '\r' {
                continue;
            }
            close(&mut word, offset, line);
            if character == '\n' {
                line += 1;
                in_comment = false;
            }
        } else if in_comment || character == '#' {
            if !in_comment {
                // The rest of a word may follow a comment's start only on the next line.
                close(&mut word, offset, line);
            }
            in_comment = true;
        } else {
            let token =
                word.get_or_insert_with(|| Token { text: String::new(), span: offset..offset, line, last_line: line });
            if token.span.start == offset && character == '"' {
                in_quotes = true;
            } else {
                token.text.push(character);
            }
        }
    }
    close(&mut word, text.len(), line);
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    lines: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += usize::from(token.is_some());
        token
    }

    /// Whether the next token stands on a later line than the one before it.
    fn at_new_line(&self) -> bool {
        match (self.next.checked_sub(1).and_then(|last| self.tokens.get(last)), self.peek()) {
            (Some(last), Some(next)) => last.last_line < next.line,
            _ => true,
        }
    }

    fn block(&mut self, first: Token) -> Result<ServerBlock> {
        let (line, start) = (first.line, first.span.start);
        let mut keys = Vec::new();
        let mut token = first;
        let mut braces = false;
        let mut end = token.span.end;
        loop {
            let another = token.text.ends_with(',');
            let key = token.text.strip_suffix(',').unwrap_or(&token.text);
            if !key.is_empty() {
                keys.push(key.to_owned());
            }
            match self.peek() {
                None if another => {
                    return Err(error(self.lines, "the file ends where another zone must follow the comma"));
                }
                None => break,
                Some(next) if next.is("{") => {
                    if another {
                        return Err(error(next.line, "a zone must follow the comma, not `{`"));
                    }
                    end = next.span.end;
                    self.next += 1;
                    braces = true;
                    break;
                }
                Some(_) if !another && self.at_new_line() => break,
                Some(_) => {}
            }
            let Some(next) = self.take() else { break };
            end = next.span.end;
            token = next;
        }
        let mut block = ServerBlock { keys, plugins: Vec::new(), span: start..end, line };
        loop {
            match self.take() {
                Some(token) if token.is("}") => {
                    block.span.end = token.span.end;
                    if !braces {
                        return Err(error(token.line, "`}` without a matching `{`"));
                    }
                    return Ok(block);
                }
                Some(token) => {
                    let plugin = self.plugin(token)?;
                    block.span.end = plugin.span.end;
                    block.plugins.push(plugin);
                }
                None if braces => {
                    return Err(error(
                        self.lines,
                        format!("the file ends inside the block that starts on line {line}"),
                    ));
                }
                // A file with one block may leave its braces out.
                None => return Ok(block),
            }
        }
    }

    fn plugin(&mut self, name: Token) -> Result<Plugin> {
        if name.is("{") {
            return Err(error(name.line, "`{` where a plugin must stand"));
        }
        let mut plugin =
            Plugin { name: name.text, arguments: Vec::new(), body: Vec::new(), span: name.span, line: name.line };
        let mut depth = 0_usize;
        let mut body_line = None;
        while let Some(next) = self.peek() {
            let opens = next.is("{");
            let closes = next.is("}");
            if !opens && depth == 0 && (self.at_new_line() || closes) {
                if closes && !self.at_new_line() {
                    return Err(error(next.line, "`}` without a matching `{`"));
                }
                break;
            }
            let Some(token) = self.take() else { break };
            plugin.span.end = token.span.end;
            if closes {
                depth -= 1;
            }
            if (opens || closes) && depth == 0 {
                body_line = None;
            } else if depth == 0 {
                plugin.arguments.push(token.text);
            } else if body_line == Some(token.line)
                && let Some(words) = plugin.body.last_mut()
            {
                body_line = Some(token.last_line);
                words.push(token.text);
            } else {
                body_line = Some(token.last_line);
                plugin.body.push(vec![token.text]);
            }
            if opens {
                depth += 1;
            }
        }
        if depth > 0 {
            return Err(error(
                self.lines,
                format!("the file ends inside `{}`, which starts on line {}", plugin.name, plugin.line),
            ));
        }
        Ok(plugin)
    }
}

/// Parses a whole file.
pub(super) fn corefile(text: &str) -> Result<Corefile> {
    let mut parser = Parser { tokens: tokens(text), next: 0, lines: text.lines().count().max(1) };
    let mut blocks = Vec::new();
    let mut imports = None;
    while let Some(token) = parser.take() {
        if token.is("import") {
            imports = imports.or(Some(token.line));
            while parser.peek().is_some() && !parser.at_new_line() {
                parser.next += 1;
            }
            continue;
        }
        if token.is("{") || token.is("}") {
            return Err(error(token.line, format!("`{}` where a zone must stand", token.text)));
        }
        let block = parser.block(token)?;
        for (index, plugin) in block.plugins.iter().enumerate() {
            check(plugin, block.plugins.iter().take(index).any(|earlier| earlier.name == plugin.name))?;
        }
        blocks.push(block);
    }
    Ok(Corefile { text: text.to_owned(), blocks, imports })
}

/// What the plugins that the model evaluates refuse at start.
fn check(plugin: &Plugin, again: bool) -> Result<()> {
    match plugin.name.as_str() {
        "hosts" | "kubernetes" if again => {
            Err(error(plugin.line, format!("`{}` can only be used once in a server block", plugin.name)))
        }
        "hosts" => {
            let mut through = false;
            for words in &plugin.body {
                let Some(first) = words.first() else { continue };
                match first.as_str() {
                    "fallthrough" => through = true,
                    "no_reverse" | "ttl" | "reload" | "fallthrough_unsupported" => {}
                    // The plugin takes entries only before `fallthrough`.
                    _ if through => {
                        return Err(error(
                            plugin.line,
                            format!("`hosts` has `{first}` after `fallthrough`, where entries are refused"),
                        ));
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        "kubernetes" => {
            const OPTIONS: &[&str] = &[
                "endpoint_pod_names",
                "pods",
                "namespaces",
                "endpoint",
                "tls",
                "labels",
                "namespace_labels",
                "fallthrough",
                "ttl",
                "noendpoints",
                "zonal",
                "ignore",
                "kubeconfig",
                "multicluster",
                "startup_timeout",
                "apiserver_qps",
                "apiserver_burst",
                "apiserver_max_inflight",
            ];
            for words in &plugin.body {
                match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                    ["pods", "disabled" | "insecure" | "verified"] => {}
                    ["pods", ..] => {
                        return Err(error(plugin.line, "`pods` takes one of disabled, insecure, verified"));
                    }
                    [option, ..] if !OPTIONS.contains(option) => {
                        return Err(error(plugin.line, format!("`kubernetes` has no option `{option}`")));
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The entry that a line of a `hosts` block is, if it is one: lines that are none are ignored, as in `/etc/hosts`.
pub(super) fn hosts_line(words: &[String]) -> Option<(IpAddr, &[String])> {
    let (address, names) = words.split_first()?;
    Some((address.parse().ok()?, names))
}
