//! Arrays of NumPy as the command reads them: samples, labels, archives.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "what opens files and writes them")]
#[path = "../../cli/src/samples/npy.rs"]
mod npy;

/// As the command's, which the reader finds around it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) integers: bool,
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fuzz_target!(|bytes: &[u8]| {
    let _ = npy::read_labels(bytes);
    for (integers, shape) in [(false, vec![1, 2, 3]), (false, vec![]), (true, vec![2])] {
        let input = Wanted {
            name: "x".into(),
            shape,
            integers,
        };
        let arrays = [
            npy::read(bytes, &input),
            npy::read_archive(Cursor::new(bytes), &input),
        ];
        for array in arrays.into_iter().flatten() {
            for at in 0..array.len().min(4) {
                assert!(array.get(at).is_ok());
            }
        }
    }
});
