//! Which profile stands for this machine.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tandem_base::{Isa, cpu};

use super::{Device, Sme};
use crate::error::Error;

/// Profiles that come with the library.
const SHIPPED: [&str; 7] = [
    include_str!("profiles/apple-m4.toml"),
    include_str!("profiles/apple-m4-pro.toml"),
    include_str!("profiles/dimensity-9500.toml"),
    include_str!("profiles/snapdragon-x2-elite.toml"),
    include_str!("profiles/armv8-phone.toml"),
    include_str!("profiles/arm-server.toml"),
    include_str!("profiles/x86-server.toml"),
];

/// A profile and why it is this one.
#[derive(Clone, Debug)]
pub struct Found {
    /// The profile.
    pub device: Device,
    /// Where it comes from.
    pub because: String,
}

/// Profiles that come with the library.
///
/// # Panics
/// If one is not a profile, which a test rules out.
pub fn shipped() -> impl Iterator<Item = Device> {
    SHIPPED.iter().map(|text| Device::parse(text).expect("tested"))
}

/// Where `tandem characterize` leaves this machine's profile: `tandem/device.toml` in the user's cache folder.
pub fn cached() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(folder.join("tandem").join("device.toml"))
}

/// The profile an option names, by the name of a shipped one or as a file; without an option the one measured here, the
/// shipped one of this chip, or one of a class of machines.
///
/// # Errors
/// A named profile that does not exist or is wrong. A measured one that cannot be read is passed over, with a warning.
pub fn find(option: Option<&str>) -> Result<Found, Error> {
    static THIS: OnceLock<Found> = OnceLock::new();
    let this = || cached().and_then(|path| measured(&path)).unwrap_or_else(|| by_chip(&cpu::name()));
    option.map_or_else(|| Ok(THIS.get_or_init(this).clone()), named)
}

fn named(name: &str) -> Result<Found, Error> {
    if let Some(device) = shipped().find(|device| device.name == name) {
        return Ok(Found { device, because: "named by an option".to_owned() });
    }
    let wrong = |what| Error::Option { key: "device".to_owned(), value: name.to_owned(), what };
    let text = std::fs::read_to_string(name).map_err(|e| {
        let names: Vec<String> = shipped().map(|device| device.name).collect();
        wrong(format!("{e}; not one of {} either", names.join(", ")))
    })?;
    let device = Device::parse(&text).map_err(wrong)?;
    Ok(Found { device, because: format!("read from {name}") })
}

/// The profile in the cache folder, if it is this chip's.
fn measured(path: &Path) -> Option<Found> {
    let text = std::fs::read_to_string(path).ok()?;
    match Device::parse(&text) {
        Ok(device) if device.chips.contains(&cpu::name()) => {
            Some(Found { device, because: format!("measured here: {}", path.display()) })
        }
        Ok(device) => {
            log::warn!("device: {} is of {:?}, this is {}", path.display(), device.chips, cpu::name());
            None
        }
        Err(what) => {
            log::warn!("device: {}: {what}", path.display());
            None
        }
    }
}

/// The shipped profile of a chip, or of the class this machine belongs to.
fn by_chip(chip: &str) -> Found {
    match shipped().find(|device| device.chips.iter().any(|name| name == chip)) {
        Some(device) => Found { device, because: format!("this chip is {chip}") },
        None => Found {
            device: class(Isa::detect()),
            because: format!("a class of machines: no profile of {chip}"),
        },
    }
}

/// The shipped profile of the class that machines with these instruction sets belong to, whatever is known of this one.
pub(crate) fn of_class(isa: Isa) -> Found {
    Found { device: class(isa), because: "the class of these instruction sets".to_owned() }
}

/// The shipped profile of the class that a machine with these instruction sets belongs to.
pub(super) fn class(isa: Isa) -> Device {
    let phone = cfg!(target_os = "android") && !isa.has(Isa::SME2);
    of(if phone {
        "armv8-phone"
    } else if isa.has(Isa::NEON) {
        "arm-server"
    } else {
        "x86-server"
    })
}

/// The matrix unit that one of unknown make counts as.
pub(super) fn unit() -> Sme {
    of("apple-m4").sme.expect("it has one")
}

fn of(name: &str) -> Device {
    shipped().find(|device| device.name == name).expect("tested")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_one() {
        let names: Vec<String> = shipped().map(|device| device.name).collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(names.len(), distinct.len());
        for device in shipped() {
            assert!(device.figures().all(|(_, figure)| !figure.source.is_empty()), "{}", device.name);
            assert_eq!(Device::parse(&device.text()).unwrap(), device);
        }
    }

    #[test]
    fn chips_and_classes() {
        assert_eq!(by_chip("Apple M4").device.name, "apple-m4");
        assert_eq!(by_chip("Apple M4 Pro").device.name, "apple-m4-pro");
        assert!(by_chip("a core").because.contains("a core"));
        assert_eq!(class(Isa::NEON | Isa::SME2).name, "arm-server");
        assert_eq!(class(Isa::AVX2).name, "x86-server");
        assert_eq!(unit().units, 1);
    }

    #[test]
    fn options_name_profiles_and_files() {
        assert_eq!(find(Some("apple-m4")).unwrap().device.name, "apple-m4");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, SHIPPED[0].replace("apple-m4", "mine")).unwrap();
        let name = path.to_str().unwrap();
        assert_eq!(find(Some(name)).unwrap().device.name, "mine");
        std::fs::write(&path, SHIPPED[0].replace("value = 1995.0", "value = -1.0")).unwrap();
        let error = find(Some(name)).unwrap_err().to_string();
        assert!(error.contains("sme f32_gflops = -1"), "{error}");
        let error = find(Some("apple-m9")).unwrap_err().to_string();
        assert!(error.contains("apple-m9") && error.contains("dimensity-9500"), "{error}");
    }
}
