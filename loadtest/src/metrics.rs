//! One counter of the server, read from its `/metrics` page (Prometheus text).

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::error::Failure;

/// Sum of a counter over all its labels. `url` is `http://HOST:PORT/path`.
pub fn counter(url: &str, name: &str) -> Result<f64, Failure> {
    let page = fetch(url)?;
    sum(&page, name).ok_or_else(|| Failure::Usage(format!("{url} has no {name}")))
}

fn fetch(url: &str) -> Result<String, Failure> {
    let usage = || Failure::Usage(format!("{url}: a URL like http://127.0.0.1:1080/metrics"));
    let rest = url.strip_prefix("http://").ok_or_else(usage)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = host.to_socket_addrs().map_err(Failure::io(url))?.next();
    let mut stream = TcpStream::connect_timeout(&address.ok_or_else(usage)?, PATIENCE)
        .map_err(Failure::io(url))?;
    let mut exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        // HTTP/1.0: the answer ends with the connection, and is never chunked.
        stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut page = Vec::new();
        let mut answer = (&stream).take(PAGE_MAX);
        answer.read_to_end(&mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    };
    exchange().map_err(Failure::io(url))
}

fn sum(page: &str, name: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

const PATIENCE: Duration = Duration::from_secs(5);
const PAGE_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_summed_and_longer_names_are_others() {
        let page =
            "# TYPE a_total counter\na_total{shard=\"0\"} 3\na_total{shard=\"1\"} 4\na_total_2 9\n";
        assert_eq!(sum(page, "a_total"), Some(7.0));
        assert_eq!(sum("a 5 1700000\n", "a"), Some(5.0));
        assert_eq!(sum(page, "b"), None);
    }
}
