pub(super) fn make(_: &mut super::Files) {}
