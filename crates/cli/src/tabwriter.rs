//! Columns of text aligned with spaces: a cell ends at a tab, a column is as wide as its widest
//! cell in adjoining lines. It never knows what the cells mean.

/// Lays out tab-separated lines. Cells are at least `min` wide and followed by `padding` spaces;
/// text after a line's last tab is not part of a column.
pub(crate) fn align(text: &str, min: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    block(&lines, &mut widths, (0, lines.len()), 0, (min, padding));
    let mut out = String::with_capacity(text.len() * 2);
    for (index, cells) in lines.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < cells.len() {
                let fill = widths[index][column].saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', fill));
            }
        }
    }
    out
}

/// Sets the width of `column` for each run of adjoining lines that have it, then goes deeper.
fn block(
    lines: &[Vec<&str>],
    widths: &mut [Vec<usize>],
    (start, end): (usize, usize),
    column: usize,
    (min, padding): (usize, usize),
) {
    let has = |line: usize| column + 1 < lines[line].len();
    let mut line = start;
    while line < end {
        if !has(line) {
            line += 1;
            continue;
        }
        let first = line;
        let mut width = min;
        let mut all_empty = true;
        while line < end && has(line) {
            let cell = lines[line][column].chars().count();
            all_empty &= cell == 0;
            width = width.max(cell + padding);
            line += 1;
        }
        if all_empty && min == 0 {
            width = 0;
        }
        for row in &mut widths[first..line] {
            row[column] = width;
        }
        block(lines, widths, (first, line), column + 1, (min, padding));
    }
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns() {
        assert_eq!(align("A\tB\nlonger\tx\n", 0, 3), "A        B\nlonger   x\n");
        assert_eq!(align("A\tB\n1\t2", 10, 3), "A         B\n1         2");
        assert_eq!(align("no tabs\n", 10, 3), "no tabs\n");
        assert_eq!(align("a\tb\tc\nonly\nd\te\tf", 0, 1), "a b c\nonly\nd e f");
    }
}
