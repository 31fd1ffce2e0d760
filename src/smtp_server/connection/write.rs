//! Replies on their way to the peer: within a time, and slowly to those who guess passwords.

use std::io;
use std::time::Duration;

use shards::rt;
use smtp::Reply;

use super::Door;

impl Door<'_> {
    pub(super) async fn turn_away(&mut self, reply: Reply) -> io::Result<()> {
        self.session.close(reply);
        self.flush().await
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.session.has_output() {
            return Ok(());
        }
        let mut output = Vec::new();
        self.session.transmit(&mut output);
        let limit = self.limits(|l| l.write_timeout_secs.duration());
        if self.slow {
            return self.write_slowly(&output, limit).await;
        }
        rt::timeout(limit, self.connection.write_all(&output))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// To clients that guess passwords: a byte at a time, the rest before the client gives up.
    async fn write_slowly(&mut self, output: &[u8], limit: Duration) -> io::Result<()> {
        let pause = self.limits(|l| l.slow_delay_secs.duration());
        let slow_bytes = if pause.is_zero() {
            0
        } else {
            output.len().min(SLOW_BYTES_MAX)
        };
        let slowly = async {
            for byte in &output[..slow_bytes] {
                self.connection
                    .write_all(std::slice::from_ref(byte))
                    .await?;
                rt::sleep(pause).await;
            }
            io::Result::Ok(())
        };
        let all = limit + pause * slow_bytes as u32;
        rt::timeout(all, slowly)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let rest = self.connection.write_all(&output[slow_bytes..]);
        rt::timeout(limit, rest)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// Bytes of a reply that are written one a second.
const SLOW_BYTES_MAX: usize = 20;
