//! Where the log says that files are: below the table's directory, or, in shallow clones and the like, elsewhere in the same store.
//!
//! Promises: a path that begins with `/` counts from the top of the store, any other from the table's directory. What lies in another
//! store, for which the table's credentials say nothing, is refused.

use super::features;
use crate::lake::store::Dir;
use crate::model::Result;

/// A path of the log, decoded: relative to the table where it is below it, else from the top of the store.
pub(super) fn within(dir: &Dir, path: &str, what: &str) -> Result<String> {
    let Some((store, path)) = split(path) else { return Ok(path.to_owned()) };
    let refused = || features::outside(what, &dir.place());
    let location = dir.location();
    let (scheme, authority) = store.unwrap_or((location.scheme().name(), location.authority()));
    let same_store = match location.is_local() {
        true => scheme == "file" && matches!(authority, "" | "localhost"),
        false => ours(scheme) == ours(location.scheme().name()) && authority == location.authority(),
    };
    // The first of a location's segments may name the store itself.
    let prefix = dir.prefix().parts().count();
    let of_store = &location.segments()[..location.segments().len().saturating_sub(prefix)];
    let mut path = path;
    for segment in of_store {
        path = path.strip_prefix(segment.as_str()).and_then(|rest| rest.strip_prefix('/')).ok_or_else(refused)?;
    }
    if !same_store || path.is_empty() {
        return Err(refused());
    }
    let table = dir.prefix().as_ref();
    Ok(match path.strip_prefix(table).map(|rest| (rest, rest.strip_prefix('/'))) {
        Some((_, Some(below))) => below.to_owned(),
        Some((below, None)) if table.is_empty() => below.to_owned(),
        _ => format!("/{path}"),
    })
}

/// The directory from which a path counts, and the path from there.
pub(super) fn reach<'a>(dir: &Dir, path: &'a str) -> (Dir, &'a str) {
    match path.strip_prefix('/') {
        Some(path) => (dir.top(), path),
        None => (dir.clone(), path),
    }
}

/// Where that is, as text for messages.
pub(super) fn place_of(dir: &Dir, path: &str) -> String {
    let (dir, path) = reach(dir, path);
    dir.place_of(path)
}

type Store<'a> = Option<(&'a str, &'a str)>;

/// What a whole URL or path names: the store, where it says so, and the path from its top. None for a relative path.
fn split(path: &str) -> Option<(Store<'_>, &str)> {
    if let Some(path) = path.strip_prefix('/') {
        return Some((None, path));
    }
    let (scheme, rest) = path.split_once(":/")?;
    if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    Some(match rest.strip_prefix('/') {
        Some(rest) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            (Some((scheme, authority)), path)
        }
        // Some writers put one slash before a local path.
        None => (Some((scheme, "")), rest),
    })
}

/// Schemes of one meaning.
fn ours(scheme: &str) -> &str {
    match scheme {
        "abfs" => "abfss",
        "wasb" => "wasbs",
        "s3a" => "s3",
        "azure" => "az",
        other => other,
    }
}
