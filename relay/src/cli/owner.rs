//! Whose directory it is: what another user wrote into it the relay could not read or write.

use std::path::Path;

use super::Result;

/// Refuses to work in a directory that belongs to another user, root included: databases make files
/// beside them, which would be that user's.
#[cfg(unix)]
pub(super) fn check(directory: &Path) -> Result {
    use std::os::unix::fs::MetadataExt as _;
    // What is not there yet is whoever's makes it.
    let Ok(metadata) = std::fs::metadata(directory) else { return Ok(()) };
    let me = rustix::process::geteuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    match refusal(directory, metadata.uid(), me, &users) {
        Some(sentence) => Err(sentence.into()),
        None => Ok(()),
    }
}

/// Directories have no such owners here.
#[cfg(not(unix))]
pub(super) fn check(_: &Path) -> Result {
    Ok(())
}

/// What is said to one who is not the owner. `users` are lines as in passwd(5).
#[cfg(unix)]
fn refusal(directory: &Path, owner: u32, me: u32, users: &str) -> Option<String> {
    if owner == me {
        return None;
    }
    let id = owner.to_string();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then_some(name)
    });
    let name = named.map_or_else(|| format!("'#{id}'"), str::to_owned);
    let shown = directory.display();
    Some(format!(
        "{shown} belongs to another user, whose relay could not use what is written there by this one; use `sudo -u {name} undertone-relay …`"
    ))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn somebody_else_is_told_whose_it_is() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nundertone-relay:x:103:109::/nonexistent:/bin/no\n";
        let refusal = |owner, me| refusal(Path::new("/var/lib/relay"), owner, me, users);
        assert_eq!(refusal(103, 103), None);
        assert!(refusal(103, 0).unwrap().contains("sudo -u undertone-relay undertone-relay"));
        assert!(refusal(7, 0).unwrap().contains("sudo -u '#7' "));
        // One's own, and one that is not there.
        check(tempfile::tempdir().unwrap().path()).unwrap();
        check(Path::new("/nowhere/at/all")).unwrap();
    }
}
