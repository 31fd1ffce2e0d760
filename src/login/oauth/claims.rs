//! What a token says, whose signature is good or whose provider was asked: is that enough, and whose mail is it? Pure.
//! RFC 7519 4.1, RFC 9068 4, RFC 7662 2.2, RFC 8725 3; OpenID Connect Core 5.1 (`email_verified`).

use serde_json::{Map, Value};

use super::Refusal;
use crate::settings::{Oauth, TokenCheck, oauth::EMAIL};

/// Whom a token logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address it names.
    pub address: String,
    /// When it ends, in seconds since 1970.
    pub until: Option<i64>,
}

/// Whom it logs in, if it is good now.
pub fn holder(claims: &Map<String, Value>, rules: &Oauth, now: i64) -> Result<Holder, Refusal> {
    let is_jwt = rules.check == TokenCheck::Jwks;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // RFC 7662 2.2: an answer of the provider may leave it out, a token may not.
    let issuer = rules.issuer.as_ref().map(|url| url.as_str());
    if (is_jwt || claims.contains_key("iss")) && text("iss") != issuer {
        return Err(Refusal::Invalid("of another issuer"));
    }
    if !rules.audiences.is_empty() && !is_for(claims.get("aud"), &rules.audiences) {
        return Err(Refusal::Invalid("for another audience"));
    }
    let until = times(claims, rules, now)?;
    // RFC 9449 7.1, RFC 8705 3: a token bound to a key is not good without a proof that its holder has the key.
    let bound = text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("Bearer"));
    if bound || claims.contains_key("cnf") {
        return Err(Refusal::Invalid("bound to a key"));
    }
    // RFC 8725 3.12: not a token of another kind. ID tokens have hashes, logout tokens an event (OpenID Connect Core 3.1.3.6, Back-Channel
    // Logout 2.4); `typ` is how Keycloak tells its tokens apart.
    let kind = text("typ").filter(|_| is_jwt);
    let is_other = kind.is_some_and(|kind| ["ID", "Refresh", "Offline", "Logout"].contains(&kind));
    if is_other || OTHER_KINDS.iter().any(|name| claims.contains_key(*name)) {
        return Err(Refusal::Invalid("not an access token by its type"));
    }
    let has = |wanted: &str| {
        ["scope", "scp"]
            .iter()
            .any(|n| names(claims.get(*n), wanted))
    };
    if !rules.scopes.iter().all(|scope| has(scope.as_str())) {
        return Err(Refusal::Scope);
    }
    // Some write it as text.
    let verified = claims.get("email_verified");
    if rules.address_claim == EMAIL && verified.is_some_and(|v| v != true && v != "true") {
        return Err(Refusal::Invalid("its address is not verified"));
    }
    let address = text(&rules.address_claim).filter(|a| !a.is_empty() && a.len() <= ADDRESS_MAX);
    Ok(Holder {
        address: address
            .ok_or(Refusal::Invalid("without an address"))?
            .to_owned(),
        until,
    })
}

/// RFC 7519 4.1.3: one text, or several.
fn is_for(aud: Option<&Value>, audiences: &[String]) -> bool {
    let is_one = |value: &Value| {
        value
            .as_str()
            .is_some_and(|a| audiences.iter().any(|b| a == b))
    };
    match aud {
        Some(Value::Array(all)) => all.iter().any(is_one),
        Some(one) => is_one(one),
        None => false,
    }
}

/// RFC 8693 4.2: words with spaces between them. Some write an array.
fn names(scopes: Option<&Value>, wanted: &str) -> bool {
    match scopes {
        Some(Value::String(text)) => text.split(' ').any(|scope| scope == wanted),
        Some(Value::Array(all)) => all.iter().any(|scope| scope == wanted),
        _ => false,
    }
}

/// Its end.
fn times(claims: &Map<String, Value>, rules: &Oauth, now: i64) -> Result<Option<i64>, Refusal> {
    let leeway = rules.clock_leeway_secs.0.as_secs() as i64;
    let date = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => numeric_date(value)
            .map(Some)
            .ok_or(Refusal::Invalid("with a time that is none")),
    };
    let (from, made, until) = (date("nbf")?, date("iat")?, date("exp")?);
    // RFC 9068 2.2: exp is required.
    if until.is_none() && rules.check == TokenCheck::Jwks {
        return Err(Refusal::Invalid("without an end"));
    }
    if until.is_some_and(|until| now >= until.saturating_add(leeway)) {
        return Err(Refusal::Invalid("expired"));
    }
    if from.is_some_and(|from| now < from.saturating_sub(leeway)) {
        return Err(Refusal::Invalid("not good yet"));
    }
    if made.is_some_and(|made| now < made.saturating_sub(leeway)) {
        return Err(Refusal::Invalid("made in the future"));
    }
    Ok(until)
}

/// RFC 7519 2: seconds, maybe with a fraction.
fn numeric_date(value: &Value) -> Option<i64> {
    let secs = value.as_f64()?;
    // So much fits with room for a leeway, and is exact.
    (secs.abs() < 9e15).then_some(secs.floor() as i64)
}

/// Claims that access tokens don't have.
const OTHER_KINDS: [&str; 3] = ["at_hash", "c_hash", "events"];
/// Octets of an address. RFC 5321 4.5.3.1: a localpart of 64, a domain of 255.
const ADDRESS_MAX: usize = 320;

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
