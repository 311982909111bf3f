//! Visitors of a web shop: many views, some carts, few purchases, many visits at a time.
//!
//! A visit lies within one file. In it, what is put in the cart was viewed before, and what is bought was in the cart or viewed.

use super::Plan;
use super::catalog::{Product, products};
use super::draw::Draw;
use super::transactions::time_of;

/// How many visitors are in the shop at a time.
const VISITORS: u32 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventType {
    View,
    Cart,
    Purchase,
}

impl EventType {
    pub fn name(self) -> &'static str {
        match self {
            EventType::View => "view",
            EventType::Cart => "cart",
            EventType::Purchase => "purchase",
        }
    }
}

pub(super) struct ShopEvent<'a> {
    /// Microseconds since 1970.
    pub time: i64,
    pub event_type: EventType,
    pub product: &'a Product,
    pub user: u64,
    pub session: u128,
}

struct Visit {
    user: u64,
    session: u128,
    product: usize,
    last: Option<EventType>,
}

/// Hands out the file's events in the order of their times.
pub(super) fn each(plan: &Plan, mut take: impl FnMut(ShopEvent)) {
    let products = products(plan.seed);
    let mut draw = Draw::new(plan.seed, 4, plan.file_index);
    let mut serial = plan.file_index << 36;
    let mut arrive = |draw: &mut Draw| {
        serial += 1;
        let user = 500_000_000 + u64::from(draw.below(60_000_000));
        Visit { user, session: draw.uuid(serial), product: 0, last: None }
    };
    let mut visits: Vec<Visit> = (0..VISITORS).map(|_| arrive(&mut draw)).collect();
    for row in 0..plan.rows {
        let visit = &mut visits[draw.below(VISITORS) as usize];
        let turn = draw.unit();
        let event_type = match visit.last {
            Some(EventType::View) if turn < 0.045 => EventType::Cart,
            Some(EventType::View) if turn < 0.050 => EventType::Purchase,
            Some(EventType::Cart) if turn < 0.35 => EventType::Purchase,
            // Most visitors look at a few things and leave.
            Some(_) if turn > 0.85 => {
                *visit = arrive(&mut draw);
                EventType::View
            }
            _ => EventType::View,
        };
        if event_type == EventType::View {
            // Few products get most of the looks.
            visit.product = (draw.unit() * draw.unit() * products.len() as f64) as usize;
        }
        visit.last = Some(event_type);
        let (user, session) = (visit.user, visit.session);
        let product = &products[visit.product];
        take(ShopEvent { time: time_of(plan, row, &mut draw), event_type, product, user, session });
    }
}
