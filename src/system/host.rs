//! What this host is called, and what tells it from others: a number that stays the same.

use std::fs;

/// The name the host has given itself.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A number of this host: made from the id that the system was given when it was installed, and its name, as
/// hosts that were copied have the same id, and containers often none.
pub fn number() -> u32 {
    let id = fs::read("/etc/machine-id").unwrap_or_default();
    let name = rustix::system::uname();
    hash(id.trim_ascii(), name.nodename().to_bytes())
}

/// A number for each id and name. The same in each version: hosts keep their moments.
pub fn hash(id: &[u8], name: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id);
    hasher.update(&[0]);
    hasher.update(name);
    // Names that differ in the last digit are to be far apart.
    hasher.finalize().wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_number_and_it_never_changes() {
        assert_eq!(number(), number());
        assert_eq!(hash(b"0123456789abcdef0123456789abcdef", b"web1"), 2_343_663_035);
    }

    #[test]
    fn names_that_are_counted_up_are_spread_evenly() {
        let mut hosts = [0_u32; 50];
        for host in 0..1_000 {
            let number = hash(b"", format!("web{host}").as_bytes());
            hosts[((u64::from(number) * 50) >> 32) as usize] += 1;
        }
        assert!(hosts.iter().all(|hosts| (5..=40).contains(hosts)), "{hosts:?}");
    }
}
