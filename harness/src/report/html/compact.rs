//! The page in fewer bytes: without the end tags and the quotation marks that HTML lets go. What a browser makes of it is
//! the same.

/// The end tags that follow from what comes next, wherever the page has them: another such element, or the end of what
/// they are in (HTML, 13.1.2.4 *Optional tags*).
const IMPLIED: [&str; 9] = ["dd", "dt", "li", "option", "tbody", "td", "th", "thead", "tr"];

/// The same page, shorter. `page` must escape `<` and `>` in every text and attribute, and have its attributes in
/// quotation marks; styles and scripts stay as they are.
pub(super) fn compact(page: &str) -> String {
    let mut short = String::with_capacity(page.len());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        short.push_str(&rest[..start]);
        rest = &rest[start..];
        let raw = ["style", "script"].into_iter().find(|name| is_start_of(rest, name));
        let end = match raw {
            Some(name) => rest.find(&format!("</{name}>")).map_or(rest.len(), |end| end + name.len() + 3),
            None => rest.find('>').map_or(rest.len(), |end| end + 1),
        };
        let (one, after) = rest.split_at(end);
        rest = after;
        if raw.is_some() {
            short.push_str(one);
        } else if is_implied(one) {
            // White space behind it would become a part of what has no end tag any more.
            rest = rest.trim_start_matches('\n');
        } else {
            tag(&mut short, one);
        }
    }
    short.push_str(rest);
    short
}

fn is_start_of(text: &str, name: &str) -> bool {
    text[1..].strip_prefix(name).is_some_and(|after| after.starts_with(['>', ' ']))
}

fn is_implied(tag: &str) -> bool {
    tag.strip_prefix("</").and_then(|tag| tag.strip_suffix('>')).is_some_and(|name| IMPLIED.contains(&name))
}

/// A tag without the quotation marks that it does not need.
fn tag(short: &mut String, tag: &str) {
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        short.push_str(before);
        // Before the slash of an empty element, the slash would belong to the value.
        if !value.is_empty() && value.chars().all(is_plain) && !after.starts_with('/') {
            short.push('=');
            short.push_str(value);
        } else {
            short.push_str("=\"");
            short.push_str(value);
            short.push('"');
        }
        rest = after;
    }
    short.push_str(rest);
}

/// What a value without quotation marks may have, and a little less (HTML, 13.1.2.3 *Attributes*).
const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '#' | '/' | ':' | '%' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_html_lets_go_goes_and_nothing_else() {
        let page = "<style>a[href=\"x\"] > b { }</style><table class=\"rows\"><thead><tr><th scope=\"col\">a</th></tr></thead>\n\
                    <tbody>\n<tr><td class=\"a b\">1 = \"2\"</td>\n<td><a href=\"#a/b\" aria-label=\"\">x</a></td></tr>\n</tbody></table>\n\
                    <p>stays</p>\n<svg viewBox=\"0 0 1 1\"><rect class=\"seen\" y=\"1\"/></svg><script>if (a < 1) b(\"</li>\");</script>";
        insta::assert_snapshot!(compact(page), @r##"
        <style>a[href="x"] > b { }</style><table class=rows><thead><tr><th scope=col>a<tbody>
        <tr><td class="a b">1 = "2"<td><a href=#a/b aria-label="">x</a></table>
        <p>stays</p>
        <svg viewBox="0 0 1 1"><rect class=seen y="1"/></svg><script>if (a < 1) b("</li>");</script>
        "##);
    }
}
