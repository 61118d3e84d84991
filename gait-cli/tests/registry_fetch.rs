//! `registry install` from a server: what is fetched, what is refused, and what is tried again.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::{Answer, PUBLIC, Place, registry_digest, registry_manifest};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An HTTP server on this machine. It answers each connection with the next of its replies, and keeps to the last one.
struct Server {
    port: u16,
    /// The heads of the requests.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(replies: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                for line in BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                    head += &format!("{line}\n");
                }
                let at = seen.lock().unwrap().len();
                seen.lock().unwrap().push(head);
                // An error is the client that has heard enough.
                let _ = stream.write_all(&replies[at.min(replies.len() - 1)]);
            }
        });
        Server { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/pack", self.port)
    }
}

/// A reply with this status, further header lines, and body.
fn reply(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    reply(200, "", body)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

fn place() -> Place {
    let place = Place::new();
    place.write("signer.pub", PUBLIC);
    place
}

fn pack() -> Vec<u8> {
    registry_manifest(|_| {}).to_string().into_bytes()
}

/// Installs from `url` with what each call here needs, and with `more`.
fn install(place: &Place, url: &str, more: &str) -> Answer {
    let words =
        format!("registry install {url} --public-key signer.pub --cache-dir cache --retry-base-delay 1ms {more}");
    place.gait(&words.split_whitespace().collect::<Vec<_>>())
}

/// Installs from a server that replies so, with plain http allowed.
fn from(replies: Vec<Vec<u8>>, more: &str) -> (Answer, Vec<String>) {
    let (server, place) = (Server::start(replies), place());
    let answer = install(&place, &server.url(), &format!("--allow-host 127.0.0.1 --allow-insecure-http {more}"));
    assert_eq!(answer.code == 0, place.at("cache/pins/baseline.pin").exists());
    (answer, server.asked())
}

fn refused(answer: &Answer, words: &str) {
    let expected = format!("registry install error: {words}\n");
    assert_eq!((answer.code, answer.stdout.as_str()), (2, expected.as_str()), "{}", answer.whole());
}

#[test]
fn a_manifest_is_fetched_checked_and_pinned() {
    let (server, place) = (Server::start(vec![ok(&pack())]), place());
    let answer = install(&place, &server.url(), "--allow-host other,127.0.0.1 --allow-insecure-http --json");
    let told = answer.json();
    assert_eq!(answer.code, 0, "{told}");
    assert_eq!((&told["source"], &told["pack_name"]), (&server.url().into(), &"baseline".into()));
    assert!(told.get("fallback_used").is_none(), "{told}");
    let digest = registry_digest(&registry_manifest(|_| {}));
    assert_eq!(place.read("cache/pins/baseline.pin"), format!("sha256:{digest}\n"));
    let asked = server.asked();
    assert!(asked.len() == 1 && asked[0].starts_with("GET /pack HTTP/1.1\n"), "{asked:?}");

    let (answer, _) = from(vec![ok(&pack())], "--pin sha256:00");
    refused(&answer, "pin digest mismatch");
    let (answer, _) = from(
        vec![ok(&registry_manifest(|pack| pack["publisher"] = "evil".into()).to_string().into_bytes())],
        "--publisher-allowlist acme",
    );
    refused(&answer, "manifest publisher evil is not in allowlist");
    let (answer, _) = from(vec![ok(&String::from_utf8(pack()).unwrap().replace("acme", "evil").into_bytes())], "");
    refused(&answer, "no valid signature for manifest digest");
}

#[test]
fn only_hosts_that_were_named_are_asked_and_only_with_https() {
    let (server, place) = (Server::start(vec![ok(&pack())]), place());
    for (more, words) in [
        ("--allow-host 127.0.0.1", "remote source requires https"),
        ("--allow-insecure-http", "remote source requires --allow-host"),
        ("--allow-insecure-http --allow-host localhost,127.0.0.10", "source host 127.0.0.1 is not in allowlist"),
    ] {
        refused(&install(&place, &server.url(), more), words);
        // What was not allowed is not made good for by the cache.
        refused(&install(&place, &server.url(), &format!("{more} --allow-cached-fallback --pin sha256:00")), words);
    }
    assert_eq!(server.asked(), [""; 0]);
}

#[test]
fn a_server_that_has_no_time_is_asked_again() {
    for status in [429, 502, 503, 504] {
        let (answer, asked) = from(vec![reply(status, "", b""), ok(&pack())], "");
        assert_eq!((answer.code, asked.len()), (0, 2), "{status}: {}", answer.whole());
    }
    let (answer, asked) = from(vec![reply(503, "", b"")], "");
    refused(&answer, "download source: unexpected status 503");
    assert_eq!(asked.len(), 3);
    let (answer, asked) = from(vec![reply(503, "", b"")], "--retry-max-attempts 5 --json");
    assert_eq!(asked.len(), 5);
    let told = answer.json();
    assert_eq!((&told["error_category"], &told["retryable"]), (&"network_transient".into(), &true.into()), "{told}");
    for least in ["1", "0", "-3"] {
        assert_eq!(from(vec![reply(503, "", b"")], &format!("--retry-max-attempts {least}")).1.len(), 1, "{least}");
    }
    for status in [201, 204, 304, 400, 401, 403, 404, 410, 500, 501] {
        let (answer, asked) = from(vec![reply(status, "", b""), ok(&pack())], "");
        refused(&answer, &format!("download source: unexpected status {status}"));
        assert_eq!(asked.len(), 1, "{status}");
    }
    for wrong in ["--retry-max-attempts x", "--retry-base-delay soon"] {
        assert_eq!(from(vec![ok(&pack())], wrong).0.code, 6);
    }
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    // Before an answer, in the middle of its head, of its body, of a chunk, and of what was packed.
    let cut = |reply: Vec<u8>, bytes: usize| reply[..reply.len() - bytes].to_vec();
    let chunked = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"pack\r\n".to_vec();
    let packed = [b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\n\r\n".as_slice(), &gzip(&pack())].concat();
    for broken in [vec![], b"HTTP/1.1 200 x\r\nContent-".to_vec(), cut(ok(&pack()), 1), chunked, cut(packed, 9)] {
        let what = String::from_utf8_lossy(&broken).into_owned();
        let (answer, asked) = from(vec![broken.clone(), ok(&pack())], "");
        assert_eq!((answer.code, asked.len()), (0, 2), "{what}: {}", answer.whole());
        let (answer, asked) = from(vec![broken], "");
        assert!(answer.code == 2 && answer.stdout.contains("error: download source: "), "{what}: {}", answer.whole());
        assert_eq!(asked.len(), 3, "{what}");
    }
    // Nobody there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/");
    let answer = install(&place(), &url, "--allow-host 127.0.0.1 --allow-insecure-http --json");
    assert_eq!((answer.code, &answer.json()["retryable"]), (2, &true.into()), "{}", answer.whole());
    // What is no HTTP is not.
    let (answer, asked) = from(vec![b"SSH-2.0-x\r\n\r\n".to_vec()], "--json");
    assert_eq!((answer.code, asked.len(), &answer.json()["retryable"]), (2, 1, &false.into()), "{}", answer.whole());
}

#[test]
fn an_answer_that_is_too_large_is_not_read() {
    let limit = usize::try_from(gait_core::registry::LIMIT_BYTES).unwrap();
    // Blanks after the manifest: as large as it may be, and one more.
    let padded = |length: usize| [pack(), vec![b' '; length - pack().len()]].concat();
    let close = |body: &[u8]| [b"HTTP/1.1 200 x\r\n\r\n", body].concat();
    let gzipped = |body: &[u8]| reply(200, "Content-Encoding: gzip\r\n", &gzip(body));
    for form in [ok as fn(&[u8]) -> Vec<u8>, close, gzipped] {
        let (answer, _) = from(vec![form(&padded(limit))], "");
        assert_eq!(answer.code, 0, "{}", answer.whole());
        let (answer, asked) = from(vec![form(&padded(limit + 1))], "");
        refused(&answer, "payload too large");
        assert_eq!(asked.len(), 1);
    }
    // A length alone is enough, and small pieces without end are cut off.
    refused(&from(vec![b"HTTP/1.1 200 x\r\nContent-Length: 99999999999\r\n\r\n{".to_vec()], "").0, "payload too large");
    let empty = gzip(b"").repeat(limit / 20 + 1000);
    let chunked = b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let endless: Vec<u8> = empty
        .chunks(60_000)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).into_bytes(), chunk.to_vec(), b"\r\n".to_vec()].concat())
        .collect();
    refused(&from(vec![[chunked, endless, b"0\r\n\r\n".to_vec()].concat()], "").0, "payload too large");
    // An encoding that nobody asked for.
    let (answer, _) = from(vec![reply(200, "Content-Encoding: br\r\n", &pack())], "");
    refused(&answer, "download source: the answer is encoded as br, which was not asked for");
}

#[test]
fn a_redirect_is_judged_like_the_source() {
    let to = |location: &str| reply(302, &format!("Location: {location}\r\n"), b"");
    for location in ["/other", "other?x#y", "//127.0.0.1:PORT/other"] {
        let server = Server::start(vec![ok(&pack())]);
        let location = location.replace("PORT", &server.port.to_string());
        let (answer, asked) = from(vec![to(&location), ok(&pack())], "");
        assert_eq!(answer.code, 0, "{location}: {}", answer.whole());
        assert_eq!(asked.len() + server.asked().len(), 2);
    }
    let foreign = Server::start(vec![ok(&pack())]);
    for (location, words) in [
        (format!("http://localhost:{}/", foreign.port), "source host localhost is not in allowlist"),
        (format!("//127.0.0.1@localhost:{}/", foreign.port), "source host localhost is not in allowlist"),
        ("file:///etc/passwd".into(), "remote source requires https"),
        ("ftp://127.0.0.1/".into(), "remote source requires https"),
    ] {
        let (answer, asked) = from(vec![to(&location)], "");
        refused(&answer, &format!("download source: redirect refused: {words}"));
        assert_eq!(asked.len(), 1);
    }
    assert_eq!(foreign.asked(), [""; 0]);
    let (answer, asked) = from(vec![to("/again")], "");
    refused(&answer, "download source: stopped after 10 redirects");
    assert_eq!(asked.len(), 11);
    refused(&from(vec![reply(302, "", b"")], "").0, "download source: unexpected status 302");
}

#[test]
fn what_cannot_be_fetched_is_taken_from_the_cache_by_its_digest() {
    let place = place();
    let server = Server::start(vec![reply(404, "", b"")]);
    let fallback = "--allow-host 127.0.0.1 --allow-insecure-http --allow-cached-fallback";
    let failed = "remote fetch failed: download source: unexpected status 404; cached fallback failed: ";
    let digest = registry_digest(&registry_manifest(|_| {}));
    let pinned = format!("{fallback} --pin sha256:{digest}");
    refused(
        &install(&place, &server.url(), fallback),
        &format!("{failed}cached fallback requires --pin sha256:<digest>"),
    );
    refused(&install(&place, &server.url(), &pinned), &format!("{failed}no cached manifest found for digest {digest}"));
    place.write("pack.json", pack());
    assert_eq!(install(&place, "pack.json", "").code, 0);
    let told = install(&place, &server.url(), &format!("{pinned} --json")).json();
    let kept = format!("cache/baseline/1/{digest}/registry_pack.json");
    assert_eq!(
        (&told["ok"], &told["fallback_used"], &told["fallback_path"]),
        (&true.into(), &true.into(), &kept.clone().into())
    );
    let answer = install(&place, &server.url(), &pinned);
    assert_eq!(
        answer.stdout,
        format!("registry install ok: baseline@1\ndigest: sha256:{digest}\nfallback: cached manifest {kept}\n")
    );
    // What lies in the cache is checked as if it had been fetched.
    let others = format!("{pinned} --publisher-allowlist other");
    refused(&install(&place, &server.url(), &others), "manifest publisher acme is not in allowlist");
    // A cache is no answer to an answer that is wrong.
    let changed = Server::start(vec![ok(b"{}")]);
    assert_eq!(install(&place, &changed.url(), &pinned).code, 2);
}

/// A server with a certificate of its own for 127.0.0.1; gives the authority too.
fn tls_server(body: Vec<u8>) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(&ok(&body));
                stream.conn.send_close_notify();
                let _ = stream.flush();
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    (port, made.cert.pem())
}

#[test]
fn a_certificate_that_no_authority_of_this_machine_vouches_for_is_refused() {
    let place = place();
    let (port, authority) = tls_server(pack());
    let (_, other) = tls_server(pack());
    place.write("authority.pem", authority);
    place.write("other.pem", other);
    let with = |file: &str, url: String| {
        let words = [
            "registry",
            "install",
            &url,
            "--public-key",
            "signer.pub",
            "--cache-dir",
            "cache",
            "--allow-host",
            "127.0.0.1,localhost",
        ];
        Answer::of(place.command(&words).env("SSL_CERT_FILE", place.at(file)))
    };
    let url = format!("https://127.0.0.1:{port}/");
    let answer = with("other.pem", url.clone());
    assert!(answer.code == 2 && answer.stdout.contains("source: invalid peer certificate: "), "{}", answer.whole());
    assert!(!place.at("cache").exists());
    // The right authority, another name.
    let answer = with("authority.pem", format!("https://localhost:{port}/"));
    assert!(
        answer.code == 2 && answer.stdout.contains("certificate not valid for name \"localhost\""),
        "{}",
        answer.whole()
    );
    let answer = with("none.pem", url.clone());
    assert!(
        answer.code == 2 && answer.stdout.contains("this machine has no certificate authorities"),
        "{}",
        answer.whole()
    );
    let answer = with("authority.pem", url);
    assert_eq!(answer.code, 0, "{}", answer.whole());
}

#[test]
fn a_proxy_of_the_environment_is_asked_for_the_connection() {
    let (proxy, place) = (Server::start(vec![reply(403, "", b"")]), place());
    let words = [
        "registry",
        "install",
        "https://registry.invalid/p",
        "--public-key",
        "signer.pub",
        "--allow-host",
        "registry.invalid",
        "--allow-insecure-http",
    ];
    let proxy_url = format!("http://127.0.0.1:{}", proxy.port);
    let answer = Answer::of(place.command(&words).env("HTTPS_PROXY", proxy_url));
    assert_eq!(answer.code, 2, "{}", answer.whole());
    assert!(proxy.asked()[0].starts_with("CONNECT registry.invalid:443 HTTP/1.1\n"), "{:?}", proxy.asked());
}
