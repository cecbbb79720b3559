//! How far one comes at a port: whether the system is reached, whether somebody listens, and whether an ssh server greets. It
//! does not log in.

use anyhow::Result;
use drover_engine::Cx;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a connection may take: a system that boots drops packets.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the greeting may take, as long as ssh itself would wait: an emulated server takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the run's interrupt is looked at meanwhile.
const TICK: Duration = Duration::from_millis(100);
/// What a server may say before its greeting.
const LONGEST: usize = 8 * 1024;

/// Whether anybody listens at a port.
///
/// # Errors
/// Why nobody does.
pub(super) fn knock(address: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), CONNECT)
}

/// Whether the system at an address is reached: it answers, be it that nobody listens there.
pub(super) fn is_reached(address: Ipv4Addr) -> bool {
    /// A service that no system has (tcpmux). So the kernel answers, and nobody has to wake up for it.
    const NOBODY: u16 = 1;
    match knock(address, NOBODY) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

/// Why no ssh server greets at a port; `None` if one does.
///
/// # Errors
/// When the run is stopped meanwhile.
pub(super) fn missing(cx: &Cx, address: Ipv4Addr, port: u16) -> Result<Option<String>> {
    missing_within(PATIENCE, cx, address, port)
}

fn missing_within(patience: Duration, cx: &Cx, address: Ipv4Addr, port: u16) -> Result<Option<String>> {
    let told = |why: &dyn std::fmt::Display| Some(format!("port {port} of {address}: {why}"));
    let mut stream = match knock(address, port) {
        Ok(stream) => stream,
        Err(error) => return Ok(told(&error)),
    };
    stream.set_read_timeout(Some(TICK))?;
    let (mut heard, until) = (Vec::new(), Instant::now() + patience);
    while Instant::now() < until && heard.len() < LONGEST {
        cx.sleep(Duration::ZERO)?;
        let mut bytes = [0; 512];
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(told(&"the connection is closed before a greeting")),
            Ok(count) => heard.extend_from_slice(&bytes[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Ok(told(&error)),
        }
        if is_greeting(&heard) {
            return Ok(None);
        }
    }
    Ok(told(&format!("no greeting of an ssh server in {} s", patience.as_secs())))
}

/// Whether a line of it, complete or not, begins as servers greet (RFC 4253, 4.2).
fn is_greeting(heard: &[u8]) -> bool {
    heard.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    /// What is missing at a port where each of these is said to whoever connects.
    fn at(said: &'static [&'static str]) -> Option<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            said.iter().for_each(|text| stream.write_all(text.as_bytes()).expect("said"));
        });
        let missing = missing(&Cx::to_look(), Ipv4Addr::LOCALHOST, port).expect("not interrupted");
        server.join().expect("it ends");
        missing
    }

    #[test]
    fn only_an_ssh_server_greets() {
        assert_eq!(at(&["SSH-2.0-OpenSSH_9.2p1\r\n"]), None);
        assert_eq!(at(&["only for", " members\r\nSS", "H-2.0-x\r\n"]), None, "lines may come before it");
        for said in [&["HTTP/1.1 400 Bad Request\r\n"][..], &[], &["xSSH-2.0"]] {
            assert!(at(said).is_some_and(|why| why.ends_with("before a greeting")), "{said:?}");
        }
    }

    #[test]
    fn a_server_that_is_stuck_does_not_greet() {
        // The kernel takes connections for it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let missing = missing_within(2 * TICK, &Cx::to_look(), Ipv4Addr::LOCALHOST, port);
        assert!(missing.expect("not interrupted").is_some_and(|why| why.contains("no greeting")));
    }

    #[test]
    fn nobody_listens() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let missing = missing(&Cx::to_look(), Ipv4Addr::LOCALHOST, port).expect("not interrupted");
        assert!(missing.is_some_and(|why| why.contains("refused")));
        assert!(is_reached(Ipv4Addr::LOCALHOST), "the system is there all the same");
    }
}
