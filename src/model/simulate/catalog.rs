//! The products of the simulated web shop.

use super::draw::Draw;

const PRODUCTS: usize = 3_000;

pub(super) struct Product {
    pub id: u64,
    /// Empty where the shop has not sorted it in, as for a third of the real data.
    pub category: &'static str,
    pub brand: &'static str,
    pub cents: u64,
}

/// Category, typical price, and who makes such things.
const SHELVES: [(&str, u64, [&str; 4]); 12] = [
    ("electronics.smartphone", 32_000, ["samsung", "apple", "xiaomi", "huawei"]),
    ("electronics.audio.headphone", 9_000, ["apple", "sony", "jbl", "samsung"]),
    ("electronics.clocks", 15_000, ["apple", "casio", "garmin", "amazfit"]),
    ("electronics.video.tv", 38_000, ["samsung", "lg", "sony", "haier"]),
    ("computers.notebook", 62_000, ["acer", "asus", "lenovo", "hp"]),
    ("computers.desktop", 45_000, ["hp", "lenovo", "pulser", "acer"]),
    ("appliances.kitchen.refrigerators", 48_000, ["lg", "samsung", "indesit", "beko"]),
    ("appliances.kitchen.washer", 36_000, ["lg", "samsung", "indesit", "beko"]),
    ("appliances.environment.vacuum", 14_000, ["samsung", "karcher", "philips", ""]),
    ("furniture.living_room.sofa", 41_000, ["", "brw", "ikea", ""]),
    ("apparel.shoes", 6_500, ["respect", "salomon", "", "baden"]),
    ("", 4_000, ["", "shiseido", "lucente", "creed"]),
];

pub(super) fn products(seed: u64) -> Vec<Product> {
    let mut draw = Draw::new(seed, 3, 0);
    (0..PRODUCTS as u64)
        .map(|i| {
            let shelf = draw.weighted(&[28, 38, 44, 50, 57, 60, 64, 69, 73, 76, 80, 113]);
            let (category, price, brands) = SHELVES[shelf];
            let spread = 0.2 + 0.9 * (draw.unit() + draw.unit());
            Product {
                id: 1_000_000 + i * 17_000 + u64::from(draw.below(17_000)),
                category,
                brand: brands[draw.weighted(&[5, 8, 10, 11])],
                cents: (price as f64 * spread) as u64,
            }
        })
        .collect()
}
