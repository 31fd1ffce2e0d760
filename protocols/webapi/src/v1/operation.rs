//! What an operation is, for the router and for the document.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::operations::Op;
use super::problem::Kind;
use super::scope::Scope;

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Which.
    pub op: Op,
    /// Its method.
    pub verb: Verb,
    /// Its path, below the mount; a segment in braces is a parameter.
    pub path: &'static str,
    /// Its name for programs that are made from the document.
    pub id: &'static str,
    /// Operations of one group stand together in the documentation.
    pub group: &'static str,
    /// In a few words.
    pub summary: &'static str,
    /// In more.
    pub about: &'static str,
    /// Who may.
    pub access: Access,
    /// The parameters of the path, in their order.
    pub path_parameters: &'static [Named],
    /// Those behind the question mark: the properties of an object.
    pub query: Option<SchemaOf>,
    /// Header fields that it knows.
    pub headers: &'static [Named],
    /// Its body.
    pub takes: Takes,
    /// What it answers when it succeeds.
    pub answers: &'static [Answer],
    /// What can be wrong beside what always can.
    pub problems: &'static [Kind],
}

impl Operation {
    /// With nothing but its name.
    pub const fn new(op: Op, verb: Verb, path: &'static str, id: &'static str) -> Operation {
        Operation {
            op,
            verb,
            path,
            id,
            group: "",
            summary: "",
            about: "",
            access: Access::Anybody,
            path_parameters: &[],
            query: None,
            headers: &[],
            takes: Takes::Nothing,
            answers: &[],
            problems: &[],
        }
    }

    /// What can be wrong with a request for it.
    pub fn all_problems(&self) -> Vec<Kind> {
        let mut all = vec![Kind::TooMany, Kind::HeadTooLarge, Kind::Unavailable];
        if self.verb != Verb::Get {
            all.extend([Kind::OtherSite, Kind::OutcomeUnknown]);
        }
        if self.access != Access::Anybody {
            // A parameter that is not known is one, too.
            all.extend([Kind::Unauthorized, Kind::Invalid]);
        }
        if matches!(self.access, Access::Scope(_)) {
            all.push(Kind::MissingScope);
        }
        if !self.path_parameters.is_empty() {
            all.push(Kind::NotFound);
        }
        match self.takes {
            Takes::Nothing => (),
            Takes::Json(_) | Takes::JsonOrFiles(..) => all.extend([
                Kind::Malformed,
                Kind::Invalid,
                Kind::TooSlow,
                Kind::TooLarge,
                Kind::UnsupportedMediaType,
                Kind::UnsupportedCoding,
            ]),
        }
        all.extend(self.problems);
        all.sort_by_key(|kind| (kind.status(), kind.word()));
        all.dedup();
        all
    }
}

/// A method. RFC 9110 9.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// And HEAD.
    Get,
    /// Does something.
    Post,
    /// Makes or replaces what the path names.
    Put,
    /// Removes it.
    Delete,
}

impl Verb {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Delete => "DELETE",
        }
    }

    /// Of a request.
    pub fn of_method(method: &str) -> Option<Verb> {
        Some(match method {
            "GET" | "HEAD" => Verb::Get,
            "POST" => Verb::Post,
            "PUT" => Verb::Put,
            "DELETE" => Verb::Delete,
            _ => return None,
        })
    }
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Without a login too.
    Anybody,
    /// Any login.
    Login,
    /// A password, or a key with this scope.
    Scope(Scope),
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What it may be.
    pub schema: SchemaOf,
}

/// What a request's body is.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// There is none.
    Nothing,
    /// `application/json`.
    Json(SchemaOf),
    /// The same, or `multipart/form-data` with it in one part, and files.
    JsonOrFiles(SchemaOf, Files),
}

/// What the parts of a form are.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// The part with the JSON.
    pub json: &'static str,
    /// Parts that are files, and what they are for.
    pub files: &'static [(&'static str, &'static str)],
}

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What it means.
    pub about: &'static str,
    /// The JSON; none: no body, or `content_type` says what it is.
    pub schema: Option<SchemaOf>,
    /// Of the body.
    pub content_type: &'static str,
}

impl Answer {
    /// 200 with JSON.
    pub const fn json(about: &'static str, schema: SchemaOf) -> Answer {
        Answer {
            status: 200,
            about,
            schema: Some(schema),
            content_type: JSON,
        }
    }

    /// 201 with JSON.
    pub const fn created(about: &'static str, schema: SchemaOf) -> Answer {
        Answer {
            status: 201,
            ..Answer::json(about, schema)
        }
    }

    /// 204.
    pub const fn nothing(about: &'static str) -> Answer {
        Answer {
            status: 204,
            about,
            schema: None,
            content_type: "",
        }
    }
}

/// The schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// That of `T`, by its name.
pub fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// That of `T` itself.
pub fn whole<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The type of what is answered.
pub const JSON: &str = "application/json";
