//! The published figures.

use std::path::PathBuf;

use super::{Models, Outcome, Row, Simulated};
use crate::stage::Error;

const SMEPILOT: &str = "SMEPilot (arXiv 2606.16332), Apple M4 Pro, ten performance cores";
const TALK: &str = "Arm's ExecuTorch talk (7 April 2026), SqueezeSAM of f16 through XNNPACK, vivo X300 (Dimensity 9500), one thread";
const NETWORKS: &str =
    "XNNPACK pull request 10992, medians of its main branch, f32; threads and sizes of inputs are not stated";

/// Of networks that are modelled.
const NETWORK_NOTE: &str = "the input is the paper's, the one measured is not stated; depthwise convolutions, most of what cores do, are as Tandem's";

/// GEMMs of a feed-forward layer; the paper does not say of which precision.
pub(super) fn smepilot(models: &Models) -> Result<Vec<Row>, Error> {
    let placed = models.sweep("apple-m4-pro", 10)?;
    let of = |m: usize| placed.iter().find(|row| row.layer == "3072x8192" && row.m == m);
    let row = |what: String, unit, published, modelled, note| {
        Row::new(SMEPILOT, (what, unit), published, modelled, note)
    };
    let mut rows = Vec::new();
    let peaks = of(8192);
    let tera = |gflops: f64| gflops / 1e3;
    let units = peaks.and_then(|p| p.units_gflops).map(tera);
    let note = "the profile has twice what was measured of one M4 unit; the paper's kernels or a clock under load reach less";
    rows.push(row("units alone".to_owned(), "TFLOP/s", [2.92; 2], units, note));
    let cores = peaks.map(|p| tera(p.cores_gflops));
    let note = "1.44 is ten cores' f32 peak, so 1.85 is likely of f16, and the model is of f32";
    rows.push(row("cores alone".to_owned(), "TFLOP/s", [1.85; 2], cores, note));
    for m in [512, 1024, 2048, 4096, 8192] {
        let rate = of(m).map(|p| tera(p.gflops));
        let note = "both peaks above miss, in opposite directions: their sum does not";
        rows.push(row(format!("GEMM {m}x3072x8192, units and cores"), "TFLOP/s", [4.10, 4.44], rate, note));
        let gain = of(m).and_then(|p| Some(p.gflops / p.units_gflops?));
        let note =
            "follows from the two peaks above: units are modelled quicker, cores slower than published";
        rows.push(row(format!("GEMM {m}x3072x8192 over units alone"), "times", [1.30, 1.67], gain, note));
    }
    let decode = of(1).map(|p| p.gflops / p.cores_gflops);
    rows.push(row(
        "GEMV 1x3072x8192 over cores alone (decode of batch 1)".to_owned(),
        "times",
        [1.0; 2],
        decode,
        "",
    ));
    let attention = placed.iter().find(|row| row.layer == "attention" && row.m == 4096);
    let apart = attention.and_then(|p| Some(p.gflops / p.apart_gflops?));
    let note = "heads and width are Qwen3-4B's, the figure's are not stated";
    rows.push(row("attention of 4096 tokens without overlap".to_owned(), "times", [2.07; 2], apart, note));
    Ok(rows)
}

/// SqueezeSAM with and without SME2, and the profile that its convolutions calibrate.
pub(super) fn talk(models: &Models) -> Result<(Vec<Row>, PathBuf), Error> {
    const DEVICE: &str = "dimensity-9500";
    const CONVOLUTIONS_MS: f64 = 98.0;
    let file = models.squeezesam_f16()?;
    let share = models.xnnpack(&file, DEVICE, "sme")?.category("Convolution") / CONVOLUTIONS_MS;
    let source =
        format!("{share:.3} of the shipped profile's: SqueezeSAM's convolutions take 98 ms in Arm's talk");
    let profile = models.calibrated(DEVICE, share, &source)?;
    let device = profile.display().to_string();
    let (on, off) = (models.xnnpack(&file, &device, "sme")?, models.xnnpack(&file, &device, "cpu")?);
    let row = |what: &str, published: f64, modelled, note| {
        Row::new(TALK, (what, "ms"), [published; 2], modelled, note)
    };
    let of = |simulated: &Simulated, name: &str| Some(simulated.category(name));
    let mut calibrates = row(
        "convolutions, SME2",
        CONVOLUTIONS_MS,
        of(&on, "Convolution"),
        "this row gives the unit's share of its modelled rates",
    );
    calibrates.outcome = Outcome::Calibrates;
    let delegates = "the modelled program is one delegate; the talk's is split at every batch norm, with two transposes a split";
    let moved = "119 less the 68 ms that the talk says delegated batch norms save";
    let host = "operators left to the host are in no program";
    let core = "58 GFLOP/s as published is 22 % of C1-Ultra's f16 peak, 67 % of C1-Pro's: likely another core, or a clock that fell";
    let rows = vec![
        calibrates,
        row("products (GEMM), SME2", 8.0, of(&on, "GEMM"), ""),
        row("data movement, SME2", 119.0, of(&on, "Data movement"), delegates),
        row("data movement, SME2, batch norms delegated", 51.0, of(&on, "Data movement"), moved),
        row("operators of the host, SME2", 72.0, None, host),
        row("whole inference, SME2", 298.0, Some(on.modelled_ms), delegates),
        row("convolutions, no SME2", 881.0, of(&off, "Convolution"), core),
        row("products (GEMM), no SME2", 32.0, of(&off, "GEMM"), core),
        row("data movement, no SME2", 139.0, of(&off, "Data movement"), delegates),
        row("operators of the host, no SME2", 110.0, None, host),
        row("whole inference, no SME2", 1163.0, Some(off.modelled_ms), core),
    ];
    Ok((rows, profile))
}

/// Networks whose definition is public; of the others the size of the input or the variant is not.
pub(super) fn networks(models: &Models, calibrated: &std::path::Path) -> Result<Vec<Row>, Error> {
    const BUILT: [(&str, &str, f64); 3] = [
        ("MobileNet v1, 224x224", "mobilenet_v1", 5.435),
        ("MobileNet-SSD, 300x300", "mobilenet_ssd", 13.779),
        ("EfficientNet-Lite3, 280x280", "efficientnet_lite3", 51.640),
    ];
    const LEFT_OUT: [(&str, f64); 4] =
        [("RFDN", 18.779), ("RetinaFace", 39.308), ("DeepLab v3", 54.213), ("OpenPose", 310.901)];
    let device = calibrated.display().to_string();
    let mut rows = Vec::new();
    for (what, name, ms) in BUILT {
        let modelled = models.xnnpack(&models.network(name)?, &device, "sme")?.modelled_ms;
        let what = format!("{what}, X300");
        rows.push(Row::new(NETWORKS, (what, "ms"), [ms; 2], Some(modelled), NETWORK_NOTE));
    }
    for (what, ms) in LEFT_OUT {
        let note = "left out: which variant, and of what input, is not public";
        rows.push(Row::new(NETWORKS, (format!("{what}, X300"), "ms"), [ms; 2], None, note));
    }
    let (what, name, _) = BUILT[2];
    let modelled = models.xnnpack(&models.network(name)?, "apple-m4", "sme")?.modelled_ms;
    rows.push(Row::new(
        NETWORKS,
        (format!("{what}, Mac mini M4"), "ms"),
        [17.947; 2],
        Some(modelled),
        NETWORK_NOTE,
    ));
    Ok(rows)
}
