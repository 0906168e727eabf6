//! Columns as wide as their widest cell.

/// A table: cells of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By column: its head, and whether it is aligned to the right.
    pub columns: Vec<(String, bool)>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows; heads and whether they are aligned to the right.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, bool)>) -> Table {
        let columns = columns.into_iter().map(|(head, right)| (head.to_owned(), right)).collect();
        Table { columns, rows: vec![] }
    }

    /// Its lines, each behind the indent and a blank. Every column is filled up, the last one too.
    pub fn render(&self, indent: &str) -> String {
        let heads: Vec<String> = self.columns.iter().map(|(head, _)| head.clone()).collect();
        let lines = || std::iter::once(&heads).chain(&self.rows);
        let width = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..heads.len())
            .map(|at| lines().filter_map(|line| line.get(at)).map(width).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in lines() {
            text.push_str(indent);
            for ((cell, width), (_, right)) in line.iter().zip(&widths).zip(&self.columns) {
                text.push(' ');
                text.push_str(&if *right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                });
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("Name", false), ("N", true), ("Last", false)]);
        table.rows.push(vec!["a".into(), "100".into(), "x".into()]);
        assert_eq!(table.render("  "), "   Name   N Last\n   a    100 x   \n");
    }
}
