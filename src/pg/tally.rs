//! What rows come to, group by group, counted while they go into their table: nothing is read back, and Postgres computes each
//! expression over the values that it has in hand.
//!
//! Promises: a tally that [`Tally::is_whole`] holds exactly the rows that the load has kept. Groups are told apart by the bytes of
//! their keys, which is finer than Postgres' equality: whoever merges a tally groups its groups again. What can't be counted here
//! (no number, too long, too many) spoils the tally, and never the load.

mod compile;
mod pairs;
mod places;
mod tables;
mod value;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::convert::exact::Exact;
use crate::model::aggregate::Hash;
use crate::model::{Code, Error, Result};
use crate::pg::spi::Arg;

use compile::Compiled;
use value::{Kind, array};

/// Groups, and distinct values, that are counted in memory at most.
const MOST: usize = 200_000;

/// What to count. Expressions are numbered: the keys first, then the inputs.
#[derive(Debug, Clone)]
pub struct Spec {
    pub condition: Option<String>,
    pub expressions: Vec<String>,
    pub keys: usize,
    pub measures: Vec<Measure>,
    pub sets: Vec<Set>,
    pub state: State,
}

/// The table that an aggregate keeps its groups in.
#[derive(Debug, Clone)]
pub struct State {
    pub schema: String,
    pub table: String,
    /// Of groups whose keys are long, where there is one.
    pub long: Option<String>,
    /// Of the keys.
    pub hashes: Vec<Hash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Rows whose argument is there.
    Count,
    Sum,
    Least,
    Greatest,
}

#[derive(Debug, Clone)]
pub struct Measure {
    pub what: What,
    /// `None`: the row itself.
    pub argument: Option<usize>,
    pub filter: Option<usize>,
}

/// Distinct values of an expression, and the table that they are kept in.
#[derive(Debug, Clone)]
pub struct Set {
    pub argument: usize,
    pub filter: Option<usize>,
    pub schema: String,
    pub table: String,
    /// Of the value, then of the keys.
    pub hashes: Vec<Hash>,
}

/// Pairs of group and value, told apart by 128 bits of keyed hashes: no two that differ will ever share them.
pub type Known = HashSet<u128, BuildHasherDefault<Half>>;

/// How much of what a set holds is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// Of a table that has never held a row that is all.
    Nothing,
    Part,
    /// What is not known is not there.
    All,
}

/// Of what is a hash already, one half.
#[derive(Default)]
pub struct Half(u64);

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let half = bytes.first_chunk().map_or(0, |half| u64::from_ne_bytes(*half));
        self.0 = half;
    }
}

#[derive(Clone)]
enum Measured {
    Count(i64),
    Sum(Option<Exact>),
    Extreme(Option<i64>),
}

struct Group {
    keys: Vec<Option<Datum>>,
    /// Of its keys; a value behind them makes it that of the pair.
    hasher: SipHasher13,
    rows: i64,
    measured: Vec<Measured>,
}

/// A distinct value that was not known: its group, and itself.
struct Fresh {
    group: u32,
    value: Datum,
}

/// A value that a row has, until it is known whether it is new.
struct Met {
    mark: u128,
    fresh: Fresh,
}

pub struct Tally {
    spec: Spec,
    kinds: Vec<Kind>,
    places: HashMap<Vec<u8>, u32, foldhash::fast::RandomState>,
    groups: Vec<Group>,
    known: Vec<Rc<Known>>,
    knowledge: Knowledge,
    marks: Vec<Known>,
    /// Of the rows at hand.
    met: Vec<Vec<Met>>,
    fresh: Vec<Vec<Fresh>>,
    hasher: SipHasher13,
    memory: pg_sys::MemoryContext,
    spoilt: bool,
}

impl Tally {
    /// A tally for one chunk. `known`: for each set, what need not be told again. `hasher`: the same as for the chunks before.
    pub fn new(spec: Spec, (known, knowledge): (Vec<Rc<Known>>, Knowledge), hasher: SipHasher13) -> Tally {
        // SAFETY: in a transaction; the context ends with it, whatever happens.
        let memory = unsafe {
            pg_sys::AllocSetContextCreateExtended(
                pg_sys::TopTransactionContext,
                c"millrace tally".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            )
        };
        let sets = spec.sets.len();
        Tally {
            spec,
            kinds: vec![],
            places: HashMap::default(),
            groups: vec![],
            known,
            knowledge,
            marks: vec![Known::default(); sets],
            met: (0..sets).map(|_| vec![]).collect(),
            fresh: (0..sets).map(|_| vec![]).collect(),
            hasher,
            memory,
            spoilt: false,
        }
    }

    /// Whether every row of the load was counted.
    pub fn is_whole(&self) -> bool {
        !self.spoilt && !self.kinds.is_empty()
    }

    /// For each set, the pairs that it has found and that were not known; and whether these and those that were are all.
    pub fn into_marks(self) -> (Vec<Known>, bool) {
        (self.marks, self.knowledge == Knowledge::All)
    }

    /// Types of a set's value and of the keys.
    fn types(&self, set: &Set) -> Vec<Oid> {
        let keys = self.kinds.iter().take(self.spec.keys);
        self.kinds.get(set.argument).into_iter().chain(keys).map(Kind::type_oid).collect()
    }

    /// Whether the tables of all sets can be written without a statement; finds out whether nothing is all that they hold.
    fn can_enter(&mut self) -> bool {
        let mut are_new = true;
        for set in &self.spec.sets {
            let Some(table) = pairs::Table::open(set, &self.types(set)) else { return false };
            are_new &= table.is_new();
            table.close();
        }
        if self.knowledge == Knowledge::Nothing {
            self.knowledge = if are_new { Knowledge::All } else { Knowledge::Part };
        }
        true
    }

    /// Enters new values into the tables of their sets; gives for each set what each group has gained.
    pub fn enter_values(&self) -> Result<Vec<Vec<i64>>> {
        let enter = |(set, fresh): (&Set, &Vec<Fresh>)| {
            if fresh.is_empty() {
                return Ok(vec![0; self.groups.len()]);
            }
            let table = pairs::Table::open(set, &self.types(set)).ok_or_else(|| {
                Error::new(
                    Code::Internal,
                    format!("table \"{}.{}\" has changed while it was locked", set.schema, set.table),
                )
            })?;
            // SAFETY: the values were copied from those of expressions of these types, and live as long as the tally's memory.
            let gained = unsafe { table.enter(&self.groups, fresh, self.knowledge == Knowledge::All) };
            table.close();
            Ok(gained)
        };
        self.spec.sets.iter().zip(&self.fresh).map(enter).collect()
    }

    /// Where the groups lie that are there, as an array with a place for each; `None` where a statement has to find out.
    pub fn places(&self) -> Result<Option<Arg>> {
        let types = self.kinds.iter().take(self.spec.keys).map(Kind::type_oid);
        let Some(table) = places::Table::open(&self.spec.state, types) else { return Ok(None) };
        // SAFETY: the keys were copied from values of expressions of these types, and live as long as the tally's memory.
        let mut found = unsafe { table.find(&self.groups) };
        table.close();
        let tid = Kind::of(pg_sys::TIDOID).ok_or_else(|| Error::new(Code::Internal, "tid has no arrays"))?;
        array(&tid, found.iter_mut().map(|place| place.as_mut().map(|place| Datum::from(&raw mut *place)))).map(Some)
    }

    /// The groups as arrays: keys, the `places` if they are known, rows, measures, and for each set what was `gained`.
    pub fn arrays(&self, places: Option<Arg>, gained: Vec<Vec<i64>>) -> Result<Vec<Arg>> {
        let spec = &self.spec;
        let groups = &self.groups;
        let mut all = Vec::new();
        for key in 0..spec.keys {
            all.push(array(&self.kinds[key], groups.iter().map(|g| g.keys[key]))?);
        }
        all.extend(places);
        all.push(Arg::Int8s(groups.iter().map(|g| Some(g.rows)).collect()));
        for (i, measure) in spec.measures.iter().enumerate() {
            let kind = measure.argument.map(|argument| &self.kinds[argument]);
            let measured = groups.iter().map(|g| &g.measured[i]);
            all.push(value::measures(measure.what, kind, measured)?);
        }
        all.extend(gained.into_iter().map(|gained| Arg::Int8s(gained.into_iter().map(Some).collect())));
        Ok(all)
    }

    /// Counts one row; `None` where it can't be counted. `values`: those of the expressions.
    ///
    /// SAFETY: the values are of the kinds that were found for the expressions, and live.
    unsafe fn add(&mut self, values: &[Option<Datum>], image: &mut Vec<u8>) -> Option<()> {
        // SAFETY: as promised by the caller.
        unsafe {
            let spec = &self.spec;
            image.clear();
            for (kind, value) in self.kinds.iter().zip(values).take(spec.keys) {
                kind.append_image(*value, image)?;
            }
            let place = match self.places.get(image.as_slice()) {
                Some(place) => *place,
                None => {
                    if self.groups.len() == MOST {
                        return None;
                    }
                    let place = self.groups.len() as u32;
                    let copy = |key: usize| values[key].map(|value| self.kinds[key].copy(value, self.memory));
                    let start = |m: &Measure| match m.what {
                        What::Count => Measured::Count(0),
                        What::Sum => Measured::Sum(None),
                        What::Least | What::Greatest => Measured::Extreme(None),
                    };
                    let mut hasher = self.hasher;
                    hasher.write(image);
                    self.groups.push(Group {
                        keys: (0..spec.keys).map(copy).collect(),
                        hasher,
                        rows: 0,
                        measured: spec.measures.iter().map(start).collect(),
                    });
                    self.places.insert(image.clone(), place);
                    place
                }
            };
            let group = &mut self.groups[place as usize];
            group.rows += 1;
            let passes = |filter: Option<usize>| filter.is_none_or(|f| values[f].is_some_and(|v| v.value() & 1 != 0));
            for (measure, measured) in spec.measures.iter().zip(&mut group.measured) {
                let argument = match measure.argument {
                    Some(argument) => values[argument].map(|value| (value, &self.kinds[argument])),
                    None => {
                        if let Measured::Count(n) = measured {
                            *n += i64::from(passes(measure.filter));
                        }
                        continue;
                    }
                };
                let Some((value, kind)) = argument.filter(|_| passes(measure.filter)) else { continue };
                match (measured, measure.what) {
                    (Measured::Count(n), _) => *n += 1,
                    (Measured::Sum(sum), _) => {
                        let value = kind.exact(value)?;
                        *sum = Some(sum.map_or(Some(value), |sum| sum.plus(value))?);
                    }
                    (Measured::Extreme(known), what) => {
                        let value = kind.ordered(value)?;
                        let wins = |known| if what == What::Least { value < known } else { value > known };
                        if known.is_none_or(wins) {
                            *known = Some(value);
                        }
                    }
                }
            }
            for (i, set) in spec.sets.iter().enumerate() {
                let Some(value) = values[set.argument].filter(|_| passes(set.filter)) else { continue };
                image.clear();
                self.kinds[set.argument].append_image(Some(value), image)?;
                let mut hasher = group.hasher;
                hasher.write(image);
                let mark = u128::from(hasher.finish128());
                self.met[i].push(Met { mark, fresh: Fresh { group: place, value } });
            }
            Some(())
        }
    }

    /// Keeps those of the values met that are new; `None` where they are too many. All are looked up in one go, so that the look-ups, each of
    /// which waits for memory, wait together.
    ///
    /// SAFETY: the values met live.
    unsafe fn keep_new(&mut self) -> Option<()> {
        for (i, set) in self.spec.sets.iter().enumerate() {
            let (met, known, marks) = (&mut self.met[i], &self.known[i], &mut self.marks[i]);
            met.retain(|met| !known.contains(&met.mark));
            for Met { mark, fresh } in met.drain(..) {
                if marks.insert(mark) {
                    if self.fresh[i].len() == MOST {
                        return None;
                    }
                    // SAFETY: as promised by the caller; `add` has found the value's bytes.
                    let value = unsafe { self.kinds[set.argument].copy(fresh.value, self.memory) };
                    self.fresh[i].push(Fresh { value, ..fresh });
                }
            }
        }
        Some(())
    }
}

/// The tallies of one load.
#[derive(Default)]
pub struct Tallies {
    all: Vec<Tally>,
    /// An expression is being computed, so that an error is its own and no row's.
    computing: bool,
}

impl Tallies {
    pub fn new(all: Vec<Tally>) -> Tallies {
        Tallies { all, computing: false }
    }

    pub fn into_all(self) -> Vec<Tally> {
        self.all
    }

    /// Gives up, as rows were counted that are not loaded, or the other way round. True if an expression of ours has raised the error.
    pub fn spoil(&mut self) -> bool {
        self.all.iter_mut().for_each(|tally| tally.spoilt = true);
        std::mem::take(&mut self.computing)
    }
}

/// Tallies at work on one table.
pub(super) struct Counting<'a> {
    tallies: &'a mut Tallies,
    compiled: Vec<Option<Compiled>>,
    image: Vec<u8>,
}

impl<'a> Counting<'a> {
    /// SAFETY: `state` and `item` belong together and the item's relation is open; what is made lives in the current memory context.
    pub(super) unsafe fn open(
        tallies: &'a mut Tallies,
        state: *mut pg_sys::ParseState,
        item: *mut pg_sys::ParseNamespaceItem,
    ) -> Result<Counting<'a>> {
        tallies.computing = true;
        let mut compiled = Vec::new();
        for tally in &mut tallies.all {
            // SAFETY: as promised by the caller.
            let found = if tally.spoilt { None } else { unsafe { Compiled::new(&tally.spec, state, item)? } };
            match &found {
                Some(found) => {
                    tally.kinds = found.kinds();
                    tally.spoilt = !tally.can_enter();
                }
                None => tally.spoilt = true,
            }
            compiled.push(found);
        }
        tallies.computing = false;
        Ok(Counting { tallies, compiled, image: vec![] })
    }

    /// Counts rows that are in the table now.
    ///
    /// SAFETY: the slots are of that table and hold their values; the memory of the context's tuples is kept until the call returns.
    pub(super) unsafe fn see(
        &mut self,
        context: *mut pg_sys::ExprContext,
        slots: &[*mut pg_sys::TupleTableSlot],
    ) -> Result<()> {
        for (tally, compiled) in self.tallies.all.iter_mut().zip(&mut self.compiled) {
            let Some(compiled) = compiled.as_mut().filter(|_| !tally.spoilt) else { continue };
            self.tallies.computing = true;
            // SAFETY: as promised by the caller.
            unsafe { compiled.compute(context, slots) };
            self.tallies.computing = false;
            for row in 0..slots.len() {
                let values = compiled.row(row).ok_or_else(|| Error::new(Code::Internal, "a row was not computed"))?;
                // The condition comes last.
                let (values, condition) = values.split_at(tally.spec.expressions.len());
                if condition.iter().any(|value| value.is_none_or(|value| value.value() & 1 == 0)) {
                    continue;
                }
                // SAFETY: the values were just computed by expressions of these kinds.
                if unsafe { tally.add(values, &mut self.image) }.is_none() {
                    tally.spoilt = true;
                    break;
                }
            }
            // SAFETY: the values were just computed, and their memory is kept until this call returns.
            if unsafe { tally.keep_new() }.is_none() {
                tally.spoilt = true;
            }
        }
        Ok(())
    }
}

/// The type that a column of these has in an array; for those that have none there is none.
fn array_type(element: Oid) -> Option<Oid> {
    // SAFETY: a look-up in the catalog.
    Some(unsafe { pg_sys::get_array_type(element) }).filter(|oid| *oid != Oid::INVALID)
}
