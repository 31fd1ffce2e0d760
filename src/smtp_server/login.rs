//! AUTH in the words of SMTP. RFC 4954.

use smtp::Reply;

use super::replies::turned_away;
use crate::login::limiter::Refused;
use crate::percore::Login;

/// What is answered at the end of an exchange.
pub fn reply(login: &Login) -> Reply {
    match login {
        Login::Ok(_) => Reply::authenticated(),
        Login::Failed | Login::NotAuthorized => Reply::authentication_failed(),
        Login::OtherKey => Reply::authentication_failed()
            .with_text("the key of the TLS client certificate belongs to another account"),
        Login::Disabled(text) => Reply::login_disabled(text.clone()),
        // 421: whoever is over the limit must come back later, and finds the door closed until then.
        Login::Limited => turned_away(Refused::Failures),
        Login::Unavailable => Reply::authentication_unavailable(),
    }
}
