//! Contents: any bytes as they stand in an envelope that opened.

use undertone_session::content::{Body, Content};

/// What is read says the same when it is written and read again, and takes no more room than it came
/// with: nothing is made out of a claimed length.
pub fn content(data: &[u8]) {
    let Ok(read) = Content::decode(data) else { return };
    if let Body::Text(text) = &read.body {
        assert!(text.len() <= data.len());
    }
    let written = read.encode().unwrap();
    assert_eq!(written.as_slice(), data, "a second spelling");
    assert_eq!(Content::decode(&written).unwrap(), read);
}
