//! What the counts say: aims met or missed, and the modelled cycles beside XNNPACK's.

use super::count::Pair;
use super::counter::{Counted, MODELS};
use crate::stage::Error;

/// Cycles that differ by less of XNNPACK's are equal: the model is no finer, and both sides are bound by the same
/// number of outer products.
const TIE: f64 = 1e-3;

/// Prints what was won, tied and lost.
///
/// # Errors
/// Anything lost.
pub fn give(counted: &[Pair]) -> Result<(), Error> {
    let (mut missed, mut more, mut ties) = (Vec::new(), Vec::new(), Vec::new());
    for (case, xnnpack, tandem) in counted {
        let Some(tandem) = tandem else {
            missed.push(format!("{} (no kernel yet)", case.name));
            continue;
        };
        if tandem.count.total > case.aim {
            missed.push(format!("{} ({} of {})", case.name, tandem.count.total, case.aim));
        }
        for (model, excess) in MODELS.iter().zip(excess(tandem, xnnpack)) {
            if excess > TIE {
                more.push(format!("{} on {model} ({:+.1} %)", case.name, 100.0 * excess));
            } else if excess >= -TIE {
                ties.push(format!("{} on {model}", case.name));
            }
        }
    }
    print("aims missed", &missed);
    print("modelled cycles above XNNPACK's", &more);
    print("modelled cycles equal to XNNPACK's within 0.1 %", &ties);
    if missed.is_empty() && more.is_empty() {
        println!("verdict: every aim is met, no case takes more modelled cycles");
        return Ok(());
    }
    Err(Error::Check(format!(
        "verdict: {} aims missed, {} times more modelled cycles",
        missed.len(),
        more.len()
    )))
}

/// Tandem's cycles beyond XNNPACK's, as a part of these, on every model.
fn excess(tandem: &Counted, xnnpack: &Counted) -> [f64; MODELS.len()] {
    std::array::from_fn(|model| tandem.cycles[model] / xnnpack.cycles[model] - 1.0)
}

fn print(what: &str, cases: &[String]) {
    println!("{what}: {}", if cases.is_empty() { "none".to_owned() } else { cases.join(", ") });
}

#[cfg(test)]
mod tests {
    use super::super::count::CASES;
    use super::super::counter::Count;
    use super::*;

    fn counted(total: u64, cycles: [f64; 2]) -> Counted {
        Counted { count: Count { total, outer: 0 }, cycles, output: String::new() }
    }

    #[test]
    fn aims_and_cycles() {
        let case = &CASES[0];
        let give = |tandem: Option<Counted>| give(&[(case, counted(2 * case.aim, [1000.0, 2000.0]), tandem)]);
        assert!(give(Some(counted(case.aim, [1000.9, 1900.0]))).is_ok());
        assert!(give(Some(counted(case.aim + 1, [900.0, 1900.0]))).is_err());
        assert!(give(Some(counted(case.aim, [1001.1, 1900.0]))).is_err());
        assert!(give(Some(counted(case.aim, [900.0, 2002.1]))).is_err());
        assert!(give(None).is_err());
    }
}
