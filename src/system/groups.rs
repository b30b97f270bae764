//! Groups by their names.

use std::io;

use nix::unistd::Group;

/// The number of a group, given by its name or as a number.
///
/// # Errors
/// `NotFound` when there is no group of that name; others are the system's.
pub fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let not_found = || io::Error::new(io::ErrorKind::NotFound, "there is no such group");
    Ok(Group::from_name(name)?.ok_or_else(not_found)?.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_by_number() {
        assert_eq!(group_id("root").unwrap(), 0);
        assert_eq!(group_id("4711").unwrap(), 4711);
        let error = group_id("no such group").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
