//! The customers and merchants of simulated transactions, in the shares of BankSim.

use super::draw::Draw;

const CUSTOMERS: usize = 4_112;

pub(super) struct Customer {
    pub id: String,
    pub age: char,
    pub gender: char,
}

pub(super) struct Category {
    pub name: &'static str,
    /// Rows per 100,000.
    share: u32,
    /// How many merchants it has.
    merchants: usize,
    /// Frauds per 10,000 rows.
    pub fraud: u32,
    /// Mean amounts without and with fraud.
    pub mean: [f64; 2],
}

const fn category(name: &'static str, share: u32, merchants: usize, fraud: u32, mean: [f64; 2]) -> Category {
    Category { name, share, merchants, fraud, mean }
}

/// The first one's two merchants hold 85 % of all rows.
pub(super) const CATEGORIES: [Category; 15] = [
    category("es_transportation", 84_945, 2, 0, [26.96, 26.96]),
    category("es_food", 4_415, 3, 0, [37.07, 37.07]),
    category("es_health", 2_713, 6, 1_051, [103.74, 407.03]),
    category("es_wellnessandbeauty", 2_537, 6, 476, [57.32, 229.42]),
    category("es_fashion", 1_085, 5, 180, [62.35, 247.01]),
    category("es_barsandrestaurants", 1_072, 4, 188, [41.15, 164.09]),
    category("es_hyper", 1_025, 3, 459, [40.04, 169.26]),
    category("es_sportsandtoys", 673, 5, 4_953, [88.50, 345.37]),
    category("es_tech", 399, 3, 667, [99.92, 415.27]),
    category("es_home", 334, 3, 1_521, [113.34, 457.48]),
    category("es_hotelservices", 293, 3, 3_142, [106.55, 421.82]),
    category("es_otherservices", 153, 2, 2_500, [75.69, 316.47]),
    category("es_contents", 149, 1, 0, [44.55, 44.55]),
    category("es_travel", 122, 2, 7_940, [669.03, 2_660.80]),
    category("es_leisure", 85, 2, 9_499, [73.23, 300.29]),
];

pub(super) struct Population {
    pub customers: Vec<Customer>,
    /// Merchants by category.
    merchants: Vec<Vec<&'static str>>,
    totals: Vec<u32>,
}

/// BankSim's two giants, and more of their kind.
const MERCHANTS: [&str; 50] = [
    "M1823072687",
    "M348934600",
    "M85975013",
    "M1053599405",
    "M151143676",
    "M855959430",
    "M1946091778",
    "M1913465890",
    "M209847108",
    "M480139044",
    "M349281107",
    "M1600850729",
    "M1535107174",
    "M980657600",
    "M78078399",
    "M1198415165",
    "M840466850",
    "M1649169323",
    "M547558035",
    "M50039827",
    "M1888755466",
    "M692898500",
    "M1400236507",
    "M1842530320",
    "M732195782",
    "M97925176",
    "M45060432",
    "M1741626453",
    "M1313686961",
    "M1872033263",
    "M1352454843",
    "M677738360",
    "M2122776122",
    "M923029380",
    "M3697346",
    "M17379832",
    "M1748431652",
    "M1873032707",
    "M2011752106",
    "M1416436880",
    "M1294758098",
    "M1788569036",
    "M857378720",
    "M348875670",
    "M1353266412",
    "M495352832",
    "M933210764",
    "M2080407379",
    "M117188757",
    "M1726401631",
];

impl Population {
    pub fn new(seed: u64) -> Population {
        let mut draw = Draw::new(seed, 1, 0);
        // Ids that differ in their first digits can't be equal.
        let customers = (0..CUSTOMERS).map(|i| customer(i, &mut draw)).collect();
        let mut rest = MERCHANTS.as_slice();
        let mut total = 0;
        let mut population = Population { customers, merchants: Vec::new(), totals: Vec::new() };
        for category in &CATEGORIES {
            let (own, others) = rest.split_at(category.merchants);
            population.merchants.push(own.to_vec());
            rest = others;
            total += category.share;
            population.totals.push(total);
        }
        population
    }

    /// A category and one of its merchants.
    #[inline]
    pub fn shop(&self, draw: &mut Draw) -> (&'static Category, &'static str) {
        let i = draw.weighted(&self.totals);
        let merchants = &self.merchants[i];
        // The largest merchant takes three in five where there are two, as in BankSim.
        let largest = draw.chance(if merchants.len() == 2 { 0.187 } else { 0.25 });
        let at = if largest { 0 } else { draw.below(merchants.len() as u32) as usize };
        (&CATEGORIES[i], merchants[at])
    }
}

/// Genders and ages are dealt out, not drawn: every population has the same shares.
fn customer(i: usize, draw: &mut Draw) -> Customer {
    let per_mille = i * 1000 / CUSTOMERS;
    let gender = match per_mille {
        0..2 => 'E',
        2..3 => 'U',
        3..549 => 'F',
        _ => 'M',
    };
    // Enterprises have no age.
    let age =
        if gender == 'E' { 'U' } else { char::from(b'0' + draw.weighted(&[4, 102, 417, 665, 849, 955, 1000]) as u8) };
    Customer { id: format!("C{}", 100_000_000 + i * 400_000 + draw.below(400_000) as usize), age, gender }
}
