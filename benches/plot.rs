//! Bars of rates beside their baselines, as SVG.

use std::fmt::Write;

use crate::report::Line;

const ROW: usize = 30;
const LEFT: usize = 440;
const UNIT: f64 = 110.0;

/// Only what is a rate against another one: costs and times have scales of their own.
pub fn draw(lines: &[Line], setting: &str) -> String {
    let rates: Vec<&Line> = lines.iter().filter(|line| !line.at_most).collect();
    let widest = rates.iter().map(|line| line.ratio).fold(2.0, f64::max);
    let (width, height) = (LEFT + (widest * UNIT) as usize + 90, 60 + ROW * rates.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\">Rows a second, as a multiple of the baseline: {}</text>\n",
        escaped(setting)
    );
    for (i, line) in rates.iter().enumerate() {
        let y = 40 + i * ROW;
        let color = if line.is_met() { "#2a7f62" } else { "#c77d2e" };
        let against = line.baseline.split(':').next().unwrap_or_default();
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.0}\" height=\"20\" fill=\"{color}\"/>\
             <text x=\"{:.0}\" y=\"{}\">{:.2} × {}</text>",
            LEFT - 8,
            y + 15,
            escaped(&line.what),
            line.ratio * UNIT,
            LEFT as f64 + line.ratio * UNIT + 6.0,
            y + 15,
            line.ratio,
            escaped(against)
        );
    }
    let one = LEFT as f64 + UNIT;
    let _ = writeln!(
        svg,
        "<line x1=\"{one}\" y1=\"34\" x2=\"{one}\" y2=\"{}\" stroke=\"#333\" stroke-dasharray=\"4\"/>",
        height - 14
    );
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
