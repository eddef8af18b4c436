//! Text that somebody else wrote, made safe for a terminal.
//!
//! A name, a message or a file name can hold escape sequences that repaint the screen, and marks
//! that turn the direction of writing round: both could show what nobody wrote. Everything of the
//! kind is shown as an escape such as `\u{1b}` instead; nothing is left out.

/// Whether a character could move, hide or turn what stands around it.
const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'          // C0, DEL, C1: commands to the terminal
        | '\u{ad}' | '\u{34f}'                          // soft hyphen, grapheme joiner: invisible
        | '\u{61c}' | '\u{200e}' | '\u{200f}'           // direction marks
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // fillers: look like nothing
        | '\u{180b}'..='\u{180f}'                       // Mongolian selectors, vowel separator
        | '\u{200b}'                                    // zero width space
        | '\u{2028}'..='\u{202e}'                       // separators, embeddings, overrides
        | '\u{2060}'..='\u{206f}'                       // invisible operators, isolates
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'          // byte order mark, annotations
        | '\u{e0000}'..='\u{e0fff}'                     // tags
    )
}

/// One line: line breaks and tabs are escaped too.
#[must_use]
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut safe, c);
    }
    safe
}

/// Several lines, of which all but the first are indented, so that no line of the text can look
/// like one of the program's own.
#[must_use]
pub fn block(text: &str, indent: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let mut safe = String::with_capacity(text.len());
    for c in text.trim_end_matches('\n').chars() {
        match c {
            '\n' => {
                safe.push('\n');
                safe.extend(std::iter::repeat_n(' ', indent));
            }
            '\t' => safe.push_str("    "),
            other => push(&mut safe, other),
        }
    }
    safe
}

/// JSON as it is printed: such characters occur in its strings only, where `\uXXXX` means the same.
#[must_use]
pub fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

fn push(safe: &mut String, c: char) {
    if is_unsafe(c) {
        safe.extend(c.escape_unicode());
    } else {
        safe.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_the_terminal_are_shown_and_not_sent() {
        assert_eq!(line("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(line("a\u{9b}2Jb"), "a\\u{9b}2Jb");
        assert_eq!(line("exe.\u{202e}gpj"), "exe.\\u{202e}gpj");
        assert_eq!(line("one\ntwo\ttab"), "one\\u{a}two\\u{9}tab");
    }

    #[test]
    fn letters_and_emoji_stay() {
        let text = "Grüße 你好 👩\u{200d}🚀 שלום";
        assert_eq!(line(text), text);
        assert_eq!(block(text, 4), text);
        assert_eq!(json(text), text);
    }

    #[test]
    fn lines_of_a_message_are_indented() {
        assert_eq!(block("one\r\ntwo\n\tthree\n\n", 2), "one\n  two\n      three");
        assert_eq!(block("a\rb", 2), "a\\u{d}b");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "text": "a\u{9b}\u{202e}\u{1b}\u{e0041}b" });
        let printed = json(&value.to_string());
        assert!(printed.chars().all(|c| !is_unsafe(c)));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).ok(), Some(value));
    }
}
