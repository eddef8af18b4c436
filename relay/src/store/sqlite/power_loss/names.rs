//! What is removed because a copy is there: the copy's name is on stable storage before.

use std::path::Path;

use undertone_wire::Day;

use super::disk::Operation;
use super::{recorded, scratch};
use crate::operator::{Layout, Source, backup, restore, root};
use crate::store::sqlite::SqliteStore;

#[test]
#[ignore = "the child of the other test; alone it does nothing"]
fn the_child_that_moves_root_keys() {
    let Some(at) = std::env::var_os("UNDERTONE_TEST_CHILD") else { return };
    let at = Path::new(&at);
    for name in ["one", "two"] {
        let directory = at.join(name);
        std::fs::create_dir(&directory).unwrap();
        root::create(&directory.join("root.key")).unwrap();
        std::fs::create_dir(at.join(format!("copies-{name}"))).unwrap();
    }
    let now = 20_000 * 86_400;
    root::export(&at.join("one"), &at.join("copies-one/root.key"), Some(30), now).unwrap();
    root::rotate(&at.join("two"), Some(&at.join("copies-two/root.key"))).unwrap();
}

#[test]
fn a_root_key_s_copy_has_its_name_before_the_key_goes() {
    let directory = scratch();
    let operations = recorded(directory.path(), "names::the_child_that_moves_root_keys", false);
    let at = |what: &dyn Fn(&Operation) -> bool| operations.iter().position(what).unwrap();
    for (name, goes) in [
        ("one", at(&|o| matches!(o, Operation::Unlink { path } if path == "one/root.key"))),
        ("two", at(&|o| matches!(o, Operation::Rename { to, .. } if to == "two/root.key"))),
    ] {
        let copies = format!("copies-{name}");
        let copy = format!("{copies}/root.key");
        let made = at(&|o| matches!(o, Operation::Create { path } if *path == copy));
        let named = operations[made..goes]
            .iter()
            .any(|o| matches!(o, Operation::SyncDirectory { path } if *path == copies));
        assert!(named, "{name}: the copy may have no name");
    }
}

#[test]
#[ignore = "the child of the other test; alone it does nothing"]
fn the_child_that_backs_up_and_restores() {
    let Some(at) = std::env::var_os("UNDERTONE_TEST_CHILD") else { return };
    let at = Path::new(&at);
    let old = at.join("old");
    let layout = Layout::new(&old);
    std::fs::create_dir_all(layout.store()).unwrap();
    std::fs::create_dir_all(layout.blobs()).unwrap();
    root::create(&layout.root_key()).unwrap();
    drop(SqliteStore::open(&layout.store(), 30).unwrap());
    let (to, today) = (at.join("far/away/backup"), Day::new(20_000));
    backup(&old, &to, today).unwrap();
    restore(&Source::whole(&to), &at.join("new/relay"), today).unwrap();
}

#[test]
fn what_a_backup_and_a_restore_make_has_names_that_last() {
    let directory = scratch();
    let operations =
        recorded(directory.path(), "names::the_child_that_backs_up_and_restores", false);
    for parent in ["", "far", "far/away", "far/away/backup", "far/away/backup/data", "new"] {
        let synced =
            |o: &Operation| matches!(o, Operation::SyncDirectory { path } if path == parent);
        assert!(operations.iter().any(synced), "what was made in {parent:?} may be gone");
    }
    // While this is there no relay starts, so it is there before anything else is.
    let at = |what: &dyn Fn(&Operation) -> bool| operations.iter().position(what).unwrap();
    let marked = at(&|o| matches!(o, Operation::SyncDirectory { path } if path == "new/relay"));
    let first = at(&|o| matches!(o, Operation::Create { path } if path.starts_with("new/relay/")));
    assert!(marked < first);
}
