//! Counting a chunk for aggregates while it is loaded: what to count, what need not be told again, and what came of it.
//!
//! Distinct values that a chunk before has brought are remembered, so that only new ones are looked up. A value stays where rows are
//! only added; so one that a transaction of this process has put there is there as soon as that has committed. Where this process has
//! loaded every chunk since there were none, what it does not remember is not there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use siphasher::sip128::SipHasher13;

use crate::catalog::aggregate as sql;
use crate::catalog::aggregates::Aggregate;
use crate::model::aggregate::PartialKind;
use crate::pg::tally::{Knowledge, Known, Measure, Set, Spec, State, Tallies, Tally, What};
use crate::pg::transaction::Fate;

/// Pairs of group and value that are remembered for each set.
const MOST_KNOWN: usize = 1_000_000;

/// What this process knows of an aggregate's distinct values.
struct Remembered {
    sets: Vec<Rc<Known>>,
    /// The last chunk as of which they are all that there are.
    complete_at: Option<i64>,
    /// What a chunk after that has added, if its transaction commits.
    added: Vec<Known>,
    chunk_no: i64,
    fate: Fate,
}

thread_local! {
    /// By the oid of the aggregate's view: numbers begin anew where the extension is dropped and made again.
    static REMEMBERED: RefCell<HashMap<u32, Remembered>> = RefCell::new(HashMap::new());
    /// With keys that nobody knows.
    static HASHER: SipHasher13 =
        SipHasher13::new_with_keys(RandomState::new().hash_one(()), RandomState::new().hash_one(()));
}

/// Tallies of a chunk for those aggregates that can be counted while rows are loaded; with the place of each among `kept`.
pub fn begin(kept: &[Aggregate], chunk_no: i64) -> (Vec<usize>, Tallies) {
    let countable: Vec<usize> = (0..kept.len()).filter(|i| sql::is_countable(&kept[*i].plan)).collect();
    let tallies = countable.iter().map(|i| {
        let aggregate = &kept[*i];
        Tally::new(spec(aggregate), known(aggregate, chunk_no), HASHER.with(|hasher| *hasher))
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
fn known(aggregate: &Aggregate, chunk_no: i64) -> (Vec<Rc<Known>>, Knowledge) {
    REMEMBERED.with_borrow_mut(|all| {
        let Some(found) = all.get_mut(&aggregate.oid) else {
            return (aggregate.plan.distinct_sets.iter().map(|_| Rc::default()).collect(), Knowledge::Nothing);
        };
        found.absorb();
        // Whoever else has loaded a chunk meanwhile has taken its number.
        let is_all = found.complete_at == Some(chunk_no - 1);
        (found.sets.clone(), if is_all { Knowledge::All } else { Knowledge::Part })
    })
}

impl Remembered {
    /// Takes in what the last chunk has added, or forgets it.
    fn absorb(&mut self) {
        let added = std::mem::take(&mut self.added);
        if !self.fate.is_committed() {
            return;
        }
        if self.complete_at == Some(self.chunk_no - 1) {
            self.complete_at = Some(self.chunk_no);
        }
        for (set, added) in self.sets.iter_mut().zip(added) {
            match Rc::get_mut(set) {
                Some(set) if set.len() + added.len() <= MOST_KNOWN => set.extend(added),
                _ => {
                    *set = Rc::default();
                    self.complete_at = None;
                }
            }
        }
    }
}

/// Notes what a chunk has added, once it is merged.
pub fn remember(aggregate: &Aggregate, tally: Tally, chunk_no: i64) {
    let (added, is_all) = tally.into_marks();
    let fate = Fate::of_this_transaction();
    REMEMBERED.with_borrow_mut(|all| {
        let sets = all.remove(&aggregate.oid).map(|found| found.sets);
        let sets = sets.unwrap_or_else(|| added.iter().map(|_| Rc::default()).collect());
        let complete_at = is_all.then_some(chunk_no - 1);
        all.insert(aggregate.oid, Remembered { sets, complete_at, added, chunk_no, fate });
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
        state: State {
            schema: aggregate.schema.clone(),
            table: sql::state_name(&aggregate.relation),
            long: plan.may_be_long().then(|| sql::long_name(&aggregate.relation)),
            hashes: plan.keys.iter().map(|key| key.expression.hash.clone()).collect(),
        },
    }
}
