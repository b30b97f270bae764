//! What is particular to the description of an OpenTelemetry receiver: a path behind the port, and attributes.

use super::Fault;
use super::kind::{Address, parse_address};

/// Where a receiver of OTLP takes metrics, unless told otherwise.
pub(super) const OTLP_PATH: &str = "/v1/metrics";

/// Attributes that there are in any case, and the options they come from.
const OPTIONS: [(&str, &str); 2] = [("service.name", "service"), ("host.name", "host")];

/// `//HOST:PORT` with or without a path.
pub(super) fn parse_url(at: usize, text: &str) -> Result<(Address, String), Fault> {
    let host = text.strip_prefix("//").unwrap_or_default();
    let end = host.find('/').map_or(text.len(), |inside| inside.saturating_add(2));
    let (address, path) = text.split_at_checked(end).unwrap_or((text, ""));
    let path = if path.is_empty() { OTLP_PATH } else { path };
    if let Some(c) = path.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        return Err((at.saturating_add(end), format!("{c:?} is no part of a path of HTTP")));
    }
    Ok((parse_address(at, address)?, path.to_owned()))
}

/// `KEY=VALUE`, with commas between.
pub(super) fn parse_attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let one = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => Ok((attribute(key)?, attribute(value)?)),
        None => Err("attributes are written KEY=VALUE,KEY=VALUE".to_owned()),
    };
    let all: Vec<(String, String)> = text.split(',').map(one).collect::<Result<_, _>>()?;
    // A receiver may take any of two with one key.
    for (number, (key, _)) in all.iter().enumerate() {
        if let Some((_, option)) = OPTIONS.iter().find(|(attribute, _)| attribute == key) {
            return Err(format!("{key} has an option of its own, {option}="));
        }
        if all.iter().take(number).any(|(earlier, _)| earlier == key) {
            return Err(format!("{} is given twice", key.escape_debug()));
        }
    }
    Ok(all)
}

pub(super) fn attribute(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.to_owned()) }
}
