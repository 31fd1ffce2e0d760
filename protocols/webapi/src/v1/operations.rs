//! All operations: the router finds them here, and the document lists them. What one does is said where they are handled, by its [`Op`].

use percent_encoding::percent_decode_str;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::account::Account;
use super::batch::{BatchAccepted, BatchCancelled, BatchState, Batches, NewBatch};
use super::key::{Keys, MadeKey, NewKey};
use super::message::{NewMessage, SentMessage};
use super::operation::{Access, Answer, Files, Named, Operation, Takes, Verb, of, whole};
use super::problem::Kind;
use super::recipient::{ActionDone, Happenings, QueueAction, Recipient, Recipients, Selection};
use super::schema;
use super::scope::Scope;
use super::suppression::{Page, PutSuppression, Suppression, Suppressions};
use super::template::{PutTemplate, Template, Templates};
use super::webhook::{
    CallResult, Deliveries, Delivery, DeliverySelection, DeliveryWithPayload, PutWebhook,
    RotateSecret, Webhook, WebhookWithSecret, Webhooks,
};

/// An operation's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The documentation.
    Page,
    /// The document.
    Document,
    /// What a kind of problem is.
    Problem,
    /// Who asks.
    Account,
    /// The keys of the account.
    Keys,
    /// A key is made.
    MakeKey,
    /// A key is removed.
    DeleteKey,
    /// A message is sent.
    Send,
    /// Recipients of messages.
    Messages,
    /// One of them.
    Message,
    /// What happened to one, in order.
    Happenings,
    /// Those in the queue.
    Queue,
    /// Something is done to all of those that fit.
    ChangeQueue,
    /// To one of them: it is held.
    Hold,
    /// It is released.
    Release,
    /// It is tried now.
    Kick,
    /// It is taken out.
    Drop,
    /// A batch is sent.
    PostBatch,
    /// The batches of the account.
    Batches,
    /// How far one is.
    Batch,
    /// What waits of one is dropped.
    CancelBatch,
    /// The templates of the account.
    Templates,
    /// One of them.
    Template,
    /// One is written.
    PutTemplate,
    /// One is removed.
    DeleteTemplate,
    /// The suppression list.
    Suppressions,
    /// One of it.
    Suppression,
    /// An address is put on it.
    PutSuppression,
    /// An address is taken off it.
    DeleteSuppression,
    /// The webhooks of the account.
    Webhooks,
    /// One of them.
    Webhook,
    /// One is made.
    MakeWebhook,
    /// One becomes another.
    PutWebhook,
    /// One is removed.
    DeleteWebhook,
    /// One is switched on.
    EnableWebhook,
    /// One is switched off.
    DisableWebhook,
    /// One gets another secret.
    RotateSecret,
    /// One is called with an event that did not happen.
    TestWebhook,
    /// What is sent to webhooks.
    Deliveries,
    /// One of these.
    Delivery,
    /// One is sent once more.
    Redeliver,
    /// One that waits is given up.
    CancelDelivery,
}

/// All of them, group by group.
pub const ALL: &[&[Operation]] = &[
    GENERAL,
    KEYS,
    MESSAGES,
    TEMPLATES,
    BATCHES,
    QUEUE,
    SUPPRESSIONS,
    WEBHOOKS,
    DELIVERIES,
];

/// Every one.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    ALL.iter().copied().flatten()
}

const GENERAL: &[Operation] = &[
    Operation {
        group: "General",
        summary: "This documentation",
        answers: &[Answer {
            status: 200,
            about: "A page for people.",
            schema: None,
            content_type: "text/html",
        }],
        ..Operation::new(Op::Page, Verb::Get, "/", "documentation")
    },
    Operation {
        group: "General",
        summary: "This API as an OpenAPI 3.1 document",
        answers: &[Answer::json(
            "The document.",
            of::<serde_json::Map<String, serde_json::Value>>,
        )],
        ..Operation::new(Op::Document, Verb::Get, "/openapi.json", "openapi")
    },
    Operation {
        group: "General",
        summary: "What a kind of problem means",
        about: "The `type` of a problem leads here, and from here to its place in the documentation.",
        path_parameters: &[Named {
            name: "kind",
            about: "The last segment of the problem's `type`.",
            schema: problem_word,
        }],
        answers: &[Answer {
            status: 303,
            ..Answer::nothing("It is told at the address that the field Location names.")
        }],
        ..Operation::new(Op::Problem, Verb::Get, "/problems/{kind}", "problem")
    },
    Operation {
        group: "General",
        summary: "Who asks, what that login may do, and how much the account may send",
        access: Access::Login,
        answers: &[Answer::json(
            "The account, its scopes and its limits.",
            of::<Account>,
        )],
        ..Operation::new(Op::Account, Verb::Get, "/account", "getAccount")
    },
];

fn problem_word(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = Kind::ALL.into_iter().map(Kind::word).collect();
    json_schema!({"type": "string", "enum": words})
}

/// Of the queue's recipients: none can stand where these are over.
fn queue_selection(generator: &mut SchemaGenerator) -> Schema {
    let mut selection = whole::<Selection>(generator);
    if let Some(state) = selection.pointer_mut("/properties/state") {
        let about = state["description"].take();
        *state = schema::queue_state(generator).into();
        state["description"] = about;
    }
    selection
}

const KEY: Operation = Operation {
    group: "Keys",
    access: Access::Scope(Scope::Admin),
    ..Operation::new(Op::Keys, Verb::Get, "/keys", "listKeys")
};

const KEYS: &[Operation] = &[
    Operation {
        summary: "The keys of the account",
        answers: &[Answer::json(
            "All of them, without their secrets.",
            of::<Keys>,
        )],
        ..KEY
    },
    Operation {
        summary: "Make a key",
        about: "A key makes only keys that may do no more than itself.",
        takes: Takes::Json(of::<NewKey>),
        answers: &[Answer::created("The key, with its text.", of::<MadeKey>)],
        problems: &[Kind::LimitReached],
        op: Op::MakeKey,
        verb: Verb::Post,
        id: "makeKey",
        ..KEY
    },
    Operation {
        summary: "Remove a key",
        about: "It logs nobody in when this is answered.",
        path_parameters: &[Named {
            name: "id",
            about: "The `id` of a key.",
            schema: schema::key_id,
        }],
        answers: &[Answer::nothing("It is gone.")],
        op: Op::DeleteKey,
        verb: Verb::Delete,
        path: "/keys/{id}",
        id: "deleteKey",
        ..KEY
    },
];

/// The parts of a message's form.
const MESSAGE_FORM: Files = Files {
    json: "message",
    files: &[
        ("attachment", "Files that go with the message."),
        (
            "inline",
            "Files that its HTML shows, by the Content-ID of their parts.",
        ),
    ],
};

/// Those of a batch's.
const BATCH_FORM: Files = Files {
    json: "batch",
    files: &[
        ("attachment", "Files that go with each message."),
        (
            "inline",
            "Files that the HTML of each shows, by the Content-ID of their parts.",
        ),
    ],
};

const RECIPIENT_ID: &[Named] = &[Named {
    name: "id",
    about: "The number of a recipient, as the answer to a sent message has it.",
    schema: schema::queue_id,
}];

const MESSAGE: Operation = Operation {
    group: "Messages",
    access: Access::Scope(Scope::Read),
    ..Operation::new(Op::Message, Verb::Get, "/messages/{id}", "getMessage")
};

const IDEMPOTENCY_KEY: &[Named] = &[Named {
    name: "Idempotency-Key",
    about: "1 to 255 characters of ASCII, chosen anew for each message or batch.",
    schema: schema::idempotency_key,
}];

const MESSAGES: &[Operation] = &[
    Operation {
        summary: "Send a message",
        about: "It is on disk with all its recipients, and with the copy if `save_sent` asks for one, when this is answered. \
            As `multipart/form-data` files need no base64. With the field `Idempotency-Key` a repeat within a day gets the same answer, with `Idempotent-Replayed: true`, \
            and nothing is sent twice, whatever became of the connection or the server in between.",
        access: Access::Scope(Scope::Send),
        headers: IDEMPOTENCY_KEY,
        takes: Takes::JsonOrFiles(of::<NewMessage>, MESSAGE_FORM),
        answers: &[Answer::json(
            "The message is on its way.",
            of::<SentMessage>,
        )],
        problems: &[
            Kind::SenderNotAllowed,
            Kind::IdempotencyConflict,
            Kind::NoRoom,
            Kind::MessageLimit,
            Kind::RecipientLimit,
            Kind::QueueFull,
            Kind::AboveLimit,
            Kind::OutcomeUnknown,
        ],
        op: Op::Send,
        verb: Verb::Post,
        path: "/messages",
        id: "sendMessage",
        ..MESSAGE
    },
    Operation {
        summary: "What became of messages",
        about: "Their recipients, one by one: first those in the queue, in its order, then those that are over, the oldest first, as long as the account keeps them (`keep_retired_secs`; by default nothing is kept).",
        query: Some(whole::<Selection>),
        answers: &[Answer::json("A page of them.", of::<Recipients>)],
        op: Op::Messages,
        path: "/messages",
        id: "listMessages",
        ..MESSAGE
    },
    Operation {
        summary: "What became of a message at one of its recipients",
        about: "As long as it is in the queue or the account keeps it (`keep_retired_secs`; by default nothing is kept: 404).",
        path_parameters: RECIPIENT_ID,
        answers: &[Answer::json("In the queue, or over.", of::<Recipient>)],
        ..MESSAGE
    },
    Operation {
        summary: "What happened to a message at one of its recipients",
        about: "Its acceptance, attempts, end, and reports that came back, as long as it is in the queue or the account keeps it (`keep_retired_secs`; by default nothing is kept: 404). Of many attempts and reports only some are kept: `not_kept` counts the others. With `next_cursor` of the last page it is asked for what is new.",
        path_parameters: RECIPIENT_ID,
        query: Some(whole::<Page>),
        answers: &[Answer::json("In their order.", of::<Happenings>)],
        op: Op::Happenings,
        path: "/messages/{id}/events",
        id: "listMessageEvents",
        ..MESSAGE
    },
];

const QUEUED: Operation = Operation {
    group: "Queue",
    access: Access::Scope(Scope::Send),
    path_parameters: RECIPIENT_ID,
    answers: &[Answer::json("As it is now.", of::<Recipient>)],
    ..Operation::new(Op::Hold, Verb::Post, "/queue/{id}/hold", "holdMessage")
};

const QUEUE: &[Operation] = &[
    Operation {
        summary: "The recipients in the queue",
        access: Access::Scope(Scope::Read),
        path_parameters: &[],
        query: Some(queue_selection),
        answers: &[Answer::json("A page of them.", of::<Recipients>)],
        op: Op::Queue,
        verb: Verb::Get,
        path: "/queue",
        id: "listQueue",
        ..QUEUED
    },
    Operation {
        summary: "Do something to all recipients in the queue that fit",
        about: "All that is said of them must be true; without a word of them it is done to all of the account. A request works for two seconds, about; if there is more to be done then, the answer says what was done so far and has a `next_cursor`: ask again with it, and with the rest as it was.",
        path_parameters: &[],
        takes: Takes::Json(of::<QueueAction>),
        answers: &[Answer::json("What was done.", of::<ActionDone>)],
        op: Op::ChangeQueue,
        path: "/queue/actions",
        id: "changeQueue",
        ..QUEUED
    },
    Operation {
        summary: "Hold a recipient: nothing is tried until it is released",
        ..QUEUED
    },
    Operation {
        summary: "Release a recipient that is held",
        op: Op::Release,
        path: "/queue/{id}/release",
        id: "releaseMessage",
        ..QUEUED
    },
    Operation {
        summary: "Try a recipient now",
        op: Op::Kick,
        path: "/queue/{id}/kick",
        id: "kickMessage",
        ..QUEUED
    },
    Operation {
        summary: "Take a recipient out of the queue: no report is sent, webhooks are told `canceled`",
        answers: &[Answer::nothing(
            "It is not sent; what was under way may have been.",
        )],
        op: Op::Drop,
        verb: Verb::Delete,
        path: "/queue/{id}",
        id: "dropMessage",
        ..QUEUED
    },
];

const BATCH: Operation = Operation {
    group: "Batches",
    access: Access::Scope(Scope::Read),
    path_parameters: &[Named {
        name: "id",
        about: "The number of a batch.",
        schema: schema::queue_id,
    }],
    ..Operation::new(Op::Batch, Verb::Get, "/batches/{id}", "getBatch")
};

const BATCHES: &[Operation] = &[
    Operation {
        summary: "Send one template to many recipients",
        about: "Each recipient gets a message of its own, made from the template and the recipient's data, and signed, when it is due. All of it is on disk when this is answered; a template that can't be read, or does not fit the data, is told with its field. What is wrong for a recipient alone fails that one later. Files go with each message, and are kept once; as `multipart/form-data` they need no base64. A repeat with the same `Idempotency-Key` has `data` and `defaults` octet for octet as they were.",
        access: Access::Scope(Scope::Send),
        path_parameters: &[],
        headers: IDEMPOTENCY_KEY,
        takes: Takes::JsonOrFiles(of::<NewBatch>, BATCH_FORM),
        answers: &[Answer::created("It is on disk.", of::<BatchAccepted>)],
        problems: &[
            Kind::SenderNotAllowed,
            Kind::IdempotencyConflict,
            Kind::MessageLimit,
            Kind::RecipientLimit,
            Kind::QueueFull,
            Kind::AboveLimit,
            Kind::OutcomeUnknown,
        ],
        op: Op::PostBatch,
        verb: Verb::Post,
        path: "/batches",
        id: "sendBatch",
        ..BATCH
    },
    Operation {
        summary: "The account's batches",
        about: "The latest first. A batch is kept for 30 days after its end at least.",
        path_parameters: &[],
        query: Some(whole::<Page>),
        answers: &[Answer::json("A page of them.", of::<Batches>)],
        op: Op::Batches,
        path: "/batches",
        id: "listBatches",
        ..BATCH
    },
    Operation {
        summary: "How far a batch is",
        answers: &[Answer::json(
            "What came of its recipients.",
            of::<BatchState>,
        )],
        ..BATCH
    },
    Operation {
        summary: "Drop what still waits of a batch",
        about: "Those that are being sent to may have the message still, and are counted apart. A repeat drops nothing more.",
        access: Access::Scope(Scope::Send),
        answers: &[Answer::json(
            "Nothing of it waits any more.",
            of::<BatchCancelled>,
        )],
        problems: &[Kind::OutcomeUnknown],
        op: Op::CancelBatch,
        verb: Verb::Post,
        path: "/batches/{id}/cancel",
        id: "cancelBatch",
        ..BATCH
    },
];

const TEMPLATE: Operation = Operation {
    group: "Templates",
    access: Access::Scope(Scope::Send),
    path_parameters: &[Named {
        name: "name",
        about: "1 to 100 letters of ASCII, digits, `-`, `_` and `.`.",
        schema: schema::template_name,
    }],
    problems: &[Kind::Invalid],
    ..Operation::new(Op::Template, Verb::Get, "/templates/{name}", "getTemplate")
};

const TEMPLATES: &[Operation] = &[
    Operation {
        summary: "The templates of the account",
        path_parameters: &[],
        problems: &[],
        answers: &[Answer::json("All of them.", of::<Templates>)],
        op: Op::Templates,
        path: "/templates",
        id: "listTemplates",
        ..TEMPLATE
    },
    Operation {
        summary: "What a template says",
        answers: &[Answer::json("The template.", of::<Template>)],
        ..TEMPLATE
    },
    Operation {
        summary: "Write a template",
        about: "What is wrong with one of its texts is told by field and line. All of it together has at most 256 KiB; an account has 100 templates at most.",
        path_parameters: &[Named {
            name: "name",
            about: "1 to 100 letters of ASCII, digits, `-`, `_` and `.`, but neither `.` nor `..`.",
            schema: schema::new_template_name,
        }],
        takes: Takes::Json(of::<PutTemplate>),
        answers: &[Answer::json("As it is kept.", of::<Template>)],
        problems: &[Kind::LimitReached],
        op: Op::PutTemplate,
        verb: Verb::Put,
        id: "putTemplate",
        ..TEMPLATE
    },
    Operation {
        summary: "Remove a template",
        answers: &[Answer::nothing("It is gone.")],
        op: Op::DeleteTemplate,
        verb: Verb::Delete,
        id: "deleteTemplate",
        ..TEMPLATE
    },
];

const SUPPRESSION: Operation = Operation {
    group: "Suppression list",
    access: Access::Scope(Scope::Suppression),
    path_parameters: &[Named {
        name: "address",
        about: "An e-mail address. All that stands for the same person is one: see `address` of a suppression.",
        schema: schema::address,
    }],
    problems: &[Kind::Invalid],
    ..Operation::new(
        Op::Suppression,
        Verb::Get,
        "/suppressions/{address}",
        "getSuppression",
    )
};

const SUPPRESSIONS: &[Operation] = &[
    Operation {
        summary: "The addresses that get nothing",
        path_parameters: &[],
        query: Some(whole::<Page>),
        answers: &[Answer::json("A page of the list.", of::<Suppressions>)],
        op: Op::Suppressions,
        path: "/suppressions",
        id: "listSuppressions",
        ..SUPPRESSION
    },
    Operation {
        summary: "Why an address gets nothing",
        answers: &[Answer::json("It is on the list.", of::<Suppression>)],
        ..SUPPRESSION
    },
    Operation {
        summary: "Put an address on the list",
        about: "Replaces what is said of one that is on it. In force on all cores when it is answered.",
        takes: Takes::Json(of::<PutSuppression>),
        answers: &[Answer::json("It is on the list.", of::<Suppression>)],
        problems: &[Kind::LimitReached],
        op: Op::PutSuppression,
        verb: Verb::Put,
        id: "putSuppression",
        ..SUPPRESSION
    },
    Operation {
        summary: "Take an address off the list",
        answers: &[Answer::nothing("It is not on the list any more.")],
        op: Op::DeleteSuppression,
        verb: Verb::Delete,
        id: "deleteSuppression",
        ..SUPPRESSION
    },
];

const WEBHOOK: Operation = Operation {
    group: "Webhooks",
    access: Access::Scope(Scope::Webhooks),
    path_parameters: &[Named {
        name: "id",
        about: "The number of a webhook.",
        schema: schema::webhook_id,
    }],
    answers: &[Answer::json("As it is now.", of::<Webhook>)],
    ..Operation::new(Op::Webhook, Verb::Get, "/webhooks/{id}", "getWebhook")
};

const WEBHOOKS: &[Operation] = &[
    Operation {
        summary: "The webhooks of the account",
        path_parameters: &[],
        answers: &[Answer::json(
            "All of them, without their secrets.",
            of::<Webhooks>,
        )],
        op: Op::Webhooks,
        path: "/webhooks",
        id: "listWebhooks",
        ..WEBHOOK
    },
    Operation {
        summary: "Add a webhook",
        about: "From now on it is told of events. Calls are signed as Standard Webhooks has it, with the secret that is in the answer. An account has 20 webhooks at most.",
        path_parameters: &[],
        takes: Takes::Json(of::<PutWebhook>),
        answers: &[Answer::created(
            "The webhook, with its secret.",
            of::<WebhookWithSecret>,
        )],
        problems: &[Kind::LimitReached, Kind::OutcomeUnknown],
        op: Op::MakeWebhook,
        verb: Verb::Post,
        path: "/webhooks",
        id: "makeWebhook",
        ..WEBHOOK
    },
    Operation {
        summary: "A webhook",
        ..WEBHOOK
    },
    Operation {
        summary: "Change a webhook",
        about: "All that is said of it is replaced, but for its secret. What waits goes where it leads now.",
        takes: Takes::Json(of::<PutWebhook>),
        op: Op::PutWebhook,
        verb: Verb::Put,
        id: "putWebhook",
        ..WEBHOOK
    },
    Operation {
        summary: "Remove a webhook, with what waits for it",
        answers: &[Answer::nothing("It is gone.")],
        op: Op::DeleteWebhook,
        verb: Verb::Delete,
        id: "deleteWebhook",
        ..WEBHOOK
    },
    Operation {
        summary: "Switch a webhook on",
        about: "What waits for it is sent.",
        op: Op::EnableWebhook,
        verb: Verb::Post,
        path: "/webhooks/{id}/enable",
        id: "enableWebhook",
        ..WEBHOOK
    },
    Operation {
        summary: "Switch a webhook off",
        about: "It is not called, and of new events it is not told. What waits for it waits on.",
        op: Op::DisableWebhook,
        verb: Verb::Post,
        path: "/webhooks/{id}/disable",
        id: "disableWebhook",
        ..WEBHOOK
    },
    Operation {
        summary: "Give a webhook another secret",
        about: "For a while calls have two signatures, one by each secret. A repeat makes one more secret.",
        takes: Takes::Json(of::<RotateSecret>),
        answers: &[Answer::json(
            "The webhook, with its new secret.",
            of::<WebhookWithSecret>,
        )],
        problems: &[Kind::OutcomeUnknown],
        op: Op::RotateSecret,
        verb: Verb::Post,
        path: "/webhooks/{id}/rotate",
        id: "rotateWebhookSecret",
        ..WEBHOOK
    },
    Operation {
        summary: "Call a webhook with an event that did not happen",
        about: "At once, and once, whether it is on or not; two at a time. The number of the recipient in it is 1; its `webhook-id` is `msg_test_` and a number, another one each time.",
        answers: &[Answer::json(
            "What came of it, success or not.",
            of::<CallResult>,
        )],
        problems: &[Kind::OutcomeUnknown],
        op: Op::TestWebhook,
        verb: Verb::Post,
        path: "/webhooks/{id}/test",
        id: "testWebhook",
        ..WEBHOOK
    },
];

const DELIVERY: Operation = Operation {
    group: "Deliveries",
    access: Access::Scope(Scope::Webhooks),
    path_parameters: &[Named {
        name: "id",
        about: "The number of a delivery.",
        schema: schema::delivery_id,
    }],
    ..Operation::new(Op::Delivery, Verb::Get, "/deliveries/{id}", "getDelivery")
};

const DELIVERIES: &[Operation] = &[
    Operation {
        summary: "What is sent to webhooks",
        about: "First those that wait, webhook by webhook, by when they are due; then those that are over, in the order in which they ended, as long as the account keeps them.",
        path_parameters: &[],
        query: Some(whole::<DeliverySelection>),
        answers: &[Answer::json("A page of them.", of::<Deliveries>)],
        op: Op::Deliveries,
        path: "/deliveries",
        id: "listDeliveries",
        ..DELIVERY
    },
    Operation {
        summary: "A delivery, with its payload",
        answers: &[Answer::json(
            "It waits, or is over.",
            of::<DeliveryWithPayload>,
        )],
        ..DELIVERY
    },
    Operation {
        summary: "Send a delivery that is over once more",
        about: "Under its number. Of one that waits nothing is changed. If as many wait as may, or say as much as they may, it stays as it is.",
        answers: &[Answer::json("As it is now.", of::<Delivery>)],
        problems: &[Kind::LimitReached],
        op: Op::Redeliver,
        verb: Verb::Post,
        path: "/deliveries/{id}/redeliver",
        id: "redeliver",
        ..DELIVERY
    },
    Operation {
        summary: "Give up a delivery that waits",
        about: "A call under way ends, and is not repeated.",
        answers: &[Answer::nothing("It waits no longer.")],
        op: Op::CancelDelivery,
        verb: Verb::Post,
        path: "/deliveries/{id}/cancel",
        id: "cancelDelivery",
        ..DELIVERY
    },
];

/// Where a request leads.
#[derive(Clone, Debug)]
pub enum Route {
    /// To an operation, with the parameters of its path.
    To(&'static Operation, Vec<String>),
    /// There are only others there: their methods, as Allow has them.
    OtherVerbs(String),
    /// Nowhere.
    Nowhere,
}

/// Of a method and a path below the mount, as it came.
pub fn find(method: &str, path: &str) -> Route {
    let verb = Verb::of_method(method);
    let mut others: Vec<&str> = Vec::new();
    for operation in all() {
        let Some(parameters) = parameters(operation.path, path) else {
            continue;
        };
        if Some(operation.verb) == verb {
            return Route::To(operation, parameters);
        }
        others.push(operation.verb.as_str());
        if operation.verb == Verb::Get {
            others.push("HEAD");
        }
    }
    match others.is_empty() {
        true => Route::Nowhere,
        false => Route::OtherVerbs(others.join(", ")),
    }
}

/// Those of a path, if it is one of the template; one that is empty or no UTF-8 is none.
fn parameters(template: &str, path: &str) -> Option<Vec<String>> {
    let mut parameters = Vec::new();
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parameters),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => {
                let given = percent_decode_str(given).decode_utf8().ok()?;
                if given.is_empty() {
                    return None;
                }
                parameters.push(given.into_owned());
            }
            (Some(wanted), Some(given)) if wanted == given => (),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_is_found_by_its_path_and_has_what_the_document_needs() {
        let mut seen = HashSet::new();
        for operation in all() {
            assert!(seen.insert(operation.op), "{:?} twice", operation.op);
            assert!(all().filter(|other| other.id == operation.id).count() == 1);
            let path: String = operation.path.replace(['{', '}'], "");
            match find(operation.verb.as_str(), &path) {
                Route::To(found, parameters) => {
                    assert_eq!(found.op, operation.op, "{path}");
                    let names: Vec<&str> =
                        operation.path_parameters.iter().map(|p| p.name).collect();
                    assert_eq!(parameters, names, "{path}");
                }
                other => panic!("{path}: {other:?}"),
            }
            assert!(!operation.group.is_empty() && !operation.summary.is_empty());
            assert!(!operation.answers.is_empty());
        }
    }

    #[test]
    fn paths_lead_somewhere_or_not() {
        let to = |method, path| match find(method, path) {
            Route::To(operation, parameters) => {
                format!("{} {}", operation.id, parameters.join(","))
            }
            Route::OtherVerbs(verbs) => verbs,
            Route::Nowhere => "nowhere".into(),
        };
        assert_eq!(to("GET", "/"), "documentation ");
        assert_eq!(to("HEAD", "/openapi.json"), "openapi ");
        assert_eq!(to("POST", "/openapi.json"), "GET, HEAD");
        assert_eq!(to("TRACE", "/account"), "GET, HEAD");
        assert_eq!(to("GET", "/problems/a%2Fb"), "problem a/b");
        for path in [
            "",
            "/x",
            "/problems/",
            "/problems/%ff",
            "/problems/a/",
            "//",
        ] {
            assert_eq!(to("GET", path), "nowhere", "{path}");
        }
    }
}
