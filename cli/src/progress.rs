//! Progress on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over so many samples.
pub(crate) fn bar(message: &'static str, count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64).with_message(message);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} samples, {elapsed}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}
