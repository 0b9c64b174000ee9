//! Reading a receipt: any bytes are refused or read, and what is read has one meaning.
#![no_main]

use counterfoil_proofs::{details, receipt::Receipt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = details::check_canonical(bytes);
    let Ok(receipt) = Receipt::parse(bytes) else { return };
    receipt.check();
    let again = Receipt::parse(receipt.to_json().as_bytes());
    assert_eq!(again, Ok(receipt), "written and read again it is another");
});
