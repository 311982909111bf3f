//! Names as SQL writes and compares them.

use crate::model::{Code, Error, Result};

/// Postgres keeps as many bytes of a name.
const MAX_BYTES: usize = 63;

/// The words that can't name every kind of thing without quotes, in Postgres 15 to 18.
const KEYWORDS: &str = " all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both \
    case cast char character check coalesce collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc \
    distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having \
    ilike in initially inner inout int integer intersect interval into is isnull join json json_array json_arrayagg json_exists \
    json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral leading least left like limit \
    localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric offset on only or \
    order out outer overlaps overlay placing position precision primary real references returning right row select session_user \
    setof similar smallint some substring symmetric system_user table tablesample then time timestamp to trailing treat trim true \
    union unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists \
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";

/// The name as SQL text, in quotes where it needs them.
pub fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !KEYWORDS.contains(&format!(" {name} ")) {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name as Postgres would fold it without quotes: lower case, and cut to what it keeps.
pub fn folded(name: &str) -> String {
    let mut folded = name.to_lowercase();
    folded.truncate(folded.floor_char_boundary(MAX_BYTES));
    folded
}

/// The columns that `wanted` names: exactly, or else as an unquoted identifier would.
pub fn find(option: &str, wanted: &[String], columns: &[String]) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    for name in wanted {
        let column = columns.iter().find(|c| *c == name).or_else(|| columns.iter().find(|c| folded(c) == folded(name)));
        let fault = match column {
            None => "is no column that rows are loaded into",
            Some(column) if found.contains(column) => "is named twice",
            Some(column) => {
                found.push(column.clone());
                continue;
            }
        };
        return Err(Error::new(
            Code::InvalidParameter,
            format!("\"{}\" in option \"{option}\" {fault}", name.escape_debug()),
        )
        .detail(format!("The columns are {}.", columns.join(", ")))
        .hint("Name columns of the staging table, each once."));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_need_quotes_get_them() {
        assert_eq!(quoted("unit_price2"), "unit_price2");
        for (name, text) in [
            ("unit price", "\"unit price\""),
            ("Id", "\"Id\""),
            ("2nd", "\"2nd\""),
            ("order", "\"order\""),
            ("a\"b", "\"a\"\"b\""),
            ("é", "\"é\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(name), text);
        }
        assert_eq!(quoted("orders"), "orders");
    }

    #[test]
    fn folding_cuts_between_characters() {
        assert_eq!(folded("UnitPrice"), "unitprice");
        assert_eq!(folded(&format!("{}é", "x".repeat(62))), "x".repeat(62));
    }

    #[test]
    fn columns_are_found_by_their_name_or_by_what_it_folds_to() {
        let columns = ["id".to_string(), "Id".to_string(), "invoiceno".to_string()];
        let found =
            |wanted: &[&str]| find("primary_key", &wanted.iter().map(|w| w.to_string()).collect::<Vec<_>>(), &columns);
        assert_eq!(found(&["Id", "InvoiceNo"]).unwrap(), ["Id", "invoiceno"]);
        assert!(found(&["nothing"]).unwrap_err().message.contains("\"nothing\" in option \"primary_key\""));
        assert!(found(&["id", "id"]).unwrap_err().message.contains("twice"));
    }
}
