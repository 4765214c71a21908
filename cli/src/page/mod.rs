//! A profile, measured or modelled, as one page: data and code inside, nothing fetched.

use serde::Serialize;

const PAGE: &str = include_str!("page.html");

/// The page of a document: `profile`'s, or `simulate`'s with `modelled` in it, what the device is.
pub fn page(document: &impl Serialize) -> String {
    let data = serde_json::to_string(document).expect("plain data");
    // A script ends at "</" wherever it stands.
    PAGE.replace("/*DATA*/null", &data.replace("</", "<\\/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::profile::Document;
    use crate::profile::report::{Profile, Row};

    #[test]
    fn pages_hold_their_data_and_fetch_nothing() {
        let row = Row { name: "</script><b>".to_owned(), ..Row::default() };
        let machine =
            Machine { cpu: "a cpu".to_owned(), cores: 2, isa: "avx2".to_owned(), peak_gflops: 100.0 };
        let profile = Profile { name: "net.tandem".to_owned(), rows: vec![row], ..Profile::default() };
        let text = page(&Document { machine, threads: 1, models: vec![profile] });
        assert!(text.contains("net.tandem") && text.contains("a cpu"));
        assert_eq!(text.matches("</script>").count(), 1);
        assert!(!text.contains("/*DATA*/null"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!text.contains(outside), "{outside}");
        }
    }
}
