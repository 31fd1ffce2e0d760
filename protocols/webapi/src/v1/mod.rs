//! The sending API, version 1: resources over HTTP. What clients say and hear as types, strict on both sides, the table of [`operations`] that
//! router and [`openapi`] document share, and [`problem`]s.
//! Called by the HTTP door. Requests are untrusted; whoever reads them bounds their octets.
//! RFC 9110 (methods, status), 9457 (problems), 6901 (pointers to fields), 3339 (times); OpenAPI 3.1, JSON Schema 2020-12.
//! Not here: HTTP itself, keys and passwords, what an operation does.

pub mod account;
pub mod batch;
pub mod key;
pub mod message;
mod objects;
pub mod openapi;
pub mod operation;
pub mod operations;
pub mod page;
pub mod problem;
pub mod read;
pub mod recipient;
mod schema;
pub mod scope;
pub mod suppression;
pub mod template;
pub mod webhook;

pub use operation::{Access, Answer, Named, Operation, Takes, Verb};
pub use operations::{ALL, Op, Route, find};
pub use problem::{Fault, Kind, Problem, TokenFault};
pub use scope::{Scope, Scopes};

/// Where it is.
pub const MOUNT: &str = "/webapi/v1";
