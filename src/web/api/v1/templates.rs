//! Templates of messages, as the account's owner keeps them.

use hyper::StatusCode;
use webapi::Time;
use webapi::template::Parts;
use webapi::v1::message::Header;
use webapi::v1::template::{PutTemplate, Template, TemplateName, Templates, is_name, is_new_name};
use webapi::v1::{Fault, Kind, Problem, read};

use super::{Asked, Said, other_answer, reply, unavailable};
use crate::calls::{ControlAnswer, ControlCall};
use crate::store::TemplateRow;

/// All of them.
pub(super) async fn list(asked: &Asked) -> Said {
    let account = asked.login()?.account;
    let templates = found(asked, ControlCall::Templates { account }).await?;
    let named = templates.into_iter().map(|(name, row)| TemplateName {
        name,
        updated: Time::of_unix(row.updated),
        subject: row.subject,
    });
    let templates = named.collect();
    reply::json(StatusCode::OK, &Templates { templates })
}

/// One.
pub(super) async fn get(asked: &Asked) -> Said {
    let call = ControlCall::Template {
        account: asked.login()?.account,
        name: name(asked)?,
    };
    let found = found(asked, call).await?;
    let (name, row) = found.into_iter().next().ok_or_else(not_there)?;
    reply::json(StatusCode::OK, &describe(name, row))
}

/// What a batch is made from that names one.
pub(super) async fn parts(asked: &Asked, name: String) -> Result<Parts, Problem> {
    let none = || Fault::at("/template_name", "there is no such template");
    if !is_name(&name) {
        return Err(none().into());
    }
    let call = ControlCall::Template {
        account: asked.login()?.account,
        name,
    };
    let (_, row) = found(asked, call)
        .await?
        .into_iter()
        .next()
        .ok_or_else(none)?;
    Ok(Parts {
        subject: row.subject,
        text: row.text.unwrap_or_default(),
        html: row.html.unwrap_or_default(),
        to_name: row.to_name,
        headers: row.headers,
    })
}

/// It says this from now on.
pub(super) async fn put(asked: &Asked) -> Said {
    let name = name(asked)?;
    if !is_new_name(&name) {
        let detail = "clients take it for a step of the path";
        return Err(Fault::of_parameter("name", detail).into());
    }
    asked.login()?.must_be_of(None)?;
    let content: PutTemplate = read::body(&asked.body)?;
    let looked_at = content.clone();
    let look = move || looked_at.check();
    let account = asked.login()?.account;
    let faults = asked.core.rendering.run(account.as_str(), look);
    let faults = faults.await.map_err(unavailable)?;
    if !faults.is_empty() {
        return Err(Problem::of_faults(Kind::Invalid, faults));
    }
    let row = TemplateRow {
        updated: asked.core.wall_clock(),
        subject: content.subject,
        text: content.text,
        html: content.html,
        to_name: content.to_name,
        headers: content
            .headers
            .into_iter()
            .map(|field| (field.name, field.value))
            .collect(),
    };
    change(asked, name.clone(), Some(row.clone())).await?;
    reply::json(StatusCode::OK, &describe(name, row))
}

/// It is there no longer.
pub(super) async fn delete(asked: &Asked) -> Said {
    let name = name(asked)?;
    asked.login()?.must_be_of(None)?;
    match change(asked, name, None).await? {
        true => Ok(reply::nothing()),
        false => Err(not_there()),
    }
}

/// Whether it was there before.
async fn change(asked: &Asked, name: String, row: Option<TemplateRow>) -> Result<bool, Problem> {
    let call = ControlCall::PutTemplate {
        account: asked.login()?.account,
        name,
        row: row.map(Box::new),
    };
    match asked.ask_owner(call).await? {
        ControlAnswer::Found(was) => Ok(was),
        _ => Err(other_answer()),
    }
}

async fn found(asked: &Asked, call: ControlCall) -> Result<Vec<(String, TemplateRow)>, Problem> {
    match asked.ask_owner(call).await? {
        ControlAnswer::Templates(templates) => Ok(templates),
        _ => Err(other_answer()),
    }
}

fn describe(name: String, row: TemplateRow) -> Template {
    let headers = row.headers.into_iter();
    Template {
        name,
        updated: Time::of_unix(row.updated),
        content: PutTemplate {
            subject: row.subject,
            text: row.text,
            html: row.html,
            to_name: row.to_name,
            headers: headers
                .map(|(name, value)| Header { name, value })
                .collect(),
        },
    }
}

fn name(asked: &Asked) -> Result<String, Problem> {
    let name = asked.parameter();
    match is_name(name) {
        true => Ok(name.to_string()),
        false => {
            let detail = "1 to 100 letters of ASCII, digits, -, _ and .";
            Err(Fault::of_parameter("name", detail).into())
        }
    }
}

fn not_there() -> Problem {
    Problem::new(Kind::NotFound, "there is no such template")
}
