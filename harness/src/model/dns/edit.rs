//! Edits of a Corefile that leave every other byte as it is.

use std::{fmt::Write as _, time::Duration};

use super::{
    absolute,
    corefile::{Corefile, HostsEntry, Plugin, ServerBlock},
    parse::hosts_line,
};
use crate::{Error, ErrorKind, Result};

/// The indentation inside a plugin's braces: what kubeadm's own Corefile uses.
const STEP: &str = "   ";

impl Corefile {
    /// The same file with these entries in the `hosts` plugin of the block for `.` on port 53.
    ///
    /// The plugin is put before `kubernetes`, where a reader looks for it; CoreDNS itself asks plugins in an
    /// order fixed at build time, in which `hosts` comes first wherever it stands
    /// (<https://github.com/coredns/coredns/blob/master/plugin.cfg>). A `hosts` plugin that is already there
    /// keeps its other entries, options and comments; the names given here are taken out of its old entries,
    /// and `fallthrough` is there afterwards if it is asked for, and not otherwise. It comes last, because
    /// the plugin refuses entries after it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if no block answers for `.` on port 53, or its `hosts` plugin reads a file of its own.
    pub fn with_hosts(&self, entries: &[HostsEntry], fallthrough: bool) -> Result<Self> {
        let tried = "add a `hosts` block to the Corefile";
        let block = self
            .blocks()
            .find(|block| block.zones().iter().any(|zone| zone == "."))
            .ok_or_else(|| Error::new(ErrorKind::Usage, tried, "it has no server block for `.` on port 53"))?;
        let (span, text) = match (block.plugin("hosts"), block.plugin("kubernetes")) {
            (Some(hosts), _) if hosts.arguments.is_empty() => (
                hosts.span.clone(),
                self.hosts_text(Some(hosts), &self.indent_at(hosts.span.start), entries, fallthrough),
            ),
            (Some(hosts), _) => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    tried,
                    format!("line {}: it already has one, `hosts {}`", hosts.line, hosts.arguments.join(" ")),
                )
                .hint("Take that plugin out of the Corefile, or make it one without a file and zones of its own."));
            }
            (None, Some(kubernetes)) => {
                let at = kubernetes.span.start;
                let indent = self.indent_at(at);
                (at..at, format!("{}\n{indent}", self.hosts_text(None, &indent, entries, fallthrough)))
            }
            (None, None) => self.last_in_block(block, entries, fallthrough),
        };
        let mut edited = self.text.clone();
        edited.replace_range(span, &text);
        edited.parse()
    }

    /// The same file with one more server block at its end.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if `block` does not parse, or has a key that this file already has.
    pub fn with_server_block(&self, block: &str) -> Result<Self> {
        let added: Self = block.parse()?;
        for key in added.blocks().flat_map(|block| &block.keys) {
            if self.blocks().any(|block| block.keys.contains(key)) {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "add a server block to the Corefile",
                    format!("`{key}` already has one"),
                ));
            }
        }
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(block);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.parse()
    }

    /// The same file with the `reload` plugin of each block that has it looking for changes every `interval`.
    ///
    /// Its jitter, by which the looks are spread, must not be over half of that
    /// (<https://coredns.io/plugins/reload/>).
    ///
    /// ```
    /// use reachmap::model::dns::Corefile;
    /// let corefile: Corefile = ".:53 {\n    reload\n}\n".parse()?;
    /// let quick = corefile.with_reload(std::time::Duration::from_secs(2))?;
    /// assert_eq!(quick.to_string(), ".:53 {\n    reload 2s 1s\n}\n");
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if `interval` is less than the two seconds that the plugin takes.
    pub fn with_reload(&self, interval: Duration) -> Result<Self> {
        if interval < Duration::from_secs(2) {
            let cause = format!("the `reload` plugin takes no less than 2 s, not {interval:?}");
            return Err(Error::new(ErrorKind::Usage, "edit the Corefile", cause));
        }
        let seconds = interval.as_secs();
        let mut edited = self.text.clone();
        let plugins = self.blocks().filter_map(|block| block.plugin("reload"));
        let spans: Vec<_> = plugins.map(|plugin| plugin.span.clone()).collect();
        // From the end, so that the spans before stay where they are.
        for span in spans.into_iter().rev() {
            edited.replace_range(span, &format!("reload {seconds}s {}s", seconds / 2));
        }
        edited.parse()
    }

    /// The white space before `at` on its line.
    fn indent_at(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.chars().take_while(|character| character.is_whitespace()).collect()
    }

    fn last_in_block(
        &self,
        block: &ServerBlock,
        entries: &[HostsEntry],
        fallthrough: bool,
    ) -> (std::ops::Range<usize>, String) {
        let has_braces = self.text.get(block.span.clone()).is_some_and(|text| text.ends_with('}'));
        let indent = format!("{}    ", self.indent_at(block.span.start));
        let hosts = self.hosts_text(None, &indent, entries, fallthrough);
        if has_braces {
            let at = block.span.end - 1;
            let own_line =
                self.text.get(..at).is_some_and(|before| before.trim_end_matches([' ', '\t']).ends_with('\n'));
            let lead = if own_line {
                indent.trim_start_matches(&self.indent_at(at)).to_owned()
            } else {
                format!("\n{indent}")
            };
            (at..at, format!("{lead}{hosts}\n{}", self.indent_at(block.span.start)))
        } else {
            (block.span.end..block.span.end, format!("\n{indent}{hosts}"))
        }
    }

    /// The plugin's text, from its name to its closing brace.
    fn hosts_text(&self, old: Option<&Plugin>, indent: &str, entries: &[HostsEntry], fallthrough: bool) -> String {
        let mut text = "hosts {\n".to_owned();
        for HostsEntry { address, names } in entries {
            let _ = writeln!(text, "{indent}{STEP}{address} {}", names.join(" "));
        }
        if let Some(old) = old {
            let taken: Vec<String> = entries.iter().flat_map(|entry| &entry.names).map(|name| absolute(name)).collect();
            for line in self.kept_lines(old, &taken) {
                let _ = writeln!(text, "{indent}{STEP}{line}");
            }
        }
        if fallthrough {
            let _ = writeln!(text, "{indent}{STEP}fallthrough");
        }
        text.push_str(indent);
        text.push('}');
        text
    }

    /// The old plugin's lines that stay, comments too, without their indentation.
    fn kept_lines(&self, old: &Plugin, taken: &[String]) -> Vec<String> {
        let source = self.text.get(old.span.clone()).unwrap_or_default();
        let Some((_, body)) = source.split_once('{') else {
            return Vec::new();
        };
        let body = body.strip_suffix('}').unwrap_or(body);
        let mut kept = Vec::new();
        for line in body.lines().map(str::trim) {
            let words: Vec<String> =
                line.split('#').next().unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
            if line.is_empty() || words.first().is_some_and(|word| word == "fallthrough") {
                continue;
            }
            match hosts_line(&words) {
                Some((_, names)) if names.iter().any(|name| taken.contains(&absolute(name))) => {
                    let rest: Vec<&str> =
                        names.iter().filter(|name| !taken.contains(&absolute(name))).map(String::as_str).collect();
                    if !rest.is_empty() {
                        kept.push(format!("{} {}", words.first().map_or("", String::as_str), rest.join(" ")));
                    }
                }
                _ => kept.push(line.to_owned()),
            }
        }
        kept
    }
}
