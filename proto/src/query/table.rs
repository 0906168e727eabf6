//! The layout of text tables.
//!
//! Columns are as wide as their widest cell, with one blank between; numbers align right. The last
//! column is not padded if it aligns left. With a separator nothing is padded.

/// A column's header and alignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The header.
    pub title: String,
    /// Whether it aligns right.
    pub right: bool,
}

impl Column {
    /// A column of text.
    pub fn left(title: impl Into<String>) -> Column {
        Column { title: title.into(), right: false }
    }

    /// A column of numbers.
    pub fn right(title: impl Into<String>) -> Column {
        Column { title: title.into(), right: true }
    }
}

/// A table being filled cell by cell, row by row. All text is kept in one string.
#[derive(Clone, Debug)]
pub struct TextTable {
    columns: Vec<Column>,
    text: String,
    /// Where each cell ends in `text`, and its width in characters.
    cells: Vec<(usize, usize)>,
}

impl TextTable {
    /// An empty table.
    pub fn new(columns: Vec<Column>) -> TextTable {
        TextTable { columns, text: String::new(), cells: Vec::new() }
    }

    /// Adds the next cell; `write` appends its text to the string it gets.
    pub fn cell_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        let width = self.text[start..].chars().count();
        self.cells.push((self.text.len(), width));
    }

    /// Adds the next cell.
    pub fn cell(&mut self, text: &str) {
        self.cell_with(|out| out.push_str(text));
    }

    /// Adds a row.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        cells.into_iter().for_each(|cell| self.cell(cell.as_ref()));
    }

    /// Appends the table to `out`, a line a row. A row that is not complete is left out.
    pub fn write(&self, out: &mut String, headers: bool, separator: Option<&str>) {
        if self.columns.is_empty() {
            return;
        }
        let widths = match separator {
            Some(_) => vec![0; self.columns.len()],
            None => self.widths(headers),
        };
        let separator = separator.unwrap_or(" ");
        let line = widths.iter().sum::<usize>() + widths.len() * (separator.len() + 1);
        out.reserve(line.max(8) * (self.cells.len() / widths.len() + 1));
        if headers {
            let titles = self.columns.iter().map(|c| (c.title.as_str(), c.title.chars().count()));
            self.write_line(out, titles, &widths, separator);
        }
        let mut start = 0;
        for row in self.cells.chunks_exact(self.columns.len()) {
            let cells = row.iter().map(|(end, width)| {
                let text = &self.text[start..*end];
                start = *end;
                (text, *width)
            });
            self.write_line(out, cells, &widths, separator);
        }
    }

    fn widths(&self, headers: bool) -> Vec<usize> {
        let title = |c: &Column| if headers { c.title.chars().count() } else { 0 };
        let mut widths: Vec<usize> = self.columns.iter().map(title).collect();
        for row in self.cells.chunks_exact(self.columns.len()) {
            for (width, (_, cell)) in widths.iter_mut().zip(row) {
                *width = (*width).max(*cell);
            }
        }
        // Nothing follows the last column: padding it would only leave blanks at the line's end.
        if let (Some(width), Some(Column { right: false, .. })) =
            (widths.last_mut(), self.columns.last())
        {
            *width = 0;
        }
        widths
    }

    fn write_line<'a>(
        &self,
        out: &mut String,
        cells: impl Iterator<Item = (&'a str, usize)>,
        widths: &[usize],
        separator: &str,
    ) {
        for (i, ((text, width), wanted)) in cells.zip(widths).enumerate() {
            if i > 0 {
                out.push_str(separator);
            }
            let padding = wanted.saturating_sub(width);
            if self.columns[i].right {
                push_blanks(out, padding);
                out.push_str(text);
            } else {
                out.push_str(text);
                push_blanks(out, padding);
            }
        }
        out.push('\n');
    }
}

/// In pieces: pushing blanks one by one is most of the time a large table takes.
fn push_blanks(out: &mut String, mut count: usize) {
    const BLANKS: &str = "                                ";
    while count > 0 {
        let piece = count.min(BLANKS.len());
        out.push_str(&BLANKS[..piece]);
        count -= piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TextTable {
        let columns = vec![Column::left("Name"), Column::right("Size"), Column::left("Tag")];
        let mut table = TextTable::new(columns);
        table.row(["é", "1", "x"]);
        table.row(["longer", "12345", ""]);
        table
    }

    fn text(table: &TextTable, headers: bool, separator: Option<&str>) -> String {
        let mut out = String::new();
        table.write(&mut out, headers, separator);
        out
    }

    #[test]
    fn pads_to_the_widest_cell() {
        assert_eq!(
            text(&sample(), true, None),
            "Name    Size Tag\né          1 x\nlonger 12345 \n"
        );
        assert_eq!(text(&sample(), false, None), "é          1 x\nlonger 12345 \n");
    }

    #[test]
    fn a_separator_means_no_padding() {
        assert_eq!(text(&sample(), true, Some("|")), "Name|Size|Tag\né|1|x\nlonger|12345|\n");
    }

    #[test]
    fn no_rows_still_have_headers() {
        let table = TextTable::new(vec![Column::right("N"), Column::left("T")]);
        assert_eq!(text(&table, true, None), "N T\n");
        assert_eq!(text(&table, false, None), "");
    }
}
