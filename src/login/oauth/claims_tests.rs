//! What a token must say, one claim after the other.

use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn rules() -> Oauth {
    toml::from_str("issuer = \"https://id.example\"\naudiences = [\"mail\", \"post\"]\nscopes = [\"imap\", \"smtp\"]")
        .unwrap()
}

fn good() -> Value {
    json!({
        "iss": "https://id.example", "aud": "mail", "exp": NOW + 60, "iat": NOW - 1, "nbf": NOW,
        "scope": "openid smtp imap", "email": "anna@example.org", "email_verified": true,
    })
}

fn look(rules: &Oauth, claims: &Value) -> Result<Holder, Refusal> {
    holder(claims.as_object().unwrap(), rules, NOW)
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[test]
fn a_good_token_says_whose_it_is() {
    let holder = look(&rules(), &good()).unwrap();
    assert_eq!(holder.address, "anna@example.org");
    assert_eq!(holder.until, Some(NOW + 60));
    for claims in [
        with("aud", json!(["other", "post"])),
        with("scope", json!(["imap", "smtp"])),
        with("exp", json!(NOW as f64 + 0.5)),
        with("email_verified", json!("true")),
        with("typ", json!("Bearer")),
        with("token_type", json!("bearer")),
        without("email_verified"),
        without("nbf"),
        without("iat"),
        // Within the leeway.
        with("exp", json!(NOW - 29)),
        with("nbf", json!(NOW + 30)),
        with("iat", json!(NOW + 30)),
    ] {
        assert!(look(&rules(), &claims).is_ok(), "{claims}");
    }
    let mut scp = without("scope");
    scp["scp"] = json!("smtp imap");
    assert!(look(&rules(), &scp).is_ok());
}

#[test]
fn what_is_wrong_is_refused() {
    for (claims, why) in [
        (
            with("iss", json!("https://id.example/")),
            "of another issuer",
        ),
        (
            with("iss", json!(["https://id.example"])),
            "of another issuer",
        ),
        (without("iss"), "of another issuer"),
        (with("aud", json!("mailbox")), "for another audience"),
        (with("aud", json!(["other"])), "for another audience"),
        (with("aud", json!([])), "for another audience"),
        (with("aud", json!({"mail": "mail"})), "for another audience"),
        (without("aud"), "for another audience"),
        (with("exp", json!(NOW - 30)), "expired"),
        (with("exp", json!(-1e15)), "expired"),
        (with("exp", json!("2099")), "with a time that is none"),
        (with("exp", json!(1e300)), "with a time that is none"),
        (with("exp", Value::Null), "with a time that is none"),
        (without("exp"), "without an end"),
        (with("nbf", json!(NOW + 31)), "not good yet"),
        (with("iat", json!(NOW + 31)), "made in the future"),
        (with("iat", json!(true)), "with a time that is none"),
        (
            with("email_verified", json!(false)),
            "its address is not verified",
        ),
        (
            with("email_verified", json!("false")),
            "its address is not verified",
        ),
        (
            with("email_verified", Value::Null),
            "its address is not verified",
        ),
        (with("cnf", json!({"jkt": "x"})), "bound to a key"),
        (with("token_type", json!("DPoP")), "bound to a key"),
        (with("typ", json!("ID")), "not an access token by its type"),
        (
            with("typ", json!("Refresh")),
            "not an access token by its type",
        ),
        (
            with("at_hash", json!("x")),
            "not an access token by its type",
        ),
        (with("events", json!({})), "not an access token by its type"),
        (with("email", json!("")), "without an address"),
        (
            with("email", json!(["anna@example.org"])),
            "without an address",
        ),
        (with("email", json!("x".repeat(321))), "without an address"),
        (without("email"), "without an address"),
    ] {
        let result = look(&rules(), &claims);
        assert_eq!(result, Err(Refusal::Invalid(why)), "{claims}");
    }
    for scope in [
        json!("imap"),
        json!("imap smtpx"),
        json!("IMAP SMTP"),
        json!(1),
        json!([]),
    ] {
        let claims = with("scope", scope);
        assert_eq!(look(&rules(), &claims), Err(Refusal::Scope), "{claims}");
    }
    assert_eq!(look(&rules(), &without("scope")), Err(Refusal::Scope));
}

#[test]
fn another_claim_may_be_the_address() {
    let mut rules = rules();
    rules.address_claim = "preferred_username".to_owned();
    let mut claims = with("preferred_username", json!("bert@example.org"));
    // It is not about this claim.
    claims["email_verified"] = json!(false);
    assert_eq!(look(&rules, &claims).unwrap().address, "bert@example.org");
}

#[test]
fn an_answer_about_a_token_may_say_less() {
    let mut rules = rules();
    rules.check = TokenCheck::Introspection;
    for name in ["iss", "exp", "iat", "nbf"] {
        assert!(look(&rules, &without(name)).is_ok(), "{name}");
    }
    assert_eq!(look(&rules, &without("exp")).unwrap().until, None);
    for (claims, why) in [
        (
            with("iss", json!("https://other.example")),
            "of another issuer",
        ),
        (without("aud"), "for another audience"),
        (with("exp", json!(NOW - 30)), "expired"),
    ] {
        assert_eq!(
            look(&rules, &claims),
            Err(Refusal::Invalid(why)),
            "{claims}"
        );
    }
    rules.audiences.clear();
    assert!(look(&rules, &without("aud")).is_ok());
}

/// Whatever stands in the claims: no panic, and nobody gets in without the right issuer, audience and time.
#[test]
fn random_claims() {
    let rules = rules();
    let values = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e308),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(NOW),
        json!(NOW + 60),
        json!(""),
        json!("mail"),
        json!("imap smtp"),
        json!("https://id.example"),
        json!(["mail", 1, null, "smtp", "imap"]),
        json!({"a": "b"}),
    ];
    let names: Vec<String> = good().as_object().unwrap().keys().cloned().collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % bound as u64) as usize
    };
    let mut passed = 0;
    for _ in 0..20_000 {
        let mut claims = good();
        for _ in 0..=below(3) {
            let name = &names[below(names.len())];
            match below(5) {
                0 => drop(claims.as_object_mut().unwrap().remove(name)),
                _ => claims[name] = values[below(values.len())].clone(),
            }
        }
        if let Ok(holder) = look(&rules, &claims) {
            passed += 1;
            assert_eq!(claims["iss"], "https://id.example");
            assert!(claims["aud"].to_string().contains("\"mail\""), "{claims}");
            assert!(
                claims["exp"].as_f64().unwrap() > (NOW - 30) as f64,
                "{claims}"
            );
            assert_eq!(claims["email"], holder.address);
        }
    }
    assert!(passed > 1000, "{passed}");
}
