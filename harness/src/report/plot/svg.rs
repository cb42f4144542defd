//! The little of SVG that the plots need, written so that no text can leave its place.

use std::fmt::Write as _;

use crate::report::words;

/// How wide every plot is, in its own units; the page scales it.
pub(super) const WIDTH: f64 = 680.0;

/// A drawing under way.
#[derive(Debug)]
pub(super) struct Svg {
    id: String,
    title: String,
    description: String,
    body: String,
}

impl Svg {
    /// A drawing whose `id` is the page's only one, with what is said of it to those who cannot see it.
    pub(super) fn new(id: &str, title: &str, description: &str) -> Self {
        let id = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { id, title: escape(title), description: escape(description), body: String::new() }
    }

    pub(super) fn rectangle(&mut self, [x, y, width, height]: [f64; 4], class: &str, title: &str) {
        let (x, y, width, height) = (number(x), number(y), number(width.max(0.0)), number(height.max(0.0)));
        let title = escape(title);
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" class=\"{class}\"><title>{title}</title></rect>"
        ));
    }

    pub(super) fn line(&mut self, line: [f64; 4], class: &str) {
        self.lines([line], class);
    }

    /// Lines that have one class, each level or upright.
    pub(super) fn lines(&mut self, lines: impl IntoIterator<Item = [f64; 4]>, class: &str) {
        let path = lines.into_iter().fold(String::new(), |mut path, [x1, y1, x2, y2]| {
            let end = if number(x1) == number(x2) { format!("V{}", number(y2)) } else { format!("H{}", number(x2)) };
            let _ = write!(path, "M{} {}{end}", number(x1), number(y1));
            path
        });
        if !path.is_empty() {
            self.push(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    pub(super) fn text(&mut self, [x, y]: [f64; 2], class: &str, text: &str) {
        let (x, y, text) = (number(x), number(y), escape(text));
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.push(format_args!("<text x=\"{x}\" y=\"{y}\"{class}>{text}</text>"));
    }

    /// A line with an end at both sides, from left to right.
    pub(super) fn band(&mut self, from: f64, to: f64, y: f64) {
        for class in ["halo", "band"] {
            let ends = [from, to].map(|x| [x, y - 5.0, x, y + 5.0]);
            self.lines(std::iter::once([from, y, to, y]).chain(ends), class);
        }
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    /// The drawing, so high.
    pub(super) fn finish(self, height: f64) -> String {
        let Self { id, title, description, body } = self;
        format!(
            "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\">\n<title id=\"{id}-title\">{title}</title>\n\
             <desc id=\"{id}-desc\">{description}</desc>\n{body}</svg>",
            number(WIDTH),
            number(height)
        )
    }
}

/// A coordinate: one digit after the point is finer than any screen. What is no number is none here either.
fn number(value: f64) -> String {
    let text = format!("{:.1}", if value.is_finite() { value } else { 0.0 });
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Text that stays text in XML and in HTML, whoever sent it.
pub(in crate::report) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in words::visible(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
