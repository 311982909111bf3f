//! A chunk that was counted while it was loaded, and whose groups were looked up: each is changed where it lies.

use super::Names;
use super::counted;
use super::keys::{key_columns, list};
use super::merge::{additions, merged_partial, state_columns, told};
use crate::model::aggregate::Plan;

/// As `merge_statement`; the arrays are those that `counted` tells of, with places. Groups with long keys are all new.
pub fn statement(plan: &Plan, names: &Names, tells: bool) -> String {
    let mut assigned = vec!["rows = s.rows + d.rows".to_owned()];
    assigned.extend(plan.partials.iter().map(|p| format!("{} = {}", p.column, merged_partial(plan, p, true))));
    let returned = list(state_columns(plan).iter().map(|c| format!("s.{c}")));
    let mut with = vec![
        counted::delta(plan, &key_columns(plan), true),
        format!(
            "changed AS (UPDATE ONLY {} AS s SET {}, _chunk_no = $1::bigint FROM delta AS d WHERE s.ctid = d.tid RETURNING {returned})",
            names.state(),
            assigned.join(", ")
        ),
    ];
    let mut images = vec![("upsert", "changed")];
    for (name, insert) in additions(plan, names, "delta", "") {
        with.push(insert);
        images.push(("upsert", name));
    }
    if tells {
        with.extend(told(plan, names, &images));
    }
    format!("WITH {} SELECT count(*) FROM delta", with.join(", "))
}
