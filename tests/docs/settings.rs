//! What the package brings beside the program: the settings in /etc/default, which have to be all those of `serve`,
//! each as it is when nobody chooses one; and its own list of changes.

use std::collections::BTreeMap;

use countd::commands::settings::VARIABLES;

use crate::page;

/// The lines `#VARIABLE=VALUE`.
fn commented_out() -> BTreeMap<&'static str, &'static str> {
    let text = include_str!("../../systemd/default/countd");
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let line = line.strip_prefix('#').unwrap_or_else(|| panic!("this sets something: {line}"));
        if let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.contains(' ')) {
            assert_eq!(found.insert(name, value), None, "{name} is there twice");
        }
    }
    found
}

#[test]
fn every_setting_of_serve_is_in_the_environment_file_with_its_default() {
    let mut found = commented_out();
    let pages = page::all();
    let serve = pages.iter().find(|page| page.subcommand.as_deref() == Some("serve")).unwrap();
    let mut defaults = 0;
    for option in serve.arguments() {
        let Some(long) = option.get_long() else { continue };
        let variable = format!("COUNTD_{}", long.to_uppercase().replace('-', "_"));
        if !VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        let value = found.remove(variable.as_str());
        let value = value.unwrap_or_else(|| panic!("{variable} is not in systemd/default/countd"));
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        let default = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        if let Some((default, _)) = default.filter(|(default, _)| !default.contains(' ')) {
            assert_eq!(value, default, "{variable}");
            defaults += 1;
        }
    }
    assert!(defaults >= 5, "defaults are found in the help");
    assert!(found.is_empty(), "these are no settings of serve: {found:?}");
}

#[test]
fn the_newest_entry_of_the_packages_changelog_is_of_this_version() {
    let changelog = include_str!("../../debian/changelog");
    let newest = format!("countd ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&newest), "debian/changelog begins with no entry of {newest}");
}
