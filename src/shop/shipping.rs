//! Where an order's pieces are to be sent. Kept with the order (and the kept answers that show it), and shown to its
//! customer and to those who sell; not in the record of sales, which never forgets, nor in events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::codes;
use crate::http::object::{Field, Object, Read, Shape};
use crate::http::problem::Fault;
use crate::limits;

/// To whom and where an order goes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Ada Byron", "address": {"line1": "12 St James's Square", "city": "London", "country": "GB"}
}))]
pub struct Shipping {
    /// To whom, at most 200 characters.
    pub name: String,
    /// For the carrier, at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub phone: Option<String>,
    /// Where.
    #[schema(value_type = Address)]
    pub address: Object<Address>,
}

/// A postal address. Texts of at most 200 characters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Street and number, or a box.
    pub line1: String,
    /// Floor, building, company.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub line2: Option<String>,
    /// City or town.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub city: Option<String>,
    /// State, county or province.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub state: Option<String>,
    /// The postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub postal_code: Option<String>,
    /// Two capital letters of ISO 3166-1.
    #[schema(example = "GB")]
    pub country: String,
}

/// The shape of [`Shipping`].
pub(super) static SHIPPING: &[Field] = &[
    Field::required("name", Shape::Text),
    Field::optional("phone", Shape::Text),
    Field::required("address", Shape::Object(ADDRESS)),
];

static ADDRESS: &[Field] = &[
    Field::required("line1", Shape::Text),
    Field::optional("line2", Shape::Text),
    Field::optional("city", Shape::Text),
    Field::optional("state", Shape::Text),
    Field::optional("postal_code", Shape::Text),
    Field::required("country", Shape::Text),
];

/// Names what is wrong with it, as the field `shipping` of a request.
pub(super) fn judge<T>(read: &mut Read<T>, shipping: &Shipping) {
    let Shipping {
        name,
        phone,
        address: Object(address),
    } = shipping;
    let texts = [
        ("name", Some(name), limits::NAME_CHARS),
        ("phone", phone.as_ref(), limits::SHORT_TEXT_CHARS),
        ("address/line1", Some(&address.line1), limits::NAME_CHARS),
        ("address/line2", address.line2.as_ref(), limits::NAME_CHARS),
        ("address/city", address.city.as_ref(), limits::NAME_CHARS),
        ("address/state", address.state.as_ref(), limits::NAME_CHARS),
        (
            "address/postal_code",
            address.postal_code.as_ref(),
            limits::NAME_CHARS,
        ),
    ];
    for (field, text, most) in texts {
        let Some(text) = text else { continue };
        let at = format!("/shipping/{field}");
        if let Some(fault) = Fault::of_text(&at, text, most) {
            read.add(fault);
        } else if text.trim().is_empty() {
            let detail = "write something, or leave out what may be left out";
            read.add(Fault::new(at, &codes::TEXT_EMPTY, detail));
        }
    }
    let country = address.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        let detail = "two capital letters of ISO 3166-1, such as GB";
        let at = "/shipping/address/country";
        read.add(Fault::new(at, &codes::COUNTRY_INVALID, detail));
    }
}
