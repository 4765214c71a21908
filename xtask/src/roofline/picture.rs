//! The roofline as a picture: steps by arithmetic per byte and by what they reach, under what the machine can.

use std::fmt::Write;

use serde::Deserialize;

use super::Step;

/// What bounds a step.
#[derive(Clone, Debug)]
pub struct Ceilings {
    about: String,
    /// GFLOP/s of one thread.
    peak: f64,
    /// Names and GB/s of one thread.
    bandwidths: [(&'static str, f64); 2],
}

#[derive(Deserialize)]
struct Profile {
    about: String,
    cores: Vec<Cores>,
}

#[derive(Deserialize)]
struct Cores {
    rates: Vec<Rates>,
}

#[derive(Deserialize)]
struct Rates {
    fma_gflops: Figure,
    l2_gbs: Figure,
    dram_gbs: Figure,
}

#[derive(Deserialize)]
struct Figure {
    value: f64,
}

impl Ceilings {
    /// Of the fastest cores with all their instruction sets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let profile: Profile = toml::from_str(text).map_err(|e| e.to_string())?;
        let rates = profile.cores.first().and_then(|c| c.rates.first()).ok_or("no cores")?;
        Ok(Self {
            about: profile.about.clone(),
            peak: rates.fma_gflops.value,
            bandwidths: [("L2", rates.l2_gbs.value), ("memory", rates.dram_gbs.value)],
        })
    }
}

/// Pixels.
const SIZE: [f64; 2] = [960.0, 600.0];
const MARGIN: f64 = 60.0;
/// Range of the axes: FLOP per byte, GFLOP/s.
const X: [f64; 2] = [0.05, 1000.0];
const Y: [f64; 2] = [0.05, 1000.0];

fn place(value: f64, [low, high]: [f64; 2], pixels: f64) -> f64 {
    let share = (value.clamp(low, high) / low).ln() / (high / low).ln();
    MARGIN + share * (pixels - 2.0 * MARGIN)
}

fn x(intensity: f64) -> f64 {
    place(intensity, X, SIZE[0])
}

fn y(gflops: f64) -> f64 {
    SIZE[1] - place(gflops, Y, SIZE[1])
}

/// An SVG picture.
pub fn draw<'s>(ceilings: &Ceilings, steps: impl Iterator<Item = &'s Step>, threads: usize) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        SIZE[0], SIZE[1]
    );
    axes(&mut svg);
    let peak = ceilings.peak * threads as f64;
    for (name, gbs) in ceilings.bandwidths {
        let ridge = peak / gbs;
        line(&mut svg, [X[0], X[0] * gbs], [ridge.min(X[1]), (ridge.min(X[1]) * gbs).min(peak)], "#888");
        text(&mut svg, x(X[0] * 1.2), y(X[0] * 1.2 * gbs) - 6.0, "start", &format!("{name} {gbs:.0} GB/s"));
    }
    line(&mut svg, [peak / ceilings.bandwidths[0].1, peak], [X[1], peak], "#888");
    text(&mut svg, x(X[1]), y(peak) - 6.0, "end", &format!("multiply-add peak {peak:.0} GFLOP/s"));
    for step in steps.filter(|step| step.flops > 0.0 && step.bytes > 0.0) {
        let (at, gflops) = (step.flops / step.bytes, step.flops / step.ms * 1e-6);
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{}\" fill-opacity=\"0.6\">\
             <title>{} {} {}: {gflops:.1} GFLOP/s, {at:.2} FLOP/byte</title></circle>",
            x(at),
            y(gflops),
            colour(&step.kernel),
            escape(&step.name),
            escape(&step.shape),
            escape(&step.kernel)
        );
    }
    let about = format!("{}, {threads} of its threads", ceilings.about);
    text(&mut svg, SIZE[0] / 2.0, MARGIN / 2.0, "middle", &about);
    svg + "</svg>\n"
}

fn axes(svg: &mut String) {
    let decades = |[low, high]: [f64; 2]| {
        let mut at = 10f64.powf(low.log10().ceil());
        std::iter::from_fn(move || {
            let now = at;
            at *= 10.0;
            (now <= high).then_some(now)
        })
    };
    for at in decades(X) {
        line(svg, [at, Y[0]], [at, Y[1]], "#eee");
        text(svg, x(at), SIZE[1] - MARGIN + 18.0, "middle", &at.to_string());
    }
    for at in decades(Y) {
        line(svg, [X[0], at], [X[1], at], "#eee");
        text(svg, MARGIN - 6.0, y(at) + 4.0, "end", &at.to_string());
    }
    text(svg, SIZE[0] / 2.0, SIZE[1] - MARGIN / 3.0, "middle", "FLOP per byte that must move");
    text(svg, MARGIN, MARGIN - 10.0, "middle", "GFLOP/s");
}

fn line(svg: &mut String, from: [f64; 2], to: [f64; 2], stroke: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\"/>",
        x(from[0]),
        y(from[1]),
        x(to[0]),
        y(to[1])
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(text));
}

/// By the algorithm that a kernel's name tells.
fn colour(kernel: &str) -> &'static str {
    let colours = [
        ("winograd", "#d95f02"),
        ("chain", "#7570b3"),
        ("direct", "#1b9e77"),
        ("slab", "#66a61e"),
        ("sme2", "#e7298a"),
        ("14x32", "#1f78b4"),
        ("6x16", "#1f78b4"),
    ];
    colours.iter().find(|(part, _)| kernel.contains(part)).map_or("#666", |(_, colour)| colour)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lie_where_the_axes_say() {
        assert_eq!(x(X[0]), MARGIN);
        assert_eq!(x(X[1]), SIZE[0] - MARGIN);
        assert_eq!(y(Y[1]), MARGIN);
        assert!(y(10.0) < y(1.0) && x(10.0) > x(1.0));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b&c>"), "a&lt;b&amp;c&gt;");
    }
}
