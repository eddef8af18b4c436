//! QR codes in a terminal.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// White on black, whatever the terminal's own colours are.
const WHITE_ON_BLACK: &str = "\u{1b}[97;40m";
const OWN_COLOURS: &str = "\u{1b}[0m";

/// The code as lines of half blocks. The drawn blocks are the light modules, so that it can be
/// scanned where text is light on dark; `coloured` makes that so on any terminal. `None` if the
/// bytes do not fit a QR code.
pub(crate) fn render(bytes: &[u8], coloured: bool) -> Option<String> {
    let code = QrCode::new(bytes).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    if !coloured {
        return Some(drawn);
    }
    let lines = drawn.lines().map(|line| format!("{WHITE_ON_BLACK}{line}{OWN_COLOURS}"));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_fits_and_too_much_does_not() {
        let link = format!("undertone://i/#{}", "A".repeat(200));
        let drawn = render(link.as_bytes(), false).unwrap_or_default();
        assert!(drawn.lines().count() > 20);
        assert!(drawn.lines().all(|line| line.chars().count() < 80));
        assert_eq!(render(&[0; 4000], true), None);
    }
}
