//! Comparisons of a column with constants, on values as they lie in a slot.
//!
//! Promises: [`Plain::meets`] is true only where Postgres' own evaluation is true. What it can't tell (NaN, a value that is stored in another
//! way, a NULL) is false, as is what does not hold; the caller asks Postgres then. What is no such comparison is not read at all.

use std::cmp::Ordering;

use pgrx::PgList;
use pgrx::pg_sys::{self, Datum, NodeTag, Oid};

use crate::convert::exact::compare_stored;
use crate::pg::datum::payload;

/// One comparison.
pub(super) struct Plain {
    /// Number of the attribute, from 0.
    column: usize,
    test: Test,
    null_meets: bool,
}

enum Test {
    IsNull(bool),
    Value {
        kind: Kind,
        which: Which,
        than: Value,
    },
    /// Equal to one of them, or to none.
    Among {
        kind: Kind,
        values: Vec<Value>,
        is_in: bool,
    },
}

/// Types whose values are compared here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Two,
    Four,
    Eight,
    Real,
    Double,
    Numeric,
    Text,
}

enum Value {
    Whole(i64),
    Float(f64),
    /// As it is stored, without the header of its length.
    Numeric(Vec<u8>),
    Text(Vec<u8>),
}

/// Orders for which a comparison holds.
#[derive(Clone, Copy)]
struct Which {
    less: bool,
    equal: bool,
    greater: bool,
}

impl Which {
    fn holds(self, order: Ordering) -> bool {
        match order {
            Ordering::Less => self.less,
            Ordering::Equal => self.equal,
            Ordering::Greater => self.greater,
        }
    }
}

impl Plain {
    /// Adds what a part of a condition compares; false where it is something else, and nothing is added. `null_meets`: NULL is met as well.
    ///
    /// SAFETY: the node is an analyzed expression over one relation, with constants folded.
    pub(super) unsafe fn read(node: *mut pg_sys::Node, null_meets: bool, out: &mut Vec<Plain>) -> bool {
        // SAFETY: each node is read as what its tag says.
        unsafe {
            let found = match (*node).type_ {
                NodeTag::T_OpExpr => of_operator(&*node.cast()),
                NodeTag::T_ScalarArrayOpExpr => of_array(&*node.cast()),
                NodeTag::T_NullTest if !null_meets => of_null_test(&*node.cast()),
                NodeTag::T_BooleanTest => return of_boolean_test(&*node.cast(), out),
                _ => None,
            };
            let Some((column, test)) = found else { return false };
            out.push(Plain { column, test, null_meets });
            true
        }
    }

    /// SAFETY: the slot holds a row of the relation.
    #[inline]
    pub(super) unsafe fn meets(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as promised by the caller: it has as many values as attributes, and they are of the types that were found.
        unsafe {
            let null = *(*slot).tts_isnull.add(self.column);
            if let Test::IsNull(wanted) = self.test {
                return null == wanted;
            }
            if null {
                return self.null_meets;
            }
            let value = *(*slot).tts_values.add(self.column);
            match &self.test {
                Test::IsNull(_) => false,
                Test::Value { kind, which, than } => {
                    compare(*kind, value, than).is_some_and(|order| which.holds(order))
                }
                Test::Among { kind, values, is_in } => is_among(*kind, value, values) == Some(*is_in),
            }
        }
    }
}

/// SAFETY: the value is of this kind.
#[inline]
unsafe fn compare(kind: Kind, value: Datum, than: &Value) -> Option<Ordering> {
    match than {
        Value::Whole(than) => Some(whole(kind, value)?.cmp(than)),
        // `None` for NaN.
        Value::Float(than) => float(kind, value)?.partial_cmp(than),
        // SAFETY: as promised by the caller.
        Value::Numeric(than) => compare_stored(unsafe { payload(value)? }, than),
        // SAFETY: as promised by the caller. Texts are asked for equality alone.
        Value::Text(than) => Some(unsafe { payload(value)? }.cmp(than.as_slice())),
    }
}

/// SAFETY: the value is of this kind.
#[inline]
unsafe fn is_among(kind: Kind, value: Datum, values: &[Value]) -> Option<bool> {
    for than in values {
        // SAFETY: as promised by the caller.
        if unsafe { compare(kind, value, than)? } == Ordering::Equal {
            return Some(true);
        }
    }
    Some(false)
}

#[inline]
fn whole(kind: Kind, value: Datum) -> Option<i64> {
    match kind {
        Kind::Two => Some((value.value() as i16).into()),
        Kind::Four => Some((value.value() as i32).into()),
        Kind::Eight => Some(value.value() as i64),
        _ => None,
    }
}

#[inline]
fn float(kind: Kind, value: Datum) -> Option<f64> {
    match kind {
        Kind::Real => Some(f32::from_bits(value.value() as u32).into()),
        Kind::Double => Some(f64::from_bits(value.value() as u64)),
        _ => None,
    }
}

fn kind_of(type_oid: Oid) -> Option<Kind> {
    Some(match type_oid {
        pg_sys::INT2OID => Kind::Two,
        pg_sys::INT4OID | pg_sys::DATEOID => Kind::Four,
        pg_sys::INT8OID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Kind::Eight,
        pg_sys::FLOAT4OID => Kind::Real,
        pg_sys::FLOAT8OID => Kind::Double,
        pg_sys::NUMERICOID => Kind::Numeric,
        pg_sys::TEXTOID => Kind::Text,
        _ => return None,
    })
}

/// What an operator compares, if it is one of a type's own order; a text's only for equality by bytes.
unsafe fn comparison(operator: Oid, collation: Oid) -> Option<(Which, Oid, Oid)> {
    const EQUAL: i32 = 3;
    // SAFETY: look-ups in the catalog; the outputs outlive them.
    unsafe {
        let (mut left, mut right) = (Oid::INVALID, Oid::INVALID);
        pg_sys::op_input_types(operator, &mut left, &mut right);
        let integer = |t| matches!(t, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID);
        let real = |t| matches!(t, pg_sys::FLOAT4OID | pg_sys::FLOAT8OID);
        // Others of different types are more than an order of numbers: timestamps with and without a zone.
        if left != right && !(integer(left) && integer(right)) && !(real(left) && real(right)) {
            return None;
        }
        let is_text = kind_of(left)? == Kind::Text;
        let family = (*pg_sys::lookup_type_cache(left, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf;
        let which = |less, equal, greater| Some(Which { less, equal, greater });
        let which = match pg_sys::get_op_opfamily_strategy(operator, family) {
            EQUAL => which(false, true, false),
            1 if !is_text => which(true, false, false),
            2 if !is_text => which(true, true, false),
            4 if !is_text => which(false, true, true),
            5 if !is_text => which(false, false, true),
            0 => {
                let negator = pg_sys::get_negator(operator);
                let is_unequal = negator != Oid::INVALID && pg_sys::get_op_opfamily_strategy(negator, family) == EQUAL;
                if is_unequal { which(true, false, true) } else { None }
            }
            _ => None,
        }?;
        let by_bytes = collation != Oid::INVALID && pg_sys::get_collation_isdeterministic(collation);
        (!is_text || by_bytes).then_some((which, left, right))
    }
}

/// The attribute that an expression of this type is, from 0.
unsafe fn column(node: *mut pg_sys::Node, type_oid: Oid) -> Option<usize> {
    // SAFETY: each node is read as what its tag says.
    unsafe {
        if pg_sys::exprType(node) != type_oid {
            return None;
        }
        let mut node = node;
        while (*node).type_ == NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        if (*node).type_ != NodeTag::T_Var {
            return None;
        }
        usize::try_from((*node.cast::<pg_sys::Var>()).varattno).ok()?.checked_sub(1)
    }
}

unsafe fn constant(node: *mut pg_sys::Node, type_oid: Oid) -> Option<Datum> {
    // SAFETY: the node is read as what its tag says.
    unsafe {
        if (*node).type_ != NodeTag::T_Const {
            return None;
        }
        let constant = &*node.cast::<pg_sys::Const>();
        (!constant.constisnull && constant.consttype == type_oid).then_some(constant.constvalue)
    }
}

/// SAFETY: the value is of this type.
unsafe fn value(type_oid: Oid, datum: Datum) -> Option<Value> {
    let kind = kind_of(type_oid)?;
    Some(match kind {
        Kind::Two | Kind::Four | Kind::Eight => Value::Whole(whole(kind, datum)?),
        Kind::Real | Kind::Double => Value::Float(float(kind, datum)?),
        // SAFETY: as promised by the caller.
        Kind::Numeric => Value::Numeric(unsafe { payload(datum)? }.to_vec()),
        // SAFETY: as promised by the caller.
        Kind::Text => Value::Text(unsafe { payload(datum)? }.to_vec()),
    })
}

unsafe fn of_operator(expr: &pg_sys::OpExpr) -> Option<(usize, Test)> {
    // SAFETY: arguments are expressions.
    unsafe {
        let args = PgList::<pg_sys::Node>::from_pg(expr.args);
        let (2, Some(left), Some(right)) = (args.len(), args.get_ptr(0), args.get_ptr(1)) else { return None };
        let (which, left_type, right_type) = comparison(expr.opno, expr.inputcollid)?;
        if let Some(column) = column(left, left_type) {
            let than = value(right_type, constant(right, right_type)?)?;
            return Some((column, Test::Value { kind: kind_of(left_type)?, which, than }));
        }
        let column = column(right, right_type)?;
        let than = value(left_type, constant(left, left_type)?)?;
        let which = Which { less: which.greater, greater: which.less, ..which };
        Some((column, Test::Value { kind: kind_of(right_type)?, which, than }))
    }
}

/// `column IN (…)` and `column NOT IN (…)`.
unsafe fn of_array(expr: &pg_sys::ScalarArrayOpExpr) -> Option<(usize, Test)> {
    // SAFETY: arguments are expressions; the second is an array of the operator's right type, as is looked at.
    unsafe {
        let args = PgList::<pg_sys::Node>::from_pg(expr.args);
        let (2, Some(left), Some(right)) = (args.len(), args.get_ptr(0), args.get_ptr(1)) else { return None };
        let (which, left_type, right_type) = comparison(expr.opno, expr.inputcollid)?;
        let is_in = match (which, expr.useOr) {
            (Which { less: false, equal: true, greater: false }, true) => true,
            (Which { less: true, equal: false, greater: true }, false) => false,
            _ => return None,
        };
        let column = column(left, left_type)?;
        let array = constant(right, pg_sys::get_array_type(right_type))?;
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).elemtype != right_type {
            return None;
        }
        let (mut length, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(right_type, &mut length, &mut by_value, &mut align);
        let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            right_type,
            length.into(),
            by_value,
            align,
            &mut elements,
            &mut nulls,
            &mut count,
        );
        // NULL is in none, and NULL is not in none, are known.
        if count == 0 {
            return None;
        }
        let values: Option<Vec<Value>> = (0..count.max(0) as usize)
            .map(|i| if *nulls.add(i) { None } else { value(right_type, *elements.add(i)) })
            .collect();
        Some((column, Test::Among { kind: kind_of(left_type)?, values: values?, is_in }))
    }
}

unsafe fn of_null_test(test: &pg_sys::NullTest) -> Option<(usize, Test)> {
    // SAFETY: the argument is an expression.
    unsafe {
        let argument = test.arg.cast::<pg_sys::Node>();
        if test.argisrow || (*argument).type_ != NodeTag::T_Var {
            return None;
        }
        let column = column(argument, pg_sys::exprType(argument))?;
        Some((column, Test::IsNull(test.nulltesttype == pg_sys::NullTestType::IS_NULL)))
    }
}

/// `(…) IS NOT FALSE`, which NULL meets.
unsafe fn of_boolean_test(test: &pg_sys::BooleanTest, out: &mut Vec<Plain>) -> bool {
    // SAFETY: each node is read as what its tag says.
    unsafe {
        if test.booltesttype != pg_sys::BoolTestType::IS_NOT_FALSE {
            return false;
        }
        let before = out.len();
        let argument = test.arg.cast::<pg_sys::Node>();
        let is_and = (*argument).type_ == NodeTag::T_BoolExpr
            && (*argument.cast::<pg_sys::BoolExpr>()).boolop == pg_sys::BoolExprType::AND_EXPR;
        let read = if is_and {
            let parts = PgList::<pg_sys::Node>::from_pg((*argument.cast::<pg_sys::BoolExpr>()).args);
            parts.iter_ptr().all(|part| Plain::read(part, true, out))
        } else {
            Plain::read(argument, true, out)
        };
        if !read {
            out.truncate(before);
        }
        read
    }
}
