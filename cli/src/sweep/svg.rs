//! A picture of a sweep: for every device and layer the rate over the number of rows, on the engine that was picked, and of each
//! engine alone; what is behind a point says who computes it.

use std::fmt::Write;

use super::{LAYERS, Row, Swept};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 240.0;
/// Around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [52.0, 34.0, 14.0, 34.0];

/// Engines: name, colour of what lies behind, words.
const ENGINES: [(&str, &str, &str); 3] =
    [("cpu", "#cfe3ff", "cores, bound by memory"), ("sme", "#ffe3c2", "units"), ("both", "#cdeccd", "both")];

/// The picture, layers from left to right, devices from top to bottom.
pub fn picture(swept: &[Swept]) -> String {
    let (columns, rows) = (LAYERS.len() as f64, swept.len() as f64);
    let (width, height) = (columns * WIDTH, rows * HEIGHT + 30.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\"><rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
    );
    for (i, device) in swept.iter().enumerate() {
        for (j, (layer, _, _)) in LAYERS.iter().enumerate() {
            let rows: Vec<&Row> = device.rows.iter().filter(|row| row.layer == *layer).collect();
            let title = format!("{}, {layer}, {} threads: modelled GFLOP/s", device.device, device.threads);
            Panel::new(j as f64 * WIDTH, i as f64 * HEIGHT, &rows).draw(&mut out, &title, &rows);
        }
    }
    legend(&mut out, height - 12.0);
    out + "</svg>"
}

/// Axes of one plot, both logarithmic.
struct Panel {
    left: f64,
    top: f64,
    most_rows: f64,
    least: f64,
    most: f64,
}

impl Panel {
    fn new(x: f64, y: f64, rows: &[&Row]) -> Self {
        let rates = || rows.iter().flat_map(|r| [Some(r.gflops), r.cores_gflops, r.units_gflops]).flatten();
        let power = |value: f64| 10f64.powf(value.log10().floor());
        Self {
            left: x + MARGIN[0],
            top: y + MARGIN[1],
            most_rows: rows.iter().map(|row| row.m as f64).fold(2.0, f64::max),
            least: power(rates().fold(f64::INFINITY, f64::min)),
            most: 10.0 * power(rates().fold(1.0, f64::max)),
        }
    }

    fn x(&self, m: f64) -> f64 {
        self.left + (WIDTH - MARGIN[0] - MARGIN[2]) * m.ln() / self.most_rows.ln()
    }

    fn y(&self, gflops: f64) -> f64 {
        let inner = HEIGHT - MARGIN[1] - MARGIN[3];
        self.top + inner * (self.most / gflops).ln() / (self.most / self.least).ln()
    }

    fn draw(&self, out: &mut String, title: &str, rows: &[&Row]) {
        self.regions(out, rows);
        self.axes(out, title, rows);
        self.curve(out, "#5b7fb5", "1.5", "4 3", rows.iter().filter_map(|r| Some((r.m, r.cores_gflops?))));
        self.curve(out, "#c77f2b", "1.5", "4 3", rows.iter().filter_map(|r| Some((r.m, r.units_gflops?))));
        self.curve(out, "#1b1f27", "2.2", "none", rows.iter().map(|r| (r.m, r.gflops)));
    }

    /// What lies behind: each point's engine, to half the way to its neighbours.
    fn regions(&self, out: &mut String, rows: &[&Row]) {
        let middle = |a: &Row, b: &Row| self.x((a.m as f64 * b.m as f64).sqrt());
        let (top, bottom) = (self.y(self.most), self.y(self.least));
        for (i, row) in rows.iter().enumerate() {
            let from = if i == 0 { self.x(1.0) } else { middle(rows[i - 1], row) };
            let to = rows.get(i + 1).map_or(self.x(self.most_rows), |next| middle(row, next));
            let color = ENGINES.iter().find(|(name, _, _)| *name == row.engine).map_or("#eee", |e| e.1);
            let (width, height) = (to - from, bottom - top);
            let _ = write!(
                out,
                "<rect class=\"{}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" shape-rendering=\"crispEdges\" \
                 fill=\"{color}\"/>",
                row.engine
            );
        }
    }

    fn axes(&self, out: &mut String, title: &str, rows: &[&Row]) {
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{title}</text>",
            self.left,
            self.top - 8.0
        );
        let mut value = self.least;
        while value <= self.most * 1.001 {
            let (y, right) = (self.y(value), self.x(self.most_rows));
            let (left, label) = (self.left, self.left - 6.0);
            let _ = write!(
                out,
                "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#0002\"/>\
                 <text x=\"{label:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                y + 4.0
            );
            value *= 10.0;
        }
        for row in rows.iter().step_by(3) {
            let (x, y) = (self.x(row.m as f64), self.y(self.least) + 14.0);
            let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>", row.m);
        }
        let (x, y) = (self.x(self.most_rows.sqrt()), self.y(self.least) + 27.0);
        let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">rows</text>");
    }

    fn curve(
        &self,
        out: &mut String,
        color: &str,
        width: &str,
        dashes: &str,
        points: impl Iterator<Item = (usize, f64)>,
    ) {
        let points: Vec<String> =
            points.map(|(m, rate)| format!("{:.1},{:.1}", self.x(m as f64), self.y(rate))).collect();
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" \
             stroke-dasharray=\"{dashes}\"/>",
            points.join(" ")
        );
    }
}

fn legend(out: &mut String, y: f64) {
    for (i, (_, color, words)) in ENGINES.iter().enumerate() {
        let x = MARGIN[0] + 170.0 * i as f64;
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{color}\"/><text x=\"{}\" y=\"{y}\">{words}</text>",
            y - 10.0,
            x + 18.0
        );
    }
    let x = MARGIN[0] + 170.0 * ENGINES.len() as f64;
    let _ = write!(
        out,
        "<text x=\"{x}\" y=\"{y}\">line: the pick; dashed: cores (blue) and units (orange) alone</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_regions_are_visible() {
        let swept = crate::sweep::sweep(
            &tandem_engine::device::find(Some("apple-m4")).expect("shipped").device,
            Some(4),
        );
        let picture = picture(&[swept]);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>"));
        for engine in ["cpu", "sme", "both"] {
            assert!(picture.contains(&format!("class=\"{engine}\"")), "{engine}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
