//! The only code of gait that opens a connection of its own accord: one manifest, by `registry install`.

use super::source::{Allowed, SourceError, redirected};
use flate2::read::MultiGzDecoder;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Most redirects that are followed, as many as the other implementation follows.
const REDIRECTS: usize = 10;

/// What one attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the first byte of the question to the last of the answer, redirects included.
    pub time: Duration,
    /// Bytes of the manifest, as sent and as unpacked.
    pub bytes: u64,
}

/// The bounds of the contract.
pub const BOUNDS: Bounds = Bounds { time: Duration::from_secs(20), bytes: gait_core::registry::LIMIT_BYTES };

/// How often a server is asked, and how long is waited in between.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// At least one attempt is made.
    pub attempts: u32,
    /// The delay after the first one; it doubles.
    pub base: Duration,
}

impl Retry {
    /// The delay after attempt `n`, the first being 1: the base doubled for each attempt, and a little more.
    fn delay(&self, n: u32) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(n.saturating_sub(1)));
        doubled.saturating_add(Duration::from_millis(25).saturating_mul(n).min(Duration::from_millis(100)))
    }
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("download source: unexpected status {0}")]
    Status(u16),
    #[error("payload too large")]
    TooLarge,
    #[error("download source: no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("download source: {0}")]
    Io(io::Error),
    #[error("download source: {0}")]
    Client(ureq::Error),
    #[error("download source: redirect refused: {0}")]
    Redirect(SourceError),
    #[error("download source: stopped after {REDIRECTS} redirects")]
    Redirects,
    #[error("download source: the answer is encoded as {0}, which was not asked for")]
    Encoding(String),
    #[error("download source: this machine has no certificate authorities{0}")]
    NoAuthorities(String),
}

impl FetchError {
    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        match self {
            FetchError::Status(status) => matches!(status, 429 | 502 | 503 | 504),
            FetchError::Timeout(_) => true,
            FetchError::Io(error) => matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | TimedOut | UnexpectedEof
            ),
            _ => false,
        }
    }
}

/// The bytes that `source` is answered with.
///
/// # Errors
/// [`FetchError`] of the last attempt.
pub fn fetch(source: &Uri, allowed: &Allowed, retry: Retry, bounds: Bounds) -> Result<Vec<u8>, FetchError> {
    let agent = agent(allowed)?;
    let mut n = 1;
    loop {
        match attempt(&agent, source, allowed, bounds) {
            Err(error) if error.is_transient() && n < retry.attempts => std::thread::sleep(retry.delay(n)),
            answer => return answer,
        }
        n += 1;
    }
}

/// The client: no redirects of its own, no status taken for an error, no connection kept.
fn agent(allowed: &Allowed) -> Result<Agent, FetchError> {
    // Fails only if there is one, which is then as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found = rustls_native_certs::load_native_certs();
    // With http alone there is no use for any.
    if found.certs.is_empty() && !allowed.insecure_http {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(FetchError::NoAuthorities(why));
    }
    let roots = RootCerts::from(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()));
    let config = Config::builder()
        .http_status_as_error(false)
        .https_only(!allowed.insecure_http)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("gait/", env!("CARGO_PKG_VERSION")))
        .accept("application/json, */*")
        .accept_encoding("gzip")
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    Ok(config.new_agent())
}

fn attempt(agent: &Agent, source: &Uri, allowed: &Allowed, bounds: Bounds) -> Result<Vec<u8>, FetchError> {
    let until = Instant::now() + bounds.time;
    let mut url = source.clone();
    for _ in 0..=REDIRECTS {
        let left = until.saturating_duration_since(Instant::now());
        // Nothing left is no time, which the client would take for no limit.
        let left = left.max(Duration::from_millis(1));
        let asked = agent.get(&url).config().timeout_global(Some(left)).build().call();
        let answer = asked.map_err(|error| failed(error, bounds))?;
        if answer.status() == StatusCode::OK {
            return body(answer, bounds);
        }
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        match (answer.status().as_u16(), location) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                url = allowed.url(&redirected(&url, location)).map_err(FetchError::Redirect)?;
            }
            (status, _) => return Err(FetchError::Status(status)),
        }
    }
    Err(FetchError::Redirects)
}

/// The body, as it was before it was packed.
fn body(answer: Response<Body>, bounds: Bounds) -> Result<Vec<u8>, FetchError> {
    let encoding = answer.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    let body = answer.into_body();
    if body.content_length().is_some_and(|length| length > bounds.bytes) {
        return Err(FetchError::TooLarge);
    }
    match encoding.as_deref() {
        None | Some(b"" | b"identity") => bounded(body.into_reader(), bounds),
        Some(b"gzip" | b"x-gzip") => {
            let mut unpacked = MultiGzDecoder::new(body.into_reader().take(bounds.bytes + 1));
            match bounded(&mut unpacked, bounds) {
                // Cut off here, not by the server.
                Err(_) if unpacked.get_ref().limit() == 0 => Err(FetchError::TooLarge),
                answer => answer,
            }
        }
        Some(other) => Err(FetchError::Encoding(String::from_utf8_lossy(other).escape_debug().to_string())),
    }
}

/// All of `reader`, if that is not too much.
fn bounded(reader: impl Read, bounds: Bounds) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    reader.take(bounds.bytes + 1).read_to_end(&mut bytes).map_err(|error| failed(error.into(), bounds))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= bounds.bytes) {
        Ok(bytes)
    } else {
        Err(FetchError::TooLarge)
    }
}

fn failed(error: ureq::Error, bounds: Bounds) -> FetchError {
    match error {
        ureq::Error::Timeout(_) => FetchError::Timeout(bounds.time),
        ureq::Error::Io(error) => FetchError::Io(error),
        other => FetchError::Client(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    const QUICK: Bounds = Bounds { time: Duration::from_millis(300), bytes: 1000 };

    /// Fetches from a server that does `serve` with one connection.
    fn from(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> Result<Vec<u8>, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
        let allowed = Allowed { hosts: vec!["127.0.0.1".into()], insecure_http: true };
        let fetched = fetch(&url, &allowed, Retry { attempts: 1, base: Duration::ZERO }, QUICK);
        server.join().unwrap();
        fetched
    }

    #[test]
    fn a_server_that_drips_is_given_no_more_time_than_one_that_is_silent() {
        let silent = from(|stream| {
            std::thread::sleep(2 * QUICK.time);
            drop(stream);
        });
        assert!(matches!(silent, Err(FetchError::Timeout(_))), "{silent:?}");
        let dripping = from(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(matches!(dripping, Err(FetchError::Timeout(_))), "{dripping:?}");
        assert_eq!(dripping.unwrap_err().to_string(), "download source: no answer within 0.3 s");
    }

    #[test]
    fn delays_double_and_grow_by_a_bounded_step() {
        let retry = Retry { attempts: 9, base: Duration::from_millis(200) };
        let millis: Vec<u128> = (1..=6).map(|n| retry.delay(n).as_millis()).collect();
        assert_eq!(millis, [225, 450, 875, 1700, 3300, 6500]);
        assert_eq!(Retry { base: Duration::ZERO, ..retry }.delay(u32::MAX), Duration::from_millis(100));
        assert_eq!(Retry { base: Duration::MAX, ..retry }.delay(u32::MAX), Duration::MAX);
    }
}
