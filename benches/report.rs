//! The results: a table on the terminal, JSON for programs, a picture for people.

use std::path::PathBuf;

use serde_json::json;

use crate::place::Place;
use crate::plot;

pub struct Line {
    pub what: String,
    pub ours: String,
    pub baseline: String,
    pub ratio: f64,
    pub want: f64,
    /// Whether the ratio is to be at most `want`, not at least.
    pub at_most: bool,
    pub note: String,
}

impl Line {
    pub fn is_met(&self) -> bool {
        if self.at_most { self.ratio <= self.want } else { self.ratio >= self.want }
    }
}

pub struct Report {
    lines: Vec<Line>,
    setting: String,
}

impl Report {
    pub fn new(place: &Place) -> Report {
        let setting = format!("{} rows in {} files, medians of {} runs", place.rows(), place.files, place.runs);
        println!("{setting}");
        println!("{:<66} {:>16} {:<42} {:>7} {:>8}  note", "what", "ours", "baseline", "ratio", "want");
        Report { lines: vec![], setting }
    }

    pub fn add(&mut self, line: Line) {
        let want = format!("{} {}", if line.at_most { "≤" } else { "≥" }, line.want);
        let mark = if line.is_met() { "" } else { " (missed)" };
        println!(
            "{:<66} {:>16} {:<42} {:>7.2} {want:>8}  {}{mark}",
            line.what, line.ours, line.baseline, line.ratio, line.note
        );
        self.lines.push(line);
    }

    pub fn write(self) {
        let Ok(out) = std::env::var("BENCH_OUT").map(PathBuf::from) else { return };
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|l| {
                json!({ "what": l.what, "ours": l.ours, "baseline": l.baseline, "ratio": (l.ratio * 100.0).round() / 100.0, "want": l.want,
                        "at_most": l.at_most, "met": l.is_met(), "note": l.note })
            })
            .collect();
        let all = json!({ "setting": self.setting, "results": lines });
        let text = serde_json::to_string_pretty(&all).expect("plain values");
        std::fs::write(out.join("results.json"), text + "\n").expect("results.json can be written");
        std::fs::write(out.join("results.svg"), plot::draw(&self.lines, &self.setting))
            .expect("results.svg can be written");
        println!("written: {}", out.join("results.json").display());
    }
}
