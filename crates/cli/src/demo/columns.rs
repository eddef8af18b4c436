//! Text in columns.

/// Between columns.
const GAP: &str = " | ";

/// Lines, and how many characters wide they may be.
pub(super) type Column = (usize, Vec<String>);

/// The columns side by side; lines that are longer than theirs is wide are broken.
pub(super) fn side_by_side(columns: &[Column]) -> String {
    let wrapped: Vec<(usize, Vec<String>)> = columns
        .iter()
        .map(|(width, lines)| (*width, lines.iter().flat_map(|line| wrap(line, *width)).collect()))
        .collect();
    let height = wrapped.iter().map(|(_, lines)| lines.len()).max().unwrap_or_default();
    let mut text = String::new();
    for row in 0..height {
        let cells: Vec<String> = wrapped
            .iter()
            .map(|(width, lines)| {
                let line = lines.get(row).map_or("", String::as_str);
                let missing = width.saturating_sub(line.chars().count());
                format!("{line}{}", " ".repeat(missing))
            })
            .collect();
        text.push_str(cells.join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// Widths of two narrow columns and, between them, one that is twice as wide.
pub(super) fn widths(terminal: usize) -> [usize; 3] {
    const NARROWEST: usize = 20;
    let narrow = (terminal.saturating_sub(2 * GAP.len()) / 4).max(NARROWEST);
    [narrow, 2 * narrow, narrow]
}

/// Breaks at spaces where there are some, else anywhere; continuation lines are indented.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    let mut length = 0;
    for word in line.split_inclusive(' ') {
        let word_length = word.trim_end().chars().count();
        if length + word_length > width && length > 2 {
            lines.push(std::mem::replace(&mut current, "  ".into()).trim_end().to_owned());
            length = 2;
        }
        for c in word.chars() {
            if length >= width {
                lines.push(std::mem::replace(&mut current, "  ".into()).trim_end().to_owned());
                length = 2;
                if c == ' ' {
                    continue;
                }
            }
            current.push(c);
            length += 1;
        }
    }
    lines.push(current.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_and_nothing_is_lost() {
        for line in ["", "short", "some words that are longer than that", &"x".repeat(50)] {
            let wrapped = wrap(line, 12);
            assert!(wrapped.iter().all(|line| line.chars().count() <= 12), "{wrapped:?}");
            let joined: String = wrapped.concat().split_whitespace().collect();
            assert_eq!(joined, line.split_whitespace().collect::<String>());
        }
    }

    #[test]
    fn columns_of_different_height() {
        let columns = [(3, vec!["a".into(), "b".into()]), (3, vec!["c".into()])];
        assert_eq!(side_by_side(&columns), "a   | c\nb   |\n");
    }
}
