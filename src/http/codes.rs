//! Every error code of the interface: its status, its title, whether the same request may succeed
//! later, and the text of its page.

use axum::http::StatusCode;

/// One error code; the stable part of an error.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// What callers switch on.
    pub name: &'static str,
    /// The HTTP status it comes with.
    pub status: StatusCode,
    /// A short sentence, the same every time.
    pub title: &'static str,
    /// Whether sending the same request again may succeed.
    pub retryable: bool,
    /// What to do about it.
    pub advice: &'static str,
}

/// The code with this name.
pub fn find(name: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.name == name)
}

const NEVER: bool = false;
const LATER: bool = true;

macro_rules! codes {
    ($($ident:ident $name:literal $status:ident $retryable:ident $title:literal $advice:literal)*) => {
        $(
            #[doc = $title]
            pub static $ident: Code = Code {
                name: $name,
                status: StatusCode::$status,
                title: $title,
                retryable: $retryable,
                advice: $advice,
            };
        )*

        /// All of them.
        pub static ALL: &[&Code] = &[$(&$ident),*];
    };
}

codes! {
    // 400: the request is not of the interface's shape
    INVALID_JSON "invalid_json" BAD_REQUEST NEVER "The body is not JSON"
        "Send one JSON document in UTF-8. The detail names the line and column where reading stopped."
    BODY_INCOMPLETE "body_incomplete" BAD_REQUEST LATER "The body ended early"
        "The connection closed before the whole body arrived; nothing was done. Send it again."
    REQUEST_MALFORMED "request_malformed" BAD_REQUEST NEVER "Several parts of the request have the wrong shape"
        "`errors` names each with a JSON pointer and a code of its own."
    WRONG_TYPE "wrong_type" BAD_REQUEST NEVER "A value has the wrong JSON type"
        "The pointer names the value and the detail the type that belongs there."
    UNKNOWN_FIELD "unknown_field" BAD_REQUEST NEVER "The request has a field that does not exist"
        "Check the spelling against the API's description; fields are never ignored."
    REPEATED_FIELD "repeated_field" BAD_REQUEST NEVER "A field stands twice in one object"
        "JSON leaves open which one counts, so neither does. Send it once."
    MISSING_FIELD "missing_field" BAD_REQUEST NEVER "A required field is missing"
        "The pointer names the field."
    INVALID_TEXT "invalid_text" BAD_REQUEST NEVER "A text is not valid Unicode"
        "A lone surrogate such as \\ud800 stands for no character."
    MONEY_MUST_BE_STRING "money_must_be_string" BAD_REQUEST NEVER "Money must be a decimal string"
        "Send \"1500.75\", not 1500.75: a JSON number loses digits on the way through most programs."
    QUANTITY_NOT_INTEGER "quantity_not_integer" BAD_REQUEST NEVER "A quantity is a number with a fraction or exponent"
        "A quantity is an integer or a decimal string: 3 or \"0.250\"."
    INVALID_PARAMETER "invalid_parameter" BAD_REQUEST NEVER "A parameter of the address is wrong"
        "The detail names it and what belongs there."
    IDEMPOTENCY_KEY_MISSING "idempotency_key_missing" BAD_REQUEST NEVER "The Idempotency-Key is missing"
        "Send an Idempotency-Key, best a UUID v4 made once a sale and kept for its retries."
    IDEMPOTENCY_KEY_INVALID "idempotency_key_invalid" BAD_REQUEST NEVER "The Idempotency-Key is not usable"
        "1 to 255 visible ASCII characters, bare or as a quoted string, in one header."
    IDEMPOTENCY_KEY_DIFFERS "idempotency_key_differs" BAD_REQUEST NEVER "The body and the header name different keys"
        "Leave idempotency_key out of the body, or send the header's value there."
    // 401 to 415
    UNAUTHENTICATED "unauthenticated" UNAUTHORIZED NEVER "No valid key came with the request"
        "Send Authorization: Bearer cf_live_… or cf_test_…. The key may be mistyped, expired or revoked."
    FORBIDDEN "forbidden" FORBIDDEN NEVER "The caller's role does not allow this"
        "pos records and reads what it names, auditor reads, admin does all of its merchant, customer buys."
    NOT_FOUND "not_found" NOT_FOUND NEVER "There is no such thing, or it is not yours"
        "Check the address and the id. What belongs to another merchant looks the same as what does not exist."
    METHOD_NOT_ALLOWED "method_not_allowed" METHOD_NOT_ALLOWED NEVER "The address exists, the method does not"
        "The Allow header lists the methods."
    BODY_TOO_LARGE "body_too_large" PAYLOAD_TOO_LARGE NEVER "The body is too large"
        "1 MiB; 8 MiB for POST /v1/sales:batch. Nothing was done."
    UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE NEVER "The body is not declared as JSON"
        "Send Content-Type: application/json."
    // 409
    IDEMPOTENCY_IN_FLIGHT "idempotency_in_flight" CONFLICT LATER "The first request with this key is still running"
        "Wait a second and send the same request again; it will get the first one's answer."
    ORDER_EXISTS "order_exists" CONFLICT NEVER "The order id belongs to another sale"
        "`meta.sale_id` is the sale that has it. Order ids are unique within a merchant, for ever."
    LAST_ADMIN_KEY "last_admin_key" CONFLICT NEVER "It is the last administrator's key"
        "Nobody could issue a key any more. Issue another key of the role admin, then revoke this one with it."
    TOO_MANY_API_KEYS "too_many_api_keys" CONFLICT NEVER "Too many keys work already"
        "1,000 keys of a merchant may work at a time. List them and revoke those that nobody uses, or let keys expire."
    // 422: of the right shape, but out of bounds or meaningless
    REQUEST_INVALID "request_invalid" UNPROCESSABLE_ENTITY NEVER "Several parts of the request are out of bounds"
        "`errors` names each with a JSON pointer and a code of its own."
    IDEMPOTENCY_KEY_REUSED "idempotency_key_reused" UNPROCESSABLE_ENTITY NEVER "The key was used with another request"
        "A key belongs to one request for ever. Make a new one for a new sale; retry with the body unchanged."
    ORDER_ID_INVALID "order_id_invalid" UNPROCESSABLE_ENTITY NEVER "The order id is not usable"
        "1 to 64 visible ASCII characters without quotation mark and backslash, and not . or .. alone."
    KIND_UNKNOWN "kind_unknown" UNPROCESSABLE_ENTITY NEVER "There is no such kind"
        "A record is a sale or a refund."
    CURRENCY_UNKNOWN "currency_unknown" UNPROCESSABLE_ENTITY NEVER "There is no such currency"
        "Three upper-case letters of ISO 4217, with a minor unit."
    MONEY_MALFORMED "money_malformed" UNPROCESSABLE_ENTITY NEVER "The text is not a plain decimal"
        "Digits, then at most a point and digits: no sign, exponent, space, separator or leading zero."
    MONEY_NEGATIVE "money_negative" UNPROCESSABLE_ENTITY NEVER "The number is negative"
        "Amounts, prices and quantities are never negative: what goes back to the customer is a refund."
    MONEY_TOO_MANY_DECIMALS "money_too_many_decimals" UNPROCESSABLE_ENTITY NEVER "The number has too many decimals"
        "An amount has at most the decimals of its currency, a price or quantity at most six. Nothing is rounded."
    MONEY_TOO_LARGE "money_too_large" UNPROCESSABLE_ENTITY NEVER "The number is too large"
        "An amount is at most 10^15 minor units; a price or quantity has at most 12 digits before the point."
    REFERS_TO_INVALID "refers_to_invalid" UNPROCESSABLE_ENTITY NEVER "refers_to is no order id and no sale id"
        "Only a refund has it; it names the sale by its order id or its sale id."
    REFUND_SALE_UNKNOWN "refund_sale_unknown" UNPROCESSABLE_ENTITY LATER "The sale to refund is not known"
        "No sale of this merchant has that id. If it is still on its way here, retry after it; a refund may also stand alone, without refers_to."
    REFUND_OF_REFUND "refund_of_refund" UNPROCESSABLE_ENTITY NEVER "A refund cannot be refunded"
        "refers_to must name a sale. Record a new sale to take a refund back."
    REFUND_CURRENCY "refund_currency" UNPROCESSABLE_ENTITY NEVER "The refund is in another currency than its sale"
        "Refund in the currency of the sale."
    REFUND_EXCEEDS "refund_exceeds" UNPROCESSABLE_ENTITY NEVER "The refund is larger than what is left of the sale"
        "`meta.left` is what is left. All refunds of a sale together never exceed it."
    ADDRESS_INVALID "address_invalid" UNPROCESSABLE_ENTITY NEVER "The customer's address is not an account address"
        "0x and 40 hexadecimal digits, in one case or with the checksum of EIP-55; not the zero address."
    TIME_INVALID "time_invalid" UNPROCESSABLE_ENTITY NEVER "The time is not usable"
        "RFC 3339 with an offset, such as 2026-01-31T10:00:00Z, from 1970 on."
    TIME_IN_FUTURE "time_in_future" UNPROCESSABLE_ENTITY NEVER "sold_at lies too far ahead"
        "At most 24 hours ahead of our clock. Check the till's clock and time zone."
    TIME_OVER "time_over" UNPROCESSABLE_ENTITY NEVER "The time is over"
        "A time after which something ends has to lie ahead of our clock."
    ROLE_UNKNOWN "role_unknown" UNPROCESSABLE_ENTITY NEVER "There is no such role"
        "pos records and reads what it names, auditor reads, admin does all of its merchant."
    TEXT_TOO_LONG "text_too_long" UNPROCESSABLE_ENTITY NEVER "A text is too long"
        "The detail names the bound, in characters."
    TEXT_EMPTY "text_empty" UNPROCESSABLE_ENTITY NEVER "A text is empty where one is needed"
        "Leave an optional field out instead of sending it empty."
    TEXT_HAS_NUL "text_has_nul" UNPROCESSABLE_ENTITY NEVER "A text holds the character U+0000"
        "No text may."
    TOO_MANY_LINES "too_many_lines" UNPROCESSABLE_ENTITY NEVER "The sale has too many lines"
        "At most 2,000 lines and 100 payments."
    TOO_MANY_KEYS "too_many_keys" UNPROCESSABLE_ENTITY NEVER "metadata has too many keys"
        "At most 50 keys of 40 characters, with values of 500."
    DETAILS_TOO_LARGE "details_too_large" UNPROCESSABLE_ENTITY NEVER "The sale's details are too large"
        "Lines, payments, metadata and the rest have at most 2 MiB as they are hashed; a receipt could not be read otherwise. Record a very long invoice in parts."
    TOO_MANY_ITEMS "too_many_items" UNPROCESSABLE_ENTITY NEVER "The batch has too many items"
        "1 to 500 items."
    // 429
    RATE_LIMITED "rate_limited" TOO_MANY_REQUESTS LATER "Too many requests a second"
        "Nothing was done. Wait as Retry-After says and send it again; RateLimit-Policy names the limit, and RateLimit what is left of it. Many sales go in one POST /v1/sales:batch."
    // 5xx: ours
    INTERNAL "internal" INTERNAL_SERVER_ERROR LATER "Something went wrong on our side"
        "It was logged under the request id. The request may be sent again with the same key."
    SELF_CHECK_FAILED "self_check_failed" INTERNAL_SERVER_ERROR NEVER "The stored proof does not verify"
        "It was not served, and an alarm was raised. Tell the operator the request id."
    DATABASE_UNAVAILABLE "database_unavailable" SERVICE_UNAVAILABLE LATER "The database does not answer"
        "Whether the write happened is open: send the same request with the same key again, and it happens once."
    DATABASE_IN_DOUBT "database_in_doubt" SERVICE_UNAVAILABLE LATER "The database may have lost sales, so none are recorded"
        "Nothing was done. It was restored or failed over, and the operator has to say what was lost before numbers are given out again. Keep the sale and send it again with its key."
    ARCHIVE_UNAVAILABLE "archive_unavailable" SERVICE_UNAVAILABLE LATER "The sale is archived, and its archive cannot be read"
        "It is recorded and its receipt is whole. The operator has to give this server the directory of archives."
    OVERLOADED "overloaded" SERVICE_UNAVAILABLE LATER "Too many requests are being worked on"
        "Nothing was done. Wait as Retry-After says and send it again."
    TIMEOUT "timeout" SERVICE_UNAVAILABLE LATER "The request took too long"
        "Whether the write happened is open: send the same request with the same key again, and it happens once."
}
