//! Text as roff with the man macros, and roff as text again. What the macros mean is not known here.

/// Plain words as roff: options in bold, and nothing that roff would take for its own.
pub(crate) fn prose(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let end = word.trim_end_matches(['.', ',', ':', ';', ')']).len();
        let (word, tail) = word.split_at(end);
        let bold = word.strip_prefix('`').and_then(|word| word.strip_suffix('`'));
        match bold {
            Some(word) => format!("{}{tail}", bold_face(word)),
            None if word.len() > 2 && word.starts_with("--") => {
                format!("{}{tail}", bold_face(word))
            }
            None => format!("{}{tail}", escape(word)),
        }
    });
    guard(&words.collect::<Vec<_>>().join(" "))
}

/// In bold.
pub(crate) fn bold_face(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

/// In italics, as what is to be put in place of a name is shown.
pub(crate) fn italic_face(text: &str) -> String {
    format!("\\fI{}\\fR", escape(text))
}

/// A line that is shown as it is.
pub(crate) fn verbatim(line: &str) -> String {
    guard(&escape(line))
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

/// Keeps a line that begins as a request does from being one.
fn guard(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}

/// What a reader sees of a page, more or less: its words, without faces and escapes.
pub(crate) fn readable(roff: &str) -> String {
    let mut text = roff.to_owned();
    for (escape, meant) in [
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\-", "-"),
        ("\\&", ""),
        ("\\(aq", "'"),
        ("\\(ga", "`"),
        ("\\(ha", "^"),
        ("\\(ti", "~"),
        ("\\e", "\\"),
    ] {
        text = text.replace(escape, meant);
    }
    text
}

/// The text of the section with this heading, to the next one.
pub(crate) fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let start = page.find(&format!("\n.SH {heading}\n"))?;
    let rest = &page[start + 1..];
    Some(&rest[..rest.find("\n.SH ").unwrap_or(rest.len())])
}

#[test]
fn words_of_help_become_roff_that_says_the_same() {
    let text = "Reads `NAME N` or --stdin, at ~/x; it's -1";
    assert_eq!(
        prose("Use --stdin, `-`; it's ~/x."),
        "Use \\fB\\-\\-stdin\\fR, \\fB\\-\\fR; it\\(aqs \\(tix.".replace("\\(tix", "\\(ti/x")
    );
    assert_eq!(readable(&prose(text)), text);
    assert_eq!(verbatim(".x \\ y"), "\\&.x \\e y");
}
