use super::*;

fn to() -> SocketAddr {
    "192.0.2.1:25".parse().unwrap()
}

const ANNA: Login<'static> = Login {
    user: b"anna",
    password: b"secret",
};

fn said(handshake: &mut Handshake) -> Vec<u8> {
    let mut output = Vec::new();
    handshake.transmit(&mut output);
    output
}

/// Hears these octets after the greeting; what comes of the last.
fn hear(login: Option<Login<'_>>, replies: &[&[u8]]) -> Result<Received, SocksError> {
    let mut handshake = Handshake::new(to(), login);
    let mut last = Ok((0, None));
    for reply in replies {
        said(&mut handshake);
        last = handshake.receive(reply);
        if last.is_err() {
            break;
        }
    }
    last
}

#[test]
fn a_login_is_given_when_the_proxy_asks_for_it() {
    let mut handshake = Handshake::new("[2001:db8::1]:587".parse().unwrap(), Some(ANNA));
    assert_eq!(said(&mut handshake), [5, 2, 0, 2]);
    assert_eq!(handshake.receive(&[5, 2]), Ok((2, None)));
    assert_eq!(said(&mut handshake), b"\x01\x04anna\x06secret");
    assert_eq!(handshake.receive(&[1, 0]), Ok((2, None)));
    let mut request = vec![5, 1, 0, 4, 0x20, 1, 0x0d, 0xb8];
    request.extend([0; 11]);
    request.extend([1, 2, 0x4b]);
    assert_eq!(said(&mut handshake), request);
    let mut reply = vec![5, 0, 0, 4];
    reply.extend([0; 18]);
    // An address of zeros says nothing.
    assert_eq!(handshake.receive(&reply), Ok((22, Some(None))));
    // It is over: all the rest is somebody else's.
    assert_eq!(handshake.receive(b"220 x"), Ok((0, None)));
    assert!(said(&mut handshake).is_empty());
}

#[test]
fn a_login_that_is_not_asked_for_is_not_given() {
    let mut handshake = Handshake::new(to(), Some(ANNA));
    said(&mut handshake);
    assert_eq!(handshake.receive(&[5, 0]), Ok((2, None)));
    assert_eq!(said(&mut handshake), [5, 1, 0, 1, 192, 0, 2, 1, 0, 25]);
}

#[test]
fn replies_may_come_octet_by_octet_and_with_what_follows() {
    let name = b"\x05\0\0\x03\x04mail\0\x19";
    let whole = [&b"\x05\0"[..], name, b"220 ready"].concat();
    let mut handshake = Handshake::new(to(), None);
    let mut used = 0;
    let bound = loop {
        let (took, bound) = handshake.receive(&whole[used..=used]).unwrap();
        assert_eq!(took, 1, "at {used}");
        used += took;
        if let Some(bound) = bound {
            break bound;
        }
    };
    // A name is no address.
    assert_eq!(bound, None);
    assert_eq!(&whole[used..], b"220 ready");
    // All at once.
    let mut handshake = Handshake::new(to(), None);
    assert_eq!(handshake.receive(&whole), Ok((13, Some(None))));
}

#[test]
fn what_the_proxy_refuses_is_told_in_words() {
    let no_login = SocksError::NoMethod { with_login: false };
    assert_eq!(hear(None, &[&[5, 0xff]]), Err(no_login.clone()));
    assert_eq!(
        no_login.to_string(),
        "it wants a login that it was not given (proxy_user, proxy_password_file)"
    );
    // A method that was not offered.
    assert_eq!(hear(None, &[&[5, 2]]), Err(no_login));
    let with_login = SocksError::NoMethod { with_login: true };
    assert_eq!(hear(Some(ANNA), &[&[5, 0xff]]), Err(with_login));
    let refused = hear(Some(ANNA), &[&[5, 2], &[1, 7]]);
    assert_eq!(refused, Err(SocksError::LoginRefused));
    for (reply, words, is_of_the_host) in [
        (1, "it cannot connect to the host", false),
        (
            2,
            "its rules do not allow the connection to the host",
            false,
        ),
        (4, "it has no way to the host", true),
        (5, "the host refuses the connection", true),
        (
            99,
            "it does not connect, for a reason that has no name (99)",
            false,
        ),
    ] {
        // The rest of the reply need not come.
        let error = hear(None, &[&[5, 0], &[5, reply]]).unwrap_err();
        assert_eq!(error, SocksError::Refused(reply));
        assert_eq!(error.to_string(), words);
        assert_eq!(error.is_of_the_host(), is_of_the_host);
    }
}

#[test]
fn what_is_no_proxy_is_told_apart() {
    for replies in [
        &[&b"HTTP/1.1 400"[..]][..],
        &[b"\x04\0"],
        &[b"220 mail"],
        &[b"\x05\0", b"\x04\0"],
        &[b"\x05\0", b"\x05\0\0\x02\0"],
        &[b"\x05\0", b"\x05\0\0\x00\0\0\0\0\0\0"],
    ] {
        let heard = hear(None, replies);
        assert_eq!(heard, Err(SocksError::NotSocks), "{replies:?}");
    }
    let heard = hear(Some(ANNA), &[&[5, 2], &[5, 0]]);
    assert_eq!(heard, Err(SocksError::NotSocks));
}

#[test]
fn a_login_that_does_not_fit_is_not_offered() {
    let long = [b'a'; 256];
    for (user, password) in [(&b""[..], &b"x"[..]), (b"x", b""), (&long, b"x")] {
        let login = Login { user, password };
        assert!(!login.fits());
        let mut handshake = Handshake::new(to(), Some(login));
        assert_eq!(said(&mut handshake), [5, 1, 0]);
    }
    assert!(
        Login {
            user: &long[1..],
            password: b"x"
        }
        .fits()
    );
}

/// Octets at random, and replies with a change: nothing panics, nothing is read past the end of a reply.
#[test]
fn fuzz_replies() {
    let mut number = 1u64;
    let mut next = || {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number
    };
    for _ in 0..20_000 {
        let mut octets = b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x19".to_vec();
        for _ in 0..next() % 4 {
            let at = (next() % octets.len() as u64) as usize;
            octets[at] = next() as u8;
        }
        let login = (next() % 2 == 0).then_some(ANNA);
        let mut handshake = Handshake::new(to(), login);
        let mut used = 0;
        while used < octets.len() {
            let end = (used + 1 + (next() % 9) as usize).min(octets.len());
            match handshake.receive(&octets[used..end]) {
                Ok((took, None)) => {
                    assert_eq!(took, end - used);
                    used = end;
                }
                Ok((took, Some(_))) => {
                    assert!(took <= end - used);
                    break;
                }
                Err(_) => break,
            }
        }
    }
}
