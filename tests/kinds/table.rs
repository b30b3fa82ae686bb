//! The table in `docs/firewalls.md`: what each kind guarantees, or why it cannot.

use super::{
    case::Case,
    groups::Group,
    hand::{Able, Hand},
    lists::{IpSet, PrefixList},
    nftables::Table,
    scripts::Scripted,
};
use std::{fs, path::Path};

const BEGIN: &str =
    "<!-- the tests write this table: EG_WRITE_DOCS=1 cargo test --workspace --test e2e -- kinds::table -->\n";
const END: &str = "<!-- end of the table -->\n";

/// One kind: its column, and the reasons for what it leaves out.
struct Column {
    able: Able,
    left_out: Vec<Option<&'static str>>,
}

fn column<H: Hand>() -> Column {
    Column { able: H::ABLE, left_out: Case::ALL.into_iter().map(Case::left_out::<H>).collect() }
}

/// A line for each kind that users have.
fn columns() -> Vec<Column> {
    vec![
        column::<Group>(),
        column::<PrefixList>(),
        column::<IpSet>(),
        column::<Table>(),
        column::<Scripted<true>>(),
        column::<Scripted<false>>(),
    ]
}

fn table() -> String {
    let columns = columns();
    let names: Vec<&str> = columns.iter().map(|column| column.able.name).collect();
    let mut text = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let mut reasons: Vec<&str> = Vec::new();
    for (row, case) in Case::ALL.into_iter().enumerate() {
        let mut cell = |column: &Column| match column.left_out[row] {
            None => "yes".to_owned(),
            Some(why) => {
                let number = reasons.iter().position(|known| *known == why).unwrap_or_else(|| {
                    reasons.push(why);
                    reasons.len() - 1
                });
                format!("– ({})", number + 1)
            }
        };
        let cells: Vec<String> = columns.iter().map(&mut cell).collect();
        text += &format!("| {case} | {} |\n", cells.join(" | "));
    }
    if !reasons.is_empty() {
        text += "\nWhere a kind cannot have it:\n\n";
        text.extend((1..).zip(&reasons).map(|(number, why)| format!("{number}. {why}\n")));
    }
    text
}

#[test]
fn the_table_is_what_the_suite_tests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/firewalls.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (head, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (_, tail) = rest.split_once(END).expect("the end of the table");
    let new = format!("{head}{BEGIN}\n{}\n{END}{tail}", table());
    if std::env::var_os("EG_WRITE_DOCS").is_some() {
        fs::write(&path, new).expect("the page is written");
    } else {
        assert!(new == page, "the table is out of date: write it with EG_WRITE_DOCS=1");
    }
}
