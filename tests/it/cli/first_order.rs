//! The script of README's first order is run as it stands.

use std::process::Stdio;

use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_a_first_order_ends_with_a_receipt_that_is_valid() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/first-order.sh");
    let ended = Command::new(script)
        .env("COUNTERFOIL", env!("CARGO_BIN_EXE_counterfoil"))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the script");
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{complained}");
    for told in [
        "is PAID; it is sale sale_",
        "\nVALID\n",
        "can prove it to anybody",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}
