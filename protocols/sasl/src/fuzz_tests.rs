//! Random exchanges against both sides: no panic, no success that nobody granted, no end that does not stay one, and no octet of a SCRAM
//! exchange that can be changed under way. Seeds are fixed, so a failure repeats; `RINGMAIL_FUZZ_SECS` runs longer with new seeds and
//! prints them.

use std::num::NonZeroU32;

use crate::client::{self, Action, Client};
use crate::{
    ChannelBindings, ClientKeys, Context, CramState, Credentials, Exchange, Mechanism, Question,
    SaslError, ScramKeys, Secret, Step, TokenError, Verdict, base64, prepare_name,
    prepare_password,
};

struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Changes an octet, takes one away or puts one in.
    fn bend(&mut self, message: &mut Vec<u8>) {
        let at = self.below(message.len() + 1);
        let octet = match self.below(3) {
            0 => self.next() as u8,
            _ => *self.of(b",=mnrcpsive\0\x01 0A\xc3"),
        };
        match self.below(3) {
            0 if at < message.len() => drop(message.remove(at)),
            1 if at < message.len() => message[at] = octet,
            _ => message.insert(at, octet),
        }
    }
}

const SALT: &[u8] = b"sixteen octets..";

fn iterations() -> NonZeroU32 {
    NonZeroU32::new(2).unwrap()
}

fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some(vec![7; 32]),
        server_end_point: Some(vec![9; 32]),
    }
}

fn exchange(random: &mut Random) -> Exchange {
    let tls = random.below(3) > 0;
    let context = Context {
        bindings: if tls {
            bindings()
        } else {
            ChannelBindings::default()
        },
        offers_plus: tls && random.below(2) == 0,
        random: [random.next() as u8; 32],
        hostname: "mail.example".into(),
        now_secs: 1,
    };
    Exchange::new(*random.of(&Mechanism::ALL), context)
}

const FRAGMENTS: [&[u8]; 36] = [
    b"n,,",
    b"y,,",
    b"p=tls-exporter,,",
    b"p=tls-server-end-point,a=tim,",
    b"n,a=tim,",
    b"n=tim",
    b"n=t=2Cm",
    b",r=0123456789",
    b",r=0123456789AAAAAAAAAAAAAAAAAAAAAAAA",
    b"c=biws",
    b",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    b",p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    b",m=x",
    b",x=y",
    b"s=AAAA",
    b",i=4096",
    b"v=AAAA",
    b"e=other-error",
    b"\0",
    b"tim",
    b"\0tim\0geheim",
    b"tim@x.example",
    b" b913a602c7eda7a495b4e6e7334d3890",
    b"user=tim\x01",
    b"auth=Bearer geheim\x01\x01",
    b"\x01host=x\x01port=1\x01",
    b"\x01",
    b",",
    b"=",
    b" ",
    b"\xff",
    b"\xc3\xbc",
    b"u\xcc\x88",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    b"{\"status\":\"401\"}",
    b"\r\n",
];

fn message(random: &mut Random) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..random.below(8) {
        message.extend_from_slice(random.of::<&[u8]>(&FRAGMENTS));
    }
    for _ in 0..random.below(3) {
        random.bend(&mut message);
    }
    if random.below(50) == 0 {
        message = message.repeat(random.below(2000));
    }
    message
}

/// Any verdict, whether it answers or not; and whether it grants what was asked.
fn verdict(random: &mut Random, question: &Question) -> (Verdict, bool) {
    let keys = ScramKeys::derive(crate::ScramHash::Sha1, b"geheim", SALT, iterations());
    match (random.below(8), question) {
        (0, _) => (Verdict::Refused, false),
        (1, _) => (Verdict::TokenRefused(TokenError::default()), false),
        (2, _) | (_, Question::Salt { .. }) => {
            let verdict = Verdict::Salt {
                salt: SALT.to_vec(),
                iterations: iterations(),
            };
            (verdict, false)
        }
        (_, Question::Proof(proof)) => match proof.verify(&keys.stored_key, &keys.server_key) {
            Some(signature) => (Verdict::Signed(signature), true),
            None => (Verdict::Refused, false),
        },
        _ => (Verdict::Accepted, !matches!(question, Question::Proof(_))),
    }
}

/// Random messages of a client; whether they got to a success.
fn check_server(seed: u64) -> bool {
    let mut random = Random::seeded(seed);
    let mut exchange = exchange(&mut random);
    let mut granted = false;
    let mut over = false;
    let mut succeeded = false;
    for turn in 0..6 {
        let message = message(&mut random);
        let response = (turn > 0 || random.below(4) > 0).then_some(&message[..]);
        let mut step = exchange.step(response);
        while let Ok(Step::Ask(question)) = &step {
            assert!(!over, "seed {seed}: a question after the end");
            let (verdict, grants) = verdict(&mut random, question);
            granted = grants;
            step = exchange.resume(verdict);
        }
        match step {
            Ok(Step::Success) => {
                assert!(granted && !over, "seed {seed}: success that nobody granted");
                over = true;
                succeeded = true;
            }
            Ok(Step::Challenge(challenge)) => {
                assert!(!over, "seed {seed}: a challenge after the end");
                // What fits into a line of both protocols, and harms no log.
                assert!(challenge.len() <= 2048, "seed {seed}");
                let text = String::from_utf8(challenge).unwrap();
                assert!(!text.contains(char::is_control), "seed {seed}: {text:?}");
            }
            Ok(Step::Ask(_)) => unreachable!(),
            Err(error) => {
                assert_eq!(over, error == SaslError::Finished, "seed {seed}: {error:?}");
                over = true;
            }
        }
    }
    assert!(over, "seed {seed}: no end after six messages");
    succeeded
}

/// A good exchange of SCRAM, of which one message is bent under way: never a success, and no belief of the client.
fn check_between(seed: u64) {
    let mut random = Random::seeded(seed);
    let mechanism = Mechanism::ALL[random.below(4)];
    let context = Context {
        bindings: bindings(),
        offers_plus: true,
        random: [random.next() as u8; 32],
        ..Context::default()
    };
    let mut server = Exchange::new(mechanism, context);
    let credentials = Credentials {
        authzid: ["", "tim"][random.below(2)].into(),
        authcid: "tim".into(),
        password: Secret::from(&b"geheim"[..]),
    };
    let context = client::Context {
        bindings: bindings(),
        server_offers_plus: true,
        random: [random.next() as u8; 32],
        iterations: 1..=10,
        ..client::Context::default()
    };
    let mut client = Client::new(mechanism, credentials, context).unwrap();
    // Client first, server first, client final, server final; or none.
    let bent = random.below(5);
    let mut bend = |at: usize, message: &[u8]| {
        let mut message = message.to_vec();
        if at == bent {
            let good = message.clone();
            while message == good {
                random.bend(&mut message);
            }
        }
        message
    };
    let mut response = bend(0, &client.initial().unwrap());
    let mut at = 1;
    let (succeeded, believed) = loop {
        let step = match server.step(Some(&response)) {
            Ok(Step::Ask(Question::Salt { .. })) => server.resume(Verdict::Salt {
                salt: SALT.to_vec(),
                iterations: iterations(),
            }),
            Ok(Step::Ask(Question::Proof(proof))) => {
                let keys = ScramKeys::derive(proof.hash, b"geheim", SALT, iterations());
                let signature = proof.verify(&keys.stored_key, &keys.server_key);
                server.resume(signature.map_or(Verdict::Refused, Verdict::Signed))
            }
            step => step,
        };
        let challenge = match step {
            Ok(Step::Challenge(challenge)) => bend(at, &challenge),
            Ok(_) => break (true, client.finish().is_ok()),
            Err(_) => break (false, client.finish().is_ok()),
        };
        let action = client.respond(&challenge).and_then(|action| match action {
            Action::Respond(response) => Ok(response),
            Action::Derive(derivation) => client.derived(&derivation.run()),
        });
        match action {
            Ok(next) => response = bend(at + 1, &next),
            Err(_) => break (false, client.finish().is_ok()),
        }
        at += 2;
    };
    assert_eq!((succeeded, believed), (bent == 4, bent == 4), "seed {seed}");
}

/// Random challenges of a server.
fn check_client(seed: u64) {
    let mut random = Random::seeded(seed);
    let mechanism = *random.of(&Mechanism::ALL);
    let credentials = Credentials {
        authzid: String::new(),
        authcid: "tim".into(),
        password: Secret::from(&b"geheim"[..]),
    };
    let context = client::Context {
        bindings: bindings(),
        random: [0; 32],
        iterations: 1..=3,
        ..client::Context::default()
    };
    let mut client = Client::new(mechanism, credentials, context).unwrap();
    if random.below(2) == 0 {
        client.initial();
    }
    let offer = format!(
        "r={}0123456789,s={},i=2",
        base64::encode(&[0; 18]),
        base64::encode(SALT)
    );
    for turn in 0..6 {
        let mut challenge = match random.below(3) {
            0 => offer.clone().into_bytes(),
            _ => message(&mut random),
        };
        if random.below(3) == 0 {
            random.bend(&mut challenge);
        }
        let action = client.respond(&challenge).and_then(|action| match action {
            Action::Respond(response) => Ok(response),
            Action::Derive(derivation) => client.derived(&derivation.run()),
        });
        assert!(action.is_err() || turn < 3, "seed {seed}: no end");
        if mechanism.scram_hash().is_some() {
            assert!(client.finish().is_err(), "seed {seed}: believed in nothing");
        }
        if let Ok(response) = action
            && !mechanism.reveals_password()
        {
            let reveals = response.windows(6).any(|word| word == b"geheim");
            assert!(!reveals, "seed {seed}: the password goes out");
        }
    }
}

/// What is not a message at all: parsers and preparation of any text.
fn check_texts(seed: u64) {
    let mut random = Random::seeded(seed);
    let text: String = (0..random.below(40))
        .filter_map(|_| {
            let bound = *random.of(&[0x80, 0x800, 0x3200, 0x1_1000, 0x11_0000]);
            char::from_u32(random.below(bound) as u32)
        })
        .collect();
    if let Ok(prepared) = prepare_name(&text) {
        assert_eq!(
            prepare_name(&prepared).as_ref(),
            Ok(&prepared),
            "seed {seed}"
        );
    }
    if let Ok(prepared) = prepare_password(&text) {
        let again = prepare_password(prepared.as_str().unwrap());
        assert_eq!(again, Ok(prepared), "seed {seed}");
    }
    let _ = CramState::derive(text.as_bytes());
    let _ = ClientKeys::derive(
        crate::ScramHash::Sha256,
        text.as_bytes(),
        SALT,
        iterations(),
    );
    let _ = base64::decode(text.as_bytes());
}

fn check(seed: u64) -> bool {
    let succeeded = check_server(seed);
    check_between(seed);
    check_client(seed);
    check_texts(seed);
    succeeded
}

#[test]
fn random_exchanges() {
    let successes = (1..4000).filter(|&seed| check(seed)).count();
    // Random, but not so much that nothing gets through.
    assert!(successes > 100, "{successes}");
}

#[test]
fn random_exchanges_for_long() {
    let Some(secs) = std::env::var("RINGMAIL_FUZZ_SECS")
        .ok()
        .and_then(|secs| secs.parse::<u64>().ok())
    else {
        return;
    };
    let start = std::time::Instant::now();
    let mut seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |now| now.as_secs());
    println!("first seed {seed}");
    while start.elapsed().as_secs() < secs {
        check(seed);
        seed += 1;
    }
}
