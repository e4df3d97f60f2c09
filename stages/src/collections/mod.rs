//! Public collections as they are downloaded: where the scan of a series is, by names in tables and folders.
//!
//! Nothing here opens a scan, or knows what is done with it.

pub(crate) mod lidc;
pub(crate) mod luna16;

/// A path that is read against a folder, as tables write it; one that says where it begins is left as it is.
pub(crate) fn under(folder: &str, path: &str) -> String {
    match folder {
        _ if path.starts_with('/') => path.to_string(),
        "" => path.to_string(),
        folder if folder.ends_with('/') => format!("{folder}{path}"),
        folder => format!("{folder}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_put_before_a_path() {
        for (folder, expected) in [("", "a/b"), ("c", "c/a/b"), ("/c/d/", "/c/d/a/b"), ("/", "/a/b")] {
            assert_eq!(under(folder, "a/b"), expected);
        }
        assert_eq!(under("c", "/a/b"), "/a/b");
    }
}
