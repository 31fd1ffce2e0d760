//! What texts may be, for the document: as the server refuses what they are not. Lengths of a schema are characters; where the server counts octets
//! the description says so.
//! Not here: what cannot be said of a text alone (whether a time is over, whose an address is).

use schemars::{Schema, SchemaGenerator, json_schema};

/// Without control characters.
pub(super) const ONE_LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// Without NUL.
pub(super) const NO_NUL: &str = r"^[^\x00]*$";
/// Printable ASCII.
pub(super) const ASCII: &str = "^[ -~]*$";
/// RFC 5322 2.2: the name of a field.
pub(super) const FIELD_NAME: &str = "^[!-9;-~]+$";
/// With its angle brackets.
pub(super) const MESSAGE_ID: &str = "^<[ -~]+>$";
/// RFC 4648 4; breaks of lines are taken too, wherever they stand.
pub(super) const BASE64: &str = r"^[\r\n]*(([A-Za-z0-9+/][\r\n]*){4})*([A-Za-z0-9+/][\r\n]*[AQgw][\r\n]*=[\r\n]*=[\r\n]*|([A-Za-z0-9+/][\r\n]*){2}[AEIMQUYcgkosw048][\r\n]*=[\r\n]*)?$";
/// RFC 4648 5: a signature of 32 octets, and a place.
pub(super) const CURSOR: &str = "^[A-Za-z0-9_-]{43,}$";
/// The name of a template.
pub(super) const TEMPLATE_NAME: &str = "^[A-Za-z0-9._-]+$";
/// The same without `.` and `..`.
const NEW_TEMPLATE_NAME: &str = r"^([A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*|\.{3,})$";
/// With a host.
pub(super) const URL: &str = "^https?://[!-.0-~]";
/// The number of a key.
const KEY_ID: &str = "^[0-9a-f]{16}$";
/// The largest number of the queue: 53 bits, which every program can read from JSON.
const QUEUE_ID_MAX: u64 = (1 << 53) - 1;

/// An e-mail address, of any letters. RFC 6531, 5890.
pub(super) fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "idn-email", "maxLength": 320})
}

/// Addresses and domains.
pub(super) fn senders(_: &mut SchemaGenerator) -> Schema {
    let sender = json_schema!({
        "type": "string", "minLength": 1, "maxLength": 320,
        "anyOf": [{"format": "idn-email"}, {"format": "idn-hostname"}],
    });
    json_schema!({"type": "array", "maxItems": 100, "items": sender, "default": []})
}

/// The number of a recipient, or of a batch.
pub(super) fn queue_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": QUEUE_ID_MAX})
}

/// The number of a webhook.
pub(super) fn webhook_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
}

/// The number of a delivery.
pub(super) fn delivery_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": u64::MAX})
}

/// The `id` of a key.
pub(super) fn key_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": KEY_ID})
}

/// A request's key of its own.
pub(super) fn idempotency_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"})
}

/// The name of a template that is written.
pub(super) fn new_template_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 100, "pattern": NEW_TEMPLATE_NAME})
}

/// The name of a template.
pub(super) fn template_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 100, "pattern": TEMPLATE_NAME})
}

/// The Date of a message: from 1900 on, which no zone moves into the year before. RFC 5322 3.3.
pub(super) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "format": "date-time", "pattern": "^(19|[2-9][0-9])[0-9]{2}-"})
}

/// What is kept with a message. The server counts octets, of which there may be more than characters.
pub(super) fn metadata(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 1000,
        "propertyNames": {"maxLength": 16384},
        "additionalProperties": {"type": "string", "maxLength": 16384},
    })
}

/// Of the queue: where those in it may stand.
pub(super) fn queue_state(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "enum": ["waiting", "held", "delivered", "failed", "dropped", null]})
}
