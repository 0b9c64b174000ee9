//! Recording sales: what is answered, what is stored.

use crate::harness::{App, sale};

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_answered_and_stored() {
    let app = App::start().await;
    let answer = app.admin.record("k-1", &sale("A-1")).await.expect(201);
    let body = answer.json();
    assert_eq!(body["seq"], 1);
    assert_eq!(
        answer.header("location"),
        format!("/v1/sales/{}", body["sale_id"].as_str().unwrap())
    );
}
