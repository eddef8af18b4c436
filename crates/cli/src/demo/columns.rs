//! Text in columns.

/// Between columns.
const GAP: &str = " | ";

/// Prints the columns side by side, each `width` characters wide, lines that are longer broken.
pub(super) fn side_by_side(columns: &[Vec<String>], width: usize) -> String {
    let wrapped: Vec<Vec<String>> = columns
        .iter()
        .map(|lines| lines.iter().flat_map(|line| wrap(line, width)).collect())
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or_default();
    let mut text = String::new();
    for row in 0..height {
        let cells: Vec<String> = wrapped
            .iter()
            .map(|lines| {
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

/// The widest that `count` columns may be in a terminal of that width.
pub(super) fn column_width(terminal: usize, count: usize) -> usize {
    const NARROWEST: usize = 24;
    let gaps = GAP.len() * count.saturating_sub(1);
    (terminal.saturating_sub(gaps) / count.max(1)).max(NARROWEST)
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
        let columns = [vec!["a".into(), "b".into()], vec!["c".into()]];
        assert_eq!(side_by_side(&columns, 3), "a   | c\nb   |\n");
    }
}
