//! Published examples first, then what must not pass, then random changes.

use serde_json::json;

use super::*;

/// RFC 7515 A.2.
const RS256: (&str, &str) = (
    r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
/// RFC 7515 A.3.
const ES256: (&str, &str) = (
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);
/// Made with OpenSSL.
const PS256: (&str, &str) = (
    r#"{"kty":"RSA","kid":"r","use":"sig","n":"5oKia5h1Eucp-pcF3Hgv8Qh-oenq1TzbxNs_l35AWWzBHEdoDc4DWeV86JFfbCaW2r8mA0TaJXml62itY9gHsSS9WIqZBa2Qmz8na0qs4rdGomMJAWtkvA58xy2fp-r9p5nNoyWnVIVi-Wj9p8GQSL1CjGMRJD9wMXgUAy4I90FOqSvJouySY5D8wg9F_8tUKAUGwxlcfJABXYUV3FWuhGJVedrl1Ra6crFdCepJq3aTDptDWLY68RFWxBahdU8Ns1SjSuI6A1duk34yYtmJcUjkp0Ly3on58WpZ9sVlV54RoL9qRAh7g2dXoQO4v2hr4usyx4ww27HIJ3TxaLY1Dw","e":"AQAB"}"#,
    "eyJhbGciOiJQUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJqb2UifQ.gdroMEh0nkW8Gf5LILeDPZ00YZhslG-3zWT_R9skb529au0L2L2x_Muk1tomC9pIvMkhW1Wu-hSUqB9-D_PE17lgYWpndI_RlEdNhACQc8V8Dvv9rfHdvxpuMRHdbrnXNOn6O7KP79CfYilVRQK_Jev_5QtNOLZFgNa9YI_IcRfXyRXGJF-DklfEGks_b5BHxvbDkb876-SpA65SqcApjZD2EmdL8Hj0d-JWMYTDFsyDyivxt--3S8-ReOHR1EICS0WKoiajEbABXRWqr0p8WYzs41ylccklsFxUZA5_0GB9_lAJGMLuZbHiYMehD0dOTMXX5HGC7wiNgvnDPs81Ow",
);
/// RFC 8037 A.2.
const ED25519: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn set(keys: &[&str]) -> KeySet {
    let json = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    KeySet::parse(json.as_bytes(), 64).unwrap()
}

fn token(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.AAAA", part(header), part(claims))
}

/// A signature by a key of its own, with this kid in the key and in the token.
fn signed(kid: Option<&str>) -> (String, String) {
    use ring::signature::KeyPair;
    let random = ring::rand::SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let mut key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    let mut header = json!({"alg": "ES256"});
    if let Some(kid) = kid {
        key["kid"] = kid.into();
        header["kid"] = kid.into();
    }
    let token = token(&header, &json!({"iss": "joe"}));
    let input = token.rsplit_once('.').unwrap().0;
    let signature = pair.sign(&random, input.as_bytes()).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
    (key.to_string(), format!("{input}.{signature}"))
}

#[test]
fn published_examples() {
    for (key, token) in [RS256, ES256, PS256] {
        let jwt = Jwt::parse(token).unwrap();
        assert_eq!(jwt.claims["iss"], "joe");
        assert_eq!(set(&[key]).verify(&jwt), Signature::Good, "{token}");
    }
    // RFC 8037 A.4 signs what is no JSON.
    let (signed, signature) = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
    let mut jwt = Jwt {
        algorithm: TokenAlgorithm::EdDsa,
        kid: None,
        signed,
        signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
        claims: Map::new(),
    };
    let keys = set(&[ED25519]);
    assert_eq!(keys.verify(&jwt), Signature::Good);
    jwt.signature[3] ^= 1;
    assert_ne!(keys.verify(&jwt), Signature::Good);
}

#[test]
fn the_key_is_chosen_by_kid_and_kind() {
    let (key_a, token_a) = signed(Some("a"));
    let (key_b, token_b) = signed(Some("b"));
    let keys = set(&[RS256.0, &key_a, ED25519, &key_b, PS256.0]);
    let verify = |keys: &KeySet, token: &str| keys.verify(&Jwt::parse(token).unwrap());
    assert_eq!(keys.count(), 5);
    for token in [&token_a, &token_b] {
        assert_eq!(verify(&keys, token), Signature::Good);
    }
    assert_eq!(verify(&set(&[&key_b]), &token_a), Signature::UnknownKey);
    // Another's key under the same name.
    let (other, _) = signed(Some("a"));
    assert_eq!(verify(&set(&[&other]), &token_a), Signature::Wrong);
    // Two of one name, as while one takes the other's place.
    assert_eq!(verify(&set(&[&other, &key_a]), &token_a), Signature::Good);
    // Without a kid the one key that fits is meant; two are none.
    let (nameless, token) = signed(None);
    assert_eq!(verify(&set(&[&nameless, RS256.0]), &token), Signature::Good);
    assert_eq!(verify(&set(&[&nameless, &key_a]), &token), Signature::Wrong);
    assert_eq!(verify(&set(&[&key_a]), &token), Signature::UnknownKey);
    assert_eq!(verify(&set(&[]), &token), Signature::UnknownKey);
    // A key that is for something else.
    for (field, value) in [
        ("alg", json!("ES384")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
    ] {
        let mut key: Value = serde_json::from_str(&key_a).unwrap();
        key[field] = value;
        let keys = set(&[&key.to_string()]);
        assert_eq!(verify(&keys, &token_a), Signature::UnknownKey, "{field}");
    }
}

#[test]
fn no_algorithm_but_ours() {
    for alg in [
        "none", "None", "", "HS256", "HS512", "RS1", "ES256K", "rs256", "dir",
    ] {
        let token = token(&json!({"alg": alg}), &json!({}));
        assert_eq!(Jwt::parse(&token).unwrap_err(), NOT_ALLOWED, "{alg}");
    }
    // RFC 8725 2.1: a token of one kind, and a key of another.
    let (key, _) = signed(Some("a"));
    let token = token(&json!({"alg": "RS256", "kid": "a"}), &json!({}));
    let jwt = Jwt::parse(&token).unwrap();
    assert_eq!(set(&[&key]).verify(&jwt), Signature::UnknownKey);
    // A secret is no key.
    assert_eq!(set(&[r#"{"kty":"oct","k":"c2VjcmV0"}"#]).count(), 0);
}

#[test]
fn what_is_no_token() {
    let good = json!({"alg": "ES256"});
    for bad in [
        "",
        ".",
        "..",
        "...",
        "opaque",
        "a.b",
        "eyJhbGciOiJFUzI1NiJ9.e30",
        // Padded, and with a bit that counts for nothing.
        "eyJhbGciOiJFUzI1NiJ9.e30=.AAAA",
        "eyJhbGciOiJFUzI1NiJ9.e31.AAAA",
        // Encrypted: five parts.
        "eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA.AAAA",
        // An array, a number and nothing for objects.
        "WyJFUzI1NiJd.e30.AAAA",
        "eyJhbGciOiJFUzI1NiJ9.MQ.AAAA",
        "eyJhbGciOiJFUzI1NiJ9..AAAA",
    ] {
        let refusal = Jwt::parse(bad).unwrap_err();
        assert_eq!(refusal, Refusal::Invalid("not a signed JWT"), "{bad}");
    }
    for (header, is_good) in [
        (json!({"alg": "Ed25519"}), true),
        (json!({"alg": "ES256", "typ": "at+jwt"}), true),
        (json!({"alg": "ES256", "typ": "application/at+JWT"}), true),
        (json!({"alg": "ES256", "typ": "JWT"}), true),
        (good, true),
        (json!({"alg": "ES256", "typ": "logout+jwt"}), false),
        (json!({"alg": "ES256", "typ": "dpop+jwt"}), false),
        (json!({"alg": "ES256", "typ": 1}), false),
        (json!({"alg": "ES256", "kid": 1}), false),
        (json!({"alg": "ES256", "crit": ["exp"]}), false),
        (json!({"alg": ["ES256"]}), false),
        (json!({}), false),
    ] {
        let token = token(&header, &json!({}));
        assert_eq!(Jwt::parse(&token).is_ok(), is_good, "{header}");
    }
}

#[test]
fn key_sets_are_bounded_and_unknown_keys_passed_over() {
    let parse = |json: &str| KeySet::parse(json.as_bytes(), 2).map(|keys| keys.count());
    assert_eq!(parse(r#"{"keys":[]}"#), Ok(0));
    assert_eq!(parse(r#"{"keys":[{},1]}"#), Ok(0));
    let two = format!(r#"{{"keys":[{},{}],"more":1}}"#, RS256.0, ES256.0);
    assert_eq!(parse(&two), Ok(2));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1,2,3]}"#] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    // Deep, as a stack would not have it.
    assert!(parse(&"[".repeat(100_000)).is_err());
    for bad in [
        r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#,
        r#"{"kty":"EC","crv":"P-384","x":"AAAA","y":"AAAA"}"#,
        r#"{"kty":"RSA","n":"AAAA"}"#,
        r#"{"kty":"RSA","n":"+/","e":"AQAB"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"AAAA"}"#,
    ] {
        assert_eq!(set(&[bad]).count(), 0, "{bad}");
    }
}

#[test]
fn a_weak_key_and_zeros_too_many() {
    // RFC 7518 3.3: 2048 bits.
    let weak = json!({"kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xc5; 128])});
    let jwt = Jwt::parse(RS256.1).unwrap();
    assert_ne!(set(&[&weak.to_string()]).verify(&jwt), Signature::Good);
    let mut padded: Value = serde_json::from_str(RS256.0).unwrap();
    let n = URL_SAFE_NO_PAD
        .decode(padded["n"].as_str().unwrap())
        .unwrap();
    padded["n"] = URL_SAFE_NO_PAD.encode([&[0, 0][..], &n].concat()).into();
    assert_eq!(set(&[&padded.to_string()]).verify(&jwt), Signature::Good);
}

/// xorshift, with seeds that repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn bend(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len() + 1);
        let octet = b"{}[]\",:.=AaeyJ0-_\\\0\xc3 "[self.below(21)];
        match self.below(3) {
            0 if at < text.len() => drop(text.remove(at)),
            1 if at < text.len() => text[at] = octet,
            _ => text.insert(at, octet),
        }
    }
}

/// Nothing that comes from outside makes the parsers panic, and no change of a token leaves its signature good.
#[test]
fn random_changes() {
    let (key, token) = signed(Some("a"));
    let keys = format!(r#"{{"keys":[{key},{},{},{ED25519}]}}"#, RS256.0, PS256.0);
    let good = set(&[&key, RS256.0, PS256.0, ED25519]);
    let header = json!({"alg": "ES256", "kid": "a", "typ": "JWT"}).to_string();
    let claims = json!({"iss": "joe", "aud": ["a"], "exp": 1e9}).to_string();
    for seed in 1..3000u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (mut bent, mut set_text) = (token.clone().into_bytes(), keys.clone().into_bytes());
        let mut parts = [header.clone().into_bytes(), claims.clone().into_bytes()];
        for _ in 0..=random.below(4) {
            random.bend(&mut bent);
            random.bend(&mut set_text);
            parts.iter_mut().for_each(|part| random.bend(part));
        }
        let _ = KeySet::parse(&set_text, 64);
        let [header, claims] = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
        let _ = Jwt::parse(&format!("{header}.{claims}.AAAA")).map(|jwt| good.verify(&jwt));
        let bent = String::from_utf8_lossy(&bent);
        if bent != token
            && let Ok(jwt) = Jwt::parse(&bent)
        {
            assert_ne!(good.verify(&jwt), Signature::Good, "seed {seed}: {bent}");
        }
    }
}
