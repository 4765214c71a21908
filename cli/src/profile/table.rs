//! Profiles as tables of the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::classify::Category;
use super::report::{Profile, Row};

/// An empty table whose named columns are aligned to the right.
pub fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints one model.
pub fn print(profile: &Profile, top: Option<usize>, threads: usize) {
    println!("\n{} · {}", profile.name, counted(threads, "thread", "threads"));
    println!("{}", operators(profile, top));
    println!("{}", categories(profile));
    println!("{}", summary(profile));
}

fn operators(profile: &Profile, top: Option<usize>) -> Table {
    let header =
        ["operator", "shape", "engine", "kernel", "layout", "ms", "share", "GFLOP/s", "of peak", "predicted"];
    let mut out = table(&header, &[5, 6, 7, 8, 9]);
    let mut rows: Vec<&Row> = profile.rows.iter().collect();
    if let Some(top) = top {
        rows.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        rows.truncate(top);
    }
    for row in rows {
        out.add_row([
            row.name.clone(),
            row.shape.clone(),
            row.engine.clone(),
            row.kernel.clone(),
            layout(row),
            format!("{:.3}", row.ms),
            percent(row.share),
            row.gflops.map_or_else(String::new, |v| format!("{v:.1}")),
            row.peak_share.map_or_else(String::new, percent),
            row.predicted_ms.map_or_else(String::new, |v| format!("{v:.3}")),
        ]);
    }
    out
}

fn layout(row: &Row) -> String {
    if row.layout_in == row.layout_out {
        row.layout_in.clone()
    } else {
        format!("{} → {}", row.layout_in, row.layout_out)
    }
}

fn categories(profile: &Profile) -> Table {
    let mut out = table(&["category", "ms", "share", "rows"], &[1, 2, 3]);
    for total in &profile.categories {
        out.add_row([
            total.name.to_owned(),
            format!("{:.3}", total.ms),
            percent(total.share),
            total.count.to_string(),
        ]);
    }
    out
}

fn summary(profile: &Profile) -> String {
    let f = &profile.footprint;
    let mut text = format!(
        "{}, {}, {}\nexecution {:.3} ms (with events {:.3})\nload: file {:.2} ms, method {:.2} ms",
        counted(profile.delegates, "delegate call", "delegate calls"),
        counted(profile.portable_ops, "portable op", "portable ops"),
        counted(profile.transposes, "stand-alone transpose or copy", "stand-alone transposes or copies"),
        profile.wall_ms,
        profile.traced_ms,
        f.load_ms,
        f.method_ms,
    );
    if !profile.isa.is_empty() {
        text += &format!(
            " (Tandem's init {:.2} ms: verify {:.2}, plan {:.2}; {})\nmemory: arena {}, live at most {} ({:.2}), scratch \
             {}, weights mapped {}, peak resident size grew by {}",
            f.init_ms,
            f.verify_ms,
            f.plan_ms,
            profile.isa,
            mib(f.arena_bytes),
            mib(f.live_bytes),
            f.arena_bytes as f64 / (f.live_bytes.max(1)) as f64,
            mib(f.scratch_bytes),
            mib(f.weight_bytes),
            mib(f.rss_growth_bytes),
        );
    } else {
        text += &format!("\nmemory: peak resident size grew by {}", mib(f.rss_growth_bytes));
    }
    text
}

/// Prints the categories of several models side by side.
pub fn print_comparison(profiles: &[Profile]) {
    let mut header = vec!["ms"];
    header.extend(profiles.iter().map(|p| p.name.as_str()));
    let columns: Vec<usize> = (1..=profiles.len()).collect();
    let mut out = table(&header, &columns);
    for category in Category::ALL {
        let of =
            |p: &Profile| p.categories.iter().find(|t| t.name == category.name()).map(|t| (t.ms, t.count));
        if profiles.iter().any(|p| of(p).is_some()) {
            let cells =
                profiles.iter().map(|p| of(p).map_or_else(String::new, |(ms, n)| format!("{ms:.3} ({n})")));
            out.add_row(std::iter::once(category.name().to_owned()).chain(cells));
        }
    }
    let whole = profiles.iter().map(|p| format!("{:.3}", p.wall_ms));
    out.add_row(std::iter::once("execution".to_owned()).chain(whole));
    println!("\n{out}");
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Bytes in MiB.
fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_show_what_is_known() {
        let row = Row {
            name: "enc0.conv".to_owned(),
            layout_in: "NCHW".to_owned(),
            layout_out: "NHWC".to_owned(),
            ms: 1.5,
            share: 0.25,
            gflops: Some(99.94),
            ..Row::default()
        };
        let slow = Row { name: "slow".to_owned(), ms: 9.0, ..Row::default() };
        let profile = Profile { rows: vec![row, slow], ..Profile::default() };
        let all = operators(&profile, None).to_string();
        for part in ["enc0.conv", "NCHW → NHWC", "1.500", "25.0%", "99.9", "slow"] {
            assert!(all.contains(part), "{part} in\n{all}");
        }
        let top = operators(&profile, Some(1)).to_string();
        assert!(top.contains("slow") && !top.contains("enc0"));
        assert_eq!(mib(3 << 19), "1.50 MiB");
    }
}
