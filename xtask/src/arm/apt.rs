//! A private apt root: the system's mirrors and keys, lists of its own, nothing installed, arm64 beside the host.
//!
//! Assumptions: the host is Debian or Ubuntu on amd64, and its mirror holds arm64 packages too. Ubuntu's main mirrors do
//! not: there `$TANDEM_ARM64_MIRROR` names one that does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{self, Error};

/// Debian's suite with emulators newer than a release's own, whichever release is current.
const NEWER: &str = "stable-backports";

/// One suite of a mirror, with the parts of it that the system uses.
#[derive(Debug, PartialEq)]
struct Source {
    origin: String,
    mirror: String,
    suite: String,
    components: Vec<String>,
}

/// Dotted numbers of a version, without epoch and what the distribution added.
pub type Version = Vec<u64>;

/// apt with a root of its own.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Makes the root and downloads the lists.
    pub fn new(root: &Path) -> Result<Self, Error> {
        let amd64 = Command::new("dpkg").arg("--print-architecture").output();
        if !amd64.is_ok_and(|answer| answer.stdout.trim_ascii() == b"amd64") {
            let message =
                "the Arm tools come from Debian's or Ubuntu's packages for amd64; this system has none";
            return Err(Error::Setup(message.to_owned()));
        }
        let apt = Self { root: root.to_owned() };
        for folder in ["state", "lists/partial", "archives/partial"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).map_err(Error::writing(&folder))?;
        }
        let lines = source_lines(&sources()?, std::env::var("TANDEM_ARM64_MIRROR").ok());
        for (name, text) in [("status", ""), ("sources.list", &lines)] {
            let path = root.join(name);
            fs::write(&path, text).map_err(Error::writing(&path))?;
        }
        let mut update = apt.command("apt-get");
        stage::download("downloading package lists", update.arg("update")).map_err(|e| {
            Error::Setup(format!(
                "{e}\nWhere the system's mirror holds no arm64 packages (Ubuntu's), TANDEM_ARM64_MIRROR names one that does"
            ))
        })?;
        Ok(apt)
    }

    /// Where downloaded packages lie.
    pub fn archives(&self) -> PathBuf {
        self.root.join("archives")
    }

    /// The newest version of a package that is `least` or newer, as apt spells it.
    pub fn newest(&self, package: &str, least: &[u64]) -> Result<String, Error> {
        let table =
            stage::quiet("reading package lists", self.command("apt-cache").args(["madison", package]))?;
        let spelled = table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        let newest = spelled.max_by_key(|text| version(text));
        newest.filter(|text| version(text).as_slice() >= least).map(str::to_owned).ok_or_else(|| {
            let least: Vec<String> = least.iter().map(u64::to_string).collect();
            let have = newest.map_or_else(|| "none at all".to_owned(), |text| format!("at most {text}"));
            let least = least.join(".");
            Error::Setup(format!("the system's mirror has no package {package} {least} or newer, but {have}"))
        })
    }

    /// Downloads packages and all they depend on.
    pub fn download_with_dependencies(&self, packages: &[String]) -> Result<(), Error> {
        let mut install = self.command("apt-get");
        install.args(["install", "--download-only", "--yes", "--no-install-recommends"]).args(packages);
        stage::download("downloading the cross compiler", &mut install).map(|_| ())
    }

    /// Downloads exactly these packages.
    pub fn download(&self, packages: &[String]) -> Result<(), Error> {
        let mut download = self.command("apt-get");
        download.current_dir(self.archives()).arg("download").args(packages);
        stage::download("downloading emulator and arm64 libraries", &mut download).map(|_| ())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for (key, path) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State", "state"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", ""),
            ("Dir::Cache::archives", "archives"),
        ] {
            command.arg("-o").arg(format!("{key}={}", self.root.join(path).display()));
        }
        for set in [
            "Dir::Etc::sourceparts=-",
            "Dir::Etc::preferences=-",
            "Dir::Etc::preferencesparts=-",
            "APT::Architecture=amd64",
            "APT::Architectures::=amd64",
            "APT::Architectures::=arm64",
            // The user that apt downloads as by default may not be able to reach the cache folder.
            "APT::Sandbox::User=root",
            "APT::Update::Error-Mode=any",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
        ] {
            command.args(["-o", set]);
        }
        command
    }
}

/// The suites that the system's own apt downloads from Debian or Ubuntu.
fn sources() -> Result<Vec<Source>, Error> {
    let format = "$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let mut ask = Command::new("apt-get");
    let table = stage::quiet("reading apt's sources", ask.args(["indextargets", "--format", format]))?;
    let known = parse_sources(&table);
    if known.is_empty() {
        let message = "apt knows no list of Debian's or Ubuntu's packages; `apt-get update` makes them known";
        return Err(Error::Setup(message.to_owned()));
    }
    Ok(known)
}

fn parse_sources(table: &str) -> Vec<Source> {
    let mut found: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for line in table.lines() {
        let mut fields = line.split('|');
        if fields.next() != Some("Packages") {
            continue;
        }
        let mut field = || fields.next().unwrap_or_default();
        let (origin, mirror, suite, component) = (field(), field(), field(), field().to_owned());
        let components = found.entry((origin, mirror, suite)).or_default();
        if ["Debian", "Ubuntu"].contains(&origin) && !components.contains(&component) {
            components.push(component);
        }
    }
    found.retain(|_, components| !components.is_empty());
    let source = |((origin, mirror, suite), components): ((&str, &str, &str), Vec<String>)| Source {
        origin: origin.to_owned(),
        mirror: mirror.to_owned(),
        suite: suite.to_owned(),
        components,
    };
    found.into_iter().map(source).collect()
}

/// `sources.list`: every suite for both architectures, and Debian's newer emulator.
fn source_lines(sources: &[Source], arm64_mirror: Option<String>) -> String {
    let mut text = String::new();
    for source in sources {
        let keys = format!("/usr/share/keyrings/{}-archive-keyring.gpg", source.origin.to_lowercase());
        let keys = if Path::new(&keys).exists() { format!(" signed-by={keys}") } else { String::new() };
        let mut line = |arch: &str, mirror: &str, suite: &str| {
            text += &format!("deb [arch={arch}{keys}] {mirror} {suite} {}\n", source.components.join(" "));
        };
        line("amd64", &source.mirror, &source.suite);
        line("arm64", arm64_mirror.as_ref().unwrap_or(&source.mirror), &source.suite);
        let main_suite = !source.suite.contains('-') && !source.suite.contains('/');
        if source.origin == "Debian" && main_suite {
            line("amd64", &source.mirror, NEWER);
        }
    }
    text
}

/// Dotted numbers of a version, without the epoch and what the distribution added: `1:11.1.3+ds-1` is 11.1.3.
pub fn version(text: &str) -> Version {
    let upstream = text.split_once(':').map_or(text, |(_, rest)| rest);
    let end = upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
    upstream[..end].split('.').filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("1:11.1.3+ds-1~bpo13+1"), [11, 1, 3]);
        assert!(version("1:7.2+dfsg-7+deb12u18+b3") < version("10.1.0"));
        assert_eq!(version("1.96.0+dfsg1-1~deb12u2"), [1, 96, 0]);
    }

    #[test]
    fn only_the_distribution_itself_is_a_source() {
        let table = "Packages|Debian|http://m/debian/|bookworm|main\n\
                     DEP-11|Debian|http://m/debian/|bookworm|main\n\
                     Packages|Debian|http://m/debian/|bookworm|contrib\n\
                     Packages|Debian|http://m/security/|bookworm-security|main\n\
                     Packages|Somebody|http://x/debian/|bookworm|main\n";
        let sources = parse_sources(table);
        let suites: Vec<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["bookworm", "bookworm-security"]);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        let lines = source_lines(&sources, Some("http://ports/".to_owned()));
        assert_eq!(lines.lines().count(), 5);
        assert_eq!(lines.matches(NEWER).count(), 1);
        assert_eq!(lines.matches("http://ports/").count(), 2);
    }
}
