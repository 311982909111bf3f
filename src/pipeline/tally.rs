//! Counting a chunk for aggregates while it is loaded: what to count, what need not be told again, and what came of it.
//!
//! Distinct values that a chunk before has brought are remembered, so that only new ones are looked up. A value stays where rows are
//! only added; so one that a transaction of this process has put there is there as soon as that has committed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::RandomState;
use std::rc::Rc;

use crate::catalog::aggregate as sql;
use crate::catalog::aggregates::Aggregate;
use crate::model::aggregate::PartialKind;
use crate::pg::tally::{Known, Measure, Set, Spec, Tallies, Tally, What};
use crate::pg::transaction::Fate;

/// Pairs of group and value that are remembered for each set.
const MOST_KNOWN: usize = 1_000_000;

/// What this process knows of an aggregate's distinct values.
struct Remembered {
    sets: Vec<Rc<Known>>,
    /// What the last chunk has added, if its transaction commits.
    added: Vec<Known>,
    fate: Fate,
}

thread_local! {
    static REMEMBERED: RefCell<HashMap<i32, Remembered>> = RefCell::new(HashMap::new());
    static HASHERS: Rc<[RandomState; 2]> = Rc::new([RandomState::new(), RandomState::new()]);
}

/// Tallies for those aggregates that can be counted while rows are loaded; with the place of each among `kept`.
pub fn begin(kept: &[Aggregate]) -> (Vec<usize>, Tallies) {
    let countable: Vec<usize> = (0..kept.len()).filter(|i| sql::is_countable(&kept[*i].plan)).collect();
    let tallies = countable.iter().map(|i| {
        let aggregate = &kept[*i];
        Tally::new(spec(aggregate), known(aggregate), HASHERS.with(Rc::clone))
    });
    let tallies = Tallies::new(tallies.collect());
    (countable, tallies)
}

/// The tallies that hold every row, each in the place of its aggregate.
pub fn end(kept: &[Aggregate], places: Vec<usize>, tallies: Tallies) -> Vec<Option<Tally>> {
    let mut counted: Vec<Option<Tally>> = kept.iter().map(|_| None).collect();
    for (place, tally) in places.into_iter().zip(tallies.into_all()) {
        counted[place] = Some(tally).filter(Tally::is_whole);
    }
    counted
}

/// What is known at the beginning of a chunk.
fn known(aggregate: &Aggregate) -> Vec<Rc<Known>> {
    REMEMBERED.with_borrow_mut(|all| {
        let Some(found) = all.get_mut(&aggregate.id) else {
            return aggregate.plan.distinct_sets.iter().map(|_| Rc::default()).collect();
        };
        let added = std::mem::take(&mut found.added);
        let added = if found.fate.is_committed() { added } else { vec![] };
        for (set, added) in found.sets.iter_mut().zip(added) {
            if set.len() + added.len() > MOST_KNOWN {
                *set = Rc::default();
            } else if let Some(set) = Rc::get_mut(set) {
                set.extend(added);
            }
        }
        found.sets.clone()
    })
}

/// Notes what a chunk has added, once it is merged.
pub fn remember(aggregate: &Aggregate, tally: Tally) {
    let added = tally.into_marks();
    let fate = Fate::of_this_transaction();
    REMEMBERED.with_borrow_mut(|all| {
        let sets = all.remove(&aggregate.id).map(|found| found.sets);
        let sets = sets.unwrap_or_else(|| added.iter().map(|_| Rc::default()).collect());
        all.insert(aggregate.id, Remembered { sets, added, fate });
    });
}

fn spec(aggregate: &Aggregate) -> Spec {
    let plan = &aggregate.plan;
    let keys = plan.keys.len();
    let input = |column: &Option<String>| {
        let place = |column: &String| plan.inputs.iter().position(|input| input.column == *column);
        column.as_ref().and_then(place).map(|place| keys + place)
    };
    let measure = |what, partial: &crate::model::aggregate::Partial| Measure {
        what,
        argument: input(&partial.argument),
        filter: input(&partial.filter),
    };
    Spec {
        condition: plan.condition.clone(),
        expressions: plan
            .keys
            .iter()
            .map(|key| key.expression.sql.clone())
            .chain(plan.inputs.iter().map(|input| input.sql.clone()))
            .collect(),
        keys,
        measures: plan
            .partials
            .iter()
            .filter_map(|partial| match partial.kind {
                PartialKind::Count => Some(measure(What::Count, partial)),
                PartialKind::Sum(_) => Some(measure(What::Sum, partial)),
                PartialKind::Min => Some(measure(What::Least, partial)),
                PartialKind::Max => Some(measure(What::Greatest, partial)),
                PartialKind::Distinct(_) | PartialKind::Sketch | PartialKind::Again => None,
            })
            .collect(),
        sets: plan
            .distinct_sets
            .iter()
            .filter_map(|set| {
                Some(Set {
                    argument: input(&Some(set.argument.clone()))?,
                    filter: input(&set.filter),
                    schema: aggregate.schema.clone(),
                    table: sql::distinct_name(&aggregate.relation, set.number),
                    hashes: std::iter::once(&set.hash)
                        .chain(plan.keys.iter().map(|k| &k.expression.hash))
                        .cloned()
                        .collect(),
                })
            })
            .collect(),
    }
}
