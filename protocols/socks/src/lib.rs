//! The client's side of SOCKS5 without I/O: a proxy is asked to connect to an address. RFC 1928 (CONNECT), RFC 1929 (user and password).
//!
//! Called by whoever has a connection to a proxy. What the proxy says is not trusted: it is bounded by the protocol (262 octets), and octets after
//! its last reply are left alone, for they are of whom it has connected us to. Names are not given to the proxy: whoever checks what DNSSEC says
//! of a host has looked up its addresses anyway. Not here: sockets, time limits, GSSAPI, BIND, UDP.
//!
//! ```
//! use ringmail_socks::Handshake;
//!
//! let mut handshake = Handshake::new("192.0.2.1:25".parse().unwrap(), None);
//! let mut output = Vec::new();
//! handshake.transmit(&mut output);
//! assert_eq!(output, [5, 1, 0]);
//! assert_eq!(handshake.receive(&[5, 0]), Ok((2, None)));
//! output.clear();
//! handshake.transmit(&mut output);
//! assert_eq!(output, [5, 1, 0, 1, 192, 0, 2, 1, 0, 25]);
//! let (used, bound) = handshake.receive(b"\x05\0\0\x01\xc6\x33\x64\x07\x04\0220 ready\r\n").unwrap();
//! assert_eq!((used, bound), (10, Some(Some("198.51.100.7:1024".parse().unwrap()))));
//! ```

use std::net::{IpAddr, SocketAddr};

/// Who asks the proxy. RFC 1929 2: 1 to 255 octets each.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The name.
    pub user: &'a [u8],
    /// The password.
    pub password: &'a [u8],
}

impl Login<'_> {
    /// Whether both fit.
    pub fn fits(&self) -> bool {
        let fits = |text: &[u8]| (1..=255).contains(&text.len());
        fits(self.user) && fits(self.password)
    }
}

/// A conversation with a proxy, up to the connection.
pub struct Handshake {
    to: SocketAddr,
    /// The request of RFC 1929, if there is a login.
    login: Option<Vec<u8>>,
    state: State,
    /// What was read of the reply that is being waited for.
    input: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    Login,
    Reply,
    Over,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// It is no proxy of this kind.
    #[error("it does not speak SOCKS5")]
    NotSocks,
    /// RFC 1928 3: no method that both know.
    #[error("{}", match .with_login {
        true => "it takes neither our user and password nor anybody without",
        false => "it wants a login that it was not given (proxy_user, proxy_password_file)",
    })]
    NoMethod {
        /// We had one to offer.
        with_login: bool,
    },
    /// RFC 1929 2.
    #[error("it refuses the user and password")]
    LoginRefused,
    /// RFC 1928 6.
    #[error("{}", reply_words(*.0))]
    Refused(u8),
}

impl SocksError {
    /// Whether it speaks of the host behind the proxy, not of the proxy.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self, SocksError::Refused(3..=6))
    }
}

/// What has come of octets: how many were used; and, once the connection is there, the proxy's own end of it, if it says so.
pub type Received = (usize, Option<Option<SocketAddr>>);

impl Handshake {
    /// Asks for a connection to this address; a login that does not fit ([`Login::fits`]) is not offered.
    pub fn new(to: SocketAddr, login: Option<Login<'_>>) -> Handshake {
        let login = login.filter(Login::fits).map(|login| {
            // RFC 1929 2: +----+------+----------+------+----------+
            //             |VER | ULEN |  UNAME   | PLEN |  PASSWD  |
            let (user, password) = (login.user, login.password);
            let mut request = vec![1, user.len() as u8];
            request.extend_from_slice(user);
            request.push(password.len() as u8);
            request.extend_from_slice(password);
            request
        });
        // RFC 1928 3: VER, NMETHODS, METHODS.
        let output = match login {
            None => vec![VERSION, 1, NO_LOGIN],
            Some(_) => vec![VERSION, 2, NO_LOGIN, PASSWORD],
        };
        Handshake {
            to,
            login,
            state: State::Method,
            input: Vec::new(),
            output,
        }
    }

    /// What is to be sent now.
    pub fn transmit(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.output);
    }

    /// Takes what the proxy says, no further than its last reply. After an error, or the connection, it is over.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Received, SocksError> {
        let mut used = 0;
        loop {
            if self.state == State::Over {
                return Ok((used, None));
            }
            let wanted = self.wanted();
            let more = wanted.saturating_sub(self.input.len());
            let part = &octets[used..octets.len().min(used + more)];
            self.input.extend_from_slice(part);
            used += part.len();
            if self.input.len() < wanted {
                return Ok((used, None));
            }
            match self.judge() {
                Ok(Step::More) => (),
                Ok(Step::Next(state)) => {
                    self.input.clear();
                    self.state = state;
                }
                Ok(Step::Connected(bound)) => {
                    self.state = State::Over;
                    return Ok((used, Some(bound)));
                }
                Err(error) => {
                    self.state = State::Over;
                    return Err(error);
                }
            }
        }
    }

    /// Octets of the reply that must be there before anything is said of it.
    fn wanted(&self) -> usize {
        match self.state {
            State::Method | State::Login => 2,
            State::Over => 0,
            // RFC 1928 6: VER, REP, RSV, ATYP, BND.ADDR, BND.PORT. A refusal is known by its second octet.
            State::Reply => match self.input.len() {
                0..2 => 2,
                2..5 => 5,
                _ => 4 + self.address_length() + 2,
            },
        }
    }

    fn address_length(&self) -> usize {
        match self.input[3] {
            IPV4 => 4,
            IPV6 => 16,
            // RFC 1928 5: a name has its length in front.
            _ => 1 + usize::from(self.input[4]),
        }
    }

    fn judge(&mut self) -> Result<Step, SocksError> {
        match (self.state, &self.input[..]) {
            (State::Method, [VERSION, NO_LOGIN]) => {
                self.request();
                Ok(Step::Next(State::Reply))
            }
            (State::Method, [VERSION, method]) => match (*method, self.login.take()) {
                (PASSWORD, Some(login)) => {
                    self.output.extend_from_slice(&login);
                    Ok(Step::Next(State::Login))
                }
                (_, login) => Err(SocksError::NoMethod {
                    with_login: login.is_some(),
                }),
            },
            // RFC 1929 2: any status but zero is a failure.
            (State::Login, [1, 0]) => {
                self.request();
                Ok(Step::Next(State::Reply))
            }
            (State::Login, [1, _]) => Err(SocksError::LoginRefused),
            (State::Reply, [VERSION, 0]) => Ok(Step::More),
            (State::Reply, [VERSION, refused]) => Err(SocksError::Refused(*refused)),
            (State::Reply, [_, _, _, IPV4 | IPV6 | NAME, _]) => Ok(Step::More),
            (State::Reply, [_, _, _, _, _]) => Err(SocksError::NotSocks),
            (State::Reply, [_, _, _, kind, rest @ ..]) => {
                let (address, port) = rest.split_at(rest.len() - 2);
                let address = match *kind {
                    IPV4 => <[u8; 4]>::try_from(address).ok().map(IpAddr::from),
                    IPV6 => <[u8; 16]>::try_from(address).ok().map(IpAddr::from),
                    _ => None,
                };
                let address = address.filter(|address| !address.is_unspecified());
                let port = u16::from_be_bytes([port[0], port[1]]);
                Ok(Step::Connected(
                    address.map(|address| SocketAddr::new(address, port)),
                ))
            }
            _ => Err(SocksError::NotSocks),
        }
    }

    /// RFC 1928 4: VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT.
    fn request(&mut self) {
        self.output.extend_from_slice(&[VERSION, CONNECT, 0]);
        match self.to.ip().to_canonical() {
            IpAddr::V4(address) => {
                self.output.push(IPV4);
                self.output.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.output.push(IPV6);
                self.output.extend_from_slice(&address.octets());
            }
        }
        self.output.extend_from_slice(&self.to.port().to_be_bytes());
    }
}

enum Step {
    /// More of the same reply.
    More,
    Next(State),
    Connected(Option<SocketAddr>),
}

fn reply_words(reply: u8) -> String {
    let words = match reply {
        1 => "it cannot connect to the host",
        2 => "its rules do not allow the connection to the host",
        3 => "it has no way to the network of the host",
        4 => "it has no way to the host",
        5 => "the host refuses the connection",
        6 => "the host was not reached in time (TTL)",
        7 => "it does not connect to anybody",
        8 => "it does not know this kind of address",
        other => return format!("it does not connect, for a reason that has no name ({other})"),
    };
    words.to_owned()
}

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests;
