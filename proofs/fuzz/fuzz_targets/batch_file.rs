//! Reading a batch file: any bytes are refused or read, and what is read has one meaning.
#![no_main]

use counterfoil_proofs::manifest::BatchFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = BatchFile::parse(bytes) else { return };
    let _ = file.check();
    let again = BatchFile::parse(file.to_json().as_bytes());
    assert_eq!(again, Ok(file), "written and read again it is another");
});
